"""Design spaces of training clusters.

`default`: the full stack of 256 NPUs: network, NPU, collectives and parallelisation.
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
from math import prod
from typing import Any, Final

from archgym.errors import InvalidArgumentError, unknown_name
from archgym.simulators.cluster.formats.clusters import (
    NPUS,
    Cluster,
    Dimension,
    cluster,
    dollars_per_gb,
)
from archgym.simulators.cluster.kernel.iteration import LAYER_FIELDS, memory_bytes
from archgym.simulators.cluster.kernel.system import INTRA, TOPOLOGIES
from archgym.simulators.cluster.machine import Built, Infeasible
from archgym.simulators.cluster.workloads import Model
from archgym.spaces.design import Condition, Constraint
from archgym.spaces.expression import Expression, P
from archgym.spaces.parameter import (
    Categorical,
    Factorisation,
    Integer,
    Ordinal,
    Parameter,
    PowerOfTwo,
)
from archgym.spaces.space import DesignSpace

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

_N: Final = 256
_N_TABLE: Final = 64
# chosen: 5,000 dollars an NPU, a sixth of its price; LIBRA's systems lie around that.
NETWORK_BUDGET: Final = 5_000.0 * _N
_TIERS: Final = ("node", "pod", "pod")
# As in `formats.clusters.CLUSTERS`.
_LATENCIES: Final = (936.0, 2000.0, 2000.0)
_MAX_DIMS: Final = 4

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


def _choice(name: str, choices: tuple[str, ...], default: str, doc: str) -> Categorical:
    return Categorical(name=name, choices=choices, default=default, doc=doc)


def _flag(name: str, doc: str) -> Categorical:
    return _choice(name, ("off", "on"), "off", doc)


def _levels(name: str, levels: tuple[int, ...], default: int, doc: str, unit: str = "") -> Ordinal:
    return Ordinal(name=name, levels=levels, default=default, unit=unit, doc=doc)


def _power(name: str, low: int, high: int, default: int, doc: str, unit: str = "") -> PowerOfTwo:
    return PowerOfTwo(name=name, low=low, high=high, default=default, unit=unit, doc=doc)


def _npus(default: tuple[int, ...]) -> Factorisation:
    doc = "NPUs along each dimension."
    return Factorisation(name="npus", total=_N, parts=3, default=default, doc=doc)


def _topologies(defaults: tuple[str, ...]) -> list[Parameter]:
    return [
        _choice(f"topology_{d}", TOPOLOGIES, default, f"Topology of dimension {d}.")
        for d, default in enumerate(defaults)
    ]


def _bandwidth(d: int, levels: tuple[int, ...], default: int) -> Ordinal:
    doc = f"Bandwidth of an NPU in dimension {d}, over its links."
    return _levels(f"bandwidth_{d}", levels, default, doc, "GB/s")


def _roles(defaults: tuple[str, ...], choices: tuple[str, ...] = _ALL_ROLES) -> list[Parameter]:
    return [
        _choice(f"role_{d}", choices, own, f"Parallelisation that is spread along dimension {d}.")
        for d, own in enumerate(defaults)
    ]


def _algorithm(d: int, choices: tuple[str, ...] = _NO_TREES) -> Categorical:
    return _choice(f"algorithm_{d}", choices, "ring", f"Algorithm of collectives in dimension {d}.")


def _collectives() -> list[Parameter]:
    return [
        _power("splits", 1, 16, 4, "Chunks of a collective."),
        _choice("policy", ("LIFO", "FIFO"), "LIFO", "Collective that goes first: last or first."),
        _power("active_chunks", 1, 8, 1, "Chunks at a time in a dimension."),
        _choice(
            "optimization",
            ("baseline", "localBWAware"),
            "localBWAware",
            "Phases of all-reduce: one in each dimension, or reduce-scatters and all-gathers.",
        ),
        _choice("intra", INTRA, "FIFO", "Order of chunks in a queue."),
        _power("inflight", 1, 4, 1, "Collectives under way at once."),
    ]


def _schedule() -> list[Parameter]:
    return [
        _power("microbatch", 1, 16, 2, "Microbatch's size.", "samples"),
        _choice("schedule", ("gpipe", "1f1b"), "1f1b", "Schedule of the pipeline."),
        Integer(name="zero", low=0, high=3, default=1, doc="ZeRO stage."),
        _flag("sp", "Sequence parallelism, which spreads what tensor parallelism does not."),
        _choice(
            "recompute",
            ("none", "full", "selective"),
            "selective",
            "Activations that are computed again: none, all, or attention's scores.",
        ),
        _power("interleave", 1, 4, 1, "Parts of the layers on each stage."),
        _power("exchanges", 1, 8, 1, "Parts in which tokens of experts are exchanged (FSMoE)."),
        _choice(
            "placement",
            ("contiguous", "balanced"),
            "balanced",
            "Placement of experts: by number, or balanced by popularity.",
        ),
    ]


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


def _default() -> DesignSpace:
    inner, outer = (50, 100, 150, 200, 300, 450, 600, 900), (12, 25, 50, 100, 200, 400)
    return DesignSpace(
        "default",
        (
            _choice("npu", tuple(NPUS), "a100-80g", "NPU."),
            _npus((8, 4, 8)),
            *_topologies(("Switch", "Switch", "Switch")),
            _bandwidth(0, inner, 300), _bandwidth(1, outer, 50), _bandwidth(2, outer, 25),
            *_roles(("tp", "pp", "dp")),
            *map(_algorithm, range(3)),
            *_collectives(),
            *_schedule(),
        ),
        conditions=_schedule_conditions(3),
        doc="Full stack of 256 NPUs: network, NPU, collectives and parallelisation.",
    )  # fmt: skip


def _parallel(base: Cluster) -> DesignSpace:
    n = len(base.dimensions)
    algorithms = (
        _algorithm(d, _NO_TREES[:2] if dimension.npus & (dimension.npus - 1) else _NO_TREES)
        for d, dimension in enumerate(base.dimensions)
    )
    return DesignSpace(
        "parallel",
        (*_roles(("tp", "dp", "dp", "dp")[:n]), *algorithms, *_collectives(), *_schedule()),
        conditions=_schedule_conditions(n),
        doc=f"Parallelisation and collectives on the cluster {base.name}.",
    )


def _network() -> DesignSpace:
    doc = "Share of the network's price for dimension {}; the last has the rest."
    shares = (
        _levels(f"share_{d}", tuple(range(5, 100, 5)), 40, doc.format(d), "%") for d in range(2)
    )
    return DesignSpace(
        "network",
        (
            _npus((8, 8, 4)),
            *_topologies(("Switch", "Switch", "Switch")),
            *shares,
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
        doc="A network of fixed price for 256 NPUs, and how the work is spread over it.",
    )


def _table() -> DesignSpace:
    return DesignSpace(
        "table",
        (
            *_topologies(("Switch", "Switch")),
            _bandwidth(1, (25, 50, 100), 25),
            *_roles(("tp", "dp"), ("tp", "dp", "pp")),
            _power("microbatch", 1, 4, 2, "Its size.", "samples"),
            _levels("zero", (0, 1, 3), 1, "ZeRO stage."),
            _levels("splits", (1, 4), 4, "Chunks of a collective."),
        ),
        doc="64 NPUs in two dimensions: small enough for a table.",
    )


def _cosmic(base: Cluster) -> DesignSpace:
    total = prod(d.npus for d in base.dimensions)
    degrees = tuple(2**i for i in range(10))
    product = P("npus_0") * P("npus_1") * P("npus_2") * P("npus_3")
    algorithms = (*_NO_TREES, "doubleBinaryTree")
    scale = {"Ring": 2, "FullyConnected": 7, "Switch": 1}
    bandwidths = (
        max(50, min(500, round(d.gb_per_s * scale[d.topology] / 50) * 50)) for d in base.dimensions
    )
    return DesignSpace(
        "cosmic-2025",
        (
            _levels("dp", degrees, 64, "Data parallelism."),
            _levels("pp", (1, 2, 4), 1, "Pipeline stages."),
            _levels("cp", degrees, 1, "Parts of the sequence."),
            _levels("weight_sharded", (0, 1), 1, "ZeRO 3 if 1."),
            _choice("policy", ("LIFO", "FIFO"), "LIFO", "Collective that goes first."),
            _levels("splits", (2, 4, 8, 16), 4, "Chunks of a collective."),
            *(_algorithm(d, algorithms) for d in range(4)),
            _choice("optimization", ("baseline", "localBWAware"), "localBWAware", "All-reduce."),
            *_topologies(tuple(d.topology for d in base.dimensions)),
            *(
                _levels(f"npus_{d}", (4, 8, 16), dimension.npus, "NPUs along the dimension.")
                for d, dimension in enumerate(base.dimensions)
            ),
            *(_bandwidth(d, tuple(range(50, 501, 50)), own) for d, own in enumerate(bandwidths)),
        ),
        constraints=(
            Constraint("npus", product == total, f"the dimensions do not have {total} NPUs"),
            Constraint(
                "degrees",
                P("dp") * P("cp") * P("pp") <= total,
                "degrees of parallelism multiply to more than the NPUs",
            ),
            Constraint(
                "no-first-switch", P("topology_0") != "Switch", "dimension 0 may not be a switch"
            ),
        ),
        doc=f"The space of COSMIC for {total} NPUs, from {base.name}.",
    )


def _published() -> DesignSpace:
    delays = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
    bandwidths = (1, 10, 25, 50, 100, 200, 400, 800, 1600)
    latencies = (1, 10, 100, 500, 1000)
    return DesignSpace(
        "archgym-astrasim",
        (
            _choice("policy", ("LIFO", "FIFO"), "LIFO", "Collective that goes first."),
            _levels("endpoint_ns", delays, 10, "Delay of endpoints.", "ns"),
            _power("active_chunks", 1, 32, 1, "Chunks in a dimension."),
            _power("splits", 16, 1024, 16, "Chunks of a collective."),
            *map(_algorithm, range(3)),
            _choice("optimization", ("baseline", "localBWAware"), "localBWAware", "All-reduce."),
            _choice("intra", ("FIFO", "SmallestFirst"), "FIFO", "Order of chunks in a queue."),
            _choice("inter", ("Ascending", "OfflineGreedy"), "Ascending", "Order of dimensions."),
            *_topologies(("Ring", "Ring", "Switch")),
            *(_power(f"npus_{d}", 2, 64, 4, "NPUs along it.") for d in range(3)),
            *(_bandwidth(d, bandwidths, 100) for d in range(3)),
            *(_levels(f"latency_{d}", latencies, 500, "Of a link.", "ns") for d in range(3)),
        ),
        constraints=(
            Constraint(
                "npus",
                P("npus_0") * P("npus_1") * P("npus_2") <= 1024,
                "the network has more than 1,024 NPUs",
            ),
        ),
        doc="System and network of ArchGym's ASTRA-sim environment, data parallelism.",
    )


_MAKERS: Final[Mapping[str, Callable[[], DesignSpace]]] = {
    "default": _default,
    "network": _network,
    "archgym-astrasim": _published,
    "table": _table,
}


def design_space(name: str, base: Cluster) -> DesignSpace:
    """Return a space, for the cluster that gives what its designs leave out.

    Raises:
      UnknownNameError: There is no such space.
    """
    if name not in SPACE_NAMES:
        raise unknown_name("space", name, SPACE_NAMES)
    if name == "parallel":
        return _parallel(base)
    if name == "cosmic-2025":
        return _cosmic(base)
    return _MAKERS[name]()


def default_cluster(name: str, given: str) -> Cluster:
    """Return the cluster of a space; `given` replaces the space's own."""
    return cluster(given or SYSTEMS[name])


