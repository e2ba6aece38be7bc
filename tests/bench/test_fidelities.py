"""A search at two fidelities is charged for both, and both parts can be replayed."""

import json
from pathlib import Path

import numpy as np
import pytest

from archgym.bench import ScreenedSearch, bench_task, bench_tasks, screened_search
from archgym.errors import InvalidArgumentError
from archgym.evaluation.simulator import BatchResult, Workload
from archgym.studies.study import Study
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator


def near(space: str = "mapping", workload: str = "near") -> Task:
    return Task.make(ProvingSimulator(space, has_failures=False), workload)


def test_cost_counts_both_fidelities_and_stays_within_the_limit(tmp_path: Path) -> None:
    found = screened_search(
        tmp_path / "s", near(), near(), relative_cost=0.3, cost=10, agent="random"
    )

    # 5 / 0.3 pays for 16 evaluations that cost 4.8; the rest pays for 5.
    assert (found.screening.evaluations, found.search.evaluations) == (16, 5)
    assert found.cost == pytest.approx(9.8)
    stated = json.loads((tmp_path / "s" / "costs.json").read_text())
    assert stated == {"format": 1, "relative_cost": 0.3, "cost": found.cost}


def test_the_curve_begins_after_the_cost_of_the_screening(tmp_path: Path) -> None:
    found = screened_search(
        tmp_path / "s", near(), near(), relative_cost=0.5, cost=8, agent="random"
    )

    costs, rewards = found.curve()

    assert costs.tolist() == [5.0, 6.0, 7.0, 8.0]
    assert len(rewards) == 4
    assert (np.diff(rewards) >= 0).all()


def test_share_of_the_cost_that_screens_can_be_chosen(tmp_path: Path) -> None:
    found = screened_search(
        tmp_path / "s",
        near(),
        near(),
        relative_cost=0.5,
        cost=8,
        agent="random",
        screening_share=0.75,
    )

    # 6 / 0.5 pays for 12 evaluations; the rest pays for 2.
    assert (found.screening.evaluations, found.search.evaluations) == (12, 2)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "between 0 and 1; got 0"),
        (1.0, "between 0 and 1; got 1"),
        (0.9, "leave an evaluation to either fidelity; 0.9 of a cost of 4 leaves 7"),
        (0.1, "leave an evaluation to either fidelity; 0.1 of a cost of 4 leaves 0"),
    ],
)
def test_share_that_does_not_fit_is_refused(share: float, text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        screened_search(
            tmp_path / "s", near(), near(),
            relative_cost=0.5,
            cost=4,
            agent="random",
            screening_share=share,
        )  # fmt: skip


def test_few_evaluates_only_designs_that_were_asked_at_the_cheaper_fidelity(tmp_path: Path) -> None:
    found = screened_search(tmp_path / "s", near(), near(), relative_cost=0.2, cost=10, agent="few")

    # 5 / 0.2 pays for 25 evaluations that cost 5, and the rest pays for 5.
    assert (found.screening.evaluations, found.search.evaluations) == (25, 5)
    assert found.cost == pytest.approx(10.0)
    asked = {tuple(row) for row in found.screening.records.indices.tolist()}
    assert {tuple(row) for row in found.search.records.indices.tolist()} <= asked


def test_few_asks_at_the_cheaper_fidelity_between_its_evaluations_of_the_task(
    tmp_path: Path,
) -> None:
    found = screened_search(tmp_path / "s", near(), near(), relative_cost=0.2, cost=10, agent="few")

    costs, rewards = found.curve()

    # 3 of 25 are asked first: an eighth. The rest is spread: 11, 16, 20 and 25 before the others.
    assert costs == pytest.approx([1.6, 4.2, 6.2, 8.0, 10.0])
    assert (np.diff(rewards) >= 0).all()


def test_a_joint_search_repeats_to_the_last_byte(tmp_path: Path) -> None:
    for name in ("a", "b"):
        screened_search(
            tmp_path / name,
            near(),
            near(workload="far"),
            relative_cost=0.2,
            cost=10,
            agent="few",
            seed=3,
        )

    for part in ("screening", "search"):
        first, second = (
            (tmp_path / name / part / "journal.jsonl").read_bytes() for name in ("a", "b")
        )
        assert first == second


def test_the_best_screened_designs_are_evaluated_first(tmp_path: Path) -> None:
    found = screened_search(
        tmp_path / "s", near(), near(), relative_cost=0.25, cost=12, agent="random"
    )

    best = [found.screening.outcome(int(row)).reward for row in found.screening.top_rows(3)]

    # Both parts have the same model here, so the designs have the same rewards.
    assert found.search.records.reward[:3].tolist() == best


def test_both_parts_are_studies_that_repeat_to_the_last_byte(tmp_path: Path) -> None:
    for name in ("a", "b"):
        screened_search(
            tmp_path / name, near(), near(), relative_cost=0.5, cost=12, agent="genetic", seed=3
        )

    for part in ("screening", "search"):
        first, second = (
            (tmp_path / name / part / "journal.jsonl").read_bytes() for name in ("a", "b")
        )
        assert first == second
        log = Study.open(tmp_path / "a" / part, near()).run().log
        assert (tmp_path / "a" / part / "journal.jsonl").read_bytes() == first
        assert log.is_complete


@pytest.mark.parametrize(
    ("relative_cost", "cost", "text"),
    [
        (1.0, 10, "between 0 and 1; got 1"),
        (0.0, 10, "between 0 and 1; got 0"),
        (0.5, 3, "4 evaluations or more; got 3"),
    ],
)
def test_costs_that_do_not_fit_are_refused(
    relative_cost: float, cost: float, text: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        screened_search(
            tmp_path / "s", near(), near(), relative_cost=relative_cost, cost=cost, agent="random"
        )


@pytest.mark.parametrize("agent", ["random", "few"])
def test_folder_with_a_search_is_refused(agent: str, tmp_path: Path) -> None:
    def search() -> None:
        screened_search(
            tmp_path / "s", near(), near(), relative_cost=0.5, cost=4, agent=agent, seed=0
        )

    search()

    with pytest.raises(InvalidArgumentError, match="`folder` must be a new one"):
        search()


def test_other_parameters_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="same parameters"):
        screened_search(tmp_path / "s", near(), near("tiny"), relative_cost=0.5, cost=8)


def test_another_objective_is_refused(tmp_path: Path) -> None:
    other = Task.make("cluster", "llama2-70b", space="parallel", objective="mfu")
    task = Task.make("cluster", "llama2-70b", space="parallel", objective="throughput")

    with pytest.raises(InvalidArgumentError, match="same objective; got 'throughput' and 'mfu'"):
        screened_search(tmp_path / "s", task, other, relative_cost=0.5, cost=8)


def test_cost_of_another_unit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="at most 100,000 evaluations"):
        screened_search(tmp_path / "s", near(), near(), relative_cost=1e-9, cost=8)


