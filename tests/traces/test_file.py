"""Files of memory traces: what goes in comes out, and what is wrong is refused in a line."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError, StorageError
from archgym.traces import (
    MemoryTrace,
    TraceInfo,
    iterate_memory_trace,
    read_memory_trace,
    read_trace_info,
    write_memory_trace,
)
from archgym.traces.file import CHUNK_RECORDS

COLUMNS = ("instructions", "kind", "size_bytes", "address")


def arbitrary(n: int, seed: int = 0) -> MemoryTrace:
    """Records with every kind, and with the largest and smallest values of each column."""
    rng = np.random.default_rng(seed)
    near = np.cumsum(rng.integers(-64, 65, n)) + 2**40
    address = np.where(rng.random(n) < 0.5, near, rng.integers(0, 2**57, n)).astype(np.uint64)
    address[::7] = 2**57 - 1
    address[::11] = 0
    size = rng.choice(np.array([1, 8, 254, 255, 256, 65535], np.uint16), n)
    instructions = rng.choice(np.array([0, 3, 254, 255, 70_000, 2**32 - 1], np.uint32), n)
    kind = rng.integers(0, 6, n).astype(np.uint8)
    return MemoryTrace(instructions, kind, size, address, "arbitrary", "./program 'a b'")


def assert_same(one: MemoryTrace, other: MemoryTrace) -> None:
    for column in COLUMNS:
        assert np.array_equal(getattr(one, column), getattr(other, column)), column
    assert (one.name, one.command) == (other.name, other.command)


@pytest.mark.parametrize("n", [0, 1, 1000, CHUNK_RECORDS, CHUNK_RECORDS + 1])
def test_what_is_written_is_read(tmp_path: Path, n: int) -> None:
    trace = arbitrary(n)

    write_memory_trace(trace, tmp_path / "a.npz")

    assert_same(read_memory_trace(tmp_path / "a.npz"), trace)


def test_chunks_follow_each_other(tmp_path: Path) -> None:
    trace = arbitrary(CHUNK_RECORDS + 10)
    write_memory_trace(trace, tmp_path / "a.npz")

    parts = list(iterate_memory_trace(tmp_path / "a.npz"))

    assert [len(part) for part in parts] == [CHUNK_RECORDS, 10]
    assert_same(parts[1], trace[CHUNK_RECORDS:])


def test_header_counts_what_was_written(tmp_path: Path) -> None:
    trace = MemoryTrace(
        instructions=np.array([1, 5, 2, 2], np.uint32),
        kind=np.array([2, 0, 1, 3], np.uint8),
        size_bytes=np.array([4, 8, 8, 8], np.uint16),
        address=np.array([0x400000, 0x1000, 0x1FFF, 0x5000], np.uint64),
        name="four",
    )
    about = TraceInfo(date="2026-01-31", skipped=7, exit_code=3)

    write_memory_trace(trace, tmp_path / "a.npz", about)

    info = read_trace_info(tmp_path / "a.npz")
    assert (info.records, info.instructions) == (4, 10)
    assert (info.loads, info.stores, info.modifies, info.fetches) == (1, 1, 1, 1)
    assert info.footprint_bytes == 2 * 4096
    assert (info.name, info.date, info.skipped, info.exit_code) == ("four", "2026-01-31", 7, 3)


def test_equal_traces_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        write_memory_trace(arbitrary(500), tmp_path / name)

    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_stream_takes_less_than_a_tenth_of_a_byte_an_access(tmp_path: Path) -> None:
    n = 100_000
    step = MemoryTrace(
        np.full(n, 4, np.uint32),
        np.zeros(n, np.uint8),
        np.full(n, 8, np.uint16),
        np.arange(n, dtype=np.uint64) * np.uint64(8) + np.uint64(2**40),
    )

    write_memory_trace(step, tmp_path / "a.npz")

    assert (tmp_path / "a.npz").stat().st_size < 0.1 * n


def test_random_words_of_4_gib_take_at_most_four_bytes_an_access(tmp_path: Path) -> None:
    n = 100_000
    rng = np.random.default_rng(1)
    anywhere = MemoryTrace(
        np.full(n, 4, np.uint32),
        np.zeros(n, np.uint8),
        np.full(n, 8, np.uint16),
        rng.integers(0, 2**29, n).astype(np.uint64) * np.uint64(8),
    )

    write_memory_trace(anywhere, tmp_path / "a.npz")

    # 29 bits of each address cannot be foreseen: 3.6 bytes.
    assert 3.6 * n < (tmp_path / "a.npz").stat().st_size < 4.0 * n


def rewritten(source: Path, target: Path, change: Callable[[str, bytes], bytes]) -> Path:
    with zipfile.ZipFile(source) as good, zipfile.ZipFile(target, "w") as bad:
        for name in good.namelist():
            bad.writestr(name, change(name, good.read(name)), zipfile.ZIP_DEFLATED)
    return target


def header(**changes: object) -> Callable[[str, bytes], bytes]:
    def change(name: str, content: bytes) -> bytes:
        if name != "trace.json":
            return content
        return json.dumps({**json.loads(content), **changes}).encode()

    return change


def array(content: np.ndarray) -> Callable[[str, bytes], bytes]:
    def change(name: str, old: bytes) -> bytes:
        if not name.startswith("chunk"):
            return old
        stream = io.BytesIO()
        np.save(stream, content)
        return stream.getvalue()

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (header(version=2), "version 1"),
        (header(records=99), "30 of the 99 records"),
        (header(records=29), "more records than the 29"),
        (header(records=2**60), "more than 33554432"),
        (header(records=-1), "`records` must be `int`"),
        (header(records=True), "`records` must be `int`"),
        (header(records="30"), "`records` must be `int`"),
        (header(name=5), "`name` must be `str`"),
        (header(chunks=10**9), "`chunks` must be"),
        (header(exit_code="no"), "`exit_code`"),
        (array(np.zeros(3, np.uint8)), "cut off"),
        (array(np.zeros((3, 3), np.uint8)), "at most shape"),
        (array(np.zeros(3, np.float64)), "must be of type |u1"),
        (array(np.full(64, 255, np.uint8)), "more than 262144"),
    ],
)
def test_wrong_content_is_refused_in_one_line(
    tmp_path: Path, change: Callable[[str, bytes], bytes], words: str
) -> None:
    write_memory_trace(arbitrary(30), tmp_path / "a.npz")
    bad = rewritten(tmp_path / "a.npz", tmp_path / "b.npz", change)

    with pytest.raises(FileFormatError) as refused:
        read_memory_trace(bad)

    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_text_of_a_file_cannot_command_a_terminal(tmp_path: Path) -> None:
    write_memory_trace(arbitrary(3), tmp_path / "a.npz")
    escape = header(command="\x1b]0;mine\x07\nls", name="ä" * 5000)
    odd = rewritten(tmp_path / "a.npz", tmp_path / "b.npz", escape)

    info = read_trace_info(odd)

    assert info.command == "?]0;mine??ls"
    assert info.name == "ä" * 1000


def test_address_that_steps_beyond_57_bits_is_refused(tmp_path: Path) -> None:
    write_memory_trace(arbitrary(1), tmp_path / "a.npz")
    # One record: eight bytes of a step of 2**57, so twice that.
    chunk = [1, 0, 0, 0, 7 << 5, 0, 8, 1, 0, 0, 0, 0, 0, 0, 0, 4]
    bad = rewritten(tmp_path / "a.npz", tmp_path / "b.npz", array(np.array(chunk, np.uint8)))

    with pytest.raises(FileFormatError, match="record 0 of a chunk has an address beyond 57 bits"):
        read_memory_trace(bad)


def test_torn_file_is_refused_at_every_length(tmp_path: Path) -> None:
    write_memory_trace(arbitrary(30), tmp_path / "a.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    torn = tmp_path / "b.npz"

    for length in range(0, len(whole), 7):
        torn.write_bytes(whole[:length])
        with pytest.raises(FileFormatError):
            read_memory_trace(torn)


def test_other_ending_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"must end in \.npz; got 'a\.txt'"):
        write_memory_trace(arbitrary(3), tmp_path / "a.txt")

    assert list(tmp_path.iterdir()) == []


def test_absent_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"absent\.npz cannot be read"):
        read_memory_trace(tmp_path / "absent.npz")
    with pytest.raises(StorageError, match="cannot be written"):
        write_memory_trace(arbitrary(3), tmp_path / "absent" / "a.npz")


def test_info_says_what_the_writer_was_told(tmp_path: Path) -> None:
    about = TraceInfo(tool="by hand", date="today")

    written = write_memory_trace(arbitrary(10), tmp_path / "a.npz", about)

    assert read_trace_info(tmp_path / "a.npz") == written
    assert replace(written, records=0).tool == "by hand"
