"""Traces and their files: what is kept, and what hostile files come to."""

import gzip
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archgym.errors import FileFormatError, InvalidArgumentError, StorageError
from archgym.simulators.dram import DramSimulator
from archgym.simulators.dram.workloads.trace import Trace, read_trace, trace_text, write_trace
from archgym.tasks.task import Task


def small(**changes: object) -> Trace:
    fields: dict[str, object] = {
        "name": "small",
        "ticks": np.array([0, 5, 3]),
        "is_write": np.array([False, True, False]),
        "addresses": np.array([0, 64, 0x3FFFFFC0]),
        "lengths": np.array([0, 64, 32]),
    }
    return Trace(**{**fields, **changes})  # type: ignore[arg-type]  # fields vary in type


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    n = draw(st.integers(1, 30))
    relative = draw(st.booleans())

    def column(high: int) -> np.ndarray:
        return np.array(draw(st.lists(st.integers(0, high), min_size=n, max_size=n)))

    return Trace(
        name="t",
        ticks=column(10**9),
        is_write=column(1).astype(bool),
        addresses=column(2**62 - 1),
        lengths=column(2**16),
        clock_mhz=draw(st.sampled_from([200, 800, 933, 1600])),
        relative=relative,
    )


@given(trace=traces(), packed=st.booleans())
@settings(max_examples=60, deadline=None)
def test_written_trace_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, trace: Trace, packed: bool
) -> None:
    ending = (".rstl" if trace.relative else ".stl") + (".gz" if packed else "")
    path = tmp_path_factory.mktemp("trace") / f"t{ending}"

    write_trace(trace, path)
    back = read_trace(path)

    assert back.digest == trace.digest
    assert (back.name, back.clock_mhz, back.relative) == ("t", trace.clock_mhz, trace.relative)
    assert np.array_equal(back.addresses, trace.addresses)


def test_same_trace_is_the_same_compressed_file(tmp_path: Path) -> None:
    write_trace(small(), tmp_path / "a.stl.gz")
    write_trace(small(), tmp_path / "b.stl.gz")

    assert (tmp_path / "a.stl.gz").read_bytes() == (tmp_path / "b.stl.gz").read_bytes()


def test_text_of_a_trace() -> None:
    assert trace_text(small(clock_mhz=400)) == (
        "# clock_mhz: 400\n0:\tread\t0x0\n5:\twrite\t0x40\t64\n3:\tread\t0x3FFFFFC0\t32\n"
    )


def test_digest_ignores_the_name_and_sees_everything_else() -> None:
    digests = {
        small().digest,
        small(ticks=np.array([0, 5, 4])).digest,
        small(is_write=np.array([True, True, False])).digest,
        small(addresses=np.array([0, 64, 128])).digest,
        small(lengths=np.array([0, 64, 64])).digest,
        small(clock_mhz=400).digest,
        small(relative=True).digest,
    }

    assert len(digests) == 7
    assert small(name="other").digest == small().digest


def test_columns_cannot_be_changed_and_the_callers_can() -> None:
    ticks = np.array([0, 5, 3])

    trace = small(ticks=ticks)

    assert not trace.ticks.flags.writeable
    assert ticks.flags.writeable


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"ticks": np.array([0, -1, 3])}, "`ticks` must lie in 0 to .*got -1 for request 1"),
        ({"addresses": np.array([0, -1, 3])}, "`addresses` must lie in"),
        ({"lengths": np.array([0, 1, 2**16 + 1])}, "`lengths` must lie in 0 to 65536"),
        ({"is_write": np.array([True])}, "`is_write` must have one entry a request"),
        ({"clock_mhz": 0}, "`clock_mhz` must lie in"),
        ({"ticks": np.array([0, 2**60, 3])}, "`ticks` must lie in"),
        (
            {"ticks": np.full(3, 60 * 10**12 // 1250), "relative": True},
            "delays of a trace must add up to at most",
        ),
    ],
)
def test_impossible_trace_is_refused(changes: dict[str, object], match: str) -> None:
    with pytest.raises(InvalidArgumentError, match=match):
        small(**changes)


def test_trace_without_requests_is_refused() -> None:
    none = np.zeros(0, np.int64)

    with pytest.raises(InvalidArgumentError, match="at least one request"):
        Trace("none", none, none.astype(bool), none)


def test_due_ticks_follow_the_order_of_sending() -> None:
    assert small().due_ticks.tolist() == [0, 5, 5]
    assert small(relative=True).due_ticks.tolist() == [0, 5, 8]


