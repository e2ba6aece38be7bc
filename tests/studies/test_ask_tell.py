import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from archgym.errors import InvalidArgumentError, InvalidDesignError, UnknownNameError
from archgym.evaluation.function import OutsideSimulator
from archgym.runtime.reductions import collected_reductions
from archgym.spaces.design import Design
from archgym.spaces.parameter import Integer
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tasks.executor import ThreadExecutor
from archgym.tasks.task import Task
from tests.toys import ToyAgent, UnreplayableAgent, toy_task

ROOT = Path(__file__).parents[2]
TWO: dict[str, float] = {"light": 2.0, "heavy": 1.0}


def journal(folder: Path) -> bytes:
    return (folder / "journal.jsonl").read_bytes()


def measure(task: Task, design: Design) -> dict[str, Any]:
    """Return arguments of `tell` for a design, as a loop outside would find them."""
    found: dict[str, Mapping[str, float]] = {}
    for weighted in task.workloads:
        result = task.simulator.evaluate(design, weighted.workload)
        if result.infeasible is not None:
            return {"infeasible": result.infeasible}
        found[weighted.workload.name] = dict(result)
    return {"metrics": found if len(found) > 1 else next(iter(found.values()))}


def new(folder: Path, task: Task, budget: int = 60) -> Study:
    return Study.create(
        folder, task, ToyAgent, seed=1, budget=budget, hyperparameters={"batch_size": 8}
    )


def loop(study: Study, shuffled: random.Random | None = None) -> None:
    while designs := study.ask(5):
        if shuffled is not None:
            designs += study.ask(2)
            shuffled.shuffle(designs)
        for design in designs:
            study.tell(design, **measure(study.task, design))


@pytest.mark.parametrize("workloads", [{"light": 1.0}, TWO])
def test_asks_and_tells_write_the_bytes_of_a_run(
    tmp_path: Path, workloads: dict[str, float]
) -> None:
    task = toy_task(workloads)
    new(tmp_path / "run", task).run()
    study = new(tmp_path / "loop", task)

    loop(study)

    assert study.ended == "budget"
    assert journal(tmp_path / "loop") == journal(tmp_path / "run")
    assert read_study(tmp_path / "loop").status == "finished"


def test_designs_told_out_of_order_write_the_same_bytes(tmp_path: Path) -> None:
    new(tmp_path / "run", toy_task()).run()
    study = new(tmp_path / "loop", toy_task())

    loop(study, random.Random(3))

    assert journal(tmp_path / "loop") == journal(tmp_path / "run")


@pytest.mark.parametrize("agent", ["few", "auto"])
def test_designs_in_flight_write_the_same_bytes_in_any_order(tmp_path: Path, agent: str) -> None:
    def made(name: str) -> Study:
        hyperparameters: dict[str, Any] = {"batch_size": 4}
        if agent == "auto":
            hyperparameters |= {"opening": 8, "patience": 1}
        return Study.create(
            tmp_path / name, toy_task(), agent, seed=1, budget=40, hyperparameters=hyperparameters
        )

    made("run").run()
    with ThreadExecutor(3) as executor:
        made("threads").run(executor)
    study = made("loop")
    rng = random.Random(3)
    waiting: list[Design] = []
    most = 0
    while (designs := study.ask(5)) or waiting:
        waiting += designs
        most = max(most, len(waiting))
        design = waiting.pop(rng.randrange(len(waiting)))
        study.tell(design, **measure(study.task, design))

    assert most >= 4
    assert study.ended == "budget"
    assert journal(tmp_path / "threads") == journal(tmp_path / "run")
    assert journal(tmp_path / "loop") == journal(tmp_path / "run")


def test_designs_told_ahead_are_known_to_another_process(tmp_path: Path) -> None:
    Study.create(
        tmp_path / "run", toy_task(), "few", budget=20, hyperparameters={"batch_size": 4}
    ).run()
    study = Study.create(
        tmp_path / "loop", toy_task(), "few", budget=20, hyperparameters={"batch_size": 4}
    )
    designs = study.ask(4)
    for design in designs[1:]:
        study.tell(design, **measure(study.task, design))
    assert study.evaluations == 3
    assert study.best_reward is not None
    study.close()

    again = Study.open(tmp_path / "loop", toy_task())
    assert again.ask(4) == designs[:1]
    again.tell(designs[1], **measure(again.task, designs[1]))
    with pytest.raises(InvalidArgumentError, match="told once"):
        again.tell(designs[1], failure="broke")
    again.tell(designs[0], **measure(again.task, designs[0]))
    loop(again)

    assert journal(tmp_path / "loop") == journal(tmp_path / "run")


