"""Whether a table says what its simulator says, and what follows from its own rows."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from archgym.datasets.optimum import Optimum, OptimumSearch
from archgym.datasets.table import TableSimulator
from archgym.declaration import Declaration
from archgym.errors import InvalidArgumentError
from archgym.simulator import Simulator
from archgym.task import Task

if TYPE_CHECKING:
    from archgym.standin import StandIn

__all__ = ["simulator_of", "verify_table"]

_CHUNK = 2**16


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
    table: TableSimulator, simulator: Simulator, n_designs: int, seed: int = 0
) -> Iterator[str]:
    """Yields what is wrong, in sentences; nothing where all is well.

    All columns are compared with their hashes, the optima are found anew, and random designs are
    simulated anew and compared bit for bit.

    Args:
      table: Which.
      simulator: What it was made of.
      n_designs: How many of its designs are simulated, on each workload.
      seed: What chooses them.

    Raises:
      FileFormatError: A column is damaged.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.choice(table.rows, size=min(n_designs, table.rows), replace=False)
    indices = table.space.unflat(table.numbers[np.sort(chosen)])
    for facts in table.declaration.workloads:
        workload = simulator.workload(facts.names[0])
        if workload.digest != facts.digest:
            yield f"Workload {facts.name!r} has another content now."
            continue
        there = table.evaluate_batch(indices, table.workload(facts.name))
        here = simulator.evaluate_batch(indices, workload)
        same = (there.values.view(np.int64) == here.values.view(np.int64)) | (
            np.isnan(there.values) & np.isnan(here.values)
        )
        differs = ~(same.all(axis=1) & (there.reason == here.reason))
        if differs.any():
            row = int(np.argmax(differs))
            yield (
                f"On workload {facts.name!r}, {int(differs.sum())} of {len(indices)} designs "
                f"differ from the simulator, the first of them "
                f"{dict(table.space.design_at(indices[row]))!r}."
            )
    for optimum in table.optima:
        if _found(table, optimum) != optimum:
            on = "+".join(optimum.weights)
            yield f"The optimum for {optimum.objective.name!r} on {on} is not that of its rows."


def _found(table: TableSimulator, optimum: Optimum) -> Optimum:
    """The optimum of the same task, from the rows."""
    if not all(0 < weight < math.inf for weight in optimum.weights.values()):
        raise InvalidArgumentError(f"{table.path} has an optimum with weights that are not so.")
    task = Task.make(table, dict(optimum.weights), optimum.objective)
    search = OptimumSearch(task, range(len(task.workloads)))
    results = [table.results(w.workload.name) for w in task.workloads]
    for start in range(0, table.rows, _CHUNK):
        rows = slice(start, start + _CHUNK)
        search.add(
            table.numbers[rows],
            np.stack([values[rows] for values, _ in results], axis=1),
            np.stack([reason[rows] for _, reason in results], axis=1),
        )
    return search.optimum()
