"""Speed of the CPU simulator on ChampSim's own rows, against the CPU time that ChampSim takes.

Usage: ``ARCHGYM_REFERENCE=FOLDER python -m benchmarks.cpu [FILE ...] [--champsim BINARY]``.

Without names, the default and the long rows run. Prints for each file ChampSim's CPU seconds, ours
and their ratio, then instructions per second by trace. ChampSim's seconds are those recorded in the
rows (quoted); with `--champsim`, a binary of the default design runs each row of that design right
before ours, and its own time and cycles are compared.

With `--shared`, batches of designs that differ in registers, or in the memory under fidelity
`dram`, run with warm-ups of their own and with shared ones.

Such a binary comes from ChampSim's commit 2ff2501 and the configuration of
``archgym export``: ``./config.sh champsim_config.json && make``.
"""

import argparse
import math
import os
import re
import resource
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from archgym.simulators.cpu import CpuSimulator
from archgym.simulators.cpu.kernel.run import COUNTERS, run
from archgym.simulators.cpu.kernel.warmup import WARM_UPS
from archgym.simulators.cpu.machine import DEFAULTS, machine
from archgym.simulators.cpu.workloads.programs import InstructionTrace
from evidence.cpu.reference import Run, _trace, reference_rows

_FINISHED = re.compile(r"Simulation finished CPU 0 instructions: (\d+) cycles: (\d+)")
_CYCLES = COUNTERS.index("cycles")


def main() -> None:
    """Time the rows of each file and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", default=["default", "long"], metavar="FILE")
    parser.add_argument("--champsim", type=Path, help="ChampSim, built for the default design")
    parser.add_argument("--shared", action="store_true", help="time shared warm-ups alone")
    arguments = parser.parse_args()
    if arguments.shared:
        time_shared()
        return
    folder = Path(os.environ["ARCHGYM_REFERENCE"]) / "cpu"
    for name in arguments.files:
        seconds: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
        n_equal = 0
        for row in reference_rows(folder / "results" / f"{name}.csv"):
            design = machine(row.design)
            if arguments.champsim and design != DEFAULTS:
                continue
            trace = _trace(folder, row.trace)
            theirs = row.seconds
            if arguments.champsim:
                file = folder / "traces" / f"{row.trace}.champsimtrace.xz"
                theirs, cycles = time_champsim(arguments.champsim, row, file)
            ours, our_cycles = time_ours(design, trace, row)
            if arguments.champsim:
                # A warm-up of no instructions takes ChampSim a cycle, which it leaves out.
                n_equal += our_cycles - cycles in ((0,) if row.warmup else (0, 1))
            seconds[row.trace].append((theirs, ours, row.warmup + row.length))
        rows = [row for of_trace in seconds.values() for row in of_trace]
        if not rows:
            print(f"{name}: no rows of the default design")
            continue
        a, b, n = (sum(column) for column in zip(*rows, strict=True))
        print(
            f"{name}: {len(rows)} rows, ChampSim {a:.2f} s, ours {b:.3f} s, "
            f"{a / b:.1f} times, {n / b / 1e6:.2f} million instructions/s"
        )
        if arguments.champsim:
            print(f"  cycles equal ChampSim's in {n_equal} of {len(rows)} rows")
        for trace_name, of_trace in sorted(seconds.items()):
            a, b, n = (sum(column) for column in zip(*of_trace, strict=True))
            print(
                f"  {trace_name:10} {a / b:6.1f} times, {n / b / 1e6:6.2f} million instructions/s"
            )


def time_champsim(binary: Path, row: Run, trace: Path) -> tuple[float, int]:
    """Return ChampSim's CPU seconds on a row, its decompression of the trace included, and cycles.

    Args:
      binary: ChampSim.
      row: The row.
      trace: Its file.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [
            str(binary), "--hide-heartbeat", "--warmup-instructions", str(row.warmup),
            "--simulation-instructions", str(row.length), str(trace),
        ],
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = _FINISHED.search(done.stdout)
    if found is None:
        raise SystemExit(f"{binary} printed no result for {trace.name}.")
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, int(found[2])


_is_warm = False


def time_ours(design: dict[str, int], trace: InstructionTrace, row: Run) -> tuple[float, int]:
    """Return our CPU seconds on a row, the best of three, and cycles.

    Args:
      design: Every parameter.
      trace: The trace, in memory.
      row: The row.
    """
    global _is_warm
    if not _is_warm:
        run(design, trace, row.warmup, row.length)
        _is_warm = True
    best = math.inf
    cycles = 0
    for _ in range(3):
        WARM_UPS.clear()
        start = time.process_time()
        counters = run(design, trace, row.warmup, row.length)
        best = min(best, time.process_time() - start)
        cycles = 0 if counters is None else int(counters[_CYCLES])
    return best, cycles


def time_shared(n: int = 16) -> None:
    """Print CPU milliseconds a design, with and without shared warm-ups, on three programs."""
    print("fidelity   program          alone [ms]   shared [ms]   ratio   equal")
    for fidelity, free in (("standard", ("registers",)), ("dram", ("registers", "dram_data_rate"))):
        simulator = CpuSimulator(fidelity=fidelity)
        space, rng = simulator.space, np.random.default_rng(0)
        designs = np.repeat(space.default_indices[None, :], n, axis=0)
        for name in free:
            column = space.names.index(name)
            designs[:, column] = rng.integers(space.sizes[column], size=n)
        for program in ("b-tree", "sparse-matrix", "stencil"):
            workload = simulator.workload(program)
            simulator.evaluate_batch(designs[:1], workload)
            times, values = [], []
            for batches in (np.array_split(designs, n), [designs]) * 2:
                WARM_UPS.clear()
                spent, rows = 0.0, []
                for batch in batches:
                    if len(batches) > 1:
                        WARM_UPS.clear()
                    start = time.process_time()
                    rows.append(simulator.evaluate_batch(batch, workload).values)
                    spent += time.process_time() - start
                times.append(1e3 * spent / n)
                values.append(np.concatenate(rows))
            alone, shared = min(times[::2]), min(times[1::2])
            is_equal = all(np.array_equal(values[0], other) for other in values)
            print(
                f"{fidelity:<11}{program:<17}{alone:8.1f}{shared:14.1f}{alone / shared:10.2f}"
                f"   {is_equal}"
            )


if __name__ == "__main__":
    main()
