import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from archgym.errors import (
    BudgetExhausted,
    InvalidArgumentError,
    InvalidDesignError,
    ReplayError,
    StorageError,
    StudyLockedError,
    UnknownNameError,
)
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.evaluation.trials import Evaluate
from archgym.files.policy import Policy
from archgym.spaces.parameter import Integer, Parameter
from archgym.spaces.space import DesignSpace
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tasks.executor import SerialExecutor, ThreadExecutor
from archgym.tasks.processes import ProcessExecutor
from archgym.tasks.task import Task
from tests.studies.searches import TWO, ListAgent, journal, resume, search
from tests.toys import SPACE, CountingAgent, ToyAgent, UnreplayableAgent, toy_task

ROOT = Path(__file__).parents[2]


# ---- running


def test_study_ends_at_its_budget(tmp_path: Path) -> None:
    result = search(tmp_path / "a", 40)

    assert (result.ended, result.evaluations) == ("budget", 40)
    assert result.asks == len(journal(tmp_path / "a").splitlines())
    assert result.asks > 40
    assert result.best is not None
    state = json.loads((tmp_path / "a" / "state.json").read_text())
    assert state["status"] == "finished"
    assert state["best_reward"] == result.best.reward


def test_study_ends_at_its_limit_of_asks(tmp_path: Path) -> None:
    result = search(tmp_path / "a", 100, max_asks=30)

    assert (result.ended, result.asks) == ("max_asks", 30)


def test_limit_of_asks_is_twenty_for_each_evaluation(tmp_path: Path) -> None:
    ListAgent.batches = [[[0, 0, 0, 0, 0]]] * 1000

    result = Study.create(tmp_path / "a", toy_task(), ListAgent, budget=3).run()

    assert (result.ended, result.asks, result.evaluations) == ("max_asks", 60, 1)


def test_study_ends_with_its_agent(tmp_path: Path) -> None:
    result = Study.create(tmp_path / "a", toy_task(), CountingAgent, budget=100).run()

    assert (result.ended, result.asks) == ("agent", CountingAgent.n)
    assert read_study(tmp_path / "a").status == "finished"


def test_repeats_are_recognised_within_a_batch_and_by_canonical_form(tmp_path: Path) -> None:
    # boost (the last) means nothing where mode (the first) is not fast.
    ListAgent.batches = [[[0, 1, 1, 1, 0], [0, 1, 1, 1, 3]], [[2, 1, 1, 1, 3], [0, 1, 1, 1, 2]]]

    log = Study.create(tmp_path / "a", toy_task(), ListAgent, budget=9).run().log

    assert log.records.same.tolist() == [-1, 0, -1, 0]
    assert log.records.indices[1].tolist() == [0, 1, 1, 1, 3]


def test_trials_tell_repeats_failures_and_infeasible_designs(tmp_path: Path) -> None:
    study = Study.log(tmp_path / "a", toy_task(TWO, trouble="raise"))
    fine, broken, huge = [0, 1, 1, 1, 0], [0, 1, 2, 1, 0], [0, 4, 7, 1, 0]
    hot = [2, 1, 1, 10, 3]

    trials = study.evaluate(np.array([fine, broken, huge, hot, fine]))

    assert trials.repeated.tolist() == [False, False, False, False, True]
    assert trials.failed.tolist() == [False, True, False, False, False]
    assert trials.feasible.tolist() == [True, False, False, False, True]
    assert trials.reward[1:4].tolist() == [INFEASIBLE_REWARD] * 3
    assert trials.reward[0] == trials.reward[4]
    assert np.isnan(trials.values[1:4]).all()
    assert trials.values[0] == pytest.approx(
        toy_task(TWO).average(toy_task(TWO).evaluate(np.array([fine])).values)[0]
    )
    study.close()
    assert read_study(tmp_path / "a").records.errors == {1: "ZeroDivisionError: the toy broke"}


def test_budget_may_end_in_the_middle_of_a_batch(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "a", toy_task(), None, budget=3)
    batch = toy_task().space.unflat(np.arange(0, 400, 80))

    with pytest.raises(BudgetExhausted, match="3 evaluations in 3 asks"):
        study.evaluate(batch)

    assert read_study(tmp_path / "a").evaluations == 3


