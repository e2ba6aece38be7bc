"""Workloads: what ships, what a file gives, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError, UnknownNameError
from archgym.simulators.translation.kernel.prepared import latest_prepared
from archgym.simulators.translation.layout import Memory
from archgym.simulators.translation.workloads import (
    DEFAULT_WORKLOAD,
    TraceContent,
    characterise,
    load,
    names,
)
from archgym.traces import AccessKind, MemoryTrace, shipped_trace, write_memory_trace


def small(n: int = 200, instructions: int = 2) -> MemoryTrace:
    """Loads and stores in turn, two to a page."""
    places = np.arange(n, dtype=np.uint64)
    return MemoryTrace(
        np.full(n, instructions, np.uint32),
        (places % 2).astype(np.uint8),
        np.full(n, 8, np.uint16),
        (places // np.uint64(2)) * np.uint64(4096) + places % np.uint64(2) * np.uint64(64),
        name="small",
    )


def test_recorded_programs_and_generated_accesses_ship() -> None:
    assert {"kmer-count", "graph-search", "random-access", "random-4gb"} <= set(names())
    assert DEFAULT_WORKLOAD in names()


def test_users_trace_is_a_workload(tmp_path: Path) -> None:
    write_memory_trace(small(), tmp_path / "mine.npz")

    content = load(tmp_path / "mine.npz")

    assert content.trace.address.tolist() == small().address.tolist()
    assert content.digest == load(str(tmp_path / "mine.npz")).digest


def test_digest_knows_every_column(tmp_path: Path) -> None:
    digests = set()
    for column in ("instructions", "kind", "size_bytes", "address"):
        values = getattr(small(), column).copy()
        values[7] += 2
        changed = replace(small(), **{column: values})
        write_memory_trace(changed, tmp_path / f"{column}.npz")
        digests.add(load(tmp_path / f"{column}.npz").digest)

    assert len(digests) == 4


def test_digest_of_a_copy_knows_that_its_overlap_is_another(tmp_path: Path) -> None:
    write_memory_trace(shipped_trace("kmer-count"), tmp_path / "copy.npz")

    copied, ours = load(tmp_path / "copy.npz"), load("kmer-count")

    assert (copied.name, copied.mlp != ours.mlp) == (ours.name, True)
    assert copied.digest != ours.digest


def test_digests_of_traces_that_ship_stand() -> None:
    # Studies name them: they must not change but with the traces.
    assert load("sort").digest.startswith("fda2c5434fcfd53e")


FLUSHES = replace(small(), kind=np.full(200, AccessKind.FLUSH, np.uint8))


@pytest.mark.parametrize("trace", [small(20), small(200, instructions=0), FLUSHES])
def test_trace_with_nothing_to_count_is_refused(trace: MemoryTrace, tmp_path: Path) -> None:
    write_memory_trace(trace, tmp_path / "little.npz")

    with pytest.raises(FileFormatError, match=r"little\.npz.*100 records or more"):
        load(tmp_path / "little.npz")


def test_damaged_file_is_refused_in_our_words(tmp_path: Path) -> None:
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 and no more")

    with pytest.raises(FileFormatError, match=r"torn\.npz") as refused:
        load(tmp_path / "torn.npz")

    assert "Error" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_unknown_name_lists_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="kmer-count"):
        load("kmer")


def test_character_counts_data_and_pages() -> None:
    found = characterise(TraceContent("small", "digest", 1.0, small()))

    counts = {name: value for name, (value, unit) in found.items() if unit == ""}
    assert counts == {
        "records": 200,
        "data accesses": 200,
        "instructions": 400,
        "fetches on another page": 0,
        "regions of 2 MiB": 1,
        "pages that take half of the accesses": 50,
    }
    assert found["stores"] == (50.0, "%")
    assert found["footprint in pages of 4 KiB"][0] == pytest.approx(100 * 4096 / 2**20)
    assert found["changes of page"][0] == pytest.approx(99 / 0.4)


def test_shipped_trace_is_described_as_its_package_says() -> None:
    found = characterise(load("kmer-count"))

    # The table in `archgym.traces.shipped`: 220,000 accesses, 15,805 pages.
    assert found["data accesses"] == (220_000, "")
    assert found["footprint in pages of 4 KiB"][0] == pytest.approx(15_805 / 256)


def test_users_file_keeps_two_misses_under_way_whatever_its_name(tmp_path: Path) -> None:
    write_memory_trace(replace(small(), name="kmer-count"), tmp_path / "kmer-count.npz")

    assert load(tmp_path / "kmer-count.npz").mlp == 2.0


def test_trace_of_one_line_is_refused(tmp_path: Path) -> None:
    trace = replace(small(), address=np.zeros(200, np.uint64))
    write_memory_trace(trace, tmp_path / "still.npz")
    content = load(tmp_path / "still.npz")

    with pytest.raises(InvalidArgumentError, match="nothing is left to count"):
        latest_prepared(content.trace, content.digest, 0, Memory())


def test_trace_whose_cut_has_no_instructions_is_refused() -> None:
    instructions = np.zeros(200, np.uint32)
    instructions[150:] = 2
    trace = replace(small(), instructions=instructions)

    latest_prepared(trace, "late", 0, Memory())
    with pytest.raises(InvalidArgumentError, match="nothing is left to count"):
        latest_prepared(trace, "late", 100, Memory())
