"""Design spaces of the translation simulator: hardware that translates addresses, and the L2 cache.

`default` has every parameter that someone could build or set. `hardware` leaves out what the system
decides: with huge pages alone, programs of about 100 MiB no longer miss the TLBs. `limits` adds
hardware that nobody can build but studies compare with: a perfect TLB, and L2 TLBs with another
latency model. `tabulated` is small enough for an exhaustive table.

Parameters without effect are inactive: thresholds of Victima's predictor without Victima or without
the predictor, a nested TLB without a virtual machine, and so on. Values and defaults follow
K. Kanellopoulos et al., *Victima: drastically increasing address translation reach by leveraging
underutilized cache resources*, MICRO 2023, and its public artifact.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from archgym.simulators.kit import (
    Categorical,
    Condition,
    Constraint,
    DesignSpace,
    Ordinal,
    P,
    Parameter,
    PowerOfTwo,
    unknown_name,
)
from archgym.simulators.translation.kernel.state import MAX_CHAINS
from archgym.simulators.translation.layout import Memory
from archgym.simulators.translation.machine import (
    DEFAULT_HARDWARE,
    FILLS,
    MECHANISMS,
    TLB_POLICIES,
    Hardware,
    l2_cache_cycles,
    l2_tlb_cycles,
)

SPACE_NAMES: Final = ("default", "hardware", "tabulated", "limits")

# Sub-systems, for one agent each.
GROUPS: Final = {
    "l1-tlb": ("l1_tlb_entries", "l1_tlb_ways", "l1_huge_tlb_entries"),
    "l2-tlb": (
        "l2_tlb_entries", "l2_tlb_ways", "l2_tlb_latency", "tlb_replacement", "l2_tlb_fill",
    ),
    "page-walks": ("walk_cache_entries", "walkers"),
    "mechanism": (
        "mechanism", "far_tlb_entries", "l3_tlb_latency_cycles", "pom_tlb_insertion",
        "cluster_pages", "victima_insertion",
        "victima_predictor", "victima_min_walks", "victima_max_walks",
        "victima_min_memory_walks", "victima_max_memory_walks", "victima_bypass_mpki",
        "victima_block_priority", "victima_pressure_mpki", "victima_max_block_ways",
        "victima_probe",
    ),
    "l2-cache": ("l2_cache_kib", "l2_cache_replacement"),
    "system": ("huge_page_percent", "fragmentation_percent", "execution", "nested_tlb_entries"),
}  # fmt: skip

_BUILDABLE: Final = tuple(name for name in MECHANISMS if name != "perfect")
_TABULATED: Final[dict[str, tuple[int | str, ...]]] = {
    "l1_tlb_entries": (32, 64, 128),
    "l2_tlb_entries": (1024, 1536, 2048, 4096, 16384, 65536),
    "l2_tlb_ways": (4, 12, 16),
    "walk_cache_entries": (0, 16, 64),
    "mechanism": ("radix", "victima", "pom_tlb", "l3_tlb"),
    "far_tlb_entries": (16384, 65536, 262144),
    "l3_tlb_latency_cycles": (15, 25, 40),
    "cluster_pages": (8, 16),
    "victima_min_memory_walks": (1, 2),
    "victima_max_block_ways": (4, 16),
    "l2_cache_kib": (1024, 2048, 4096),
}
_TABULATED_WHOLE: Final = (
    "l2_tlb_fill", "pom_tlb_insertion", "victima_insertion",
    "victima_predictor", "victima_block_priority", "l2_cache_replacement",
)  # fmt: skip


def design_space(name: str, has_walkers: bool = False) -> DesignSpace:
    """Return the space with this name.

    Args:
      name: One of `SPACE_NAMES`.
      has_walkers: Make the number of page walkers a parameter of the wide spaces.

    Raises:
      UnknownNameError: The space does not exist.
    """
    whole = DesignSpace(
        "limits",
        _PARAMETERS,
        _CONSTRAINTS,
        _CONDITIONS,
        "`default` with a perfect TLB and other latencies of L2 TLBs, for comparison.",
    )
    if name == "tabulated":
        return whole.restricted(
            [*_TABULATED, *_TABULATED_WHOLE],
            _TABULATED,
            name,
            "Four mechanisms and the parameters with large effects; small enough for a table.",
        )
    left_out = set() if has_walkers else {"walkers"}
    if name == "limits":
        return whole.restricted([n for n in whole.names if n not in left_out])
    docs = {
        "default": "Parameters that can be built or set.",
        "hardware": "Parameters of hardware; the system has 30 % huge pages and runs natively.",
    }
    if name not in docs:
        raise unknown_name("space", name, SPACE_NAMES)
    left_out |= {"l2_tlb_latency", *(GROUPS["system"] if name == "hardware" else ())}
    kept = [n for n in whole.names if n not in left_out]
    return whole.restricted(kept, {"mechanism": _BUILDABLE}, name, docs[name])


_WALKS: Final = "walks"
_RATE: Final = "misses/kinstruction"
_PARAMETERS: Final[tuple[Parameter, ...]] = (
    # TLBs and walkers.
    Ordinal(
        "l1_tlb_entries", (16, 32, 64, 96, 128), default=64, unit="entries",
        doc="Entries of the L1 TLB for data in pages of 4 KiB.",
    ),
    Categorical(
        "l1_tlb_ways", ("1", "2", "4", "8", "full"), default="4",
        doc="Ways of that L1 TLB; `full` makes it fully associative.",
    ),
    PowerOfTwo(
        "l1_huge_tlb_entries", 8, 32, default=32, unit="entries",
        doc="Entries of the L1 TLB for data in pages of 2 MiB.",
    ),
    Ordinal(
        "l2_tlb_entries",
        (512, 1024, 1536, 2048, 4096, 8192, 16384, 32768, 65536, 131072),
        default=1536, unit="entries", doc="Entries of the L2 TLB, for pages of both sizes.",
    ),
    Ordinal("l2_tlb_ways", (4, 8, 12, 16), default=12, unit="ways", doc="Ways of the L2 TLB."),
    Categorical(
        "l2_tlb_latency", ("published", "cacti-ratio", "ideal"), default="published",
        doc="Growth of the L2 TLB's latency with its entries: through two published latencies, "
        "as the latency of its array, or none.",
    ),
    Categorical(
        "tlb_replacement", TLB_POLICIES, default="lru",
        doc="Replacement policy of the L1 and L2 TLBs.",
    ),
    Categorical(
        "l2_tlb_fill", FILLS, default="both",
        doc="Fill of the L2 TLB: by walks, or by evictions from the L1 TLBs.",
    ),
    Ordinal(
        "walk_cache_entries", (0, 8, 16, 32, 64), default=16, unit="entries",
        doc="Entries of each page-walk cache of levels 4 and 3; level 2 has twice as many.",
    ),
    PowerOfTwo(
        "walkers", 1, 4, default=4, widest=MAX_CHAINS, unit="walkers",
        doc="Page walks that may be in progress at once.",
    ),
    # Mechanisms other than the predictor and blocks of Victima.
    Categorical(
        "mechanism", MECHANISMS, default="radix",
        doc="Mechanism that handles a miss in the L2 TLB before, or instead of, a walk.",
    ),
    Categorical(
        "victima_insertion", ("walk", "eviction", "both"), default="both",
        doc="Event that makes a TLB block: a walk, an eviction from the L2 TLB, or both.",
    ),
    Categorical(
        "pom_tlb_insertion", ("eviction", "walk"), default="eviction",
        doc="Event that fills the TLB in memory: an eviction from the L2 TLB, or a walk.",
    ),
    Ordinal(
        "far_tlb_entries", (16384, 65536, 262144), default=65536, unit="entries",
        doc="Entries of the TLB in memory, or of the L3 TLB.",
    ),
    Ordinal(
        "l3_tlb_latency_cycles", (15, 20, 25, 30, 35, 40), default=15, unit="cycles",
        doc="Latency of the L3 TLB.",
    ),
    Ordinal(
        "cluster_pages", (4, 8, 16), default=8, unit="pages",
        doc="Neighbouring pages that a TLB block, or an entry of a clustered TLB, covers.",
    ),
    # The predictor and the TLB blocks of Victima. The ranges of lower and upper bounds do not
    # overlap, so no box is empty.
    Categorical(
        "victima_predictor", ("box", "always"), default="box",
        doc="Pages that get a TLB block: those with many costly walks, or all.",
    ),
    Ordinal(
        "victima_min_walks", (0, 1, 2, 3), default=1, unit=_WALKS,
        doc="Fewest walks of a costly page.",
    ),
    Ordinal(
        "victima_max_walks", (3, 5, 7), default=7, unit=_WALKS,
        doc="Most walks of one; 7 means any.",
    ),
    Ordinal(
        "victima_min_memory_walks", (0, 1, 2, 4), default=1, unit=_WALKS,
        doc="Fewest walks of a costly page that reached memory.",
    ),
    Ordinal(
        "victima_max_memory_walks", (4, 7, 12, 15), default=12, unit=_WALKS,
        doc="Most walks of a costly page that reached memory; 15 means any.",
    ),
    Ordinal(
        "victima_bypass_mpki", (1, 5, 10), default=5, unit=_RATE,
        doc="Misses of data in the L2 cache above which every page gets a block.",
    ),
    Categorical(
        "victima_block_priority", ("on", "off"), default="on",
        doc="Priority of TLB blocks over data in SRRIP while the L2 TLB is under pressure.",
    ),
    Ordinal(
        "victima_pressure_mpki", (1, 5, 10), default=5, unit=_RATE,
        doc="Misses of the L2 TLB above which blocks have priority.",
    ),
    Ordinal(
        "victima_max_block_ways", (4, 8, 16), default=16, unit="ways",
        doc="Most TLB blocks in a set of the L2 cache; 16 are all of its ways.",
    ),
    Categorical(
        "victima_probe", ("overlapped", "serial"), default="overlapped",
        doc="Probe of the L2 cache: during the look-up in the L2 TLB, or after its miss.",
    ),
    # The L2 cache, memory and execution.
    PowerOfTwo(
        "l2_cache_kib", 512, 8192, default=2048, unit="KiB",
        doc="Capacity of the L2 cache; its latency follows.",
    ),
    Categorical(
        "l2_cache_replacement", ("lru", "srrip"), default="srrip",
        doc="Replacement policy of the L2 cache.",
    ),
    Ordinal(
        "huge_page_percent", (0, 30, 60, 100), default=30, unit="%",
        doc="Share of regions of 2 MiB that become one page if memory allows it.",
    ),
    Ordinal(
        "fragmentation_percent", (0, 50, 90), default=0, unit="%",
        doc="Share of the blocks of 2 MiB in physical memory that are broken before the run.",
    ),
    Categorical(
        "execution", ("native", "virtualised"), default="native",
        doc="Native, or in a virtual machine, whose walks have two dimensions.",
    ),
    PowerOfTwo(
        "nested_tlb_entries", 16, 256, default=64, unit="entries",
        doc="Entries of the nested TLB, from guest-physical to physical pages.",
    ),
)  # fmt: skip

_CONSTRAINTS: Final = (
    Constraint(
        "whole-sets",
        P("l2_tlb_entries") % P("l2_tlb_ways") == 0,
        "the entries of the L2 TLB must be a multiple of its ways; only 1536 are one of 12",
    ),
    Constraint(
        "one-hashed-table",
        (P("mechanism") != "hash") | (P("execution") == "native"),
        "the model hashes the page table of one system, so `hash` needs native execution",
    ),
)

_VICTIMA: Final = P("mechanism") == "victima"
_BOXED: Final = _VICTIMA & (P("victima_predictor") == "box")
_PRIORITISED: Final = _VICTIMA & (P("l2_cache_replacement") == "srrip")
_CONDITIONS: Final = (
    # All latency models agree at the default size.
    Condition("l2_tlb_latency", P("l2_tlb_entries") != 1536),
    Condition("victima_insertion", _VICTIMA),
    Condition("pom_tlb_insertion", P("mechanism") == "pom_tlb"),
    Condition("far_tlb_entries", P("mechanism").is_in("pom_tlb", "l3_tlb")),
    Condition("l3_tlb_latency_cycles", P("mechanism") == "l3_tlb"),
    Condition("cluster_pages", P("mechanism").is_in("victima", "cluster")),
    Condition("victima_predictor", _VICTIMA),
    Condition("victima_min_walks", _BOXED),
    Condition("victima_max_walks", _BOXED),
    Condition("victima_min_memory_walks", _BOXED),
    Condition("victima_max_memory_walks", _BOXED),
    Condition("victima_bypass_mpki", _BOXED),
    Condition("victima_block_priority", _PRIORITISED),
    Condition("victima_pressure_mpki", _PRIORITISED & (P("victima_block_priority") == "on")),
    Condition("victima_max_block_ways", _VICTIMA),
    Condition("victima_probe", _VICTIMA),
    Condition("nested_tlb_entries", P("execution") == "virtualised"),
)
# Fields of the hardware, by parameter.
_RENAMED = {
    "l1_tlb_entries": "l1_entries", "l1_huge_tlb_entries": "l1_huge_entries",
    "l2_tlb_entries": "l2_entries", "l2_tlb_ways": "l2_ways", "tlb_replacement": "tlb_policy",
    "l2_tlb_fill": "fill", "walkers": "walkers", "mechanism": "mechanism",
    "pom_tlb_insertion": "pom_insertion", "l3_tlb_latency_cycles": "l3_tlb_cycles",
    "cluster_pages": "cluster_pages", "victima_predictor": "predictor",
    "victima_min_walks": "frequency_low", "victima_max_walks": "frequency_high",
    "victima_min_memory_walks": "cost_low", "victima_max_memory_walks": "cost_high",
    "victima_bypass_mpki": "bypass_mpki", "victima_pressure_mpki": "pressure_mpki",
    "l2_cache_kib": "l2_cache_kib", "nested_tlb_entries": "nested_entries",
}  # fmt: skip
# With as many TLB blocks as the L2 cache has ways, a set has no limit.
_ALL_WAYS = Hardware().l2_cache_ways


def machine_of(design: Mapping[str, Any]) -> Hardware:
    """Return the hardware of a canonical design; missing parameters have their default."""
    fields = {_RENAMED[name]: value for name, value in design.items() if name in _RENAMED}
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


def machines_of(space: DesignSpace, indices: np.ndarray) -> list[Hardware]:
    """Return the hardware of designs, (n, n_parameters) indices in canonical form."""
    values = [[p.value(i) for i in range(p.size)] for p in space.parameters]
    return [
        machine_of({name: v[i] for name, v, i in zip(space.names, values, row, strict=True)})
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
