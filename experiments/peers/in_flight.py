"""Eight designs in flight: methods of other libraries and `auto`, on the same tasks and seeds.

    python experiments/peers/in_flight.py METHOD[:BUDGET],... TASK,... [--seeds S] [--out FILE]
    python experiments/peers/in_flight.py --show FILE

A new design is asked for whenever fewer than eight are in flight; results return in the order of
asking. Ax is asked for eight at a time once all of them have returned, since one ask of it takes
seconds. Methods that are not told of limits see rewards, in which limits are encoded. Designs that
break a constraint of the space count as an evaluation, as a design that was evaluated before does
not: it is answered from memory.

Methods: `auto` and `genetic` of this package with `batch_size=8`, `auto-1` with one in flight,
`random`, `optuna-tpe` (multivariate, with constant liar), `ray-optuna` (Ray Tune's searcher),
`smac` (the facade of run.py), `ax` (BoTorch's qLogEI, which Ax chooses).
"""

import argparse
import contextlib
import json
import logging
import tempfile
import time
import warnings
from collections import defaultdict, deque
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from methods import Problem
from run import Counter, End

from archgym.agent.agent import agent_class, make_agent
from archgym.bench import bench_task
from archgym.errors import BudgetExhausted
from archgym.tasks.task import Task

IN_FLIGHT = 8
SHOWN = (25, 50, 100)
OURS = {
    "auto": ("auto", {"batch_size": IN_FLIGHT}),
    "auto-1": ("auto", {}),
    "genetic": ("genetic", {"batch_size": IN_FLIGHT}),
    "random": ("random", {}),
}


class Peer(Protocol):
    """Method that proposes designs before the results of earlier ones are known."""

    def ask(self) -> tuple[Any, list[int]]:
        """Return a handle and a design."""

    def tell(self, handle: Any, reward: float, violation: float) -> None:
        """Take a result."""