@pytest.mark.parametrize(
    "options", [{"start": ["default"]}, {"patience": 15}, {"stop_at": "latency_ns <= 25"}]
)
def test_beginnings_and_rules_to_stop_hold_for_asks_and_tells(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {"seed": 3, "budget": 200, **options}
    Study.create(tmp_path / "run", toy_task(), "genetic", **settings).run()
    study = Study.create(tmp_path / "loop", toy_task(), "genetic", **settings)

    while designs := study.ask():
        for design in designs:
            study.tell(design, **measure(study.task, design))

    ran, looped = journal(tmp_path / "run"), journal(tmp_path / "loop")
    # Of the batch in which a design meets `stop_at`, all that was given out is told.
    assert looped.startswith(ran) if "stop_at" in options else looped == ran
    assert study.ended == {"patience": "patience", "stop_at": "stop_at"}.get(
        next(iter(options)), "budget"
    )


def test_told_designs_are_kept_when_the_process_is_killed(tmp_path: Path) -> None:
    new(tmp_path / "run", toy_task()).run()
    folder = tmp_path / "loop"
    new(folder, toy_task()).close()
    code = f"""
import os, signal, sys
from tests.studies.test_ask_tell import ToyAgent, Study, measure, toy_task
study = Study.open({str(folder)!r}, toy_task(), ToyAgent)
told = 0
while designs := study.ask(8):
    for design in reversed(designs):
        study.tell(design, **measure(study.task, design))
        told += 1
        print(told, flush=True)
        if told == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
"""
    told = 0
    for n in (3, 9, 14):
        ran = subprocess.run(
            [sys.executable, "-c", code, str(n)], capture_output=True, text=True, cwd=ROOT
        )
        assert ran.returncode == -signal.SIGKILL, ran.stderr
        told += n
        assert read_study(folder).evaluations >= told

    loop(Study.open(folder, toy_task(), ToyAgent))

    assert journal(folder) == journal(tmp_path / "run")


def test_another_process_may_tell_what_one_has_asked(tmp_path: Path) -> None:
    first = new(tmp_path / "a", toy_task())
    designs = first.ask(8)
    first.close()

    second = Study.open(tmp_path / "a", toy_task(), ToyAgent)
    second.tell(designs[4], **measure(second.task, designs[4]))

    assert read_study(tmp_path / "a").evaluations == 1
    left = second.ask(8)
    assert designs[4] not in left
    assert left == [design for design in designs if design != designs[4]]


def test_ask_returns_nothing_while_all_designs_are_given_out(tmp_path: Path) -> None:
    study = new(tmp_path / "a", toy_task())

    assert len(study.ask(100)) == 8
    assert study.ask() == []
    assert study.ended is None


def test_failures_and_infeasible_designs_are_told(tmp_path: Path) -> None:
    study = new(tmp_path / "a", toy_task())
    first, second, *_ = study.ask(4)

    study.tell(first, failure="licence server is down")
    study.tell(second, infeasible="The toy overheats.")

    log = study.read()
    assert log.records.errors == {0: "licence server is down"}
    assert log.counts()["infeasible"] == 1


def test_design_that_was_not_asked_is_refused(tmp_path: Path) -> None:
    study = new(tmp_path / "a", toy_task())
    asked = study.ask(8)
    other = next(d for d in map(study.task.space.design_at, [[0, 1, 1, 1, 0]]) if d not in asked)

    with pytest.raises(InvalidArgumentError, match="did not ask for"):
        study.tell(other, **measure(study.task, other))
    with pytest.raises(InvalidDesignError):
        study.tell({"mode": "off"}, failure="late")
    assert study.evaluations == len(study.read().records) == 0


def test_design_told_twice_must_have_the_same_result(tmp_path: Path) -> None:
    study = new(tmp_path / "a", toy_task())
    design = study.ask(8)[0]
    result = measure(study.task, design)
    study.tell(design, **result)

    study.tell(design, **result)

    with pytest.raises(InvalidArgumentError, match="told before"):
        study.tell(design, failure="late")
    assert len(study.read().records) == 1


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({}, "one of metrics"),
        ({"metrics": {"latency_ns": 1.0}}, "`power_mw` is missing"),
        ({"metrics": None, "infeasible": "no idea"}, "no idea"),
        ({"metrics": [1.0]}, "mapping"),
    ],
)
def test_bad_results_are_refused(tmp_path: Path, told: dict[str, Any], message: str) -> None:
    study = new(tmp_path / "a", toy_task())
    design = study.ask()[0]

    with pytest.raises((InvalidArgumentError, UnknownNameError), match=message):
        study.tell(design, **told)
    assert len(study.read().records) == 0


def test_negative_value_of_a_metric_with_a_goal_is_refused(tmp_path: Path) -> None:
    study = new(tmp_path / "a", toy_task())
    design = study.ask()[0]
    metrics = {"power_mw": 1.0, "throughput_gbs": 1.0, "entries": 1.0, "latency_ns": -1.0}

    with pytest.raises(InvalidArgumentError, match="`latency_ns` must be 0 or more"):
        study.tell(design, metrics)
    assert len(study.read().records) == 0


def test_reason_of_a_simulator_without_reasons_is_refused_with_what_to_do(tmp_path: Path) -> None:
    board = OutsideSimulator(
        "board", [Integer(name="x", low=1, high=4)], {"ms": "minimise"}, default={"ms": 2.0}
    )
    study = new(tmp_path / "a", Task.make(board))

    with pytest.raises(InvalidArgumentError, match="declares none; got 'too hot'"):
        study.tell(study.ask()[0], infeasible="too hot")


