"""Tasks as objective functions of other libraries, to compare their methods over.

Optuna and OptunaHub, IOHexperimenter (`ioh`), Syne Tune and carps. All see a design as one whole
number for each parameter, from 0 to its size minus 1. A design that breaks a constraint of the
space has the reward of one that cannot be built.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from archgym.errors import InvalidArgumentError
from archgym.evaluation.limits import violations
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.runtime.importing import import_library
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


def ioh_problem(task: Task, name: str | None = None) -> Any:
    """Return the task as an integer problem of IOHexperimenter, to be maximised.

    Args:
      task: The task.
      name: Name of the problem; the task's id where None.

    Raises:
      InvalidArgumentError: `ioh` is not installed, or a parameter is too large for it.
    """
    ioh = _library("ioh", "ioh_problem")
    sizes = task.space.sizes
    if int(sizes.max()) > 2**31 - 1:
        raise InvalidArgumentError(
            f"A parameter for ioh must have at most 2^31 - 1 values; got {int(sizes.max())}."
        )

    def objective(design: Any) -> float:
        return _evaluated(task, dict(zip(task.space.names, design, strict=True)))[0]

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


def optunahub_problem(task: Task) -> Any:
    """Return the task as a problem of OptunaHub, to be maximised.

    Its search space is that of `optuna_objective`; the violation of limits is a constraint.

    Raises:
      InvalidArgumentError: `optunahub` is not installed.
    """
    import optuna

    base = _library("optunahub.benchmarks", "optunahub_problem").BaseProblem
    distributions = optuna.distributions

    class TaskProblem(base):  # type: ignore[misc, valid-type]  # a class of an extra library
        """The task, by the interface of OptunaHub."""

        @property
        def search_space(self) -> dict[str, Any]:
            """Distribution of each parameter's number."""
            return {
                parameter.name: distributions.IntDistribution(0, parameter.size - 1)
                if parameter.is_ordered
                else distributions.CategoricalDistribution(list(range(parameter.size)))
                for parameter in task.space.parameters
            }

        @property
        def directions(self) -> list[Any]:
            """One objective, the reward."""
            return [optuna.study.StudyDirection.MAXIMIZE]

        def evaluate(self, params: dict[str, Any]) -> float:
            """Return the reward."""
            return _evaluated(task, params)[0]

        def evaluate_constraints(self, params: dict[str, Any]) -> dict[str, float]:
            """Return the violation of the limits, 0 where all are met."""
            return {VIOLATION: _evaluated(task, params)[1]}

    return TaskProblem()


def syne_tune_blackbox(task: Task) -> Any:
    """Return the task as a blackbox of Syne Tune with one fidelity; `loss` is to be minimised.

    Its `elapsed_s` is the simulator's stated time, by which Syne Tune simulates its workers.

    Raises:
      InvalidArgumentError: `syne-tune` is not installed.
    """
    space = _library("syne_tune.config_space", "syne_tune_blackbox")
    base = _library("syne_tune.blackbox_repository.blackbox", "syne_tune_blackbox").Blackbox

    names = ["loss", VIOLATION, "elapsed_s"]
    elapsed_s = task.simulator.spec.evaluation_s * len(task.workloads)

    class TaskBlackbox(base):  # type: ignore[misc, valid-type]  # a class of an extra library
        """The task, by the interface of Syne Tune."""

        def _objective_function(
            self, configuration: dict[str, Any], fidelity: Any = None, seed: int | None = None
        ) -> Any:
            del seed
            reward, violation, _ = _evaluated(task, configuration)
            row = (-reward, violation, elapsed_s)
            return np.array([row]) if fidelity is None else dict(zip(names, row, strict=True))

        @property
        def fidelity_values(self) -> Any:
            """The only fidelity."""
            return np.ones(1, dtype=np.int64)

    return TaskBlackbox(
        configuration_space={
            parameter.name: space.randint(0, parameter.size - 1)
            if parameter.is_ordered
            else space.choice(list(range(parameter.size)))
            for parameter in task.space.parameters
        },
        fidelity_space={"evaluation": space.randint(1, 1)},
        objectives_names=names,
    )


def carps_objective(task: Task) -> Any:
    """Return the task as an objective function of carps, whose cost is the negative reward.

    Raises:
      InvalidArgumentError: `carps` is not installed.
    """
    spaces = _library("ConfigSpace", "carps_objective")
    module = "carps.objective_functions.objective_function"
    base = _library(module, "carps_objective").ObjectiveFunction
    result = _library("carps.utils.trials", "carps_objective").TrialValue

    class TaskObjective(base):  # type: ignore[misc, valid-type]  # a class of an extra library
        """The task, by the interface of carps."""

        @property
        def configspace(self) -> Any:
            """Numbers of the parameters' values."""
            space = spaces.ConfigurationSpace()
            for parameter in task.space.parameters:
                size = parameter.size
                space.add(
                    spaces.UniformIntegerHyperparameter(parameter.name, 0, size - 1)
                    if parameter.is_ordered and size > 1
                    else spaces.CategoricalHyperparameter(parameter.name, list(range(size)))
                )
            return space

        def _evaluate(self, trial_info: Any) -> Any:
            return result(cost=-_evaluated(task, trial_info.config)[0])

    return TaskObjective()


def _library(module: str, function: str) -> Any:
    """Return a module of a library that is no dependency.

    Raises:
      InvalidArgumentError: It is not installed.
    """
    try:
        return import_library(module)
    except ImportError as error:
        name = {"syne_tune": "syne-tune"}.get(module.partition(".")[0], module.partition(".")[0])
        raise InvalidArgumentError(
            f"`{function}` needs the package {name}. Install it with: pip install {name} ({error})"
        ) from None


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
