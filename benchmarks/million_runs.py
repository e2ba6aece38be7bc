"""Times and memory of `sweep status`, `resume` and `report` on a finished sweep of a million runs.

Usage: ``python benchmarks/million_runs.py FOLDER [--runs 1000000]`` (Linux).
One run is real. The others have hard links to its journal and header, and a line in the sweep's
notes. An existing FOLDER is measured as it is.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path

from archgym.sweep.driver import run_sweep
from archgym.sweep.plan import AgentPlan, SweepPlan, TaskPlan
from archgym.sweep.reading import read_recorded_plan, write_recorded_plan

# A file of ext4 has at most 65,000 names.
LINKS = 50_000


def make(folder: Path, n_runs: int) -> None:
    """Write a sweep of one task, one agent and `n_runs` seeds."""
    tasks = (TaskPlan("soc", simulator="soc", space="table"),)
    run_sweep(SweepPlan(tasks, (AgentPlan("random", "random"),), (0,), 10), folder)
    plan = read_recorded_plan(folder)
    (first,) = (folder / run.id for run in plan.runs())
    write_recorded_plan(folder, replace(plan, seeds=tuple(range(n_runs))))
    notes = folder / "finished.jsonl"
    source = first
    line = notes.read_bytes().strip().rpartition(b" ")[0]
    with notes.open("ab") as handle:
        for seed in range(1, n_runs):
            copy = first.with_name(f"seed-{seed}")
            copy.mkdir()
            for name in ("study.json", "journal.jsonl"):
                if seed % LINKS:
                    os.link(source / name, copy / name)
                else:
                    shutil.copy2(first / name, copy / name)
            if not seed % LINKS:
                source = copy
            text = line.replace(b"seed-0", b"seed-%d" % seed)
            handle.write(b"%b %08x\n" % (text, zlib.crc32(text)))


def main() -> None:
    """Make the sweep where it is missing, run the commands, and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=1_000_000)
    given = parser.parse_args()
    if not given.folder.exists():
        make(given.folder, given.runs)
    for command in ("status", "resume", "report"):
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "archgym", "sweep", command, str(given.folder)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        lines = [line for line in process.stdout.read().splitlines() if line.strip()]
        _, status, used = os.wait4(process.pid, 0)
        print(
            f"sweep {command}: {used.ru_utime + used.ru_stime:.1f} s of processor time, "
            f"{time.monotonic() - began:.1f} s, {used.ru_maxrss / 1e6:.2f} GB, "
            f"exit {os.waitstatus_to_exitcode(status)}; {lines[0] if lines else 'no output'}"
        )


if __name__ == "__main__":
    main()
