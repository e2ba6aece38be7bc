"""Summary of a dataset in counts and ranges."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from archgym.datasets.columns import SPLIT, IdSet, coded, decoded_ids, numbers, whole_numbers
from archgym.datasets.metadata import About
from archgym.datasets.split import PARTS
from archgym.datasets.stored import open_stored
from archgym.evaluation.metrics import MetricSpec

if TYPE_CHECKING:
    import pyarrow as pa


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
        """Return designs that two parts have in common."""
        return self.parts[one].designs.common(self.parts[other].designs)

    def add(self, path: Path, part: str, batch: "pa.RecordBatch") -> None:
        """Count rows of a part."""
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


@final
@dataclass(frozen=True)
class MetricRange:
    """Smallest and largest value of a metric, NaN without values."""

    spec: MetricSpec
    lowest: float
    highest: float


@final
@dataclass(frozen=True)
class Summary:
    """Counts of a dataset's rows."""

    path: Path
    digest: str
    about: About
    n_bytes: int
    """Size of the data files [bytes]."""
    tally: Tally
    """By part and by study."""
    by_agent: dict[str, int]
    """Rows by agent; empty text for environments and people."""
    by_workload: dict[str, int]
    by_space: dict[str, int]
    metrics: tuple[MetricRange, ...]


def summarise_dataset(path: str | Path) -> Summary:
    """Count the rows of a dataset in one pass.

    Raises:
      FileFormatError: It is not a dataset, or is damaged.
      StorageError: It cannot be read.
    """
    import pyarrow.compute as pc

    stored = open_stored(path)
    parts = PARTS[:1] if stored.about.split is None else PARTS
    tally = Tally(parts)
    counts: dict[str, Counter[str]] = {n: Counter() for n in ("agent", "workload", "space")}
    ranges = {
        name: MetricRange(spec, np.nan, np.nan) for name, spec in stored.columns.metrics.items()
    }
    for file in stored.files:
        for batch in file.batches():
            for part in parts:
                rows = (
                    batch if len(parts) == 1 else batch.filter(pc.equal(batch.column(SPLIT), part))
                )
                tally.add(file.path, part, rows)
            for name, counter in counts.items():
                codes, texts = coded(batch, name)
                for code, n in zip(*np.unique(codes, return_counts=True), strict=True):
                    counter[texts[int(code)] if code >= 0 else ""] += int(n)
            for name, known in ranges.items():
                ranges[name] = _widened(known, numbers(batch, name))
    return Summary(
        stored.path,
        stored.digest,
        stored.about,
        sum(file.path.stat().st_size for file in stored.files),
        tally,
        dict(counts["agent"]),
        dict(counts["workload"]),
        dict(counts["space"]),
        tuple(ranges.values()),
    )


def _widened(known: MetricRange, values: np.ndarray) -> MetricRange:
    # NaN counts for nothing unless there is nothing else.
    lowest = np.fmin.reduce(values, initial=known.lowest)
    highest = np.fmax.reduce(values, initial=known.highest)
    return MetricRange(known.spec, float(lowest), float(highest))
