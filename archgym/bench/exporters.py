"""Tasks as objective functions of Optuna, to compare its methods over.

Optuna sees a design as one whole number for each parameter, from 0 to its size minus 1. A design
that breaks a constraint of the space has the reward of one that cannot be built.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from archgym.evaluation.limits import violations
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.tasks.task import Task

VIOLATION = "violation"
"""User attribute of an Optuna trial: violation of limits, above 0 where one is missed."""
# chosen: violation of a design that cannot be built, larger than any that is met in practice.
_UNBUILT = 1e6


def optuna_objective(task: Task) -> Callable[[Any], float]:
    """Return an objective function for `optuna.create_study(direction="maximize")`.

    Ordered parameters become integers, others categories. Metrics and the violation of limits are
    user attributes of each trial.

    Example:
      >>> import optuna
      >>> from archgym.bench import optuna_constraints, optuna_objective
      >>> from archgym.testing import ProvingSimulator
      >>> optuna.logging.set_verbosity(optuna.logging.ERROR)
      >>> task = Task.make(ProvingSimulator("tiny"), "near")
      >>> sampler = optuna.samplers.TPESampler(seed=0, constraints_func=optuna_constraints)
      >>> study = optuna.create_study(direction="maximize", sampler=sampler)
      >>> study.optimize(optuna_objective(task), n_trials=5)
      >>> study.best_value >= -25.0
      True
    """

    def objective(trial: Any) -> float:
        design = {
            parameter.name: trial.suggest_int(parameter.name, 0, parameter.size - 1)
            if parameter.is_ordered
            else trial.suggest_categorical(parameter.name, list(range(parameter.size)))
            for parameter in task.space.parameters
        }
        reward, violation, values = _evaluated(task, design)
        for spec, value in zip(task.metrics, values, strict=False):
            trial.set_user_attr(spec.name, value)
        # Last: a metric may have its name.
        trial.set_user_attr(VIOLATION, violation)
        return reward

    return objective


def optuna_constraints(trial: Any) -> tuple[float]:
    """Return the violation of a trial, for `constraints_func` of a sampler."""
    return (float(trial.user_attrs[VIOLATION]),)


def _evaluated(task: Task, design: Mapping[str, Any]) -> tuple[float, float, list[float]]:
    """Return reward, violation, and average metrics where the design could be built."""
    indices = np.array([[design[name] for name in task.space.names]], dtype=np.int64)
    task.space.check_indices(indices)
    if not task.space.feasible(indices)[0]:
        return INFEASIBLE_REWARD, _UNBUILT, []
    found = task.evaluate(indices)
    reward = float(found.reward[0])
    if (found.reason != 0).any():
        return reward, _UNBUILT, []
    violation = float(violations(task.limits, found.values, task.metrics)[0])
    return reward, violation, task.average(found.values)[0].tolist()