@pytest.mark.parametrize("executor", [ThreadExecutor(2), ThreadExecutor(3)])
def test_threads_write_the_same_bytes(tmp_path: Path, executor: ThreadExecutor) -> None:
    search(tmp_path / "a", 60, hyperparameters={"batch_size": 16})

    study = Study.create(
        tmp_path / "b",
        toy_task(TWO),
        ToyAgent,
        seed=1,
        budget=60,
        hyperparameters={"batch_size": np.int64(16)},
    )
    study.run(executor)

    assert journal(tmp_path / "a") == journal(tmp_path / "b")
    executor.close()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_processes_write_the_same_bytes(tmp_path: Path, workers: int) -> None:
    search(tmp_path / "a", 60)

    study = Study.create(tmp_path / "b", toy_task(TWO), ToyAgent, seed=1, budget=60)
    with ProcessExecutor(workers, timeout_s=30.0) as executor:
        study.run(executor)

    assert journal(tmp_path / "a") == journal(tmp_path / "b")


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int, float | None]] = []
    study = Study.create(tmp_path / "a", toy_task(), ToyAgent, budget=30)

    result = study.run(progress=lambda *now: told.append(now))

    assert result.best is not None
    assert told[-1] == (30, 30, result.best.reward)
    assert [n for n, _, _ in told] == sorted(n for n, _, _ in told)


def test_curve_and_best_agree(tmp_path: Path) -> None:
    result = search(tmp_path / "a", 50)

    curve = result.log.curve()

    assert len(curve) == 50
    assert result.best is not None
    assert curve[-1] == result.best.reward
    assert (np.diff(curve) >= 0).all()
    evaluated = toy_task(TWO).evaluate(toy_task(TWO).space.indices_of(result.best.design)[None])
    assert evaluated.reward[0] == result.best.reward


# ---- resuming


@pytest.mark.parametrize("n", [1, 7, 23, 59])
def test_n_plus_m_equals_n_then_m(tmp_path: Path, n: int) -> None:
    search(tmp_path / "a", 60)

    search(tmp_path / "b", n)
    result = resume(tmp_path / "b", 60)

    assert journal(tmp_path / "a") == journal(tmp_path / "b")
    assert result.evaluations == 60
    assert read_study(tmp_path / "b").header.budget == 60


def test_finished_study_resumes_without_asking(tmp_path: Path) -> None:
    first = search(tmp_path / "a", 20)

    again = resume(tmp_path / "a")

    assert (again.ended, again.asks) == (first.ended, first.asks)
    assert again.best == first.best


def test_run_can_be_called_again_with_a_larger_budget(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "a", toy_task(), ToyAgent, budget=10)
    study.run()

    result = study.run(budget=20)

    assert result.evaluations == 20


def test_budget_below_what_is_done_is_refused(tmp_path: Path) -> None:
    search(tmp_path / "a", 20)

    with pytest.raises(InvalidArgumentError, match="at least the 20 evaluations"):
        resume(tmp_path / "a", 10)


def test_agent_that_asks_for_something_else_stops(tmp_path: Path) -> None:
    ListAgent.batches = [[[0, 1, 1, 1, 0]], [[1, 1, 1, 1, 0]]]
    Study.create(tmp_path / "a", toy_task(), ListAgent, budget=9).run()
    before = journal(tmp_path / "a")

    ListAgent.batches = [[[0, 1, 1, 1, 0]], [[1, 2, 1, 1, 0]]]
    with pytest.raises(ReplayError, match=r"at seq 1 it asks for Design\(mode='slow', banks=4"):
        Study.open(tmp_path / "a", toy_task(), ListAgent).run()

    ListAgent.batches = [[[0, 1, 1, 1, 0]]]
    with pytest.raises(ReplayError, match=r"ends after 1 asks, but .* records 2"):
        Study.open(tmp_path / "a", toy_task(), ListAgent).run()
    assert journal(tmp_path / "a") == before


def test_other_task_is_refused(tmp_path: Path) -> None:
    search(tmp_path / "a", 5)

    with pytest.raises(InvalidArgumentError, match=r"`task` must be the one that .* records"):
        Study.open(tmp_path / "a", toy_task("heavy"), ToyAgent)

    resume(tmp_path / "a", 6)


