"""Optimum and Pareto front of a task, proven once every design of a space is known."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from archgym.analysis.pareto import front
from archgym.evaluation.objective import Objective, objective_from_json
from archgym.evaluation.simulator import FEASIBLE, Simulator
from archgym.evaluation.specification import Declaration
from archgym.runtime.reductions import report_reduction
from archgym.tasks.choices import WeightedWorkload
from archgym.tasks.task import Task

# chosen: a picture shows no more; the front's size is exact whatever is kept of it.
_MAX_POINTS = 2000


@final
@dataclass(frozen=True)
class FrontPoint:
    """Designs on the front that are worth the same in every term, and the first of them."""

    number: int
    """Index of the first such design in its space."""
    n_alike: int
    terms: tuple[float, ...]


@final
@dataclass(frozen=True)
class Optimum:
    """The best that a space allows, for an objective on weighted workloads.

    `weights` are by the workload's name. Of designs that are as good, the first in index order
    stands. `front_size` counts points of the front whose terms differ, 0 for an objective of one
    term; `front` holds them, evenly thinned out beyond 2,000.
    """

    objective: Objective
    weights: Mapping[str, float]
    reward: float
    number: int
    n_ties: int
    """Designs that are as good, itself among them."""
    n_infeasible: int
    """Designs that cannot be built on one of the workloads."""
    front_size: int = 0
    front: tuple[FrontPoint, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the optimum as JSON; `from_json` reads it."""
        return {
            "objective": self.objective.to_json(),
            "weights": dict(self.weights),
            "reward": self.reward,
            "number": self.number,
            "n_ties": self.n_ties,
            "n_infeasible": self.n_infeasible,
            "front_size": self.front_size,
            "front": [[p.number, p.n_alike, list(p.terms)] for p in self.front],
        }

    @classmethod
    def from_json(cls, data: Any, declaration: Declaration) -> "Optimum":
        """Return optimum from what `to_json` gave.

        Raises:
          ArchGymError, KeyError, TypeError, ValueError: `data` is something else, or names what
            the declaration does not have.
        """
        optimum = cls(
            objective_from_json(data["objective"]),
            {str(name): float(weight) for name, weight in data["weights"].items()},
            float(data["reward"]),
            int(data["number"]),
            int(data["n_ties"]),
            int(data["n_infeasible"]),
            int(data["front_size"]),
            tuple(FrontPoint(int(n), int(k), tuple(map(float, t))) for n, k, t in data["front"]),
        )
        size = declaration.space.size
        if not (
            set(optimum.weights) <= {workload.name for workload in declaration.workloads}
            and math.isfinite(optimum.reward)
            and all(0 <= n < size for n in (optimum.number, *(p.number for p in optimum.front)))
        ):
            raise ValueError("an optimum must be a design of the space on workloads of the table")
        return optimum


def tasks_of(task: Task) -> list[Task]:
    """Return the tasks of a table with an optimum: each workload and their mixture.

    Args:
      task: Gives the simulator, the workloads with their weights, and perhaps an objective of its
        own in addition to the simulator's.
    """
    simulator: Simulator = task.simulator
    objectives = {o.name: o for o in simulator.spec.objectives.values()} | {
        task.objective.name: task.objective
    }
    mixtures: list[tuple[tuple[WeightedWorkload, ...], np.ndarray]] = [
        ((weighted,), task.reference[place : place + 1])
        for place, weighted in enumerate(task.workloads)
    ]
    if len(task.workloads) > 1:
        mixtures.append((task.workloads, task.reference))
    return [
        Task(simulator, task.space_name, workloads, objective, reference)
        for workloads, reference in mixtures
        for objective in objectives.values()
    ]


@final
class OptimumSearch:
    """Search for a task's optimum and front in designs that come in pieces."""

    def __init__(self, task: Task, places: Sequence[int]) -> None:
        """Start without designs.

        Args:
          places: Indices of its workloads among those of the pieces.
        """
        self._task = task
        self._places = list(places)
        self._reward = -math.inf
        self._number = -1
        self._n_ties = 0
        self._n_infeasible = 0
        n_terms = len(task.objective.terms)
        # The published form multiplies its terms: one optimum, and no front of its own.
        self._has_front = n_terms > 1
        self._terms = np.empty((0, n_terms))
        self._numbers = np.empty(0, dtype=np.int64)
        self._alike = np.empty(0, dtype=np.int64)

    def add(self, numbers: np.ndarray, values: np.ndarray, reason: np.ndarray) -> None:
        """Take the next designs in index order; arguments as for `TableWriter.add`."""
        if not len(numbers):
            return
        values, reason = values[:, self._places], reason[:, self._places]
        reward = self._task.rewards(values, reason)
        is_built = (reason == FEASIBLE).all(axis=1)
        self._n_infeasible += int((~is_built).sum())
        best = float(reward.max())
        if best > self._reward:
            self._reward, self._n_ties = best, 0
            self._number = int(numbers[np.argmax(reward)])
        if best == self._reward:
            self._n_ties += int((reward == best).sum())
        if self._has_front and is_built.any():
            terms = self._task.term_rewards(values[is_built], reason[is_built])
            self._extend_front(terms, numbers[is_built])

    def _extend_front(self, terms: np.ndarray, numbers: np.ndarray) -> None:
        distinct, first, alike = np.unique(terms, axis=0, return_index=True, return_counts=True)
        terms = np.concatenate([self._terms, distinct])
        numbers = np.concatenate([self._numbers, numbers[first]])
        alike = np.concatenate([self._alike, alike])
        kept = front(terms)
        terms, numbers, alike = terms[kept], numbers[kept], alike[kept]
        # A point of before may have come again.
        self._terms, place = np.unique(terms, axis=0, return_inverse=True)
        place = place.reshape(-1)
        self._numbers = np.full(len(self._terms), np.iinfo(np.int64).max)
        np.minimum.at(self._numbers, place, numbers)
        self._alike = np.zeros(len(self._terms), dtype=np.int64)
        np.add.at(self._alike, place, alike)

    def optimum(self) -> Optimum:
        """Return the optimum found."""
        n = len(self._terms)
        shown = np.unique(np.linspace(0, n - 1, min(n, _MAX_POINTS)).round().astype(int))
        report_reduction(
            "points of the front that are listed", len(shown), n,
            "they are spread evenly along it; its size is exact",
        )  # fmt: skip
        points = [
            FrontPoint(int(self._numbers[i]), int(self._alike[i]), tuple(self._terms[i].tolist()))
            for i in shown[::-1]
        ]
        task = self._task
        return Optimum(
            task.objective,
            {w.workload.name: float(w.weight) for w in task.workloads},
            self._reward,
            self._number,
            self._n_ties,
            self._n_infeasible,
            n,
            tuple(points),
        )
