"""Hypervolume of NSGA-II of Optuna, of pymoo, and of agents, at equal budgets and seeds.

`python experiments/peers/fronts.py TASK... [--budget B] [--seeds S] [--first F]`

Prints a row of a table for each method and task. The volume is that between the default design and
the front, in the logarithms of the ratios to the default; designs that miss a limit do not count.
"""

import argparse
import warnings
from typing import Any

import numpy as np
from run import Counter, End

from archgym.agent.agent import agent_class, make_agent
from archgym.analysis.pareto import hypervolume
from archgym.analysis.statistics import improvement_p_value, stratified_bootstrap
from archgym.bench import bench_task
from archgym.errors import BudgetExhausted
from archgym.evaluation.limits import LIMITED_REWARD
from archgym.evaluation.trials import Trials
from archgym.tasks.task import Task

OURS = ("nsga2", "random")
PEERS = ("optuna-nsga2", "pymoo-nsga2")


class Fronts(Counter):
    """Keeps the terms of all designs that meet the limits."""

    def __init__(self, task: Task, budget: int) -> None:
        super().__init__(task, budget)
        self.points: list[np.ndarray] = []

    def rewards(self, designs: np.ndarray) -> tuple[np.ndarray, Any, np.ndarray]:
        """Keep terms of what is evaluated."""
        reward, found, repeated = super().rewards(designs)
        terms = self.task.trials(designs, found, repeated).terms
        for row in np.flatnonzero(reward > LIMITED_REWARD):
            if len(self.points) < self.budget:
                self.points.append(terms[row])
        self.last = terms[-1]
        return reward, found, repeated

    def several(self, design: list[int]) -> tuple[np.ndarray, float]:
        """Answer a peer: terms, and the violation of limits."""
        self.last = np.full(len(self.task.objective.terms), -25.0)
        _, violation = self.pair(design)
        return self.last, violation

    def volume(self) -> float:
        """Return the hypervolume above the default design."""
        if not self.points:
            return 0.0
        points = np.maximum(np.stack(self.points), 0.0)
        return float(hypervolume(points, np.zeros(points.shape[1])))


def optuna_search(task: Task, counter: Fronts, seed: int) -> None:
    """Search with Optuna's NSGA-II."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    sampler = optuna.samplers.NSGAIISampler(
        seed=seed, constraints_func=lambda trial: (trial.user_attrs["violation"],)
    )
    study = optuna.create_study(
        directions=["maximize"] * len(task.objective.terms), sampler=sampler
    )

    def objective(trial: Any) -> tuple[float, ...]:
        design = [
            trial.suggest_int(p.name, 0, p.size - 1)
            if p.is_ordered or p.size > 64
            else trial.suggest_categorical(p.name, list(range(p.size)))
            for p in task.space.parameters
        ]
        terms, violation = counter.several(design)
        trial.set_user_attr("violation", violation)
        return tuple(terms.tolist())

    study.optimize(objective, n_trials=10**9)


def pymoo_search(task: Task, counter: Fronts, seed: int) -> None:
    """Search with pymoo's NSGA-II for mixed variables."""
    from pymoo.algorithms.moo.nsga2 import RankAndCrowdingSurvival
    from pymoo.core.mixed import MixedVariableGA
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.core.variable import Choice, Integer
    from pymoo.optimize import minimize

    parameters = task.space.parameters
    variables: dict[str, Any] = {
        p.name: Integer(bounds=(0, p.size - 1))
        if p.is_ordered or p.size > 64
        else Choice(options=list(range(p.size)))
        for p in parameters
    }

    class Search(ElementwiseProblem):  # type: ignore[misc]
        """The task as pymoo's problem."""

        def __init__(self) -> None:
            super().__init__(vars=variables, n_obj=len(task.objective.terms), n_ieq_constr=1)

        def _evaluate(self, x: Any, out: dict[str, Any], *_: Any, **__: Any) -> None:
            terms, violation = counter.several([int(x[p.name]) for p in parameters])
            out["F"], out["G"] = (-terms).tolist(), [violation]

    algorithm = MixedVariableGA(pop_size=20, survival=RankAndCrowdingSurvival())
    minimize(Search(), algorithm, ("n_eval", 10**9), seed=seed, verbose=False)


def volume(method: str, task: Task, seed: int, budget: int) -> float:
    """Return the hypervolume of one run."""
    counter = Fronts(task, budget)
    try:
        if method in OURS:

            def evaluate(designs: np.ndarray) -> Trials:
                return counter.trials(designs)

            make_agent(agent_class(method), task.space, seed, {}).search(evaluate, task)
        elif method == "optuna-nsga2":
            optuna_search(task, counter, seed)
        else:
            pymoo_search(task, counter, seed)
    except (End, BudgetExhausted):
        pass
    return counter.volume()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="+")
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=7000)
    given = parser.parse_args()
    print("| task | method | hypervolume | 95 % | p against `nsga2` |\n|---|---|---|---|---|")
    for label in given.tasks:
        task = bench_task(label).plan.make()
        found = {
            method: np.array(
                [
                    volume(method, task, seed, given.budget)
                    for seed in range(given.first, given.first + given.seeds)
                ]
            )
            for method in (*OURS, *PEERS)
        }
        for method, values in found.items():
            band = stratified_bootstrap("iqm", [values])
            p = (
                ""
                if method == "nsga2"
                else f"{improvement_p_value([found['nsga2']], [values]):.3f}"
            )
            print(
                f"| {label} | `{method}` | {band.value:.2f} | {band.low:.2f} to {band.high:.2f} "
                f"| {p} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
