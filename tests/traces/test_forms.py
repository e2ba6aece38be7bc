"""Other forms of traces: ChampSim's records, Ramulator's texts."""

import gzip
import io
import lzma
import struct
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.traces import AccessKind, MemoryTrace, shipped_trace
from archgym.traces.champsim import INSTRUCTION, read_champsim, write_champsim
from archgym.traces.file import joined
from archgym.traces.ramulator import (
    read_bubbles,
    read_loads_and_stores,
    write_bubbles,
    write_loads_and_stores,
)
from archgym.traces.streams import pieces


def instruction(ip: int, sources: list[int], targets: list[int]) -> bytes:
    """A record as ChampSim's header lays it out."""
    padded = [*targets, 0, 0][:2] + [*sources, 0, 0, 0, 0][:4]
    return struct.pack("<Q8B6Q", ip, *[0] * 8, *padded)


def test_record_has_the_64_bytes_of_champsims_header() -> None:
    found = np.frombuffer(instruction(0x400000, [1, 2, 3, 4], [5, 6]), INSTRUCTION)[0]

    assert INSTRUCTION.itemsize == 64
    assert found["ip"] == 0x400000
    assert found["source_memory"].tolist() == [1, 2, 3, 4]
    assert found["destination_memory"].tolist() == [5, 6]


def test_instructions_become_records(tmp_path: Path) -> None:
    content = b"".join(
        [
            instruction(0x400000, [], []),
            instruction(0x400004, [0x1000, 0x2000], [0x3000]),
            instruction(0x400008, [], []),
            instruction(0x40000C, [0x5000], [0x5000]),
            instruction(0x401000, [], [0x6000]),
        ]
    )
    (tmp_path / "a.champsimtrace.xz").write_bytes(lzma.compress(content))

    trace = joined(list(read_champsim(tmp_path / "a.champsimtrace.xz", 100)), None)

    load, store = AccessKind.LOAD, AccessKind.STORE
    fetch, modify = AccessKind.FETCH, AccessKind.MODIFY
    assert trace.kind.tolist() == [fetch, load, load, store, modify, fetch, store]
    assert trace.instructions.tolist() == [1, 1, 0, 0, 2, 1, 0]
    assert trace.address[1:5].tolist() == [0x1000, 0x2000, 0x3000, 0x5000]


def test_accesses_and_instructions_survive_a_way_through_champsim(tmp_path: Path) -> None:
    before = shipped_trace("hash-join")[:80_000]
    with (tmp_path / "a.champsim").open("wb") as handle:
        write_champsim([before[:50_000], before[50_000:]], handle)

    after = joined(list(read_champsim(tmp_path / "a.champsim", 10**6)), None)

    for column in ("kind", "instructions"):
        assert np.array_equal(getattr(after, column), getattr(before, column)), column
    is_data = before.kind != AccessKind.FETCH
    assert np.array_equal(after.address[is_data], before.address[is_data])
    assert np.array_equal(after.address >> np.uint64(12), before.address >> np.uint64(12))


def test_operands_that_an_instruction_has_no_room_for_get_one_more(tmp_path: Path) -> None:
    n = 9
    before = MemoryTrace(
        np.array([3, *[0] * (n - 1)], np.uint32),
        np.full(n, AccessKind.LOAD, np.uint8),
        np.full(n, 8, np.uint16),
        np.arange(1, n + 1, dtype=np.uint64) * np.uint64(64),
    )
    with (tmp_path / "a.champsim").open("wb") as handle:
        write_champsim([before], handle)

    after = joined(list(read_champsim(tmp_path / "a.champsim", 100)), None)

    # Four loads an instruction: the nine take three, two more than they had.
    assert after.n_instructions == 3 + 2
    assert after.address[1:].tolist() == before.address.tolist()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "0 bytes are left over after 0 records"),
        (instruction(1, [], []) + b"xyz", "3 bytes are left over after 1 records"),
        (instruction(0, [], []), "record 0 has an instruction pointer of 0"),
        (instruction(1, [2**57], []), "record 0 has an address beyond 57 bits"),
        (struct.pack("<Q8B6Q", 1, 7, *[0] * 13), "record 0 has a flag of a branch above 1"),
        (instruction(1, [64], []) * 60, "at most 50 records"),
    ],
)
def test_wrong_champsim_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.champsim").write_bytes(content)

    with pytest.raises(FileFormatError, match=words):
        list(read_champsim(tmp_path / "a.champsim", 50))


def test_too_many_instructions_are_not_written() -> None:
    idle = MemoryTrace(
        np.array([2**25], np.uint32),
        np.array([0], np.uint8),
        np.array([8], np.uint16),
        np.array([64], np.uint64),
    )

    with pytest.raises(InvalidArgumentError, match="at most 16,777,216 instructions"):
        write_champsim([idle], io.BytesIO())


def test_loads_and_stores_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.ldst").write_text("# made by hand\nLD 0x40\n\n ST 128\nR 0xFF\r\n")

    trace = joined(list(read_loads_and_stores(tmp_path / "a.ldst", 10)), None)

    assert trace.address.tolist() == [64, 128, 255]
    assert trace.kind.tolist() == [AccessKind.LOAD, AccessKind.STORE, AccessKind.LOAD]
    assert trace.instructions.tolist() == [1, 1, 1]


