"""What a page shows: equal to evaluations of the task, whatever is moved."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import archgym as ag
from archgym.errors import InvalidArgumentError, InvalidDesignError
from archgym.evaluation.limits import LIMITED_REWARD
from archgym.evaluation.objective import Objective, Term
from archgym.evaluation.simulator import simulator_names
from archgym.explorer.state import MAX_PINS, Exploration, design_of
from archgym.spaces.parameter import Integer
from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.conformance.small import declared
from tests.toys import ToyAgent, ToySimulator, toy_task


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


def limited(limit: str, objective: str = "low-latency") -> Exploration:
    return Exploration(Task.make(ToySimulator(), "light", objective, subject_to=limit))


def known(state: Exploration) -> dict[str, Any]:
    rows, changed = state.changes()
    state.evaluate(rows[state.task.space.feasible(rows)])
    return state.changes_json(rows, changed)


def test_change_that_meets_a_missed_limit_comes_first_and_is_said_to() -> None:
    state = limited("power_mw <= 13")
    state.load(state.task.space.indices_of({**state.task.space.default, "gain": 0.9}))

    effects = known(state)["effects"]

    assert state.result(state.design).reward <= LIMITED_REWARD  # type: ignore[union-attr]
    saves = [effect["saves"] for effect in effects]
    assert any(saves)
    assert saves == sorted(saves, reverse=True)
    assert all("meets the limits" in effect["ends"][0][3] for effect in effects if effect["saves"])


def test_effect_of_one_metric_has_the_sign_of_the_metric() -> None:
    state = Exploration(Task.make(ToySimulator(), "light", "low-latency"))

    shown = known(state)

    assert shown["measure"].endswith("of which less is better")
    for effect in shown["effects"]:
        for _, _, gain, said in effect["ends"]:
            assert said == "no change" or (said.startswith(("-", "−")) == (gain > 0))


def test_front_of_an_objective_of_one_metric_is_its_best_design() -> None:
    state = Exploration(Task.make(ToySimulator(), "light", "low-latency"))
    state.evaluate(state.task.space.sample(200, np.random.default_rng(4)))

    cloud = state.cloud_json()

    rewards = np.array(cloud["numbers"][-1])
    assert (rewards[cloud["front"]] == rewards.max()).all()


def test_scatter_marks_the_best_design_and_this_one() -> None:
    state = Exploration(toy_task())
    known(state)

    cloud = state.cloud_json()

    assert cloud["marks"] == ["best", "this"]
    here = [str(index) for index in state.design.tolist()]
    assert cloud["designs"][cloud["reference"]] == here


def test_metric_is_better_in_the_way_that_the_objective_wants() -> None:
    objective = Objective("few", (Term("entries", "minimise"),))
    state = Exploration(Task.make(ToySimulator(), "light", objective))
    state.move(2, 7)

    (entries,) = [m for m in answered(state)["metrics"] if m["name"] == "entries"]  # type: ignore[attr-defined]

    assert (entries["goal"], entries["mood"]) == ("minimise", "worse")


@ag.simulator(space=[Integer("x", 0, 4, default=2)], metrics={"loss": "minimise"})
def fragile(design: dict[str, int]) -> dict[str, float]:
    """Return what cannot be computed at zero."""
    return {"loss": 1.0 / design["x"]}


def test_design_on_which_the_simulator_fails_is_not_called_infeasible() -> None:
    state = Exploration(Task.make(fragile))
    state.move(0, 0)

    shown = answered(state)

    assert shown["failed"]
    assert "division by zero" in shown["reason"]  # type: ignore[operator]
