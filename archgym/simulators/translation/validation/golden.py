"""Designs whose every metric is recorded, so that no number changes unseen."""

import csv
import io
from collections.abc import Callable, Iterable
from importlib import resources
from typing import Any, Final

import numpy as np

from archgym.simulators.translation.metrics import METRICS
from archgym.simulators.translation.simulator import TranslationSimulator

__all__ = ["GOLDEN_WORKLOADS", "golden_rows", "golden_text", "recorded_rows"]

_SPACE: Final = "limits"
_CHANGES: Final = (
    "",
    "mechanism=victima",
    "mechanism=victima victima_predictor=always cluster_pages=4 victima_probe=serial",
    "mechanism=victima l2_cache_replacement=lru victima_insertion=walk",
    "mechanism=victima victima_insertion=eviction victima_max_block_ways=4 l2_cache_kib=1024",
    "mechanism=victima execution=virtualised huge_page_percent=60",
    "mechanism=pom_tlb far_tlb_entries=16384",
    "mechanism=pom_tlb pom_tlb_insertion=walk",
    "mechanism=l3_tlb l3_tlb_latency_cycles=30",
    "mechanism=cluster cluster_pages=16 fragmentation_percent=50",
    "mechanism=prefetch tlb_replacement=fifo",
    "mechanism=hash huge_page_percent=0",
    "mechanism=perfect",
    "execution=virtualised nested_tlb_entries=16",
    "l2_tlb_entries=65536 l2_tlb_ways=16",
    "l2_tlb_entries=65536 l2_tlb_ways=16 l2_tlb_latency=ideal",
    "l2_tlb_entries=4096 l2_tlb_ways=4 l2_tlb_latency=cacti-ratio tlb_replacement=srrip",
    "l2_tlb_fill=victim tlb_replacement=random l1_tlb_ways=full l1_tlb_entries=96",
    "walk_cache_entries=0 l1_tlb_entries=16 l1_tlb_ways=1 l1_huge_tlb_entries=8",
    "huge_page_percent=100 fragmentation_percent=90 l2_cache_kib=8192",
)
GOLDEN_WORKLOADS: Final = ("kmer-count", "graph-search", "sort")
"""Shipped traces on which they run, under the fidelity `short`."""


def golden_rows(
    progress: Callable[[str], None] | None = None,
) -> list[tuple[str, str, np.ndarray]]:
    """Workload, changes to the default design and metrics (n_metrics,) of each row, run now."""
    simulator = TranslationSimulator(_SPACE, fidelity="short")
    space = simulator.space
    default = dict(space.design_at(space.default_indices))
    designs = [default | _changed(simulator, changes) for changes in _CHANGES]
    indices = space.indices_of_many(designs)
    rows = []
    for name in GOLDEN_WORKLOADS:
        if progress is not None:
            progress(f"golden rows on {name}")
        values = simulator.evaluate_batch(indices, simulator.workload(name)).values
        rows += [(name, changes, row) for changes, row in zip(_CHANGES, values, strict=True)]
    return rows


def golden_text(rows: Iterable[tuple[str, str, np.ndarray]]) -> str:
    """Return the content of `data/golden.csv` that records rows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["workload", "changes", *(spec.name for spec in METRICS)])
    for name, changes, values in rows:
        writer.writerow([name, changes, *(f"{value:.12g}" for value in values)])
    return text.getvalue()


def recorded_rows() -> dict[tuple[str, str], dict[str, float]]:
    """Return the recorded metrics, by workload and changes."""
    path = resources.files("archgym.simulators.translation").joinpath("data/golden.csv")
    return {
        (row.pop("workload"), row.pop("changes")): {name: float(v) for name, v in row.items()}
        for row in csv.DictReader(path.read_text("utf-8").splitlines())
    }


def _changed(simulator: TranslationSimulator, changes: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for change in changes.split():
        name, text = change.split("=")
        parameter = simulator.space.parameter(name)
        values = [parameter.value(number) for number in range(parameter.size)]
        found[name] = next(value for value in values if str(value) == text)
    return found
