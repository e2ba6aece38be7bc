"""Speed of the translation simulator's kernel: accesses/s by trace, on one thread and on two.

Run it as `python benchmarks/translation.py [--reference FOLDER]`. The folder holds
`traces/*.npz`; by default it is `translation` in the folder that `ARCHGYM_REFERENCE` names, and
without that the traces are random. Times are CPU times of this process, the best of some runs; two
threads are measured by the clock on the wall, which says little on a machine that others use, and
by the CPU time that they take beside what one thread takes: 1 means that neither waits for the
other or slows it. Where pycachesim is installed, it counts the same
two levels of TLBs on the same pages.
"""

import argparse
import importlib.util
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from archgym.simulators.translation.kernel.counters import COUNTERS
from archgym.simulators.translation.kernel.prepared import Prepared, prepare
from archgym.simulators.translation.kernel.run import run
from archgym.simulators.translation.layout import Memory
from archgym.simulators.translation.machine import Hardware
from archgym.traces import AccessKind, MemoryTrace
from evidence.translation.planes import read_planes

# SPEC of the simulator: the geometric means that must be reached, in millions of accesses/s.
TLB_TARGET, MISS_TARGET, HIT_TARGET = 20.0, 5.0, 15.0
MISS_HEAVY = ("gups", "kmer", "moe", "xs")
HIT_HEAVY = ("dlrm", "pydict", "sqlite")
DESIGN = Hardware()
VICTIMA = Hardware(mechanism="victima", l2_cache_policy="tlb_srrip")
RUNS = 3
# Of the stream of pages that pycachesim is given, which it takes a second or so for.
PEER_ACCESSES = 500_000
N_DESIGNS = 8


def main() -> None:
    """Print the time to compile, then the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path, help="folder with traces/*.npz")
    traces = load(parser.parse_args().reference)
    report_compilation(next(iter(traces.values())))
    has_peer = importlib.util.find_spec("cachesim") is not None
    print(
        f"{'trace':10}{'accesses':>10}{'prepare s':>10}{'TLBs M/s':>10}{'full M/s':>10}"
        f"{'Victima':>10}{'virtual':>10}{'x pycachesim':>14}{'2 threads':>11}{'at CPU':>8}"
    )
    rates: dict[str, tuple[float, float]] = {}
    ratios = []
    for name, trace in traces.items():
        *of_name, ratio = report(name, trace, has_peer)
        rates[name] = (of_name[0], of_name[1])
        ratios += [ratio] if ratio else []
    summarise(rates)
    if ratios:
        print(f"x pycachesim, geometric mean: {mean(ratios):.0f}")
    elif not has_peer:
        print("pycachesim is not installed: `pip install pycachesim` adds the comparison.")


def load(folder: Path | None) -> dict[str, MemoryTrace]:
    """Return the traces of the folder, else random ones."""
    if folder is None and "ARCHGYM_REFERENCE" in os.environ:
        folder = Path(os.environ["ARCHGYM_REFERENCE"]) / "translation"
    if folder is not None:
        return {path.stem: read_planes(path) for path in sorted(folder.glob("traces/*.npz"))}
    rng = np.random.default_rng(1)
    made = {}
    for name, n_pages in (("uniform", 2**17), ("local", 2**9)):
        address = (rng.integers(0, n_pages * 512, 1_000_000) * 8).astype(np.uint64)
        n = len(address)
        made[name] = MemoryTrace(
            np.full(n, 4, np.uint32), np.zeros(n, np.uint8), np.full(n, 8, np.uint16), address
        )
    return made


def report_compilation(trace: MemoryTrace) -> None:
    """First call with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ARCHGYM_CACHE_DIR"] = folder
        ready = prepare(trace, Memory())
        start = time.process_time()
        run(ready, DESIGN)
        print(f"compiling: {time.process_time() - start:.1f} s CPU\n")