class OptunaTpe:
    """TPE of Optuna with constant liar."""

    def __init__(self, problem: Problem, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._problem = problem
        sampler = optuna.samplers.TPESampler(
            seed=seed,
            multivariate=True,
            constant_liar=True,
            constraints_func=lambda trial: (float(trial.user_attrs["violation"]),),
        )
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._study.enqueue_trial({f"x{n}": problem.default[n] for n in problem.free})
        self._choices: dict[str, Any] = {
            f"x{n}": optuna.distributions.IntDistribution(0, problem.sizes[n] - 1)
            if problem.ordered[n]
            else optuna.distributions.CategoricalDistribution(list(range(problem.sizes[n])))
            for n in problem.free
        }

    def ask(self) -> tuple[Any, list[int]]:
        trial = self._study.ask(self._choices)
        values = {n: int(trial.params[f"x{n}"]) for n in self._problem.free}
        return trial, self._problem.design(values)

    def tell(self, handle: Any, reward: float, violation: float) -> None:
        handle.set_user_attr("violation", violation)
        self._study.tell(handle, reward)


class RayOptuna:
    """`OptunaSearch` of Ray Tune, asked as Tune's trial runner asks it."""

    def __init__(self, problem: Problem, seed: int) -> None:
        from ray import tune
        from ray.tune.search.optuna import OptunaSearch

        logging.disable(logging.CRITICAL)
        self._problem = problem
        space = {
            f"x{n}": tune.randint(0, problem.sizes[n])
            if problem.ordered[n]
            else tune.choice(list(range(problem.sizes[n])))
            for n in problem.free
        }
        first = {f"x{n}": problem.default[n] for n in problem.free}
        self._searcher = OptunaSearch(
            space, metric="reward", mode="max", seed=seed, points_to_evaluate=[first]
        )
        self._n = 0

    def ask(self) -> tuple[Any, list[int]]:
        self._n += 1
        asked = self._searcher.suggest(str(self._n))
        values = {n: int(asked[f"x{n}"]) for n in self._problem.free}
        return str(self._n), self._problem.design(values)

    def tell(self, handle: Any, reward: float, violation: float) -> None:
        self._searcher.on_trial_complete(handle, {"reward": reward})


class Smac:
    """SMAC3's facade for mixed spaces."""

    def __init__(self, problem: Problem, seed: int) -> None:
        from ConfigSpace import Categorical, ConfigurationSpace, Integer
        from smac import HyperparameterOptimizationFacade, Scenario

        logging.disable(logging.CRITICAL)
        self._problem = problem
        space = ConfigurationSpace(seed=seed)
        for n in problem.free:
            size, default = problem.sizes[n], problem.default[n]
            space.add(
                Integer(f"x{n}", (0, size - 1), default=default)
                if problem.ordered[n]
                else Categorical(f"x{n}", list(range(size)), default=default)
            )
        scenario = Scenario(
            space, deterministic=True, n_trials=problem.budget, use_default_config=True, seed=seed,
            output_directory=Path(tempfile.mkdtemp()),
        )  # fmt: skip
        self._facade = HyperparameterOptimizationFacade(
            scenario, lambda config, seed=0: 0.0, overwrite=True, logging_level=False
        )

    def ask(self) -> tuple[Any, list[int]]:
        info = self._facade.ask()
        values = {n: int(info.config[f"x{n}"]) for n in self._problem.free}
        return info, self._problem.design(values)

    def tell(self, handle: Any, reward: float, violation: float) -> None:
        from smac.runhistory import TrialValue

        self._facade.tell(handle, TrialValue(cost=-reward))


class Ax:
    """Ax's client, eight trials at a time."""

    def __init__(self, problem: Problem, seed: int) -> None:
        from ax.api.client import Client
        from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

        logging.disable(logging.CRITICAL)
        self._problem = problem
        self._client = Client(random_seed=seed)
        self._client.configure_experiment(
            [
                RangeParameterConfig(f"x{n}", (0, problem.sizes[n] - 1), "int")
                if problem.ordered[n]
                else ChoiceParameterConfig(
                    f"x{n}", list(range(problem.sizes[n])), "int", is_ordered=False
                )
                for n in problem.free
            ]
        )
        self._client.configure_optimization("reward", outcome_constraints=["violation <= 0"])
        first = {f"x{n}": problem.default[n] for n in problem.free}
        self._asked = deque([(self._client.attach_trial(first), first)])

    def ask(self) -> tuple[Any, list[int]]:
        if not self._asked:
            found = self._client.get_next_trials(max_trials=IN_FLIGHT)
            self._asked.extend(found.items())
        handle, asked = self._asked.popleft()
        values = {n: int(asked[f"x{n}"]) for n in self._problem.free}
        return handle, self._problem.design(values)

    def tell(self, handle: Any, reward: float, violation: float) -> None:
        self._client.complete_trial(handle, {"reward": reward, "violation": violation})


PEERS: dict[str, Any] = {
    "optuna-tpe": OptunaTpe, "ray-optuna": RayOptuna, "smac": Smac, "ax": Ax,
}  # fmt: skip


def search(peer: Peer, counter: Counter, are_together: bool) -> None:
    """Keep eight designs in flight until the budget is used up."""
    asked: deque[tuple[Any, list[int]]] = deque()
    while True:
        while len(asked) < IN_FLIGHT:
            asked.append(peer.ask())
        for _ in range(IN_FLIGHT if are_together else 1):
            handle, design = asked.popleft()
            peer.tell(handle, *counter.pair(design))


def run(method: str, task: Task, seed: int, budget: int) -> dict[str, Any]:
    """Return one run as data."""
    counter = Counter(task, budget)
    begun = time.process_time()
    with contextlib.suppress(End, BudgetExhausted):
        if method in OURS:
            name, hyperparameters = OURS[method]
            agent = make_agent(agent_class(name), task.space, seed, hyperparameters)
            agent.search(counter.trials, task)
        else:
            space = task.space
            ordered = [p.is_ordered or p.size > 64 for p in space.parameters]
            problem = Problem(space.sizes.tolist(), ordered, space.default_indices.tolist(), budget)
            search(PEERS[method](problem, seed), counter, method == "ax")
    own = time.process_time() - begun - counter.seconds
    return {
        "method": method,
        "seed": seed,
        "budget": budget,
        "steps": counter.steps,
        "own_ms": round(1000.0 * own / max(len(counter.known), 1), 2),
    }


def show(path: Path) -> None:
    """Print the table."""
    runs: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in path.read_text().splitlines():
        one = json.loads(line)
        runs[one["task"], one["method"]].append(one)
    print(f"| task | method | seeds | {' | '.join(map(str, SHOWN))} | own ms |")
    print("|---" * (4 + len(SHOWN)) + "|")
    for (task, method), found in sorted(runs.items()):
        cells = []
        for n in SHOWN:
            best = [
                max(reward for count, reward in one["steps"] if count <= n)
                for one in found
                if one["budget"] >= n
            ]
            cells.append(
                f"{np.median(best):.3f} [{min(best):.3f}, {max(best):.3f}]" if best else ""
            )
        own = np.median([one["own_ms"] for one in found])
        print(f"| {task} | `{method}` | {len(found)} | {' | '.join(cells)} | {own:.1f} |")


def main() -> None:
    """Run what is not in the file yet, or print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="?", default="")
    parser.add_argument("tasks", nargs="?", default="")
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--show", type=Path)
    given = parser.parse_args()
    if given.show:
        show(given.show)
        return
    warnings.simplefilter("ignore")
    lines = given.out.read_text().splitlines() if given.out.exists() else []
    done = {(r["task"], r["method"], r["seed"]) for r in map(json.loads, lines)}
    for label in given.tasks.split(","):
        task = bench_task(label).plan.make()
        for part in given.methods.split(","):
            method, _, own_budget = part.partition(":")
            for seed in range(given.seeds):
                if (label, method, seed) in done:
                    continue
                budget = int(own_budget or given.budget)
                line = json.dumps({"task": label, **run(method, task, seed, budget)})
                with given.out.open("a") as handle:
                    handle.write(line + "\n")


if __name__ == "__main__":
    main()
