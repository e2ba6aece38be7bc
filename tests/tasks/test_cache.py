import signal
import sqlite3
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import FileFormatError, StorageError, StudyInterrupted
from archgym.evaluation.function import FunctionSimulator
from archgym.spaces.parameter import Integer
from archgym.studies.study import Study
from archgym.tasks.cache import CachedExecutor, problem_key
from archgym.tasks.executor import Executor, SerialExecutor, ThreadExecutor
from archgym.tasks.task import Evaluation, Task
from tests.toys import ToySimulator, toy_task

ROOT = Path(__file__).parents[2]
SPACE = [Integer(name="x", low=0, high=39), Integer(name="y", low=0, high=9)]


class Counting(Executor):
    """Counts the designs that reach it."""

    def __init__(self) -> None:
        self.n = 0
        self._inner = SerialExecutor()

    def evaluate(self, task: Task, indices: np.ndarray) -> Evaluation:
        self.n += len(indices)
        return self._inner.evaluate(task, indices)

    def cancel(self) -> None:
        pass


def logging_task(log: Path, pace_s: float = 0.0) -> Task:
    """A task that writes each design that it evaluates to a file."""

    def traced(design: Any) -> dict[str, float]:
        with log.open("a") as handle:
            handle.write(f"{design['x']} {design['y']}\n")
        time.sleep(pace_s)
        return {"loss": abs(design["x"] - 17.0) + design["y"] / 3.0}

    return Task.make(FunctionSimulator(traced, SPACE, {"loss": "minimise"}))


def search(folder: Path, task: Task, executor: Executor, seed: int = 1) -> bytes:
    study = Study.create(folder, task, "genetic", seed=seed, budget=60)
    with executor:
        study.run(executor)
    return (folder / "journal.jsonl").read_bytes()


@pytest.mark.parametrize("trouble", ["none", "raise"])
def test_journals_are_the_same_with_an_empty_and_a_full_cache(tmp_path: Path, trouble: Any) -> None:
    task = toy_task({"light": 2.0, "heavy": 1.0}, trouble=trouble)
    plain = search(tmp_path / "a", task, SerialExecutor())
    first, second = Counting(), Counting()
    empty = search(tmp_path / "b", task, CachedExecutor(first, tmp_path / "cache"))
    full = search(tmp_path / "c", task, CachedExecutor(second, tmp_path / "cache", 0))

    assert plain == empty == full
    assert first.n == 60
    # Failures are not kept: they may have passing causes.
    assert second.n == plain.count(b'"error"')
    assert (second.n > 0) == (trouble == "raise")


def test_cache_serves_other_objectives_of_the_same_simulator(tmp_path: Path) -> None:
    one = Task.make(ToySimulator(), "light", "low-latency")
    two = Task.make(ToySimulator(), "light", "low-power")
    other = Task.make(ToySimulator(), "heavy", "low-latency")
    designs = one.space.sample(30, np.random.default_rng(0))
    counting = Counting()
    with CachedExecutor(counting, tmp_path, recheck=0) as executor:
        executor.evaluate(one, designs)
        n = counting.n
        result = executor.evaluate(two, designs)
        assert counting.n == n
        executor.evaluate(other, designs)

    assert counting.n == 2 * n
    assert problem_key(one) == problem_key(two) != problem_key(other)
    assert result.reward.tolist() == two.evaluate(designs).reward.tolist()


def test_equal_designs_of_a_batch_are_evaluated_once(tmp_path: Path) -> None:
    counting = Counting()
    task = toy_task()
    # boost (the last) is inactive where mode (the first) is off.
    designs = np.array([[0, 1, 1, 1, 0], [0, 1, 1, 1, 3], [0, 1, 1, 1, 0]])
    with CachedExecutor(counting, tmp_path) as executor:
        result = executor.evaluate(task, designs)

    assert counting.n == 1
    assert len(set(result.reward.tolist())) == 1


CODE = """
import sys
from pathlib import Path
from tests.tasks.test_cache import CachedExecutor, SerialExecutor, logging_task, search
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
task = logging_task(folder / "log", float(sys.argv[3]))
search(folder / sys.argv[4], task, CachedExecutor(SerialExecutor(), folder / "cache", 0), seed)
"""


