"""Counts of what a dataset holds, gathered while its rows pass by."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from archgym.datasets.decoding import coded, decoded_ids, numbers, whole_numbers
from archgym.datasets.design_ids import IdSet

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PartTally", "StudyTally", "Tally"]


@final
@dataclass
class StudyTally:
    """One study's rows."""

    rows: int = 0
    best_reward: float = -np.inf


@final
@dataclass
class PartTally:
    """Rows of one part, or of the whole."""

    rows: int = 0
    feasible: int = 0
    failed: int = 0
    duplicates: int = 0
    designs: IdSet = field(default_factory=IdSet)


@final
class Tally:
    """Counts of a dataset, by part and by study."""

    def __init__(self, parts: Sequence[str]) -> None:
        self.parts = {part: PartTally() for part in parts}
        self.studies: dict[str, StudyTally] = {}

    @property
    def rows(self) -> int:
        """Rows in all parts."""
        return sum(part.rows for part in self.parts.values())

    @property
    def feasible(self) -> int:
        """Rows of designs that were built."""
        return sum(part.feasible for part in self.parts.values())

    @property
    def failed(self) -> int:
        """Rows on which the simulator broke."""
        return sum(part.failed for part in self.parts.values())

    @property
    def duplicates(self) -> int:
        """Rows whose design an earlier row has on the same workload."""
        return sum(part.duplicates for part in self.parts.values())

    @property
    def designs(self) -> int:
        """Distinct designs."""
        parts = list(self.parts.values())
        total = sum(len(part.designs) for part in parts)
        # Three parts at most: what two share is counted twice, what three share once too little.
        pairs = [(a, b) for place, a in enumerate(parts) for b in parts[place + 1 :]]
        total -= sum(a.designs.common(b.designs) for a, b in pairs)
        return total + (_in_all(parts) if len(parts) == 3 else 0)

    def shared(self, one: str, other: str) -> int:
        """Designs that two parts have in common."""
        return self.parts[one].designs.common(self.parts[other].designs)

    def add(self, path: Path, part: str, batch: "pa.RecordBatch") -> None:
        """Counts rows of a part."""
        tally = self.parts[part]
        tally.rows += batch.num_rows
        tally.feasible += int(whole_numbers(path, batch, "feasible").sum())
        tally.failed += batch.num_rows - batch.column("error").null_count
        tally.duplicates += int(whole_numbers(path, batch, "is_duplicate").sum())
        tally.designs.add(decoded_ids(path, batch))
        self._add_studies(batch)

    def _add_studies(self, batch: "pa.RecordBatch") -> None:
        codes, studies = coded(batch, "study_id")
        rows = np.bincount(codes[codes >= 0], minlength=len(studies))
        best = np.full(len(studies) + 1, -np.inf)
        np.fmax.at(best, codes, numbers(batch, "reward"))
        for place in np.flatnonzero(rows).tolist():
            study = self.studies.setdefault(studies[place], StudyTally())
            study.rows += int(rows[place])
            study.best_reward = max(study.best_reward, float(best[place]))


def _in_all(parts: Sequence[PartTally]) -> int:
    first, second, third = (part.designs for part in parts)
    return sum(int((second.contains(ids) & third.contains(ids)).sum()) for ids in first.levels)
