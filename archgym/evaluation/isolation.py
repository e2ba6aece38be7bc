"""Evaluation in which a simulator that breaks on a design costs that design only."""

from collections.abc import Sequence

import numpy as np

from archgym.errors import ArchGymError, SimulatorError, error_text
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.evaluation.simulator import FAILED
from archgym.evaluation.task import Evaluation, Task


def evaluate_isolated(task: Task, indices: np.ndarray) -> Evaluation:
    """Return results of designs; where the simulator breaks on a batch, the batch is halved."""
    try:
        return _settled(task.evaluate(indices))
    except SimulatorError as error:
        message = str(error)
    except ArchGymError:
        raise
    # A simulator is other people's code and may raise anything; its failure is a result. Other
    # BaseExceptions are signals' (KeyboardInterrupt, the command line's own), which stop the study.
    except (Exception, SystemExit, GeneratorExit) as error:
        message = f"{type(error).__name__}: {error_text(error)}"
    if len(indices) == 1:
        return failed_evaluation(task, message)
    middle = len(indices) // 2
    return joined(
        [evaluate_isolated(task, indices[:middle]), evaluate_isolated(task, indices[middle:])]
    )


def _settled(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation with the reward of a failure wherever a simulator says it broke."""
    broken = (evaluation.reason == FAILED).any(axis=1)
    failures = dict(evaluation.failures)
    for row in np.flatnonzero(broken).tolist():
        failures.setdefault(row, "The simulator broke and did not say why.")
    if not failures:
        return evaluation
    reward = evaluation.reward.copy()
    reward[list(failures)] = INFEASIBLE_REWARD
    return Evaluation(evaluation.values, evaluation.reason, reward, failures)


def failed_evaluation(task: Task, message: str) -> Evaluation:
    """Return evaluation of one design on which the simulator broke."""
    one = empty_evaluation(task, 1)
    return Evaluation(one.values, one.reason, one.reward, {0: message})


def empty_evaluation(task: Task, n: int = 0) -> Evaluation:
    """Return evaluation of `n` designs without results."""
    w = len(task.workloads)
    return Evaluation(
        np.full((n, w, len(task.metrics)), np.nan),
        np.full((n, w), FAILED, dtype=np.int16),
        np.full(n, INFEASIBLE_REWARD),
    )


def joined(parts: Sequence[Evaluation]) -> Evaluation:
    """Return one evaluation of one or more parts, in their order."""
    failures: dict[int, str] = {}
    offset = 0
    for part in parts:
        failures |= {offset + row: why for row, why in part.failures.items()}
        offset += len(part.reward)
    return Evaluation(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.reason for part in parts]),
        np.concatenate([part.reward for part in parts]),
        failures,
    )
