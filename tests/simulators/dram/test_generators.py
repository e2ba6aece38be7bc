"""Generators: what they promise about addresses, times and directions."""

from collections.abc import Callable

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.dram.workloads import generators
from archgym.simulators.dram.workloads.generators import Traffic
from archgym.simulators.dram.workloads.trace import Trace

MIB = 2**20

SEEDED: dict[str, Callable[[int], Trace]] = {
    "random_access": lambda seed: generators.random_access(500, seed=seed, footprint_bytes=MIB),
    "pointer_chase": lambda seed: generators.pointer_chase(
        500, seed=seed, n_nodes=100, footprint_bytes=MIB
    ),
    "local": lambda seed: generators.local(
        500, seed=seed, sequential_share=0.5, footprint_bytes=MIB
    ),
    "phases": lambda seed: generators.phases(
        seed=seed,
        n_sequential=6,
        n_random=4,
        n_runs=5,
        phase_requests=50,
        starts_sequential=True,
        footprint_bytes=MIB,
    ),
    "stream": lambda seed: generators.stream(500, seed=seed, traffic=Traffic(read_share=0.5)),
    "copy": lambda seed: generators.copy(
        500,
        seed=seed,
        block_requests=8,
        source_address=0,
        target_address=MIB,
        traffic=Traffic(gap_ticks=(1, 9)),
    ),
    "strided": lambda seed: generators.strided(
        500, seed=seed, stride_bytes=4096, footprint_bytes=MIB, traffic=Traffic(read_share=0.5)
    ),
}


@pytest.mark.parametrize("name", SEEDED)
def test_seed_decides_the_trace(name: str) -> None:
    make = SEEDED[name]

    assert make(7).digest == make(7).digest
    assert make(7).digest != make(8).digest


def test_stream_is_sequential() -> None:
    trace = generators.stream(100, start_address=4096)

    assert trace.addresses.tolist() == [4096 + 64 * i for i in range(100)]
    assert trace.ticks.tolist() == list(range(100))
    assert not trace.is_write.any()
    assert set(trace.lengths.tolist()) == {64}


