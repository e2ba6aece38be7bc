"""A task with the reward of every design, which gives a search's distance to the optimum."""

from collections.abc import Sequence
from functools import cached_property
from typing import final

import numpy as np

from archgym.analysis.pareto import front
from archgym.analysis.random_search import RandomCurve, random_curve
from archgym.errors import InvalidArgumentError
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.simulator import FEASIBLE
from archgym.tables.simulator import TableSimulator
from archgym.tasks.task import Task


@final
class Exhaustive:
    """All designs of a task on a table, in the table's order."""

    def __init__(self, task: Task) -> None:
        """Judge every design.

        Args:
          task: One on a table.

        Raises:
          InvalidArgumentError: It is on something else.
          FileFormatError: The table is damaged.
        """
        if not isinstance(task.simulator, TableSimulator):
            raise InvalidArgumentError(
                f"A task must be on a table for this; {task.id!r} is not. Make it with "
                "Task.make(..., stand_in=TABLE)."
            )
        self.task = task
        self._table = task.simulator
        self._results = [task.simulator.results(w.workload.name) for w in task.workloads]
        rewards = np.empty(self._table.rows)
        names = [w.workload.name for w in task.workloads]
        for rows, values, reason in self._table.pieces(names):
            rewards[rows] = task.rewards(values, reason)
        self.rewards: np.ndarray = rewards
        """(N,), of all designs."""

    @property
    def numbers(self) -> np.ndarray:
        """Numbers of the designs in the space, (N,)."""
        return self._table.numbers

    @property
    def reward(self) -> float:
        """Reward of the optimum."""
        return float(self.rewards.max())

    @property
    def best_row(self) -> int:
        """Number of the first design with the best reward."""
        return int(np.argmax(self.rewards))

    @property
    def n_ties(self) -> int:
        """Number of designs that have the best reward."""
        return int((self.rewards == self.reward).sum())

    @cached_property
    def is_feasible(self) -> np.ndarray:
        """True if each design can be built on all workloads, (N,) bool."""
        reasons = np.stack([reason for _, reason in self._results], axis=1)
        return np.asarray((reasons == FEASIBLE).all(axis=1))

    @cached_property
    def sought(self) -> MetricSpec | None:
        """The one metric that is minimised or maximised; None for any other objective."""
        terms = self.task.objective.terms
        if len(terms) != 1 or terms[0].goal not in ("minimise", "maximise"):
            return None
        return next(spec for spec in self.task.metrics if spec.name == terms[0].metric)

    @property
    def label(self) -> str:
        """Quantity of the task's curves: the sought metric with its unit, or reward."""
        return "reward" if self.sought is None else f"{self.sought.name} [{self.sought.unit}]"

    @property
    def optimum_value(self) -> float:
        """Value of the optimum in the quantity of `label`."""
        if self.sought is None:
            return self.reward
        return float(self.average(self.sought.name)[self.best_row])

    def average(self, metric: str) -> np.ndarray:
        """Return metric averaged over the workloads by weight, (N,), NaN where it was not built."""
        place = [spec.name for spec in self.task.metrics].index(metric)
        columns = np.stack([values[:, place] for values, _ in self._results])
        return np.asarray(self.task.weights @ columns)

    def front_terms(self) -> np.ndarray:
        """Return the rewards of the exact Pareto front, term by term, (m, n_terms)."""
        names = [w.workload.name for w in self.task.workloads]
        best = np.empty((0, len(self.task.objective.terms)))
        for _, values, reason in self._table.pieces(names):
            is_built = (reason == FEASIBLE).all(axis=1)
            terms = self.task.term_rewards(values[is_built], reason[is_built])
            best = np.unique(np.concatenate([best, terms]), axis=0)
            best = best[front(best)]
        return best

    def n_better(self, reward: float) -> int:
        """Return the number of designs with a reward above this one."""
        return int((self.rewards > reward).sum())

    def random_curve(
        self, budgets: Sequence[int], quantiles: Sequence[float] = (0.05, 0.5, 0.95)
    ) -> RandomCurve:
        """Return the exact curve of random search, in the metric that is sought, else in reward."""
        shown = None if self.sought is None else self.average(self.sought.name)
        return random_curve(self.rewards, budgets, quantiles, shown)
