import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.agent.agent import agent_class, agent_names
from archgym.errors import (
    FileFormatError,
    InvalidArgumentError,
    InvalidDesignError,
    StudyExistsError,
)
from archgym.evaluation.function import FunctionSimulator
from archgym.runtime.reductions import collected_reductions
from archgym.spaces.parameter import Integer, Ordinal
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tasks.executor import ThreadExecutor
from archgym.tasks.task import Task
from tests.toys import toy_task

BEST = {"mode": "fast", "banks": 8, "depth": 3, "gain": 0.3, "boost": 3}


def journal(folder: Path) -> bytes:
    return (folder / "journal.jsonl").read_bytes()


def search(folder: Path, agent: str = "genetic", budget: int = 40, **options: Any) -> Study:
    study = Study.create(folder, toy_task(), agent, seed=3, budget=budget, **options)
    study.run()
    return study


# ---- start designs


def test_start_designs_are_evaluated_first(tmp_path: Path) -> None:
    earlier = search(tmp_path / "earlier")
    best = earlier.read().best()
    assert best is not None

    search(tmp_path / "a", start=["default", BEST, tmp_path / "earlier"])

    log = read_study(tmp_path / "a")
    space = log.space
    assert log.records.indices[0].tolist() == space.default_indices.tolist()
    assert space.design_at(log.records.indices[1]) == BEST
    assert space.design_at(log.records.indices[2]) == best.design


def test_start_design_may_leave_parameters_at_their_defaults(tmp_path: Path) -> None:
    with collected_reductions() as notes:
        search(tmp_path / "a", start={"banks": 8}, budget=8)
        Study.open(tmp_path / "a", toy_task()).advise(1, [{"mode": "fast"}], seed=1)

    log = read_study(tmp_path / "a")
    assert log.space.changes(log.outcome(0).design) == {"banks": 8}
    told = "a design gives 1 of 5 parameters; the other 4 have the default design's values."
    assert notes == [f"start: {told}", f"designs: {told}"]


@pytest.mark.parametrize(
    "agent", ["genetic", "hill_climbing", "extra_trees", "few", "auto", "random", "nsga2"]
)
def test_study_with_start_designs_is_replayed_exactly(tmp_path: Path, agent: str) -> None:
    search(tmp_path / "whole", agent, start=["default", BEST])
    search(tmp_path / "parts", agent, budget=13, start=["default", BEST])

    Study.open(tmp_path / "parts", toy_task()).run(budget=40)

    assert journal(tmp_path / "parts") == journal(tmp_path / "whole")


def test_start_designs_belong_to_the_identity_of_a_study(tmp_path: Path) -> None:
    search(tmp_path / "a", start=["default"])
    search(tmp_path / "b", start=[BEST])
    shutil.copy(tmp_path / "a" / "journal.jsonl", tmp_path / "b" / "journal.jsonl")

    assert read_study(tmp_path / "b").damage


def test_agent_breeds_from_start_designs(tmp_path: Path) -> None:
    search(tmp_path / "a", budget=30)
    search(tmp_path / "b", budget=30, start=[BEST])

    plain, primed = (read_study(tmp_path / name).best() for name in "ab")
    assert plain is not None
    assert primed is not None
    assert primed.reward > plain.reward