def test_unregistered_simulator_and_agent_must_be_given(tmp_path: Path) -> None:
    search(tmp_path / "a", 5)

    with pytest.raises(UnknownNameError, match=r"continue in Python: archgym.Study.open\("):
        Study.open(tmp_path / "a")
    with pytest.raises(UnknownNameError, match="pass its class as `agent`"):
        Study.open(tmp_path / "a", toy_task(TWO))
    with pytest.raises(InvalidArgumentError, match="must be the study's, 'toy'; got 'counting'"):
        Study.open(tmp_path / "a", toy_task(TWO), CountingAgent)


def test_agent_that_cannot_be_replayed_goes_on_in_a_new_segment(tmp_path: Path) -> None:
    Study.create(tmp_path / "a", toy_task(), UnreplayableAgent, seed=4, budget=10).run()
    before = journal(tmp_path / "a")

    study = Study.open(tmp_path / "a", toy_task(), UnreplayableAgent)
    result = study.run(budget=25)

    first, second = result.log.segments
    assert (first.first_seq, first.seed) == (0, 4)
    assert second.first_seq == len(before.splitlines())
    assert second.seed != 4
    assert result.evaluations == 25
    assert journal(tmp_path / "a").startswith(before)


def test_finished_study_that_cannot_be_replayed_gets_no_empty_segment(tmp_path: Path) -> None:
    Study.create(tmp_path / "a", toy_task(), UnreplayableAgent, seed=4, budget=10).run()
    before = (tmp_path / "a" / "study.json").read_bytes()

    result = Study.open(tmp_path / "a", toy_task(), UnreplayableAgent).run()
    Study.open(tmp_path / "a", toy_task(), UnreplayableAgent).close()

    assert (result.ended, result.evaluations) == ("budget", 10)
    assert (tmp_path / "a" / "study.json").read_bytes() == before


class EndingAgent(UnreplayableAgent):
    """Has nothing more to ask after a while."""

    name = "ending"

    def search(  # type: ignore[misc]  # final: an agent that ends is none of ours
        self, evaluate: Evaluate, task: Task
    ) -> None:
        for _ in range(3):
            evaluate(self.ask())


def test_agent_that_had_no_more_to_ask_begins_anew_just_for_a_larger_budget(
    tmp_path: Path,
) -> None:
    made = Study.create(tmp_path / "a", toy_task(), EndingAgent, seed=4, budget=50).run()

    again = Study.open(tmp_path / "a", toy_task(), EndingAgent).run()
    more = Study.open(tmp_path / "a", toy_task(), EndingAgent).run(budget=60)

    assert (made.ended, again.ended, more.ended) == ("agent", "agent", "agent")
    assert (made.asks, again.asks, more.asks) == (9, 9, 18)
    assert [segment.first_seq for segment in more.log.segments] == [0, 9]


def test_log_that_is_only_opened_gets_no_segment(tmp_path: Path) -> None:
    with Study.log(tmp_path / "a", toy_task()) as study:
        study.evaluate(np.zeros((1, 5), dtype=np.int64))

    Study.log(tmp_path / "a", toy_task()).close()

    assert len(read_study(tmp_path / "a").segments) == 1


# ---- logs


def test_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    batch = toy_task().space.unflat(np.arange(0, 400, 80))
    with Study.log(tmp_path / "a", toy_task()) as study:
        study.evaluate(batch[:3])

    with Study.log(tmp_path / "a", toy_task()) as study:
        trials = study.evaluate(batch)

    assert trials.repeated.tolist() == [True, True, True, False, False]
    log = read_study(tmp_path / "a")
    assert (log.evaluations, log.asks) == (5, 8)
    assert [segment.first_seq for segment in log.segments] == [0, 3]


def test_dropped_log_can_be_opened_again(tmp_path: Path) -> None:
    study = Study.log(tmp_path / "a", toy_task())
    study.evaluate(np.zeros((1, 5), dtype=np.int64))
    del study

    with Study.log(tmp_path / "a", toy_task()) as study:
        assert study.asks == 1


