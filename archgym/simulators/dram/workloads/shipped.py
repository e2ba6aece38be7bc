"""Workloads that ship with the DRAM simulator, each one call of a generator or a recorded file.

All hold 10,000 requests of 64 bytes, or about as many bursts, within the first GiB, which every
device holds. `stream`, `random`, `cloud-1` and `cloud-2` are made like the traces of those names
that ArchGym published: same statistics, other bytes. Measured on DDR3-1600 with its default
mapping:

| | cloud-1, published | cloud-1, here | cloud-2, published | cloud-2, here |
|---|---|---|---|---|
| requests | 10000 | 10000 | 10000 | 10000 |
| requests a tick of 1.25 ns | 1 | 1 | 1 | 1 |
| reads [%] | 100 | 100 | 100 | 100 |
| requests of a phase | 50 | 50 | 50 | 50 |
| sequential phases | 96 | 96 | 101 | 101 |
| random phases | 104 | 104 | 99 | 99 |
| runs of phases of one kind | 99 | 99 | 113 | 113 |
| first run | sequential | sequential | random | random |
| last run | sequential | sequential | random | random |
| successors in memory [%] | 47.50 | 47.50 | 49.94 | 49.94 |
| successors in bank and row [%] | 47.13 | 47.14 | 49.55 | 49.56 |
| sequential region [KiB] | 300.0 | 300.0 | 315.6 | 315.6 |
| random region [MiB] | 1023.3 | 1023.6 | 1023.3 | 1023.8 |
| distinct requests | 9997 | 9998 | 9997 | 9996 |

Those that begin with `recorded-` are the requests of programs behind caches of 32 KiB and 512 KiB:
see `RECORDED`.

A test compares the columns headed "here" with what the generators give.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from archgym.simulators.dram.workloads import generators
from archgym.simulators.dram.workloads.generators import Traffic
from archgym.simulators.dram.workloads.trace import Trace, read_trace
from archgym.simulators.kit import check_number, unknown_name

if TYPE_CHECKING:
    from archgym.traces.filtering import Requests

RECORDED = {
    "recorded-graph-search": "a breadth-first search over random vertices, recorded",
    "recorded-hash-join": "orders joined with customers by hashing, recorded",
    "recorded-kmer-count": "words of a genome counted in a hash table, recorded",
    "recorded-moe-gather": "experts' weights and key-value blocks gathered, recorded",
    "recorded-random-access": "read-modify-writes anywhere in 128 MB, recorded",
    "recorded-sort": "a pass of a radix sort into 2,048 streams, recorded",
}
"""One line about each shipped recording; `examples/recorded` says how they were made."""


# chosen: a thousandth of what an access at a time allows; so that no time overflows.
IPC_LIMITS = (1e-4, 64.0)
"""Instructions a cycle that `request_trace` takes."""


def request_trace(
    requests: "Requests", name: str, *, ipc: float, clock_mhz: int, placed_bytes: int = 0
) -> Trace:
    """Return requests as a trace whose player has the processor's clock.

    Args:
      requests: Requests of `archgym.traces.filtering`.
      name: Name of the trace.
      ipc: Instructions a cycle, as if no access ever waited; within `IPC_LIMITS`.
      clock_mhz: The processor's clock [MHz].
      placed_bytes: Size of the memory that the requests' pages were placed in; 0 if unknown.

    Raises:
      InvalidArgumentError: `ipc` is not valid, or the trace takes longer than a minute.
    """
    ipc = check_number("ipc", ipc, *IPC_LIMITS)
    start = int(requests.instruction[0])
    return Trace(
        name=name,
        ticks=((requests.instruction - start) / ipc).astype(np.int64),
        is_write=requests.is_write,
        addresses=requests.address,
        lengths=np.full(len(requests), 64, np.int64),
        clock_mhz=clock_mhz,
        placed_bytes=placed_bytes,
        waits_for=requests.waits_for,
    )


@cache
def recorded_trace(name: str) -> Trace:
    """Return the shipped recording of a name in `RECORDED`."""
    folder = resources.files("archgym.simulators.dram").joinpath("data/recorded")
    with resources.as_file(folder.joinpath(f"{name}.stl.gz")) as path:
        return replace(read_trace(Path(path)), name=name, path=None)


_log = logging.getLogger(__name__)
MAX_REQUESTS = 10**11 - 1
"""chosen: more than any trace has."""
_N = 10_000
# Clock of the traces that ask for more than a DDR3 module gives, so that HBM3 and GDDR6 do not
# idle: a time base of 125 ps.
_FAST_MHZ = 8000
_MIB = 2**20
_GIB = 2**30


@final
@dataclass(frozen=True)
class ShippedWorkload:
    """A named workload: one line about it, and the call that makes its trace."""

    doc: str
    make: Callable[[], Trace]


def _multicore_rw() -> Trace:
    each = _N // 4
    steady = (10, 30)
    cores = (
        generators.stream(each, seed=9, traffic=Traffic(gap_ticks=steady)),
        generators.random_access(
            each,
            seed=10,
            footprint_bytes=256 * _MIB,
            start_address=256 * _MIB,
            traffic=Traffic(read_share=0.7, gap_ticks=steady),
        ),
        generators.copy(
            each,
            seed=11,
            block_requests=16,
            source_address=512 * _MIB,
            target_address=640 * _MIB,
            traffic=Traffic(gap_ticks=(2, 6), burst_requests=(32, 32), idle_ticks=(300, 700)),
        ),
        generators.local(
            each,
            seed=12,
            sequential_share=0.5,
            footprint_bytes=256 * _MIB,
            start_address=768 * _MIB,
            traffic=Traffic(
                read_share=0.6,
                write_run=2,
                gap_ticks=(1, 5),
                burst_requests=(8, 48),
                idle_ticks=(200, 800),
            ),
        ),
    )
    return generators.interleave(cores)


def _expert_misses() -> Trace:
    # What a cache of half of OLMoE's experts loads, of each expert the first 8 KiB: see
    # experiments/dram_expert_loads.py. 512 KiB are an expert's 12 MiB over 24 channels.
    file = resources.files("archgym.simulators.dram").joinpath("data/expert_loads.csv")
    rows = np.array([line.split(",") for line in file.read_text("utf-8").split()[1:]], np.int64)
    each = np.arange(16)
    layer = np.searchsorted(np.unique(rows[:, 0]), rows[:, 0])
    # 256 GB/s asked, then 500 ns of computation of a layer.
    ticks = (np.arange(len(rows))[:, None] * 16 + each) * 16 + 4000 * layer[:, None]
    addresses = rows[:, 1:] * 2**19 + 512 * each
    n = addresses.size
    return Trace(
        name="expert-misses",
        ticks=ticks.ravel(),
        is_write=np.zeros(n, bool),
        addresses=addresses.ravel(),
        lengths=np.full(n, 512, np.int64),
        clock_mhz=_FAST_MHZ,
    )


def _gups() -> Trace:
    # 64 GB/s asked: each random 64 bytes are read, and written back 16 ns later.
    reads = generators.random_access(
        5000,
        seed=15,
        footprint_bytes=512 * _MIB,
        traffic=Traffic(gap_ticks=(16, 16), clock_mhz=_FAST_MHZ),
    )
    ticks = np.concatenate([reads.ticks, reads.ticks + 128])
    order = np.argsort(ticks, kind="stable")
    return Trace(
        name="gups",
        ticks=ticks[order],
        is_write=np.repeat([False, True], len(reads))[order],
        addresses=np.tile(reads.addresses, 2)[order],
        lengths=np.full(2 * len(reads), 64, np.int64),
        clock_mhz=_FAST_MHZ,
    )


SHIPPED: Mapping[str, ShippedWorkload] = {
    "cloud-1": ShippedWorkload(
        "sequential and random phases mixed, sequential first",
        lambda: generators.phases(
            seed=2,
            n_sequential=96,
            n_random=104,
            n_runs=99,
            phase_requests=50,
            starts_sequential=True,
            footprint_bytes=_GIB,
        ),
    ),
    "cloud-2": ShippedWorkload(
        "sequential and random phases mixed, random first",
        lambda: generators.phases(
            seed=3,
            n_sequential=101,
            n_random=99,
            n_runs=113,
            phase_requests=50,
            starts_sequential=False,
            footprint_bytes=_GIB,
        ),
    ),
    "stream": ShippedWorkload(
        "reads one after the other, as fast as they are taken", lambda: generators.stream(_N)
    ),
    "random": ShippedWorkload(
        "reads anywhere in 1 GiB, as fast as they are taken",
        lambda: generators.random_access(_N, seed=1, footprint_bytes=_GIB),
    ),
    "strided": ShippedWorkload(
        "reads 16 KiB apart that sweep 16 MiB",
        # Two pages of the DDR3 module, so that neighbours never share a row of a bank.
        lambda: generators.strided(
            _N,
            stride_bytes=16 * 1024,
            footprint_bytes=16 * _MIB,
            traffic=Traffic(gap_ticks=(4, 4)),
        ),
    ),
    "pointer-chase": ShippedWorkload(
        "reads along a chain in 256 MiB, each some 60 ns after the other",
        lambda: generators.pointer_chase(_N, seed=4, n_nodes=4096, footprint_bytes=256 * _MIB),
    ),
    "mixed-rw": ShippedWorkload(
        "two reads to a write, short runs, steady and dense",
        lambda: generators.local(
            _N,
            seed=5,
            sequential_share=0.7,
            footprint_bytes=_GIB,
            traffic=Traffic(read_share=0.67, write_run=4, gap_ticks=(1, 9)),
        ),
    ),
    "bursty-rw": ShippedWorkload(
        "reads and writes in bursts, idle between them",
        lambda: generators.local(
            _N,
            seed=6,
            sequential_share=0.6,
            footprint_bytes=512 * _MIB,
            traffic=Traffic(
                read_share=0.65,
                write_run=4,
                gap_ticks=(1, 3),
                burst_requests=(16, 64),
                idle_ticks=(100, 500),
            ),
        ),
    ),
    "sparse-rw": ShippedWorkload(
        "reads and writes now and then, mostly idle",
        lambda: generators.local(
            _N,
            seed=7,
            sequential_share=0.4,
            footprint_bytes=_GIB,
            traffic=Traffic(read_share=0.6, gap_ticks=(20, 180)),
        ),
    ),
    "copy-rw": ShippedWorkload(
        "blocks of 4 KiB read and written elsewhere, with pauses",
        # Blocks are pages of most systems; work of the processor between them.
        lambda: generators.copy(
            _N,
            seed=8,
            block_requests=64,
            source_address=64 * _MIB,
            target_address=576 * _MIB,
            traffic=Traffic(burst_requests=(128, 128), idle_ticks=(400, 1200)),
        ),
    ),
    "multicore-rw": ShippedWorkload(
        "four cores: a stream, random, a copy and a bursty one", _multicore_rw
    ),
    "weight-stream": ShippedWorkload(
        "weights of a language model, 512 GB/s asked",
        # The weights of a layer, read once a token.
        lambda: generators.stream(
            640,
            traffic=Traffic(request_bytes=1024, gap_ticks=(16, 16), clock_mhz=_FAST_MHZ),
        ),
    ),
    "kv-cache-gather": ShippedWorkload(
        "blocks of 1 KiB anywhere in 512 MiB, a tenth written, 48 GB/s asked",
        # 1 KiB is four tokens of one head of 128 values in 16 bits; each token adds one.
        lambda: generators.random_access(
            640,
            seed=13,
            footprint_bytes=512 * _MIB,
            traffic=Traffic(
                read_share=0.9, request_bytes=1024, gap_ticks=(85, 256), clock_mhz=_FAST_MHZ
            ),
        ),
    ),
    "expert-load": ShippedWorkload(
        "weights of experts in runs at 256 GB/s, idle between them",
        # Experts of a mixture come as runs of blocks, then the computation of a layer.
        lambda: generators.local(
            1280,
            seed=14,
            sequential_share=0.97,
            footprint_bytes=512 * _MIB,
            traffic=Traffic(
                request_bytes=512,
                gap_ticks=(16, 16),
                burst_requests=(96, 160),
                idle_ticks=(2000, 6000),
                clock_mhz=_FAST_MHZ,
            ),
        ),
    ),
    "expert-misses": ShippedWorkload(
        "experts that a cache of the MoE simulator loads, layer by layer", _expert_misses
    ),
    "gups": ShippedWorkload("random 64 bytes read and written back, 64 GB/s asked", _gups),
    **{name: ShippedWorkload(doc, partial(recorded_trace, name)) for name, doc in RECORDED.items()},
}


@cache
def shipped_trace(name: str) -> Trace:
    """Return the trace of a shipped workload.

    Raises:
      UnknownNameError: There is none of this name.
    """
    if name not in SHIPPED:
        raise unknown_name("workload", name, SHIPPED)
    return replace(SHIPPED[name].make(), name=name)


def load_trace(name: str | Path) -> Trace:
    """Return the trace of a shipped workload, or the one in the file at this path.

    Raises:
      UnknownNameError: Neither.
      FileFormatError: The file cannot be read.
    """
    text = str(name)
    if text in SHIPPED:
        return shipped_trace(text)
    looks_like_file = text.endswith((".stl", ".rstl", ".gz", ".npz")) or Path(text).exists()
    if isinstance(name, Path) or looks_like_file:
        return read_trace(name)
    raise unknown_name("workload", text, SHIPPED)


def note_placement(trace: Trace, capacity_bytes: int, device: str) -> None:
    """Warn once if a trace's pages were placed in a memory of another size than a device's.

    Args:
      trace: The trace.
      capacity_bytes: Capacity of the device, for its default design where designs decide it.
      device: Its name.
    """
    if trace.placed_bytes and trace.placed_bytes != capacity_bytes:
        _note_placement(trace.name, trace.placed_bytes, capacity_bytes, device)


@cache
def _note_placement(trace: str, placed_bytes: int, capacity_bytes: int, device: str) -> None:
    ratio = capacity_bytes / placed_bytes
    effect = (
        f"it uses 1/{ratio:.3g} of the addresses, which crowds mappings that begin with channel, "
        "rank or bank"
        if ratio > 1
        else f"its pages lie as far apart as in a memory {1 / ratio:.3g} times as large"
    )
    _log.warning(
        "The pages of trace %r were placed in %.4g GiB; device %r has %.4g GiB, so %s. Place them "
        "again with `archgym trace filter --device %s`.",
        trace, placed_bytes / 2**30, device, capacity_bytes / 2**30, effect, device,
    )  # fmt: skip