@pytest.mark.parametrize(
    ("start", "error", "message"),
    [
        ([{"bank": 8}], InvalidDesignError, "banks"),
        ([7], InvalidArgumentError, "got 7"),
        (["nowhere"], (FileFormatError, OSError), "nowhere"),
    ],
)
def test_bad_start_designs_are_refused(
    tmp_path: Path, start: list[Any], error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        search(tmp_path / "a", start=start)
    assert not (tmp_path / "a").exists()


# ---- earlier studies


@pytest.mark.parametrize(
    "agent",
    [
        "genetic",
        "bayesian",
        "extra_trees",
        "few",
        "auto",
        "nsga2",
        "multi_objective_bayesian",
    ],
)
def test_agent_learns_from_an_earlier_study_and_is_replayed_exactly(
    tmp_path: Path, agent: str
) -> None:
    assert agent_class(agent).uses_prior
    earlier = Study.create(tmp_path / "earlier", toy_task("heavy"), "genetic", seed=1, budget=150)
    earlier.run()
    options = {"warm_start": [tmp_path / "earlier"]}
    search(tmp_path / "whole", agent, 30, **options)
    search(tmp_path / "cold", agent, 30)
    search(tmp_path / "parts", agent, 11, **options)
    # The study keeps its own copy of the records.
    shutil.rmtree(tmp_path / "earlier")

    Study.open(tmp_path / "parts", toy_task()).run(budget=30)

    assert journal(tmp_path / "parts") == journal(tmp_path / "whole")
    assert journal(tmp_path / "cold") != journal(tmp_path / "whole")
    header = read_study(tmp_path / "whole").header
    assert header.warm_start is not None
    assert [source.records for source in header.warm_start] == [150]


def test_agents_that_learn_from_earlier_studies_are_named(tmp_path: Path) -> None:
    search(tmp_path / "earlier")

    with pytest.raises(
        InvalidArgumentError, match=r"agent 'random' does not\. Use one of auto, bayesian,"
    ):
        search(tmp_path / "a", "random", warm_start=[tmp_path / "earlier"])
    assert {name for name in agent_names() if agent_class(name).uses_prior} >= {
        "genetic",
        "bayesian",
        "extra_trees",
        "few",
        "auto",
        "nsga2",
        "multi_objective_bayesian",
    }


def test_damage_of_an_earlier_study_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    search(tmp_path / "earlier", budget=6)
    path = tmp_path / "earlier" / "journal.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], lines[2].replace("1", "2"), *lines[3:]]))

    search(tmp_path / "a", budget=2, warm_start=[tmp_path / "earlier"])

    assert "1 damaged line left out: line 3" in caplog.text


def test_changed_records_of_earlier_studies_are_refused(tmp_path: Path) -> None:
    search(tmp_path / "earlier")
    search(tmp_path / "a", budget=5, warm_start=[tmp_path / "earlier"])
    search(tmp_path / "earlier-2", "random")
    search(tmp_path / "b", budget=5, warm_start=[tmp_path / "earlier-2"])
    shutil.copy(tmp_path / "b" / "prior.npz", tmp_path / "a" / "prior.npz")

    with pytest.raises(FileFormatError, match=r"prior.npz.*does not match the digest"):
        Study.open(tmp_path / "a", toy_task()).run(budget=9)
    (tmp_path / "a" / "prior.npz").unlink()
    with pytest.raises(FileFormatError, match="are missing"):
        Study.open(tmp_path / "a", toy_task()).run(budget=9)


def bowl(space: list[Any], name: str = "bowl") -> Task:
    def function(design: Any) -> dict[str, float]:
        return {"loss": float((design["x"] - 4) ** 2) + float(design.get("y", 0))}

    function.__name__ = name
    return Task.make(FunctionSimulator(function, space, {"loss": "minimise"}))


def test_parameters_of_other_spaces_are_matched_by_name_and_value(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wide = bowl([Integer(name="y", low=0, high=3), Integer(name="x", low=0, high=9)])
    narrow = bowl([Ordinal(name="x", levels=(2, 4, 6)), Integer(name="y", low=0, high=3)])
    Study.create(tmp_path / "wide", wide, "grid", budget=40).run()

    study = Study.create(
        tmp_path / "narrow", narrow, "genetic", budget=6, warm_start=[tmp_path / "wide"]
    )
    study.run()

    assert "28 of 40 evaluations have values that space 'default' does not have" in caplog.text
    first = study.read().space.design_at(study.read().records.indices[0])
    assert dict(first) == {"x": 4, "y": 0}


def test_space_without_a_parameter_is_refused_and_the_parameter_named(tmp_path: Path) -> None:
    one = bowl([Integer(name="x", low=0, high=9), Integer(name="z", low=0, high=1)])
    two = bowl([Integer(name="x", low=0, high=9), Integer(name="y", low=0, high=3)])
    Study.create(tmp_path / "one", one, "random", budget=5).run()

    with pytest.raises(InvalidArgumentError, match=r"`y` missing\. It has `z` instead\."):
        Study.create(tmp_path / "two", two, "genetic", budget=5, warm_start=[tmp_path / "one"])


def test_study_without_the_metrics_of_the_objective_is_refused(tmp_path: Path) -> None:
    space = [Integer(name="x", low=0, high=9)]
    one = bowl(space)
    other = Task.make(FunctionSimulator(lambda design: {"cost": 1.0}, space, {"cost": "minimise"}))
    Study.create(tmp_path / "one", one, "random", budget=5).run()

    with pytest.raises(InvalidArgumentError, match="`cost` missing"):
        Study.create(tmp_path / "two", other, "genetic", budget=5, warm_start=[tmp_path / "one"])


# ---- rules to stop


def test_study_ends_after_evaluations_without_a_better_design(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "a", toy_task(), "genetic", seed=3, budget=500, patience=20)
    result = study.run()

    curve = result.log.curve()
    best_at = int(np.argmax(curve == curve[-1])) + 1
    assert result.ended == "patience"
    assert len(curve) == best_at + 20
    assert result.log.status == "finished"
    search(tmp_path / "b", budget=500)
    assert journal(tmp_path / "b").startswith(journal(tmp_path / "a"))


def test_first_design_that_meets_stop_at_ends_the_study_whatever_the_batch(tmp_path: Path) -> None:
    rule = "latency_ns <= 25"
    search(tmp_path / "a", budget=500, stop_at=rule)
    study = Study.create(tmp_path / "b", toy_task(), "genetic", seed=3, budget=500, stop_at=rule)
    with ThreadExecutor(8) as executor:
        result = study.run(executor)

    log = read_study(tmp_path / "a")
    met = log.records.values[:, 0, 0] <= 25
    assert result.ended == "stop_at"
    assert met[-1]
    assert not met[:-1].any()
    assert journal(tmp_path / "a") == journal(tmp_path / "b")


def test_study_continues_when_its_rules_are_taken_back(tmp_path: Path) -> None:
    search(tmp_path / "whole", budget=60)
    study = search(tmp_path / "a", budget=60, patience=5)
    assert study.evaluations < 60

    again = Study.open(tmp_path / "a", toy_task())
    again.stop_by(None, None)
    again.run()

    assert journal(tmp_path / "a") == journal(tmp_path / "whole")


def test_time_limit_interrupts_a_study_that_can_be_continued(tmp_path: Path) -> None:
    search(tmp_path / "whole")
    study = Study.create(tmp_path / "a", toy_task(), "genetic", seed=3, budget=40)

    result = study.run(minutes=1e-9)

    assert result.ended == "minutes"
    assert result.evaluations < 40
    assert read_study(tmp_path / "a").status == "interrupted"
    Study.open(tmp_path / "a", toy_task()).run()
    assert journal(tmp_path / "a") == journal(tmp_path / "whole")


@pytest.mark.parametrize(
    "options", [{"patience": 0}, {"stop_at": "speed >= 3"}, {"stop_at": "fast"}]
)
def test_bad_rules_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises((InvalidArgumentError, LookupError)):
        search(tmp_path / "a", **options)
    assert not (tmp_path / "a").exists()


# ---- cells that run twice


def test_study_that_exists_is_opened_if_it_is_the_same(tmp_path: Path) -> None:
    search(tmp_path / "a", budget=20)

    again = Study.create(tmp_path / "a", toy_task(), "genetic", seed=3, budget=40, exists="resume")
    again.run()

    search(tmp_path / "whole")
    assert journal(tmp_path / "a") == journal(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agent": "random"}, "its agent is 'genetic', not 'random'"),
        ({"seed": 4}, "its seed is 3, not 4"),
        ({"task": toy_task("heavy")}, "its task is"),
        (
            {"hyperparameters": {"population": 5}},
            "its hyperparameters are the defaults, not population=5",
        ),
        ({"start": ["default"]}, "it has no start designs, not 1 start design"),
        ({"seed": 4, "agent": "random"}, "its agent is 'genetic', not 'random'; its seed is 3"),
    ],
)
def test_another_study_that_exists_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    search(tmp_path / "a", budget=5)
    arguments: dict[str, Any] = {
        "task": toy_task(),
        "agent": "genetic",
        "seed": 3,
        "budget": 5,
        **changes,
    }

    with pytest.raises(InvalidArgumentError, match=message):
        Study.create(tmp_path / "a", exists="resume", **arguments)
    with pytest.raises(InvalidArgumentError, match=f"holds another study.*{message}"):
        Study.create(tmp_path / "a", **arguments)


def test_same_study_is_refused_with_the_ways_to_continue_it(tmp_path: Path) -> None:
    search(tmp_path / "a", budget=5)

    with pytest.raises(StudyExistsError, match=r"this task, agent and seed\. Continue it with"):
        Study.create(tmp_path / "a", toy_task(), "genetic", seed=3, budget=5)


def test_other_start_designs_and_studies_are_named_as_such(tmp_path: Path) -> None:
    search(tmp_path / "earlier", budget=5)
    one = [tmp_path / "earlier"]
    task = toy_task()
    Study.create(tmp_path / "a", task, start=["default"], warm_start=one, budget=5).close()

    with pytest.raises(StudyExistsError, match="its warm start has 1 earlier study, not no earl"):
        Study.create(tmp_path / "a", task, start=["default"], budget=5)
    design = task.space.sample(1, np.random.default_rng(0))[0]
    start = [dict(task.space.design_at(design))]
    with pytest.raises(StudyExistsError, match="another study: its start designs are others"):
        Study.create(tmp_path / "a", task, start=start, warm_start=one, budget=5)


def test_changed_function_is_noticed(tmp_path: Path) -> None:
    space = [Integer(name="x", low=0, high=9)]

    def one(design: Any) -> dict[str, float]:
        return {"loss": float(design["x"])}

    def two(design: Any) -> dict[str, float]:
        return {"loss": float(design["x"]) + 0.0 * 1}

    two.__name__ = "one"
    tasks = [Task.make(FunctionSimulator(f, space, {"loss": "minimise"})) for f in (one, two)]
    Study.create(tmp_path / "a", tasks[0], "random", budget=5).run()

    with pytest.raises(InvalidArgumentError, match="such as a function or file that has changed"):
        Study.create(tmp_path / "a", tasks[1], "random", budget=5, exists="resume")


def test_study_of_another_simulator_is_named_with_its_simulator(tmp_path: Path) -> None:
    def square(design: Any) -> dict[str, float]:
        return {"loss": float(design["x"]) ** 2}

    other = FunctionSimulator(square, [Integer(name="x", low=0, high=9)], {"loss": "minimise"})
    Study.create(tmp_path / "a", Task.make(other), "random", budget=3).run()

    for name in ("start", "warm_start"):
        options: dict[str, Any] = {name: [tmp_path / "a"]}
        with pytest.raises(InvalidArgumentError, match=r"is a study of simulator 'square'.*'toy'"):
            Study.create(tmp_path / "b", toy_task(), "genetic", budget=5, **options)
