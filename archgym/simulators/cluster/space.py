"""Design spaces of training clusters.

`default`: the full stack of 256 NPUs (or `npus`): network, NPU, collectives and parallelisation.
`parallel`: parallelisation and collectives on a cluster that is given, such as a user's.
`network`: a network of fixed price, with how the work is spread over it.
`cosmic-2025`: the space of COSMIC for one of its systems.
`archgym-astrasim`: the system and network of ArchGym's ASTRA-sim environment.
`table`: a part of the default that is small enough to be tabulated.

Several queues of a dimension and other orders of dimensions than ascending are only in
`archgym-astrasim`: with them no NPU stands for others exactly, and all would be simulated.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, product
from math import gcd, prod
from typing import Any, Final

from archgym.simulators.cluster.machine.clusters import (
    NPUS,
    Cluster,
    Dimension,
    cluster,
    dollars_per_gb,
)
from archgym.simulators.cluster.machine.design import Built, Infeasible
from archgym.simulators.cluster.machine.parallelism import memory_bytes
from archgym.simulators.cluster.machine.system import INTRA, TOPOLOGIES
from archgym.simulators.cluster.workloads import LAYER_FIELDS, Model
from archgym.simulators.kit import (
    Categorical,
    Condition,
    Constraint,
    DesignSpace,
    Expression,
    Factorisation,
    Integer,
    InvalidArgumentError,
    Ordinal,
    P,
    Parameter,
    PowerOfTwo,
    unknown_name,
)

SPACE_NAMES: Final = (
    "default", "parallel", "network", "cosmic-2025", "archgym-astrasim", "table",
)  # fmt: skip
SYSTEMS: Final[Mapping[str, str]] = {
    "default": "a100-256",
    "parallel": "a100-256",
    "network": "h100-512",
    "cosmic-2025": "cosmic-1.3",
    "archgym-astrasim": "a100-256",
    "table": "a100-256",
}
"""Cluster of each space, which gives what its designs leave out."""

# chosen: 5,000 dollars an NPU, a sixth of its price; LIBRA's systems lie around that.
_NETWORK_DOLLARS: Final = 5_000.0
_TIERS: Final = ("node", "pod", "pod")
# As in `formats.clusters.CLUSTERS`.
_LATENCIES: Final = (936.0, 2000.0, 2000.0)
_COSMIC_NPUS: Final = (4, 8, 16)
OWN_NPUS: Final[Mapping[str, int]] = {"default": 256, "network": 256, "table": 64}
"""NPUs of spaces without the option `npus`."""

# Sub-systems, for one agent each.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "network": (
        *("npus", *(f"npus_{d}" for d in range(4)), *(f"topology_{d}" for d in range(4))),
        *(f"bandwidth_{d}" for d in range(4)),
        *(f"latency_{d}" for d in range(4)),
        *(f"share_{d}" for d in range(2)),
    ),
    "collective": (
        "splits", "policy", "active_chunks", "queues", "optimization", "intra", "inter",
        *("inflight", "endpoint_ns", *(f"algorithm_{d}" for d in range(4))),
    ),
    "workload": (
        *(f"role_{d}" for d in range(4)),
        "dp", "cp", "pp", "weight_sharded", "microbatch", "schedule", "zero", "sp",
        "recompute", "interleave", "exchanges", "placement",
    ),
    "compute": ("npu",),
}  # fmt: skip


_NO_TREES: Final = ("ring", "direct", "halvingDoubling")
_ALL_ROLES: Final = ("tp", "ep", "dp", "pp", "cp")


_ON_OFF: Final = ("off", "on")


def _topologies(*defaults: str) -> list[Parameter]:
    doc = "Topology of dimension {}."
    return [
        Categorical(f"topology_{d}", TOPOLOGIES, default=own, doc=doc.format(d))
        for d, own in enumerate(defaults)
    ]


def _bandwidth(d: int, levels: Sequence[int], default: int) -> Ordinal:
    doc = f"Bandwidth of an NPU in dimension {d}, over its links."
    return Ordinal(f"bandwidth_{d}", tuple(levels), default=default, unit="GB/s", doc=doc)


def _roles(defaults: tuple[str, ...], choices: tuple[str, ...] = _ALL_ROLES) -> list[Parameter]:
    doc = "Parallelisation that is spread along dimension {}."
    return [
        Categorical(f"role_{d}", choices, default=own, doc=doc.format(d))
        for d, own in enumerate(defaults)
    ]


def _algorithm(d: int, choices: tuple[str, ...] = _NO_TREES) -> Categorical:
    doc = f"Algorithm of collectives in dimension {d}."
    return Categorical(f"algorithm_{d}", choices, default="ring", doc=doc)


_POLICY: Final = Categorical(
    "policy", ("LIFO", "FIFO"), default="LIFO", doc="Collective that goes first: last or first."
)
_OPTIMIZATION: Final = Categorical(
    "optimization",
    ("baseline", "localBWAware"),
    default="localBWAware",
    doc="Phases of all-reduce: one in each dimension, or reduce-scatters and all-gathers.",
)
_COLLECTIVES: Final[tuple[Parameter, ...]] = (
    # ASTRA-sim has no limit for either; chosen.
    PowerOfTwo("splits", 1, 16, default=4, widest=64, doc="Chunks of a collective."),
    _POLICY,
    PowerOfTwo("active_chunks", 1, 8, default=1, doc="Chunks at a time in a dimension."),
    _OPTIMIZATION,
    Categorical("intra", INTRA, default="FIFO", doc="Order of chunks in a queue."),
    PowerOfTwo("inflight", 1, 4, default=1, doc="Collectives under way at once."),
)
_SCHEDULE: Final[tuple[Parameter, ...]] = (
    PowerOfTwo(
        "microbatch", 1, 16, default=2, widest=256, unit="samples", doc="Microbatch's size."
    ),
    Categorical("schedule", ("gpipe", "1f1b"), default="1f1b", doc="Schedule of the pipeline."),
    Integer("zero", 0, 3, default=1, doc="ZeRO stage."),
    Categorical(
        "sp",
        _ON_OFF,
        default="off",
        doc="Sequence parallelism, which spreads what tensor parallelism does not.",
    ),
    Categorical(
        "recompute",
        ("none", "full", "selective"),
        default="selective",
        doc="Activations that are computed again: none, all, or attention's scores.",
    ),
    PowerOfTwo("interleave", 1, 4, default=1, doc="Parts of the layers on each stage."),
    PowerOfTwo(
        "exchanges", 1, 8, default=1, doc="Parts in which tokens of experts are exchanged (FSMoE)."
    ),
    Categorical(
        "placement",
        ("contiguous", "balanced"),
        default="balanced",
        doc="Placement of experts: by number, or balanced by popularity.",
    ),
)


def _any_role(n: int, role: str) -> Expression:
    found: Expression = P("role_0") == role
    for d in range(1, n):
        found = found | (P(f"role_{d}") == role)
    return found


def _schedule_conditions(n: int) -> tuple[Condition, ...]:
    return (
        Condition("schedule", _any_role(n, "pp")),
        Condition("interleave", _any_role(n, "pp") & (P("schedule") == "1f1b")),
        Condition("sp", _any_role(n, "tp")),
        Condition("exchanges", _any_role(n, "ep")),
        Condition("placement", _any_role(n, "ep")),
    )


def _npus(n: int, inner: int, middle: int) -> Factorisation:
    """Return the parameter that cuts `n` NPUs into three dimensions, the inner ones first."""
    first = gcd(n, inner)
    second = gcd(n // first, middle)
    default = (first, second, n // (first * second))
    return Factorisation("npus", n, 3, default=default, doc="NPUs along each dimension.")


def _default(n: int) -> DesignSpace:
    inner, outer = (50, 100, 150, 200, 300, 450, 600, 900), (12, 25, 50, 100, 200, 400)
    return DesignSpace(
        "default",
        (
            Categorical("npu", tuple(NPUS), default="a100-80g", doc="NPU."),
            _npus(n, 8, 4),
            *_topologies("Switch", "Switch", "Switch"),
            _bandwidth(0, inner, 300), _bandwidth(1, outer, 50), _bandwidth(2, outer, 25),
            *_roles(("tp", "pp", "dp")),
            *map(_algorithm, range(3)),
            *_COLLECTIVES,
            *_SCHEDULE,
        ),
        conditions=_schedule_conditions(3),
        doc=f"Full stack of {n:,} NPUs: network, NPU, collectives and parallelisation.",
    )  # fmt: skip


def _parallel(base: Cluster) -> DesignSpace:
    n = len(base.dimensions)
    algorithms = (
        _algorithm(d, _NO_TREES[:2] if dimension.npus & (dimension.npus - 1) else _NO_TREES)
        for d, dimension in enumerate(base.dimensions)
    )
    return DesignSpace(
        "parallel",
        (*_roles(("tp", "dp", "dp", "dp")[:n]), *algorithms, *_COLLECTIVES, *_SCHEDULE),
        conditions=_schedule_conditions(n),
        doc=f"Parallelisation and collectives on the cluster {base.name}.",
    )


def _network(n: int) -> DesignSpace:
    doc = "Share of the network's price for dimension {}; the last has the rest."
    levels = tuple(range(5, 100, 5))
    return DesignSpace(
        "network",
        (
            _npus(n, 8, 8),
            *_topologies("Switch", "Switch", "Switch"),
            *(
                Ordinal(f"share_{d}", levels, default=40, unit="%", doc=doc.format(d))
                for d in range(2)
            ),
            *_roles(("tp", "pp", "dp")),
            *map(_algorithm, range(3)),
        ),
        constraints=(
            Constraint(
                "price",
                P("share_0") + P("share_1") <= 95,
                "all dimensions together cost more than the network may",
            ),
        ),
        doc=f"A network of fixed price for {n:,} NPUs, and how the work is spread over it.",
    )


def _table(n: int) -> DesignSpace:
    return DesignSpace(
        "table",
        (
            *_topologies("Switch", "Switch"),
            _bandwidth(1, (25, 50, 100), 25),
            *_roles(("tp", "dp"), ("tp", "dp", "pp")),
            PowerOfTwo("microbatch", 1, 4, default=2, unit="samples", doc="Its size."),
            Ordinal("zero", (0, 1, 3), default=1, doc="ZeRO stage."),
            Ordinal("splits", (1, 4), default=4, doc="Chunks of a collective."),
        ),
        doc=f"{n:,} NPUs in two dimensions: small enough for a table.",
    )


def _cosmic(base: Cluster, n: int) -> DesignSpace:
    degrees = tuple(2**i for i in range(10))
    product = P("npus_0") * P("npus_1") * P("npus_2") * P("npus_3")
    scale = {"Ring": 2, "FullyConnected": 7, "Switch": 1}
    bandwidths = (
        max(50, min(500, round(d.gb_per_s * scale[d.topology] / 50) * 50)) for d in base.dimensions
    )
    return DesignSpace(
        "cosmic-2025",
        (
            Ordinal("dp", degrees, default=64, doc="Data parallelism."),
            Ordinal("pp", (1, 2, 4), default=1, doc="Pipeline stages."),
            Ordinal("cp", degrees, default=1, doc="Parts of the sequence."),
            Ordinal("weight_sharded", (0, 1), default=1, doc="ZeRO 3 if 1."),
            _POLICY,
            Ordinal("splits", (2, 4, 8, 16), default=4, doc="Chunks of a collective."),
            *(_algorithm(d, (*_NO_TREES, "doubleBinaryTree")) for d in range(4)),
            _OPTIMIZATION,
            *_topologies(*(d.topology for d in base.dimensions)),
            *(
                Ordinal(f"npus_{d}", _COSMIC_NPUS, default=along, doc="NPUs along the dimension.")
                for d, along in enumerate(_spread(tuple(d.npus for d in base.dimensions), n))
            ),
            *(_bandwidth(d, range(50, 501, 50), own) for d, own in enumerate(bandwidths)),
        ),
        constraints=(
            Constraint("npus", product == n, f"the dimensions do not have {n} NPUs"),
            Constraint(
                "degrees",
                P("dp") * P("cp") * P("pp") <= n,
                "degrees of parallelism multiply to more than the NPUs",
            ),
            Constraint(
                "no-first-switch", P("topology_0") != "Switch", "dimension 0 may not be a switch"
            ),
        ),
        doc=f"The space of COSMIC for {n} NPUs, from {base.name}.",
    )


def _spread(own: tuple[int, ...], n: int) -> tuple[int, ...]:
    """Return `n` NPUs along COSMIC's four dimensions, as near to the cluster's own as can be."""
    fitting = [along for along in product(_COSMIC_NPUS, repeat=len(own)) if prod(along) == n]
    if not fitting:
        raise InvalidArgumentError(
            "`npus` must be a power of two from 256 to 65,536 in space 'cosmic-2025', whose four "
            f"dimensions have {', '.join(map(str, _COSMIC_NPUS))} NPUs; got {n:,}."
        )
    return min(fitting, key=lambda along: sum(a != b for a, b in zip(along, own, strict=True)))


def _published(n: int) -> DesignSpace:
    delays = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
    bandwidths = (1, 10, 25, 50, 100, 200, 400, 800, 1600)
    latencies = (1, 10, 100, 500, 1000)
    total = P("npus_0") * P("npus_1") * P("npus_2")
    along = (4, 4, 4)
    fits = Constraint("npus", total <= 1024, "the network has more than 1,024 NPUs")
    if n:
        parts = [2**i for i in range(1, 7)]
        own = [each for each in product(parts, repeat=3) if prod(each) == n]
        if not own:
            raise InvalidArgumentError(
                "`npus` must be a power of two from 8 to 65,536 in space 'archgym-astrasim'; "
                f"got {n:,}."
            )
        along = min(own, key=max)
        fits = Constraint("npus", total == n, f"the dimensions do not have {n} NPUs")
    return DesignSpace(
        "archgym-astrasim",
        (
            _POLICY,
            Ordinal("endpoint_ns", delays, default=10, unit="ns", doc="Delay of endpoints."),
            PowerOfTwo("active_chunks", 1, 32, default=1, doc="Chunks in a dimension."),
            PowerOfTwo("splits", 16, 1024, default=16, doc="Chunks of a collective."),
            *map(_algorithm, range(3)),
            _OPTIMIZATION,
            Categorical(
                "intra",
                ("FIFO", "SmallestFirst"),
                default="FIFO",
                doc="Order of chunks in a queue.",
            ),
            Categorical(
                "inter",
                ("Ascending", "OfflineGreedy"),
                default="Ascending",
                doc="Order of dimensions.",
            ),
            *_topologies("Ring", "Ring", "Switch"),
            *(
                PowerOfTwo(f"npus_{d}", 2, 64, default=own, doc="NPUs along it.")
                for d, own in enumerate(along)
            ),
            *(_bandwidth(d, bandwidths, 100) for d in range(3)),
            *(
                Ordinal(f"latency_{d}", latencies, default=500, unit="ns", doc="Of a link.")
                for d in range(3)
            ),
        ),
        constraints=(fits,),
        doc="System and network of ArchGym's ASTRA-sim environment, data parallelism.",
    )


def design_space(name: str, base: Cluster, npus: int = 0) -> DesignSpace:
    """Return a space, for the cluster that gives what its designs leave out.

    Args:
      name: One of `SPACE_NAMES`.
      base: The cluster.
      npus: NPUs of spaces whose designs choose the network; 0 for the space's own number.

    Raises:
      UnknownNameError: There is no such space.
      InvalidArgumentError: The space has no network with this number of NPUs.
    """
    if npus and name == "parallel":
        raise InvalidArgumentError(
            f"`npus` must be left out in space 'parallel', whose cluster has its own; got {npus}. "
            "Give a cluster of that size with `system`."
        )
    match name:
        case "default":
            return _default(npus or OWN_NPUS[name])
        case "network":
            return _network(npus or OWN_NPUS[name])
        case "table":
            return _table(npus or OWN_NPUS[name])
        case "parallel":
            return _parallel(base)
        case "cosmic-2025":
            return _cosmic(base, npus or prod(d.npus for d in base.dimensions))
        case "archgym-astrasim":
            return _published(npus)
    raise unknown_name("space", name, SPACE_NAMES)


def default_cluster(name: str, given: str) -> Cluster:
    """Return the cluster of a space; `given` replaces the space's own."""
    return cluster(given or SYSTEMS[name])


