"""The records of a study in memory, found by number."""

from typing import final

import numpy as np

from archgym.records import Records
from archgym.space import DesignSpace

__all__ = ["Ledger"]


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
        """Whether the simulator has broken before."""
        return bool(self._errors)

    def keys(self, indices: np.ndarray) -> list[bytes]:
        """What designs with the same canonical form have in common."""
        canonical = np.ascontiguousarray(self._space.canonical(indices), dtype=np.int64)
        width = canonical.shape[1] * canonical.itemsize
        content = canonical.tobytes()
        return [content[place : place + width] for place in range(0, len(content), width)]

    def __contains__(self, seq: int) -> bool:
        return seq in self._row

    def has(self, seq: np.ndarray) -> np.ndarray:
        """Whether each record is here, (n,) bool."""
        if len(seq) and seq[0] > self._last:
            return np.zeros(len(seq), dtype=bool)
        return np.array([number in self._row for number in seq.tolist()], dtype=bool)

    def records_of(self, seq: np.ndarray) -> Records:
        """The records with these numbers, which must be here."""
        rows = np.array([self._row[number] for number in seq.tolist()], dtype=np.int64)
        return self._records().rows(rows)

    def sorted(self) -> Records:
        """All records, in seq order."""
        records = self._records()
        if self._n and (np.diff(records.seq) < 0).any():
            return records.rows(np.argsort(records.seq, kind="stable"))
        return records

    def add(self, records: Records) -> None:
        """Takes further records."""
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