def start(folder: Path, seed: int, pace_s: float, name: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(folder), str(seed), str(pace_s), name],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_several_processes_never_simulate_a_design_twice(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    # Two of them do the same search at the same time.
    processes = [start(tmp_path, seed, 0.002, f"{n}") for n, seed in enumerate((1, 1, 2))]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors

    asked = (tmp_path / "log").read_text().splitlines()
    default = "0 0"
    designs = [line for line in asked if line != default]
    # Each process simulates the default design once to make its task.
    assert len(designs) == len(set(designs))
    journals = [(tmp_path / name / "journal.jsonl").read_bytes() for name in "012"]
    assert journals[0] == journals[1] != journals[2]
    assert not list((tmp_path / "cache").glob("writer-*.lock"))


@pytest.mark.slow
def test_claims_of_a_killed_process_are_taken_over(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    process = start(tmp_path, 1, 0.05, "killed")
    while len((tmp_path / "log").read_text().splitlines()) < 12:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()

    counting = Counting()
    task = logging_task(tmp_path / "log")
    began = time.monotonic()
    search(tmp_path / "other", task, CachedExecutor(counting, tmp_path / "cache"))

    assert process.returncode == -signal.SIGKILL
    assert time.monotonic() - began < 30
    assert counting.n < 60


def test_waiting_for_another_writer_can_be_cancelled(tmp_path: Path) -> None:
    task = toy_task()
    designs = task.space.default_indices[None, :]
    with CachedExecutor(SerialExecutor(), tmp_path) as holder:
        key = np.ascontiguousarray(designs, dtype="<i8")[0].tobytes()
        holder._cache.claim(problem_key(task), [key])
        waiting = CachedExecutor(SerialExecutor(), tmp_path)
        timer = threading.Timer(0.2, waiting.cancel)
        timer.start()
        with pytest.raises(StudyInterrupted):
            waiting.evaluate(task, designs)
        timer.join()


def test_file_that_is_not_a_cache_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evaluations.sqlite"
    path.write_bytes(b"nothing of the kind" * 1000)

    with pytest.raises(FileFormatError, match=r"evaluations\.sqlite.*must be what ArchGym wrote"):
        CachedExecutor(SerialExecutor(), tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_newer_cache_is_refused(tmp_path: Path) -> None:
    base = sqlite3.connect(tmp_path / "evaluations.sqlite")
    base.execute("PRAGMA user_version = 9")
    base.close()

    with pytest.raises(FileFormatError, match="has format 9"):
        CachedExecutor(SerialExecutor(), tmp_path)


@pytest.mark.parametrize("change", ["content = X'00'", "crc = crc + 1", "content = 'text'"])
def test_damaged_results_are_evaluated_again(tmp_path: Path, change: str) -> None:
    task = toy_task()
    designs = task.space.sample(20, np.random.default_rng(0))
    with CachedExecutor(SerialExecutor(), tmp_path) as executor:
        before = executor.evaluate(task, designs)
    base = sqlite3.connect(tmp_path / "evaluations.sqlite")
    base.execute(f"UPDATE results SET {change}")
    base.commit()
    base.close()
    counting = Counting()

    with CachedExecutor(counting, tmp_path) as executor:
        after = executor.evaluate(task, designs)

    assert counting.n > 0
    assert np.array_equal(before.values, after.values, equal_nan=True)


def poison(folder: Path, problem: str, task: Task, designs: np.ndarray) -> None:
    """Write other results with right checksums, as somebody who knows the format does."""
    base = sqlite3.connect(folder / "evaluations.sqlite")
    for key, content in base.execute("SELECT design, content FROM results").fetchall():
        values = np.frombuffer(content, "<f8", count=len(task.metrics)) * 0.5
        false = values.tobytes() + content[len(values.tobytes()) :]
        crc = zlib.crc32(false, zlib.crc32(key, zlib.crc32(problem.encode())))
        base.execute("UPDATE results SET content = ?, crc = ? WHERE design = ?", (false, crc, key))
    base.commit()
    base.close()


def test_poisoned_cache_with_right_checksums_is_refused(tmp_path: Path) -> None:
    task = toy_task()
    designs = task.space.sample(30, np.random.default_rng(0))
    with CachedExecutor(SerialExecutor(), tmp_path) as executor:
        executor.evaluate(task, designs)
    poison(tmp_path, problem_key(task), task, designs)

    with (
        CachedExecutor(SerialExecutor(), tmp_path) as executor,
        pytest.raises(FileFormatError, match=r"must be those of the simulator.*--recheck 0"),
    ):
        executor.evaluate(task, designs)


def test_share_of_hits_is_evaluated_again(tmp_path: Path) -> None:
    task = toy_task()
    designs = np.unique(task.space.sample(400, np.random.default_rng(0)), axis=0)
    again = {}
    for share in (0.0, 0.02, 0.5, 1.0):
        counting = Counting()
        with CachedExecutor(SerialExecutor(), tmp_path) as executor:
            executor.evaluate(task, designs)
        with CachedExecutor(counting, tmp_path, share) as executor:
            executor.evaluate(task, designs)
        again[share] = counting.n

    assert again[0.0] == 0
    assert again[1.0] == len(designs)
    assert 1 <= again[0.02] < again[0.5] < len(designs)


@pytest.mark.parametrize("end", ["", "-wal", "-shm", "-journal"])
def test_link_in_a_cache_folder_is_not_followed(tmp_path: Path, end: str) -> None:
    foreign = tmp_path / "app.sqlite"
    base = sqlite3.connect(foreign)
    base.execute("CREATE TABLE users (name TEXT)")
    base.commit()
    base.close()
    before = foreign.read_bytes()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / f"evaluations.sqlite{end}").symlink_to(foreign)

    with pytest.raises(StorageError, match="link"):
        CachedExecutor(SerialExecutor(), tmp_path / "cache")
    assert foreign.read_bytes() == before


def test_threads_share_a_cache(tmp_path: Path) -> None:
    task = toy_task()
    plain = search(tmp_path / "a", task, SerialExecutor())

    cached = search(tmp_path / "b", task, CachedExecutor(ThreadExecutor(3), tmp_path / "cache"))

    assert plain == cached
    assert (tmp_path / "cache" / "evaluations.sqlite").exists()
