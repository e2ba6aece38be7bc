"""Search methods of other libraries behind one function, with their defaults as they come.

The default design comes first where a library takes it: Optuna, nevergrad, Ax and BayBE. SMAC3 adds
it to its initial designs. Vizier is told of it, and starts with the center of the space.

Each takes the sizes of the parameters, which of them are ordered, the default design, a seed, and a
function that evaluates a design; it never returns, since the evaluation raises `End`. Designs that
break a constraint of the space count as designs that cannot be built: the worst reward.

Versions: optuna 5.0.0, smac 2.4.1, nevergrad 1.0.12, cmaes 0.13.1, pymoo 0.6.2, ax-platform 1.3.1,
baybe 0.15.0, and google-vizier 0.1.24 with jax 0.4.34 in an environment of its own.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["METHODS", "Evaluated", "Evaluation", "Problem"]


class Problem:
    """Part of a task that a method of another library is given."""

    def __init__(
        self, sizes: Sequence[int], ordered: Sequence[bool], default: Sequence[int], budget: int
    ) -> None:
        self.budget = budget
        self.sizes = [int(size) for size in sizes]
        self.ordered = [bool(one) for one in ordered]
        self.default = [int(one) for one in default]
        self.free = [n for n, size in enumerate(self.sizes) if size > 1]

    def design(self, values: dict[int, int]) -> list[int]:
        """Return a design of the free parameters' values."""
        return [values.get(n, 0) for n in range(len(self.sizes))]


Evaluated = tuple[float, float]
"""Reward, and violation of limits: 0 where all are met, above 0 where not."""
Evaluation = Callable[[list[int]], Evaluated]


def optuna_search(problem: Problem, seed: int, evaluate: Evaluation, kind: str) -> None:
    """Search with Optuna; limits are given as constraints."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")

    def constraints(trial: Any) -> tuple[float]:
        return (float(trial.user_attrs["violation"]),)

    sampler: Any
    if kind == "tpe":
        sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=True, constraints_func=constraints
        )
    else:
        sampler = optuna.samplers.GPSampler(seed=seed, constraints_func=constraints)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({f"x{n}": problem.default[n] for n in problem.free})

    def objective(trial: Any) -> float:
        values = {}
        for n in problem.free:
            size = problem.sizes[n]
            if problem.ordered[n]:
                values[n] = trial.suggest_int(f"x{n}", 0, size - 1)
            else:
                values[n] = trial.suggest_categorical(f"x{n}", list(range(size)))
        reward, violation = evaluate(problem.design(values))
        trial.set_user_attr("violation", violation)
        return reward

    study.optimize(objective, n_trials=10**9)


def smac_search(problem: Problem, seed: int, evaluate: Evaluation) -> None:
    """Search with SMAC3's facade for mixed spaces; it takes its initial designs by the budget."""
    import logging
    import tempfile
    from pathlib import Path

    from ConfigSpace import Categorical, ConfigurationSpace, Integer
    from smac import HyperparameterOptimizationFacade, Scenario
    from smac.runhistory import TrialValue

    logging.disable(logging.CRITICAL)
    space = ConfigurationSpace(seed=seed)
    for n in problem.free:
        size, default = problem.sizes[n], problem.default[n]
        if problem.ordered[n]:
            space.add(Integer(f"x{n}", (0, size - 1), default=default))
        else:
            space.add(Categorical(f"x{n}", list(range(size)), default=default))
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            space,
            deterministic=True,
            n_trials=problem.budget,
            use_default_config=True,
            seed=seed,
            output_directory=Path(folder),
        )
        facade = HyperparameterOptimizationFacade(
            scenario, lambda config, seed=0: 0.0, overwrite=True, logging_level=False
        )
        while True:
            info = facade.ask()
            values = {n: int(info.config[f"x{n}"]) for n in problem.free}
            reward, _ = evaluate(problem.design(values))
            facade.tell(info, TrialValue(cost=-reward))


