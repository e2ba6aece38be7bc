"""Measures the hardness of tasks of the benchmark, as archgym/bench/data/tasks.yaml has it.

`python benchmarks/bench_hardness.py TASK... [--designs N] [--budget M] [--seeds S] [--agents A,B]`

Hardness is the mean number of evaluations that random search needs to come within 1 % of the best
known. A space that is small enough is enumerated, and the number is exact. Elsewhere N random
designs and S searches of M evaluations each by every agent find the best known. If
k of the N designs lie within 1 % of it, hardness is about N / k. Where k is below 10, or the best
known is one of the N designs, only a lower limit is given: N over the largest count that k allows
with 95 % confidence, which is N / 3 for k = 0. A better best known raises the number. With
`--best FILE` the best design is appended as a line of archgym/bench/data/best.jsonl.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.stats import chi2

from archgym.bench import bench_task
from archgym.bench.report import WITHIN
from archgym.evaluation.isolation import evaluate_isolated
from archgym.evaluation.task import Task
from archgym.studies.snapshot import StudyLog
from archgym.studies.study import Study
from archgym.sweep.results import within_reward

_BATCH = 2048
# chosen: the standard error of the estimate is then below a third of it.
_ENOUGH = 10


def batches(task: Task, n: int, enumerated: bool) -> Iterator[np.ndarray]:
    """Yield all designs of a space, or `n` random ones."""
    if enumerated:
        yield from task.space.enumerate(canonical=True)
        return
    rng = np.random.default_rng(0)
    for start in range(0, n, _BATCH):
        yield task.space.sample(min(_BATCH, n - start), rng)


def searched(
    task: Task, agents: list[str], budget: int, seeds: int
) -> tuple[StudyLog, float, list[int], str]:
    """Return a study of the task; and the best reward of all searches, its design and search."""
    best, design, origin = -np.inf, [], ""
    with TemporaryDirectory() as folder:
        for agent in agents:
            for seed in range(seeds):
                place = Path(folder) / f"{agent}-{seed}"
                log = Study.create(place, task, agent, seed=seed, budget=budget).run().log
                found = log.best()
                if found is not None and found.reward > best:
                    best, design = found.reward, task.space.indices_of(found.design).tolist()
                    origin = f"{agent}, seed {seed}, {budget} evaluations"
    return log, best, design, origin


def measure(
    label: str, designs: int, budget: int, seeds: int, exact: int, agents: list[str]
) -> tuple[str, dict[str, object]]:
    """Return the member `hardness` of a task, and its best design."""
    task = bench_task(label).plan.make()
    enumerated = task.space.size <= exact
    parts, rewards = [], []
    for part in batches(task, designs, enumerated):
        parts.append(part)
        rewards.append(evaluate_isolated(task, part).reward)
    all_rewards = np.concatenate(rewards)
    if enumerated:
        agents, budget, seeds = ["random"], 10, 1
    log, best, design, origin = searched(task, agents, budget, seeds)
    if float(all_rewards.max()) >= best:
        best = float(all_rewards.max())
        design = np.concatenate(parts)[int(all_rewards.argmax())].tolist()
        origin = f"best of {len(all_rewards)} random designs"
    n = len(all_rewards)
    good = int((all_rewards >= within_reward(log, best, WITHIN) - 1e-12).sum())
    if enumerated:
        origin = f"table of {n} designs"
    known: dict[str, object] = {
        "task": label,
        "reward": best,
        "indices": design,
        "is_proven": enumerated,
        "origin": origin,
    }
    if enumerated:
        # Mean place of the first of k among n in random order.
        return entry((n + 1) / (good + 1), False, origin), known
    origin = f"tail estimate of {n} random designs, best known by {', '.join(agents)} "
    origin += f"({seeds} x {budget} evaluations each)"
    if good >= _ENOUGH and best > all_rewards.max():
        return entry(n / good, False, origin), known
    # Upper limit of a Poisson rate with 95 % confidence; 3 / n where no design is good.
    most = float(chi2.ppf(0.95, 2 * (good + 1))) / 2
    return entry(n / most, True, origin), known


def entry(evaluations: float, is_at_least: bool, origin: str) -> str:
    """Return a mapping of YAML."""
    at_least = str(is_at_least).lower()
    rounded = float(f"{evaluations:.3g}")
    return f'{{evaluations: {rounded:.0f}, is_at_least: {at_least}, origin: "{origin}"}}'


def main() -> None:
    """Measure the tasks that the command line names."""
    parser = argparse.ArgumentParser(description="Hardness of tasks of the benchmark.")
    parser.add_argument("tasks", nargs="+")
    parser.add_argument("--designs", type=int, default=20_000)
    parser.add_argument("--budget", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--agents", default="genetic,extra_trees")
    parser.add_argument("--best", type=Path, help="file that the best designs are appended to")
    parser.add_argument("--exact", type=int, default=200_000, help="largest space to enumerate")
    given = parser.parse_args()
    for label in given.tasks:
        begun = time.process_time()
        found, known = measure(
            label,
            given.designs,
            given.budget,
            given.seeds,
            given.exact,
            given.agents.split(","),
        )
        if given.best is not None:
            with given.best.open("a") as handle:
                handle.write(json.dumps(known) + "\n")
        print(f"{label}:\n  hardness: {found}", flush=True)
        print(f"{label}: {time.process_time() - begun:.1f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
