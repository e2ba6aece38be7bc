"""Records of a study as columns; `archgym.studies.journal` has their lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from archgym.spaces.space import DesignSpace, design_keys


@final
@dataclass(frozen=True)
class JournalShape:
    """Shape that all records of one study share."""

    sizes: tuple[int, ...]
    """Number of values of each parameter."""
    n_workloads: int
    n_metrics: int
    n_reasons: int
    key: int = 0
    """Start value of the CRC32 of each line: equal for the same search, different for others."""

    @property
    def n_parameters(self) -> int:
        """Number of indices in a design."""
        return len(self.sizes)

    @property
    def line_limit(self) -> int:
        """Bytes that no record exceeds."""
        # The longest error takes twelve bytes a character.
        return 2**17 + 32 * (len(self.sizes) + self.n_workloads * (self.n_metrics + 1))


@final
@dataclass(frozen=True)
class Records:
    """Records as columns, one row each."""

    seq: np.ndarray
    """(n,) int64, number of the ask."""
    indices: np.ndarray
    """(n, n_parameters) int64, as asked."""
    values: np.ndarray
    """(n, n_workloads, n_metrics) float64, NaN for designs not built and for repeats."""
    reason: np.ndarray
    """(n, n_workloads) int16, 0 feasible, -1 failed or repeated, else an index into reasons."""
    reward: np.ndarray
    """(n,) float64, NaN for repeats."""
    same: np.ndarray
    """(n,) int64, seq of the record that this one repeats, or -1."""
    errors: Mapping[int, str]
    """Message of the simulator that broke, by seq."""

    def __len__(self) -> int:
        return len(self.seq)

    @classmethod
    def empty(cls, shape: JournalShape, n: int = 0) -> "Records":
        """Return `n` rows without content."""
        return cls(
            seq=np.zeros(n, dtype=np.int64),
            indices=np.zeros((n, shape.n_parameters), dtype=np.int64),
            values=np.full((n, shape.n_workloads, shape.n_metrics), np.nan),
            reason=np.full((n, shape.n_workloads), -1, dtype=np.int16),
            reward=np.full(n, np.nan),
            same=np.full(n, -1, dtype=np.int64),
            errors={},
        )

    def rows(self, chosen: np.ndarray | slice) -> "Records":
        """Return these rows, in this order."""
        seq = self.seq[chosen]
        kept = self.errors and {n: self.errors[n] for n in seq.tolist() if n in self.errors}
        return Records(
            seq,
            self.indices[chosen],
            self.values[chosen],
            self.reason[chosen],
            self.reward[chosen],
            self.same[chosen],
            kept,
        )

    @classmethod
    def concatenated(cls, parts: Sequence["Records"]) -> "Records":
        """Return all rows of one or more parts, one part after the other."""
        errors: dict[int, str] = {}
        for part in parts:
            errors.update(part.errors)
        columns = ("seq", "indices", "values", "reason", "reward", "same")
        joined = {c: np.concatenate([getattr(part, c) for part in parts]) for c in columns}
        return cls(**joined, errors=errors)


@final
class Ledger:
    """Records that grow in number; those with a `seq` that was lost may come later."""

    def __init__(self, records: Records, space: DesignSpace) -> None:
        self._space = space
        self._held = records
        self._n = len(records)
        self._errors = dict(records.errors)
        self._row = {seq: row for row, seq in enumerate(records.seq.tolist())}
        self._last = int(records.seq.max()) if self._n else -1

    @property
    def last_seq(self) -> int:
        """The largest seq, or -1."""
        return self._last

    @property
    def has_errors(self) -> bool:
        """True if the simulator has broken before."""
        return bool(self._errors)

    def keys(self, indices: np.ndarray) -> list[bytes]:
        """Return one key per design, equal for designs with the same canonical form."""
        return design_keys(self._space.canonical(indices))

    def __contains__(self, seq: int) -> bool:
        return seq in self._row

    def has(self, seq: np.ndarray) -> np.ndarray:
        """Return True if each record is here, (n,) bool."""
        if len(seq) and seq[0] > self._last:
            return np.zeros(len(seq), dtype=bool)
        return np.array([number in self._row for number in seq.tolist()], dtype=bool)

    def records_of(self, seq: np.ndarray) -> Records:
        """Return the records with these numbers, which must be here."""
        rows = np.array([self._row[number] for number in seq.tolist()], dtype=np.int64)
        return self._records().rows(rows)

    def sorted(self) -> Records:
        """Return all records, in seq order."""
        records = self._records()
        if self._n and (np.diff(records.seq) < 0).any():
            return records.rows(np.argsort(records.seq, kind="stable"))
        return records

    def add(self, records: Records) -> None:
        """Take further records."""
        needed = self._n + len(records)
        if needed > len(self._held):
            self._grow(max(1024, 2 * needed))
        place = slice(self._n, needed)
        for column in ("seq", "indices", "values", "reason", "reward", "same"):
            getattr(self._held, column)[place] = getattr(records, column)
        self._errors.update(records.errors)
        self._row.update(zip(records.seq.tolist(), range(self._n, needed), strict=True))
        self._last = max(self._last, int(records.seq[-1]))
        self._n = needed

    def _records(self) -> Records:
        held = self._held
        return Records(
            held.seq[: self._n],
            held.indices[: self._n],
            held.values[: self._n],
            held.reason[: self._n],
            held.reward[: self._n],
            held.same[: self._n],
            self._errors,
        )

    def _grow(self, capacity: int) -> None:
        held = self._held

        def grown(column: np.ndarray) -> np.ndarray:
            larger = np.empty((capacity, *column.shape[1:]), dtype=column.dtype)
            larger[: self._n] = column[: self._n]
            return larger

        self._held = Records(
            grown(held.seq),
            grown(held.indices),
            grown(held.values),
            grown(held.reason),
            grown(held.reward),
            grown(held.same),
            {},
        )
