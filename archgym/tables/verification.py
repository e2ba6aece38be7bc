"""Verification of a table against its simulator and against its own rows."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from archgym.errors import InvalidArgumentError
from archgym.evaluation.simulator import Simulator
from archgym.evaluation.specification import WorkloadFacts
from archgym.runtime.progress import StageProgress
from archgym.tables.optimum import Optimum, OptimumSearch
from archgym.tables.simulator import TableSimulator
from archgym.tables.writing import parameter_array
from archgym.tasks.task import Task

if TYPE_CHECKING:
    import pyarrow as pa

# chosen: designs that are simulated at once, a second's work at some milliseconds each.
_SIMULATED_AT_ONCE = 256


def verify_table(
    table: TableSimulator,
    simulator: Simulator,
    n_designs: int,
    seed: int = 0,
    progress: StageProgress | None = None,
) -> Iterator[str]:
    """Yield problems in sentences; nothing for a sound table.

    All columns are compared with their hashes, and those of parameters with the designs' numbers.
    Optima are computed again. Random designs are simulated again and compared bit for bit.

    Args:
      simulator: Simulator that it was made with.
      n_designs: Number of its designs that are simulated on each workload.
      seed: Random seed of their choice.
      progress: Called with the progress.

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
    yield from _strange_parameters(table, progress)
    yield from _absent_optima(table)
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
    """Return True for designs whose results differ from the simulator's, (n,) bool."""
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


def _strange_parameters(table: TableSimulator, progress: StageProgress | None) -> Iterator[str]:
    """Return problems in columns of parameters, which must match the designs' numbers."""
    wrong: dict[str, tuple[int, str]] = {}
    parameters = table.space.parameters
    indices = np.empty((0, len(parameters)), dtype=np.int64)
    begin = -1
    for parameter, start, column in table.parameter_pieces():
        stop = start + len(column)
        if start != begin:
            begin, indices = start, table.space.unflat(table.numbers[start:stop])
        expected = parameter_array(parameter, indices[:, parameters.index(parameter)])
        if not _are_equal(column, expected):
            both = zip(column.to_pylist(), expected.to_pylist(), strict=True)
            differs = [row for row, (found, own) in enumerate(both) if found != own]
            n, first = wrong.get(parameter.name, (0, ""))
            if differs:
                row = differs[0]
                first = first or (
                    f"design {table.numbers[start + row]}: it has {str(column[row])[:80]!r} for "
                    f"{str(expected[row])[:80]!r}"
                )
                wrong[parameter.name] = n + len(differs), first
        if progress is not None:
            progress("parameters", stop, table.rows)
    for name, (n, first) in wrong.items():
        yield (
            f"Parameter {name!r} is not what the numbers of the designs say in {n:,} of "
            f"{table.rows:,} rows, the first of them {first}."
        )


def _are_equal(column: "pa.Array", expected: "pa.Array") -> bool:
    """Return True if two columns of one type are equal."""
    import pyarrow as pa

    plain = [
        array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
        for array in (column, expected)
    ]
    return bool(plain[0].equals(plain[1]))


def _absent_optima(table: TableSimulator) -> Iterator[str]:
    """Return missing optima of a table; `tasks_of` lists the required ones."""
    names = [facts.name for facts in table.declaration.workloads]
    mixtures = [[name] for name in names] + ([names] if len(names) > 1 else [])
    known = {(o.objective.name, frozenset(o.weights)) for o in table.optima}
    objectives = dict.fromkeys([*table.spec.objectives, *(o.objective.name for o in table.optima)])
    for mixture in mixtures:
        for objective in objectives:
            if (objective, frozenset(mixture)) not in known:
                yield f"The optimum for {objective!r} on {'+'.join(mixture)} is not there."


def _found(table: TableSimulator, optimum: Optimum) -> Optimum:
    """Return the optimum of the same task, from the rows."""
    if not all(0 < weight < math.inf for weight in optimum.weights.values()):
        raise InvalidArgumentError(f"{table.path} has an optimum with weights that are not so.")
    # The objective as it was recorded, perhaps before a limit of physics was declared.
    task = replace(Task.make(table, dict(optimum.weights)), objective=optimum.objective)
    search = OptimumSearch(task, range(len(task.workloads)))
    for rows, values, reason in table.pieces([w.workload.name for w in task.workloads]):
        search.add(table.numbers[rows], values, reason)
    return search.optimum()
