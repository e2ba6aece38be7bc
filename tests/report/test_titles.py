"""Titles of tasks as sentences, and tables of metrics that fold what says nothing."""

import numpy as np
import pytest

from archgym.cli.views.study import write_metrics
from archgym.evaluation.limits import Limit
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, Term
from archgym.report.commands import task_title
from archgym.report.quantities import quantity

SPECS = (
    MetricSpec("area_mm2", "mm2", "minimise", 0.01, "Area."),
    MetricSpec("mean_latency_ns", "ns", "minimise", 0.1, "Latency."),
    MetricSpec("power_mw", "mW", "minimise", 0.1, "Power."),
    MetricSpec("refreshes", "", "none", 1.0, "Refreshes."),
)
LEAST = Objective(
    "mine", (Term("mean_latency_ns", "minimise"),), limits=(Limit("power_mw", "<=", 1500.0),)
)


def test_title_is_a_sentence_with_units_for_people() -> None:
    title = task_title("dram", ["hash-join"], LEAST, SPECS)

    assert title == "Memory controller for hash-join: least mean latency, power at most 1.5 W"


def test_title_of_a_function_names_no_workload() -> None:
    target = Objective("t", (Term("area_mm2", "at-most", target=4.0),))

    assert task_title("own", ["default"], target, SPECS) == "own: area at most 4 mm²"


@pytest.mark.parametrize(
    ("dollars", "text"),
    [(5_066.0, "$5,066"), (1_053_000.0, "$1.053 M"), (2.5e9, "$2.5 bn"), (-2e6, "$-2 M")],
)
def test_dollars_have_their_sign_and_millions(dollars: float, text: str) -> None:
    assert quantity(dollars, "$") == text


def test_metrics_of_the_objective_come_first_and_the_rest_is_folded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    values, default = np.array([2.0, 80.0, 900.0, 0.0]), np.array([2.0, 100.0, 900.0, 0.0])

    write_metrics(SPECS, values, default, "best", LEAST)

    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["mean_latency_ns", "80", "ns", "100", "ns", "0.800", "better"]
    assert lines[3].split()[0] == "power_mw"
    assert any("As in the default design: area_mm2 2 mm²." in line for line in lines)
    assert any("Zero: refreshes." in line for line in lines)
    assert max(map(len, lines)) <= 80
