"""Speed of the CPU simulator on ChampSim's own rows, against the CPU time that ChampSim takes.

Usage: ``ARCHGYM_REFERENCE=FOLDER python -m benchmarks.cpu [FILE ...] [--champsim BINARY]``.

Without names, the default and the long rows run. Prints for each file ChampSim's CPU seconds, ours
and their ratio, then instructions per second by trace. ChampSim's seconds are those recorded in the
rows (quoted); with `--champsim`, a binary of the default design runs each row of that design right
before ours, and its own time and cycles are compared.

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

from archgym.simulators.cpu.kernel.run import COUNTERS, run
from archgym.simulators.cpu.machine import DEFAULTS, machine
from archgym.simulators.cpu.workloads import InstructionTrace
from evidence.cpu.reference import Run, _trace, reference_rows

_FINISHED = re.compile(r"Simulation finished CPU 0 instructions: (\d+) cycles: (\d+)")
_CYCLES = COUNTERS.index("cycles")


def main() -> None:
    """Time the rows of each file and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", default=["default", "long"], metavar="FILE")
    parser.add_argument("--champsim", type=Path, help="ChampSim, built for the default design")
    arguments = parser.parse_args()
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
        start = time.process_time()
        counters = run(design, trace, row.warmup, row.length)
        best = min(best, time.process_time() - start)
        cycles = 0 if counters is None else int(counters[_CYCLES])
    return best, cycles


if __name__ == "__main__":
    main()
