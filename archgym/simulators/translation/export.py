"""Hardware of address translation as parameters in the style of ChampSim.

ChampSim's keys describe TLBs, page-walk caches and data caches. It has no mechanism beyond radix
walks, so that those stand in a section of our own, `archgym`.
"""

import json
from dataclasses import asdict
from typing import Any, Final

from archgym.simulators.translation.hardware import Hardware

CHAMPSIM: Final = "champsim"
_LINE_BYTES: Final = 64
_PAGE_BYTES: Final = 4096
_POLICIES: Final = {"tlb_srrip": "srrip"}
# Fields of the hardware that ChampSim's keys state.
_STATED: Final = (
    "l1_fetch_entries", "l1_fetch_ways", "l1_entries", "l1_ways", "l2_entries", "l2_ways",
    "l2_cycles", "l1_cache_kib", "l1_cache_ways", "l1_cache_cycles", "l2_cache_kib",
    "l2_cache_ways", "l2_cache_cycles", "l3_cache_kib", "l3_cache_ways", "l3_cache_cycles",
)  # fmt: skip


def champsim_files(hardware: Hardware) -> dict[str, str]:
    """Return the parameters of hardware as a file."""
    return {"champsim_config.json": json.dumps(champsim_config(hardware), indent=4) + "\n"}


def champsim_config(hardware: Hardware) -> dict[str, Any]:
    """Return the parameters of hardware: ChampSim's sections, then those it lacks."""
    h = hardware
    l1_policy = h.l1_policy or h.tlb_policy
    config: dict[str, Any] = {
        "block_size": _LINE_BYTES,
        "page_size": _PAGE_BYTES,
        "num_cores": 1,
        "ITLB": _array(h.l1_fetch_entries, h.l1_fetch_ways, 1, l1_policy),
        "DTLB": _array(h.l1_entries, h.l1_ways, 1, l1_policy),
        "STLB": _array(h.l2_entries, h.l2_ways, h.l2_cycles, h.tlb_policy),
        "PTW": _walker(h),
        "L1D": _cache(h.l1_cache_kib, h.l1_cache_ways, h.l1_cache_cycles, "lru"),
        "L2C": _cache(h.l2_cache_kib, h.l2_cache_ways, h.l2_cache_cycles, h.l2_cache_policy),
        "LLC": _cache(h.l3_cache_kib, h.l3_cache_ways, h.l3_cache_cycles, "lru"),
        "virtual_memory": {"pte_page_size": _PAGE_BYTES, "num_levels": 4},
    }
    rest = {name: value for name, value in asdict(h).items() if name not in _STATED}
    return {**config, "archgym": rest}


def _array(entries: int, ways: int, cycles: int, policy: str) -> dict[str, Any]:
    return {"sets": entries // ways, "ways": ways, "latency": cycles, "replacement": policy}


def _cache(kib: int, ways: int, cycles: int, policy: str) -> dict[str, Any]:
    return _array(kib * 1024 // _LINE_BYTES, ways, cycles, _POLICIES.get(policy, policy))


def _walker(h: Hardware) -> dict[str, int]:
    """Return the page-walk caches; ChampSim numbers them by the level that they point to."""
    found: dict[str, int] = {"mshr_size": h.walkers}
    for level, entries in (
        (4, h.walk_cache_4_entries),
        (3, h.walk_cache_3_entries),
        (2, h.walk_cache_2_entries),
    ):
        ways = min(h.walk_cache_ways, entries)
        found[f"pscl{level}_set"] = entries // ways if ways else 0
        found[f"pscl{level}_way"] = ways
    return found