def test_seven_tasks_have_a_cheaper_fidelity_with_the_same_parameters() -> None:
    tasks = [task for task in bench_tasks("fidelity") if task.cheaper is not None]

    assert len(tasks) == 7
    assert {task.split for task in tasks} == {"development", "verdict"}
    for task in tasks:
        assert task.cheaper is not None
        assert 0.0 < task.cheaper.relative_cost < 1.0
        assert task.to_json()["cheaper"]["relative_cost"] == task.cheaper.relative_cost
        assert task.cheaper.plan != task.plan
        assert task.cheaper.plan.make().space.digest == task.plan.make().space.digest


def test_cheaper_fidelity_may_take_fewer_workloads_than_its_task() -> None:
    cheaper = bench_task("translation-mix-hardware").cheaper

    assert cheaper is not None
    assert cheaper.plan.workloads == {"moe-gather": 1.0}
    assert cheaper.plan.options == {"records": "20000"}
    stated = bench_task("translation-mix-hardware").to_json()["cheaper"]
    assert stated["workload"] == {"moe-gather": 1.0}


@pytest.mark.parametrize(
    ("agent", "stop"),
    [
        ("genetic", 9),
        ("few", 26),
        *(
            pytest.param(agent, stop, marks=pytest.mark.slow)
            for agent, stops in (("genetic", (0, 2, 26, 28)), ("few", (0, 2, 9, 28)))
            for stop in stops
        ),
    ],
)
def test_search_that_was_killed_continues_with_the_same_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent: str, stop: int
) -> None:
    class Killed(BaseException):
        pass

    def search(name: str) -> ScreenedSearch:
        return screened_search(
            tmp_path / name, near(), near(workload="far"),
            relative_cost=0.2, cost=10, agent=agent, seed=3,
        )  # fmt: skip

    left = [stop]
    simulate = ProvingSimulator.simulate

    def killing(self: ProvingSimulator, indices: np.ndarray, workload: Workload) -> BatchResult:
        left[0] -= len(indices)
        if left[0] < 0:
            raise Killed
        return simulate(self, indices, workload)

    whole = search("whole")
    with monkeypatch.context() as patched:
        tasks = near(), near(workload="far")
        patched.setitem(
            search.__globals__, "near", lambda workload="near": tasks[workload == "far"]
        )
        patched.setattr(ProvingSimulator, "simulate", killing)
        with pytest.raises(Killed):
            search("killed")

    found = search("killed")

    assert (tmp_path / "killed" / "costs.json").read_bytes() == (
        tmp_path / "whole" / "costs.json"
    ).read_bytes()
    for ours, theirs in ((found.screening, whole.screening), (found.search, whole.search)):
        assert ours.records.indices[ours.is_evaluation].tolist() == (
            theirs.records.indices[theirs.is_evaluation].tolist()
        )
    assert found.costs.tolist() == whole.costs.tolist()


def test_stopped_search_with_other_choices_is_refused(tmp_path: Path) -> None:
    Study.create(tmp_path / "s" / "screening", near(), "random", budget=3).run()

    with pytest.raises(InvalidArgumentError, match="`folder` must be a new one"):
        screened_search(tmp_path / "s", near(), near(), relative_cost=0.5, cost=4, agent="random")
