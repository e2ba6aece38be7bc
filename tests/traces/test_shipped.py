"""Recorded traces that ship: their statistics are those that the documentation says."""

import hashlib
import re
from importlib import resources

import numpy as np
import pytest

from archgym.errors import UnknownNameError
from archgym.traces import AccessKind, shipped, shipped_info, shipped_names, shipped_trace

# A task's identity holds its workloads: none may change without a new version.
DIGESTS = {
    "graph-search": "4eebb024cf1b9404",
    "hash-join": "fbd12f21356eaa96",
    "kmer-count": "546dfc1b0b60cc40",
    "moe-gather": "0759c8c99eb977ab",
    "random-access": "d3fb86df8e7e1ede",
    "sort": "05fc4fec75b90337",
}


@pytest.mark.parametrize("name", shipped_names())
def test_file_holds_the_trace_that_its_header_describes(name: str) -> None:
    trace, info = shipped_trace(name), shipped_info(name)

    is_data = trace.kind != AccessKind.FETCH
    assert (trace.name, trace.command) == (name, f"./{name}")
    assert len(trace) == info.records
    assert trace.n_instructions == info.instructions
    assert int(is_data.sum()) == info.loads + info.stores + info.modifies
    assert len(np.unique(trace.address[is_data] >> np.uint64(12))) == info.data_pages


def test_table_of_the_documentation_is_that_of_the_files() -> None:
    rows = re.findall(r"^\| ([a-z-]+) \| ([\d,]+) \| ([\d,]+) \|", shipped.__doc__ or "", re.M)

    assert [row[0] for row in rows] == list(shipped_names())
    for name, accesses, pages in rows:
        info = shipped_info(name)
        assert f"{info.loads + info.stores + info.modifies:,}" == accesses
        assert f"{info.data_pages:,}" == pages


@pytest.mark.parametrize("name", shipped_names())
def test_footprint_is_beyond_the_reach_of_a_second_level_tlb(name: str) -> None:
    # 1536 entries, as the translation simulator's default has.
    assert shipped_info(name).data_pages > 1536


def test_files_are_small() -> None:
    folder = resources.files("archgym.traces").joinpath("data")
    sizes = [len(folder.joinpath(f"{name}.npz").read_bytes()) for name in shipped_names()]

    assert max(sizes) < 400_000
    assert sum(sizes) < 1_600_000


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_trace_has_its_records(name: str) -> None:
    trace = shipped_trace(name)
    digest = hashlib.sha256()
    for column in (trace.instructions, trace.kind, trace.size_bytes, trace.address):
        digest.update(np.ascontiguousarray(column).tobytes())

    assert digest.hexdigest()[:16] == DIGESTS[name]


def test_unknown_name_lists_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="'kmer-count'"):
        shipped_trace("kmer-counts")


def test_shared_trace_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        shipped_trace("sort").address[0] = 0