def test_bubbles_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.bubbles").write_text("3 64\n0 128 0x100\n")

    trace = joined(list(read_bubbles(tmp_path / "a.bubbles", 10)), None)

    assert trace.address.tolist() == [64, 128, 256]
    assert trace.kind.tolist() == [AccessKind.LOAD, AccessKind.LOAD, AccessKind.STORE]
    assert trace.instructions.tolist() == [4, 1, 0]


def test_texts_are_written() -> None:
    trace = MemoryTrace(
        np.array([1, 4, 2, 1], np.uint32),
        np.array([2, 0, 3, 1], np.uint8),
        np.full(4, 8, np.uint16),
        np.array([0x400000, 0x40, 0x80, 0xC0], np.uint64),
    )
    lines, bubbles = io.BytesIO(), io.BytesIO()

    write_loads_and_stores([trace], lines)
    write_bubbles([trace], bubbles)

    assert lines.getvalue() == b"LD 0x40\nLD 0x80\nST 0x80\nST 0xc0\n"
    assert bubbles.getvalue() == b"4 64\n1 128 128\n0 192 192\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("LD 0x40\nXX 5\n", r"a\.ldst:2: a line must be LD ADDRESS or ST ADDRESS; got 'XX 5'"),
        ("LD 0x200000000000000\n", r":1: an address must have at most 57 bits"),
        ("LD 99999999999999999999\n", r":1: an address must have at most 57 bits"),
        ("LD -5\n", ":1: a line must be"),
        ("\n# nothing\n", "at least one access"),
        ("LD 1\n" * 11, "at most 10 lines; this one has 11"),
        ("LD " + "1" * 9999, r":1: a line must have at most 4096 bytes"),
    ],
)
def test_wrong_text_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.ldst").write_text(text)

    with pytest.raises(FileFormatError, match=words):
        list(read_loads_and_stores(tmp_path / "a.ldst", 10))


def test_packed_streams_may_follow_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.xz").write_bytes(lzma.compress(b"one ") + b"\0" * 4 + lzma.compress(b"two"))

    assert b"".join(pieces(tmp_path / "a.xz", 100)) == b"one two"
    with pytest.raises(FileFormatError, match="at most 3 bytes"):
        list(pieces(tmp_path / "a.xz", 3))


def test_torn_packed_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xz").write_bytes(lzma.compress(bytes(1000))[:-20])

    with pytest.raises(FileFormatError, match="torn or damaged"):
        list(pieces(tmp_path / "a.xz", 10**6))


def test_bubbles_have_no_hexadecimal_numbers_which_ramulator_reads_as_zero() -> None:
    stream = io.BytesIO()

    write_bubbles([shipped_trace("sort")[:500]], stream)

    assert set(stream.getvalue()) <= set(b"0123456789 \n")


def test_more_bubbles_than_ramulator_counts_are_not_written() -> None:
    idle = MemoryTrace(
        np.array([10**9, 1], np.uint32),
        np.array([AccessKind.FETCH, AccessKind.LOAD], np.uint8),
        np.array([4, 8], np.uint16),
        np.array([0x400000, 64], np.uint64),
    )
    stream = io.BytesIO()

    with pytest.raises(InvalidArgumentError, match="at most 999,999,999 instructions may lie"):
        write_bubbles([idle, idle], stream)


def test_access_to_address_zero_survives_in_champsims_records(tmp_path: Path) -> None:
    before = MemoryTrace(
        np.ones(2, np.uint32),
        np.array([AccessKind.LOAD, AccessKind.STORE], np.uint8),
        np.full(2, 8, np.uint16),
        np.zeros(2, np.uint64),
    )
    with (tmp_path / "a.champsim").open("wb") as handle:
        write_champsim([before], handle)

    (after,) = read_champsim(tmp_path / "a.champsim", 100)

    assert after.kind.tolist() == [AccessKind.FETCH, AccessKind.LOAD, AccessKind.STORE]
    assert after.address[1:].tolist() == [1, 1]


def test_blocks_as_bgzip_makes_them_are_read(tmp_path: Path) -> None:
    block = gzip.compress(b"a" * 65280, 1, mtime=0)
    (tmp_path / "a.gz").write_bytes(block * 1500 + gzip.compress(b"", mtime=0))

    assert sum(map(len, pieces(tmp_path / "a.gz", 2**30))) == 1500 * 65280


def test_file_of_countless_packed_streams_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"", mtime=0) * 2000)

    with pytest.raises(FileFormatError, match="more than 1000 packed streams of next to nothing"):
        list(pieces(tmp_path / "a.gz", 100))


@pytest.mark.parametrize("line", [b"\n", b"#\n"])
def test_text_that_holds_next_to_nothing_in_many_lines_is_refused_early(
    tmp_path: Path, line: bytes
) -> None:
    path = tmp_path / "idle.ldst.gz"
    path.write_bytes(gzip.compress(b"LD 0x40\n" + line * 1_000_001, 1))

    with pytest.raises(FileFormatError, match=r"idle.*:1000002: .* lines without an access"):
        list(read_loads_and_stores(path, 2**25))
