"""Traces of DRAM requests by generators whose settings are drawn at random with fixed seeds."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial

import numpy as np

from archgym.simulators.dram.workloads import generators
from archgym.simulators.dram.workloads.generators import Traffic
from archgym.simulators.dram.workloads.trace import Trace

_REQUESTS = 10_000
"""Length of generated traces, that of most shipped ones."""
_MIB = 2**20
_SEED = 2026
# chosen: requests of 512 bytes and more are the fast ones, on a time base of 125 ps as shipped.
_FAST_MHZ = 8000
_SIZES = (128, 256, 512)


@cache
def generated() -> Mapping[str, Callable[[], Trace]]:
    """Return the makers of generated traces by name, `family:recipe-number`."""
    recipes: tuple[tuple[str, str, int, Callable[[np.random.Generator], Trace]], ...] = (
        ("sequential", "stream", 8, _stream),
        ("sequential", "blocks", 8, _blocks),
        ("irregular", "random", 8, _random),
        ("irregular", "chase", 4, _chase),
        ("irregular", "strided", 6, _strided),
        ("phases-and-copies", "phases", 8, _phases),
        ("phases-and-copies", "copy", 8, _copy),
        ("short-runs", "steady", 10, partial(_short_runs, bursty=False)),
        ("short-runs", "bursty", 12, partial(_short_runs, bursty=True)),
    )
    found: dict[str, Callable[[], Trace]] = {}
    for family, recipe, count, make in recipes:
        for number in range(count):
            name = f"{family}:{recipe}-{number}"
            seed = (_SEED, len(found))
            found[name] = partial(_made, make, name, seed)
    return found


def _made(make: Callable[[np.random.Generator], Trace], name: str, seed: tuple[int, int]) -> Trace:
    return replace(make(np.random.default_rng(seed)), name=name)


# chosen: ranges that hold the settings of the shipped workloads with some room to either side.
def _traffic(rng: np.random.Generator, *, bursty: bool, writes: bool = True) -> Traffic:
    """Return times and directions: mean gaps from 1 to 100 ticks, spread evenly by logarithm."""
    high = round(float(np.exp(rng.uniform(0.0, np.log(200.0)))))
    low = max(1, round(high * rng.uniform(0.1, 1.0)))
    burst, idle = (0, 0), (0, 0)
    if bursty:
        high = low = int(rng.integers(1, 5))
        longest = int(rng.integers(16, 160))
        burst = (max(1, longest // 4), longest)
        most = int(rng.integers(100, 1500))
        idle = (most // 4, most)
    share = float(rng.uniform(0.5, 1.0)) if writes else 1.0
    return Traffic(
        read_share=share,
        write_run=int(rng.integers(1, 9)),
        gap_ticks=(low, high),
        burst_requests=burst,
        idle_ticks=idle,
    )


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _stream(rng: np.random.Generator) -> Trace:
    traffic = _traffic(rng, bursty=bool(rng.random() < 0.3))
    return generators.stream(_REQUESTS, seed=_seed(rng), traffic=traffic)


def _blocks(rng: np.random.Generator) -> Trace:
    size = int(rng.choice((512, 1024)))
    gap = int(rng.integers(8, 64))
    longest = int(rng.integers(64, 256))
    traffic = Traffic(
        request_bytes=size,
        gap_ticks=(gap, gap),
        burst_requests=(longest // 2, longest),
        idle_ticks=(500, int(rng.integers(1000, 8000))),
        clock_mhz=_FAST_MHZ,
    )
    return generators.local(
        _REQUESTS * 64 // size,
        seed=_seed(rng),
        sequential_share=float(rng.uniform(0.9, 1.0)),
        footprint_bytes=512 * _MIB,
        traffic=traffic,
    )


def _random(rng: np.random.Generator) -> Trace:
    return generators.random_access(
        _REQUESTS,
        seed=_seed(rng),
        footprint_bytes=int(rng.choice((16, 64, 256, 1024))) * _MIB,
        traffic=_traffic(rng, bursty=bool(rng.random() < 0.3)),
    )


def _chase(rng: np.random.Generator) -> Trace:
    low = int(rng.integers(20, 80))
    return generators.pointer_chase(
        _REQUESTS,
        seed=_seed(rng),
        n_nodes=int(rng.choice((512, 2048, 8192))),
        footprint_bytes=int(rng.choice((64, 256))) * _MIB,
        traffic=Traffic(gap_ticks=(low, low + int(rng.integers(1, 40)))),
    )


def _strided(rng: np.random.Generator) -> Trace:
    return generators.strided(
        _REQUESTS,
        stride_bytes=int(rng.choice((1, 2, 4, 8, 16, 32, 64))) * 1024,
        footprint_bytes=int(rng.choice((4, 16, 64))) * _MIB,
        seed=_seed(rng),
        traffic=_traffic(rng, bursty=False),
    )


def _phases(rng: np.random.Generator) -> Trace:
    requests = int(rng.choice((20, 50, 100)))
    total = _REQUESTS // requests
    sequential = int(total * rng.uniform(0.3, 0.7))
    runs = max(2, int(min(sequential, total - sequential) * rng.uniform(0.3, 1.0)))
    return generators.phases(
        seed=_seed(rng),
        n_sequential=sequential,
        n_random=total - sequential,
        n_runs=runs,
        phase_requests=requests,
        starts_sequential=bool(rng.random() < 0.5),
        footprint_bytes=1024 * _MIB,
        traffic=_traffic(rng, bursty=bool(rng.random() < 0.3)),
    )


def _copy(rng: np.random.Generator) -> Trace:
    return generators.copy(
        _REQUESTS,
        seed=_seed(rng),
        block_requests=int(rng.choice((8, 16, 32, 64, 128))),
        source_address=64 * _MIB,
        target_address=int(rng.choice(_SIZES)) * _MIB + 64 * _MIB,
        traffic=_traffic(rng, bursty=bool(rng.random() < 0.5)),
    )


def _short_runs(rng: np.random.Generator, *, bursty: bool) -> Trace:
    return generators.local(
        _REQUESTS,
        seed=_seed(rng),
        sequential_share=float(rng.uniform(0.2, 0.8)),
        footprint_bytes=int(rng.choice((128, 512, 1024))) * _MIB,
        traffic=_traffic(rng, bursty=bursty),
    )
