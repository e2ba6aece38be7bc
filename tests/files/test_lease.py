import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from archgym.errors import StorageError, StudyLockedError
from archgym.files.lease import LOCK_NAME, Lease, current_writer

ROOT = Path(__file__).parents[2]


def test_second_writer_is_refused_by_host_and_pid(tmp_path: Path) -> None:
    lease = Lease(tmp_path)

    with pytest.raises(StudyLockedError, match=rf"by process {os.getpid()} on {os.uname()[1]} "):
        Lease(tmp_path)

    lease.release()


def test_released_lease_can_be_taken(tmp_path: Path) -> None:
    Lease(tmp_path).release()

    lease = Lease(tmp_path)

    lease.check()
    lease.release()


def test_replaced_token_stops_the_writer(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    other = {"token": "x", "host": "elsewhere", "pid": 7, "started": "now"}

    (tmp_path / LOCK_NAME).write_text(json.dumps(other))

    with pytest.raises(StudyLockedError, match="taken over by process 7 on elsewhere since now"):
        lease.check()
    lease.release()
    assert json.loads((tmp_path / LOCK_NAME).read_text()) == other


def test_replaced_lock_file_stops_the_writer(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    (tmp_path / LOCK_NAME).unlink()

    with pytest.raises(StudyLockedError, match="taken over"):
        lease.check()
    lease.release()


def test_released_lease_does_not_check(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    lease.release()
    lease.release()

    with pytest.raises(StudyLockedError, match="this one is not, or no longer"):
        lease.check()


def test_killed_writer_leaves_no_lease(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from archgym.files.lease import Lease; "
        "lease = Lease(sys.argv[1]); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    assert json.loads((tmp_path / LOCK_NAME).read_text())["pid"] != os.getpid()

    lease = Lease(tmp_path)

    lease.check()
    lease.release()


def test_forked_child_does_not_hold_the_lease(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)

    lease.release()
    second = Lease(tmp_path)

    second.release()
    os.close(write)
    os.waitpid(child, 0)
    os.close(read)


def test_reader_sees_the_writer_and_changes_nothing(tmp_path: Path) -> None:
    assert current_writer(tmp_path) is None
    assert list(tmp_path.iterdir()) == []

    lease = Lease(tmp_path)
    writer = current_writer(tmp_path)

    assert writer is not None
    assert writer.pid == os.getpid()
    lease.release()
    assert current_writer(tmp_path) is None


def test_writer_waits_for_a_reader_that_looks(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).touch()
    with (tmp_path / LOCK_NAME).open() as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)

        with pytest.raises(StudyLockedError, match="by another process"):
            Lease(tmp_path)

    Lease(tmp_path).release()


def test_absent_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no such"):
        Lease(tmp_path / "absent")
