"""From what the kernel counted to the metrics of a design."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np

from archgym.evaluation.simulator import require_kept
from archgym.simulators.translation.counters import COUNTERS
from archgym.simulators.translation.cycles import Core, count_cycles
from archgym.simulators.translation.hardware import Hardware
from archgym.simulators.translation.metrics import METRICS
from archgym.simulators.translation.physics import area_mm2, power_mw, translation_area_mm2

__all__ = ["check_counters", "measures"]

_COLUMN: Final = {name: place for place, name in enumerate(COUNTERS)}
# Counts are exact.
_require = partial(require_kept, "translation", rounding=0.0)
_PAGE_MIB: Final = 4 / 1024
_PROGRAM: Final = ("data", "fetch")
_TABLES: Final = ("table", "host_table", "side_table")


def measures(
    hardware: Sequence[Hardware], counters: np.ndarray, core: Core, baseline_cycles: float
) -> np.ndarray:
    """Return metrics of designs, (n, n_metrics) in the order of `METRICS`.

    Args:
      hardware: n designs.
      counters: (n, n_counters), what each did on one trace.
      core: What ran them.
      baseline_cycles: Of the default design on the same trace.
    """
    values = np.empty((len(hardware), len(METRICS)))
    for row, design in enumerate(hardware):
        found = _measures_of(design, counters[row], core, baseline_cycles)
        values[row] = [found[spec.name] for spec in METRICS]
    return values


def check_counters(counters: np.ndarray) -> None:
    """Refuse counts that do not add up.

    Args:
      counters: (n, n_counters).

    Raises:
      SimulatorError: Says which invariant, and by how much.
    """
    column = {name: counters[:, place] for name, place in _COLUMN.items()}
    served = column["l3_tlb_hits"] + column["pom_hits"] + column["block_hits"]
    _require(
        "hits and misses of the L2 TLB are the misses of the L1 TLBs",
        column["l2_hits"] + column["l2_misses"],
        column["l1_misses"] + column["l1_fetch_misses"],
    )
    _require(
        "walks are the misses of the L2 TLB that nothing else answered",
        column["walks"],
        column["l2_misses"] - served,
    )
    for name in (*_PROGRAM, *_TABLES):
        # Lines that come for one cause may be asked for by another, but never more often.
        levels = [column[f"l1_cache_{name}_reads"]]
        levels += [column[f"l{level}_cache_{name}_misses"] for level in (1, 2, 3)]
        for above, below in pairwise(levels):
            _require(
                f"a cache misses {name} no more often than asked", np.minimum(above, below), below
            )
    exposed = column["exposed_miss_cycles"]
    _require(
        "overlap leaves no more cycles than there were",
        np.minimum(exposed, column["miss_cycles"]),
        exposed,
    )


def _measures_of(
    hardware: Hardware, counters: np.ndarray, core: Core, baseline_cycles: float
) -> dict[str, float]:
    def count(name: str) -> int:
        return int(counters[_COLUMN[name]])

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
    """What the L2 TLB and a TLB beyond it hold, each entry a page of 4 KiB, or its cluster."""
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
