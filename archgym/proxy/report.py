"""The report on a kind of model: its errors on data of several kinds that it has not seen."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from archgym.datasets.dataset import Dataset
from archgym.errors import ArchGymError
from archgym.proxy.encoding import gather_facts
from archgym.proxy.fit import Rows, TrainOptions, distinct_rows, fit_part
from archgym.proxy.measures import errors_by_metric, mean_measure
from archgym.proxy.part import Part
from archgym.proxy.splits import design_groups, folds, held_out, outcome_groups, region
from archgym.simulator import FEASIBLE, Simulator

__all__ = ["diversity", "learning_curve", "regret", "report"]

_LEVEL = 0.9
_TEST_SHARE = 0.2
_N_FOLDS = 5
# chosen: learning curves and the effect of diversity are shown with so many repetitions.
_N_SEEDS = 5
_CURVE_SHARES = (0.05, 0.1, 0.2, 0.4, 0.8)
# chosen: below, a model learns nothing worth showing.
_LEAST_ROWS = 40

Announce = Callable[[str, int, int], None]


def report(
    dataset: Dataset,
    options: TrainOptions | None = None,
    *,
    simulator: Simulator | None = None,
    curves: bool = True,
    announce: Announce | None = None,
) -> dict[str, Any]:
    """Errors of a kind of model by split, workload and metric, as JSON.

    Splits: "random", a fifth of the rows; "unseen outcomes", five folds with equal outcomes in one;
    "extrapolation", a corner of the space; "unseen workload", one workload after the other, by a
    model of all the others.

    Args:
      dataset: Evaluations.
      options: How to train.
      simulator: Where given, the best predicted design of each metric is simulated, for the regret.
      curves: Whether to add the learning curve and, with several agents, the effect of diversity.
      announce: Told what is under way, how much is done, and of how much.
    """
    options = options or TrainOptions()
    rows = distinct_rows(dataset)
    rows = rows[rows.feasible]
    places = np.unique(rows.workload).tolist()
    tell = announce or (lambda what, done, total: None)
    splits: dict[str, dict[str, Any]] = {}
    for number, place in enumerate(places):
        here = rows[rows.workload == place]
        name = dataset.workloads[place].name
        tell(f"splits of {name}", number, len(places))
        for split, errors in _splits(dataset, here, options, simulator).items():
            splits.setdefault(split, {})[name] = errors
    tell("unseen workloads", 0, 1)
    unseen = _unseen_workloads(dataset, rows, options)
    if unseen:
        splits["unseen workload"] = unseen
    found: dict[str, Any] = {
        "model": options.model,
        "fit": options.fit,
        "seed": options.seed,
        "data_digest": dataset.digest,
        "simulator": dataset.declaration.simulator,
        "space": dataset.declaration.space_name,
        "rows": len(rows),
        "level": _LEVEL,
        "splits": splits,
    }
    if curves:
        found["learning_curve"] = learning_curve(dataset, options, announce=announce)
        if len(dataset.agents) > 1:
            found["diversity"] = diversity(dataset, options, announce=announce)
    return found


def _splits(
    dataset: Dataset, rows: Rows, options: TrainOptions, simulator: Simulator | None
) -> dict[str, Any]:
    rng = np.random.default_rng(np.random.SeedSequence([options.seed, 3]))
    found: dict[str, Any] = {}
    is_test = rng.random(len(rows)) < _TEST_SHARE
    found["random"] = _tested(dataset, rows, [is_test], options)
    if simulator is not None:
        found["random"]["regret_percent"] = regret(dataset, rows[~is_test], options, simulator)
    groups = outcome_groups(rows.values)
    fold = folds(groups, _N_FOLDS, rng)
    found["unseen outcomes"] = _tested(
        dataset, rows, [fold == number for number in range(_N_FOLDS)], options
    )
    found["unseen outcomes"]["outcomes"] = int(groups.max()) + 1
    corner, words = region(dataset.space, rows.indices, _TEST_SHARE / 2, rng)
    if corner.any():
        found["extrapolation"] = _tested(dataset, rows, [corner], options)
        found["extrapolation"]["region"] = list(words)
    return found


def _tested(
    dataset: Dataset, rows: Rows, masks: list[np.ndarray], options: TrainOptions
) -> dict[str, Any]:
    """Errors on the rows of each mask by a model of the others, all masks together."""
    parts = []
    for is_test in masks:
        train, test = rows[~is_test], rows[is_test]
        if len(train) < _LEAST_ROWS or not len(test):
            continue
        part, _, _ = fit_part(dataset, train, options)
        parts.append((test, *_predicted(dataset, part, test)))
    if not parts:
        return {"n_train": 0, "n_test": 0, "metrics": {}}
    actual = np.concatenate([test.values for test, *_ in parts])
    predicted, low, high = (np.concatenate([p[k] for p in parts]) for k in (1, 2, 3))
    errors = errors_by_metric(dataset.metrics, actual, predicted)
    covered = ((low <= actual) & (actual <= high)).mean(axis=0)
    for place, spec in enumerate(dataset.metrics):
        width = float(np.median(high[:, place] - low[:, place]))
        mean = float(np.abs(actual[:, place]).mean())
        errors[spec.name]["coverage"] = float(covered[place])
        errors[spec.name]["width_percent"] = (
            100 * width / mean if mean and np.isfinite(width) else None
        )
    n_train = len(rows) - round(len(actual) / len(parts))
    return {"n_train": n_train, "n_test": len(actual), "metrics": errors}


def _predicted(
    dataset: Dataset, part: Part, rows: Rows
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    predicted, low, high = (np.empty_like(rows.values) for _ in range(3))
    for place in np.unique(rows.workload).tolist():
        here = rows.workload == place
        facts = part.encoding.facts.row(dataset.workloads[place].facts)
        indices = rows.indices[here]
        predicted[here] = part.predict(indices, facts)
        low[here], high[here] = part.interval(indices, facts, _LEVEL)
    return predicted, low, high


def _unseen_workloads(dataset: Dataset, rows: Rows, options: TrainOptions) -> dict[str, Any]:
    """Each workload predicted by a joint model of the others; nothing where there are under 3."""
    places = np.unique(rows.workload).tolist()
    if len(places) < 3 or not gather_facts([dataset.workloads[p] for p in places]).names:
        return {}
    joint = replace(options, workloads="joint")
    found = {}
    for place in places:
        try:
            result = _tested(dataset, rows, [rows.workload == place], joint)
        except ArchGymError:
            continue
        found[dataset.workloads[place].name] = result
    return found


def regret(
    dataset: Dataset, rows: Rows, options: TrainOptions, simulator: Simulator
) -> dict[str, float | None]:
    """By how many percent the best predicted design is worse than the best known one, simulated.

    For each metric with a goal, the model chooses among all designs of the dataset on the workload
    of `rows`, from which it learned; its choice is simulated again. Below 0 it is better than any
    in the dataset.
    """
    place = int(rows.workload[0])
    known = distinct_rows(dataset)
    known = known[known.feasible & (known.workload == place)]
    part, _, _ = fit_part(dataset, rows, options)
    facts = part.encoding.facts.row(dataset.workloads[place].facts)
    predicted = part.predict(known.indices, facts)
    workload = simulator.workload(dataset.workloads[place].names[0])
    found: dict[str, float | None] = {}
    for column, spec in enumerate(dataset.metrics):
        if spec.goal == "none":
            continue
        sign = 1.0 if spec.goal == "minimise" else -1.0
        chosen = int(np.argmin(sign * predicted[:, column]))
        best = float((sign * known.values[:, column]).min())
        result = simulator.evaluate_batch(known.indices[chosen][None, :], workload)
        if result.reason[0] != FEASIBLE or best == 0:
            found[spec.name] = None
            continue
        found[spec.name] = 100 * (sign * float(result.values[0, column]) - best) / abs(best)
    return found


def learning_curve(
    dataset: Dataset, options: TrainOptions, *, announce: Announce | None = None
) -> list[dict[str, Any]]:
    """Error on unseen outcomes by the number of rows, on the first workload of the dataset.

    The same fifth is held out for all sizes of a repetition; each size is repeated with other
    held-out outcomes and other rows.
    """
    rows = distinct_rows(dataset)
    rows = rows[rows.feasible]
    rows = rows[rows.workload == rows.workload[0]]
    groups = outcome_groups(rows.values)
    points = []
    sizes = [round(share * len(rows)) for share in _CURVE_SHARES]
    sizes = [size for size in sizes if size >= _LEAST_ROWS]
    for number, size in enumerate(sizes):
        if announce is not None:
            announce("learning curve", number, len(sizes))
        errors = []
        for seed in range(_N_SEEDS):
            rng = np.random.default_rng(np.random.SeedSequence([options.seed, 4, seed]))
            is_test = held_out(groups, _TEST_SHARE, rng)
            train = np.flatnonzero(~is_test)
            chosen = rng.permutation(train)[:size]
            errors.append(_mean_error(dataset, rows, np.sort(chosen), is_test, options))
        points.append({"rows": size, **_interval(errors)})
    return points


def diversity(
    dataset: Dataset, options: TrainOptions, *, announce: Announce | None = None
) -> list[dict[str, Any]]:
    """Error of models of one agent's data against a mixture of all agents' at equal size.

    Tested on designs of the mixture that none of the models learned from, on the first workload.
    All sets of rows have the size of the smallest agent's.
    """
    first = dataset.workload == dataset.workload[0]
    usable = first & dataset.feasible & dataset.space.feasible(dataset.indices)
    at = np.flatnonzero(usable)
    rows = Rows(dataset.indices[at], dataset.values[at], dataset.feasible[at], dataset.workload[at])
    agent = dataset.agent[at]
    designs = design_groups(rows.indices)
    found: dict[str, list[float]] = {}
    size = 0
    for seed in range(_N_SEEDS):
        if announce is not None:
            announce("data diversity", seed, _N_SEEDS)
        rng = np.random.default_rng(np.random.SeedSequence([options.seed, 5, seed]))
        is_test = held_out(designs, _TEST_SHARE, rng)
        pools = _pools(agent, designs, is_test, len(dataset.agents), rng)
        size = min(len(pool) for pool in pools)
        if size < _LEAST_ROWS:
            return []
        for place, pool in enumerate(pools):
            name = dataset.agents[place] or "none"
            error = _mean_error(dataset, rows, np.sort(pool[:size]), is_test, options)
            found.setdefault(name, []).append(error)
        mixture = np.concatenate([pool[: -(-size // len(pools))] for pool in pools])
        chosen = np.sort(rng.permutation(np.unique(mixture))[:size])
        error = _mean_error(dataset, rows, chosen, is_test, options)
        found.setdefault("mixture", []).append(error)
    return [{"data": name, "rows": size, **_interval(errors)} for name, errors in found.items()]


def _pools(
    agent: np.ndarray, designs: np.ndarray, is_test: np.ndarray, n: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Rows of each agent that may be learned from, each design once, in random order."""
    pools = []
    for place in range(n):
        own = rng.permutation(np.flatnonzero((agent == place) & ~is_test))
        _, once = np.unique(designs[own], return_index=True)
        pools.append(own[np.sort(once)])
    return [pool for pool in pools if len(pool)]


def _mean_error(
    dataset: Dataset, rows: Rows, train: np.ndarray, is_test: np.ndarray, options: TrainOptions
) -> float:
    """Root mean square error as percent of the mean, averaged over metrics with a goal."""
    part, _, _ = fit_part(dataset, rows[train], options)
    test = rows[is_test]
    predicted, _, _ = _predicted(dataset, part, test)
    errors = errors_by_metric(dataset.metrics, test.values, predicted)
    goals = [errors[spec.name] for spec in dataset.metrics if spec.goal != "none"]
    return mean_measure(goals or list(errors.values()), "rmse_percent_of_mean") or 0.0


def _interval(errors: list[float]) -> dict[str, Any]:
    """Mean and its 95 % interval by Student's t over the repetitions."""
    from scipy.stats import t

    values = np.array(errors)
    deviation = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    half = float(t.ppf(0.975, max(1, len(values) - 1)) * deviation)
    mean = float(values.mean())
    return {"error_percent": mean, "low": mean - half, "high": mean + half, "errors": errors}
