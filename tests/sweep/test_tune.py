"""Tuning finds the settings that are better, and says so only where they are."""

from pathlib import Path

import pytest

from archgym.discovery import agent_class
from archgym.errors import InvalidArgumentError
from archgym.sweep.plan import SweepPlan, TaskPlan, write_recorded_plan
from archgym.sweep.run import run_sweep
from archgym.sweep.table import read_report
from archgym.sweep.tune import draw_hyperparameters, tune, tuning_plan
from tests.sweep.plugin import TroubledAgent

TASK = TaskPlan("task", "plugin")


def test_draws_begin_with_the_defaults_and_differ() -> None:
    found = draw_hyperparameters(agent_class("genetic"), TASK, 20, {})

    assert found[0] == {}
    assert len({repr(sorted(values.items())) for values in found}) == 20
    ranges = {p.name: p for p in agent_class("genetic").hyperparameters}
    for values in found[1:]:
        assert values.keys() == ranges.keys()
        for name, value in values.items():
            ranges[name].index(value)


def test_more_draws_begin_with_the_same_ones() -> None:
    few = draw_hyperparameters(agent_class("genetic"), TASK, 5, {})

    assert draw_hyperparameters(agent_class("genetic"), TASK, 9, {})[:5] == few


def test_settings_that_the_agent_refuses_are_drawn_again_and_small_ranges_end() -> None:
    found = draw_hyperparameters(TroubledAgent, TASK, 1000, {"trouble": "none", "skill": 0})

    # Eleven paces, of which 1.0 is refused and 0.0 is the default.
    assert sorted(values.get("pace_s", 0.0) for values in found) == [n / 10 for n in range(10)]


def test_fixed_ones_are_shared() -> None:
    plan = tuning_plan(TASK, "genetic", 4, 2, 10, {"population": 7})

    assert {agent.hyperparameters["population"] for agent in plan.agents} == {7}
    assert plan.seeds == (0, 1, 2, 3)


@pytest.mark.slow
def test_the_better_setting_wins_and_goes_on_where_it_was() -> None:
    fixed = {"population": 4, "tournament": 1, "mutation": 5.0, "step": 0.5}

    tuning = tune(TASK, "genetic", "tuning", draws=5, seeds=2, budget=60, fixed=fixed)
    again = tune(TASK, "genetic", "tuning", draws=5, seeds=2, budget=60, fixed=fixed)

    means = [draw.mean for draw in tuning.draws]
    assert means == sorted(means, reverse=True)
    assert len(means) == 5
    assert again.entry == tuning.entry
    assert again.outcomes[0].repeated == 10
    facts = tuning.entry.found_by
    assert (facts["draws"], facts["seeds"], facts["budget"]) == (5, 2, 60)
    tuned_all = facts["tuned_mean"] + facts["tuned_mean_on_fresh_seeds"]
    assert tuned_all >= facts["default_mean"] + facts["default_mean_on_fresh_seeds"]
    winner = tuning.best if tuning.is_better else tuning.default
    assert tuning.entry.hyperparameters == winner.hyperparameters
    report = read_report("tuning")
    ran = {run.run.id for run in report.runs if run.status == "finished"}
    # Each setting with the first seeds, and with the fresh ones the three best and the defaults.
    assert len(ran) == 10 + 8
    assert tuning.is_better == (
        tuning.best.label != "draw-0" and tuning.fresh_best > tuning.fresh_default
    )


@pytest.mark.slow
def test_defaults_that_fail_are_said() -> None:
    with pytest.raises(InvalidArgumentError, match="broken on purpose"):
        tune(TASK, "troubled", "tuning", draws=1, seeds=2, budget=20)


def test_a_folder_of_another_sweep_is_refused(plan: SweepPlan) -> None:
    Path("other").mkdir()
    write_recorded_plan(Path("other"), plan)

    with pytest.raises(InvalidArgumentError, match="add tasks, agents and seeds"):
        run_sweep(tuning_plan(TASK, "genetic", 2, 1, 30), "other")