def test_random_fills_its_region_evenly() -> None:
    trace = generators.random_access(20_000, seed=1, footprint_bytes=64 * 1024, start_address=MIB)

    counts = np.bincount((trace.addresses - MIB) // 64, minlength=1024)
    assert len(counts) == 1024
    # 19.5 each on average; six standard deviations.
    assert counts.max() < 19.5 + 6 * 4.5
    assert (trace.addresses % 64 == 0).all()


def test_strided_sweeps_meet_every_request_once() -> None:
    trace = generators.strided(64, stride_bytes=256, footprint_bytes=4096)

    assert trace.addresses[:4].tolist() == [0, 256, 512, 768]
    assert trace.addresses[16:18].tolist() == [64, 320]
    assert sorted(trace.addresses.tolist()) == [64 * i for i in range(64)]


def test_pointer_chase_is_one_closed_chain() -> None:
    trace = generators.pointer_chase(300, seed=1, n_nodes=100, footprint_bytes=MIB)

    first, second = trace.addresses[:100], trace.addresses[100:200]
    assert len(set(first.tolist())) == 100
    assert np.array_equal(first, second)
    assert trace.relative
    assert trace.ticks[0] == 0
    assert trace.ticks[1:].min() >= 40
    assert trace.ticks.max() <= 56


def test_local_has_the_share_it_was_asked_for() -> None:
    trace = generators.local(20_000, seed=3, sequential_share=0.7, footprint_bytes=1024 * MIB)

    share = (np.diff(trace.addresses) == 64).mean()
    assert share == pytest.approx(0.7, abs=0.015)


@pytest.mark.parametrize("starts_sequential", [False, True])
def test_phases_have_the_numbers_they_were_asked_for(starts_sequential: bool) -> None:
    trace = generators.phases(
        seed=5,
        n_sequential=40,
        n_random=60,
        n_runs=30,
        phase_requests=20,
        starts_sequential=starts_sequential,
        footprint_bytes=1024 * MIB,
    )

    blocks = trace.addresses.reshape(-1, 20)
    is_sequential = (np.diff(blocks, axis=1) == 64).all(axis=1)
    assert is_sequential.sum() == 40
    assert len(is_sequential) == 100
    assert 1 + (np.diff(is_sequential.astype(int)) != 0).sum() == 30
    assert is_sequential[0] == starts_sequential
    assert blocks[is_sequential].ravel().tolist() == [64 * i for i in range(800)]


def test_copy_reads_then_writes_each_block() -> None:
    trace = generators.copy(12, block_requests=3, source_address=0, target_address=4096)

    assert trace.is_write.tolist() == [False] * 3 + [True] * 3 + [False] * 3 + [True] * 3
    assert trace.addresses.tolist() == [
        0,
        64,
        128,
        4096,
        4160,
        4224,
        192,
        256,
        320,
        4288,
        4352,
        4416,
    ]


def test_interleaved_cores_keep_their_own_order() -> None:
    cores = [
        generators.stream(50, start_address=MIB * core, traffic=Traffic(gap_ticks=(3, 3)))
        for core in range(3)
    ]

    trace = generators.interleave(cores)

    assert len(trace) == 150
    assert (np.diff(trace.ticks) >= 0).all()
    assert trace.addresses[:6].tolist() == [0, MIB, 2 * MIB, 64, MIB + 64, 2 * MIB + 64]
    for number, core in enumerate(cores):
        own = trace.addresses[trace.addresses // MIB == number]
        assert np.array_equal(own, core.addresses)


def test_traffic_has_bursts_and_idle_gaps() -> None:
    traffic = Traffic(gap_ticks=(1, 2), burst_requests=(10, 10), idle_ticks=(100, 200))

    trace = generators.stream(100, seed=1, traffic=traffic)

    gaps = np.diff(trace.ticks)
    assert np.flatnonzero(gaps > 10).tolist() == list(range(9, 99, 10))
    assert gaps[9::10].min() >= 101
    assert gaps.max() <= 202


def test_traffic_writes_in_groups() -> None:
    traffic = Traffic(read_share=0.6, write_run=4)

    trace = generators.stream(8000, seed=1, traffic=traffic)

    groups = trace.is_write.reshape(-1, 4)
    assert (groups.all(axis=1) | ~groups.any(axis=1)).all()
    assert trace.is_write.mean() == pytest.approx(0.4, abs=0.04)


def test_changed_gaps_leave_addresses_and_directions_alone() -> None:
    slow = Traffic(read_share=0.5, gap_ticks=(1, 50))
    fast = Traffic(read_share=0.5)

    one = generators.random_access(200, seed=1, footprint_bytes=MIB, traffic=slow)
    other = generators.random_access(200, seed=1, footprint_bytes=MIB, traffic=fast)

    assert np.array_equal(one.addresses, other.addresses)
    assert np.array_equal(one.is_write, other.is_write)
    assert not np.array_equal(one.ticks, other.ticks)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: generators.stream(0), "`n_requests` must be at least 1; got 0"),
        (lambda: Traffic(read_share=1.5), "`read_share` must lie in 0 to 1"),
        (lambda: Traffic(gap_ticks=(5, 1)), "`gap_ticks` must be"),
        (lambda: Traffic(burst_requests=(0, 5)), "`burst_requests` must be"),
        (
            lambda: generators.random_access(5, seed=1, footprint_bytes=32),
            "`footprint_bytes` must hold a request",
        ),
        (
            lambda: generators.pointer_chase(5, seed=1, n_nodes=100, footprint_bytes=640),
            "hold one request a node",
        ),
        (
            lambda: generators.strided(5, stride_bytes=32, footprint_bytes=MIB),
            "`stride_bytes` must be at least 64",
        ),
        (lambda: generators.interleave([]), "`traces` must share one clock"),
        (
            lambda: generators.phases(
                seed=1,
                n_sequential=2,
                n_random=1,
                n_runs=9,
                phase_requests=5,
                starts_sequential=True,
                footprint_bytes=MIB,
            ),
            "`n_runs` must leave each kind",
        ),
    ],
)
def test_impossible_arguments_are_refused(call: Callable[[], object], match: str) -> None:
    with pytest.raises(InvalidArgumentError, match=match):
        call()
