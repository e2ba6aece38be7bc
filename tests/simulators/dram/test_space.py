"""Design spaces of the DRAM simulator: their sizes, and what is the same in them."""

import json
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import UnknownNameError
from archgym.simulators.dram.dramsys.mapping import LAYOUTS
from archgym.simulators.dram.space import FIXED, GROUPS, SPACE_NAMES, design_space
from archgym.spaces.space import DesignSpace

MAPPINGS = tuple(LAYOUTS)


def space(name: str, per_bank: bool = False) -> DesignSpace:
    return design_space(name, MAPPINGS, per_bank)


def test_spaces_have_their_sizes() -> None:
    assert space("archgym-2023").size == 1_769_472
    assert space("archgym-2023-rl").size == 442_368
    assert space("default").size == 10_886_400
    assert space("default", per_bank=True).size == 2 * 10_886_400


def test_spaces_have_their_numbers_of_distinct_designs() -> None:
    counts = {name: space(name).count() for name in SPACE_NAMES}

    assert all(count.exact for count in counts.values())
    assert counts["archgym-2023"].value == 561_340
    assert counts["archgym-2023-rl"].value == 146_812
    assert counts["default"].value == 4_164_800
    assert space("default", per_bank=True).count().value == 2 * 4_164_800


@pytest.mark.parametrize(
    ("name", "key"),
    [("archgym-2023", "ACO"), ("archgym-2023-rl", "RL_single_multi_agent_and_Vizier")],
)
def test_published_spaces_are_the_published_ones(reference: Path, name: str, key: str) -> None:
    published = json.loads((reference.parent / "archgym_spaces.json").read_text())
    parameters = published["DRAMGym"]["spaces"][key]["params"]

    ours = [list(p.values) for p in space(name).parameters]  # type: ignore[attr-defined]  # listed
    assert ours == list(parameters.values())


@pytest.mark.parametrize("name", SPACE_NAMES)
@pytest.mark.parametrize("per_bank", [False, True])
def test_default_design_is_the_one_of_dramsys(name: str, per_bank: bool) -> None:
    found = space(name, per_bank)

    design = found.design_at(found.default_indices)

    expected = {
        "page_policy": "Open",
        "scheduler": "FrFcfs",
        "scheduler_buffer": "Bankwise",
        "request_buffer_size": 8,
        "command_mux": "Oldest",
        "response_queue": "Fifo",
        "refresh_policy": "AllBank",
        "refresh_max_postponed": 8,
        "refresh_max_pulled_in": 8,
        "power_down_policy": "NoPowerDown",
        "arbiter": "Simple",
        "max_active_transactions": 128,
        "address_mapping": "row-bank-column",
    }
    assert dict(design) == {key: value for key, value in expected.items() if key in found.names}


def test_no_space_but_the_published_ones_can_go_without_refresh() -> None:
    for per_bank in (False, True):
        text = json.dumps(space("default", per_bank).to_json())
        assert "NoRefresh" not in text
        assert ("PerBank" in text) == per_bank


def active(name: str, **values: object) -> set[str]:
    found = space(name)
    defaults = dict(found.design_at(found.default_indices))
    indices = found.indices_of({**defaults, **values})[None, :]
    return {found.names[i] for i in np.flatnonzero(found.active(indices)[0])}


def inactive(name: str, **values: object) -> set[str]:
    return set(space(name).names) - active(name, **values)


def test_window_means_nothing_to_the_simple_arbiter() -> None:
    # DRAMSys' own files have no conditions, and neither has the space that replays them.
    assert inactive("dramsys") == set()
    for name in set(SPACE_NAMES) - {"dramsys"}:
        assert inactive(name) == {"max_active_transactions"}
        assert inactive(name, arbiter="Reorder") == set()


def test_limits_mean_nothing_without_refresh() -> None:
    assert inactive("archgym-2023", arbiter="Fifo", refresh_policy="NoRefresh") == {
        "refresh_max_postponed",
        "refresh_max_pulled_in",
    }


def test_nothing_is_chosen_from_a_buffer_of_one() -> None:
    assert inactive("default", arbiter="Fifo", request_buffer_size=1) == {
        "scheduler",
        "scheduler_buffer",
        "command_mux",
        "response_queue",
    }


def test_strict_issue_leaves_the_response_queue_nothing_to_order() -> None:
    found = inactive("default", arbiter="Fifo", scheduler="Fifo", command_mux="Strict")

    assert found == {"response_queue"}


def test_strict_needs_fifo() -> None:
    found = space("default")
    defaults = dict(found.design_at(found.default_indices))
    broken = found.indices_of({**defaults, "command_mux": "Strict"})[None, :]

    assert found.violations(broken).tolist() == [0]
    assert "can wait for ever" in found.constraints[0].reason


@pytest.mark.parametrize("name", SPACE_NAMES)
def test_groups_hold_each_parameter_once(name: str) -> None:
    members = [member for group in GROUPS.values() for member in group]

    assert len(members) == len(set(members))
    assert set(space(name, per_bank=True).names) <= set(members)
    assert set(FIXED) <= set(members)


def test_unknown_space_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="archgym-2023"):
        space("archgym-2022")
