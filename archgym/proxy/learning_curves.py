"""Learning curves: error against rows, and one agent's data against a mixture."""

from collections.abc import Callable
from typing import Any

import numpy as np

from archgym.datasets.dataset import Dataset
from archgym.proxy.fitting import Rows, TrainOptions, fit_part
from archgym.proxy.measures import errors_by_metric, mean_measure
from archgym.proxy.splits import design_groups, held_out, outcome_groups
from archgym.runtime.reductions import report_reduction

CURVE_ROWS = 10_000
"""Rows of a workload that curves are drawn on."""
# chosen: a curve then takes as long as two or three models of 20,000 rows.
SIZES = (250, 500, 1000, 2000, 4000, 8000)
"""Numbers of rows that a learning curve has points at."""
N_SEEDS = 3
"""Repetitions, each with other rows; intervals over them are Student's."""
_TEST_SHARE = 0.2
# chosen: below, a model learns nothing worth showing.
_LEAST_ROWS = 40

Step = Callable[[str], None]


def learning_curve(
    dataset: Dataset, rows: Rows, options: TrainOptions, step: Step
) -> list[dict[str, Any]]:
    """Return error on unseen outcomes by the number of rows, of rows of one workload.

    The same fifth is held out for all sizes of a repetition; each size is repeated with other
    held-out outcomes and other rows.
    """
    rng = np.random.default_rng(np.random.SeedSequence([options.seed, 7]))
    report_reduction(
        "rows for the learning curve", min(len(rows), CURVE_ROWS), len(rows),
        "they are a random sample of fixed size",
    )  # fmt: skip
    rows = rows[np.sort(rng.permutation(len(rows))[:CURVE_ROWS])]
    groups = outcome_groups(rows.values)
    name = dataset.workloads[int(rows.workload[0])].name
    points = []
    for size in SIZES:
        errors = []
        for seed in range(N_SEEDS):
            step(f"learning curve of {name}, {size} rows")
            rng = np.random.default_rng(np.random.SeedSequence([options.seed, 4, seed]))
            is_test = held_out(groups, _TEST_SHARE, rng)
            train = np.flatnonzero(~is_test)
            if size <= len(train):
                chosen = np.sort(rng.permutation(train)[:size])
                errors.append(_mean_error(dataset, rows[chosen], rows[is_test], options))
        if len(errors) == N_SEEDS:
            points.append({"rows": size, **_interval(errors)})
    return points


def mixed_workload(dataset: Dataset) -> int | None:
    """Return the workload that most agents searched on; None if only one did on each."""
    n_agents = [
        len(np.unique(dataset.agent[dataset.workload == place]))
        for place in range(len(dataset.workloads))
    ]
    return int(np.argmax(n_agents)) if max(n_agents, default=0) > 1 else None


def diversity(
    dataset: Dataset, place: int, options: TrainOptions, step: Step
) -> list[dict[str, Any]]:
    """Return error of models of one agent's data against a mixture of all agents' at equal size.

    Tested on designs that none of the models learned from, as many of each agent, on one workload.
    All sets of rows have the size of the smallest agent's.
    """
    usable = dataset.feasible & dataset.space.feasible(dataset.indices)
    at = np.flatnonzero(usable & (dataset.workload == place))
    rows = Rows(dataset.indices[at], dataset.values[at], dataset.feasible[at], dataset.workload[at])
    agent = dataset.agent[at]
    designs = design_groups(rows.indices)
    found: dict[str, list[float]] = {}
    size = 0
    for seed in range(N_SEEDS):
        rng = np.random.default_rng(np.random.SeedSequence([options.seed, 5, seed]))
        is_held = held_out(designs, _TEST_SHARE, rng)
        pools = _pools(agent, designs, ~is_held, rng)
        tests = _pools(agent, designs, is_held, rng)
        size = min(len(pool) for pool in pools.values())
        n_test = min((len(pool) for pool in tests.values()), default=0)
        if size < _LEAST_ROWS or not n_test or len(tests) < len(pools):
            return []
        test = rows[np.concatenate([pool[:n_test] for pool in tests.values()])]
        share = -(-size // len(pools))
        mixture = np.concatenate([pool[:share] for pool in pools.values()])
        sets = {dataset.agents[number] or "none": pool[:size] for number, pool in pools.items()}
        sets["mixture"] = rng.permutation(np.unique(mixture))[:size]
        for name, chosen in sets.items():
            step(f"data of {name}")
            error = _mean_error(dataset, rows[np.sort(chosen)], test, options)
            found.setdefault(name, []).append(error)
    return [{"data": name, "rows": size, **_interval(errors)} for name, errors in found.items()]


def _pools(
    agent: np.ndarray, designs: np.ndarray, allowed: np.ndarray, rng: np.random.Generator
) -> dict[int, np.ndarray]:
    """Return rows of each agent that are allowed, each design once, in random order."""
    pools = {}
    for place in np.unique(agent[allowed]).tolist():
        own = rng.permutation(np.flatnonzero((agent == place) & allowed))
        _, once = np.unique(designs[own], return_index=True)
        pools[place] = own[np.sort(once)]
    return pools


def _mean_error(dataset: Dataset, train: Rows, test: Rows, options: TrainOptions) -> float:
    """Return root mean square error as percent of the mean, averaged over metrics with a goal."""
    part = fit_part(dataset, train, options, with_intervals=False).part
    facts = part.encoding.facts.row(dataset.workloads[int(test.workload[0])].facts)
    errors = errors_by_metric(dataset.metrics, test.values, part.predict(test.indices, facts))
    goals = [errors[spec.name] for spec in dataset.metrics if spec.goal != "none"]
    return mean_measure(goals or list(errors.values()), "rmse_percent_of_mean") or 0.0


def _interval(errors: list[float]) -> dict[str, Any]:
    """Return mean and its 95 % interval by Student's t over the repetitions."""
    from scipy.stats import t

    values = np.array(errors)
    deviation = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    half = float(t.ppf(0.975, max(1, len(values) - 1)) * deviation)
    mean = float(values.mean())
    return {"error_percent": mean, "low": mean - half, "high": mean + half, "errors": errors}
