"""Tables that several processes build together in one folder."""

import os
import signal
import socket
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from archgym.errors import FileFormatError, StudyInterrupted
from archgym.tables import build_table, partial_folder
from archgym.tables.parts import Build, PartClaims
from archgym.tasks.task import Task
from tests.toys import toy_task


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts the toy's space into 42 parts, and looks often."""
    monkeypatch.setattr("archgym.tables.build.PART_SIZE", 128)
    monkeypatch.setattr("archgym.tables.build._POLL_S", 0.02)


@pytest.fixture
def alone(tmp_path: Path) -> bytes:
    return build_table(toy_task(), tmp_path / "alone.parquet", 1).read_bytes()


def in_child(work: Callable[[], object]) -> int:
    """Run something in a process of its own, and return its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def slow_task() -> Task:
    """A task that takes seconds, so that no process is done before another one begins."""
    return toy_task(pace_s=1.5e-3)


@pytest.mark.slow
def test_three_processes_of_which_one_is_killed_build_the_same_bytes(
    tmp_path: Path, alone: bytes
) -> None:
    out = tmp_path / "shared.parquet"
    others = [in_child(lambda: build_table(slow_task(), out, 1)) for _ in range(2)]
    while not any(partial_folder(out).glob("part-*.lock")):
        time.sleep(0.005)
    os.kill(others[0], signal.SIGKILL)

    build_table(slow_task(), out, 1)

    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in others]
    assert codes == [-signal.SIGKILL, 0]
    assert out.read_bytes() == alone
    assert not partial_folder(out).exists()


@pytest.mark.slow
def test_work_is_divided_and_no_part_is_simulated_twice(tmp_path: Path, alone: bytes) -> None:
    out = tmp_path / "shared.parquet"
    told = tmp_path / "told"
    told.mkdir()

    def work(name: str) -> None:
        counts: list[int] = []
        build_table(slow_task(), out, 1, lambda done, *_: counts.append(done))
        (told / name).write_text(f"{counts[0]} {counts[-1]}")

    pid = in_child(lambda: work("child"))
    work("own")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    assert out.read_bytes() == alone
    simulated = []
    for name in ("child", "own"):
        before, after = map(int, (told / name).read_text().split())
        simulated.append(after - before)
    assert sum(simulated) == 2376
    assert min(simulated) > 0


def test_table_that_another_process_finished_meanwhile_is_taken(
    tmp_path: Path, alone: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "shared.parquet"

    def finished_elsewhere(build: Build, out: Path, *_: object) -> None:
        out.write_bytes(alone)
        raise FileFormatError(build.path(3), None, "it was changed while the table was built")

    monkeypatch.setattr("archgym.tables.build._assemble", finished_elsewhere)

    assert build_table(toy_task(), out, 1) == out


@pytest.mark.slow
def test_locks_that_do_not_reach_cost_work_and_no_byte(
    tmp_path: Path, alone: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    out = tmp_path / "shared.parquet"

    def elsewhere() -> None:
        socket.gethostname = lambda: "another machine"
        build_table(slow_task(), out, 1)

    pid = in_child(elsewhere)

    build_table(slow_task(), out, 1)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert out.read_bytes() == alone


def test_damaged_part_is_built_again(tmp_path: Path, alone: bytes) -> None:
    out = tmp_path / "shared.parquet"

    def stop(done: int, total: int, known: int) -> None:
        if done > total // 2:
            raise StudyInterrupted("stop")

    with pytest.raises(StudyInterrupted):
        build_table(toy_task(), out, 1, stop)
    part = min(partial_folder(out).glob("part-?????"))
    part.write_bytes(part.read_bytes()[:-1] + b"x")

    build_table(toy_task(), out, 1)

    assert out.read_bytes() == alone


def test_parts_are_given_back(tmp_path: Path) -> None:
    claims, others = PartClaims(tmp_path), PartClaims(tmp_path)

    class NoBuild:
        def path(self, part: int) -> Path:
            return tmp_path / "absent"

    build = NoBuild()
    assert claims.take(build, 0)  # type: ignore[arg-type]
    assert not others.take(build, 0)  # type: ignore[arg-type]
    claims.close()
    assert others.take(build, 0)  # type: ignore[arg-type]
    others.close()
