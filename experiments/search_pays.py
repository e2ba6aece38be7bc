"""Compares a search with a sweep of one parameter at a time, on tasks whose optimum is proven.

    python experiments/search_pays.py [--seeds N] [TASK ...]

Prints the table of experiments/search-pays.md. The sweep is what many architects do: from the
default design it tries each value of one parameter, the others held, and keeps the best before the
next parameter. The search, `auto`, gets as many evaluations as the sweep made.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from archgym.agent.agent import agent_class
from archgym.bench import BenchTask, bench_task, bench_tasks
from archgym.studies.study import Study
from archgym.tasks.task import Task

MOST = 200
"""Evaluations of the sweep."""


def worse(optimum: float, reward: float) -> float:
    """Return how much worse than the optimum a design is [%]; 100 from twice as bad on."""
    return 100.0 * min(np.expm1(min(optimum - reward, 1.0)), 1.0)


def sweep(task: Task) -> tuple[float, int]:
    """Return the best reward of a sweep of one parameter at a time, and its evaluations."""
    space, best = task.space, task.space.default_indices.copy()
    reward, n = float(task.evaluate(best[None, :]).reward[0]), 1
    for column in range(space.n_parameters):
        tried = np.repeat(best[None, :], space.sizes[column], axis=0)
        tried[:, column] = np.arange(space.sizes[column])
        tried = tried[space.feasible(tried) & (tried[:, column] != best[column])][: MOST - n]
        if not len(tried):
            continue
        rewards = task.evaluate(tried).reward
        n += len(tried)
        if rewards.max() > reward:
            best, reward = tried[rewards.argmax()], float(rewards.max())
    return reward, n


def searched(task: Task, budget: int, seed: int) -> float:
    """Return the best reward of `auto` after some evaluations, as `ag.search` sets it up."""
    suited = agent_class("auto").suited(task, 1)
    with TemporaryDirectory() as folder:
        study = Study.create(
            Path(folder) / "s", task, "auto", seed=seed, budget=budget, hyperparameters=suited
        )
        return float(study.run().log.records.reward.max())


def compared(bench: BenchTask, seeds: int) -> list[float]:
    """Return distances to the optimum [%]: default, sweep, search; and evaluations of the sweep."""
    assert bench.best is not None
    task, optimum = bench.plan.make(), bench.best.reward
    default = float(task.evaluate(task.space.default_indices[None, :]).reward[0])
    swept, n = sweep(task)
    found = [worse(optimum, searched(task, n, seed)) for seed in range(seeds)]
    return [worse(optimum, default), worse(optimum, swept), float(np.mean(found)), n]


def main() -> None:
    """Print a row for each task, and the means."""
    parser = argparse.ArgumentParser(description="What a search gains over a sweep.")
    parser.add_argument("tasks", nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    tasks = [bench_task(label) for label in given.tasks] or bench_tasks("regret")
    print("| task | designs | evaluations | default | sweep | search |")
    print("|---|---:|---:|---:|---:|---:|")
    rows = []
    for bench in tasks:
        *distances, n = compared(bench, given.seeds)
        rows.append(distances)
        designs = bench.hardness.origin.split()[2] if bench.hardness else "?"
        cells = " | ".join(f"{each:.1f} %" for each in distances)
        print(f"| {bench.label} | {int(designs):,} | {n:.0f} | {cells} |", flush=True)
    means = " | ".join(f"{each:.1f} %" for each in np.mean(rows, axis=0))
    print(f"| mean | | | {means} |")
    better = np.array(rows)
    won, lost = (better[:, 2] < better[:, 1]).sum(), (better[:, 2] > better[:, 1]).sum()
    print(f"\nThe search is nearer to the optimum on {won} tasks, the sweep on {lost}.")


if __name__ == "__main__":
    main()
