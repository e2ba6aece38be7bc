from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.studies.portfolio import chosen_designs, earlier_designs, portfolio, shipped_designs
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.toys import toy_task

REWARDS = np.array([[1.0, 0.0, 0.6, 0.9], [0.0, 1.0, 0.6, 0.0]])


def studies_of(folder: Path, budget: int = 20) -> tuple[list[Path], list[Task]]:
    """Two studies of the toy's workloads, with their tasks."""
    tasks = [toy_task("light"), toy_task("heavy")]
    folders = [folder / "light", folder / "heavy"]
    for seed, (path, task) in enumerate(zip(folders, tasks, strict=True)):
        Study.create(path, task, "random", seed=seed, budget=budget).run()
    return folders, tasks


# ---- choice


def test_designs_are_chosen_by_what_they_add() -> None:
    # Means: .5, .5, .6, .45. Given the third, the first two add .2 each, the last .15.
    assert chosen_designs(REWARDS, 2) == [2, 0]


def test_choice_ends_where_no_design_adds_anything() -> None:
    assert chosen_designs(REWARDS, 4) == [2, 0, 1]


def test_weights_decide_for_their_task() -> None:
    assert chosen_designs(REWARDS, 1, [0.1, 0.9]) == [1]
    assert chosen_designs(REWARDS, 4, [1.0, 0.0]) == [0]


def test_very_bad_design_counts_as_floor() -> None:
    # With -25 the mean of the first would be -12; with -2 it is -.5, better than -.6.
    assert chosen_designs(np.array([[1.0, -0.6], [-25.0, -0.6]]), 1) == [0]


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0], [1.0, -1.0], [1.0, float("nan")], "ab"])
def test_wrong_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(InvalidArgumentError, match="`weights` must be 2 numbers"):
        chosen_designs(REWARDS, 1, weights)


@pytest.mark.parametrize(("policy", "n"), [("Open", 1), ("Closed", 0)])
def test_shipped_designs_agree_with_what_is_held(policy: str, n: int) -> None:
    task = Task.make("dram", "stream", fixed={"page_policy": policy})

    found = shipped_designs("dram", task.space)
    assert [design["page_policy"] for design in found] == [policy] * n


# ---- studies


def test_portfolio_takes_bests_that_complement_each_other(tmp_path: Path) -> None:
    folders, tasks = studies_of(tmp_path)

    found = portfolio(folders, size=2, per_study=1, tasks=tasks)

    bests = {str(read_study(folder).best().design) for folder in folders}  # type: ignore[union-attr]  # there is one
    assert {str(design) for design in found.designs} == bests
    assert sorted(found.sources) == ["heavy", "light"]
    # Random studies of different seeds have no design in common, so each is new to the other.
    assert found.evaluations == 2
    assert (np.diff(found.mean_best) > 0).all()


def test_rewards_are_those_of_the_tasks(tmp_path: Path) -> None:
    folders, tasks = studies_of(tmp_path)

    found = portfolio(folders, size=4, per_study=3, tasks=tasks)

    designs = np.array([tasks[0].space.indices_of(design) for design in found.designs])
    rewards = [task.evaluate(designs).reward for task in tasks]
    np.testing.assert_array_equal(found.rewards, rewards)


def test_search_starts_with_portfolio(tmp_path: Path) -> None:
    folders, tasks = studies_of(tmp_path)
    found = portfolio(folders, size=2, tasks=tasks)

    Study.create(
        tmp_path / "new", toy_task({"light": 1.0, "heavy": 1.0}), start=found.designs, budget=4
    ).run()

    log = read_study(tmp_path / "new")
    assert [log.outcome(row).design for row in range(2)] == list(found.designs)


def test_registered_tasks_need_not_be_given(tmp_path: Path) -> None:
    folders = [tmp_path / "stream", tmp_path / "random"]
    for folder in folders:
        task = Task.make("dram", folder.name)
        Study.create(folder, task, "random", seed=0, budget=3).run()

    assert len(portfolio(folders, size=1).designs) == 1


