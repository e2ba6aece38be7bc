"""Runs methods of other libraries and our agents on tasks, with the same budgets and seeds.

`python experiments/peers/run.py METHOD[:BUDGET],... TASK,... --seeds S --first F --out runs.jsonl`

Each run appends a line: method, task, seed, best reward after each evaluation as steps, the best
design, and seconds of CPU that the method itself used. A run that is in the file is left out. What
counts as one evaluation is the same for all: a design that the run has not evaluated before; a
repeated one is answered from memory. A method that repeats itself ends after ten asks for each
evaluation of its budget.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from methods import METHODS, Problem

from archgym.agent.agent import agent_class, make_agent
from archgym.bench import bench_task
from archgym.errors import BudgetExhausted
from archgym.evaluation.limits import LIMITED_REWARD
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.evaluation.trials import Trials
from archgym.tasks.task import Task

# Violations are encoded in rewards; see archgym.evaluation.limits.
_SPAN = 5.0
_MAX_ASKS = 10
# chosen: evaluations after which a method has imported all that it uses; slow methods get fewer.
_WARM_BUDGETS = {"ax": 7, "baybe": 3, "vizier-gp-ucb-pe": 2}


class End(BaseException):
    """End of the budget, which no library catches."""


class Counter:
    """Evaluates designs, counts those that are new, and keeps the best."""

    def __init__(self, task: Task, budget: int) -> None:
        self.task = task
        self.budget = budget
        self.known: dict[bytes, tuple[float, Any]] = {}
        self.steps: list[list[float]] = []
        self.best: list[int] = []
        self.asks = 0
        self.seconds = 0.0

    def is_over(self) -> bool:
        """Return True if the budget is used up."""
        return len(self.known) >= self.budget or self.asks >= _MAX_ASKS * self.budget

    def rewards(self, designs: np.ndarray) -> tuple[np.ndarray, Any, np.ndarray]:
        """Return rewards, the evaluation, and which designs were known."""
        begun = time.process_time()
        found = self.task.evaluate(designs)
        repeated = np.zeros(len(designs), dtype=bool)
        for row, design in enumerate(self.task.space.canonical(designs)):
            key = design.tobytes()
            repeated[row] = key in self.known
            self.asks += 1
            if repeated[row] or len(self.known) >= self.budget:
                continue
            reward = float(found.reward[row])
            self.known[key] = (reward, None)
            if not self.steps or reward > self.steps[-1][1]:
                self.steps.append([len(self.known), reward])
                self.best = design.tolist()
        self.seconds += time.process_time() - begun
        return found.reward, found, repeated

    def trials(self, designs: np.ndarray) -> Trials:
        """Answer an agent of ours."""
        _, found, repeated = self.rewards(designs)
        if self.is_over():
            raise BudgetExhausted("The budget is used up.")
        return self.task.trials(designs, found, repeated)

    def pair(self, design: list[int]) -> tuple[float, float]:
        """Answer a peer: reward and violation."""
        indices = np.array([design], dtype=np.int64)
        if not self.task.space.feasible(indices)[0]:
            # Asked in vain, and yet an ask that costs the peer one evaluation.
            key = b"infeasible" + indices.tobytes()
            self.asks += 1
            if key not in self.known:
                self.known[key] = (INFEASIBLE_REWARD, None)
                if not self.steps:
                    self.steps.append([len(self.known), INFEASIBLE_REWARD])
            reward = INFEASIBLE_REWARD
        else:
            reward = float(self.rewards(indices)[0][0])
        if self.is_over():
            raise End
        share = min(max((LIMITED_REWARD - reward) / _SPAN, 0.0), 0.999)
        return reward, share / (1.0 - share)


def run(method: str, task: Task, seed: int, budget: int) -> dict[str, Any]:
    """Return one run as data."""
    counter = Counter(task, budget)
    begun = time.process_time()
    try:
        if method in METHODS:
            space = task.space
            ordered = [p.is_ordered or p.size > 64 for p in space.parameters]
            problem = Problem(space.sizes.tolist(), ordered, space.default_indices.tolist(), budget)
            METHODS[method](problem, seed, counter.pair)
        else:
            agent = make_agent(agent_class(method), task.space, seed, {})
            agent.search(counter.trials, task)
    except (End, BudgetExhausted):
        pass
    own = time.process_time() - begun - counter.seconds
    return {
        "method": method,
        "seed": seed,
        "budget": budget,
        "evaluations": min(len(counter.known), budget),
        "steps": counter.steps,
        "design": counter.best,
        "own_ms": round(1000.0 * own / max(len(counter.known), 1), 2),
    }


def _warm(methods: list[str]) -> None:
    """Import the libraries, so that no run is charged for it."""
    task = bench_task("accelerator-mapping-table").plan.make()
    for method in methods:
        run(method, task, 0, _WARM_BUDGETS.get(method, 13))


def _done(path: Path) -> set[tuple[str, str, int]]:
    """Return task, method and seed of the runs in a file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {(r["task"], r["method"], r["seed"]) for r in map(json.loads, lines)}


def main() -> None:
    """Run what is not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods")
    parser.add_argument("tasks")
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    _warm([part.partition(":")[0] for part in given.methods.split(",")])
    tasks = {label: bench_task(label).plan.make() for label in given.tasks.split(",")}
    # Seeds come first, so that a sweep that is stopped has as many runs of each method and task.
    runs = product(range(given.first, given.first + given.seeds), tasks, given.methods.split(","))
    for seed, label, part in runs:
        method, _, own_budget = part.partition(":")
        budget = int(own_budget) if own_budget else given.budget
        if (label, method, seed) in _done(given.out):
            continue
        line = json.dumps({"task": label, **run(method, tasks[label], seed, budget)})
        with given.out.open("a") as handle:
            handle.write(line + "\n")


if __name__ == "__main__":
    main()
