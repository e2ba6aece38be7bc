"""Studies that signals and kills stop, and several processes on one study."""

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import (
    StudyInterrupted,
)
from archgym.evaluation.trials import Evaluate
from archgym.studies.snapshot import StudyResult, read_study
from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.studies.searches import ListAgent, journal, search
from tests.toys import ToyAgent, toy_task

ROOT = Path(__file__).parents[2]


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
