"""Methods of other libraries for several fidelities, charged by the cost of each evaluation.

`asha` and `bohb` are syne-tune's, `smac` is SMAC3's facade for several fidelities. All run one
evaluation at a time. An evaluation at the cheaper fidelity costs the task's relative cost, one at
its own costs 1. The two are the rungs, and one evaluation in 1 / relative cost is promoted, so that
both rungs cost the same, as the libraries' rule for resources has it. Rewards of both fidelities
encode limits as for every agent. A repeated evaluation is charged once. The default design comes
first. Versions: syne-tune 0.16.0, smac 2.4.1.
"""

import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from archgym.bench import BenchTask
from archgym.evaluation.objective import INFEASIBLE_REWARD

# chosen: asks of a method that repeats itself, for each unit of cost.
_MAX_ASKS = 100
# chosen: largest number of values of an unordered parameter that is categorical.
_MAX_CATEGORIES = 64


class End(BaseException):
    """End of the cost, which no library catches."""


class Charged:
    """Evaluates designs at two fidelities and charges for them."""

    def __init__(self, bench: BenchTask, cost: float) -> None:
        assert bench.cheaper is not None
        self.relative_cost = bench.cheaper.relative_cost
        self._tasks = {True: bench.cheaper.plan.make(), False: bench.plan.make()}
        self.space = self._tasks[False].space
        self._left = cost
        self._limit = cost
        self._asks = 0
        self._known: dict[tuple[bool, bytes], float] = {}
        self.steps: list[list[float]] = []

    def reward(self, design: list[int], is_cheaper: bool) -> float:
        """Return the reward of a design; raise `End` where it cannot be paid."""
        indices = np.array([design], dtype=np.int64)
        is_feasible = bool(self.space.feasible(indices)[0])
        key = (is_cheaper, self.space.canonical(indices).tobytes() if is_feasible else b"")
        self._asks += 1
        if self._asks > _MAX_ASKS * self._limit:
            raise End
        if not is_feasible:
            # A design that breaks a constraint is charged like any other.
            self._charge(is_cheaper)
            return INFEASIBLE_REWARD
        if key not in self._known:
            self._charge(is_cheaper)
            self._known[key] = float(self._tasks[is_cheaper].evaluate(indices).reward[0])
            if not is_cheaper:
                best = max(self._known[key], self.steps[-1][1] if self.steps else -np.inf)
                self.steps.append([round(self._limit - self._left, 3), best])
        return self._known[key]

    def _charge(self, is_cheaper: bool) -> None:
        self._left -= self.relative_cost if is_cheaper else 1.0
        if self._left < -1e-9:
            raise End


def _free(charged: Charged) -> list[tuple[int, int, bool, int]]:
    """Return number, size, order and default of each parameter with several values."""
    space = charged.space
    return [
        (n, p.size, p.is_ordered or p.size > _MAX_CATEGORIES, int(space.default_indices[n]))
        for n, p in enumerate(space.parameters)
        if p.size > 1
    ]


def _design(charged: Charged, config: Any) -> list[int]:
    design = [0] * charged.space.n_parameters
    for n, *_ in _free(charged):
        design[n] = int(config[f"x{n}"])
    return design


def syne_tune(charged: Charged, seed: int, kind: str) -> None:
    """Search with ASHA or BOHB: a trial that may continue is evaluated at the own fidelity."""
    from syne_tune.backend.trial_status import Trial
    from syne_tune.config_space import choice, randint
    from syne_tune.optimizer.baselines import ASHA, BOHB
    from syne_tune.optimizer.scheduler import SchedulerDecision

    np.random.seed(seed)  # noqa: NPY002 - syne-tune draws brackets from it
    free = _free(charged)
    space = {f"x{n}": randint(0, size - 1) if o else choice(list(range(size)))
             for n, size, o, _ in free}  # fmt: skip
    make = {"asha": ASHA, "bohb": BOHB}[kind]
    scheduler = make(
        config_space=space,
        metric="loss",
        time_attr="cost",
        max_t=1.0,
        grace_period=charged.relative_cost,
        reduction_factor=1.0 / charged.relative_cost,
        random_seed=seed,
        points_to_evaluate=[{f"x{n}": default for n, _, _, default in free}],
    )
    number = 0
    while True:
        suggestion = scheduler.suggest()
        trial = Trial(trial_id=number, config=suggestion.config, creation_time=None)
        number += 1
        scheduler.on_trial_add(trial)
        design = _design(charged, trial.config)
        result = {"loss": -charged.reward(design, True), "cost": charged.relative_cost}
        if scheduler.on_trial_result(trial, result) == SchedulerDecision.CONTINUE:
            result = {"loss": -charged.reward(design, False), "cost": 1.0}
        scheduler.on_trial_complete(trial, result)


def smac(charged: Charged, seed: int) -> None:
    """Search with SMAC3's facade for several fidelities: random forests and Hyperband."""
    import logging
    import tempfile

    from ConfigSpace import Categorical, ConfigurationSpace, Integer
    from smac import MultiFidelityFacade, Scenario
    from smac.runhistory import TrialValue

    logging.disable(logging.CRITICAL)
    space = ConfigurationSpace(seed=seed)
    for n, size, is_ordered, default in _free(charged):
        if is_ordered:
            space.add(Integer(f"x{n}", (0, size - 1), default=default))
        else:
            space.add(Categorical(f"x{n}", list(range(size)), default=default))
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            space,
            deterministic=True,
            n_trials=10_000,
            min_budget=charged.relative_cost,
            max_budget=1.0,
            seed=seed,
            output_directory=Path(folder),
        )
        facade = MultiFidelityFacade(
            scenario,
            lambda config, seed=0, budget=0.0: 0.0,
            initial_design=MultiFidelityFacade.get_initial_design(
                scenario, n_configs=10, additional_configs=[space.get_default_configuration()]
            ),
            intensifier=MultiFidelityFacade.get_intensifier(
                scenario, eta=max(2, round(1.0 / charged.relative_cost))
            ),
            overwrite=True,
            logging_level=False,
        )
        while True:
            info = facade.ask()
            is_cheaper = info.budget is not None and info.budget < 1.0 - 1e-6
            reward = charged.reward(_design(charged, info.config), is_cheaper)
            facade.tell(info, TrialValue(cost=-reward))


METHODS: dict[str, Callable[[Charged, int], None]] = {
    "asha": lambda charged, seed: syne_tune(charged, seed, "asha"),
    "bohb": lambda charged, seed: syne_tune(charged, seed, "bohb"),
    "smac": smac,
}
"""Methods by the name that results have."""


def peer_curve(
    method: str, bench: BenchTask, seed: int, cost: float
) -> tuple[list[float], list[float]]:
    """Return the cost after each evaluation of the task, and the best reward so far."""
    charged = Charged(bench, cost)
    warnings.simplefilter("ignore")
    with suppress(End):
        METHODS[method](charged, seed)
    return [c for c, _ in charged.steps], [r for _, r in charged.steps]
