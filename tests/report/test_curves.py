"""Best-so-far curves begin with the first design that meets all limits, in the metric's unit."""

from pathlib import Path

import numpy as np
import pytest

import archgym as ag
from archgym.explorer.following import Follower
from archgym.report.plots import SearchPlots, plot_studies
from archgym.report.study_summary import best_so_far
from archgym.studies.snapshot import StudyLog


@ag.simulator(
    space=[ag.Integer(name="x", low=0, high=9)],
    metrics={"time_ns": "minimise", "area_mm2": "minimise"},
)
def block(design: ag.Design) -> dict[str, float]:
    """Return the metrics of a block that is faster the larger it is."""
    x = int(str(design["x"]))
    return {"time_ns": 20.0 - x, "area_mm2": float(x)}


def study(folder: Path, limit: str) -> StudyLog:
    """Evaluations of x = 9, 8, 2, 7, 4, 3."""
    task = ag.Task.make(block, minimise="time_ns", subject_to=limit)
    start = [{"x": x} for x in (9, 8, 2, 7, 4, 3)]
    with ag.Study.create(folder, task, "random", start=start, budget=6) as opened:
        return opened.run().log


def test_curve_begins_with_the_first_design_that_meets_the_limit(tmp_path: Path) -> None:
    curve = best_so_far(study(tmp_path / "a", "area_mm2 <= 5"))

    assert np.isnan(curve.values[:2]).all()
    assert curve.values[2:].tolist() == [18.0, 18.0, 16.0, 16.0]
    assert curve.missed.tolist() == [True, True, False, True, False, False]
    assert curve.first_met == 3


def test_curve_of_a_study_without_a_design_that_meets_the_limit_has_no_value(
    tmp_path: Path,
) -> None:
    log = study(tmp_path / "a", "area_mm2 <= 1")
    curve = best_so_far(log)
    plot_studies([log], tmp_path / "curve.svg")

    assert np.isnan(curve.values).all()
    assert curve.first_met is None
    assert "no design meets all limits" in (tmp_path / "curve.svg").read_text()


def test_pictures_mark_designs_that_miss_the_limit(tmp_path: Path) -> None:
    log = study(tmp_path / "a", "area_mm2 <= 5")
    figure = SearchPlots(log).convergence()
    plot_studies([log], tmp_path / "curve.svg")

    assert list(figure.data[1].x) == [1, 2, 4]
    assert figure.data[1].name == "infeasible, failed or a limit missed"
    assert "a limit missed" in (tmp_path / "curve.svg").read_text()


def test_followed_curve_draws_designs_that_meet_the_limit(tmp_path: Path) -> None:
    study(tmp_path / "a", "area_mm2 <= 5")
    view = Follower(tmp_path / "a")
    view.update()

    (line,) = view.to_json()["tasks"][0]["curve"]["lines"]
    assert line["x"][0] == 3
    assert min(line["y"]) > -1.0
    assert line["y"][-1] == pytest.approx(max(line["y"]))
