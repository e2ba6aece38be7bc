"""Measures how fast the training-cluster simulator is, against ASTRA-sim 2.

Run `python -m benchmarks.cluster --reference FOLDER`. Times are of the processor, and leave
compiling out; those of ASTRA-sim 2 are recorded.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evidence.cluster.astrasim import models_of
from evidence.cluster.reading import (
    is_symmetric,
    observed,
    parallelism_of,
    shortcut_of,
    system_of,
)
from evidence.recorded import read_rows


def _seconds(work: Callable[[], Any]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def speed(reference: Path) -> None:
    """Print processor seconds of all rows, ASTRA-sim's and ours."""
    folder = reference / "cluster" if (reference / "cluster").is_dir() else reference
    models = models_of(folder)
    print("Processor time; `part` is the rows that one NPU a stage simulates exactly.")
    print("rows                ASTRA-sim     all NPUs   faster   part: ASTRA-sim   one a stage")
    for name in ("collectives", "graphs", "training", "cosmic"):
        rows = read_rows(folder / "results" / f"{name}.csv")
        observed(rows[0], models)
        theirs = sum(float(row.cells["tool_seconds"]) for row in rows)
        ours = sum(_seconds(lambda row=row: observed(row, models)) for row in rows)
        short_theirs = short_ours = 0.0
        best = 0.0
        for row in rows:
            if "workload" in row.cells and not is_symmetric(
                system_of(row.cells), parallelism_of(row.cells)
            ):
                continue
            if row.cells["backend"] != "unaware" or name == "graphs" or row.cells.get("group"):
                continue
            system = system_of(row.cells)
            if system.uses_trees or system.queues > 1 or system.inter != "Ascending":
                continue
            work = shortcut_of(row, models)
            took = min(_seconds(work) for _ in range(3))
            short_theirs += float(row.cells["tool_seconds"])
            short_ours += took
            best = max(best, float(row.cells["tool_seconds"]) / took)
        line = (
            f"{name:12} {len(rows):4} {theirs:9.2f} s {1e3 * ours:9.1f} ms {theirs / ours:6.1f} x"
        )
        if short_ours:
            line += f" {short_theirs:15.2f} s {1e3 * short_ours:10.2f} ms"
            line += f" {short_theirs / short_ours:7,.0f} x (best row {best:,.0f} x)"
        print(line, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path, required=True)
    speed(parser.parse_args().reference)
