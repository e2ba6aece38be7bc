"""What an environment calls to have designs evaluated."""

from collections.abc import Mapping
from typing import Any, final

import numpy as np

from archgym.agent import Evaluate, Trials
from archgym.executor import Executor, SerialExecutor
from archgym.simulator import FAILED
from archgym.task import Task

__all__ = ["design_info", "evaluator", "info_text", "reason_texts"]

_BROKEN = "The simulator broke on this design."


def evaluator(task: Task, executor: Executor | None = None) -> Evaluate:
    """A function that evaluates designs of a task, without a budget and without a journal.

    It can be pickled, as libraries that run copies of an environment in other processes ask.

    Args:
      task: What designs are judged by.
      executor: How they are evaluated; one after the other by default. It stays the caller's.
    """
    return _Evaluator(task, executor)


@final
class _Evaluator:
    def __init__(self, task: Task, executor: Executor | None) -> None:
        self._task = task
        self._given = executor
        self._executor = executor if executor is not None else SerialExecutor()

    def __call__(self, indices: np.ndarray) -> Trials:
        evaluation = self._executor.evaluate(self._task, indices)
        return self._task.trials(indices, evaluation, np.zeros(len(indices), dtype=bool))

    def __reduce__(self) -> tuple[type["_Evaluator"], tuple[Task, Executor | None]]:
        # An executor of one's own holds locks; a copy makes another.
        return _Evaluator, (self._task, self._given)


def reason_texts(task: Task, trials: Trials) -> list[str]:
    """Why each design was not built, in words; "" where it was."""
    # FAILED, -1, is the last place.
    assert FAILED == -1
    texts = np.array([*task.simulator.reasons, _BROKEN], dtype=object)
    found: list[str] = texts[trials.reason].tolist()
    return found


def design_info(task: Task, trials: Trials, row: int) -> dict[str, Any]:
    """What an environment says of a design that was evaluated: see `DesignEnv`."""
    space = task.space
    indices = trials.indices[row]
    feasible = bool(trials.feasible[row])
    values = zip(task.metrics, trials.values[row], strict=True)
    return {
        "design": space.design_at(space.canonical(indices[None, :])[0]),
        "indices": indices.copy(),
        "metrics": {spec.name: float(value) for spec, value in values} if feasible else {},
        "units": {spec.name: spec.unit for spec in task.metrics},
        "feasible": feasible,
        "failed": bool(trials.failed[row]),
        "reason": reason_texts(task, trials)[row],
        "reward": float(trials.reward[row]),
    }


def info_text(info: Mapping[str, Any]) -> str:
    """What `design_info` said, a line each; an empty one for no design."""
    if not info:
        return "No design yet.\n"
    lines = [f"{name} = {value}" for name, value in info["design"].items()]
    lines += [
        f"{name} = {value:g} {info['units'][name]}" for name, value in info["metrics"].items()
    ]
    lines += [info["reason"]] if info["reason"] else []
    return "\n".join([*lines, f"reward = {info['reward']:g}", ""])
