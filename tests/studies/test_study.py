import errno
import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from archgym.errors import (
    BudgetExhausted,
    FileFormatError,
    InvalidArgumentError,
    InvalidDesignError,
    ReplayError,
    StorageError,
    StudyInterrupted,
    StudyLockedError,
    UnknownNameError,
)
from archgym.evaluation.executor import ProcessExecutor, SerialExecutor, ThreadExecutor
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.evaluation.task import Task
from archgym.evaluation.trials import Evaluate
from archgym.search.agent import Agent
from archgym.search.policy import Policy
from archgym.spaces.parameter import Integer, Parameter
from archgym.spaces.space import DesignSpace
from archgym.studies.study import Study, StudyResult, read_study
from tests.toys import SPACE, CountingAgent, ToyAgent, UnreplayableAgent, toy_task

ROOT = Path(__file__).parents[2]
TWO: dict[str, float] = {"light": 2.0, "heavy": 1.0}


def search(folder: Path, budget: int, task: Task | None = None, **options: Any) -> StudyResult:
    task = task or toy_task(TWO)
    return Study.create(folder, task, ToyAgent, seed=1, budget=budget, **options).run()


def resume(folder: Path, budget: int | None = None, task: Task | None = None) -> StudyResult:
    return Study.open(folder, task or toy_task(TWO), ToyAgent).run(budget=budget)


def journal(folder: Path) -> bytes:
    return (folder / "journal.jsonl").read_bytes()


class ListAgent(Agent):
    """Asks for what the test lists."""

    name = "list"
    batches: ClassVar[list[list[list[int]]]] = []

    def __init__(self, space: DesignSpace, *, seed: int) -> None:
        pass

    def search(self, evaluate: Evaluate, task: Task) -> None:
        for batch in self.batches:
            evaluate(np.array(batch))


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

    with pytest.raises(UnknownNameError, match="pass the study's `task`"):
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


# ---- damage


def spoilt_journals(content: bytes, n_records: int) -> Iterator[bytes]:
    """Each byte of the first records flipped, and the last record cut at each byte."""
    end = sum(len(line) for line in content.splitlines(keepends=True)[:n_records])
    for place in range(end):
        spoilt = bytearray(content)
        spoilt[place] ^= 0x01
        yield bytes(spoilt)
    start = content.rindex(b"\n", 0, -1) + 1
    for cut in range(start, len(content)):
        yield content[:cut]


def assert_repaired(folder: Path, spoilt: bytes, whole: bytes) -> None:
    (folder / "journal.jsonl").write_bytes(spoilt)
    (folder / "journal.bad").unlink(missing_ok=True)
    damage = read_study(folder).damage
    assert journal(folder) == spoilt

    result = resume(folder)

    assert journal(folder) == whole
    assert result.evaluations == 20
    assert (folder / "journal.bad").exists() == bool(damage)


def test_damaged_journals_are_repaired_to_the_byte(tmp_path: Path) -> None:
    search(tmp_path / "a", 20)
    whole = journal(tmp_path / "a")

    for spoilt in random.Random(0).sample(list(spoilt_journals(whole, 10)), 12):
        assert_repaired(tmp_path / "a", spoilt, whole)


@pytest.mark.slow
def test_journals_damaged_in_any_place_are_repaired_to_the_byte(tmp_path: Path) -> None:
    search(tmp_path / "a", 20)
    whole = journal(tmp_path / "a")

    # What each byte does to a journal alone is tested there; these are all fields of a record.
    for spoilt in list(spoilt_journals(whole, 10))[::7]:
        assert_repaired(tmp_path / "a", spoilt, whole)


def test_lost_evaluation_is_done_again_and_not_charged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    search(tmp_path / "a", 20)
    whole = journal(tmp_path / "a")
    lines = whole.splitlines(keepends=True)
    lost = b"{" + lines[2]
    (tmp_path / "a" / "journal.jsonl").write_bytes(b"".join([*lines[:2], lost, *lines[3:]]))

    result = resume(tmp_path / "a")

    assert journal(tmp_path / "a") == whole
    assert result.evaluations == 20
    assert (tmp_path / "a" / "journal.bad").read_bytes() == lost
    assert "1 damaged line left out: line 3 does not match its checksum" in caplog.text


def test_repair_that_is_cut_off_is_done_again(tmp_path: Path) -> None:
    class CutOffError(Exception):
        pass

    search(tmp_path / "a", 20)
    whole = journal(tmp_path / "a")
    lines = whole.splitlines(keepends=True)
    for row in (2, 9, 11):
        lines[row] = b"x\n"
    (tmp_path / "a" / "journal.jsonl").write_bytes(b"".join(lines))

    Study.open(tmp_path / "a", toy_task(TWO), ToyAgent).close()
    for limit in (5, 9):

        def cut_off(n: int, *_: object, limit: int = limit) -> None:
            if n >= limit:
                raise CutOffError

        with pytest.raises(CutOffError):
            Study.open(tmp_path / "a", toy_task(TWO), ToyAgent).run(progress=cut_off)
    log = read_study(tmp_path / "a")
    assert log.damage == ()
    assert log.asks == len(lines) - 1
    resume(tmp_path / "a")

    assert journal(tmp_path / "a") == whole
    assert (tmp_path / "a" / "journal.bad").read_bytes() == b"x\n" * 3


