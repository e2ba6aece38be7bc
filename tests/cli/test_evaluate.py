"""`archgym evaluate`."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Archgym

DESIGN = {"mode": "fast", "banks": 4, "depth": 6, "gain": 0.3, "boost": 1}


def test_default_design_has_reward_zero(archgym: Archgym) -> None:
    ran = archgym("evaluate", "plugin", "--json")

    assert ran.code == 0
    assert ran.json["reward"] == 0
    assert ran.json["design"]["mode"] == "off"
    assert ran.json["units"]["latency_ns"] == "ns"


def test_set_changes_the_default_design(archgym: Archgym) -> None:
    ran = archgym("evaluate", "plugin", "--set", "mode=fast", "--set", "gain=0.3", "--json")

    assert ran.json["design"] == {"mode": "fast", "banks": 1, "depth": 1, "gain": 0.3, "boost": 0}


def test_inactive_value_is_named(archgym: Archgym) -> None:
    idle = archgym("evaluate", "plugin", "--set", "boost=2")
    used = archgym("evaluate", "plugin", "--set", "boost=2", "--set", "mode=fast")

    assert idle.code == 0
    assert idle.err == ("warning: `boost` is inactive in this design; its value is ignored.\n")
    assert used.err == ""


def test_design_file_is_evaluated(archgym: Archgym) -> None:
    Path("design.json").write_text(json.dumps(DESIGN))

    ran = archgym("evaluate", "plugin", "--design", "design.json", "--json")

    # 40 ns x (1 + |24 - 24| / 8 + 0) / (1 + 2 + 0.5)
    assert ran.json["metrics"]["latency_ns"] == pytest.approx(40 / 3.5)


def test_partial_design_file_is_filled_with_the_default_design(archgym: Archgym) -> None:
    Path("design.json").write_text('{"mode": "fast", "gain": 0.3}')

    ran = archgym("evaluate", "plugin", "--design", "design.json", "--json")

    assert ran.json["design"] == {"mode": "fast", "banks": 1, "depth": 1, "gain": 0.3, "boost": 0}


def test_what_evaluate_writes_can_be_given_back(archgym: Archgym) -> None:
    first = archgym("evaluate", "plugin", "--set", "banks=8", "--json")
    Path("design.json").write_text(first.out)

    again = archgym("evaluate", "plugin", "--design", "design.json", "--json")

    assert again.json == first.json


def test_baseline_stands_beside_with_ratios(archgym: Archgym) -> None:
    ran = archgym("evaluate", "plugin", "--set", "mode=slow", "--baseline")

    assert "default" in ran.out
    assert "0.500" in ran.out
    assert "better" in ran.out


def test_baseline_of_the_default_design_says_that_nothing_changed(archgym: Archgym) -> None:
    changed = archgym("evaluate", "plugin", "--set", "mode=slow", "--baseline")
    same = archgym("evaluate", "plugin", "--baseline")

    assert "no changes" in same.out
    assert "no changes" not in changed.out


def test_several_workloads_are_averaged_by_weight(archgym: Archgym) -> None:
    ran = archgym("evaluate", "plugin", "-w", "light=3", "-w", "heavy=1", "--json")

    by_workload = ran.json["metrics_by_workload"]
    expected = 0.75 * by_workload["light"]["power_mw"] + 0.25 * by_workload["heavy"]["power_mw"]
    assert ran.json["metrics"]["power_mw"] == pytest.approx(expected)


def test_design_that_cannot_be_built_says_why_and_exits_with_three(archgym: Archgym) -> None:
    ran = archgym("evaluate", "plugin", "--set", "banks=16", "--set", "depth=8")

    assert ran.code == 3
    assert ran.err == "The design is infeasible: The buffer is too large.\n"


def test_design_that_cannot_be_built_is_valid_json(archgym: Archgym) -> None:
    ran = archgym("evaluate", "plugin", "--set", "banks=16", "--set", "depth=8", "--json")

    assert ran.code == 3
    assert ran.json["reason"] == "The buffer is too large."
    assert ran.json["metrics"]["latency_ns"] is None


def test_task_id_names_everything(archgym: Archgym) -> None:
    ran = archgym("evaluate", "plugin[device=large]/default/heavy/low-power-v0", "--json")

    assert ran.json["task"] == "plugin[device=large]/default/heavy/low-power-v0"


def test_target_objective_is_understood(archgym: Archgym) -> None:
    ran = archgym("evaluate", "plugin", "--objective", "target:power_mw<=100", "--json")

    assert ran.json["reward"] == 0


def test_value_that_is_ignored_is_not_shown_as_the_design(archgym: Archgym) -> None:
    ran = archgym("evaluate", "plugin", "--set", "mode=off", "--set", "boost=2")

    assert "its value is ignored" in ran.err
    assert "boost" not in ran.out
