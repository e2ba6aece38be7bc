import errno
import os
import socket
import weakref
from contextlib import suppress
from pathlib import Path

import pytest

from archgym.errors import InvalidArgumentError, StorageError
from archgym.files.storage import (
    atomic_file,
    atomic_folder,
    is_there,
    make_folder,
    open_file,
    write_all,
    write_atomic,
)


def test_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")

    write_atomic(path, [b"ne", b"w"])

    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_full_disk_leaves_the_old_content_and_no_scratch_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"file cannot be written: the disk is full\.") as caught:
        write_atomic(path, b"new")

    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert "\n" not in str(caught.value)
    assert caught.value.errno == errno.ENOSPC


def test_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"absent.file cannot be written: there is no such"):
        write_atomic(tmp_path / "absent" / "file", b"")


def test_file_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StorageError, match="a part of the path is a file"):
        make_folder(tmp_path / "file" / "below")
    with pytest.raises(StorageError, match="it exists and is not a folder"):
        make_folder(tmp_path / "file")


def test_failure_inside_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_file(tmp_path / "file"):
        raise ZeroDivisionError

    assert list(tmp_path.iterdir()) == []


def test_new_file_is_readable_as_the_umask_says(tmp_path: Path) -> None:
    former = os.umask(0o027)
    try:
        write_atomic(tmp_path / "file", b"")
    finally:
        os.umask(former)

    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_partial_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:3]))

    with path.open("wb") as handle:
        write_all(handle.fileno(), b"0123456789")

    assert path.read_bytes() == b"0123456789"


def make_folder_with(path: Path, *, in_the_way: Path | None = None, fails: bool = False) -> None:
    """Makes a folder with a file, while another process may put something in its place."""
    with atomic_folder(path) as folder:
        (folder / "inside").mkdir()
        (folder / "inside" / "file").write_text("content")
        if in_the_way is not None:
            in_the_way.mkdir()
            (in_the_way / "file").touch()
        if fails:
            raise ZeroDivisionError


def test_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        make_folder_with(tmp_path / name)
    with pytest.raises(ZeroDivisionError):
        make_folder_with(tmp_path / "failed", fails=True)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "new"]
    assert (tmp_path / "empty" / "inside" / "file").read_text() == "content"


def test_folder_in_which_something_is_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    for name in ("full", "file", "link"):
        with pytest.raises(InvalidArgumentError, match="must not exist yet"):
            make_folder_with(tmp_path / name)
    with pytest.raises(InvalidArgumentError, match="must not exist yet"):
        make_folder_with(tmp_path / "taken", in_the_way=tmp_path / "taken")

    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "full", "link", "taken"]


# ---- reading


def test_pipe_is_refused_in_one_line_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(StorageError, match="pipe cannot be read: it is a named pipe") as caught:
        open_file(tmp_path / "pipe")

    assert "\n" not in str(caught.value)


def test_device_folder_and_socket_are_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))

        with pytest.raises(StorageError, match="it is a device or socket, not a file"):
            open_file("/dev/zero")
        with pytest.raises(StorageError, match="it is a device or socket, not a file"):
            open_file(tmp_path / "socket")
        with pytest.raises(StorageError, match="it is a folder, not a file"):
            open_file(tmp_path)
        with pytest.raises(StorageError, match="there is no such file"):
            open_file(tmp_path / "absent")


def test_file_behind_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")

    with open_file(tmp_path / "link") as handle:
        assert handle.read() == b"content"


def test_refusal_that_was_caught_keeps_nothing_alive(tmp_path: Path) -> None:
    class Owner:
        pass

    def attempt() -> "weakref.ref[Owner]":
        owner = Owner()
        with suppress(StorageError):
            open_file(tmp_path / "absent")
        with suppress(StorageError):
            open_file("/dev/zero")
        return weakref.ref(owner)

    assert attempt()() is None


def test_limit_of_open_files_is_named(tmp_path: Path) -> None:
    import resource

    from archgym.cli.app import _one_line

    path = tmp_path / "file"
    path.write_text("content")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(path, os.O_RDONLY)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        with pytest.raises(StorageError, match=r"too many files are open .* \(ulimit -n 1024\)"):
            open_file(path)
        with pytest.raises(OSError, match="Errno 24") as bare:
            os.open(path, os.O_RDONLY)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(lowest)
    # What a library opens ends in one line that says what to do too.
    assert _one_line(bare.value).startswith("Too many files are open in this process. Raise")


def test_small_address_space_is_refused_in_one_line() -> None:
    import resource
    import subprocess
    import sys

    ran = subprocess.run(
        [sys.executable, "-m", "archgym", "evaluate", "dram"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (300 * 2**20,) * 2),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 1
    assert ran.stderr.startswith("error: the address space must be at least 500 MiB")
    assert ran.stderr.count("\n") == 1


def test_files_are_there_and_folders_are_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()

    assert is_there(tmp_path / "file")
    assert not is_there(tmp_path / "folder")
    assert not is_there(tmp_path / "absent")
    assert not is_there(tmp_path / "file" / "below")
