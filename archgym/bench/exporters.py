"""Tasks as objective functions of other libraries: Optuna and IOHexperimenter (`ioh`).

Both see a design as one whole number for each parameter, from 0 to its size minus 1. A design that
breaks a constraint of the space has the reward of one that cannot be built.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from archgym.errors import InvalidArgumentError
from archgym.evaluation.limits import violations
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.evaluation.task import Task
from archgym.runtime.importing import import_library

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
    space = task.space

    def objective(trial: Any) -> float:
        design = [
            trial.suggest_int(parameter.name, 0, parameter.size - 1)
            if parameter.is_ordered
            else trial.suggest_categorical(parameter.name, list(range(parameter.size)))
            for parameter in space.parameters
        ]
        reward, violation, values = _evaluated(task, design)
        trial.set_user_attr(VIOLATION, violation)
        names = [spec.name for spec in task.metrics]
        for name, value in zip(names, values, strict=False):
            trial.set_user_attr(name, value)
        return reward

    return objective


def optuna_constraints(trial: Any) -> tuple[float]:
    """Return the violation of a trial, for `constraints_func` of a sampler."""
    return (float(trial.user_attrs[VIOLATION]),)


def ioh_problem(task: Task, name: str | None = None) -> Any:
    """Return the task as an integer problem of IOHexperimenter, to be maximised.

    Args:
      task: The task.
      name: Name of the problem; the task's id where None.

    Raises:
      InvalidArgumentError: `ioh` is not installed, or a parameter is too large for it.
    """
    try:
        ioh = import_library("ioh")
    except ImportError:
        raise InvalidArgumentError(
            "`ioh_problem` needs the package ioh. Install it with: pip install ioh"
        ) from None
    sizes = task.space.sizes
    if int(sizes.max()) > 2**31 - 1:
        raise InvalidArgumentError(
            f"A parameter for ioh must have at most 2^31 - 1 values; got {int(sizes.max())}."
        )

    def objective(design: Any) -> float:
        return _evaluated(task, [int(value) for value in design])[0]

    problem = ioh.wrap_problem(
        objective,
        name or task.id,
        ioh.ProblemClass.INTEGER,
        dimension=len(sizes),
        optimization_type=ioh.OptimizationType.MAX,
        lb=0,
        ub=int(sizes.max()) - 1,
    )
    problem.bounds.ub = (sizes - 1).tolist()
    return problem


def _evaluated(task: Task, design: list[int]) -> tuple[float, float, list[float]]:
    """Return reward, violation, and average metrics where the design could be built."""
    indices = np.array([design], dtype=np.int64)
    task.space.check_indices(indices)
    if not task.space.feasible(indices)[0]:
        return INFEASIBLE_REWARD, _UNBUILT, []
    found = task.evaluate(indices)
    reward = float(found.reward[0])
    if (found.reason != 0).any():
        return reward, _UNBUILT, []
    violation = float(violations(task.limits, found.values, task.metrics)[0])
    return reward, violation, task.average(found.values)[0].tolist()
