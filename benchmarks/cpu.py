"""Speed of the CPU simulator on ChampSim's own rows, against the CPU time that ChampSim took.

Usage: ``ARCHGYM_REFERENCE=FOLDER python benchmarks/cpu.py [FILE ...]``.

Without names, the default and the long rows run. Prints for each file ChampSim's recorded CPU
seconds, ours and their ratio, then instructions per second by trace. ChampSim's seconds are quoted.
"""

import math
import os
import sys
import time
from collections import defaultdict
from pathlib import Path

from archgym.simulators.cpu.parameters import machine
from archgym.simulators.cpu.run import run
from archgym.simulators.cpu.validation.reference import _trace, reference_rows


def main() -> None:
    """Time the rows of each file and print the ratios."""
    folder = Path(os.environ["ARCHGYM_REFERENCE"]) / "cpu"
    for name in sys.argv[1:] or ["default", "long"]:
        seconds: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
        warm = False
        for row in reference_rows(folder / "results" / f"{name}.csv"):
            trace, design = _trace(folder, row.trace), machine(row.design)
            if not warm:
                run(design, trace, row.warmup, row.length)
                warm = True
            ours = math.inf
            for _ in range(3):
                start = time.process_time()
                run(design, trace, row.warmup, row.length)
                ours = min(ours, time.process_time() - start)
            seconds[row.trace].append((row.seconds, ours, row.warmup + row.length))
        rows = [row for of_trace in seconds.values() for row in of_trace]
        theirs, ours = sum(r[0] for r in rows), sum(r[1] for r in rows)
        n = sum(r[2] for r in rows)
        print(
            f"{name}: {len(rows)} rows, ChampSim {theirs:.2f} s, ours {ours:.3f} s, "
            f"{theirs / ours:.1f} times, {n / ours / 1e6:.2f} million instructions/s"
        )
        for trace_name, of_trace in sorted(seconds.items()):
            a, b = sum(r[0] for r in of_trace), sum(r[1] for r in of_trace)
            k = sum(r[2] for r in of_trace)
            print(
                f"  {trace_name:10} {a / b:6.1f} times, {k / b / 1e6:6.2f} million instructions/s"
            )


if __name__ == "__main__":
    main()
