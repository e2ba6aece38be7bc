"""Share of a search by an agent that is simulation, by simulator.

Usage: ``python -m benchmarks.search [SIMULATOR ...] [--budget 10000] [--batch 8] [--agent auto]
[--workers 2] [--profile]``. By default `genetic` searches; other agents choose their batches. The
slowest simulators make 1,000 evaluations by default, so that all end within five minutes.

Times are of the processor, so that other programs matter little. Simulation is the time inside
`Simulator.simulate`; the rest is proposals, checks, rewards and the journal. The digest of the
journal shows if two versions of the code record the same.
"""

import argparse
import cProfile
import hashlib
import pstats
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import archgym as ag
from archgym.evaluation.simulator import BatchResult, Workload
from archgym.tasks.task import Task

SIMULATORS = ("dram", "soc", "cluster", "translation", "kv", "cpu", "moe", "accelerator")
SLOW = SIMULATORS[2:]


def time_search(given: argparse.Namespace, name: str, budget: int) -> None:
    """Run a search and print its times by evaluation."""
    task = Task.make(name)
    kind = type(task.simulator)
    simulate, spent = kind.simulate, [0.0]

    def timed(self: ag.Simulator, indices: np.ndarray, workload: Workload) -> BatchResult:
        start = time.thread_time()
        result = simulate(self, indices, workload)
        spent[0] += time.thread_time() - start
        return result

    chosen: dict[str, Any] = {"agent": given.agent, "workers": given.workers}
    if given.agent == "genetic":
        chosen["hyperparameters"] = {"batch_size": given.batch}
    with tempfile.TemporaryDirectory() as folder, patch.object(kind, "simulate", timed):
        ag.search(task, budget=16, seed=1, folder=f"{folder}/first", **chosen)
        spent[0] = 0.0
        profile = cProfile.Profile()
        start, began = time.process_time(), time.perf_counter()
        if given.profile:
            profile.enable()
        result = ag.search(task, budget=budget, folder=f"{folder}/timed", **chosen)
        profile.disable()
        whole, wall = time.process_time() - start, time.perf_counter() - began
        journal = hashlib.sha256(Path(f"{folder}/timed/journal.jsonl").read_bytes()).hexdigest()
    n = result.evaluations
    print(
        f"{name}: {n:,} evaluations, {100 * spent[0] / whole:.0f} % simulation; "
        f"{1e6 * spent[0] / n:.0f} us simulation and {1e6 * (whole - spent[0]) / n:.0f} us rest an "
        f"evaluation; {wall:.2f} s of wall time; journal {journal[:12]}",
        flush=True,
    )
    if given.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)


def main() -> None:
    """Time the search of each simulator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("simulators", nargs="*", default=SIMULATORS, metavar="SIMULATOR")
    parser.add_argument("--budget", type=int, help="by default 10,000, or 1,000 of slow ones")
    parser.add_argument("--batch", type=int, default=8, help="designs at a time of genetic")
    parser.add_argument("--agent", default="genetic")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--profile", action="store_true", help="print the costliest functions")
    given = parser.parse_args()
    for name in given.simulators:
        budget = given.budget or (1_000 if name in SLOW else 10_000)
        time_search(given, name, budget)


if __name__ == "__main__":
    main()
