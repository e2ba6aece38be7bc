"""Report on a kind of proxy: errors on data that it has not seen, learning curves, diversity.

Run it as `python experiments/proxy_report.py DATASET [--model NAME] [--setting NAME=VALUE]
[--space NAME] [--simulate] [--curves] [--out FILE] [--figure FILE]`.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.cli.commands.proxy import train_options
from archgym.datasets import read_dataset
from archgym.datasets.dataset import Dataset
from archgym.datasets.region import Sums, add_to_sums, influential
from archgym.errors import ArchGymError
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import FEASIBLE, Simulator, simulator_class
from archgym.files.storage import atomic_file, write_atomic
from archgym.proxy.features import gather_facts
from archgym.proxy.fitting import (
    Announce,
    Rows,
    TrainOptions,
    distinct_rows,
    fit_part,
)
from archgym.proxy.measures import (
    design_groups,
    errors_by_metric,
    folds,
    held_out,
    outcome_groups,
)
from archgym.proxy.workload_model import Part
from archgym.runtime.reductions import collected_reductions, report_reduction
from archgym.spaces.parameter import Categorical
from archgym.spaces.space import DesignSpace

Step = Callable[[str], None]

# chosen: a parameter with more values is not looked at for a region.
_MOST_VALUES = 65536
_LEVEL = 0.9
_TEST_SHARE = 0.2
_N_FOLDS = 5
# chosen: below, a model learns nothing worth showing.
_LEAST_ROWS = 40
# chosen: more rows of one workload do not teach a model about another workload.
_JOINT_ROWS = 5000
CURVE_ROWS = 10_000
"""Rows of a workload that curves are drawn on."""
# chosen: a curve then takes as long as two or three models of 20,000 rows.
SIZES = (250, 500, 1000, 2000, 4000, 8000)
"""Numbers of rows that a learning curve has points at."""
N_SEEDS = 3
"""Repetitions, each with other rows; intervals over them are Student's."""
_COLUMNS = {
    "rmse_percent_of_mean": "RMSE % of mean",
    "rmse_percent_interval": "95 % interval",
    "rmse_percent_of_range": "% of range",
    "mape_percent": "MAPE %",
    "worst_percent": "worst %",
    "r2": "R²",
    "spearman": "Spearman",
    "top_recall": "recall of top 1 %",
    "coverage": "coverage",
    "width_percent": "width %",
}


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


def region(
    space: DesignSpace,
    metrics: Sequence[MetricSpec],
    indices: np.ndarray,
    values: np.ndarray,
    share: float,
) -> tuple[np.ndarray, Sequence[str]]:
    """Return rows in a region of the space, (n,) bool, and its condition in words.

    It is the one that `archgym dataset split --split region` chooses: the tail or value, near
    `share` of the rows, of the parameter that explains most of the first metric with a goal. None
    of the rows where no parameter takes several values.
    """
    place = next((k for k, spec in enumerate(metrics) if spec.goal != "none"), 0)
    with np.errstate(divide="ignore"):
        logs = np.log(np.abs(values[:, place]) + metrics[place].resolution)
    columns = {
        p.name: np.array([p.value(k) for k in range(p.size)])[indices[:, column]]
        for column, p in enumerate(space.parameters)
        if isinstance(p, Categorical) or p.is_ordered
        if p.size <= _MOST_VALUES
    }
    tallies: dict[str, Sums] = {}
    for name, column_values in columns.items():
        add_to_sums(tallies.setdefault(name, {}), column_values, logs)
    found = influential(tallies, share)
    if found is None:
        return np.zeros(len(indices), dtype=bool), ()
    condition, explained = found
    words = f"{condition} (explains {100 * explained:.0f} % of {metrics[place].name})"
    return condition.holds_of(columns[condition.parameter]), (words,)


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
        setting = fit_part(dataset, here, options, with_intervals=False).setting
        fixed = replace(options, setting=setting)
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
    found = [error["rmse_percent_of_mean"] for error in goals or list(errors.values())]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else 0.0


def _interval(errors: list[float]) -> dict[str, Any]:
    """Return mean and its 95 % interval by Student's t over the repetitions."""
    from scipy.stats import t

    values = np.array(errors)
    deviation = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    half = float(t.ppf(0.975, max(1, len(values) - 1)) * deviation)
    mean = float(values.mean())
    return {"error_percent": mean, "low": mean - half, "high": mean + half, "errors": errors}


def markdown(report: Mapping[str, Any]) -> str:
    """Return a report, as `report` gives it, in Markdown."""
    lines = [
        f"# Proxy `{report['model']}` for {report['simulator']}/{report['space']}",
        "",
        f"{report['rows']:,} distinct evaluations of dataset `{report['data_digest'][:12]}`; "
        f"intervals are to hold {100 * report['level']:g} %.",
        "",
    ]
    for split, by_workload in report["splits"].items():
        lines += [f"## Split: {split}", ""]
        for workload, found in by_workload.items():
            lines += _errors_table(workload, found)
    for title, points in curve_tables(report):
        lines += [f"## {title}", "", "| data | rows | error % | 95 % interval |"]
        lines += ["|---|---:|---:|---:|"]
        lines += [
            f"| {point.get('data', 'all')} | {point['rows']:,} | {point['error_percent']:.3g} | "
            f"{max(0.0, point['low']):.3g} to {point['high']:.3g} |"
            for point in points
        ]
        lines += [""]
    lines += ["## What was bounded", ""]
    lines += [f"- {name.replace('_', ' ')}: {value}" for name, value in report["bounds"].items()]
    lines += [""]
    return "\n".join(lines)


