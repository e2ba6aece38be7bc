"""Tests of what a search says at its end."""

from pathlib import Path
from unittest.mock import Mock

import archgym as ag
from archgym.report.diagnostics import prices, range_ends, unreached_limits
from archgym.report.quantities import grouped_number
from archgym.studies.study import Study
from archgym.tasks.task import Task


def test_metrics_that_got_worse_are_named_the_largest_change_first(tmp_path: Path) -> None:
    result = ag.search(
        "dram", workload="cloud-1", minimise="mean_latency_ns", budget=40, agent="random",
        folder=tmp_path / "study",
    )  # fmt: skip
    best, found = result.best, prices(result.log)

    assert best is not None
    default = dict(
        zip([spec.name for spec in result.log.metrics], result.log.reference[0], strict=True)
    )
    worse = {
        spec.name
        for spec in result.log.metrics
        if spec.goal == "minimise" and best.metrics[spec.name] > 1.1 * default[spec.name]
    }
    worse |= {
        spec.name
        for spec in result.log.metrics
        if spec.goal == "maximise" and best.metrics[spec.name] < 0.9 * default[spec.name]
    }
    assert worse
    assert {text.split()[0] for text in found} == worse - {"mean_latency_ns"}
    assert all("default" in text for text in found)


def test_value_at_the_end_of_its_range_is_named_with_the_way_on(tmp_path: Path) -> None:
    held = Task.make(
        "cpu", "sort", space="core", values={"rob": "96..224"}, instructions="2000",
        fixed={"branch_predictor": "perceptron", "scheduler": 128, "registers": 192},
        node="none",
    )  # fmt: skip
    with Study.create(tmp_path / "study", held, "grid", budget=60) as study:
        log = study.run().log

    # The space has no more than 6 instructions/cycle. The range of the reorder buffer is the
    # user's own, and no hint proposes to break it.
    executor = Mock()
    assert range_ends(held, log, executor) == [
        "`dispatch_width` is at the end of its range, 6, where the space ends",
        "`execute_width` is at the end of its range, 6, where the space ends",
        "`rob` is at the end of its range, 224, which this task sets; the model holds up to 512",
    ]
    # The grid has evaluated every neighbour.
    executor.evaluate.assert_not_called()


def test_own_functions_are_not_evaluated_for_hints(tmp_path: Path) -> None:
    calls = []

    @ag.simulator(space=[ag.Integer("x", 1, 4)], metrics={"loss": "minimise"})
    def slow(design: dict) -> dict:
        calls.append(design["x"])
        return {"loss": float(design["x"])}

    result = ag.search(slow, budget=4, agent="grid", folder=tmp_path / "study")
    n = len(calls)

    assert range_ends(Task.make(slow), result.log) == []
    # The default design, to which rewards are relative.
    assert len(calls) == n + 1


def test_limit_that_no_design_meets_is_named_with_the_best_value(tmp_path: Path) -> None:
    result = ag.search(
        "dram", workload="cloud-1", subject_to="total_time_ns <= 1000, power_mw <= 1e6", budget=6,
        agent="random", folder=tmp_path / "study",
    )  # fmt: skip
    column = [spec.name for spec in result.log.metrics].index("total_time_ns")
    best = result.log.records.values[:, 0, column].min()

    assert unreached_limits(result.log) == [
        f"total_time_ns: best {grouped_number(best)}, limit 1,000"
    ]
