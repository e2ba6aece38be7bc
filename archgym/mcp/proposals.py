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
from archgym.evaluation.task import Task
from archgym.evaluation.trials import Trials
from archgym.studies.known import Known
from archgym.studies.snapshot import StudyLog

# chosen: asks for designs that are known before an agent counts as finished.
_MAX_KNOWN_ASKS = 100_000


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
