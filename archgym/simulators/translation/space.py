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

from functools import partial
from typing import Any, Final

from archgym.errors import unknown_name
from archgym.simulators.translation.hardware import FILLS, MECHANISMS, TLB_POLICIES
from archgym.spaces.design import Condition, Constraint
from archgym.spaces.expression import Expression, P
from archgym.spaces.parameter import Categorical, Ordinal, Parameter, PowerOfTwo
from archgym.spaces.space import DesignSpace

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
_TABULATED: Final[dict[str, tuple[int, ...]]] = {
    "l1_tlb_entries": (32, 64, 128),
    "l2_tlb_entries": (1024, 1536, 2048, 4096, 16384, 65536),
    "l2_tlb_ways": (4, 12, 16),
    "walk_cache_entries": (0, 16, 64),
    "far_tlb_entries": (16384, 65536, 262144),
    "l3_tlb_latency_cycles": (15, 25, 40),
    "cluster_pages": (8, 16),
    "victima_min_memory_walks": (1, 2),
    "victima_max_block_ways": (4, 16),
    "l2_cache_kib": (1024, 2048, 4096),
}
_TABULATED_WHOLE: Final = {
    "l2_tlb_fill", "mechanism", "pom_tlb_insertion", "victima_insertion",
    "victima_predictor", "victima_block_priority", "l2_cache_replacement",
}  # fmt: skip


def design_space(name: str, has_walkers: bool = False) -> DesignSpace:
    """Return the space with this name.

    Args:
      name: One of `SPACE_NAMES`.
      has_walkers: Make the number of page walkers a parameter of the wide spaces.

    Raises:
      UnknownNameError: The space does not exist.
    """
    if name == "tabulated":
        return _tabulated()
    docs = {
        "default": "Parameters that can be built or set.",
        "hardware": "Parameters of hardware; the system has 30 % huge pages and runs natively.",
        "limits": "`default` with a perfect TLB and other latencies of L2 TLBs, for comparison.",
    }
    if name not in docs:
        raise unknown_name("space", name, SPACE_NAMES)
    left_out = () if has_walkers else ("walkers",)
    if name != "limits":
        left_out = (*left_out, "l2_tlb_latency")
    if name == "hardware":
        left_out = (*left_out, *GROUPS["system"])
    every = _parameters(MECHANISMS if name == "limits" else _BUILDABLE)
    kept = [parameter for parameter in every if parameter.name not in left_out]
    constraints = [_whole_sets()]
    if name != "hardware":
        constraints.append(
            Constraint(
                "one-hashed-table",
                (P("mechanism") != "hash") | (P("execution") == "native"),
                "the model hashes the page table of one system, so `hash` needs native execution",
            )
        )
    return DesignSpace(name, kept, constraints, _conditions(kept), docs[name])


def _tabulated() -> DesignSpace:
    """Return at most 100,000 designs: parameters with large effects, and few values of each."""
    kept: list[Parameter] = []
    for parameter in _parameters(("radix", "victima", "pom_tlb", "l3_tlb")):
        name, default = parameter.name, parameter.value(parameter.default_index)
        if name in _TABULATED_WHOLE:
            kept.append(parameter)
        elif name in _TABULATED:
            rest: Any = {"default": default, "unit": parameter.unit, "doc": parameter.doc}
            kept.append(Ordinal(name=name, levels=_TABULATED[name], **rest))
    doc = "Four mechanisms and the parameters with large effects; small enough for a table."
    return DesignSpace("tabulated", kept, (_whole_sets(),), _conditions(kept), doc)


def _whole_sets() -> Constraint:
    return Constraint(
        "whole-sets",
        P("l2_tlb_entries") % P("l2_tlb_ways") == 0,
        "the entries of the L2 TLB must be a multiple of its ways; only 1536 are one of 12",
    )


_entries: Final = partial(Ordinal, unit="entries")


def _parameters(mechanisms: tuple[str, ...]) -> tuple[Parameter, ...]:
    """Return the parameters of all spaces, in their order."""
    return (
        *_tlb_parameters(),
        *_mechanism_parameters(mechanisms),
        *_victima_parameters(),
        *_system_parameters(),
    )