def test_reader_changes_nothing_and_reports(tmp_path: Path) -> None:
    search(tmp_path / "a", 20)
    whole = journal(tmp_path / "a")
    (tmp_path / "a" / "journal.jsonl").write_bytes(whole[:-5])
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}

    log = read_study(tmp_path / "a")

    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before
    assert log.evaluations == 19
    report = log.damage_report()
    assert report is not None
    n = len(whole.splitlines())
    assert report.endswith(f"line {n} is torn: it has no end. Record {n - 1} is missing.")


def test_journal_of_another_study_is_not_taken(tmp_path: Path) -> None:
    search(tmp_path / "a", 20)
    search(tmp_path / "b", 20, toy_task("heavy"))
    Study.create(tmp_path / "c", toy_task(TWO), ToyAgent, seed=2, budget=20).run()
    search(tmp_path / "d", 20, hyperparameters={"batch_size": 3})
    whole = journal(tmp_path / "a")

    for other in ("b", "c", "d"):
        (tmp_path / "a" / "journal.jsonl").write_bytes(journal(tmp_path / other))
        log = read_study(tmp_path / "a")
        assert log.asks == 0
        assert len(log.damage) == len(journal(tmp_path / other).splitlines())
        assert "belongs to another study" in str(log.damage[0])

    resume(tmp_path / "a")
    assert journal(tmp_path / "a") == whole


@pytest.mark.parametrize(
    ("kept", "text"),
    [
        (lambda lines: lines[:5] + lines[8:], "records 5 to 7 are missing"),
        (lambda lines: lines[1:2] + lines[3:], "records 0, 2 are missing"),
        (lambda lines: lines[:-1], "record {last} is missing"),
        (lambda lines: [], "records 0 to {last} are missing"),
    ],
)
def test_missing_records_are_noticed_and_made_again(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    kept: Callable[[list[bytes]], list[bytes]],
    text: str,
) -> None:
    search(tmp_path / "a", 20)
    whole = journal(tmp_path / "a")
    lines = whole.splitlines(keepends=True)
    left = kept(lines)
    (tmp_path / "a" / "journal.jsonl").write_bytes(b"".join(left))
    text = text.format(last=len(lines) - 1)

    log = read_study(tmp_path / "a")

    assert log.damage == ()
    assert text in (log.damage_report() or "")
    assert log.status == "interrupted"
    result = resume(tmp_path / "a")
    assert f"{text}; these {len(lines) - len(left)} are made again" in caplog.text
    assert journal(tmp_path / "a") == whole
    assert result.log.damage_report() is None
    assert read_study(tmp_path / "a").damage_report() is None


def test_damaged_header_is_refused_by_name(tmp_path: Path) -> None:
    search(tmp_path / "a", 5)
    path = tmp_path / "a" / "study.json"
    content = path.read_text()

    for spoilt, problem in (
        (content.replace('"budget": 5', '"budget": 6'), "does not match its checksum"),
        (content[:-20], r"study\.json:\d+: must be JSON"),
        ("7", "must be what ArchGym wrote; it is not an object"),
        ("[1]", "must be what ArchGym wrote; it is not an object"),
        ("[" * 100000, "must be what ArchGym wrote; it is nested too deep"),
        ("{}", "must be what ArchGym wrote; member `crc` is missing"),
        (content.replace('"crc"', '"crd"'), "ArchGym wrote; member `crc` is missing"),
    ):
        path.write_text(spoilt)
        with pytest.raises(FileFormatError, match=problem):
            read_study(tmp_path / "a")
        with pytest.raises(FileFormatError, match=problem):
            Study.open(tmp_path / "a", toy_task(TWO), ToyAgent)