def test_log_with_a_lost_record_loses_that_one_only(tmp_path: Path) -> None:
    batch = toy_task().space.unflat(np.arange(0, 400, 80))
    with Study.log(tmp_path / "a", toy_task()) as study:
        study.evaluate(batch)
    lines = journal(tmp_path / "a").splitlines(keepends=True)
    (tmp_path / "a" / "journal.jsonl").write_bytes(b"".join([*lines[:2], b"x\n", *lines[3:]]))

    with Study.log(tmp_path / "a", toy_task()) as study:
        trials = study.evaluate(batch)

    assert trials.repeated.tolist() == [True, True, False, True, True]
    assert read_study(tmp_path / "a").evaluations == 5
    assert (tmp_path / "a" / "journal.bad").read_bytes() == b"x\n"


def test_log_of_an_agents_study_is_refused(tmp_path: Path) -> None:
    search(tmp_path / "a", 5, task=toy_task())

    with pytest.raises(UnknownNameError):
        Study.log(tmp_path / "a", toy_task())
    Study.create(tmp_path / "b", toy_task(), None).close()
    with pytest.raises(InvalidArgumentError, match="needs an agent to run"):
        Study.log(tmp_path / "b", toy_task()).run()


def test_design_outside_the_space_is_refused_and_not_logged(tmp_path: Path) -> None:
    with Study.log(tmp_path / "a", toy_task()) as study:
        with pytest.raises(InvalidDesignError):
            study.evaluate(np.array([[0, 0, 0, 0, 4]]))
        with pytest.raises(InvalidArgumentError, match="one or more designs"):
            study.evaluate(np.empty((0, 5), dtype=np.int64))

    assert journal(tmp_path / "a") == b""


# ---- creating


def test_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()

    with pytest.raises(InvalidArgumentError, match="holds 'mine'"):
        search(tmp_path, 5)
    search(tmp_path / "a", 5)
    with pytest.raises(InvalidArgumentError, match='exists="resume", which takes the task'):
        search(tmp_path / "a", 5)


def test_open_study_is_refused_to_others(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "a", toy_task(TWO), ToyAgent, budget=5)

    with pytest.raises(StudyLockedError, match=f"process {os.getpid()} on "):
        search(tmp_path / "a", 5)
    with pytest.raises(StudyLockedError):
        resume(tmp_path / "a")

    assert read_study(tmp_path / "a").status == "running"
    study.close()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"budget": 0}, "`budget` must be a whole number"),
        ({"budget": None}, "`budget` must be a whole number"),
        ({"budget": 5, "max_asks": 0}, "`max_asks` must be"),
        ({"budget": 5, "seed": -1}, "`seed` must be"),
        ({"budget": 5, "hyperparameters": {"batch_size": [object()]}}, "`batch_size` must be a"),
        (
            {"budget": 5, "hyperparameters": {"batch_size": math.nan}},
            "Hyperparameter `batch_size` must be a finite number, .*; got nan",
        ),
        ({"budget": 5, "hyperparameters": ["batch_size"]}, "`hyperparameters` must map names"),
        ({"budget": 5, "task": "dram"}, r"`task` must be a Task; got 'dram'. .*Task.make"),
        ({"budget": 5, "agent": 7}, "`agent` must be a registered name or a class"),
        ({"budget": 5, "agent": ToyAgent(SPACE, seed=1)}, "makes the agent itself"),
    ],
)
def test_unfit_argument_is_refused_before_a_folder_is_made(
    tmp_path: Path, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=problem):
        Study.create(tmp_path / "a", **{"task": toy_task(), "agent": ToyAgent, **options})

    assert not (tmp_path / "a").exists()


def test_name_in_place_of_a_task_agent_or_executor_is_refused(tmp_path: Path) -> None:
    name: Any = "name"
    study = Study.create(tmp_path / "a", toy_task(), ToyAgent, budget=5)
    with pytest.raises(InvalidArgumentError, match="`executor` must be an Executor; got 'name'"):
        study.run(name)
    study.close()

    with pytest.raises(InvalidArgumentError, match="`task` must be a Task; got 'name'"):
        Study.open(tmp_path / "a", name)
    with pytest.raises(InvalidArgumentError, match=r"`agent` must be .*; got 'name'"):
        Study.open(tmp_path / "a", toy_task(), name)
    with pytest.raises(InvalidArgumentError, match="`task` must be a Task; got 'name'"):
        Study.log(tmp_path / "b", name)