def test_lines_that_mean_nothing_are_skipped(tmp_path: Path) -> None:
    text = "# a comment\n\nx\n7:\tread\t0x40\r\n   \n#9: read 0x0\n8 write 80\n"

    trace = read_trace(written(tmp_path / "t.stl", text))

    assert trace.ticks.tolist() == [7, 8]
    assert trace.addresses.tolist() == [0x40, 0x80]
    assert trace.lines.tolist() == [4, 7]


def test_decreasing_times_are_legal(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path / "t.stl", "9: read 0x0\n3: read 0x40\n"))

    assert trace.ticks.tolist() == [9, 3]


@pytest.mark.parametrize("first", ["0: read 0x0", "# clock_mhz: 933"])
def test_byte_order_mark_is_skipped(tmp_path: Path, first: str) -> None:
    text = f"\ufeff{first}\n1: write 0x40\n"

    trace = read_trace(written(tmp_path / "t.stl", text))

    assert trace.lines.tolist() == ([1, 2] if first.startswith("0") else [2])
    assert trace.clock_mhz == (800 if first.startswith("0") else 933)


def test_last_line_needs_no_end(tmp_path: Path) -> None:
    assert len(read_trace(written(tmp_path / "t.stl", "0: read 0x0\n1: write 0x40"))) == 2


def test_ending_says_whether_times_are_delays(tmp_path: Path) -> None:
    assert read_trace(written(tmp_path / "t.rstl", "0: read 0x0\n")).relative
    assert not read_trace(written(tmp_path / "t.stl", "0: read 0x0\n")).relative


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    packed = gzip.compress(b"0: read 0x0\n")

    assert len(read_trace(written(tmp_path / "t.stl", packed))) == 1
    assert len(read_trace(written(tmp_path / "u.stl.gz", b"0: read 0x0\n"))) == 1


def test_clock_comes_from_the_file_or_the_caller(tmp_path: Path) -> None:
    path = written(tmp_path / "t.stl", "# clock_mhz: 933\n0: read 0x0\n")

    assert read_trace(path).clock_mhz == 933
    assert read_trace(path, clock_mhz=200).clock_mhz == 200
    assert read_trace(path).period_ps == 1072


HOSTILE = [
    ("0: read 0x0\n-5: read 0x40\n", 2, "start with a timestamp"),
    ("0: read 0x0\n1.5: read 0x40\n", 2, "timestamp"),
    ("0: fetch 0x0\n", 1, "`read` or `write` must follow"),
    ("0: READ 0x0\n", 1, "`read` or `write` must follow"),
    ("0: read 0xZZ\n", 1, "hexadecimal address"),
    ("0: read -0x40\n", 1, "hexadecimal address"),
    ("0: read 0x12345678123456789\n", 1, "at most 16 digits"),
    ("0: read 0xFFFFFFFFFFFFFFFF\n", 1, "address must be below 0x4000000000000000"),
    ("0: read\n", 1, "hexadecimal address"),
    ("0: read 0x0\n0: rea", 2, "The line may be torn"),
    ("0: read 0x0 none\n", 1, "length must be a whole number"),
    ("0: read 0x0 0\n", 1, "length must be 1 byte or more"),
    ("0: read 0x0 65537\n", 1, "at most 65536 bytes"),
    ("0: read 0x0 64 64\n", 1, "TIMESTAMP: read|write ADDRESS"),
    ("99999999999999999999999: read 0x0\n", 1, "timestamp"),
    ("9999999999999999999: read 0x0\n", 1, "timestamp must be at most"),
    (b"\x00\x01\x02\x03 binary\n", 1, "This is not a trace"),
    (b"\xff\xfe\x80\x81\n", 1, "timestamp"),
    ("7" * 5000 + "\n", 1, "at most 4096 bytes long; this one is longer and begins with '777"),
    ("7" * 3_000_000, 1, "at most 4096 bytes long"),
    ("0: read 0x0\n#" + "=" * 5000 + "\n1: read 0x40\n", 2, "Shorten it if it is a comment"),
    ("0: read 0x0\n#" + "=" * 3_000_000 + "\n1: read 0x40\n", 2, "Shorten it if it is a comm"),
    ("0: read 0x0\n".encode("utf-16"), 1, "This is not a trace"),
    ("\u0661: read 0x0\n", 1, "timestamp"),
]