def test_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="a study must have a file"):
        read_study(tmp_path)
    with pytest.raises(StorageError, match="there is no such file or folder"):
        read_study(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


# ---- creating


def test_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()

    with pytest.raises(InvalidArgumentError, match="holds 'mine'"):
        search(tmp_path, 5)
    search(tmp_path / "a", 5)
    with pytest.raises(InvalidArgumentError, match="archgym resume"):
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


# ---- signals, kills and several processes


def toy_process(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.search_toy", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_and_resume(folder: Path, budget: int, n_kills: int) -> None:
    """Searches in processes that are killed as the journal reaches random lengths."""
    moments = random.Random(5)
    path = folder / "journal.jsonl"
    for _ in range(n_kills):
        process = toy_process(str(folder), str(budget), "0.002")
        assert process.stdout is not None
        process.stdout.readline()
        size = path.stat().st_size if path.exists() else 0
        goal = size + moments.randrange(6000)
        while process.poll() is None and (not path.exists() or path.stat().st_size < goal):
            pass
        process.kill()
        process.communicate()
        read_study(folder)
    process = toy_process(str(folder), str(budget))
    assert process.wait() == 0
    process.communicate()


def test_killed_study_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    search(tmp_path / "a", 150, task=toy_task())

    kill_and_resume(tmp_path / "b", 150, 3)

    assert journal(tmp_path / "a") == journal(tmp_path / "b")


@pytest.mark.slow
def test_twenty_kills_change_no_byte(tmp_path: Path) -> None:
    search(tmp_path / "a", 400, task=toy_task())

    kill_and_resume(tmp_path / "b", 400, 20)

    assert journal(tmp_path / "a") == journal(tmp_path / "b")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_a_study_that_hangs(tmp_path: Path, number: signal.Signals) -> None:
    task = toy_task(trouble="hang")
    study = Study.create(tmp_path / "a", task, ToyAgent, seed=1, budget=1000)
    former = signal.getsignal(number)
    told: list[int] = []
    timer = threading.Timer(0.3, os.kill, (os.getpid(), number))
    timer.start()

    with pytest.raises(StudyInterrupted, match=number.name) as caught:
        study.run(progress=lambda n, *_: told.append(n))

    assert caught.value.signal_number == number
    assert signal.getsignal(number) is former
    log = read_study(tmp_path / "a")
    assert log.evaluations == max(told)
    assert log.status == "interrupted"


def test_signal_that_an_agent_swallows_stops_it_at_its_next_ask(tmp_path: Path) -> None:
    class Swallowing(ListAgent):
        def search(self, evaluate: Evaluate, task: Task) -> None:
            with pytest.raises(StudyInterrupted):
                os.kill(os.getpid(), signal.SIGINT)
            evaluate(np.zeros((1, 5), dtype=np.int64))

    study = Study.create(tmp_path / "a", toy_task(), Swallowing, budget=5)

    with pytest.raises(StudyInterrupted):
        study.run()

    assert journal(tmp_path / "a") == b""


def test_signal_that_an_agent_swallows_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archgym.runtime.interruption._REPEAT_S", 0.02)

    class Importing(ListAgent):
        def search(self, evaluate: Evaluate, task: Task) -> None:
            with pytest.raises(StudyInterrupted):
                os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(10)
            raise AssertionError("It must be over before.")

    with pytest.raises(StudyInterrupted):
        Study.create(tmp_path / "a", toy_task(), Importing, budget=5).run()


def test_error_that_a_library_makes_of_a_signal_is_an_interruption(tmp_path: Path) -> None:
    class Native(ListAgent):
        def search(self, evaluate: Evaluate, task: Task) -> None:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except StudyInterrupted as interruption:
                raise SystemError("returned a result with an exception set") from interruption

    with pytest.raises(StudyInterrupted) as caught:
        Study.create(tmp_path / "a", toy_task(), Native, budget=5).run()

    assert caught.value.signal_number == signal.SIGTERM


def test_interrupted_process_ends_with_the_signals_exit_code(tmp_path: Path) -> None:
    process = toy_process(str(tmp_path / "a"), "2000", "0.05")
    path = tmp_path / "a" / "journal.jsonl"
    while process.poll() is None and not (path.exists() and path.stat().st_size):
        pass

    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=2)

    assert process.returncode == 128 + signal.SIGTERM
    assert errors.startswith("The study was stopped by SIGTERM")


def test_study_runs_in_another_thread_without_signals(tmp_path: Path) -> None:
    results: list[StudyResult] = []
    thread = threading.Thread(target=lambda: results.append(search(tmp_path / "a", 20)))

    thread.start()
    thread.join()

    assert results[0].evaluations == 20


@pytest.mark.slow
def test_of_eight_processes_one_writes(tmp_path: Path) -> None:
    search(tmp_path / "a", 100, task=toy_task())
    folder = tmp_path / "b"

    processes = [toy_process(str(folder), "100", "0.03", "1", "create") for _ in range(8)]
    outputs = [process.communicate() for process in processes]

    codes = [process.returncode for process in processes]
    assert sorted(codes) == [0] + [1] * 7
    for code, (_, error) in zip(codes, outputs, strict=True):
        if code:
            winner = processes[codes.index(0)].pid
            assert f"is being written by process {winner} on {os.uname()[1]}" in error
            assert error.count("\n") == 1
    assert journal(folder) == journal(tmp_path / "a")


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
