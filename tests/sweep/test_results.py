"""What a sweep's report says, against numbers worked out by hand."""

import math
from pathlib import Path

import numpy as np
import pytest

from archgym.analysis.statistics import interquartile_mean
from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.studies.snapshot import StudyLog, read_study
from archgym.studies.study import Study
from archgym.sweep import results
from archgym.sweep.driver import run_sweep
from archgym.sweep.plan import SweepPlan
from archgym.sweep.reading import read_plan, write_recorded_plan
from archgym.sweep.results import RunSummary, log_spaced, read_report, within_reward
from archgym.sweep.study_run import Curve, Curves
from archgym.tasks.task import Task
from tests.sweep.conftest import WritePlan
from tests.toys import ToyAgent, toy_task


def test_budgets_are_log_spaced_and_end_at_the_budget() -> None:
    assert log_spaced(2000) == (10, 20, 50, 100, 200, 500, 1000, 2000)
    assert log_spaced(10) == (10,)
    assert log_spaced(3) == (3,)


def test_interquartile_mean_counts_the_middle_half() -> None:
    assert interquartile_mean([7.0]) == 7.0
    assert interquartile_mean([100.0, 1.0, 2.0, 3.0]) == 2.5
    # Of three, the middle one counts wholly and each other by a quarter: (1/4 + 2 + 9/4) / 1.5.
    assert interquartile_mean([1.0, 2.0, 9.0]) == pytest.approx(4.5 / 1.5)
    assert math.isnan(interquartile_mean([1.0, -math.inf]))


def test_a_curve_stands_still_once_it_is_over_and_is_unknown_while_it_goes_on() -> None:
    rewards = np.array([0.1, 0.3])

    assert Curves([Curve.of(rewards, is_over=True)]).at(5).tolist() == [0.3]
    assert np.isnan(Curves([Curve.of(rewards, is_over=False)]).at(5)).all()
    assert Curves([Curve.of(rewards, is_over=False)]).at(1).tolist() == [0.1]


def small_log(tmp_path: Path, objective: str) -> StudyLog:
    study = Study.create(tmp_path / "study", toy_task(objective=objective), ToyAgent, budget=3)
    return study.run().log


def best_so_far(run: RunSummary) -> list[float]:
    return [float(Curves([run.curve]).at(n)[0]) for n in range(1, run.evaluations + 1)]


def test_curves_of_many_runs_are_read_at_once() -> None:
    runs = Curves(
        [
            Curve(0),
            Curve(9, (2, 5), (-3.0, 1.0), is_over=True),
            Curve(4, is_over=False),
            Curve(6, (1,), (2.0,), is_over=False),
            Curve(3, is_over=True),
        ]
    )

    np.testing.assert_array_equal(runs.at(1), [np.nan, -np.inf, -np.inf, 2.0, -np.inf])
    np.testing.assert_array_equal(runs.at(4), [np.nan, -3.0, -np.inf, 2.0, -np.inf])
    np.testing.assert_array_equal(runs.at(20), [np.nan, 1.0, np.nan, np.nan, -np.inf])
    assert runs.reached(-4.0) == (None, 2, None, 1, None)
    assert runs.reached(1.0) == (None, 5, None, 1, None)
    assert runs.reached(3.0) == (None,) * 5
    assert Curves([]).reached(0.0) == ()


def test_within_is_meant_on_the_metric(tmp_path: Path) -> None:
    log = small_log(tmp_path, "low-latency")
    reference = float(log.reference[0, 0])
    # The resolution of latency_ns is 0.1; the best is 40 ns, so 42 ns is within 5 %.
    best = math.log((reference + 0.1) / (40 + 0.1))

    assert within_reward(log, best) == pytest.approx(math.log((reference + 0.1) / (42 + 0.1)))


def test_within_is_meant_on_the_mean_ratio_where_there_are_several_terms(tmp_path: Path) -> None:
    log = small_log(tmp_path, "balanced")

    assert within_reward(log, 0.5) == pytest.approx(0.5 - math.log(1.05))


def test_the_report_agrees_with_the_studies(swept: Path) -> None:
    report = read_report(swept)

    (task,) = report.tasks
    random, small = task.agents
    ends = [read_study(swept / f"light/random/seed-{s}").best().reward for s in (0, 1)]  # type: ignore[union-attr]  # there is one
    assert random.rewards[30].median == pytest.approx(sum(ends) / 2)
    assert (random.rewards[30].low, random.rewards[30].high) == (min(ends), max(ends))
    assert random.finished == 2
    assert task.best_known == max(run.curve.best for run in report.runs)
    for agent in (random, small):
        for run, reached in zip(agent.runs, agent.reached, strict=True):
            assert run.results.distinct == run.evaluations == 30
            good = [n + 1 for n, r in enumerate(best_so_far(run)) if r >= task.threshold - 1e-12]
            assert reached == (good[0] if good else None)
            assert run.results.simulator_s is not None
            assert run.results.simulator_s > 0
    assert task.metric == "latency_ns [ns]"


def test_a_better_design_that_is_known_counts(write_plan: WritePlan, swept: Path) -> None:
    plan = read_plan(
        write_plan(("objective: low-latency", "objective: low-latency\n    best_known: 9"))
    )
    write_recorded_plan(swept, plan)

    (task,) = read_report(swept).tasks

    assert task.best_known == 9
    assert {reached for agent in task.agents for reached in agent.reached} == {None}
    assert task.agents[0].to_within == math.inf


def test_an_unfinished_sweep_can_be_read(plan: SweepPlan, swept: Path) -> None:
    (swept / "light/random/seed-1").rename("aside")

    report = read_report(swept)

    statuses = [run.status for run in report.tasks[0].agents[0].runs]
    assert statuses == ["finished", "waiting"]
    assert report.tasks[0].agents[0].rewards[30].n == 1


def test_a_study_of_something_else_is_refused(swept: Path) -> None:
    (swept / "light/random/seed-1").rename("aside")
    (swept / "light/small/seed-1").rename(swept / "light/random/seed-1")

    with pytest.raises(InvalidArgumentError, match="its agent is 'genetic'"):
        read_report(swept)


def test_a_damaged_list_of_failures_is_refused(swept: Path) -> None:
    (swept / "failures.json").write_text("[1]")

    with pytest.raises(FileFormatError, match=r"failures\.json"):
        read_report(swept)


def test_the_tasks_of_the_plan_are_tasks(plan: SweepPlan) -> None:
    assert isinstance(plan.tasks[0].make(), Task)


@pytest.mark.slow
def test_finished_runs_are_reported_from_their_notes_as_from_their_journals(
    plan: SweepPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_sweep(plan, "sweep")
    notes = Path("sweep/finished.jsonl")
    read: list[Path] = []

    def count(folder: Path) -> StudyLog:
        read.append(folder)
        return read_study(folder)

    monkeypatch.setattr(results, "read_study", count)

    noted = read_report("sweep")
    assert len(read) == len(plan.tasks)
    before, _, after = notes.read_bytes().rpartition(b",30,")
    notes.write_bytes(before + b",31," + after)
    damaged = read_report("sweep")
    notes.unlink()
    whole = read_report("sweep")

    assert len(read) == 2 * len(plan.tasks) + 1 + 4
    assert noted.to_json() == damaged.to_json() == whole.to_json()
    for run in noted.runs:
        log = read_study(Path("sweep") / run.run.id)
        rewards = np.where(log.is_feasible, log.records.reward, -np.inf)
        assert best_so_far(run) == np.maximum.accumulate(rewards).tolist()
