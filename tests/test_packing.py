"""Source archives hold the same bytes, whoever builds them and when."""

import gzip
import io
import tarfile

import pytest

from tests.pack_sdist import packed

FILES = {"a-1/setup.cfg": b"[metadata]\n", "a-1/a/run.sh": b"#!/bin/sh\n", "a-1/PKG-INFO": b""}


def archive(names: list[str], mtime: float, uid: int, umask: int) -> bytes:
    out = io.BytesIO()
    with (
        gzip.GzipFile("x.tar", "wb", fileobj=out, mtime=mtime) as stream,
        tarfile.open(fileobj=stream, mode="w") as target,
    ):
        for name in names:
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.uid = len(FILES[name]), mtime, uid
            member.uname = f"user{uid}"
            member.mode = (0o777 if name.endswith(".sh") else 0o666) & ~umask
            target.addfile(member, io.BytesIO(FILES[name]))
    return out.getvalue()


def test_archives_of_two_builds_become_equal() -> None:
    one = archive(list(FILES), 1_700_000_000.25, 1000, 0o022)
    two = archive(list(reversed(FILES)), 1_800_000_000.75, 0, 0o077)

    assert one != two
    assert packed(one, 315532800) == packed(two, 315532800)
    assert packed(one, 315532800) != packed(one, 315532801)


def test_packed_archive_holds_the_files_with_their_content_and_rights() -> None:
    made = packed(archive(list(FILES), 1_700_000_000, 1000, 0o077), 1_600_000_000)

    with tarfile.open(fileobj=io.BytesIO(made)) as found:
        members = {member.name: member for member in found.getmembers()}
        content = {name: found.extractfile(name) for name in members}
        read = {name: file.read() for name, file in content.items() if file is not None}
    assert read == FILES
    assert {name: member.mode for name, member in members.items()} == {
        "a-1/PKG-INFO": 0o644,
        "a-1/a/run.sh": 0o755,
        "a-1/setup.cfg": 0o644,
    }
    assert {member.mtime for member in members.values()} == {1_600_000_000}


def test_archive_with_a_link_is_refused() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as target:
        link = tarfile.TarInfo("a-1/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        target.addfile(link)

    with pytest.raises(SystemExit, match="a-1/link must be a file or a folder"):
        packed(out.getvalue(), 0)
