"""Proposals of an agent for a study that has none: what it would ask for next.

The agent is made from its seed and runs over the results that the study holds. The first ask that
holds a design without a result is the proposal. So a proposal is a function of the agent, its
hyperparameters, its seed and the journal, and nothing about it needs to be stored.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from archgym.agent.agent import agent_class, make_agent
from archgym.errors import BudgetExhausted, InvalidArgumentError
from archgym.evaluation.task import Evaluation, Task
from archgym.evaluation.trials import Trials
from archgym.studies.snapshot import StudyLog

# chosen: asks for designs that are known before an agent counts as finished.
_MAX_KNOWN_ASKS = 100_000


class Known:
    """Results of a study by canonical design."""

    def __init__(self, task: Task, log: StudyLog) -> None:
        """Take the results of a study of this task."""
        self._task = task
        records = log.records.rows(log.is_evaluation)
        self._records = records
        canonical = task.space.canonical(records.indices) if len(records) else records.indices
        self._rows = {row.tobytes(): n for n, row in enumerate(np.ascontiguousarray(canonical))}

    def missing(self, designs: np.ndarray) -> np.ndarray:
        """Return canonical designs without a result, each once, (k, n_parameters)."""
        canonical = self._task.space.canonical(np.asarray(designs, dtype=np.int64))
        fresh = {row.tobytes(): row for row in np.ascontiguousarray(canonical)}
        rows = [row for key, row in fresh.items() if key not in self._rows]
        return np.array(rows, dtype=np.int64).reshape(-1, canonical.shape[1])

    def running_count(self, designs: np.ndarray) -> np.ndarray:
        """Return the number of designs without a result up to each one, (k,)."""
        canonical = self._task.space.canonical(np.asarray(designs, dtype=np.int64))
        keys = [row.tobytes() for row in np.ascontiguousarray(canonical)]
        seen = set(self._rows)
        is_new = []
        for key in keys:
            is_new.append(key not in seen)
            seen.add(key)
        return np.cumsum(is_new)

    def trials(self, designs: np.ndarray) -> Trials:
        """Return the results of designs, all of which are known."""
        canonical = np.ascontiguousarray(self._task.space.canonical(designs))
        rows = np.array([self._rows[row.tobytes()] for row in canonical])
        records = self._records.rows(rows)
        found = Evaluation(records.values, records.reason, records.reward)
        return self._task.trials(designs, found, np.zeros(len(rows), dtype=bool))


def propose(
    task: Task,
    log: StudyLog,
    agent: str,
    *,
    seed: int = 0,
    hyperparameters: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Return the designs that an agent would ask for next, without results so far.

    Args:
      task: Task of the study.
      log: The study.
      agent: Name of a registered agent.
      seed: Seed of the agent.
      hyperparameters: Hyperparameters that differ from the defaults.

    Returns:
      (k, n_parameters) canonical designs; at least one.

    Raises:
      UnknownNameError: The agent or a hyperparameter does not exist.
      InvalidArgumentError: The agent cannot be replayed, or has no more to propose.
    """
    kind = agent_class(agent)
    made = make_agent(kind, task.space, seed, dict(hyperparameters or {}))
    if not made.replayable:
        raise InvalidArgumentError(
            f"Agent {agent!r} does not propose the same designs again, so it cannot be asked here. "
            "Use another one, such as 'genetic'."
        )
    known = Known(task, log)
    waiting: list[np.ndarray] = []
    asked = 0
    is_finished = True

    def evaluate(indices: np.ndarray) -> Trials:
        nonlocal asked, is_finished
        task.space.check_indices(np.asarray(indices))
        missing = known.missing(indices)
        asked += len(indices)
        if len(missing) or asked > _MAX_KNOWN_ASKS:
            is_finished = len(missing) > 0
            waiting.append(missing)
            raise BudgetExhausted("The agent waits for results.")
        return known.trials(np.asarray(indices, dtype=np.int64))

    with suppress(BudgetExhausted):
        made.search(evaluate, task)
    if not waiting or not len(waiting[0]):
        limit = "" if is_finished else f" in its first {_MAX_KNOWN_ASKS:,} asks"
        raise InvalidArgumentError(
            f"Agent {agent!r} with seed {seed} has nothing new to propose{limit}. Use another seed "
            "or agent."
        )
    return waiting[0]
