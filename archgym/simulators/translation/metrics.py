"""Metrics of the translation simulator: cycles, area and power from counters, and objectives.

A core with a reorder buffer has a clock in the kernel (`timing`): its cycles are counted. The other
cores are additive, similar to interval analysis:

cycles = instructions x CPI + hidden x look-ups in the L2 TLB x its latency
         + exposed x cycles that follow a miss in the L2 TLB + overlapped x cycles of data beyond L1

Report speedups only as ratios on the same trace.

`area_mm2` is the area of a slice of a processor: one core, its caches and its TLBs. Only structures
that designs change are computed; the rest of the slice is 32 mm2 less those of the default design.
Absolute power may be wrong by a factor of two; only ratios between designs are meaningful.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Final, final

import numpy as np

from archgym.physics.arrays import TABLE_NODE, Array, cache_array, tlb_array
from archgym.physics.economics import NODES
from archgym.simulators.kit import Goal, Limit, MetricSpec, Objective, Term, require_kept
from archgym.simulators.translation.kernel.counters import CLASSES, COLUMN
from archgym.simulators.translation.machine import Core, Hardware

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
_TIED: Final = dict.fromkeys(("ipc", "speedup"), "-total_cycles")
METRICS: Final = tuple(
    MetricSpec(*row, identifies=True, tied=_TIED.get(row[0], "")) for row in _ROWS
)
_SIMULATED: Final = [spec.name for spec in METRICS if spec.formula is None]


_SPEED: Final = Term("speedup", "maximise")
_AREA, _POWER = Term("area_mm2", "minimise"), Term("power_mw", "minimise")
_BUDGET: Final = (Limit("area_mm2", "<=", AREA_BUDGET_MM2),)
_WITHIN: Final = f"Speedup within a slice of {AREA_BUDGET_MM2} mm2."
_OBJECTIVES: Final = (
    Objective("speed-under-area", (_SPEED,), _WITHIN, _BUDGET),
    Objective("speed-per-area", (_SPEED, _AREA), "Speedup over the area of the slice."),
    Objective("speed-area-power", (_SPEED, _AREA, _POWER), "Trade-off of speedup, area and power."),
)
OBJECTIVES: Final[Mapping[str, Objective]] = {o.name: o for o in _OBJECTIVES}

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


@final
@dataclass(frozen=True)
class Cycles:
    """Cycles of one run by cause.

    On a core with a reorder buffer, `misses` are the cycles in which the oldest instruction waits
    for a translation, `l2_tlb` is 0, and `data` is the rest.
    """

    instructions: float
    l2_tlb: float
    misses: float
    data: float

    @property
    def total(self) -> float:
        """Total cycles."""
        return self.instructions + self.l2_tlb + self.misses + self.data

    @property
    def translation(self) -> float:
        """Cycles of the L2 TLB and of its misses."""
        return self.l2_tlb + self.misses


def count_cycles(hardware: Hardware, counters: np.ndarray, core: Core) -> Cycles:
    """Return the cycles of a design from its counters, (n_counters,) int64, on a core."""

    def count(name: str) -> int:
        return int(counters[COLUMN[name]])

    dispatched = core.cycles_per_instruction * count("instructions")
    if core.reorder_entries:
        total = count("core_cycles")
        stalled = min(count("translation_stall_cycles"), total)
        busy = min(dispatched, total - stalled)
        return Cycles(busy, 0.0, stalled, total - stalled - busy)
    is_perfect = hardware.mechanism == "perfect" or hardware.free_l2_tlb
    lookups = 0 if is_perfect else count("l2_hits") + count("l2_misses")
    return Cycles(
        dispatched,
        core.l2_tlb_exposed * lookups * hardware.l2_cycles,
        core.miss_exposed * count("exposed_miss_cycles"),
        core.data_exposed * count("data_cycles"),
    )


CLOCK_GHZ: Final = 2.6
"""Clock of the core; the public Victima artifact."""
SLICE_MM2: Final = 32.0
"""chosen: one core with its caches of a server processor of the 22 nm generation."""
# chosen: DDR4 takes about 15 nJ for the activation, transfer and precharge of 64 B.
_MEMORY_READ_PJ: Final = 15_000.0
# Two more bits in the tag of each line of the L2 cache: 64 Kibit in 2 MiB, of 22 nm SRAM with its
# share of the periphery.
_VICTIMA_TAG_MM2_PER_KIB: Final = 0.015 / 2048
# The predictor: 24 bytes of counters of the published design, at the density of those tags, and
# four comparators.
_VICTIMA_PREDICTOR_MM2: Final = 0.015 * (24 * 8) / 65536
# A clustered entry has a valid bit for each page in addition to 64 data and 49 tag bits.
_ENTRY_BITS: Final = 64 + 49


@final
@dataclass(frozen=True)
class _Structures:
    """Arrays of a design; a look-up reads each of these once."""

    l1_fetch_tlb: Array
    l1_tlb: Array
    """TLBs of both page sizes, which are read together."""
    l2_tlb: Array
    walk_caches: Array
    """Caches of all three levels, which are read together."""
    nested_tlb: Array
    l3_tlb: Array
    l2_cache: Array
    additions: Array
    """Area of the mechanism in other structures, whose energy includes it."""

    @property
    def translation(self) -> tuple[Array, ...]:
        """Arrays that only translate: all except the L2 cache."""
        return (
            self.l1_fetch_tlb, self.l1_tlb, self.l2_tlb, self.walk_caches, self.nested_tlb,
            self.l3_tlb, self.additions,
        )  # fmt: skip


def area_mm2(hardware: Hardware) -> float:
    """Return the area of the slice with this design."""
    own, default = _structures(hardware), _structures(Hardware())
    if hardware.node == TABLE_NODE:
        return SLICE_MM2 + (_area(own) - _area(default))
    # The rest of the slice is taken to shrink as logic.
    logic = NODES[hardware.node].logic / NODES[TABLE_NODE].logic
    return logic * (SLICE_MM2 - _area(default)) + _area(own)


def translation_area_mm2(hardware: Hardware) -> float:
    """Return the area of TLBs, walk caches and the mechanism's additions."""
    return sum(array.area_mm2 for array in _structures(hardware).translation)


