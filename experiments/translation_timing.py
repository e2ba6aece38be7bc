"""Error of the translation simulator's timing against the CPU simulator on the same programs.

Run it as `python experiments/translation_timing.py [INSTRUCTIONS]`. Both simulate the same
generated programs on hardware of equal sizes and latencies, without huge pages; the CPU simulator
predicts all branches, since the other has none. For each program and L2 TLB, the table has the
cycles of both and the speedup over the L2 TLB of 1,536 entries at 12 cycles. `parallel misses` are
those of the shipped table, or fitted to the cycles of the default L2 TLB alone.
"""

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from archgym.simulators.cpu.kernel.run import COUNTERS as CPU_COUNTERS
from archgym.simulators.cpu.kernel.run import Ideal
from archgym.simulators.cpu.kernel.run import run as run_cpu
from archgym.simulators.cpu.machine import machine
from archgym.simulators.cpu.workloads.programs import trace_of
from archgym.simulators.translation.kernel.counters import COLUMN
from archgym.simulators.translation.kernel.prepared import prepare
from archgym.simulators.translation.kernel.run import Prepared, run
from archgym.simulators.translation.kernel.state import MAX_CHAINS
from archgym.simulators.translation.layout import Memory
from archgym.simulators.translation.machine import CORES, Hardware, on_core
from archgym.simulators.translation.metrics import count_cycles
from archgym.traces.instructions.generators import generate
from archgym.traces.memory_trace import COLUMNS, AccessKind, MemoryTrace

PROGRAMS = (
    "hash-join", "graph-search", "pointer-chase", "b-tree", "sparse-matrix", "sort",
    "interpreter", "k-mer-count", "decompress", "stencil",
)  # fmt: skip
# Parallel misses of workloads of the same kind that ship (`workloads.py`).
SHIPPED = {"hash-join": 8, "graph-search": 3, "k-mer-count": 6, "pointer-chase": 1}
USUAL = 2
# Entries of the L2 TLB and its latency; the first is the baseline.
L2_TLBS = ((1536, 12), (384, 12), (768, 12), (6144, 12), (1536, 39), (6144, 39))
CODE_BYTES = 64
# ChampSim's records have no sizes.
SIZE_BYTES = 8


