"""What a dataset holds, in counts and ranges."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from archgym.datasets.columns import SPLIT
from archgym.datasets.counts import Tally
from archgym.datasets.decoding import coded, numbers
from archgym.datasets.metadata import About
from archgym.datasets.split import PARTS
from archgym.datasets.stored import open_stored
from archgym.metrics import MetricSpec

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MetricRange", "Summary", "summarise_dataset"]


@final
@dataclass(frozen=True)
class MetricRange:
    """The smallest and the largest value of a metric, NaN where there is none."""

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
    """Of the data files."""
    tally: Tally
    """By part and by study."""
    by_agent: dict[str, int]
    """Rows by agent; empty text for environments and people."""
    by_workload: dict[str, int]
    by_space: dict[str, int]
    metrics: tuple[MetricRange, ...]


def summarise_dataset(path: str | Path) -> Summary:
    """Goes through a dataset once and counts.

    Raises:
      FileFormatError: It is no dataset, or is damaged.
      StorageError: It cannot be read.
    """
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
                rows = batch if len(parts) == 1 else _of_part(batch, part)
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


def _of_part(batch: "pa.RecordBatch", part: str) -> "pa.RecordBatch":
    import pyarrow.compute as pc

    return batch.filter(pc.equal(batch.column(SPLIT), part))


def _widened(known: MetricRange, values: np.ndarray) -> MetricRange:
    # NaN counts for nothing unless there is nothing else.
    lowest = np.fmin.reduce(values, initial=known.lowest)
    highest = np.fmax.reduce(values, initial=known.highest)
    return MetricRange(known.spec, float(lowest), float(highest))