def power_mw(hardware: Hardware, counters: np.ndarray, cycles: float) -> float:
    """Return the average power of TLBs, caches and reads of memory: leakage and energy over time.

    Args:
      hardware: The design.
      counters: (n_counters,) int64, its counts.
      cycles: Its cycles, above 0.
    """
    parts = _structures(hardware)
    l1_cache, l3_cache = _unchanged(hardware)

    def count(name: str) -> int:
        return int(counters[COLUMN[name]])

    def missed(level: str) -> int:
        return sum(count(f"{level}_{name}_misses") for name in CLASSES)

    l2_lookups = count("l2_hits") + count("l2_misses")
    fills = count("l2_misses") + count("prefetch_fills")
    walks = count("walks") + count("background_walks")
    inserts = count("block_inserts_on_miss") + count("block_inserts_on_eviction")
    # chosen: a probe for TLB blocks costs one read of the L2 cache. Its tags alone would be
    # cheaper, but two page sizes are probed. A fill or an insert costs as much as a read.
    probes = count("l2_misses") if hardware.mechanism == "victima" else 0
    l1_cache_reads = sum(count(f"l1_cache_{name}_reads") for name in CLASSES)
    energy_pj = (
        count("accesses") * parts.l1_tlb.read_pj
        + count("fetches") * parts.l1_fetch_tlb.read_pj
        + (l2_lookups + fills) * parts.l2_tlb.read_pj
        + walks * parts.walk_caches.read_pj
        + (count("nested_hits") + count("nested_misses")) * parts.nested_tlb.read_pj
        + count("l2_misses") * parts.l3_tlb.read_pj
        + l1_cache_reads * l1_cache.read_pj
        + (missed("l1_cache") + probes + inserts) * parts.l2_cache.read_pj
        + (missed("l2_cache") + count("l2_cache_prefetches")) * l3_cache.read_pj
        + missed("l3_cache") * _MEMORY_READ_PJ
    )
    # One picojoule per nanosecond is one milliwatt.
    return leakage_mw(hardware) + energy_pj / (cycles / CLOCK_GHZ)


