"""The simulator that looks every design up in an exhaustive table."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from archgym.errors import FileFormatError
from archgym.evaluation.limits import missed_limits
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.restriction import split_space
from archgym.evaluation.simulator import (
    BatchResult,
    Workload,
    simulator_class,
    simulator_names,
)
from archgym.evaluation.stand_in import StandIn, StandInKind
from archgym.spaces.parameter import Parameter
from archgym.tables.file import TableFile
from archgym.tables.optimum import Optimum

if TYPE_CHECKING:
    import pyarrow as pa

# chosen: combinations for which each one's row is held, in up to 256 MB.
_MAX_DENSE = 2**26
# chosen: numbers that are read for the metrics of an optimum, in up to 128 MB.
_MAX_LOADED = 2**24
# chosen: designs that are judged at once, 40 MB for twenty metrics on a workload.
_PIECE = 2**18


@final
class TableSimulator(StandIn):
    """A simulator whose every result was computed before, and is looked up.

    Its numbers are the simulator's bit for bit, and so its tasks are the simulator's. A workload's
    numbers are read from the file when they are needed first.
    """

    kind: ClassVar[StandInKind] = "table"

    def __init__(self, path: str | Path) -> None:
        """Open a table.

        Raises:
          FileFormatError: The file is not a table, or it is damaged.
          StorageError: It cannot be read.
        """
        self._file = TableFile(path)
        self._results: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._lock = threading.Lock()
        declared = self._file.declaration
        times: dict[str, Any] = {}
        if declared.simulator in simulator_names():
            # That of the simulator: an agent asks for the same designs on its table.
            known, space = simulator_class(declared.simulator).spec, declared.space.name
            time_s = known.evaluation_s_of.get(split_space(space)[0] or "", known.evaluation_s)
            times = {"evaluation_s": time_s}
        super().__init__(declared, self._file.path, self._file.digest, **times)

    @property
    def optima(self) -> tuple[Optimum, ...]:
        """Proven optima stored in the file."""
        return self._file.optima

    @property
    def rows(self) -> int:
        """Number of distinct designs."""
        return self._file.rows

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return self._file.size_bytes

    @cached_property
    def numbers(self) -> np.ndarray:
        """Numbers of all designs in the space, (rows,) int64, increasing."""
        numbers = self._file.numbers()
        numbers.flags.writeable = False
        return numbers

    def results(self, workload: str) -> tuple[np.ndarray, np.ndarray]:
        """Return metrics, (rows, n_metrics), and reasons, (rows,), of all designs on a workload.

        Raises:
          UnknownNameError: The table has no such workload.
          FileFormatError: The file is damaged.
        """
        facts = self.workload_facts(workload)
        with self._lock:
            if facts.digest not in self._results:
                self._results[facts.digest] = self._file.results(
                    self.declaration.workloads.index(facts)
                )
            return self._results[facts.digest]

    def metrics_of(self, number: int, workloads: Sequence[str]) -> np.ndarray:
        """Return metrics of an optimum on some workloads, (w, n_metrics).

        Raises:
          FileFormatError: The file is damaged.
        """
        if self.rows * len(self.metrics) <= _MAX_LOADED:
            row = int(np.searchsorted(self.numbers, number))
            return np.stack([self.results(name)[0][row] for name in workloads])
        facts = [self.workload_facts(name) for name in workloads]
        return self._of_optima[number][[self.declaration.workloads.index(f) for f in facts]]

    @cached_property
    def _of_optima(self) -> dict[int, np.ndarray]:
        """Metrics of the optima, (w, n_metrics), of a large table, read in one pass."""
        numbers = sorted({optimum.number for optimum in self.optima})
        return dict(zip(numbers, self._file.metrics_of(numbers), strict=True))

    def pieces(self, workloads: Sequence[str]) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Yield all designs on some workloads, in pieces.

        Returns:
          Rows of a piece, (n,); metrics, (n, w, n_metrics); reasons, (n, w).
        """
        results = [self.results(name) for name in workloads]
        for start in range(0, self.rows, _PIECE):
            rows = slice(start, start + _PIECE)
            yield (
                rows,
                np.stack([values[rows] for values, _ in results], axis=1),
                np.stack([reason[rows] for _, reason in results], axis=1),
            )

    def parameter_pieces(self) -> "Iterator[tuple[Parameter, int, pa.Array]]":
        """Return columns of the parameters, in pieces, each with the number of its first row.

        Nothing is looked up in them: they are for those who read the file without ArchGym.

        Raises:
          FileFormatError: The file is damaged.
        """
        for start, piece in self._file.parameter_pieces():
            for name, parameter in self._file.columns.parameters.items():
                yield parameter, start, piece.column(name)

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results of designs that are known to be canonical and feasible in the space."""
        values, reason = self.results(workload.name)
        numbers = self.space.flat(indices)
        if self._row_of is not None:
            rows = self._row_of[numbers]
        else:
            rows = np.minimum(np.searchsorted(self.numbers, numbers), self.rows - 1)
            rows[self.numbers[rows] != numbers] = -1
        if len(rows) and rows.min() < 0:
            raise FileFormatError(
                self.path,
                None,
                "it must have a row for each design of its space; one is missing",
                "Build it again with `archgym table build`",
            )
        return BatchResult(values.take(rows, axis=0), reason.take(rows))

    @cached_property
    def _row_of(self) -> np.ndarray | None:
        """Row of each combination, -1 if it is not a design; None if the space is too large."""
        if self.space.size > _MAX_DENSE:
            return None
        row_of = np.full(self.space.size, -1, dtype=np.int32)
        row_of[self.numbers] = np.arange(self.rows, dtype=np.int32)
        return row_of


@final
@dataclass(frozen=True)
class TableSummary:
    """Table with the metrics of its optima."""

    table: TableSimulator

    def best_metric(self, optimum: Optimum) -> tuple[float, MetricSpec] | None:
        """Return the metric of an optimum; None for several terms or workloads."""
        terms = optimum.objective.terms
        if len(terms) != 1 or len(optimum.weights) != 1:
            return None
        column = [spec.name for spec in self.table.metrics].index(terms[0].metric)
        return float(self._values(optimum)[0, column]), self.table.metrics[column]

    def missed_limits(self, optimum: Optimum) -> list[str]:
        """Return the limits of an objective that even its optimum misses, in words."""
        names = [spec.name for spec in self.table.metrics]
        rows = [dict(zip(names, row, strict=True)) for row in self._values(optimum).tolist()]
        return missed_limits(optimum.objective.limits, rows)

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON."""
        made = self.table
        return {
            "table": str(made.path),
            "bytes": made.size_bytes,
            "digest": made.digest,
            "designs": made.rows,
            "combinations": made.space.size,
            "simulator": made.name,
            "version": made.version,
            "options": dict(made.options),
            "fidelity": made.fidelity,
            "space": made.declaration.space_name,
            "workloads": {w.name: w.digest for w in made.declaration.workloads},
            "units": {spec.name: spec.unit for spec in made.metrics},
            "optima": [self._optimum_json(optimum) for optimum in made.optima],
        }

    def _optimum_json(self, optimum: Optimum) -> dict[str, Any]:
        space = self.table.space
        names = [spec.name for spec in self.table.metrics]
        return {
            "weights": dict(optimum.weights),
            "objective": optimum.objective.to_json(),
            "reward": optimum.reward,
            "missed_limits": self.missed_limits(optimum),
            "ties": optimum.n_ties,
            "infeasible": optimum.n_infeasible,
            "design": dict(space.design_at(space.unflat(np.array([optimum.number]))[0])),
            "metrics_by_workload": {
                name: dict(zip(names, row.tolist(), strict=True))
                for name, row in zip(optimum.weights, self._values(optimum), strict=True)
            },
            "front_size": optimum.front_size,
            "front": [
                {"number": p.number, "alike": p.n_alike, "terms": p.terms} for p in optimum.front
            ],
        }

    def _values(self, optimum: Optimum) -> np.ndarray:
        """Return metrics of the best design on each workload, (n_workloads, n_metrics)."""
        return self.table.metrics_of(optimum.number, list(optimum.weights))


def summarise_table(path: Path) -> TableSummary:
    """Summarise a table.

    Raises:
      FileFormatError: The file is not a table, or it is damaged.
      StorageError: The file cannot be read.
    """
    return TableSummary(TableSimulator(path))
