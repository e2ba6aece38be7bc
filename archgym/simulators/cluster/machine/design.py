"""Systems and parallelisations of designs, and reasons why a design cannot run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.cluster.machine.clusters import Cluster, Dimension, Npu, network_dollars
from archgym.simulators.cluster.machine.parallelism import Parallelism
from archgym.simulators.cluster.machine.system import COLLECTIVES, MAX_DIMS, System
from archgym.simulators.cluster.workloads import LAYER_FIELDS, Model

# chosen: a graph of this many microbatches simulates in about a second.
MAX_MICROBATCHES: Final = 512
MODEL_REASONS: Final = (
    "chunks of different phases wait for each other: a deadlock",
    "the global batch is not a multiple of replicas x microbatch",
    f"an iteration has more than {MAX_MICROBATCHES} microbatches",
    "the model has fewer layers than stages x parts",
    "with interleaving, microbatches must be a multiple of the stages",
    "halving-doubling and trees need a power of two of NPUs in their dimension",
    "degrees of parallelism do not multiply to the NPUs of the dimensions",
    "more is under way at once than can be simulated",
    *(
        f"without congestion, a link of dimension {d} carries more than its bandwidth; such a time "
        "is not possible"
        for d in range(MAX_DIMS)
    ),
)
DEADLOCK, BATCH, TOO_MANY, LAYERS, INTERLEAVING, ALGORITHM, SPLIT, TOO_LARGE, OVERLOAD = range(
    1, 10
)


# Half of what int64 holds, for sums of two.
_MAX_WHOLE: Final = 2.0**62


class Infeasible(Exception):  # noqa: N818 - a verdict, not a fault
    """A design that cannot be built, with its place in `MODEL_REASONS`, from 1."""

    def __init__(self, reason: int, detail: str = "") -> None:
        super().__init__(MODEL_REASONS[reason - 1] + detail)
        self.reason = reason


@final
@dataclass(frozen=True)
class Built:
    """A design that can run: system, parallelisation, layers, and their origin."""

    system: System
    parallelism: Parallelism
    layers: npt.NDArray[np.int64]
    npu: Npu
    dimensions: tuple[Dimension, ...]
    places: tuple[int, ...]
    """Dimension that contains each of the system's dimensions."""

    @property
    def network_dollars(self) -> float:
        """Price of the network."""
        return network_dollars(self.dimensions)