def ax_search(problem: Problem, seed: int, evaluate: Evaluation) -> None:
    """Search with Ax's client, which chooses BoTorch models; limits are outcome constraints."""
    import logging

    from ax.api.client import Client
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    parameters: list[Any] = []
    for n in problem.free:
        size = problem.sizes[n]
        if problem.ordered[n]:
            parameters.append(RangeParameterConfig(f"x{n}", (0, size - 1), "int"))
        else:
            values = list(range(size))
            parameters.append(ChoiceParameterConfig(f"x{n}", values, "int", is_ordered=False))
    client = Client(random_seed=seed)
    client.configure_experiment(parameters)
    client.configure_optimization("reward", outcome_constraints=["violation <= 0"])
    default = {f"x{n}": problem.default[n] for n in problem.free}
    asked: dict[int, Any] = {client.attach_trial(default): default}
    while True:
        for index, values in asked.items():
            design = problem.design({n: int(values[f"x{n}"]) for n in problem.free})
            reward, violation = evaluate(design)
            client.complete_trial(index, {"reward": reward, "violation": violation})
        asked = client.get_next_trials(max_trials=1)


def vizier_search(problem: Problem, seed: int, evaluate: Evaluation) -> None:
    """Search with Vizier's default designer, a Gaussian process with UCB and pure exploration.

    Numbers have 64 bits, as in Vizier's service; with 32 the fourth design has no numbers. Results
    are padded to multiples of ten, so that functions are compiled every tenth evaluation.
    """
    import jax
    from vizier import algorithms
    from vizier import pyvizier as vz
    from vizier._src.algorithms.designers.gp_ucb_pe import VizierGPUCBPEBandit
    from vizier.pyvizier.converters.padding import PaddingSchedule, PaddingType

    warnings.simplefilter("ignore")
    study = vz.ProblemStatement()
    for n in problem.free:
        size, default = problem.sizes[n], problem.default[n]
        root = study.search_space.root
        if problem.ordered[n]:
            root.add_int_param(f"x{n}", 0, size - 1, default_value=default)
        else:
            labels = [str(value) for value in range(size)]
            root.add_categorical_param(f"x{n}", labels, default_value=str(default))
    study.metric_information.append(
        vz.MetricInformation("reward", goal=vz.ObjectiveMetricGoal.MAXIMIZE)
    )
    jax.config.update("jax_enable_x64", True)
    schedule = PaddingSchedule(num_trials=PaddingType.MULTIPLES_OF_10)
    designer = VizierGPUCBPEBandit(study, rng=jax.random.PRNGKey(seed), padding_schedule=schedule)
    number = 0
    while True:
        for suggestion in designer.suggest(1):
            number += 1
            trial = suggestion.to_trial(number)
            values = {n: int(trial.parameters[f"x{n}"].value) for n in problem.free}
            reward, _ = evaluate(problem.design(values))
            trial.complete(vz.Measurement(metrics={"reward": reward}))
            designer.update(algorithms.CompletedTrials([trial]), algorithms.ActiveTrials())


# chosen: designs that BayBE rates in about a second; it holds a discrete space in memory in full.
_BAYBE_DESIGNS = 2000


def baybe_search(problem: Problem, seed: int, evaluate: Evaluation) -> None:
    """Search with BayBE's campaign among random designs, since it lists discrete spaces in full.

    Ordered parameters are categories that are encoded by integers. The model sees the numbers of a
    `NumericalDiscreteParameter`, whose checks take time quadratic in the number of values.
    """
    import numpy as np
    import pandas as pd
    from baybe import Campaign
    from baybe.parameters import CategoricalParameter
    from baybe.searchspace import SearchSpace
    from baybe.settings import Settings
    from baybe.targets import NumericalTarget

    warnings.simplefilter("ignore")
    rng = np.random.default_rng(seed)
    sizes = [problem.sizes[n] for n in problem.free]
    rows = rng.integers(0, sizes, (_BAYBE_DESIGNS, len(sizes)))
    rows[0] = [problem.default[n] for n in problem.free]
    pool = pd.DataFrame(rows, columns=[f"x{n}" for n in problem.free])
    pool = pool.drop_duplicates(ignore_index=True).map("{:05d}".format)
    parameters = [
        CategoricalParameter(
            f"x{n}",
            [f"{value:05d}" for value in range(problem.sizes[n])],
            encoding="INT" if problem.ordered[n] else "OHE",
        )
        for n in problem.free
    ]
    with Settings(random_seed=seed):
        space = SearchSpace.from_dataframe(pool, parameters)
        campaign = Campaign(space, NumericalTarget("reward"))
        asked = pool.iloc[[0]]
        while True:
            values = {n: int(asked[f"x{n}"].iloc[0]) for n in problem.free}
            reward, _ = evaluate(problem.design(values))
            campaign.add_measurements(asked.assign(reward=reward))
            asked = campaign.recommend(batch_size=1)