def _tlb_parameters() -> tuple[Parameter, ...]:
    """Return the parameters of TLBs and walkers."""
    return (
        _entries(
            name="l1_tlb_entries",
            levels=(16, 32, 64, 96, 128),
            default=64,
            doc="Entries of the L1 TLB for data in pages of 4 KiB.",
        ),
        Categorical(
            name="l1_tlb_ways",
            choices=("1", "2", "4", "8", "full"),
            default="4",
            doc="Ways of that L1 TLB; `full` makes it fully associative.",
        ),
        PowerOfTwo(
            name="l1_huge_tlb_entries",
            low=8,
            high=32,
            default=32,
            unit="entries",
            doc="Entries of the L1 TLB for data in pages of 2 MiB.",
        ),
        _entries(
            name="l2_tlb_entries",
            levels=(512, 1024, 1536, 2048, 4096, 8192, 16384, 32768, 65536, 131072),
            default=1536,
            doc="Entries of the L2 TLB, for pages of both sizes.",
        ),
        Ordinal(
            name="l2_tlb_ways",
            levels=(4, 8, 12, 16),
            default=12,
            unit="ways",
            doc="Ways of the L2 TLB.",
        ),
        Categorical(
            name="l2_tlb_latency",
            choices=("published", "cacti-ratio", "ideal"),
            default="published",
            doc="Growth of the L2 TLB's latency with its entries: through two published latencies, "
            "as the latency of its array, or none.",
        ),
        Categorical(
            name="tlb_replacement",
            choices=TLB_POLICIES,
            default="lru",
            doc="Replacement policy of the L1 and L2 TLBs.",
        ),
        Categorical(
            name="l2_tlb_fill",
            choices=FILLS,
            default="both",
            doc="Fill of the L2 TLB: by walks, or by evictions from the L1 TLBs.",
        ),
        _entries(
            name="walk_cache_entries",
            levels=(0, 8, 16, 32, 64),
            default=16,
            doc="Entries of each page-walk cache of levels 4 and 3; level 2 has twice as many.",
        ),
        PowerOfTwo(
            name="walkers",
            low=1,
            high=4,
            default=4,
            unit="walkers",
            doc="Page walks that may be in progress at once.",
        ),
    )


def _mechanism_parameters(mechanisms: tuple[str, ...]) -> tuple[Parameter, ...]:
    """Return the parameters of mechanisms other than the predictor and blocks of Victima."""
    return (
        Categorical(
            name="mechanism",
            choices=mechanisms,
            default="radix",
            doc="Mechanism that handles a miss in the L2 TLB before, or instead of, a walk.",
        ),
        Categorical(
            name="victima_insertion",
            choices=("walk", "eviction", "both"),
            default="both",
            doc="Event that makes a TLB block: a walk, an eviction from the L2 TLB, or both.",
        ),
        Categorical(
            name="pom_tlb_insertion",
            choices=("eviction", "walk"),
            default="eviction",
            doc="Event that fills the TLB in memory: an eviction from the L2 TLB, or a walk.",
        ),
        _entries(
            name="far_tlb_entries",
            levels=(16384, 65536, 262144),
            default=65536,
            doc="Entries of the TLB in memory, or of the L3 TLB.",
        ),
        Ordinal(
            name="l3_tlb_latency_cycles",
            levels=(15, 20, 25, 30, 35, 40),
            default=15,
            unit="cycles",
            doc="Latency of the L3 TLB.",
        ),
        Ordinal(
            name="cluster_pages",
            levels=(4, 8, 16),
            default=8,
            unit="pages",
            doc="Neighbouring pages that a TLB block, or an entry of a clustered TLB, covers.",
        ),
    )


