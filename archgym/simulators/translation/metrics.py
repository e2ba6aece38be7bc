"""Metrics of the translation simulator, their computation from counters, and objectives."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np

from archgym.evaluation.limits import Limit
from archgym.evaluation.metrics import Goal, MetricSpec
from archgym.evaluation.objective import Objective, Term
from archgym.evaluation.simulator import require_kept
from archgym.simulators.translation.counters import CLASSES, COLUMN
from archgym.simulators.translation.cycles import Core, count_cycles
from archgym.simulators.translation.hardware import Hardware
from archgym.simulators.translation.physics import area_mm2, power_mw, translation_area_mm2

AREA_BUDGET_MM2: Final = 32.5
"""chosen: half a mm2 above the default design; an L2 TLB of 65,536 entries alone needs more."""

_MPKI: Final = "misses/kinstruction"
_WALKS: Final = "walks/kinstruction"
# Smallest meaningful differences: a thousandth of an event per thousand instructions, and a tenth
# of a cycle of a mean latency.
_RATE, _LATENCY = 1e-3, 0.1


_PROGRAM_DOC: Final = "the program's data and instructions"
_TABLE_DOC: Final = "page-table entries, a mechanism's table included"

_ROWS: Final[tuple[tuple[str, str, Goal, float, str], ...]] = (
    ("total_cycles", "cycles", "minimise", 1.0, "Cycles of the trace after warm-up."),
    ("ipc", "instructions/cycle", "maximise", 1e-4, "Instructions per cycle."),
    (
        "speedup", "x", "maximise", 1e-4,
        "Cycles of the default design on the same trace, over this design's.",
    ),
    ("area_mm2", "mm2", "minimise", 1e-3, "Area of one core's slice, 32 with the default design."),
    (
        "translation_area_mm2", "mm2", "minimise", 1e-4,
        "Area of TLBs, walk caches and the mechanism's additions.",
    ),
    ("power_mw", "mW", "minimise", 0.1, "Average power of TLBs, caches and reads of memory."),
    ("l1_tlb_mpki", _MPKI, "minimise", _RATE, "Misses of the L1 TLBs."),
    ("l2_tlb_mpki", _MPKI, "minimise", _RATE, "Misses of the L2 TLB."),
    ("walks_per_kilo_instruction", _WALKS, "minimise", _RATE, "Walks that the program waits for."),
    (
        "background_walks_per_kilo_instruction", _WALKS, "none", _RATE,
        "Walks for TLB blocks and prefetches, which nothing waits for.",
    ),
    (
        "mechanism_hit_percent", "%", "none", 1e-2,
        "Misses of the L2 TLB that the mechanism served without a walk.",
    ),
    ("mean_walk_latency_cycles", "cycles", "minimise", _LATENCY, "Mean time of a walk."),
    ("p99_walk_latency_cycles", "cycles", "minimise", 1.0, "99th percentile of a walk's time."),
    (
        "mean_l2_tlb_miss_latency_cycles", "cycles", "minimise", _LATENCY,
        "Mean time from the L2 TLB's miss to the translation, with or without a walk.",
    ),
    ("translation_percent", "%", "none", 1e-2, "Share of the cycles that translation takes."),
    (
        "translation_reach_mib", "MiB", "none", 1e-2,
        "Reach of full TLBs beyond L1 with 4 KiB pages, and of TLB blocks on average.",
    ),
    ("block_reach_mib", "MiB", "none", 1e-2, "Average reach of TLB blocks in the L2 cache."),
    *(
        (f"{level.lower()}_cache_{kind}_mpki", _MPKI, "none", _RATE, f"{level} misses of {doc}.")
        for level in ("L1", "L2", "L3")
        for kind, doc in (("data", _PROGRAM_DOC), ("table", _TABLE_DOC))
    ),
    ("l2_cache_block_mpki", _MPKI, "none", _RATE, "Look-ups of TLB blocks that miss."),
)  # fmt: skip
METRICS: Final = tuple(MetricSpec(*row, identifies=True) for row in _ROWS)
_SIMULATED: Final = [spec.name for spec in METRICS if spec.formula is None]


_SPEED: Final = Term("speedup", "maximise")
_AREA, _POWER = Term("area_mm2", "minimise"), Term("power_mw", "minimise")
_BUDGET: Final = (Limit("area_mm2", "<=", AREA_BUDGET_MM2),)
_WITHIN: Final = f"Speedup within a slice of {AREA_BUDGET_MM2} mm2."
_OBJECTIVES: Final = (
    Objective("speed-under-area", (_SPEED,), _WITHIN, _BUDGET, revision=1),
    Objective("speed-per-area", (_SPEED, _AREA), "Speedup over the area of the slice."),
    Objective("speed-area-power", (_SPEED, _AREA, _POWER), "Trade-off of speedup, area and power."),
)
OBJECTIVES: Final[Mapping[str, Objective]] = {o.name: o for o in _OBJECTIVES}
# Release 0.1.0 charged for area over the budget, at a weight that no speedup paid for.
FORMER_OBJECTIVES: Final[Mapping[str, Objective]] = {
    "speed-under-area": Objective(
        "speed-under-area",
        (_SPEED, Term("area_mm2", "at-most", weight=20.0, target=AREA_BUDGET_MM2)),
        f"{_WITHIN[:-1]}, as a target.",
    )
}

# Counts are exact.
_require = partial(require_kept, "translation", rounding=0.0)
_PAGE_MIB: Final = 4 / 1024
_PROGRAM, _TABLES = CLASSES[:2], CLASSES[2:]


def measures(
    hardware: Sequence[Hardware], counters: np.ndarray, core: Core, baseline_cycles: float
) -> np.ndarray:
    """Return metrics of designs, (n, n_metrics) in the order of `METRICS`.

    Args:
      hardware: n designs.
      counters: (n, n_counters), counts of each design on one trace.
      core: The core.
      baseline_cycles: Cycles of the default design on the same trace.
    """
    values = np.empty((len(hardware), len(_SIMULATED)))
    for row, design in enumerate(hardware):
        found = _measures_of(design, counters[row], core, baseline_cycles)
        values[row] = [found[name] for name in _SIMULATED]
    return values


def check_counters(counters: np.ndarray) -> None:
    """Check that the counts, (n, n_counters), are consistent.

    Raises:
      SimulatorError: An invariant is violated; the message has the difference.
    """
    column = {name: counters[:, place] for name, place in COLUMN.items()}
    served = column["l3_tlb_hits"] + column["pom_hits"] + column["block_hits"]
    _require(
        "hits and misses of the L2 TLB are the misses of the L1 TLBs",
        column["l2_hits"] + column["l2_misses"],
        column["l1_misses"] + column["l1_fetch_misses"],
    )
    _require(
        "walks are the misses of the L2 TLB that nothing else served",
        column["walks"],
        column["l2_misses"] - served,
    )
    for name in CLASSES:
        # Lines fetched for one class may serve another, but misses never exceed look-ups.
        levels = [column[f"l1_cache_{name}_reads"]]
        levels += [column[f"l{level}_cache_{name}_misses"] for level in (1, 2, 3)]
        for above, below in pairwise(levels):
            _require(f"misses of {name} are at most the look-ups", np.minimum(above, below), below)
    exposed = column["exposed_miss_cycles"]
    _require(
        "exposed cycles are at most all cycles",
        np.minimum(exposed, column["miss_cycles"]),
        exposed,
    )


def _measures_of(
    hardware: Hardware, counters: np.ndarray, core: Core, baseline_cycles: float
) -> dict[str, float]:
    def count(name: str) -> int:
        return int(counters[COLUMN[name]])

    instructions = count("instructions")
    cycles = count_cycles(hardware, counters, core)
    served = count("l3_tlb_hits") + count("pom_hits") + count("block_hits")
    block_reach = _ratio(count("sampled_reach_kib") / 1024, count("samples"))

    def rate(events: int) -> float:
        return 1000.0 * events / instructions

    found = {
        "total_cycles": cycles.total,
        "ipc": instructions / cycles.total,
        "speedup": baseline_cycles / cycles.total,
        "area_mm2": area_mm2(hardware),
        "translation_area_mm2": translation_area_mm2(hardware),
        "power_mw": power_mw(hardware, counters, cycles.total),
        "l1_tlb_mpki": rate(count("l1_misses") + count("l1_fetch_misses")),
        "l2_tlb_mpki": rate(count("l2_misses")),
        "walks_per_kilo_instruction": rate(count("walks")),
        "background_walks_per_kilo_instruction": rate(count("background_walks")),
        "mechanism_hit_percent": 100.0 * _ratio(served, count("l2_misses")),
        "mean_walk_latency_cycles": _ratio(count("walk_cycles"), count("walks")),
        "p99_walk_latency_cycles": float(count("walk_p99_cycles")),
        "mean_l2_tlb_miss_latency_cycles": _ratio(count("miss_cycles"), count("l2_misses")),
        "translation_percent": 100.0 * cycles.translation / cycles.total,
        "translation_reach_mib": _tlb_reach_mib(hardware) + block_reach,
        "block_reach_mib": block_reach,
        "l2_cache_block_mpki": (
            rate(count("l2_misses") - count("block_hits"))
            if hardware.mechanism == "victima"
            else 0.0
        ),
    }
    for level in ("l1", "l2", "l3"):
        for what, names in (("data", _PROGRAM), ("table", _TABLES)):
            missed = sum(count(f"{level}_cache_{name}_misses") for name in names)
            found[f"{level}_cache_{what}_mpki"] = rate(missed)
    return found


def _tlb_reach_mib(hardware: Hardware) -> float:
    """Return the reach of the L2 TLB and a TLB beyond it, with 4 KiB pages or clusters."""
    pages = hardware.l2_entries
    if hardware.mechanism == "cluster":
        pages *= hardware.cluster_pages
    elif hardware.mechanism == "l3_tlb":
        pages += hardware.l3_tlb_entries
    elif hardware.mechanism == "pom_tlb":
        pages += hardware.pom_entries
    return pages * _PAGE_MIB


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