def report(name: str, trace: MemoryTrace, has_peer: bool) -> tuple[float, float, float]:
    """Measures one trace and prints its row: rates of TLBs and of the whole, ratio to the peer."""
    start = time.process_time()
    ready = prepare(trace, Memory())
    prepared_s = time.process_time() - start
    _, accesses, _ = ready.counted(0)
    millions = accesses / 1e6
    tlbs = millions / cpu_s(lambda: run(ready, DESIGN, 0.0, only_tlbs=True))
    full = millions / cpu_s(lambda: run(ready, DESIGN, 0.0))
    victima = millions / cpu_s(lambda: run(ready, VICTIMA, 0.0))
    virtual = millions / cpu_s(lambda: run(ready, replace(DESIGN, virtualised=True), 0.0))
    ratio = peer_ratio(trace) if has_peer else 0.0
    faster, dearer = scaling(ready)
    print(
        f"{name:10}{accesses:10,}{prepared_s:10.2f}{tlbs:10.1f}{full:10.1f}{victima:10.1f}"
        f"{virtual:10.1f}{(f'{ratio:.0f}' if ratio else '-'):>14}{faster:10.2f}x{dearer:7.2f}x",
        flush=True,
    )
    return tlbs, full, ratio


def summarise(rates: dict[str, tuple[float, float]]) -> None:
    """Print geometric means next to their targets."""
    tlbs = mean([of_name[0] for of_name in rates.values()])
    print(f"\nTLBs, geometric mean: {tlbs:.1f} M accesses/s (at least {TLB_TARGET:.0f})")
    for title, names, target in (
        ("miss-heavy", MISS_HEAVY, MISS_TARGET),
        ("hit-heavy", HIT_HEAVY, HIT_TARGET),
    ):
        full = [rates[name][1] for name in names if name in rates]
        if full:
            print(
                f"full, geometric mean of {title} {', '.join(names)}: {mean(full):.1f} "
                f"M accesses/s (at least {target:.0f})"
            )


def scaling(ready: Prepared) -> tuple[float, float]:
    """How two threads run a batch beside one: times faster by the wall, times the CPU time."""
    designs = [replace(DESIGN, l2_cycles=12 + place) for place in range(N_DESIGNS)]
    halves = (designs[: N_DESIGNS // 2], designs[N_DESIGNS // 2 :])

    def one() -> None:
        run(ready, designs)

    with ThreadPoolExecutor(2) as pool:

        def two() -> None:
            list(pool.map(lambda half: run(ready, half), halves))

        faster = min(wall_s(one) for _ in range(RUNS)) / min(wall_s(two) for _ in range(RUNS))
        return faster, cpu_s(two) / cpu_s(one)


def peer_ratio(trace: MemoryTrace) -> float:
    """How many times more accesses/s the TLBs take than pycachesim, which must count the same."""
    from cachesim import Cache, CacheSimulator, MainMemory  # type: ignore[import-not-found]

    data = np.flatnonzero(trace.kind != AccessKind.FETCH)[:PEER_ACCESSES]
    part = MemoryTrace(
        trace.instructions[data],
        trace.kind[data],
        np.ones(len(data), np.uint16),
        trace.address[data],
    )
    page = trace.address[data] >> np.uint64(12)
    memory = MainMemory()
    second = Cache("L2", 128, 12, 4096, "LRU")
    memory.load_to(second)
    memory.store_from(second)
    first = Cache("L1", 16, 4, 4096, "LRU", store_to=second, load_from=second)
    peer = CacheSimulator(first, memory)
    # It is given bytes of 4096: pages as addresses.
    addresses = (page << np.uint64(12)).tolist()
    start = time.process_time()
    for address in addresses:
        peer.load(address)
    theirs_s = time.process_time() - start
    ready = prepare(part, Memory(huge_share=0.0))
    ours_s = cpu_s(lambda: run(ready, DESIGN, 0.0, only_tlbs=True))
    ours = run(ready, DESIGN, 0.0, only_tlbs=True)[0]
    counted = tuple(int(ours[COUNTERS.index(name)]) for name in ("l1_misses", "l2_misses"))
    expected = (first.backend.MISS_count, second.backend.MISS_count)
    if counted != expected:
        raise SystemExit(f"pycachesim counts {expected} misses, the kernel {counted}.")
    return theirs_s / ours_s


def cpu_s(call: Callable[[], object]) -> float:
    """Least CPU time of some runs [s]."""
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def wall_s(call: Callable[[], object]) -> float:
    """Wall time of a call [s]."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def mean(values: Sequence[float]) -> float:
    """Return the geometric mean."""
    return math.exp(sum(math.log(value) for value in values) / len(values))


if __name__ == "__main__":
    main()
