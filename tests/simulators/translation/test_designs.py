"""Designs become the hardware that they mean."""

from typing import Any

import numpy as np
import pytest

from archgym.simulators.translation.layout import Memory
from archgym.simulators.translation.machine import DEFAULT_HARDWARE
from archgym.simulators.translation.space import (
    SPACE_NAMES,
    design_space,
    machine_of,
    machines_of,
    memory_of,
)


def design(**changes: Any) -> dict[str, Any]:
    space = design_space("limits")
    return dict(space.design_at(space.default_indices)) | changes


@pytest.mark.parametrize("name", SPACE_NAMES)
def test_default_design_is_the_default_hardware(name: str) -> None:
    space = design_space(name)
    default = space.default_indices[None, :]

    assert machines_of(space, default) == [DEFAULT_HARDWARE]
    assert memory_of(space, default) == [Memory()]


def test_fully_associative_tlb_has_as_many_ways_as_entries() -> None:
    assert machine_of(design(l1_tlb_entries=96, l1_tlb_ways="full")).l1_ways == 96


def test_walk_cache_of_level_two_is_twice_as_large() -> None:
    hardware = machine_of(design(walk_cache_entries=8))

    assert (hardware.walk_cache_4_entries, hardware.walk_cache_3_entries) == (8, 8)
    assert hardware.walk_cache_2_entries == 16


def test_blocks_have_priority_only_where_there_are_any() -> None:
    assert machine_of(design(mechanism="victima")).l2_cache_policy == "tlb_srrip"
    assert machine_of(design(mechanism="radix")).l2_cache_policy == "srrip"
    off = design(mechanism="victima", victima_block_priority="off")
    assert machine_of(off).l2_cache_policy == "srrip"
    lru = design(mechanism="victima", l2_cache_replacement="lru")
    assert machine_of(lru).l2_cache_policy == "lru"


def test_latencies_follow_from_sizes() -> None:
    large = machine_of(design(l2_tlb_entries=65536, l2_tlb_ways=16, l2_cache_kib=8192))
    ideal = machine_of(design(l2_tlb_entries=65536, l2_tlb_ways=16, l2_tlb_latency="ideal"))

    assert (large.l2_cycles, large.l2_cache_cycles) == (39, 30)
    assert ideal.l2_cycles == 12


def test_all_ways_are_no_limit_of_blocks() -> None:
    assert machine_of(design(victima_max_block_ways=16)).max_block_ways == 0
    assert machine_of(design(victima_max_block_ways=4)).max_block_ways == 4


@pytest.mark.parametrize(
    ("insertion", "on_miss", "on_eviction"),
    [("walk", True, False), ("eviction", False, True), ("both", True, True)],
)
def test_insertion_of_blocks(insertion: str, on_miss: bool, on_eviction: bool) -> None:
    hardware = machine_of(design(mechanism="victima", victima_insertion=insertion))

    assert (hardware.insert_on_miss, hardware.insert_on_eviction) == (on_miss, on_eviction)


def test_memory_takes_shares_from_percentages() -> None:
    space = design_space("default")
    changed = dict(space.design_at(space.default_indices))
    changed |= {"huge_page_percent": 60, "fragmentation_percent": 90}

    memory = memory_of(space, space.indices_of(changed)[None, :])

    assert memory == [Memory(huge_share=0.6, fragmentation=0.9)]


@pytest.mark.parametrize("name", SPACE_NAMES)
def test_no_parameter_is_lost_on_the_way(name: str) -> None:
    space = design_space(name)
    # At this size all models of the L2 TLB's latency differ.
    large = dict(space.design_at(space.default_indices)) | {
        "l2_tlb_entries": 65536,
        "l2_tlb_ways": 16,
    }
    designs = [large | {"mechanism": m} for m in ("victima", "pom_tlb", "l3_tlb")]
    if "execution" in space.names:
        designs.append(large | {"execution": "virtualised"})
    starts = space.indices_of_many(designs)

    for place, parameter in enumerate(space.parameters):
        one = starts[space.active(starts)[:, place]][:1]
        changed = np.repeat(one, parameter.size, axis=0)
        changed[:, place] = np.arange(parameter.size)
        kept = space.canonical(changed[space.feasible(changed)])
        made = zip(machines_of(space, kept), memory_of(space, kept), strict=True)
        assert len(set(made)) == len(kept) >= 2, parameter.name
