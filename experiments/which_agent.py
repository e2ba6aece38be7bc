"""Best designs after few evaluations, by agent, and the time that each agent thinks.

    python experiments/which_agent.py --out experiments/data/which-agent.csv
    python experiments/which_agent.py --show experiments/data/which-agent.csv

The first command searches tasks of several simulators with each agent and seed, and adds a row for
each search to the file. It continues where an earlier call was stopped. The second command prints
the tables of experiments/agents.md from the file.

A task with one metric in its objective is judged by the best reward. A task with several is judged
by the hypervolume of the designs that meet all limits, in the terms of the objective, relative to
the corner that `archgym show` uses. A score of 1 is the best of all runs of the task. With one
metric 0 is what the default design has, or a missed limit; with several 0 is random search after 10
evaluations, in the mean of seeds.
"""

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from agent_rewards import Bench

from archgym.agent.agent import agent_class
from archgym.analysis.pareto import hypervolume
from archgym.evaluation.limits import LIMITED_REWARD
from archgym.evaluation.objective import reference_point
from archgym.tasks.task import Task

BUDGETS = (10, 25, 50, 100, 200)
SEEDS = 5
ONE = ("random", "genetic", "bayesian", "extra_trees", "auto")
SEVERAL = ("random", "genetic", "nsga2", "multi_objective_bayesian", "auto")
COLUMNS = ("task", "objectives", "agent", "seed", *(f"after_{n}" for n in BUDGETS), "think_ms")


def tasks() -> list[Task]:
    """Return quick tasks of two simulators: two with one objective and limits, two with several."""
    network, dram = "alexnet-convolutions", ("dram", "bursty-rw")
    return [
        Task.make(*dram, "low-latency", subject_to="power_mw <= 1500"),
        Task.make("accelerator", network, "edp-at-eyeriss-area", fidelity="fast"),
        Task.make(*dram, "balanced"),
        Task.make("accelerator", network, "energy-latency-area", fidelity="fast"),
    ]


def row_of(bench: Bench, agent: str, seed: int) -> dict[str, Any]:
    """Search a task and return its row."""
    task, budget = bench.task, BUDGETS[-1]
    best, own_s = bench.run(agent_class(agent), seed, budget, {})
    n_terms = len(task.objective.terms)
    found = list(best[[n - 1 for n in BUDGETS]]) if n_terms == 1 else _volumes(bench)
    return {
        "task": task.id,
        "objectives": n_terms,
        "agent": agent,
        "seed": seed,
        **{f"after_{n}": f"{value:.5f}" for n, value in zip(BUDGETS, found, strict=True)},
        "think_ms": f"{1e3 * own_s / budget:.3f}",
    }


def _volumes(bench: Bench) -> list[float]:
    """Return the hypervolume of the last run's feasible designs after each budget."""
    task = bench.task
    results = [bench.result(key) for key in bench.order]
    values = np.array([values for values, _, _ in results])
    reason = np.array([reason for _, reason, _ in results])
    rewards = np.array([reward for _, _, reward in results])
    terms = task.objective.weighted_terms(
        values, reason, task.reference, task.metrics, task.weights
    )
    corner = reference_point(task.objective, task.reference, task.metrics, task.weights)
    meets = rewards > LIMITED_REWARD
    return [float(hypervolume(terms[:n][meets[:n]], corner)) for n in BUDGETS]


def measure(out: Path, seconds: float) -> bool:
    """Add the rows that a file lacks, seed by seed; return False if time was up before the end."""
    known = {(row["task"], row["agent"], int(row["seed"])) for row in read(out)}
    benches = [Bench(task) for task in tasks()]
    if not known:
        out.write_text(",".join(COLUMNS) + "\n")
    for seed in range(SEEDS):
        for bench in benches:
            agents = ONE if len(bench.task.objective.terms) == 1 else SEVERAL
            for agent in agents:
                if (bench.task.id, agent, seed) in known:
                    continue
                if time.process_time() > seconds:
                    return False
                row = row_of(bench, agent, seed)
                with out.open("a") as file:
                    csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)
    return True


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file, none if there is no file."""
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))


def scores(rows: Sequence[dict[str, str]]) -> dict[tuple[str, str], np.ndarray]:
    """Return scores by task and agent, (seeds, budgets)."""
    found: dict[tuple[str, str], list[list[float]]] = {}
    is_one = {row["task"]: row["objectives"] == "1" for row in rows}
    for row in rows:
        values = [float(row[f"after_{n}"]) for n in BUDGETS]
        found.setdefault((row["task"], row["agent"]), []).append(values)
    scored = {}
    for (task, agent), runs in found.items():
        zero = 0.0 if is_one[task] else float(np.mean([run[0] for run in found[task, "random"]]))
        one = max(float(np.nanmax(own)) for (name, _), own in found.items() if name == task)
        scored[task, agent] = np.maximum((np.array(runs) - zero) / (one - zero), 0.0)
    return scored


def show(path: Path) -> None:
    """Print a table for one objective, one for several, and the thinking times."""
    rows = read(path)
    scored = scores(rows)
    for is_one in (True, False):
        own = [row for row in rows if (row["objectives"] == "1") == is_one]
        names = list(dict.fromkeys(row["task"] for row in own))
        print(f"\n{len(names)} tasks: {', '.join(names)}\n")
        print("| agent | " + " | ".join(map(str, BUDGETS)) + " | thinking |")
        print("|---|" + "---|" * (len(BUDGETS) + 1))
        for agent in dict.fromkeys(row["agent"] for row in own):
            runs = np.array([scored[name, agent] for name in names])
            mean, spread = runs.mean(axis=(0, 1)), runs.mean(axis=0).std(axis=0, ddof=1)
            think = [float(row["think_ms"]) for row in own if row["agent"] == agent]
            cells = [
                "–" if np.isnan(m) else f"{m:.2f} ± {s:.2f}"
                for m, s in zip(mean, spread, strict=True)
            ]
            print(f"| `{agent}` | {' | '.join(cells)} | {np.median(think):.3g} ms |")
        for name in names:
            print(f"\n{name}:")
            for agent in dict.fromkeys(row["agent"] for row in own):
                means = " ".join(f"{v:7.2f}" for v in scored[name, agent].mean(axis=0))
                print(f"  {agent:26} {means}  n={len(scored[name, agent])}")


def main() -> None:
    """Measure, or print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--out", type=Path, help="Add the missing searches to this file.")
    given.add_argument("--show", type=Path, help="Print the tables of this file.")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="End after this much processor time."
    )
    arguments = parser.parse_args()
    if arguments.show:
        show(arguments.show)
    elif not measure(arguments.out, arguments.seconds):
        sys.exit(3)


if __name__ == "__main__":
    main()
