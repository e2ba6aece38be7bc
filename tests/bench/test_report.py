"""Runs of agents and their report."""

from pathlib import Path

import numpy as np
import pytest

from archgym.bench import bench_plan, bench_task, bench_tasks, read_bench_report
from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.studies.snapshot import read_study
from tests.bench.submissions import BUDGET, TASK, break_a_checksum, honest


def test_regret_is_the_distance_to_the_best_that_is_known(tmp_path: Path) -> None:
    plan = honest(tmp_path, ["random", "genetic"], 3)

    report = read_bench_report(tmp_path)

    best = {
        run.id: max(np.maximum.accumulate(read_study(tmp_path / run.id).records.reward))
        for run in plan.runs()
    }
    (task,) = report.tasks
    assert report.budgets == (10, BUDGET)
    recorded = bench_task(TASK).best
    assert recorded is not None
    assert task.best_known == max(recorded.reward, *best.values())
    assert task.best_known > max(best.values())
    for score in task.agents:
        own = sorted(v for name, v in best.items() if f"/{score.agent}/" in name)
        # Of three values the middle half weighs the outer ones by a quarter each.
        middle = (0.25 * own[0] + own[1] + 0.25 * own[2]) / 1.5
        assert score.regret[BUDGET].value == pytest.approx(task.best_known - middle)
        assert score.regret[10].value >= score.regret[BUDGET].value
    assert sum(score.found for score in task.agents) == 0
    assert "No winner" in report.verdict or "better" in report.verdict


def test_regret_to_the_proof_is_how_much_longer_the_best_design_takes(tmp_path: Path) -> None:
    # One term on one workload, so that the reward is the logarithm of a ratio of latencies.
    plan = honest(tmp_path, ["random"], 2, task="noc-table-latency")
    made = bench_task("noc-table-latency").plan.make()
    column = [spec.name for spec in made.metrics].index("mean_latency_ns")
    every = made.evaluate(np.concatenate(list(made.space.enumerate(canonical=True))))
    optimum = every.values[every.reward.argmax(), 0, column]
    behind = []
    for run in plan.runs():
        records = read_study(tmp_path / run.id).records
        best = made.evaluate(records.indices[records.reward.argmax()][None, :])
        behind.append(best.values[0, 0, column] / optimum - 1.0)

    report = read_bench_report(tmp_path)

    (random,) = report.proven
    assert random.regret[BUDGET].value == pytest.approx(np.mean(behind), abs=1e-3)
    assert report.tasks[0].is_proven
    assert report.to_json()["regret_to_proof"]["tasks"] == ["noc-table-latency"]


def test_task_without_a_proof_is_in_no_regret_to_one(tmp_path: Path) -> None:
    honest(tmp_path, ["random"], 1)

    assert read_bench_report(tmp_path).proven == ()


def test_one_seed_names_no_winner(tmp_path: Path) -> None:
    honest(tmp_path, ["random", "genetic"], 1)

    assert read_bench_report(tmp_path).verdict.startswith("No winner")


def test_damaged_records_are_named(tmp_path: Path) -> None:
    honest(tmp_path, ["random"], 2)
    assert read_bench_report(tmp_path).damage == {}

    break_a_checksum(tmp_path, 1)

    ((run, text),) = read_bench_report(tmp_path).damage.items()
    assert run.endswith("/seed-1")
    assert "left out" in text


def test_costly_tasks_are_left_out_at_large_budgets() -> None:
    plan = bench_plan(["random"], bench_tasks(), 1, 1000)

    assert "cpu-server-mix" not in {task.label for task in plan.tasks}


def test_plans_that_cannot_run_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="judged"):
        bench_plan(["random"], [bench_task("cpu-server-mix")], 1, 5000)
    with pytest.raises(UnknownNameError, match="genetic"):
        bench_plan(["genetik"], [bench_task(TASK)], 1, 10)
    with pytest.raises(InvalidArgumentError, match="agent"):
        bench_plan([], [bench_task(TASK)], 1, 10)
