"""Append-only files of checksummed records."""

from pathlib import Path

import pytest

from archgym.errors import FileFormatError, StorageError
from archgym.files.lines import append_line, read_lines
from archgym.runtime.reductions import collected_reductions


def test_records_come_back_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"

    append_line(path, {"seq": 0, "text": "é"}, 7)
    append_line(path, {"seq": 1, "crc": "x"}, 7)

    assert read_lines(path, 7) == [{"seq": 0, "text": "é"}, {"seq": 1, "crc": "x"}]
    assert read_lines(tmp_path / "absent", 7) == []


@pytest.mark.parametrize("torn", [b'{"seq":1,"cr', b"\0\0\0", b'{"seq":1\0\0'])
def test_torn_last_line_is_left_out_and_removed_by_the_next_record(
    tmp_path: Path, torn: bytes
) -> None:
    path = tmp_path / "a.jsonl"
    append_line(path, {"seq": 0}, 7)
    whole = path.read_bytes()
    path.write_bytes(whole + torn)

    with collected_reductions() as notes:
        assert read_lines(path, 7) == [{"seq": 0}]
    append_line(path, {"seq": 0}, 7)

    assert notes[0].endswith(f"{len(torn)} bytes of a torn last line are removed.")
    assert path.read_bytes() == 2 * whole


def test_changed_and_foreign_records_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append_line(path, {"loss": 19}, 7)

    with pytest.raises(FileFormatError, match="does not match its checksum"):
        read_lines(path, 8)
    path.write_bytes(path.read_bytes().replace(b"19", b"18"))
    with pytest.raises(FileFormatError, match=r"a\.jsonl:1: .*does not match its checksum"):
        read_lines(path, 7)


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"")
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "target")

    with pytest.raises(StorageError, match="link"):
        append_line(tmp_path / "a.jsonl", {}, 0)
