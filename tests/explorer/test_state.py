"""What a page shows: equal to evaluations of the task, whatever is moved."""

import json
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError, InvalidDesignError
from archgym.evaluation.simulator import simulator_names
from archgym.explorer.state import MAX_PINS, Exploration, design_of
from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.conformance.small import declared
from tests.toys import ToyAgent, toy_task


def answered(state: Exploration) -> dict[str, object]:
    state.evaluate(state.design[None, :])
    return state.answer_json()


@pytest.mark.slow
@pytest.mark.parametrize("name", simulator_names())
def test_page_shows_what_the_task_evaluates(name: str) -> None:
    task = Task.make(name, **declared("QUICK").get(name, {}))
    state = Exploration(task)
    rng = np.random.default_rng(0)

    for design in task.space.sample(20, rng):
        state.load(design)
        shown = answered(state)
        own = task.evaluate(design[None, :])

        is_built = bool((own.reason == 0).all())
        assert shown["built"] == is_built
        if is_built:
            means = task.average(own.values)[0]
            expected = dict(zip([s.name for s in task.metrics], means.tolist(), strict=True))
            found = {m["name"]: m["value"] for m in shown["metrics"]}  # type: ignore[attr-defined]
            assert found == expected
            assert shown["reward"] == own.reward[0]
            assert all(limit["met"] for limit in shown["limits"]) == (  # type: ignore[attr-defined]
                not task.missed(own.values[0])
            )
        else:
            assert shown["reason"] in task.simulator.spec.reasons
    json.dumps([state.space_json(), state.answer_json(), state.cloud_json()])


def test_neighbours_are_those_of_single_evaluations() -> None:
    state = Exploration(toy_task())
    rows, changed = state.changes()
    state.evaluate(rows[state.task.space.feasible(rows)])

    shown = state.changes_json(rows, changed)

    marks = {(place, index) for place, index, _ in shown["marks"]}
    assert shown["known"] == shown["total"] == len(changed)
    for row, change in zip(rows[1:], changed, strict=True):
        own = state.task.evaluate(row[None, :])
        assert (change in marks) == bool((own.reason != 0).any())
    spans = [effect["span"] for effect in shown["effects"]]
    assert spans == sorted(spans, reverse=True)


def test_infeasible_values_are_marked_before_anything_is_evaluated() -> None:
    state = Exploration(toy_task())
    state.load(state.task.space.indices_of({**state.task.space.default, "banks": 16, "depth": 4}))

    shown = state.changes_json(*state.changes())

    depth = state.task.space.names.index("depth")
    assert {index for place, index, _ in shown["marks"] if place == depth} == {4, 5, 6, 7}
    assert {why for *_, why in shown["marks"]} == {"The buffer is too large."}


def test_undo_and_redo_return_to_designs() -> None:
    state = Exploration(toy_task())
    start = state.design.copy()
    state.move(1, 2)
    state.move(2, 3)

    state.undo()
    state.undo()
    assert np.array_equal(state.design, start)
    state.redo()
    assert state.design[1] == 2
    state.move(1, 0)
    assert answered(state)["redo"] == 0


def test_only_four_designs_are_pinned_and_compared() -> None:
    state = Exploration(toy_task())
    for index in range(6):
        state.move(2, index)
        state.pin()
    state.evaluate(np.array(state.pins))
    state.baseline = "A"

    shown = answered(state)

    assert len(shown["pins"]) == MAX_PINS  # type: ignore[arg-type]
    assert shown["baseline"] == "A"
    assert shown["metrics"][0]["base"] == shown["metrics"][0]["pins"][0]  # type: ignore[index]


@pytest.mark.parametrize("message", [[1], ["x"] * 5, [10**30] * 5, [-1] * 5, None])
def test_design_that_is_not_of_the_task_is_refused(message: object) -> None:
    with pytest.raises(InvalidArgumentError, match="not one of this task"):
        design_of(toy_task(), message)  # type: ignore[arg-type]


def test_move_outside_of_the_space_is_refused() -> None:
    state = Exploration(toy_task())
    for place, index in ((9, 0), (0, 3), (-1, 0), (0, True)):
        with pytest.raises(InvalidArgumentError):
            state.move(place, index)
    with pytest.raises(InvalidDesignError):
        state.type_value(1, "5")


def test_front_and_best_of_a_long_study_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archgym.explorer.state._MAX_KNOWN", 40)
    task = toy_task()
    designs = task.space.sample(300, np.random.default_rng(1))
    whole, part = Exploration(task), Exploration(task)
    found = task.evaluate(designs)
    part.learn(designs, found.values, found.reason, found.reward)
    for row in designs:
        part.evaluate(row[None, :])
    monkeypatch.setattr("archgym.explorer.state._MAX_KNOWN", 10_000)
    whole.evaluate(designs)

    fronts = []
    for state in (whole, part):
        cloud = state.cloud_json()
        points = np.array(cloud["numbers"])[:2, cloud["front"]].T
        fronts.append(sorted(map(tuple, np.unique(points, axis=0).tolist())))
    assert fronts[0] == fronts[1]
    assert whole.best is not None
    assert part.best is not None
    assert np.array_equal(whole.best, part.best)


def test_copied_texts_name_the_design() -> None:
    state = Exploration(Task.make("dram"))
    state.type_value(state.task.space.names.index("page_policy"), "Closed")

    assert "--set page_policy=Closed" in state.text_of("command")
    found: dict[str, object] = {}
    exec(state.text_of("python").replace("print(", "result = ("), found)
    assert np.array_equal(
        found["result"].values,  # type: ignore[attr-defined]
        state.task.evaluate(state.design[None, :]).values,
    )
    assert json.loads(state.text_of("json"))["design"]["page_policy"] == "Closed"


def test_bars_that_do_not_overlap_add_up_to_the_whole() -> None:
    state = Exploration(Task.make("dram"))
    state.evaluate(state.design[None, :])

    bars = state.bounds_json()

    assert bars
    for bar in bars:
        if not bar["overlap"]:
            assert abs(sum(share for _, share in bar["parts"]) - 1) < 6e-3


def test_study_that_is_learned_is_not_evaluated_again(tmp_path: Path) -> None:
    with Study.create(tmp_path / "s", toy_task(), ToyAgent, seed=3, budget=30) as study:
        log = study.run().log
    state = Exploration(toy_task())
    records = log.records.rows(log.is_evaluation & ~log.is_failed)
    state.learn(records.indices, records.values, records.reason, records.reward)

    best = log.best()
    assert best is not None
    assert state.best is not None
    assert state.result(state.best).reward == best.reward  # type: ignore[union-attr]
