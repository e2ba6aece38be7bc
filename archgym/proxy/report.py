"""The report on a kind of model: its errors on data of several kinds that it has not seen."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, final

import numpy as np

from archgym.datasets.dataset import Dataset
from archgym.errors import ArchGymError
from archgym.evaluation.simulator import FEASIBLE, Simulator
from archgym.proxy.features import gather_facts
from archgym.proxy.fitting import (
    Announce,
    Rows,
    TrainOptions,
    chosen_setting,
    distinct_rows,
    fit_part,
)
from archgym.proxy.learning_curves import (
    CURVE_ROWS,
    N_SEEDS,
    SIZES,
    diversity,
    learning_curve,
    mixed_workload,
)
from archgym.proxy.measures import errors_by_metric
from archgym.proxy.splits import folds, outcome_groups, region
from archgym.proxy.workload_model import Part
from archgym.runtime.reductions import collected_reductions, report_reduction

_LEVEL = 0.9
_TEST_SHARE = 0.2
_N_FOLDS = 5
# chosen: below, a model learns nothing worth showing.
_LEAST_ROWS = 40
# chosen: more rows of one workload do not teach a model about another workload.
_JOINT_ROWS = 5000


@final
class _Steps:
    """Counter of fitted models, which reports progress in equal steps."""

    def __init__(self, total: int, announce: Announce | None) -> None:
        self._total, self._announce, self._done = total, announce, 0

    def __call__(self, what: str) -> None:
        """Report which model is fitted next."""
        if self._announce is not None:
            self._announce(what, self._done, self._total)
        self._done += 1


Step = Callable[[str], None]


def report(
    dataset: Dataset,
    options: TrainOptions | None = None,
    *,
    simulator: Simulator | None = None,
    curves: bool = True,
    announce: Announce | None = None,
) -> dict[str, Any]:
    """Return errors of a kind of model by split, workload and metric, as JSON.

    Splits: "random", a fifth of the rows; "unseen outcomes", five folds with equal outcomes in one;
    "extrapolation", a region of the space; "unseen workload", one workload after the other, by a
    model of all the others.

    Hyperparameters are chosen once a workload, and what was bounded to end in minutes stands in
    "bounds", where each further sample that was smaller than the data has a line.

    Args:
      simulator: Simulator for the best predicted design of each metric, for the regret.
      curves: True to add learning curves and, with several agents, the effect of diversity.
      announce: Called with the current step, the amount done and the total.
    """
    with collected_reductions() as notes:
        found = _report(dataset, options or TrainOptions(), simulator, curves, announce)
    found["bounds"] |= {f"sample_{number}": text for number, text in enumerate(notes, start=1)}
    return found


def _report(
    dataset: Dataset,
    options: TrainOptions,
    simulator: Simulator | None,
    curves: bool,
    announce: Announce | None,
) -> dict[str, Any]:
    rows = distinct_rows(dataset)
    rows = rows[rows.feasible]
    places = np.unique(rows.workload).tolist()
    mixed = mixed_workload(dataset) if curves else None
    n_curve = len(SIZES) * N_SEEDS if curves else 0
    total = len(places) * (_N_FOLDS + 4 + n_curve)
    total += 0 if mixed is None else N_SEEDS * (len(dataset.agents) + 1)
    step = _Steps(total, announce)
    splits: dict[str, dict[str, Any]] = {}
    learned: dict[str, Any] = {}
    fixed = options
    for place in places:
        here = rows[rows.workload == place]
        name = dataset.workloads[place].name
        step(f"hyperparameters for {name}")
        fixed = replace(options, setting=chosen_setting(dataset, here, options))
        for split, errors in _splits(dataset, here, fixed, simulator, step).items():
            splits.setdefault(split, {})[name] = errors
        if curves:
            learned[name] = learning_curve(dataset, here, fixed, step)
    unseen = _unseen_workloads(dataset, rows, fixed, step)
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
        "bounds": {
            "hyperparameters": "chosen once a workload, on up to 3,000 of its rows",
            "joint_rows_a_workload": _JOINT_ROWS,
            "curve_rows": CURVE_ROWS,
            "curve_repetitions": N_SEEDS,
        },
        "splits": splits,
    }
    if curves:
        found["learning_curve"] = learned
    if mixed is not None:
        found["diversity"] = diversity(dataset, mixed, fixed, step)
        found["diversity_workload"] = dataset.workloads[mixed].name
    return found


def _splits(
    dataset: Dataset, rows: Rows, options: TrainOptions, simulator: Simulator | None, step: Step
) -> dict[str, Any]:
    rng = np.random.default_rng(np.random.SeedSequence([options.seed, 3]))
    name = dataset.workloads[int(rows.workload[0])].name
    found: dict[str, Any] = {}
    is_test = rng.random(len(rows)) < _TEST_SHARE
    step(f"random split of {name}")
    found["random"] = _tested(dataset, rows, [is_test], options)
    if simulator is not None:
        found["random"]["regret_percent"] = regret(dataset, rows[~is_test], options, simulator)
    groups = outcome_groups(rows.values)
    fold = folds(groups, _N_FOLDS, rng)
    found["unseen outcomes"] = _tested(
        dataset,
        rows,
        [fold == number for number in range(_N_FOLDS)],
        options,
        lambda: step(f"unseen outcomes of {name}"),
    )
    found["unseen outcomes"]["outcomes"] = int(groups.max()) + 1
    step(f"extrapolation on {name}")
    beyond, words = region(dataset.space, dataset.metrics, rows.indices, rows.values, _TEST_SHARE)
    if beyond.any():
        found["extrapolation"] = _tested(dataset, rows, [beyond], options)
        found["extrapolation"]["region"] = list(words)
    return found


def _tested(
    dataset: Dataset,
    rows: Rows,
    masks: list[np.ndarray],
    options: TrainOptions,
    begin: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Return errors on the rows of each mask by a model of the others, all masks together."""
    parts = []
    for is_test in masks:
        begin()
        train, test = rows[~is_test], rows[is_test]
        if len(train) < _LEAST_ROWS or not len(test):
            continue
        part = fit_part(dataset, train, options).part
        parts.append((test, *_predicted(dataset, part, test)))
    if not parts:
        return {"n_train": 0, "n_test": 0, "metrics": {}}
    actual = np.concatenate([test.values for test, *_ in parts])
    predicted, low, high = (np.concatenate([p[k] for p in parts]) for k in (1, 2, 3))
    errors = errors_by_metric(dataset.metrics, actual, predicted, with_intervals=True)
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
        workload = dataset.workloads[place]
        facts = part.encoding.facts.row(workload.facts)
        indices, is_new = rows.indices[here], workload.digest not in part.workloads
        predicted[here] = part.predict(indices, facts)
        low[here], high[here] = part.interval(indices, facts, _LEVEL, is_new=is_new)
    return predicted, low, high


def _unseen_workloads(
    dataset: Dataset, rows: Rows, options: TrainOptions, step: Step
) -> dict[str, Any]:
    """Return each workload predicted by a joint model of the others; nothing for fewer than 3."""
    places = np.unique(rows.workload).tolist()
    if len(places) < 3 or not gather_facts([dataset.workloads[p] for p in places]).names:
        return {}
    joint = replace(options, workloads="joint")
    rng = np.random.default_rng(np.random.SeedSequence([options.seed, 8]))
    some = rng.permutation(len(rows))
    some = np.concatenate([some[rows.workload[some] == place][:_JOINT_ROWS] for place in places])
    report_reduction(
        "rows for errors between workloads", len(some), len(rows),
        f"they are a random sample of {_JOINT_ROWS:,} for each workload",
    )  # fmt: skip
    rows = rows[np.sort(some)]
    found = {}
    for place in places:
        name = dataset.workloads[place].name
        step(f"{name} from other workloads")
        try:
            found[name] = _tested(dataset, rows, [rows.workload == place], joint)
        except ArchGymError:
            continue
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
    part = fit_part(dataset, rows, options, with_intervals=False).part
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
