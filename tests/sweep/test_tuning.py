"""Tuning finds the settings that are better, and says so only where they are."""

from pathlib import Path

import pytest

from archgym.errors import InvalidArgumentError
from archgym.sweep.driver import run_sweep
from archgym.sweep.plan import SweepPlan, TaskPlan
from archgym.sweep.reading import write_recorded_plan
from archgym.sweep.results import read_report
from archgym.sweep.tuning import tune, tuning_plan

TASK = TaskPlan("task", "plugin")


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
