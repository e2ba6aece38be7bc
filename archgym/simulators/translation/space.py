"""Design spaces of the translation simulator: what translates addresses, and the L2 cache.

`default` has every knob that someone could build or set. `hardware` leaves out what the system
decides: with huge pages alone, programs of some 100 MiB no longer miss the TLBs. `limits` adds
what nobody can build but studies compare with: a perfect TLB, and L2 TLBs whose latency
grows otherwise or not at all. `tabulated` is small enough for an exhaustive table.
"""

from archgym.errors import unknown_name
from archgym.simulators.translation.hardware import MECHANISMS
from archgym.simulators.translation.parameters import (
    EXECUTION,
    FILL,
    FRAGMENTATION,
    HUGE_PAGES,
    L1_ENTRIES,
    L1_HUGE_ENTRIES,
    L1_WAYS,
    L2_CACHE_KIB,
    L2_CACHE_REPLACEMENT,
    L2_ENTRIES,
    L2_WAYS,
    LATENCY,
    NESTED_ENTRIES,
    TLB_REPLACEMENT,
    WALK_CACHES,
    WALKERS,
    conditions,
    mechanism,
    mechanism_knobs,
)
from archgym.spaces.design import Constraint
from archgym.spaces.expression import P
from archgym.spaces.parameter import Ordinal, Parameter
from archgym.spaces.space import DesignSpace

__all__ = ["GROUPS", "SPACE_NAMES", "design_space"]

SPACE_NAMES = ("default", "hardware", "tabulated", "limits")

# Sub-systems, for one agent each.
GROUPS = {
    "l1-tlb": ("l1_tlb_entries", "l1_tlb_ways", "l1_huge_tlb_entries"),
    "l2-tlb": (
        *("l2_tlb_entries", "l2_tlb_ways", "l2_tlb_latency", "tlb_replacement", "l2_tlb_fill"),
    ),
    "page-walks": ("walk_cache_entries", "walkers"),
    "mechanism": (
        *("mechanism", "far_tlb_entries", "l3_tlb_latency_cycles", "pom_tlb_insertion"),
        *("cluster_pages", "victima_insertion"),
        *("victima_predictor", "victima_min_walks", "victima_max_walks"),
        *("victima_min_memory_walks", "victima_max_memory_walks", "victima_bypass_mpki"),
        *("victima_block_priority", "victima_pressure_mpki", "victima_max_block_ways"),
        "victima_probe",
    ),
    "l2-cache": ("l2_cache_kib", "l2_cache_replacement"),
    "system": ("huge_page_percent", "fragmentation_percent", "execution", "nested_tlb_entries"),
}

_BUILDABLE = tuple(name for name in MECHANISMS if name != "perfect")


def design_space(name: str, has_walkers: bool = False) -> DesignSpace:
    """Return the space with this name.

    Args:
      name: One of `SPACE_NAMES`.
      has_walkers: Whether the core is one to which the number of page walkers matters.

    Raises:
      UnknownNameError: There is no such space.
    """
    if name == "default":
        doc = "What can be built or set."
        return _wide(name, _BUILDABLE, has_walkers, doc)
    if name == "hardware":
        return _hardware(has_walkers)
    if name == "limits":
        return _wide(
            name,
            MECHANISMS,
            has_walkers,
            "`default` with a perfect TLB and other latencies of L2 TLBs, for comparison.",
            has_latency=True,
        )
    if name == "tabulated":
        return _tabulated(name)
    raise unknown_name("space", name, SPACE_NAMES)


def _wide(
    name: str,
    mechanisms: tuple[str, ...],
    has_walkers: bool,
    doc: str,
    *,
    has_latency: bool = False,
) -> DesignSpace:
    parameters: tuple[Parameter, ...] = (
        L1_ENTRIES,
        L1_WAYS,
        L1_HUGE_ENTRIES,
        L2_ENTRIES,
        L2_WAYS,
        *((LATENCY,) if has_latency else ()),
        TLB_REPLACEMENT,
        FILL,
        WALK_CACHES,
        *((WALKERS,) if has_walkers else ()),
        mechanism(mechanisms),
        *mechanism_knobs(),
        L2_CACHE_KIB,
        L2_CACHE_REPLACEMENT,
        HUGE_PAGES,
        FRAGMENTATION,
        EXECUTION,
        NESTED_ENTRIES,
    )
    constraints = (
        _whole_sets(),
        Constraint(
            "one-hashed-table",
            (P("mechanism") != "hash") | (P("execution") == "native"),
            "the model hashes the page table of one system, so `hash` needs native execution",
        ),
    )
    return DesignSpace(name, parameters, constraints, conditions(parameters), doc)


def _hardware(has_walkers: bool) -> DesignSpace:
    """Return `default` without the parameters of the system."""
    default = design_space("default", has_walkers)
    kept = tuple(p for p in default.parameters if p.name not in GROUPS["system"])
    return DesignSpace(
        "hardware",
        kept,
        (_whole_sets(),),
        conditions(kept),
        "What can be built; the system gives 30 % huge pages and runs no virtual machine.",
    )


def _whole_sets() -> Constraint:
    return Constraint(
        "whole-sets",
        P("l2_tlb_entries") % P("l2_tlb_ways") == 0,
        "the entries of the L2 TLB must be a multiple of its ways; only 1536 are one of 12",
    )


def _tabulated(name: str) -> DesignSpace:
    """At most 100,000 designs: the knobs that matter most, each with its extremes and default."""
    levels: dict[str, tuple[int, ...]] = {
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
    whole = {
        *("l2_tlb_fill", "mechanism", "pom_tlb_insertion", "victima_insertion"),
        *("victima_predictor", "victima_block_priority", "l2_cache_replacement"),
    }
    parameters: list[Parameter] = []
    for parameter in design_space("default").parameters:
        if parameter.name == "mechanism":
            parameters.append(mechanism(("radix", "victima", "pom_tlb", "l3_tlb")))
        elif parameter.name in whole:
            parameters.append(parameter)
        elif parameter.name in levels:
            parameters.append(
                Ordinal(
                    name=parameter.name,
                    levels=levels[parameter.name],
                    default=parameter.value(parameter.default_index),
                    unit=parameter.unit,
                    doc=parameter.doc,
                )
            )
    return DesignSpace(
        name,
        parameters,
        (_whole_sets(),),
        conditions(tuple(parameters)),
        "Four mechanisms and the knobs that matter most; small enough for a table.",
    )
