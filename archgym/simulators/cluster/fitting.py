"""Default designs that run on a user's model and cluster, where a space's own does not.

Designs are built, not simulated. Those with the fewest changes come first, and among them the one
that cuts the model into the fewest parts, with the least tensor parallelism.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import Any, Final

from archgym.errors import InvalidArgumentError
from archgym.simulators.cluster.designs import Built, Infeasible
from archgym.simulators.cluster.hardware import NPUS
from archgym.simulators.cluster.training import LAYER_FIELDS, memory_bytes
from archgym.simulators.cluster.workloads import Model
from archgym.spaces.space import DesignSpace

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