def main() -> None:
    """Print the table."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    warmup = 3 * n // 8
    print(f"{'program':15}{'L2 TLB':>12}{'CPU':>11}" + "".join(f"{name:>22}" for name in MODELS))
    errors: dict[str, list[list[float]]] = {name: [[], []] for name in MODELS}
    for program in PROGRAMS:
        records = generate(program, n + 4096)
        runs = [cpu_run(records, program, warmup, n - warmup, *tlb) for tlb in L2_TLBS]
        theirs, walks = [run[0] for run in runs], [run[1] for run in runs]
        trace = memory_trace_of(records[:n], program, code_bytes=CODE_BYTES)
        ready = prepare(trace, Memory(huge_share=0.0))
        retired = np.cumsum(trace.instructions, dtype=np.int64)
        share = float(np.searchsorted(retired, warmup)) / len(trace)
        extra = missing_walk_cycles(ready, share, walks)
        fitted = fit(ready, share, theirs[0], extra[0])
        ours = {name: cycles(ready, share, name, program, fitted, extra) for name in MODELS}
        for row, tlb in enumerate(L2_TLBS):
            text = f"{program if row == 0 else '':15}{tlb[0]:>8} {tlb[1]:>2}c{theirs[row]:>11}"
            for name in MODELS:
                off = ours[name][row] / theirs[row] - 1.0
                gain = (ours[name][0] / ours[name][row]) / (theirs[0] / theirs[row]) - 1.0
                errors[name][0].append(abs(off))
                if row:
                    errors[name][1].append(abs(gain))
                text += f"{100 * off:>+11.1f} %{100 * gain:>+7.1f} %"
            print(text + (f"   {fitted} fitted" if row == 0 else ""))
    for name, (of_cycles, of_gains) in errors.items():
        print(
            f"{name}: cycles off by {100 * np.median(of_cycles):.1f} % (median), "
            f"{100 * np.percentile(of_cycles, 90):.1f} % (90th percentile); speedups by "
            f"{100 * np.median(of_gains):.2f} %, {100 * np.percentile(of_gains, 90):.2f} %, "
            f"{100 * np.max(of_gains):.2f} % (largest)"
        )


def memory_trace_of(
    records: npt.NDArray[np.void], name: str = "", *, code_bytes: int = 4096
) -> MemoryTrace:
    """Return the accesses of instructions: fetches, then reads, then writes of each.

    Args:
      records: (n,) of `RECORD`.
      name: Name of the trace.
      code_bytes: A fetch is recorded when execution comes to another block of this many bytes, a
        power of two: 4096 for pages, 64 for lines.
    """
    n = len(records)
    bits = np.uint64(code_bytes.bit_length() - 1)
    block = records["ip"] >> bits
    is_new = np.ones(n, dtype=bool)
    is_new[1:] = block[1:] != block[:-1]
    # (n, 7): the fetch, four reads and two writes of each instruction.
    address = np.concatenate(
        [records["ip"][:, None], records["reads"], records["writes"]], axis=1
    ).astype(np.uint64)
    present = address != 0
    present[:, 0] = is_new
    kind = np.array([AccessKind.FETCH, *[AccessKind.LOAD] * 4, *[AccessKind.STORE] * 2], np.uint8)
    owner, column = np.nonzero(present)
    retired = np.diff(owner + 1, prepend=0)
    columns: dict[str, Any] = {
        "instructions": retired,
        "kind": kind[column],
        "size_bytes": np.full(len(owner), SIZE_BYTES),
        "address": address[owner, column],
    }
    return MemoryTrace(**{c: columns[c].astype(t) for c, t in COLUMNS.items()}, name=name)


def cpu_run(
    records: np.ndarray, name: str, warmup: int, length: int, entries: int, latency: int
) -> tuple[int, float]:
    """Return the cycles and the mean time of a walk of the CPU simulator with an L2 TLB."""
    changes = {
        "STLB.sets": entries // 12,
        "STLB.hit_latency": latency // 2,
        "STLB.fill_latency": latency - latency // 2,
        "VMEM.fault_penalty": 0,
        # As the translation simulator has them: 16, 35 and memory of 37-37-37 cycles.
        "L2C.hit_latency": 8,
        "L2C.fill_latency": 8,
        "LLC.hit_latency": 18,
        "LLC.fill_latency": 17,
        "DRAM.channels": 4,
        "DRAM.tCAS": 15,
        "DRAM.tRCD": 15,
        "DRAM.tRP": 15,
        "DRAM.tRAS": 33,
    }
    counters = run_cpu(
        machine(changes), trace_of(name, records), warmup, length, Ideal(branches=True)
    )
    assert counters is not None
    found = dict(zip(CPU_COUNTERS, counters.tolist(), strict=True))
    walk = found["STLB_miss_latency"] / max(1, found["STLB_load_miss"])
    return found["cycles"], walk


def missing_walk_cycles(ready: Prepared, share: float, walks: list[float]) -> list[int]:
    """Return the cycles that our walks lack, by L2 TLB.

    ChampSim's walk ends in a table of its own for each page, whose read mostly goes to memory
    (its specification, section 12), so that its walks take longer than those of a real table. Only
    the timing is compared here: our walks are given the same mean latency.
    """
    designs = [hardware("before", *tlb, 1) for tlb in L2_TLBS]
    counters = run(ready, designs, share)
    return [
        max(0, round(walk - row[COLUMN["walk_cycles"]] / max(1, row[COLUMN["walks"]])))
        for walk, row in zip(walks, counters, strict=True)
    ]


def hardware(model: str, entries: int, latency: int, mlp: float, extra: int = 0) -> Hardware:
    """Return the same hardware for the translation simulator."""
    core = CORES["additive" if model == "before" else "out-of-order"]
    if core.reorder_entries:
        core = replace(core, reorder_entries=352)
    made = Hardware(
        l2_entries=entries,
        l2_ways=12,
        l2_cycles=latency,
        l1_fetch_entries=64,
        l1_fetch_ways=4,
        l1_cache_kib=48,
        l1_cache_ways=12,
        l2_cache_kib=512,
        l2_cache_ways=8,
        l2_cache_policy="lru",
        l3_cache_kib=2048,
        memory="flat" if model == "before" else "rows",
        memory_overhead_cycles=0,
        memory_cycles=118,
        walk_cache_cycles=3 + extra,
        # ChampSim's walker takes as many walks as the L1 cache has room for.
        walkers=16,
        mlp=mlp,
    )
    return on_core(made, core)


MODELS = ("before", "after", "after, fitted")


def cycles(
    ready: Prepared, share: float, model: str, program: str, fitted: int, extra: list[int]
) -> list[float]:
    """Return the cycles of each L2 TLB."""
    mlp = fitted if model.endswith("fitted") else SHIPPED.get(program, USUAL)
    designs = [hardware(model, *tlb, mlp, e) for tlb, e in zip(L2_TLBS, extra, strict=True)]
    core = CORES["additive" if model == "before" else "out-of-order"]
    counters = run(ready, designs, share)
    return [count_cycles(d, c, core).total for d, c in zip(designs, counters, strict=True)]


def fit(ready: Prepared, share: float, cycles: int, extra: int) -> int:
    """Return the parallel misses with which the default L2 TLB takes nearly these cycles."""
    designs = [hardware("after", *L2_TLBS[0], mlp, extra) for mlp in range(1, MAX_CHAINS + 1)]
    found = [
        count_cycles(d, c, CORES["out-of-order"]).total
        for d, c in zip(designs, run(ready, designs, share), strict=True)
    ]
    return 1 + int(np.argmin(np.abs(np.log(np.array(found) / cycles))))


if __name__ == "__main__":
    main()
