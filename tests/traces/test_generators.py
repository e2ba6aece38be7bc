"""Generated memory traces: each has the statistics of its name."""

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.traces import GENERATED, AccessKind, MemoryTrace, generated_trace
from archgym.traces.generators import pointer_chase, uniform, zipf


def pages(trace: MemoryTrace) -> np.ndarray:
    return trace.address >> np.uint64(12)


@pytest.mark.parametrize("name", GENERATED)
def test_generated_trace_reaches_over_most_of_4_gib_and_comes_again(name: str) -> None:
    trace = generated_trace(name, 100_000)

    assert trace.name == name
    assert len(trace) == 100_000
    reach = int(trace.address.max() - trace.address.min())
    assert 3.9 * 2**30 < reach < 4 * 2**30
    assert np.array_equal(trace.address, generated_trace(name, 100_000).address)


def test_uniform_words_are_alike() -> None:
    trace = uniform(100_000, seed=1, footprint_bytes=2**20, store_share=0.25)

    counts = np.bincount((pages(trace) - pages(trace).min()).astype(int), minlength=256)
    assert counts.min() > 300
    assert counts.max() < 500
    assert abs((trace.kind == AccessKind.STORE).mean() - 0.25) < 0.01
    assert (trace.address % np.uint64(8) == 0).all()


def test_zipf_page_of_rank_two_is_half_as_popular_at_exponent_one() -> None:
    trace = zipf(200_000, seed=1, exponent=1.0, footprint_bytes=2**22)

    counts = np.sort(np.unique(pages(trace), return_counts=True)[1])[::-1]
    assert len(counts) == 1024
    # The harmonic number of 1024 is 7.509.
    assert counts[0] / 200_000 == pytest.approx(1 / 7.509, rel=0.03)
    assert counts[0] / counts[1] == pytest.approx(2.0, rel=0.05)


def test_zipf_exponent_zero_makes_pages_alike() -> None:
    trace = zipf(100_000, seed=1, exponent=0.0, footprint_bytes=2**20)

    counts = np.unique(pages(trace), return_counts=True)[1]
    assert (len(counts), counts.min() > 300) == (256, True)


def test_chain_visits_every_node_before_one_comes_again() -> None:
    trace = pointer_chase(2048, seed=3, footprint_bytes=65536)

    first, second = trace.address[:1024], trace.address[1024:]
    assert len(np.unique(first)) == 1024
    assert np.array_equal(first, second)


def test_short_chain_comes_again_early() -> None:
    trace = pointer_chase(100, seed=3, n_nodes=10, footprint_bytes=2**32)

    assert len(np.unique(trace.address)) == 10
    assert np.array_equal(trace.address[:10], trace.address[90:])


@pytest.mark.parametrize("footprint_bytes", [0, 100, 3 * 4096, 2**50])
def test_footprint_that_is_no_power_of_two_is_refused(footprint_bytes: int) -> None:
    with pytest.raises(InvalidArgumentError, match="`footprint_bytes` must be a power of two"):
        uniform(10, seed=1, footprint_bytes=footprint_bytes)


def test_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(UnknownNameError, match="'random-4gb'"):
        generated_trace("random-8gb")