@pytest.mark.parametrize(("text", "line", "match"), HOSTILE)
@pytest.mark.parametrize("packed", [False, True])
def test_hostile_file_is_named_with_its_line(
    tmp_path: Path, text: str | bytes, line: int, match: str, packed: bool
) -> None:
    data = text.encode() if isinstance(text, str) else text
    path = written(tmp_path / "t.stl", gzip.compress(data) if packed else data)

    with pytest.raises(FileFormatError) as caught:
        read_trace(path)

    assert caught.value.line == line
    assert match in str(caught.value)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert len(str(caught.value)) < 500


@given(data=st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = written(tmp_path_factory.mktemp("any") / "t.stl", data)

    # Anything else that is raised fails the test.
    with suppress(FileFormatError):
        assert len(read_trace(path)) >= 1


@pytest.mark.parametrize("line", [b"\n", b"#\n", b"  \n"])
def test_file_that_holds_next_to_nothing_in_many_lines_is_refused_early(
    tmp_path: Path, line: bytes
) -> None:
    path = tmp_path / "idle.stl"
    path.write_bytes(b"0: read 0x40\n" + line * 1_000_001)

    with pytest.raises(FileFormatError, match=r"idle\.stl:1000002: .* lines without a request"):
        read_trace(path)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_trace_file_without_requests_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(FileFormatError, match="at least one request"):
        read_trace(written(tmp_path / "t.stl", text))


def test_every_torn_gzip_is_refused(tmp_path: Path) -> None:
    write_trace(small(), tmp_path / "t.stl.gz")
    data = (tmp_path / "t.stl.gz").read_bytes()

    for length in range(2, len(data)):
        with pytest.raises(FileFormatError, match="torn or damaged"):
            read_trace(written(tmp_path / "torn.stl.gz", data[:length]))


def test_damaged_gzip_is_refused(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(trace_text(small()).encode() * 50, mtime=0))
    data[len(data) // 2] ^= 0xFF

    with pytest.raises(FileFormatError):
        read_trace(written(tmp_path / "t.stl.gz", bytes(data)))


def test_gzip_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    bomb = gzip.compress(b"0: read 0x0\n" * 500_000)
    path = written(tmp_path / "t.stl.gz", bomb)

    with pytest.raises(FileFormatError, match="at most 2000000 bytes when unpacked"):
        read_trace(path, max_bytes=2_000_000)


def test_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.stl", tmp_path):
        named = path if path.suffix else tmp_path / "folder.stl"
        if named != path:
            named.mkdir()
        with pytest.raises(FileFormatError, match="cannot be read"):
            read_trace(named)


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"must end in \.stl or \.rstl"):
        read_trace(written(tmp_path / "t.txt", "0: read 0x0\n"))
    with pytest.raises(InvalidArgumentError, match=r"must end in \.stl or"):
        write_trace(small(), tmp_path / "t.rstl")
    with pytest.raises(InvalidArgumentError, match=r"must end in \.rstl or"):
        write_trace(small(relative=True), tmp_path / "t.stl")


def test_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        write_trace(small(), tmp_path / "absent" / "t.stl")


def test_reference_traces_are_read(reference: Path) -> None:
    paths = sorted((reference / "traces").glob("*.stl.gz"))
    assert len(paths) == 26

    total = sum(len(read_trace(path)) for path in paths)

    # Lines with read or write, counted with grep file by file.
    assert total == 282_957


def test_memory_trace_names_the_command_that_makes_requests(tmp_path: Path) -> None:
    path = tmp_path / "program.npz"
    path.write_bytes(b"PK")

    with pytest.raises(FileFormatError, match=rf"`archgym trace filter {path}`"):
        DramSimulator().workload(path)


def test_trace_says_in_which_memory_its_pages_were_placed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "placed.stl.gz"
    made = Trace(
        "placed", np.array([0, 4]), np.zeros(2, bool), np.array([64, 128]), placed_bytes=2**30
    )
    write_trace(made, path)

    found = read_trace(path)
    DramSimulator().workload(path)
    quiet = caplog.text
    Task.make("dram", str(path), device="ddr5-4800bn")

    assert found.placed_bytes == 2**30
    # It is not part of the content.
    assert found.digest == Trace("x", made.ticks, made.is_write, made.addresses).digest
    assert "was placed" not in quiet
    assert "'placed' were placed in 1 GiB; device 'ddr5-4800bn' has 16 GiB" in caplog.text
    assert "archgym trace filter --device ddr5-4800bn" in caplog.text
