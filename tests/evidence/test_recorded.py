"""Readers of recorded results: damaged files are refused in one line."""

import gzip
from pathlib import Path

import pytest

from archgym.errors import FileFormatError
from evidence.recorded import json_lines, read_json, read_text, reading


def test_lines_of_plain_and_packed_files_are_numbered_from_one(tmp_path: Path) -> None:
    text = b'{"a": 1}\n{"a": 2}\n'
    (tmp_path / "rows.jsonl").write_bytes(text)
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(text))

    expected = [(1, {"a": 1}), (2, {"a": 2})]
    assert list(json_lines(tmp_path / "rows.jsonl")) == expected
    assert list(json_lines(tmp_path / "rows.jsonl.gz")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"a": 1}\n{', ":2: must be JSON"),
        (b"[1]", ":1: a row must be a JSON object"),
        (b"[" * 100_000, ":1: a reference file must be as recorded"),
        (b"\xff", "the file must be whole text"),
    ],
)
def test_damaged_line_is_refused_with_its_number(
    text: bytes, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(text)

    with pytest.raises(FileFormatError) as caught:
        list(json_lines(path))

    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_torn_and_oversized_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "torn.gz").write_bytes(gzip.compress(b"text")[:-9])
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"0" * 2000))

    with pytest.raises(FileFormatError, match="must be whole text"):
        read_text(tmp_path / "torn.gz")
    with pytest.raises(FileFormatError, match="at most 1000 bytes"):
        read_text(tmp_path / "bomb.gz", 1000)
    with pytest.raises(FileFormatError, match="must exist"):
        read_json(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyError("cost"), "3: a row must have 'cost'; it has not"),
        (ValueError("two\nlines."), "3: a reference file must be as recorded; two lines"),
        (ZeroDivisionError(), "3: a reference file must be as recorded; ZeroDivisionError"),
    ],
)
def test_error_of_wrong_content_names_file_and_line(
    error: Exception, expected: str, tmp_path: Path
) -> None:
    with pytest.raises(FileFormatError) as caught, reading(tmp_path / "rows.csv", 3):
        raise error

    assert f"rows.csv:{expected}" in str(caught.value)
