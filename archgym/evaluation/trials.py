"""Results of designs in the form that agents receive."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import numpy as np

from archgym.evaluation.metrics import MetricSpec


@final
@dataclass(frozen=True)
class Trial:
    """One row of `Trials`.

    Example:
      >>> from archgym.tasks.task import Task
      >>> from archgym.testing import ProvingSimulator
      >>> task = Task.make(ProvingSimulator("tiny", has_failures=False), "near")
      >>> designs = task.space.default_indices[None, :]
      >>> (trial,) = task.trials(designs, task.evaluate(designs), np.array([False]))
      >>> trial.feasible, trial.reward
      (True, 0.0)
    """

    indices: np.ndarray
    reward: float
    terms: np.ndarray
    values: np.ndarray
    reason: int
    feasible: bool
    failed: bool
    repeated: bool


@final
@dataclass(frozen=True)
class Trials:
    """Results of k designs, in the order the agent asked for them.

    `indices` is (k, n_parameters) as asked; `reward` is (k,), larger is better and always finite;
    `terms` is (k, n_terms), the same for each term of the task's objective alone; `values` is
    (k, n_metrics), raw metrics averaged over the task's workloads in the units of `specs`, NaN
    where a design was not built; `reason` is (k,), 0 where it was, -1 where the simulator broke,
    else an index into the simulator's reasons, of the first workload that has one; `feasible`,
    `failed` (the simulator broke) and `repeated` (known from before, not charged) are (k,) bool.
    `Task.trials` makes them.

    Example:
      >>> from archgym.tasks.task import Task
      >>> from archgym.testing import ProvingSimulator
      >>> task = Task.make(ProvingSimulator("tiny", has_failures=False), "near")
      >>> designs = task.space.default_indices[None, :]
      >>> trials = task.trials(designs, task.evaluate(designs), np.array([False]))
      >>> len(trials), trials.reward.tolist(), trials.reason.tolist()
      (1, [0.0], [0])
    """

    indices: np.ndarray
    reward: np.ndarray
    terms: np.ndarray
    values: np.ndarray
    reason: np.ndarray
    feasible: np.ndarray
    failed: np.ndarray
    repeated: np.ndarray
    specs: tuple[MetricSpec, ...]

    def __len__(self) -> int:
        return len(self.reward)

    def __repr__(self) -> str:
        best = f", best reward {self.reward.max():.6g}" if len(self) else ""
        return f"Trials({len(self)} designs, {int(self.feasible.sum())} feasible{best})"

    def __iter__(self) -> Iterator[Trial]:
        for row in range(len(self)):
            yield Trial(
                self.indices[row],
                float(self.reward[row]),
                self.terms[row],
                self.values[row],
                int(self.reason[row]),
                bool(self.feasible[row]),
                bool(self.failed[row]),
                bool(self.repeated[row]),
            )


Evaluate = Callable[[np.ndarray], Trials]
"""Takes designs, (k, n_parameters) indices, and returns their trials; raises `BudgetExhausted`."""


@runtime_checkable
class EagerEvaluate(Protocol):
    """An `Evaluate` that can start designs before their results are asked for."""

    def __call__(self, indices: np.ndarray) -> Trials:
        """Return the trials of designs."""

    def expect(self, indices: np.ndarray) -> None:
        """Start designs that this is called with next, in the order in which they are expected."""


def expect(evaluate: Evaluate, indices: np.ndarray) -> None:
    """Start designs that `evaluate` is called with next, where it can start them early.

    Results and their order do not depend on it: only workers are busy earlier.

    Args:
      evaluate: Function that evaluates designs.
      indices: (k, n_parameters), after those expected before.
    """
    if isinstance(evaluate, EagerEvaluate):
        evaluate.expect(indices)