def test_single_study_is_refused(tmp_path: Path) -> None:
    folders, tasks = studies_of(tmp_path, 3)

    with pytest.raises(InvalidArgumentError, match="at least two studies"):
        portfolio(folders[:1], tasks=tasks[:1])
    with pytest.raises(InvalidArgumentError, match="one came twice"):
        portfolio([folders[0], folders[0]], tasks=[tasks[0], tasks[0]])


def test_tasks_of_other_studies_are_refused(tmp_path: Path) -> None:
    folders, tasks = studies_of(tmp_path, 3)

    with pytest.raises(InvalidArgumentError, match="in their order"):
        portfolio(folders, tasks=tasks[::-1])
    with pytest.raises(InvalidArgumentError, match="each of 2 studies; got 1"):
        portfolio(folders, tasks=tasks[:1])


def test_studies_of_other_spaces_are_refused(tmp_path: Path) -> None:
    folders, tasks = studies_of(tmp_path, 3)
    other = Task.make("dram", "stream")
    Study.create(tmp_path / "dram", other, "random", seed=0, budget=2).run()

    with pytest.raises(InvalidArgumentError, match="share one design space"):
        portfolio([folders[0], tmp_path / "dram"], tasks=[tasks[0], other])


def test_folder_without_study_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileFormatError):
        portfolio([tmp_path / "empty", tmp_path / "empty"])


def test_earlier_designs_complement_each_other_and_end_with_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders, tasks = studies_of(tmp_path)
    new = toy_task({"light": 0.5, "heavy": 0.5})
    monkeypatch.setattr(new.simulator, "spec", replace(new.simulator.spec, evaluation_s=0.1))

    found = earlier_designs(new, tmp_path, 2)

    expected = portfolio(folders, size=2, tasks=tasks).designs
    default = new.space.design_at(new.space.default_indices)
    assert list(found) == [*map(dict, expected), dict(default)]


def test_study_of_the_very_task_gives_its_best_design(tmp_path: Path) -> None:
    folders, tasks = studies_of(tmp_path)

    found = earlier_designs(tasks[0], folders[0].parent)

    best = read_study(folders[0]).best()
    assert best is not None
    assert dict(best.design) in found


def test_most_alike_studies_give_their_best_where_an_evaluation_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders, _ = studies_of(tmp_path)
    new = toy_task({"light": 0.2, "heavy": 0.8})
    monkeypatch.setattr(new.simulator, "spec", replace(new.simulator.spec, evaluation_s=0.2))
    monkeypatch.setattr(type(new.simulator), "evaluate_batch", None)

    found = earlier_designs(new, tmp_path)

    bests = [read_study(folder).best() for folder in reversed(folders)]
    default = new.space.design_at(new.space.default_indices)
    expected = [*(dict(best.design) for best in bests if best is not None), dict(default)]
    assert list(found) == expected


def test_study_whose_workload_is_gone_is_named_and_its_designs_are_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders, _ = studies_of(tmp_path)
    new = toy_task({"light": 0.5, "heavy": 0.5})
    known = type(new.simulator).workload

    def workload(self: object, name: str | Path) -> object:
        if name == "light":
            raise FileFormatError(Path("light"), None, "is gone")
        return known(self, name)  # type: ignore[arg-type]  # the toy itself

    monkeypatch.setattr(type(new.simulator), "workload", workload)
    monkeypatch.setattr(new.simulator, "spec", replace(new.simulator.spec, evaluation_s=0.1))

    found = earlier_designs(new, tmp_path)

    assert f"workloads of {folders[0]}: light: is gone" in caplog.text
    assert len(found) == 3


def test_designs_that_ship_lie_in_their_spaces() -> None:
    from archgym.evaluation.options import make_simulator
    from archgym.evaluation.simulator import simulator_class
    from archgym.studies.portfolio import _portfolios

    assert _portfolios()
    for (name, space), designs in _portfolios().items():
        kind = simulator_class(name)
        made = make_simulator(kind, space=space, fidelity=None, options={}).space
        rows = np.array([made.indices_of(design) for design in designs])
        assert 2 <= len(rows) <= 6
        assert made.feasible(rows).all()
        assert len(np.unique(made.canonical(rows), axis=0)) == len(rows)