def _imbalance(model: Model, ep: int, placement: str) -> float:
    """Return the load of the fullest NPU of expert parallelism over the mean.

    Experts' popularity is a Zipf law. `contiguous` places experts by number, which are in the
    order of popularity; `balanced` gives the next popular one to the least loaded NPU.
    """
    if model.popularity == 0.0 or model.experts < ep or ep < 2:
        return 1.0
    weight = (1.0 + np.arange(model.experts)) ** -model.popularity
    each = model.experts // ep
    load = np.zeros(ep)
    if placement == "contiguous":
        load = np.add.reduceat(weight, np.arange(ep) * each)
    else:
        held = np.zeros(ep, dtype=np.int64)
        for w in weight:
            # The last NPUs take the remainder.
            free = np.where(held < -(-model.experts // ep), load, np.inf)
            at = int(free.argmin())
            load[at] += w
            held[at] += 1
    return float(load.max() / load.mean())


def system_of(values: Mapping[str, Any], cluster: Cluster) -> tuple[System, tuple[str, ...], Npu]:
    """Return the system of a design, the role of each of its dimensions, and its NPU.

    Args:
      values: As `build` takes them.
      cluster: Cluster of the space.

    Raises:
      Infeasible: Degrees or algorithms do not fit the dimensions.
    """
    dimensions = values.get("dimensions", cluster.dimensions)
    npu: Npu = values.get("npu", cluster.npu)
    roles = tuple(values.get("roles", ()))
    algorithms = tuple(values["algorithms"])
    places = tuple(range(len(dimensions)))
    physical = tuple(dimensions)
    if "degrees" in values:
        places, sizes, roles = split(tuple(d.npus for d in dimensions), values["degrees"])
        parts = []
        for at, (place, n) in enumerate(zip(places, sizes, strict=True)):
            part = replace(physical[place], npus=n)
            is_shared = values.get("shared") or values.get("backend") == "aware"
            if is_shared and part.topology == "Ring":
                # The NPUs of outer parts are `apart` links apart, and as many parts share a link.
                apart = prod(sizes[places.index(place) : at])
                part = replace(
                    part, gb_per_s=part.gb_per_s / apart, latency_ns=part.latency_ns * apart
                )
            parts.append(part)
        dimensions = tuple(parts)
        algorithms = tuple(algorithms[place] for place in places)
    system = replace(network(values, dimensions, npu, algorithms), places=places)
    return system, roles, npu


def build(values: Mapping[str, Any], cluster: Cluster, model: Model, efficiency: float) -> Built:
    """Return a design that can run.

    Args:
      values: Values of the design by name; absent ones have the cluster's value, or the
        default of `System` and `Parallelism`.
      cluster: Cluster of the space.
      model: Workload.
      efficiency: Part of the peak that products reach.

    Raises:
      Infeasible: It cannot be built.
    """
    system, roles, npu = system_of(values, cluster)
    physical = tuple(values.get("dimensions", cluster.dimensions))
    degrees: dict[str, Any] = {
        role: int(np.prod([n for n, r in zip(system.npus, roles, strict=True) if r == role]))
        for role in ("tp", "ep", "dp", "pp", "cp")
    }
    names = ("microbatch", "schedule", "zero", "sp", "recompute", "interleave", "exchanges")
    parallelism = Parallelism(
        **degrees,
        roles=roles,
        efficiency=efficiency,
        **{key: values[key] for key in names if key in values},
    )
    replicas = degrees["dp"] * degrees["ep"]
    if "microbatches" in values:
        # The microbatches that are asked for, or as many as the batch of a replica has samples.
        count = min(int(values["microbatches"]), max(1, model.global_batch // replicas))
        size = model.global_batch // (replicas * count)
        parallelism = replace(parallelism, microbatch=max(1, size))
    microbatches, rest = divmod(model.global_batch, parallelism.microbatch * replicas)
    if rest or not microbatches:
        raise Infeasible(BATCH)
    if microbatches > MAX_MICROBATCHES:
        raise Infeasible(TOO_MANY)
    if degrees["pp"] * parallelism.interleave > len(model.layers):
        raise Infeasible(LAYERS)
    if parallelism.interleave > 1 and microbatches % degrees["pp"]:
        raise Infeasible(INTERLEAVING)
    parallelism = replace(parallelism, microbatches=microbatches)
    factor = _imbalance(model, degrees["ep"], str(values.get("placement", "balanced")))
    _check_range(system, parallelism, model.layers, factor)
    layers = _imbalanced(model, factor)
    return Built(system, parallelism, layers, npu, physical, system.places)


def network(
    values: Mapping[str, Any], dimensions: Sequence[Dimension], npu: Npu, algorithms: Sequence[str]
) -> System:
    """Return the system of a design: NPUs, network and collectives.

    Args:
      values: Values of the design on collectives, by name.
      dimensions: Dimensions of the network.
      npu: Each of the NPUs.
      algorithms: Algorithm of each dimension.

    Raises:
      Infeasible: An algorithm needs another number of NPUs.
    """
    for d, name in zip(dimensions, algorithms, strict=True):
        if name in ("halvingDoubling", "doubleBinaryTree") and d.npus & (d.npus - 1):
            raise Infeasible(ALGORITHM)
    # Halving-doubling has no all-to-all, and a tree would reduce it.
    swaps = tuple(
        "direct" if name in ("halvingDoubling", "doubleBinaryTree") else name for name in algorithms
    )
    by_collective = {
        name: swaps if name == "all_to_all" else tuple(algorithms) for name in COLLECTIVES
    }
    names = ("splits", "policy", "active_chunks", "queues", "optimization", "intra", "inter")
    chosen = {
        key: values[key]
        for key in (*names, "inflight", "endpoint_ns", "sane", "shared", "backend")
        if key in values
    }
    return System(
        topology=tuple(d.topology for d in dimensions),
        npus=tuple(d.npus for d in dimensions),
        bandwidth=tuple(d.gb_per_s for d in dimensions),
        latency=tuple(d.latency_ns for d in dimensions),
        algorithms=by_collective,
        mem_gb_per_s=npu.memory_gb_per_s,
        peak_tflops=npu.peak_tflops,
        **chosen,
    )


def split(
    npus: tuple[int, ...], degrees: Mapping[str, int]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[str, ...]]:
    """Return dimensions cut where degrees of parallelism end: place, NPUs and role of each.

    Roles fill the dimensions in their order. A part of a switch or of a fully connected dimension
    is one itself. A part of a ring counts as a ring, whose last link takes the long way.

    Args:
      npus: NPUs along each dimension, powers of two.
      degrees: Degrees by role, innermost first; their product is the number of NPUs.
    """
    parts: list[tuple[int, int, str]] = []
    wanted = [(role, degree) for role, degree in degrees.items() if degree > 1]
    for place, n in enumerate(npus):
        left = n
        while left > 1 and wanted:
            role, degree = wanted.pop(0)
            taken = int(np.gcd(left, degree))
            if taken == 1:
                raise Infeasible(SPLIT)
            parts.append((place, taken, role))
            left //= taken
            if degree > taken:
                wanted.insert(0, (role, degree // taken))
        if left > 1:
            raise Infeasible(SPLIT)
    if wanted:
        raise Infeasible(SPLIT)
    places, sizes, roles = zip(*parts, strict=True)
    return places, sizes, roles


@final
@dataclass(frozen=True)
class Spread:
    """Model spread over NPUs, as far as lower bounds of an iteration's time know it.

    Communication is left out: messages at the same time do not share a link, so that an exchange
    may take much less than its bytes over a bandwidth.

    Attributes:
      npu: The NPU.
      tensor, sequence, stages: Degrees of tensor, context and pipeline parallelism.
      samples: Samples of a replica.
      microbatches: Least number of microbatches.
    """

    npu: Npu
    tensor: int
    sequence: int
    stages: int
    samples: float
    microbatches: int

    def compute_ns(self, model: Model, flops_per_ns: float, bytes_per_ns: float) -> float:
        """Return a time that the NPU with most to compute exceeds in an iteration [ns].

        A layer takes its operations or its bytes, forward and twice backward. Weights are read for
        each microbatch. Tensor parallelism does not divide layers that are not meant for it.

        Args:
          model: The model.
          flops_per_ns: Rate of products that an NPU reaches.
          bytes_per_ns: Rate of its memory.
        """
        column = {name: model.layers[:, place] for place, name in enumerate(LAYER_FIELDS)}
        tensor = np.where(column["tensor_parallel"] > 0, self.tensor, 1)
        each = self.samples / (tensor * self.sequence)
        flops_ns = column["flops"] * each / flops_per_ns
        weights = (column["params"] // tensor) * self.microbatches
        passes = (
            np.maximum(flops_ns, (column["io"] * each + n_bytes * weights) / bytes_per_ns)
            for n_bytes in (2, 2, 6)
        )
        total = float(sum(taken.sum() for taken in passes)) / self.stages
        # Times, operations and bytes of each node are rounded down.
        return max(0.0, total * (1.0 - 1e-9) - 6.0 * MAX_MICROBATCHES * len(model.layers))


def spread_of(values: Mapping[str, Any], cluster: Cluster, model: Model) -> Spread:
    """Return how a design spreads a model; arguments are those of `build`."""
    if "degrees" in values:
        degree = {"ep": 1} | {role: max(1, n) for role, n in values["degrees"].items()}
    else:
        dimensions = values.get("dimensions", cluster.dimensions)
        pairs = list(zip(dimensions, values["roles"], strict=True))
        roles = ("tp", "pp", "dp", "ep", "cp")
        degree = {role: prod(d.npus for d, own in pairs if own == role) for role in roles}
    samples = model.global_batch / (degree["dp"] * degree["ep"])
    n = 1 if "microbatches" in values else max(1, int(samples) // int(values["microbatch"]))
    npu = values.get("npu", cluster.npu)
    return Spread(npu, degree["tp"], degree["cp"], degree["pp"], samples, n)


def _check_range(
    system: System, parallelism: Parallelism, layers: npt.NDArray[np.int64], factor: float
) -> None:
    """Refuse bytes, operations and times that may not fit int64.

    Raises:
      Infeasible: They may not.
    """
    column = {
        name: layers[:, place].astype(float) * parallelism.microbatch
        for place, name in enumerate(LAYER_FIELDS)
    }
    params = sum(
        float(layers[:, LAYER_FIELDS.index(name)].sum())
        for name in ("params", "expert_params", "table_params")
    )
    of_layer = max(float(values.max()) for values in column.values()) * factor
    of_stage = max(float(column[name].sum()) for name in ("act_in", "act_seq", "act_tp"))
    # Passes forward, again and twice backward; a margin for what stands in queues.
    times = 16.0 * parallelism.microbatches
    power = system.peak_tflops * 1e12 * parallelism.efficiency
    flops = float(column["flops"].sum() + column["core_flops"].sum()) * factor
    moved = float(column["io"].sum() + column["core_act"].sum()) + 28.0 * params
    names = ("act_out", "tp_bytes", "a2a_bytes", "cp_bytes")
    sent = sum(float(column[name].sum()) for name in names) * factor + 4.0 * params
    slowest = min(system.bytes_per_ns) * 1e9
    seconds = flops / power + moved / (system.mem_gb_per_s * 1e9) + sent / slowest
    if max(of_layer, 2.0 * of_stage, times * seconds * 1e9) > _MAX_WHOLE:
        raise Infeasible(TOO_LARGE)


def _imbalanced(model: Model, factor: float) -> npt.NDArray[np.int64]:
    if factor == 1.0:
        return model.layers
    layers = model.layers.copy()
    has_experts = layers[:, LAYER_FIELDS.index("expert_params")] > 0
    for name in ("flops", "a2a_bytes"):
        column = LAYER_FIELDS.index(name)
        scaled = np.floor(layers[has_experts, column] * factor)
        layers[has_experts, column] = scaled.astype(np.int64)
    return layers
