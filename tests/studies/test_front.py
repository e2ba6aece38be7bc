"""Tests of a study's Pareto front."""

from pathlib import Path

import numpy as np
import pytest

from archgym.analysis import pareto
from archgym.studies.front import study_front
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from tests.toys import ToyAgent, toy_task

WORKLOADS = {"light": 2.0, "heavy": 1.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "one"
    Study.create(folder, toy_task(WORKLOADS), ToyAgent, seed=1, budget=120).run()
    return folder


def test_front_holds_the_feasible_designs_that_none_dominates(folder: Path) -> None:
    log, task = read_study(folder), toy_task(WORKLOADS)
    asked = log.records.indices[log.is_feasible]
    terms = task.trials(asked, task.evaluate(asked), np.zeros(len(asked), dtype=bool)).terms

    front = study_front(log)

    expected = np.unique(terms[pareto.front(terms)], axis=0)
    assert np.array_equal(np.unique(front.terms, axis=0), expected)
    assert front.n_alike.sum() == pareto.front(terms).sum()


def test_front_is_in_the_order_of_its_first_term(folder: Path) -> None:
    front = study_front(read_study(folder))

    assert len(front) > 3
    assert (np.diff(front.terms[:, 0]) < 0).all()
    assert (np.diff(front.terms[:, 1]) > 0).all()


def test_values_and_rows_belong_to_the_points(folder: Path) -> None:
    log, task = read_study(folder), toy_task(WORKLOADS)

    front = study_front(log)

    designs = log.records.indices[front.rows]
    assert np.allclose(front.values, task.average(task.evaluate(designs).values))


def test_hypervolume_counts_from_the_task_reference_point(folder: Path) -> None:
    front = study_front(read_study(folder))

    assert front.reference_point == pytest.approx([-np.log(2)] * 2)
    assert front.hypervolume == pareto.hypervolume(front.terms, front.reference_point)


def test_budget_leaves_out_later_evaluations(folder: Path) -> None:
    log = read_study(folder)
    first = np.flatnonzero(log.is_evaluation)[:20]

    front = study_front(log, 20)

    assert set(front.rows) <= set(first)
    assert front.hypervolume is not None
    assert front.hypervolume < (study_front(log).hypervolume or 0.0)


def test_designs_that_are_alike_are_one_point(tmp_path: Path) -> None:
    task = toy_task("light", "low-power")
    # Power does not depend on how entries come about: 2 banks of 2 are worth 4 of 1.
    base = {"mode": "off", "gain": 0.0, "boost": 0}
    designs = [{**base, "banks": 2, "depth": 2}, {**base, "banks": 4, "depth": 1}]
    with Study.log(tmp_path / "log", task) as study:
        study.evaluate(task.space.indices_of_many(designs))

    front = study_front(read_study(tmp_path / "log"))

    assert front.rows.tolist() == [0]
    assert front.n_alike.tolist() == [2]


def test_study_without_a_design_that_was_built_has_an_empty_front(tmp_path: Path) -> None:
    task = toy_task("light", "balanced", trouble="raise")
    folder = tmp_path / "failed"
    Study.create(folder, task, ToyAgent, seed=1, budget=1)

    front = study_front(read_study(folder))

    assert len(front) == 0
    assert front.hypervolume == 0.0


def test_volume_that_would_take_too_long_is_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archgym.analysis.pareto._MAX_STEPS", 0.5)

    assert study_front(read_study(folder)).hypervolume is None