def curve_tables(report: Mapping[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return title and points of each curve that a report has."""
    curves = report.get("learning_curve", {})
    found = [(f"Learning curve: {name}", points) for name, points in curves.items() if points]
    if report.get("diversity"):
        found.append((f"Data diversity: {report['diversity_workload']}", report["diversity"]))
    return found


def _errors_table(workload: str, found: Mapping[str, Any]) -> list[str]:
    about = f"{found['n_train']:,} rows to learn from, {found['n_test']:,} predicted"
    if found.get("region"):
        about += f", those with {' and '.join(found['region'])}"
    if found.get("outcomes"):
        about += f", {found['outcomes']:,} distinct outcomes"
    lines = [f"### {workload}", "", f"{about}.", ""]
    lines += ["| metric | " + " | ".join(_COLUMNS.values()) + " |"]
    lines += ["|---|" + "---:|" * len(_COLUMNS)]
    for metric, errors in found["metrics"].items():
        cells = [_cell(errors.get(column)) for column in _COLUMNS]
        lines.append(f"| {metric} | " + " | ".join(cells) + " |")
    regrets = found.get("regret_percent", {})
    if regrets:
        words = ", ".join(f"{metric} {_cell(value)} %" for metric, value in regrets.items())
        lines += ["", f"Regret of the best predicted design, simulated: {words}."]
    return [*lines, ""]


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(map(_cell, value))
    return "–" if value is None else f"{value:.3g}"


def draw_curves(report: Mapping[str, Any], path: str | Path) -> None:
    """Draw the learning curve and the effect of data diversity, with intervals over seeds.

    Args:
      path: Ends in .png, .svg or .pdf.

    Raises:
      StorageError: It cannot be written.
    """
    from matplotlib.figure import Figure

    diversity = report.get("diversity", [])
    figure = Figure(figsize=(9.5, 3.8) if diversity else (5.5, 3.8), layout="constrained")
    axes = figure.subplots(1, 2 if diversity else 1, squeeze=False)[0]
    _draw_learning(axes[0], report["learning_curve"])
    if diversity:
        _draw_diversity(axes[1], diversity, report["diversity_workload"])
    suffix = Path(path).suffix.removeprefix(".") or "png"
    with atomic_file(path) as scratch:
        figure.savefig(scratch, format=suffix, dpi=120)


def _draw_learning(axes: Any, curves: Mapping[str, Any]) -> None:
    for name, points in curves.items():
        if not points:
            continue
        rows, error, low, high = (
            [p[key] for p in points] for key in ("rows", "error_percent", "low", "high")
        )
        axes.plot(rows, error, marker="o", markersize=4, label=name)
        # A logarithmic axis has no 0.
        floor = [max(end, middle / 10) for end, middle in zip(low, error, strict=True)]
        axes.fill_between(rows, floor, high, alpha=0.15)
    axes.set(xlabel="rows to learn from", ylabel="RMSE on unseen outcomes [% of mean]")
    axes.set_title("Learning curve")
    if any(curves.values()):
        axes.set(xscale="log", yscale="log")
        sizes = sorted({point["rows"] for points in curves.values() for point in points})
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")
        axes.legend(frameon=False)


def _draw_diversity(axes: Any, points: Sequence[Mapping[str, Any]], workload: str) -> None:
    shown = sorted(points, key=lambda point: -point["error_percent"])
    middle = [point["error_percent"] for point in shown]
    half = [point["high"] - point["error_percent"] for point in shown]
    axes.errorbar(middle, range(len(shown)), xerr=half, fmt="o", capsize=3)
    axes.set_yticks(range(len(shown)), [point["data"] for point in shown])
    axes.set_xlim(left=0)
    axes.set(xlabel="RMSE on designs of all agents [% of mean]")
    axes.set_title(f"{shown[0]['rows']:,} rows of one agent, or mixed ({workload})")


def main() -> None:
    """Write the report on the rows of a dataset, and draw its curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--model", default="boosting")
    parser.add_argument("--setting", action="append", metavar="NAME=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--space")
    parser.add_argument("--simulate", action="store_true", help="measure the regret")
    parser.add_argument("--curves", action="store_true", help="add learning curves and diversity")
    parser.add_argument("--out", type=Path, default=Path("report.md"))
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    options = train_options(given.model, "separate", "alike", 0.1, given.seed, given.setting)
    data = read_dataset(given.dataset, space=given.space)
    declared = data.declaration
    simulator = make_simulator(
        simulator_class(declared.simulator),
        declared.space_name,
        declared.fidelity,
        declared.options,
    )
    found = report(
        data,
        options,
        simulator=simulator if given.simulate else None,
        curves=given.curves or given.figure is not None,
        announce=lambda what, done, total: print(f"{done}/{total}: {what}"),
    )
    write_atomic(given.out, markdown(found))
    if given.figure is not None:
        draw_curves(found, given.figure)


if __name__ == "__main__":
    main()