def test_unknown_hyperparameter_lists_the_near_one(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'batch_size'"):
        search(tmp_path / "a", 5, hyperparameters={"batchsize": 3})


def test_full_disk_stops_in_one_line_and_leaves_a_readable_study(tmp_path: Path) -> None:
    code = """
import resource, sys
from archgym.errors import StorageError
from archgym.studies.study import Study
from tests.toys import ToyAgent, toy_task
study = Study.create(sys.argv[1], toy_task(), ToyAgent, seed=1, budget=500)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    study.run()
except StorageError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.count("\n") == 1
    assert "journal.jsonl cannot be written: a file may not grow" in done.stdout
    log = read_study(tmp_path / "a")
    assert log.damage == ()
    assert 50 < log.evaluations < 500
    search(tmp_path / "b", 500, task=toy_task())
    resume(tmp_path / "a", task=toy_task())
    assert journal(tmp_path / "a") == journal(tmp_path / "b")


def test_read_only_study_can_be_read_and_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search(tmp_path / "a", 5)
    real = os.open

    def read_only(path: str, flags: int, *rest: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, "Read-only file system")
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", read_only)

    assert read_study(tmp_path / "a").evaluations == 5
    with pytest.raises(StorageError, match=r"cannot be opened: the file system is read-only\."):
        resume(tmp_path / "a", 9)


# ---- executors and policies


def test_executor_of_the_caller_stays_open(tmp_path: Path) -> None:
    executor = SerialExecutor()
    study = Study.create(tmp_path / "a", toy_task(), ToyAgent, budget=5)

    study.run(executor)

    assert len(executor.evaluate(toy_task(), np.zeros((1, 5), dtype=np.int64)).reward) == 1


class LearningAgent(ListAgent):
    """Learns how many designs it has asked for."""

    batches: ClassVar[list[list[list[int]]]] = [[[0, 0, 0, 0, 0]], [[1, 0, 0, 0, 0]]]

    def policy(self) -> Policy:
        return Policy("list", {}, {}, {"n": np.array(len(self.batches))})


def test_what_an_agent_has_learned_is_saved_at_the_end(tmp_path: Path) -> None:
    Study.create(tmp_path / "a", toy_task(), LearningAgent, budget=2).run()

    assert Policy.load(tmp_path / "a" / "policy.npz").weights["n"] == 2


def test_policy_that_was_lost_is_learned_again(tmp_path: Path) -> None:
    Study.create(tmp_path / "a", toy_task(), LearningAgent, budget=2).run()
    before = journal(tmp_path / "a")
    (tmp_path / "a" / "policy.npz").unlink()

    Study.open(tmp_path / "a", toy_task(), LearningAgent).run()

    assert Policy.load(tmp_path / "a" / "policy.npz").weights["n"] == 2
    assert journal(tmp_path / "a") == before


def test_agent_that_learns_no_policy_leaves_none(tmp_path: Path) -> None:
    search(tmp_path / "a", 10)

    assert not (tmp_path / "a" / "policy.npz").exists()


class RemoteAgent(ListAgent):
    """Can be replayed unless its hyperparameter says otherwise."""

    hyperparameters: ClassVar[tuple[Parameter, ...]] = (
        Integer(name="runners", low=0, high=2, default=0, doc="Processes."),
    )

    def __init__(self, space: DesignSpace, *, seed: int, runners: int = 0) -> None:
        self.replayable = runners == 0


def test_whether_a_study_can_be_replayed_is_for_the_agent_that_was_made(tmp_path: Path) -> None:
    for runners in (0, 1):
        study = Study.create(
            tmp_path / str(runners),
            toy_task(),
            RemoteAgent,
            budget=2,
            hyperparameters={"runners": runners},
        )
        study.close()

    assert [read_study(tmp_path / n).header.is_replayable for n in ("0", "1")] == [True, False]
