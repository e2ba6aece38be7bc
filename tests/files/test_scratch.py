import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from archgym.files import storage
from archgym.files.storage import atomic_folder, scratch_file, scratch_folder, write_atomic

KILLED = """
import os, signal, sys
from pathlib import Path
from archgym.files.storage import atomic_file, atomic_folder

place = Path(sys.argv[1])
with atomic_folder(place / "folder") as folder, atomic_file(place / "file") as scratch:
    (folder / "half").write_text("half")
    scratch.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def scratch(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".writing-")]


def test_what_a_killed_process_left_is_removed_at_the_next_write(tmp_path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert len(scratch(tmp_path)) == 2

    write_atomic(tmp_path / "file", b"whole")

    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_next_folder_removes_it_too(tmp_path: Path) -> None:
    (tmp_path / ".writing-abandoned" / "data").mkdir(parents=True)

    with atomic_folder(tmp_path / "folder"):
        pass

    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_a_living_process_writes_is_kept(tmp_path: Path) -> None:
    with scratch_file(tmp_path) as file, scratch_folder(tmp_path) as folder:
        write_atomic(tmp_path / "other", b"")

        assert sorted(scratch(tmp_path)) == sorted([file.name, folder.name])

    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_links_and_pipes_of_such_a_name_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / ".writing-link").symlink_to("kept")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / ".writing-pipe").symlink_to("pipe")

    write_atomic(tmp_path / "file", b"")

    assert (tmp_path / "kept").is_dir()
    assert (tmp_path / "pipe").exists()


def test_place_that_was_taken_for_abandoned_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, taken = os.open, list[str]()

    def open_late(path: str | Path, *how: int) -> int:
        descriptor = real(path, *how)
        if isinstance(path, Path) and not taken:
            # What another process does between the making and the locking.
            taken.append(path.name)
            path.unlink()
        return descriptor

    monkeypatch.setattr("archgym.files.storage.os.open", open_late)

    with scratch_file(tmp_path) as file:
        assert file.is_file()
        assert file.name not in taken


def test_place_that_is_removed_before_it_is_opened_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def make(folder: Path) -> Path:
        path = make_file(folder)
        made.append(path)
        if len(made) < 3:
            # As another process does that takes it for abandoned.
            path.unlink()
        return path

    make_file = storage._made_file
    monkeypatch.setattr(storage, "_made_file", make)

    write_atomic(tmp_path / "file", b"whole")

    assert len(made) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_scratch_file_of_another_machine_is_kept_for_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("socket.gethostname", lambda: "another machine")
        with scratch_file(tmp_path) as theirs:
            elsewhere.undo()
            monkeypatch.setattr("fcntl.flock", lambda *_: None)
            with scratch_file(tmp_path):
                assert theirs.exists()
            os.utime(theirs, (1e9, 1e9))
            with scratch_file(tmp_path):
                assert not theirs.exists()
