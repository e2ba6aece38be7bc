"""How good agents are: the best reward they have found after so many evaluations.

    python experiments/agent_rewards.py --agents random genetic bayesian --seeds 5 --budget 400

Prints one row an agent, its hyperparameters beside it: mean and standard deviation over seeds and
tasks of the best reward so far, and the agent's own time an evaluation. With `--set NAME=VALUE` an
agent runs with that hyperparameter. Simulations are shared between agents and not counted.
"""

import argparse
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from archgym.agent.agent import Agent, agent_class, make_agent
from archgym.errors import BudgetExhausted
from archgym.evaluation.simulator import simulator_names
from archgym.evaluation.trials import Trials
from archgym.tasks.task import Evaluation, Task
from archgym.testing import ProvingSimulator

# The quick ones; others are asked for by name.
AGENTS = (
    "random",
    "grid",
    "quasi_random",
    "hill_climbing",
    "simulated_annealing",
    "genetic",
    "ant_colony",
    "bayesian",
)
MARKS = (25, 50, 100, 200, 400, 800, 1600)


class Bench:
    """Answers agents on one task from a memory of all that was simulated."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._results: dict[bytes, tuple[np.ndarray, np.ndarray, float]] = {}
        self.order: list[bytes] = []
        """Different designs of the last run in their order."""

    def run(
        self, kind: type[Agent], seed: int, budget: int, hyperparameters: dict[str, Any]
    ) -> tuple[np.ndarray, float]:
        """Best reward so far, (budget,), and the agent's own CPU time [s]."""
        rewards: list[float] = []
        self.order = []
        known: set[bytes] = set()
        simulated_s = 0.0

        def evaluate(indices: np.ndarray) -> Trials:
            nonlocal simulated_s
            started = time.process_time()
            keys = [row.tobytes() for row in self.task.space.canonical(indices)]
            self._simulate(indices, keys)
            repeated = [key in known or key in keys[:n] for n, key in enumerate(keys)]
            for key, is_repeated in zip(keys, repeated, strict=True):
                if not is_repeated:
                    rewards.append(self._results[key][2])
                    self.order.append(key)
            known.update(keys)
            simulated_s += time.process_time() - started
            if len(rewards) >= budget:
                raise BudgetExhausted("done")
            found = [self._results[key] for key in keys]
            result = Evaluation(
                np.array([values for values, _, _ in found]),
                np.array([reason for _, reason, _ in found]),
                np.array([reward for _, _, reward in found]),
            )
            return self.task.trials(indices, result, np.array(repeated))

        started = time.process_time()
        with suppress(BudgetExhausted):
            make_agent(kind, self.task.space, seed, hyperparameters).search(evaluate, self.task)
        own_s = time.process_time() - started - simulated_s
        best = np.maximum.accumulate(rewards[:budget])
        return np.pad(best, (0, budget - len(best)), mode="edge"), own_s

    def _simulate(self, indices: np.ndarray, keys: Sequence[bytes]) -> None:
        new = [n for n, key in enumerate(keys) if key not in self._results]
        if not new:
            return
        result = self.task.evaluate(indices[new])
        for row, n in enumerate(new):
            reward = float(result.reward[row])
            self._results[keys[n]] = result.values[row], result.reason[row], reward

    def result(self, key: bytes) -> tuple[np.ndarray, np.ndarray, float]:
        """Return values, reason and reward of a design in `order`."""
        return self._results[key]

    def results(self) -> list[tuple[np.ndarray, np.ndarray, float]]:
        """Return values, reason and reward of every design that was simulated."""
        return list(self._results.values())

    @property
    def best_known(self) -> float:
        """The best reward of all that was simulated."""
        return max(reward for _, _, reward in self._results.values())


def tasks(choice: str) -> list[Task]:
    """Tasks to compare on."""
    if choice == "proving" or "dram" not in simulator_names():
        return [
            Task.make(ProvingSimulator("mixed", has_failures=False), "far"),
            Task.make(ProvingSimulator("mapping", has_failures=False), "far"),
        ]
    return [
        Task.make("dram", workload, objective)
        for workload, objective in (
            ("cloud-1", "least-time"),
            ("cloud-1", "low-energy"),
            ("cloud-2", "balanced"),
        )
    ]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", choices=("dram", "proving"), default="dram")
    parser.add_argument("--agents", nargs="+", default=list(AGENTS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=400)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    chosen = dict(text.split("=", 1) for text in arguments.set)
    values = {name: _value(text) for name, text in chosen.items()}
    benches = [Bench(task) for task in tasks(arguments.tasks)]
    marks = [mark for mark in MARKS if mark <= arguments.budget]
    print(f"{'agent':30}" + "".join(f"{mark:>16}" for mark in marks) + f"{'own time':>14}")
    for name in arguments.agents:
        report(name, benches, arguments.seeds, arguments.budget, values, marks)
    for bench in benches:
        print(f"best known of {bench.task.id}: {bench.best_known:.4f}")


def _value(text: str) -> int | float | str:
    """Return a hyperparameter's value: a number if it reads as one."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def report(
    name: str,
    benches: Sequence[Bench],
    n_seeds: int,
    budget: int,
    values: dict[str, Any],
    marks: Sequence[int],
) -> None:
    """Print one agent's row."""
    kind = agent_class(name)
    known = {parameter.name for parameter in kind.hyperparameters}
    used = {key: value for key, value in values.items() if key in known}
    runs = [b.run(kind, seed, budget, used) for b in benches for seed in range(n_seeds)]
    best = np.array([run[0] for run in runs]).reshape(len(benches), n_seeds, budget)
    own_ms = 1e3 * sum(run[1] for run in runs) / (len(runs) * budget)
    cells = [
        f"{best[:, :, mark - 1].mean():9.4f} ±{best[:, :, mark - 1].std(axis=1).mean():.3f}"
        for mark in marks
    ]
    label = f"{name} {','.join(f'{k}={v}' for k, v in used.items())}"
    print(f"{label:30}" + "".join(f"{cell:>16}" for cell in cells) + f"{own_ms:>11.2f} ms")


if __name__ == "__main__":
    main()
