"""Whether a table says what its simulator says, and what follows from its own rows."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from archgym.declaration import Declaration, WorkloadFacts
from archgym.errors import InvalidArgumentError
from archgym.progress import StageProgress
from archgym.simulator import Simulator
from archgym.tables.optimum import Optimum, OptimumSearch
from archgym.tables.simulator import TableSimulator
from archgym.task import Task

if TYPE_CHECKING:
    from archgym.standin import StandIn

__all__ = ["simulator_of", "verify_table"]

# chosen: designs that are simulated at once, in a second where one takes some milliseconds.
_SIMULATED_AT_ONCE = 256


def simulator_of(stand_in: "StandIn") -> Simulator:
    """The registered simulator that a stand-in was made of.

    Raises:
      UnknownNameError: It is not installed here.
      InvalidArgumentError: Another version of it is.
    """
    from archgym.discovery import simulator_class
    from archgym.simulator import make_simulator

    declared = stand_in.declaration
    simulator = make_simulator(
        simulator_class(declared.simulator),
        declared.space_name,
        declared.fidelity,
        declared.options,
    )
    other = declared.difference(Declaration.of(simulator, declared.space_name, {}))
    if other is not None:
        raise InvalidArgumentError(
            f"{stand_in.path} must be of the simulator as it is installed here; its `{other}` "
            "differs. Use the version that it was made with."
        )
    return simulator


def verify_table(
    table: TableSimulator,
    simulator: Simulator,
    n_designs: int,
    seed: int = 0,
    progress: StageProgress | None = None,
) -> Iterator[str]:
    """Yields what is wrong, in sentences; nothing where all is well.

    All columns are compared with their hashes, the optima are found anew, and random designs are
    simulated anew and compared bit for bit.

    Args:
      table: Which.
      simulator: What it was made of.
      n_designs: How many of its designs are simulated, on each workload.
      seed: What chooses them.
      progress: Told how far it is.

    Raises:
      FileFormatError: A column is damaged.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.choice(table.rows, size=min(n_designs, table.rows), replace=False)
    indices = table.space.unflat(table.numbers[np.sort(chosen)])
    for facts in table.declaration.workloads:
        if simulator.workload(facts.names[0]).digest != facts.digest:
            yield f"Workload {facts.name!r} has another content now."
            continue
        differs = _differs(table, simulator, facts, indices, progress)
        if differs.any():
            row = int(np.argmax(differs))
            yield (
                f"On workload {facts.name!r}, {int(differs.sum())} of {len(indices)} designs "
                f"differ from the simulator, the first of them "
                f"{dict(table.space.design_at(indices[row]))!r}."
            )
    for n_found, optimum in enumerate(table.optima, start=1):
        if _found(table, optimum) != optimum:
            on = "+".join(optimum.weights)
            yield f"The optimum for {optimum.objective.name!r} on {on} is not that of its rows."
        if progress is not None:
            progress("optima", n_found, len(table.optima))


def _differs(
    table: TableSimulator,
    simulator: Simulator,
    facts: WorkloadFacts,
    indices: np.ndarray,
    progress: StageProgress | None,
) -> np.ndarray:
    """Which designs the simulator says something else of, (n,) bool."""
    differs = np.empty(len(indices), dtype=bool)
    for start in range(0, len(indices), _SIMULATED_AT_ONCE):
        rows = slice(start, start + _SIMULATED_AT_ONCE)
        there = table.evaluate_batch(indices[rows], table.workload(facts.name))
        here = simulator.evaluate_batch(indices[rows], simulator.workload(facts.names[0]))
        same = (there.values.view(np.int64) == here.values.view(np.int64)) | (
            np.isnan(there.values) & np.isnan(here.values)
        )
        differs[rows] = ~(same.all(axis=1) & (there.reason == here.reason))
        if progress is not None:
            progress(f"designs on {facts.name}", min(rows.stop, len(indices)), len(indices))
    return differs


def _found(table: TableSimulator, optimum: Optimum) -> Optimum:
    """The optimum of the same task, from the rows."""
    if not all(0 < weight < math.inf for weight in optimum.weights.values()):
        raise InvalidArgumentError(f"{table.path} has an optimum with weights that are not so.")
    task = Task.make(table, dict(optimum.weights), optimum.objective)
    search = OptimumSearch(task, range(len(task.workloads)))
    for rows, values, reason in table.pieces([w.workload.name for w in task.workloads]):
        search.add(table.numbers[rows], values, reason)
    return search.optimum()
