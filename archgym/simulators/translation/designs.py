"""Conversion of designs to the hardware and the memory that the kernel runs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from archgym.simulators.translation.hardware import Hardware
from archgym.simulators.translation.layout import Memory
from archgym.simulators.translation.physics import l2_cache_cycles, l2_tlb_cycles
from archgym.spaces.space import DesignSpace

DEFAULT_HARDWARE: Final = Hardware(memory="rows")
"""Hardware of the default design; fields of `Hardware` that no parameter sets are the same."""

# Fields of the hardware, by parameter.
_RENAMED = {
    "l1_tlb_entries": "l1_entries",
    "l1_huge_tlb_entries": "l1_huge_entries",
    "l2_tlb_entries": "l2_entries",
    "l2_tlb_ways": "l2_ways",
    "tlb_replacement": "tlb_policy",
    "l2_tlb_fill": "fill",
    "walkers": "walkers",
    "mechanism": "mechanism",
    "pom_tlb_insertion": "pom_insertion",
    "l3_tlb_latency_cycles": "l3_tlb_cycles",
    "cluster_pages": "cluster_pages",
    "victima_predictor": "predictor",
    "victima_min_walks": "frequency_low",
    "victima_max_walks": "frequency_high",
    "victima_min_memory_walks": "cost_low",
    "victima_max_memory_walks": "cost_high",
    "victima_bypass_mpki": "bypass_mpki",
    "victima_pressure_mpki": "pressure_mpki",
    "l2_cache_kib": "l2_cache_kib",
    "nested_tlb_entries": "nested_entries",
}
# With as many TLB blocks as the L2 cache has ways, a set has no limit.
_ALL_WAYS = Hardware().l2_cache_ways


def hardware_of(design: Mapping[str, Any], mlp: float = 1.0) -> Hardware:
    """Return the hardware of a design; missing parameters have their default.

    Args:
      design: Values by parameter, in canonical form.
      mlp: Parallel misses of the workload.
    """
    fields = {_RENAMED[name]: value for name, value in design.items() if name in _RENAMED}
    fields["mlp"] = mlp
    if "l1_tlb_ways" in design:
        ways = design["l1_tlb_ways"]
        fields["l1_ways"] = design["l1_tlb_entries"] if ways == "full" else int(ways)
    if "walk_cache_entries" in design:
        entries = design["walk_cache_entries"]
        fields["walk_cache_4_entries"] = fields["walk_cache_3_entries"] = entries
        fields["walk_cache_2_entries"] = 2 * entries
    if "far_tlb_entries" in design:
        fields["pom_entries"] = fields["l3_tlb_entries"] = design["far_tlb_entries"]
    if "victima_insertion" in design:
        fields["insert_on_miss"] = design["victima_insertion"] in ("walk", "both")
        fields["insert_on_eviction"] = design["victima_insertion"] in ("eviction", "both")
    if "victima_max_block_ways" in design:
        ways = design["victima_max_block_ways"]
        fields["max_block_ways"] = 0 if ways == _ALL_WAYS else ways
    if "victima_probe" in design:
        fields["probe_with_l2_tlb"] = design["victima_probe"] == "overlapped"
    if "execution" in design:
        fields["virtualised"] = design["execution"] == "virtualised"
    fields["l2_cycles"] = l2_tlb_cycles(
        design["l2_tlb_entries"], design.get("l2_tlb_latency", "published")
    )
    fields["l2_cache_cycles"] = l2_cache_cycles(design["l2_cache_kib"])
    fields["l2_cache_policy"] = _cache_policy(design)
    return replace(DEFAULT_HARDWARE, **fields)


def hardware_of_many(space: DesignSpace, indices: np.ndarray, mlp: float = 1.0) -> list[Hardware]:
    """Return the hardware of designs, (n, n_parameters) indices in canonical form."""
    values = [[p.value(i) for i in range(p.size)] for p in space.parameters]
    return [
        hardware_of({name: v[i] for name, v, i in zip(space.names, values, row, strict=True)}, mlp)
        for row in indices.tolist()
    ]


def memory_of(space: DesignSpace, indices: np.ndarray) -> list[Memory]:
    """Return the memory of each design."""
    default = Memory()

    def shares(name: str, otherwise: float) -> list[float]:
        if name not in space.names:
            return [otherwise] * len(indices)
        place = space.names.index(name)
        return [float(v) / 100.0 for v in space.parameters[place].array(indices[:, place])]

    huge = shares("huge_page_percent", default.huge_share)
    broken = shares("fragmentation_percent", default.fragmentation)
    return [Memory(huge_share=h, fragmentation=f) for h, f in zip(huge, broken, strict=True)]


def _cache_policy(design: Mapping[str, Any]) -> str:
    """Return LRU, SRRIP, or SRRIP with priority of TLB blocks if the design has it."""
    if design["mechanism"] != "victima" or design["l2_cache_replacement"] != "srrip":
        return str(design["l2_cache_replacement"])
    return "tlb_srrip" if design["victima_block_priority"] == "on" else "srrip"