def leakage_mw(hardware: Hardware) -> float:
    """Return the part of the power that TLBs and caches leak."""
    parts = _structures(hardware)
    l1_cache, l3_cache = _unchanged(hardware)
    leaked = sum(array.leakage_mw for array in (*parts.translation, parts.l2_cache))
    # The L1 caches of instructions and data leak the same.
    return leaked + (2 * l1_cache.leakage_mw + l3_cache.leakage_mw)


def memory_mw(counters: np.ndarray, cycles: float) -> float:
    """Return the part of the power that reads of memory take."""
    reads = sum(int(counters[COLUMN[f"l3_cache_{name}_misses"]]) for name in CLASSES)
    return reads * _MEMORY_READ_PJ / (cycles / CLOCK_GHZ)


def _unchanged(hardware: Hardware) -> tuple[Array, Array]:
    """Return the L1 and L3 caches, which no design changes."""
    sizes = hardware.l1_cache_kib, hardware.l3_cache_kib
    l1_cache, l3_cache = (cache_array(kib).at_node(hardware.node) for kib in sizes)
    return l1_cache, l3_cache


def _area(parts: _Structures) -> float:
    return sum(array.area_mm2 for array in (*parts.translation, parts.l2_cache))


@cache
def _additions(mechanism: str, l2_cache_kib: int) -> Array:
    if mechanism != "victima":
        return Array()
    area = _VICTIMA_TAG_MM2_PER_KIB * l2_cache_kib + _VICTIMA_PREDICTOR_MM2
    base = cache_array(l2_cache_kib)
    return Array(area, 0.0, base.leakage_mw * area / base.area_mm2, 0.0)


def _structures(hardware: Hardware) -> _Structures:
    l2_tlb = _tlb(hardware.l2_entries, hardware.l2_ways)
    if hardware.mechanism == "cluster":
        l2_tlb = l2_tlb.scaled(1.0 + hardware.cluster_pages / _ENTRY_BITS)
    has_l3_tlb = hardware.mechanism == "l3_tlb"
    arrays = {
        "l1_fetch_tlb": _tlb(hardware.l1_fetch_entries, hardware.l1_fetch_ways),
        "l1_tlb": _together(
            _tlb(hardware.l1_entries, hardware.l1_ways),
            _tlb(hardware.l1_huge_entries, hardware.l1_huge_ways),
        ),
        "l2_tlb": l2_tlb,
        "walk_caches": _together(
            tlb_array(hardware.walk_cache_4_entries),
            tlb_array(hardware.walk_cache_3_entries),
            tlb_array(hardware.walk_cache_2_entries),
        ),
        "nested_tlb": _tlb(hardware.nested_entries if hardware.virtualised else 0, 0),
        "l3_tlb": _tlb(hardware.l3_tlb_entries, hardware.l3_tlb_ways)
        if has_l3_tlb
        else tlb_array(0),
        "l2_cache": cache_array(hardware.l2_cache_kib),
        "additions": _additions(hardware.mechanism, hardware.l2_cache_kib),
    }
    return _Structures(**{name: each.at_node(hardware.node) for name, each in arrays.items()})


def _tlb(entries: int, ways: int) -> Array:
    return tlb_array(entries, is_fully_associative=entries > 0 and ways == entries)


def _together(*arrays: Array) -> Array:
    area, read, leakage, access = zip(*arrays, strict=True)
    return Array(sum(area), sum(read), sum(leakage), max(access))
