"""Time and memory of a report over a million logged evaluations, and the size of its page.

Ten studies of 100,000 evaluations on the default DRAM space with made-up results: what is measured
is reading, judging and writing, which do not depend on what the numbers are.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from archgym.studies.journal import encode
from archgym.studies.metadata import JOURNAL_NAME, new_header
from archgym.studies.records import Records
from archgym.tasks.task import Task

_PIECE = 50_000


def write_study(folder: Path, task: Task, seed: int, n: int) -> None:
    """Write a finished study with drawn results."""
    folder.mkdir(parents=True)
    agent = "random" if seed % 2 else "genetic"
    header = new_header("search", folder, task.to_json(), agent=agent, seed=seed, budget=n)
    header.write(folder)
    shape = header.shape(task.space)
    rng = np.random.default_rng(seed)
    with (folder / JOURNAL_NAME).open("wb") as handle:
        for start in range(0, n, _PIECE):
            rows = min(_PIECE, n - start)
            values = task.reference[None] * rng.lognormal(0.0, 0.3, (rows, *task.reference.shape))
            reason = np.zeros((rows, len(task.workloads)), dtype=np.int16)
            records = replace(
                Records.empty(shape, rows),
                seq=np.arange(start, start + rows),
                indices=task.space.sample(rows, rng),
                values=values,
                reason=reason,
                reward=task.rewards(values, reason),
            )
            handle.write(encode(records, shape.key))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=1_000_000)
    parser.add_argument("--studies", type=int, default=10)
    given = parser.parse_args()
    task = Task.make("dram", objective="balanced")
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch, f"study-{seed}") for seed in range(given.studies)]
        for seed, folder in enumerate(folders):
            write_study(folder, task, seed, given.evaluations // given.studies)
        page = Path(scratch, "report.html")
        began = time.perf_counter()
        command = [sys.executable, "-m", "archgym", "report", *map(str, folders), "-o", str(page)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"report over {given.evaluations:,} evaluations: {seconds:.1f} s, of the processor "
            f"{usage.ru_utime + usage.ru_stime:.1f} s, at most {usage.ru_maxrss / 2**20:.2f} GB, "
            f"page {page.stat().st_size / 1e6:.2f} MB"
        )


if __name__ == "__main__":
    main()
