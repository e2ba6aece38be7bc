"""What an environment calls to have designs evaluated."""

import numpy as np

from archgym.agent import Evaluate, Trials
from archgym.executor import Executor, SerialExecutor
from archgym.simulator import FAILED, FEASIBLE
from archgym.task import Task

__all__ = ["evaluator", "reason_texts"]


def evaluator(task: Task, executor: Executor | None = None) -> Evaluate:
    """A function that evaluates designs of a task, without a budget and without a journal.

    Args:
      task: What designs are judged by.
      executor: How they are evaluated; one after the other by default. It stays the caller's.
    """
    used = executor if executor is not None else SerialExecutor()

    def evaluate(indices: np.ndarray) -> Trials:
        result = used.evaluate(task, indices)
        failed = (result.reason == FAILED).any(axis=1)
        return Trials(
            indices=indices,
            reward=result.reward,
            values=task.average(result.values),
            feasible=(result.reason == FEASIBLE).all(axis=1),
            failed=failed,
            repeated=np.zeros(len(indices), dtype=bool),
            specs=task.metrics,
        )

    return evaluate


def reason_texts(task: Task, trials: Trials) -> list[str]:
    """Why each design was not built, in words; "" where it was."""
    texts = [""] * len(trials)
    rows = np.flatnonzero(~trials.feasible)
    if not len(rows):
        return texts
    violated = task.space.violations(trials.indices[rows])
    # Trials do not say which of the model's reasons it was; most models have one.
    of_model = " Or: ".join(task.simulator.model_reasons) or "The design cannot be built."
    for row, constraint in zip(rows, violated, strict=True):
        if trials.failed[row]:
            texts[row] = "The simulator broke on this design."
        elif constraint >= 0:
            texts[row] = task.space.constraints[int(constraint)].reason
        else:
            texts[row] = of_model
    return texts
