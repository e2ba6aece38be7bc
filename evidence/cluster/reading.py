"""Readers of reference files: rows of ASTRA-sim, debug cases, paths and Calculon's runs."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from archgym.simulators.cluster.kernel import state
from archgym.simulators.cluster.kernel.engine import Outcome, simulate
from archgym.simulators.cluster.kernel.graphs import Graphs, Standing
from archgym.simulators.cluster.kernel.iteration import training_graphs
from archgym.simulators.cluster.machine.parallelism import (
    RECOMPUTE,
    Parallelism,
    may_stand,
    memory_bytes,
)
from archgym.simulators.cluster.machine.system import COLLECTIVES, System
from archgym.simulators.cluster.workloads import Model
from evidence.cluster.entries import graphs_of_entries
from evidence.recorded import Record

# What is compared of each kind of row, in this order.
TIMES: Final = ("time_ns", "first_ns", "sum_ns", "exposed_sum_ns")
TRAINING: Final = (*TIMES, "exposed_max_ns", "compute_max_ns", "nodes", "memory_bytes")


def _system(
    cells: Mapping[str, Any],
    parts: Callable[[str], Sequence[Any]],
    algorithms: Callable[[str], Sequence[str]],
) -> System:
    """Return a system; `parts` gives a value of each dimension, `algorithms` of a collective."""
    same: dict[str, Any] = {
        name: cells[name] for name in ("policy", "optimization", "intra", "inter", "backend")
    }
    same |= {name: int(cells[name]) for name in ("splits", "active_chunks", "queues", "inflight")}
    return System(
        topology=tuple(parts("topology")),
        npus=tuple(map(int, parts("npus"))),
        bandwidth=tuple(map(float, parts("bandwidth"))),
        latency=tuple(map(float, parts("latency"))),
        algorithms={name: tuple(algorithms(name)) for name in COLLECTIVES},
        endpoint_ns=int(cells["endpoint_delay"]),
        mem_gb_per_s=float(cells["mem_bw"]),
        peak_tflops=float(cells["peak_tflops"]),
        **same,
    )


def is_symmetric(system: System, parallelism: Parallelism) -> bool:
    """Return true if one NPU for each stage stands for all others, exactly.

    Links must have no congestion, and no collective may be a tree or over a group. A stage's NPUs
    must differ along whole dimensions. Dimensions must be taken in ascending order and have one
    queue each. With more queues, chunks run in both directions, and the order of two arrivals at
    one time depends on the neighbours' numbers. With OfflineGreedy, one NPU decides for others.
    """
    return (
        not system.uses_trees
        and system.queues == 1
        and system.inter == "Ascending"
        and may_stand(system, parallelism)
    )


def simulate_shortcut(system: System, layers: np.ndarray, parallelism: Parallelism) -> Outcome:
    """Return the outcome of an iteration with NPUs that stand for others."""
    return simulate(system, training_graphs(system, layers, parallelism, shortcut=True))


def system_of(cells: Mapping[str, str]) -> System:
    """Return the system of a row."""

    def parts(name: str) -> list[str]:
        return cells[name].split(";")

    return _system(cells, parts, parts)


def system_of_debug(design: Mapping[str, Any]) -> System:
    """Return the system of a debug case."""
    return _system(design, design.__getitem__, design["algorithm"].__getitem__)


def _graphs(system: System, cells: Mapping[str, str]) -> Graphs:
    """Return the graphs of a row of collectives or graphs."""
    everywhere = [0] * system.n_npus
    if "graph" in cells:
        return graphs_of_entries(system, [json.loads(cells["graph"])], everywhere)
    entry: dict[str, Any] = {"kind": "coll", "deps": [], "type": cells["collective"]}
    entry["size"] = int(cells["size"])
    if not cells["group"]:
        entry["dims"] = [digit == "1" for digit in cells["dims"]]
        return graphs_of_entries(system, [[entry]], everywhere)
    members = tuple(map(int, cells["group"].split(";")))
    entry["group"] = 1
    # The others compute, so that they have something to do.
    idle = {"kind": "comp", "deps": [], "flops": 1_000_000, "bytes": 1_000_000}
    graph_of = [0 if npu in members else 1 for npu in range(system.n_npus)]
    return graphs_of_entries(system, [[entry], [idle]], graph_of, {1: members})


def parallelism_of(cells: Mapping[str, str]) -> Parallelism:
    """Return the parallelisation of a row of training iterations."""
    roles = tuple(cells["roles"].split(";")) if cells["mapping"] == "dims" else None
    degrees = {name: int(cells[name]) for name in ("tp", "ep", "dp", "pp")}
    return Parallelism(
        **degrees,
        roles=roles,
        microbatches=int(cells["microbatches"]),
        microbatch=int(cells["microbatch"]),
        schedule=cells["schedule"],
        zero=int(cells["zero"]),
        sp=cells["sp"] == "1",
        recompute=RECOMPUTE[int(cells["recompute"])],
        split="layers",
    )


def recorded(row: Record) -> tuple[int | str, ...]:
    """Return what ASTRA-sim did with a row: `deadlock`, or numbers."""
    cells = row.cells
    if cells["status"] == "deadlock":
        return ("deadlock",)
    names = TRAINING if "workload" in cells else TIMES
    return tuple(int(cells[name]) for name in names)


def _times(outcome: Outcome) -> list[int | str]:
    if outcome.deadlock:
        return ["deadlock"]
    finish, exposed = outcome.finish_ns, outcome.finish_ns - outcome.compute_ns
    return [int(n) for n in (finish.max(), finish.min(), finish.sum(), exposed.sum())]


def observed(
    row: Record, models: Mapping[str, Model]
) -> tuple[tuple[int | str, ...], Sequence[int | str] | None]:
    """Return what the simulator does with a row.

    Returns:
      As `recorded`; and the last NPU's time by the shortcut of one NPU for a stage, None if
      the design does not allow it.
    """
    system = system_of(row.cells)
    if "workload" not in row.cells:
        return tuple(_times(simulate(system, _graphs(system, row.cells)))), None
    layers = models[row.cells["workload"]].layers
    parallelism = parallelism_of(row.cells)
    parallelism.check(system, len(layers))
    graphs = training_graphs(system, layers, parallelism, shortcut=False)
    outcome = simulate(system, graphs)
    result = _times(outcome)
    if not outcome.deadlock:
        exposed = outcome.finish_ns - outcome.compute_ns
        result += [int(exposed.max()), int(outcome.compute_ns.max())]
        result += [int(graphs.ranges[graphs.graph_of, 1].sum())]
        result += [memory_bytes(layers, parallelism)]
    if not is_symmetric(system, parallelism):
        return tuple(result), None
    short = simulate_shortcut(system, layers, parallelism)
    return tuple(result), _times(short)[:2]


def shortcut_of(row: Record, models: Mapping[str, Model]) -> Callable[[], Outcome]:
    """Return what simulates a row with one NPU for each stage, where that is exact."""
    system = system_of(row.cells)
    if "workload" in row.cells:
        layers = models[row.cells["workload"]].layers
        parallelism = parallelism_of(row.cells)
        return lambda: simulate_shortcut(system, layers, parallelism)
    whole = _graphs(system, row.cells)
    address = np.zeros((1, state.MAX_DIMS), dtype=np.int64)
    standing = Standing(address, (0,) * len(system.npus))
    alone = Graphs(
        whole.nodes, whole.following, whole.ranges, whole.graph_of[:1], standing=standing
    )
    return lambda: simulate(system, alone)
