"""The spaces hold every knob, tie what hangs together, and one of them can be tabulated."""

import numpy as np
import pytest

from archgym.errors import UnknownNameError
from archgym.simulators.translation.space import SPACE_NAMES, design_space


def changed(space: str, **values: object) -> np.ndarray:
    """Indices of the default design with these values, (1, n)."""
    whole = design_space(space)
    design = dict(whole.design_at(whole.default_indices)) | values
    return whole.indices_of(design)[None, :]


def active(space: str, **values: object) -> set[str]:
    whole = design_space(space)
    flags = whole.active(changed(space, **values))[0]
    return {name for name, flag in zip(whole.names, flags, strict=True) if flag}


def test_default_space_has_over_a_billion_designs() -> None:
    counted = design_space("default").count()

    assert counted.low > 1e9


def test_tabulated_space_has_at_most_a_hundred_thousand_designs() -> None:
    counted = design_space("tabulated").count()

    assert counted.exact
    assert counted.value == 98_280


def test_hardware_leaves_out_what_the_system_decides() -> None:
    left_out = set(design_space("default").names) - set(design_space("hardware").names)

    assert left_out == {
        "huge_page_percent",
        "fragmentation_percent",
        "execution",
        "nested_tlb_entries",
    }
    assert design_space("hardware").count().low > 1e9


@pytest.mark.parametrize("name", ["default", "hardware", "limits"])
def test_walkers_are_a_knob_only_where_they_matter(name: str) -> None:
    assert "walkers" not in design_space(name).names
    assert "walkers" in design_space(name, has_walkers=True).names


def test_hashed_table_needs_native_execution() -> None:
    space = design_space("default")
    both = changed("default", mechanism="hash", execution="virtualised")

    assert space.constraints[space.violations(both)[0]].name == "one-hashed-table"


def test_mechanisms_that_nobody_can_build_are_only_in_limits() -> None:
    assert "perfect" not in design_space("default").parameter("mechanism").allowed()
    assert "perfect" in design_space("limits").parameter("mechanism").allowed()
    assert "l2_tlb_latency" not in design_space("default").names
    assert "ideal" in design_space("limits").parameter("l2_tlb_latency").allowed()


@pytest.mark.parametrize("name", ["default", "limits"])
def test_radix_has_no_knobs_of_mechanisms(name: str) -> None:
    means_something = active(name, mechanism="radix")

    assert not {
        n for n in means_something if n.startswith(("victima", "pom", "far", "l3", "cluster"))
    }


def test_predictors_thresholds_mean_nothing_without_the_predictor() -> None:
    boxed = active("default", mechanism="victima")
    always = active("default", mechanism="victima", victima_predictor="always")

    assert boxed - always == {
        "victima_min_walks",
        "victima_max_walks",
        "victima_min_memory_walks",
        "victima_max_memory_walks",
        "victima_bypass_mpki",
    }


def test_priority_of_blocks_means_nothing_under_lru() -> None:
    srrip = active("default", mechanism="victima")
    lru = active("default", mechanism="victima", l2_cache_replacement="lru")

    assert srrip - lru == {"victima_block_priority", "victima_pressure_mpki"}


def test_far_tlb_has_its_knobs() -> None:
    in_memory = active("default", mechanism="pom_tlb") - active("default")
    on_chip = active("default", mechanism="l3_tlb") - active("default")

    assert in_memory == {"far_tlb_entries", "pom_tlb_insertion"}
    assert on_chip == {"far_tlb_entries", "l3_tlb_latency_cycles"}


def test_nested_tlb_needs_a_virtual_machine() -> None:
    assert active("default", execution="virtualised") - active("default") == {"nested_tlb_entries"}


@pytest.mark.parametrize(("entries", "ways", "is_feasible"), [(1536, 12, True), (2048, 12, False)])
def test_entries_of_the_l2_tlb_fill_whole_sets(entries: int, ways: int, is_feasible: bool) -> None:
    indices = changed("default", l2_tlb_entries=entries, l2_tlb_ways=ways)

    assert design_space("default").feasible(indices)[0] == is_feasible


@pytest.mark.parametrize("name", SPACE_NAMES)
def test_designs_can_be_sampled_one_at_a_time(name: str) -> None:
    space = design_space(name)
    rng = np.random.default_rng(0)

    drawn = np.concatenate([space.sample(1, rng) for _ in range(20)])

    assert space.feasible(drawn).all()
    assert space.is_canonical(drawn).all()


def test_unknown_space_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="tabulated"):
        design_space("tabulate")
