"""Designs on ideal machines, each of which removes one cost.

Latencies change no event in TLBs and caches: without a latency, they hold the same entries. On a
core with a clock, a read of memory may wait longer for its bank, as reads follow each other sooner.
Without translation, without the host's dimension or with a large TLB there are fewer events, so the
contents of the caches differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from archgym.simulators.translation.kernel.prepared import Prepared
from archgym.simulators.translation.kernel.run import run
from archgym.simulators.translation.machine import Core, Hardware
from archgym.simulators.translation.metrics import METRICS, leakage_mw, measures, memory_mw

COSTS: Final[Mapping[str, str]] = {
    "translation": "address translation: a perfect TLB",
    "tlb-reach": "capacity and conflict misses of the L2 TLB",
    "l2-tlb-latency": "time of look-ups in the L2 TLB",
    "walk-latency": "time of table reads beyond the L1 cache",
    "virtualisation": "the host's dimension of walks",
    "data-misses": "time of data beyond the L1 cache",
    "memory": "latency and energy of memory",
    "leakage": "leakage of TLBs and caches",
}
"""By name, a description."""

_CYCLES, _POWER = ([spec.name for spec in METRICS].index(n) for n in ("total_cycles", "power_mw"))
# chosen: four entries for each page, in sets of 16, so that hardly any set is full.
_WAYS: Final = 16
_ENTRIES_A_PAGE: Final = 4


def counted_without(cost: str, ready: Prepared, hardware: Sequence[Hardware]) -> np.ndarray:
    """Return the counts of designs on a trace without one of `COSTS`, as `run` does."""
    return run(ready, [_ideal(cost, ready, design) for design in hardware])


def measures_without(
    cost: str,
    hardware: Sequence[Hardware],
    counters: np.ndarray,
    core: Core,
    baseline_cycles: float,
) -> np.ndarray:
    """Return metrics of designs without one of `COSTS`; areas do not change.

    `counters` are those of `counted_without`; the other arguments are as in `measures`.
    """
    if cost == "l2-tlb-latency":
        # A probe of the L2 cache still overlaps the same cycles.
        hardware = [replace(design, free_l2_tlb=True) for design in hardware]
    values = measures(hardware, counters, core, baseline_cycles)
    for row, design in enumerate(hardware):
        if cost == "memory":
            values[row, _POWER] -= memory_mw(counters[row], values[row, _CYCLES])
        elif cost == "leakage":
            values[row, _POWER] -= leakage_mw(design)
    return values


def _ideal(cost: str, ready: Prepared, design: Hardware) -> Hardware:
    """Return the ideal hardware that the trace runs on."""
    match cost:
        case "translation":
            return replace(design, mechanism="perfect")
        case "tlb-reach":
            n_pages = ready.view(design.virtualised).n_pages
            n_sets = 1 << (_ENTRIES_A_PAGE * n_pages // _WAYS).bit_length()
            return replace(design, l2_entries=_WAYS * n_sets, l2_ways=_WAYS)
        case "walk-latency":
            return replace(design, free_tables=True)
        case "l2-tlb-latency":
            return replace(design, free_l2_tlb=True)
        case "data-misses":
            return replace(design, free_data=True)
        case "virtualisation":
            return replace(design, virtualised=False)
        case "memory":
            return replace(design, memory="flat", memory_cycles=0)
    return design
