"""File of measurements: append-only, checksummed, and safe against whatever comes."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.measurements import file as module
from archgym.measurements.file import Measurement, append_measurements, read_measurements


def row(value: float = 1.0, design: int = 1) -> Measurement:
    return Measurement(
        simulator="s", version=0, space="d", options={}, workload="w", facts={"workload": "0"},
        design={"x": design}, metrics={"time_ns": value}, simulated={"time_ns": 1.0},
        date="2026-01-02", machine="box",
    )  # fmt: skip


def test_measurements_are_read_as_they_were_added(tmp_path: Path) -> None:
    append_measurements(tmp_path / "m.jsonl", [row(1.5)])
    append_measurements(tmp_path / "m.jsonl", [row(2.5, 3)])

    found = read_measurements(tmp_path / "m.jsonl")

    assert found.rows == (row(1.5), row(2.5, 3))


def test_file_that_grew_still_serves_what_was_begun_with_it(tmp_path: Path) -> None:
    before = append_measurements(tmp_path / "m.jsonl", [row()])
    append_measurements(tmp_path / "m.jsonl", [row(2.0)])

    found = read_measurements(tmp_path / "m.jsonl").up_to(before.digest[:12])

    assert found.rows == before.rows
    with pytest.raises(FileFormatError, match="must begin with the measurements"):
        read_measurements(tmp_path / "m.jsonl").up_to("0123456789ab")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_changed_line_is_named(tmp_path: Path, place: int) -> None:
    path = tmp_path / "m.jsonl"
    append_measurements(path, [row(), row(2.0)])
    lines = path.read_text().splitlines()
    lines[place] = lines[place].replace('":', '" :', 1)
    path.write_text("\n".join(lines) + "\n")

    with pytest.raises(FileFormatError, match=f":{place + 1}: .*does not match its checksum"):
        read_measurements(path)


def test_removed_line_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    append_measurements(path, [row(), row(2.0), row(3.0)])
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[3]]) + "\n")

    with pytest.raises(FileFormatError, match=":3:"):
        read_measurements(path)


@pytest.mark.parametrize("n", [1, 20])
def test_copy_that_was_cut_off_is_refused_and_left_as_it_is(tmp_path: Path, n: int) -> None:
    path = tmp_path / "m.jsonl"
    append_measurements(path, [row(), row(2.0)])
    content = path.read_bytes()[:-n]
    path.write_bytes(content)

    for act in (read_measurements, lambda path: append_measurements(path, [row(3.0)])):
        with pytest.raises(FileFormatError, match=r":3: .*changed or cut off"):
            act(path)

    assert path.read_bytes() == content


def test_processes_that_append_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"

    def add(n: int) -> None:
        append_measurements(path, [row(float(n), n)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(1, 25)))

    assert {found.design["x"] for found in read_measurements(path).rows} == set(range(1, 25))


@pytest.mark.parametrize("content", ["", "hello\n", "{}\n", "[1]\n", "\0\0\n"])
def test_other_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(content)

    with pytest.raises(FileFormatError):
        read_measurements(path)


def test_csv_is_sent_to_the_command_that_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("mode,cost_ns\na,1.2\n")

    with pytest.raises(FileFormatError, match="Read a CSV file of yours with `archgym measure"):
        read_measurements(path)


def test_rows_that_a_file_has_are_no_repeats_when_they_come_again(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"

    assert append_measurements(path, [row(1.0), row(1.0)], once=True).n_added == 2
    assert append_measurements(path, [row(1.0), row(1.0)], once=True).n_added == 0
    found = append_measurements(path, [row(1.0)] * 3 + [row(2.0)], once=True)
    assert (found.n_added, found.rows) == (2, (*[row(1.0)] * 3, row(2.0)))


def test_rows_that_several_processes_add_at_once_come_once(tmp_path: Path) -> None:
    path, rows = tmp_path / "m.jsonl", [row(float(n)) for n in range(1, 13)]
    start = threading.Barrier(4)

    def add() -> None:
        start.wait()
        append_measurements(path, rows, once=True)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert read_measurements(path).rows == tuple(rows)


def test_newer_format_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    text = json.dumps({"archgym": "measurements", "format": 2})
    chain = module._next("", text.encode())
    path.write_text(text[:-1] + f', "chain": "{chain}"}}\n')

    with pytest.raises(FileFormatError, match="reads format 1 of measurements; got 2"):
        read_measurements(path)


def test_more_measurements_than_a_file_may_have_are_refused_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_measurements(tmp_path / "m.jsonl", [row()])
    monkeypatch.setattr(module, "MAX_MEASUREMENTS", 2)

    with pytest.raises(InvalidArgumentError, match="at most 2 measurements; it has 1, and 2 came"):
        append_measurements(tmp_path / "m.jsonl", [row(), row()])

    assert len(read_measurements(tmp_path / "m.jsonl")) == 1


def test_runs_that_differ_by_ten_times_are_named() -> None:
    found = module.contradictions([row(1.0), row(12.0), row(1.0, 2), row(2.0, 2)])

    assert found == ["`time_ns` of one design was measured as 1 and as 12: x=1"]


@pytest.mark.parametrize("place", [4096, 9000])
def test_damaged_line_before_whole_ones_is_named_and_nothing_is_lost(
    tmp_path: Path, place: int
) -> None:
    path = tmp_path / "m.jsonl"
    append_measurements(path, [row(float(n), n) for n in range(60)])
    content = bytearray(path.read_bytes())
    content[place] = 0
    path.write_bytes(content)
    number = content[:place].count(b"\n") + 1

    for act in (read_measurements, lambda path: append_measurements(path, [row(99.0)])):
        with pytest.raises(
            FileFormatError, match=f":{number}: the line, or one before it, was changed"
        ):
            act(path)

    assert path.read_bytes() == content


def test_file_whose_first_page_is_gone_is_not_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    append_measurements(path, [row(float(n), n) for n in range(60)])
    content = bytes(4096) + path.read_bytes()[4096:]
    path.write_bytes(content)

    with pytest.raises(FileFormatError, match="must begin with a heading"):
        append_measurements(path, [row()])

    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("member", "value", "problem"),
    [
        ("design", ["x"], r"`design` must be `object`; got `array`"),
        ("facts", {"device": {"a": [1]}}, r"`facts\[\.\.\.\]` must be"),
        ("facts", {"device": None}, r"`facts\[\.\.\.\]` must be"),
        ("metrics", {"time_ns": "1"}, r"`metrics\[\.\.\.\]` must be `float`; got `str`"),
        (
            "metrics",
            {"time_ns": 1e-320},
            r"`time_ns` must be 0 or a number between 1e-30 and 1e\+30",
        ),
        (
            "simulated",
            {"time_ns": 1e200},
            r"`time_ns` must be 0 or a number between 1e-30 and 1e\+30",
        ),
        ("simulated", {"time_ns": float("nan")}, r"`time_ns` must be 0 or a number between"),
        ("version", "0", r"`version` must be `int`; got `str`"),
        ("date", 2026, r"`date` must be `str`; got `int`"),
    ],
)
def test_measurement_that_is_none_names_its_line(
    tmp_path: Path, member: str, value: Any, problem: str
) -> None:
    """In a file with right checksums, and before it is written."""
    path = tmp_path / "m.jsonl"
    append_measurements(path, [row()])
    content = path.read_bytes()
    bad = {**vars(row()), member: value}

    with pytest.raises(FileFormatError, match=f":3: .*{problem}"):
        append_measurements(path, [Measurement(**bad)])
    assert path.read_bytes() == content

    text = json.dumps(bad, sort_keys=True)
    chain = module._next(read_measurements(path).digest, text.encode())
    path.write_bytes(content + f'{text[:-1]}, "chain": "{chain}"}}\n'.encode())
    with pytest.raises(FileFormatError, match=f":3: .*{problem}"):
        read_measurements(path)