def test_study_of_designs_evaluated_elsewhere_cannot_run(tmp_path: Path) -> None:
    board = OutsideSimulator(
        "board", [Integer(name="x", low=1, high=4)], {"ms": "minimise"}, default={"ms": 2.0}
    )
    study = new(tmp_path / "a", Task.make(board))
    designs = study.ask()

    with pytest.raises(InvalidArgumentError, match="evaluated elsewhere"):
        study.run()

    study.tell(designs[0], {"ms": 1.0})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "fast", None, True])
def test_metrics_that_are_not_finite_numbers_are_refused(tmp_path: Path, value: Any) -> None:
    study = new(tmp_path / "a", toy_task())
    design = study.ask()[0]
    metrics = {"power_mw": 1.0, "throughput_gbs": 1.0, "entries": 1.0, "latency_ns": value}

    with pytest.raises(InvalidArgumentError, match="`latency_ns` must be a finite number"):
        study.tell(design, metrics)
    with pytest.raises(UnknownNameError, match="latency"):
        study.tell(design, {**metrics, "latency_n": 1.0})


def test_finished_study_takes_no_more_results(tmp_path: Path) -> None:
    study = new(tmp_path / "a", toy_task(), budget=8)
    designs = study.ask(8)
    for design in designs:
        study.tell(design, **measure(study.task, design))

    assert study.ask() == []
    assert study.ended == "budget"
    with pytest.raises(InvalidArgumentError, match="has ended"):
        study.tell(designs[0], **measure(study.task, designs[0]))
    assert Study.open(tmp_path / "a", toy_task(), ToyAgent).ask() == []


def test_run_continues_what_was_asked_and_told(tmp_path: Path) -> None:
    new(tmp_path / "run", toy_task()).run()
    study = new(tmp_path / "loop", toy_task())
    for design in study.ask(5)[1:]:
        study.tell(design, **measure(study.task, design))

    study.run()

    assert journal(tmp_path / "loop") == journal(tmp_path / "run")


def test_agent_that_cannot_be_replayed_continues_in_a_segment(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "a", toy_task(), UnreplayableAgent, seed=1, budget=30)
    for design in study.ask(3):
        study.tell(design, **measure(study.task, design))
    n = study.evaluations
    study.close()

    again = Study.open(tmp_path / "a", toy_task(), UnreplayableAgent)
    loop(again)

    assert n > 0
    assert again.ended == "budget"
    assert len(read_study(tmp_path / "a").segments) == 2


def test_log_cannot_be_asked(tmp_path: Path) -> None:
    with (
        Study.log(tmp_path / "a", toy_task()) as log,
        pytest.raises(InvalidArgumentError, match="log"),
    ):
        log.ask()


def test_dropped_study_gives_its_lease_back(tmp_path: Path) -> None:
    study = new(tmp_path / "a", toy_task())
    study.ask()
    del study

    Study.open(tmp_path / "a", toy_task(), ToyAgent).close()


def test_best_reward_counts_results_that_were_told(tmp_path: Path) -> None:
    task = toy_task({"light": 1.0})
    study = new(tmp_path / "loop", task)
    rewards = []

    for design in study.ask(8)[:3]:
        told = measure(task, design)
        study.tell(design, **told)
        rewards += [] if "infeasible" in told else [study.best_reward]

    assert rewards
    assert all(reward is not None for reward in rewards)
    assert rewards == sorted(rewards)


def test_first_ask_sets_how_many_designs_are_in_flight(tmp_path: Path) -> None:
    with Study.create(tmp_path / "s", toy_task(), "auto", budget=12) as study:
        first = study.ask(8)
        study.tell(first[2], **measure(study.task, first[2]))

        assert len(first) == 8
    again = Study.create(tmp_path / "s", toy_task(), "auto", budget=12, exists="resume")
    with (
        again,
        Study.create(
            tmp_path / "t", toy_task(), "auto", budget=12, hyperparameters={"batch_size": 8}
        ) as chosen,
    ):
        assert again.ask(8) == [*first[:2], *first[3:]]
        assert chosen.ask(8) == first
        assert again.settings() == chosen.settings()


def test_later_asks_leave_the_designs_in_flight(tmp_path: Path) -> None:
    with Study.create(tmp_path / "s", toy_task(), "few", budget=12) as study:
        (design,) = study.ask()
        study.tell(design, **measure(study.task, design))

        assert len(study.ask(8)) == 1


def test_ask_for_more_than_the_agent_has_in_flight_says_so(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "s", toy_task(), "auto", budget=8)
    with study, collected_reductions() as notes:
        assert len(study.ask()) == 1
        assert not study.ask(8)
        told = study.task.space.design_at(study.task.space.default_indices)
        study.tell(told, **measure(study.task, told))
        assert len(study.ask(8)) == 1

    (note,) = notes
    assert "proposes one design at a time, so 7 of 8 workers are idle" in note
    assert "batch_size=8" in note