def _victima_parameters() -> tuple[Parameter, ...]:
    """Return the parameters of the predictor and the TLB blocks of Victima."""
    rate = "misses/kinstruction"
    return (
        Categorical(
            name="victima_predictor",
            choices=("box", "always"),
            default="box",
            doc="Pages that get a TLB block: those with many costly walks, or all.",
        ),
        # The ranges of lower and upper bounds do not overlap, so no box is empty.
        *(
            Ordinal(name=name, levels=levels, default=default, unit=unit, doc=doc)
            for name, levels, default, unit, doc in (
                ("victima_min_walks", (0, 1, 2, 3), 1, "walks", "Fewest walks of a costly page."),
                ("victima_max_walks", (3, 5, 7), 7, "walks", "Most walks of one; 7 means any."),
                (
                    "victima_min_memory_walks", (0, 1, 2, 4), 1, "walks",
                    "Fewest walks of a costly page that reached memory.",
                ),
                (
                    "victima_max_memory_walks", (4, 7, 12, 15), 12, "walks",
                    "Most walks of a costly page that reached memory; 15 means any.",
                ),
                (
                    "victima_bypass_mpki", (1, 5, 10), 5, rate,
                    "Misses of data in the L2 cache above which every page gets a block.",
                ),
            )
        ),
        Categorical(
            name="victima_block_priority",
            choices=("on", "off"),
            default="on",
            doc="Priority of TLB blocks over data in SRRIP while the L2 TLB is under pressure.",
        ),
        Ordinal(
            name="victima_pressure_mpki",
            levels=(1, 5, 10),
            default=5,
            unit=rate,
            doc="Misses of the L2 TLB above which blocks have priority.",
        ),
        Ordinal(
            name="victima_max_block_ways",
            levels=(4, 8, 16),
            default=16,
            unit="ways",
            doc="Most TLB blocks in a set of the L2 cache; 16 are all of its ways.",
        ),
        Categorical(
            name="victima_probe",
            choices=("overlapped", "serial"),
            default="overlapped",
            doc="Probe of the L2 cache: during the look-up in the L2 TLB, or after its miss.",
        ),
    )  # fmt: skip


def _system_parameters() -> tuple[Parameter, ...]:
    """Return the parameters of the L2 cache, memory and execution."""
    return (
        PowerOfTwo(
            name="l2_cache_kib",
            low=512,
            high=8192,
            default=2048,
            unit="KiB",
            doc="Capacity of the L2 cache; its latency follows.",
        ),
        Categorical(
            name="l2_cache_replacement",
            choices=("lru", "srrip"),
            default="srrip",
            doc="Replacement policy of the L2 cache.",
        ),
        Ordinal(
            name="huge_page_percent",
            levels=(0, 30, 60, 100),
            default=30,
            unit="%",
            doc="Share of regions of 2 MiB that become one page if memory allows it.",
        ),
        Ordinal(
            name="fragmentation_percent",
            levels=(0, 50, 90),
            default=0,
            unit="%",
            doc="Share of the blocks of 2 MiB in physical memory that are broken before the run.",
        ),
        Categorical(
            name="execution",
            choices=("native", "virtualised"),
            default="native",
            doc="Native, or in a virtual machine, whose walks have two dimensions.",
        ),
        PowerOfTwo(
            name="nested_tlb_entries",
            low=16,
            high=256,
            default=64,
            unit="entries",
            doc="Entries of the nested TLB, from guest-physical to physical pages.",
        ),
    )


def _conditions(parameters: list[Parameter]) -> tuple[Condition, ...]:
    """Return the conditions under which parameters are active."""
    victima = P("mechanism") == "victima"
    boxed = victima & (P("victima_predictor") == "box")
    prioritised = victima & (P("l2_cache_replacement") == "srrip")
    when: dict[str, Expression] = {
        # All latency models agree at the default size.
        "l2_tlb_latency": P("l2_tlb_entries") != 1536,
        "victima_insertion": victima,
        "pom_tlb_insertion": P("mechanism") == "pom_tlb",
        "far_tlb_entries": P("mechanism").is_in("pom_tlb", "l3_tlb"),
        "l3_tlb_latency_cycles": P("mechanism") == "l3_tlb",
        "cluster_pages": P("mechanism").is_in("victima", "cluster"),
        "victima_predictor": victima,
        "victima_min_walks": boxed,
        "victima_max_walks": boxed,
        "victima_min_memory_walks": boxed,
        "victima_max_memory_walks": boxed,
        "victima_bypass_mpki": boxed,
        "victima_block_priority": prioritised,
        "victima_pressure_mpki": prioritised & (P("victima_block_priority") == "on"),
        "victima_max_block_ways": victima,
        "victima_probe": victima,
        "nested_tlb_entries": P("execution") == "virtualised",
    }
    names = [parameter.name for parameter in parameters]
    return tuple(Condition(name, when[name]) for name in names if name in when)
