"""Traces are read and written as ChampSim does; torn and hostile ones are refused."""

import lzma
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError, StorageError
from archgym.simulators.cpu.workloads.programs import kinds_of, read_trace, trace_of
from archgym.traces.instructions.generators import generate
from archgym.traces.instructions.records import RECORD, write_records


def records(n: int = 2000) -> np.ndarray:
    return generate("b-tree", n)


@pytest.mark.parametrize("ending", [".champsimtrace", ".champsimtrace.xz", ".champsimtrace.gz"])
def test_what_is_written_is_read_again(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x{ending}"

    write_records(path, records())

    assert read_trace(path).digest == trace_of("x", records()).digest


def test_records_have_the_form_of_champsim(tmp_path: Path) -> None:
    path = tmp_path / "x.champsimtrace"
    one = np.zeros(1, dtype=RECORD)
    one["ip"], one["is_branch"], one["taken"] = 0x0102, 1, 1
    one["destinations"], one["sources"] = (26, 6), (26, 6, 0, 0)
    one["writes"][0, 1], one["reads"][0, 3] = 0x33, 0x44

    write_records(path, one)

    data = path.read_bytes()
    assert len(data) == 64
    assert data[:16] == bytes([2, 1, 0, 0, 0, 0, 0, 0, 1, 1, 26, 6, 26, 6, 0, 0])
    assert (data[24], data[56]) == (0x33, 0x44)


@pytest.mark.parametrize(
    ("destinations", "sources", "kind"),
    [
        ((26, 0), (26, 0, 0, 0), 0),
        ((26, 0), (3, 0, 0, 0), 1),
        ((26, 0), (26, 25, 0, 0), 2),
        ((6, 26), (6, 26, 0, 0), 3),
        ((6, 26), (6, 26, 3, 0), 4),
        ((6, 26), (6, 0, 0, 0), 5),
        ((26, 0), (26, 6, 25, 0), 6),
        ((1, 25), (1, 2, 0, 0), 7),
    ],
)
def test_kind_of_branch_follows_from_registers(
    destinations: tuple[int, int], sources: tuple[int, ...], kind: int
) -> None:
    one = np.zeros(1, dtype=RECORD)
    one["ip"], one["destinations"], one["sources"] = 64, destinations, sources

    assert kinds_of(trace_of("x", one)).tolist() == [kind]


def refusal(path: Path) -> str:
    with pytest.raises(FileFormatError) as refused:
        read_trace(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_truncated_xz_is_refused_with_its_record(tmp_path: Path) -> None:
    path = tmp_path / "x.champsimtrace.xz"
    write_records(path, records(50_000))
    path.write_bytes(path.read_bytes()[:-200])

    assert "record" in refusal(path)
    assert "the compressed data end or break" in refusal(path)


def test_file_that_is_not_xz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.champsimtrace.xz"
    path.write_bytes(b"hello" * 100)

    assert "record 1: the compressed data end or break" in refusal(path)


def test_record_of_another_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.champsimtrace"
    path.write_bytes(records(10).tobytes() + b"\1" * 17)

    assert "record 11: must have 64 bytes; it has 17" in refusal(path)


def test_empty_trace_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.champsimtrace.xz"
    path.write_bytes(lzma.compress(b""))

    assert "it is empty" in refusal(path)


def test_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archgym.traces.instructions.records.MAX_RECORDS", 100_000)
    path = tmp_path / "x.champsimtrace.xz"
    one = records(1)
    path.write_bytes(lzma.compress(np.repeat(one, 200_000).tobytes()))

    assert "record 100,001: a trace may have 100,000 records" in refusal(path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("ip", 0, "record 8: has instruction address 0"),
        ("taken", 7, "record 8: has is_branch or branch_taken other than 0 and 1"),
    ],
)
def test_impossible_record_is_refused(tmp_path: Path, field: str, value: int, message: str) -> None:
    path = tmp_path / "x.champsimtrace"
    bad = records(20).copy()
    bad[field][7] = value
    write_records(path, bad)

    assert message in refusal(path)


def test_branch_to_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.champsimtrace"
    bad = records(20).copy()
    bad["ip"][5:7] = 4096
    bad["is_branch"][5], bad["taken"][5] = 1, 1
    write_records(path, bad)

    assert "record 6: branches to itself" in refusal(path)


def test_absent_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        read_trace(tmp_path / "no.champsimtrace.xz")


def test_first_records_alone_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x.champsimtrace.xz"
    write_records(path, records())

    assert read_trace(path, limit=100).n == 100
