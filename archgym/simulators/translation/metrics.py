"""What the translation simulator measures, and what designs are searched for."""

from collections.abc import Mapping
from typing import Final

from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, Term

__all__ = ["AREA_BUDGET_MM2", "METRICS", "OBJECTIVES"]

AREA_BUDGET_MM2: Final = 32.5
"""chosen: half a mm2 above the default design; an L2 TLB of 65,536 entries alone needs more."""

_MPKI: Final = "misses/kinstruction"
_WALKS: Final = "walks/kinstruction"
# Differences below these mean nothing: a thousandth of an event in a thousand instructions, a tenth
# of a cycle of a latency that is a mean of whole numbers.
_RATE, _LATENCY = 1e-3, 0.1


def _cache_rates() -> tuple[MetricSpec, ...]:
    names = {
        "data": "of the program's data and instructions",
        "table": "of page-table entries, a mechanism's table included",
    }
    return tuple(
        MetricSpec(
            f"{level}_cache_{what}_mpki",
            _MPKI,
            "none",
            _RATE,
            f"{title} cache misses {doc}.",
            identifies=True,
        )
        for level, title in (("l1", "L1"), ("l2", "L2"), ("l3", "L3"))
        for what, doc in names.items()
    )


METRICS: Final[tuple[MetricSpec, ...]] = (
    MetricSpec("total_cycles", "cycles", "minimise", 1.0, "Of the trace after warm-up."),
    MetricSpec("ipc", "instructions/cycle", "maximise", 1e-4, "Instructions over cycles."),
    MetricSpec(
        "speedup",
        "x",
        "maximise",
        1e-4,
        "Cycles of the default design on the same trace, over this design's.",
    ),
    MetricSpec(
        "area_mm2", "mm2", "minimise", 1e-3, "Of one core's slice, 32 with the default design."
    ),
    MetricSpec(
        "translation_area_mm2",
        "mm2",
        "minimise",
        1e-4,
        "Of TLBs, walk caches and what the mechanism adds.",
    ),
    MetricSpec("power_mw", "mW", "minimise", 0.1, "Average, of TLBs, caches and reads of memory."),
    MetricSpec("l1_tlb_mpki", _MPKI, "minimise", _RATE, "Misses of the L1 TLBs."),
    MetricSpec("l2_tlb_mpki", _MPKI, "minimise", _RATE, "Misses of the L2 TLB."),
    MetricSpec(
        "walks_per_kilo_instruction", _WALKS, "minimise", _RATE, "Walks that were waited for."
    ),
    MetricSpec(
        "background_walks_per_kilo_instruction",
        _WALKS,
        "none",
        _RATE,
        "Walks for TLB blocks and prefetches, which nothing waits for.",
        identifies=True,
    ),
    MetricSpec(
        "mechanism_hit_percent",
        "%",
        "none",
        1e-2,
        "Misses of the L2 TLB that the mechanism answered without a walk.",
        identifies=True,
    ),
    MetricSpec("mean_walk_latency_cycles", "cycles", "minimise", _LATENCY, "Mean time of a walk."),
    MetricSpec(
        "p99_walk_latency_cycles", "cycles", "minimise", 1.0, "99 % of the walks take no longer."
    ),
    MetricSpec(
        "mean_l2_tlb_miss_latency_cycles",
        "cycles",
        "minimise",
        _LATENCY,
        "Mean time from the L2 TLB's miss to the translation, with a walk or without.",
    ),
    MetricSpec(
        "translation_percent",
        "%",
        "none",
        1e-2,
        "Share of the cycles that translation takes.",
        identifies=True,
    ),
    MetricSpec(
        "translation_reach_mib",
        "MiB",
        "none",
        1e-2,
        "What the TLBs beyond L1 hold when full of 4 KiB pages, and TLB blocks on average.",
        identifies=True,
    ),
    MetricSpec(
        "block_reach_mib",
        "MiB",
        "none",
        1e-2,
        "What TLB blocks in the L2 cache cover on average.",
        identifies=True,
    ),
    *_cache_rates(),
    MetricSpec(
        "l2_cache_block_mpki",
        _MPKI,
        "none",
        _RATE,
        "Look-ups of TLB blocks that found none.",
        identifies=True,
    ),
)


def _objectives() -> Mapping[str, Objective]:
    speed = Term("speedup", "maximise")
    area, power = Term("area_mm2", "minimise"), Term("power_mw", "minimise")
    # chosen: a weight at which no speedup pays for leaving the budget.
    budget = Term("area_mm2", "at-most", weight=20.0, target=AREA_BUDGET_MM2)
    found = (
        Objective(
            "speed-under-area", (speed, budget), f"Speedup within {AREA_BUDGET_MM2} mm2 of slice."
        ),
        Objective("speed-per-area", (speed, area), "Speedup over the area of the slice."),
        Objective(
            "speed-area-power", (speed, area, power), "Speedup, area and power, alike; see a front."
        ),
    )
    return {objective.name: objective for objective in found}


OBJECTIVES: Final = _objectives()
