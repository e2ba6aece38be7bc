"""After a power cut at any event, promised results are there and nothing torn is believed."""

import os
from pathlib import Path

import numpy as np
import pytest

from archgym.files.storage import make_folder, write_atomic
from tests.files.disk import Disk, sqlite_library
from tests.files.writers import WRITERS, broken, noticed, recorded

# A thousand states a writer: `ARCHGYM_POWER_CUTS=1000`.
STATES = int(os.environ.get("ARCHGYM_POWER_CUTS", "300"))
SEED = 0
# These run many times within a second; the others are left to slow runs.
QUICK = ("atomic files and folders", "search", "log of evaluations", "measurements")


@pytest.mark.parametrize("name", QUICK)
def test_short_run_survives_cuts(name: str, tmp_path: Path) -> None:
    disk = recorded(name, tmp_path / "disk")

    assert len(disk.marks(len(disk.events))) > 0
    assert broken(name, disk, 12, SEED, tmp_path) == []


@pytest.mark.nightly
@pytest.mark.parametrize("name", WRITERS)
def test_short_run_survives_hundreds_of_cuts(name: str, tmp_path: Path) -> None:
    if name == "cache" and sqlite_library() is None:
        pytest.skip("SQLite is linked into Python, so that its writes cannot be watched")
    disk = recorded(name, tmp_path / "disk")

    assert broken(name, disk, STATES, SEED, tmp_path) == []


@pytest.mark.nightly
def test_each_sync_that_is_removed_is_noticed(tmp_path: Path) -> None:
    found = noticed(40, SEED, tmp_path)

    assert len(found) >= 12
    assert all(found.values()), found


# ---- the disk itself finds what it must find


def states(disk: Disk, tmp_path: Path, n: int = 60) -> set[bytes | None]:
    """Return the contents of `file` after cuts at the end."""
    found = set()
    for seed in range(n):
        disk.write_state(len(disk.events), np.random.default_rng(seed), tmp_path / f"{seed}")
        path = tmp_path / f"{seed}" / "file"
        found.add(path.read_bytes() if path.exists() else None)
    return found


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    (tmp_path / "disk").mkdir()
    return Disk(tmp_path / "disk")


def test_what_is_not_synced_may_be_lost_or_torn(disk: Disk, tmp_path: Path) -> None:
    with disk.recording():
        (disk.top / "file").write_bytes(b"a" * 4096 + b"b" * 4096)

    found = states(disk, tmp_path)

    assert found >= {None, b"", b"a" * 4096 + b"b" * 4096, bytes(4096) + b"b" * 4096}


def test_what_is_synced_is_kept(disk: Disk, tmp_path: Path) -> None:
    with disk.recording():
        write_atomic(disk.top / "file", b"a" * 9000)

    assert states(disk, tmp_path) == {b"a" * 9000}


def test_name_in_a_folder_that_is_not_synced_may_be_lost(disk: Disk, tmp_path: Path) -> None:
    with disk.recording():
        handle = os.open(disk.top / "file", os.O_CREAT | os.O_WRONLY)
        os.write(handle, b"a")
        os.fsync(handle)
        os.close(handle)

    assert states(disk, tmp_path) == {None, b"a"}


def test_rename_before_the_content_is_synced_may_leave_an_empty_file(
    disk: Disk, tmp_path: Path
) -> None:
    write_atomic(disk.top / "file", b"old")
    disk.observe()
    disk.sync(disk.top / "file")
    disk.sync(disk.top)
    with disk.recording():
        (disk.top / "new").write_bytes(b"new")
        (disk.top / "new").replace(disk.top / "file")

    assert states(disk, tmp_path) >= {b"old", b"", b"new"}


def test_new_folder_is_kept_with_those_above(disk: Disk, tmp_path: Path) -> None:
    with disk.recording():
        write_atomic(make_folder(disk.top / "a" / "b") / "file", b"a")

    for seed in range(30):
        to = tmp_path / f"cut-{seed}"
        disk.write_state(len(disk.events), np.random.default_rng(seed), to)
        assert (to / "a" / "b" / "file").read_bytes() == b"a"
