"""Runs an agent on a task without a study."""

from contextlib import suppress
from typing import Any

import numpy as np

from archgym.agent.agent import Agent, make_agent
from archgym.errors import BudgetExhausted
from archgym.evaluation.trials import Trials
from archgym.tasks.task import Task


class Recorder:
    """Answers an agent's asks until `budget` distinct designs, and keeps them."""

    def __init__(self, task: Task, budget: int) -> None:
        self.asks: list[np.ndarray] = []
        self.rewards: list[float] = []
        self._task = task
        self._budget = budget
        self._known: set[bytes] = set()

    @property
    def designs(self) -> np.ndarray:
        return np.concatenate(self.asks)

    @property
    def n_repeated(self) -> int:
        return len(self.designs) - len(self._known)

    def __call__(self, indices: np.ndarray) -> Trials:
        self.asks.append(indices.copy())
        result = self._task.evaluate(indices)
        repeated = []
        for row, reward in zip(self._task.space.canonical(indices), result.reward, strict=True):
            repeated.append(row.tobytes() in self._known)
            if not repeated[-1]:
                self._known.add(row.tobytes())
                self.rewards.append(float(reward))
        if len(self.rewards) >= self._budget:
            raise BudgetExhausted("done")
        return self._task.trials(indices, result, np.array(repeated))


def search(
    kind: type[Agent], task: Task, budget: int, seed: int = 0, **hyperparameters: Any
) -> Recorder:
    """What the agent asked for within the budget."""
    recorder = Recorder(task, budget)
    with suppress(BudgetExhausted):
        make_agent(kind, task.space, seed, hyperparameters).search(recorder, task)
    return recorder
