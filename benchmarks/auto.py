"""Measure the time that `auto` takes for itself, without that of the simulator.

    python benchmarks/auto.py                  # one row for each task and number of threads
    python benchmarks/auto.py profile TASK N   # the functions that take most of it

Each row is a process of its own, whose BLAS library may take 1 or 2 threads, or what a default
installation takes, where no variable limits it. Times are processor time, so that a busy machine
changes them little. Seed 0.
"""

import cProfile
import os
import pstats
import resource
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np

from archgym.agent.agent import agent_class, make_agent
from archgym.bench import bench_task
from archgym.errors import BudgetExhausted
from archgym.evaluation.trials import Trials

# Tasks of the development split with 34, 30 and 175 parameters, and their evaluations.
ROWS = (
    ("soc-small-edp", 200),
    ("translation-graph-area", 200),
    ("soc-ar-complex-latency", 200),
    ("soc-ar-complex-latency", 1000),
)
THREADS = ("1", "2", "all")
LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def own_seconds(label: str, budget: int) -> tuple[float, float]:
    """Return processor time and wall time of the agent [s]."""
    task = bench_task(label).plan.make()
    agent = make_agent(agent_class("auto"), task.space, 0, {})
    spent = [0.0, 0.0]
    done = 0

    def evaluate(designs: np.ndarray) -> Trials:
        nonlocal done
        before = time.process_time(), time.perf_counter()
        trials = task.trials(designs, task.evaluate(designs), np.zeros(len(designs), dtype=bool))
        spent[0] += time.process_time() - before[0]
        spent[1] += time.perf_counter() - before[1]
        done += len(designs)
        if done >= budget:
            raise BudgetExhausted("The budget is used up.")
        return trials

    started = time.process_time(), time.perf_counter()
    with suppress(BudgetExhausted):
        agent.search(evaluate, task)
    return (
        time.process_time() - started[0] - spent[0],
        time.perf_counter() - started[1] - spent[1],
    )


def row(label: str, budget: int) -> None:
    """Print one row, after a few evaluations that load libraries and kernels."""
    own_seconds(label, 12)
    cpu, wall = own_seconds(label, budget)
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    parameters = bench_task(label).plan.make().space.n_parameters
    print(
        f"| {label} | {parameters} | {budget} | {os.environ.get('OMP_NUM_THREADS', 'all')} "
        f"| {1e3 * cpu / budget:.1f} | {1e3 * wall / budget:.1f} | {mib:.0f} |",
        flush=True,
    )


def main() -> None:
    """Print the table, or do what the arguments say."""
    if sys.argv[1:2] == ["row"]:
        row(sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1:2] == ["profile"]:
        own_seconds(sys.argv[2], 12)
        profile = cProfile.Profile()
        profile.runcall(own_seconds, sys.argv[2], int(sys.argv[3]))
        pstats.Stats(profile).sort_stats("tottime").print_stats(20)
    else:
        print("| task | parameters | evaluations | threads | CPU ms each | wall ms each | MiB |")
        print("|---|---|---|---|---|---|---|")
        for label, budget in ROWS:
            for threads in THREADS:
                environment = {k: v for k, v in os.environ.items() if k not in LIMITS}
                environment |= {k: threads for k in LIMITS if threads != "all"}
                command = [sys.executable, __file__, "row", label, str(budget)]
                subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main()