def _per_link(topology: str, npus: int, total: float) -> float:
    """Return the bandwidth of a link where an NPU has `total` over all links of a dimension."""
    if topology == "Ring":
        return total / 2
    return total / max(1, npus - 1) if topology == "FullyConnected" else total


def machine_of(
    name: str, design: Mapping[str, Any], base: Cluster, npus: int = 0
) -> dict[str, Any]:
    """Return what a design says, in the words of `machine.build`; `npus` as in `design_space`."""
    values: dict[str, Any] = {
        key: design[key]
        for key in (
            "splits", "policy", "active_chunks", "queues", "optimization", "intra", "inter",
            "inflight", "endpoint_ns", "microbatch", "schedule", "zero", "recompute",
            "interleave", "exchanges", "placement",
        )
        if key in design
    }  # fmt: skip
    if "sp" in design:
        values["sp"] = design["sp"] == "on"
    if "npu" in design:
        values["npu"] = NPUS[design["npu"]]
    n = {"default": 3, "network": 3, "table": 2, "cosmic-2025": 4, "archgym-astrasim": 3}.get(
        name, len(base.dimensions)
    )
    if f"role_{n - 1}" in design:
        values["roles"] = tuple(design[f"role_{d}"] for d in range(n))
    values["algorithms"] = tuple(design.get(f"algorithm_{d}", "ring") for d in range(n))
    if name == "parallel":
        return values
    total = npus or OWN_NPUS.get(name, 0)
    if name == "table":
        inner = gcd(total, 8)
        sizes: Sequence[int] = (inner, total // inner)
    else:
        sizes = design["npus"] if "npus" in design else [design[f"npus_{d}"] for d in range(n)]
    tiers = tuple(d.tier for d in base.dimensions) if name == "cosmic-2025" else _TIERS
    latencies: tuple[float, ...] = _LATENCIES
    if name == "cosmic-2025":
        latencies = tuple(d.latency_ns for d in base.dimensions)
    if "latency_0" in design:
        latencies = tuple(float(design[f"latency_{d}"]) for d in range(n))
    dimensions = []
    for d in range(n):
        topology, along = design[f"topology_{d}"], int(sizes[d])
        if f"share_{n - 2}" in design:
            shares = [design["share_0"], design["share_1"]]
            shares.append(100 - sum(shares))
            dollars = _NETWORK_DOLLARS * total * shares[d] / 100
            width = dollars / (total * dollars_per_gb(topology, max(2, along), _TIERS[d]))
        elif name == "cosmic-2025":
            # As in its files, whatever the dimension's NPUs.
            parts = {"Ring": 2, "FullyConnected": 7, "Switch": 1}[topology]
            width = design[f"bandwidth_{d}"] / parts
        else:
            width = _per_link(topology, along, float(design.get(f"bandwidth_{d}", 300.0)))
        dimensions.append(Dimension(topology, along, width, latencies[d], tiers[d]))
    values["dimensions"] = tuple(dimensions)
    if name == "cosmic-2025":
        total = prod(map(int, sizes))
        dp, cp, pp = int(design["dp"]), int(design["cp"]), int(design["pp"])
        values["degrees"] = {"tp": total // (dp * cp * pp), "cp": cp, "dp": dp, "pp": pp}
        values["zero"] = 3 if design["weight_sharded"] else 0
        values["recompute"] = "full"
        # chosen: COSMIC has one batch for each replica; pipelines need some parts of it.
        values["microbatches"] = 4 * pp if pp > 1 else 1
    if name == "archgym-astrasim":
        values["roles"] = ("dp",) * n
        values["microbatches"] = 1
    if name == "network":
        # chosen: enough to fill pipelines of four stages.
        values["microbatches"] = 16
    return values


# ---- Default designs that run on a user's model and cluster
#
# Designs are built, not simulated. Those with the fewest changes come first, and among them the one
# that cuts the model into the fewest parts, with the least tensor parallelism.

Builder = Callable[[Mapping[str, Any], Model], Built]

_EXCHANGE: Final = LAYER_FIELDS.index("a2a_bytes")
# Parameters that spread a model over NPUs, those of all spaces.
_SPREAD: Final = (
    *(f"role_{d}" for d in range(4)),
    "dp", "pp", "cp",
    *(f"npus_{d}" for d in range(3)),
)  # fmt: skip
# Ways to hold less in memory, in the order in which they are tried.
_LEAN: Final[tuple[Mapping[str, Any], ...]] = (
    {},
    {"zero": 3, "sp": "on", "recompute": "full"},
    {"zero": 3, "sp": "on", "recompute": "selective"},
    {"zero": 3, "sp": "on", "recompute": "none"},
)
# Spaces with designs of other memory than those that are tried.
_OPEN: Final = ("default", "network")


def fitting_default(
    space: DesignSpace, build: Builder, models: Sequence[Model], must_fit: bool
) -> dict[str, Any]:
    """Return changes of the default design after which all models run; none if they do already.

    Args:
      space: Space of the designs.
      build: Makes a system and a parallelisation of a design and a model, or raises `Infeasible`.
      models: Models that must all run.
      must_fit: True if the models must also fit memory.

    Raises:
      InvalidArgumentError: No design can run, or none can fit memory.
    """
    default = dict(space.design_at(space.default_indices))
    leanest: tuple[float, dict[str, Any]] | None = None
    has_exchange = any(model.layers[:, _EXCHANGE].any() for model in models)
    for group in _groups(space, default, has_exchange):
        running: list[tuple[int, int, int, dict[str, Any]]] = []
        for spread in group:
            for changes in spread:
                built = _built(space, build, models, default | changes)
                if built is None:
                    continue
                share = max(map(_share_of_memory, built))
                if leanest is None or share < leanest[0]:
                    leanest = share, changes
                if share <= 1.0 or not must_fit:
                    p = built[0].parallelism
                    running.append((p.tp * p.pp * p.cp * p.ep, p.tp, -p.n_npus, changes))
                    break
        if running:
            return _difference(space, default, min(running, key=lambda found: found[:3])[3])
    if leanest is None:
        raise InvalidArgumentError(_impossible(space, build, models, default))
    if space.name in _OPEN:
        return _difference(space, default, leanest[1])
    built = _built(space, build, models, default | leanest[1]) or []
    most = max(built, key=_share_of_memory)
    needed = memory_bytes(most.layers, most.parallelism) / 1e9
    raise InvalidArgumentError(
        f"No design of space {space.name!r} fits memory: {models[built.index(most)].name} needs "
        f"at least {needed:,.1f} GB on each of {most.system.n_npus:,} NPUs, which have "
        f"{most.npu.memory_gb:,g} GB. Use more NPUs, NPUs with more memory, or a smaller model."
    )


def _groups(
    space: DesignSpace, default: Mapping[str, Any], has_exchange: bool
) -> Iterator[Iterator[list[dict[str, Any]]]]:
    """Yield changes: groups of as many parameters, ways to spread a model, microbatches."""
    larger = sorted(NPUS.values(), key=lambda npu: -npu.memory_gb)
    npus = [{}, *({"npu": npu.name} for npu in larger)] if "npu" in default else [{}]
    leans = [{k: v for k, v in lean.items() if k in default} for lean in _LEAN]
    axes = [name for name in _SPREAD if name in default]
    known = {name: _values(space, name) for name in axes}
    sizes: list[dict[str, Any]] = [{}]
    if "microbatch" in default:
        # The default size comes first, then smaller sizes, then larger ones.
        own = default["microbatch"]
        levels = sorted(_values(space, "microbatch"), key=lambda n: (n > own, abs(n - own)))
        sizes = [{"microbatch": size} for size in levels]
    seen = set()
    for npu, lean, n in product(npus, leans, range(len(axes) + 1)):
        if (key := repr((npu, lean, n))) in seen:
            continue
        seen.add(key)
        spreads = (
            dict(zip(names, values, strict=True))
            for names in combinations(axes, n)
            for values in product(
                *(
                    [v for v in known[name] if v != default[name] and (v != "ep" or has_exchange)]
                    for name in names
                )
            )
        )
        yield ([npu | lean | spread | size for size in sizes] for spread in spreads)


def _difference(
    space: DesignSpace, default: Mapping[str, Any], changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the changes that are left in the canonical form."""
    indices = space.canonical(space.indices_of({**default, **changes})[None, :])
    design = space.design_at(indices[0])
    return {name: value for name, value in design.items() if value != default[name]}


def _values(space: DesignSpace, name: str) -> list[Any]:
    parameter = space.parameter(name)
    return [parameter.value(index) for index in range(parameter.size)]


def _built(
    space: DesignSpace, build: Builder, models: Sequence[Model], design: Mapping[str, Any]
) -> list[Built] | None:
    """Return a design built for each model; None if it cannot be."""
    indices = space.canonical(space.indices_of(design)[None, :])
    if space.violations(indices)[0] >= 0:
        return None
    try:
        return [build(space.design_at(indices[0]), model) for model in models]
    except Infeasible:
        return None


def _share_of_memory(built: Built) -> float:
    return memory_bytes(built.layers, built.parallelism) / (built.npu.memory_gb * 1e9)


def _impossible(
    space: DesignSpace, build: Builder, models: Sequence[Model], default: Mapping[str, Any]
) -> str:
    """Return why no design runs, by the default's reason."""
    names = ", ".join(model.name for model in models)
    if len(models) == 1:
        try:
            build(space.design(default), models[0])
        except Infeasible as verdict:
            return (
                f"No design of space {space.name!r} runs {names}, with a global batch of "
                f"{models[0].global_batch:,} samples: {verdict}. Change `global_batch`, the "
                "layers, or the cluster."
            )
    return f"No design of space {space.name!r} runs all of {names}. Make a task of each."