def nevergrad_search(problem: Problem, seed: int, evaluate: Evaluation) -> None:
    """Search with nevergrad's NGOpt, which is told the budget since it chooses a method by it."""
    import nevergrad as ng
    import numpy as np

    warnings.simplefilter("ignore")
    parts: dict[str, Any] = {}
    for n in problem.free:
        size = problem.sizes[n]
        if problem.ordered[n]:
            scalar = ng.p.Scalar(init=problem.default[n], lower=0, upper=size - 1)
            parts[f"x{n}"] = scalar.set_integer_casting()
        else:
            parts[f"x{n}"] = ng.p.Choice(list(range(size)))
    space = ng.p.Dict(**parts)
    space.random_state = np.random.RandomState(seed)
    optimizer = ng.optimizers.NGOpt(parametrization=space, budget=problem.budget, num_workers=1)
    while True:
        asked = optimizer.ask()
        values = {n: int(asked.value[f"x{n}"]) for n in problem.free}
        reward, _ = evaluate(problem.design(values))
        optimizer.tell(asked, -reward)


def cmaes_search(problem: Problem, seed: int, evaluate: Evaluation) -> None:
    """Search with CatCMAwM: integers with margin and categories."""
    import numpy as np
    from cmaes import CatCMAwM

    warnings.simplefilter("ignore")
    ordered = [n for n in problem.free if problem.ordered[n]]
    others = [n for n in problem.free if not problem.ordered[n]]
    spaces: dict[str, Any] = {}
    if ordered:
        spaces["z_space"] = [list(range(problem.sizes[n])) for n in ordered]
    if others:
        spaces["c_space"] = [problem.sizes[n] for n in others]
    optimizer = CatCMAwM(seed=seed, **spaces)
    while True:
        told = []
        for _ in range(optimizer.population_size):
            solution = optimizer.ask()
            values = {}
            if ordered:
                values.update({n: int(v) for n, v in zip(ordered, solution.z, strict=True)})
            if others:
                chosen = np.argmax(solution.c, axis=1)
                values.update({n: int(v) for n, v in zip(others, chosen, strict=True)})
            reward, _ = evaluate(problem.design(values))
            told.append((solution, -reward))
        optimizer.tell(told)


def pymoo_search(problem: Problem, seed: int, evaluate: Evaluation) -> None:
    """Search with pymoo's genetic algorithm for mixed variables; limits are constraints."""
    from pymoo.core.mixed import MixedVariableGA
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.core.variable import Choice, Integer
    from pymoo.optimize import minimize

    variables: dict[str, Any] = {}
    for n in problem.free:
        size = problem.sizes[n]
        ordered = problem.ordered[n]
        variables[f"x{n}"] = (
            Integer(bounds=(0, size - 1)) if ordered else Choice(options=list(range(size)))
        )

    class Search(ElementwiseProblem):  # type: ignore[misc]
        """The task as pymoo's problem."""

        def __init__(self) -> None:
            super().__init__(vars=variables, n_obj=1, n_ieq_constr=1)

        def _evaluate(self, x: Any, out: dict[str, Any], *_: Any, **__: Any) -> None:
            reward, violation = evaluate(problem.design({n: int(x[f"x{n}"]) for n in problem.free}))
            out["F"], out["G"] = [-reward], [violation]

    minimize(Search(), MixedVariableGA(), ("n_eval", 10**9), seed=seed, verbose=False)


METHODS: dict[str, Callable[[Problem, int, Evaluation], None]] = {
    "optuna-tpe": lambda p, s, e: optuna_search(p, s, e, "tpe"),
    "optuna-gp": lambda p, s, e: optuna_search(p, s, e, "gp"),
    "smac": smac_search,
    "ax": ax_search,
    "vizier-gp-ucb-pe": vizier_search,
    "baybe": baybe_search,
    "nevergrad-ngopt": nevergrad_search,
    "cmaes-catcmawm": cmaes_search,
    "pymoo-mixed-ga": pymoo_search,
}
"""Methods by the name that results have."""
