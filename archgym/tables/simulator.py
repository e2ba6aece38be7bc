"""The simulator that looks every design up in an exhaustive table."""

import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from archgym.errors import FileFormatError
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
        super().__init__(self._file.declaration, self._file.path, self._file.digest)
        if self.name in simulator_names():
            # That of the simulator: an agent asks for the same designs on its table.
            known = simulator_class(self.name)
            self.evaluation_s = known.evaluation_s_of.get(self.space.name, known.evaluation_s)

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