def _per_link(topology: str, npus: int, total: float) -> float:
    """Return the bandwidth of a link where an NPU has `total` over all links of a dimension."""
    if topology == "Ring":
        return total / 2
    return total / max(1, npus - 1) if topology == "FullyConnected" else total


def values_of(name: str, design: Mapping[str, Any], base: Cluster) -> dict[str, Any]:
    """Return what a design says, in the words of `machine.build`."""
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
    npus = design["npus"] if "npus" in design else [design.get(f"npus_{d}", 8) for d in range(n)]
    tiers = tuple(d.tier for d in base.dimensions) if name == "cosmic-2025" else _TIERS
    latencies: tuple[float, ...] = _LATENCIES
    if name == "cosmic-2025":
        latencies = tuple(d.latency_ns for d in base.dimensions)
    if "latency_0" in design:
        latencies = tuple(float(design[f"latency_{d}"]) for d in range(n))
    dimensions = []
    for d in range(n):
        topology, along = design[f"topology_{d}"], int(npus[d])
        if f"share_{n - 2}" in design:
            shares = [design["share_0"], design["share_1"]]
            shares.append(100 - sum(shares))
            dollars = NETWORK_BUDGET * shares[d] / 100
            width = dollars / (_N * dollars_per_gb(topology, max(2, along), _TIERS[d]))
        elif name == "cosmic-2025":
            # As in its files, whatever the dimension's NPUs.
            parts = {"Ring": 2, "FullyConnected": 7, "Switch": 1}[topology]
            width = design[f"bandwidth_{d}"] / parts
        else:
            width = _per_link(topology, along, float(design.get(f"bandwidth_{d}", 300.0)))
        dimensions.append(Dimension(topology, along, width, latencies[d], tiers[d]))
    values["dimensions"] = tuple(dimensions)
    if name == "cosmic-2025":
        total = prod(map(int, npus))
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
