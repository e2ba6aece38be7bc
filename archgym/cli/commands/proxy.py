"""`archgym proxy`: fitted models that replace a simulator, with measured errors."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.console.terminal import heading, notice, number, prose, say, table, write_json
from archgym.cli.options.groups import command_group
from archgym.cli.options.run import AgentOption, AgentSeedOption
from archgym.cli.options.task import JsonOption
from archgym.cli.options.values import (
    assignments,
    complete_model,
    design_with,
    filled_design,
    read_design,
)
from archgym.errors import InvalidArgumentError, check_known, sentence
from archgym.files.storage import require_free

if TYPE_CHECKING:
    from archgym.datasets import Dataset
    from archgym.proxy import Proxy, TrainOptions

_INFEASIBLE_CODE = 3
proxy_app = command_group("proxy", "Train and use proxy models that replace a simulator.")

SpaceOption = Annotated[
    str | None, typer.Option("--space", help="Space of the rows, if the dataset has several.")
]
FidelityOption = Annotated[
    str | None, typer.Option("--fidelity", help="Fidelity of the rows, if the dataset has several.")
]
OptionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        help="Simulator option of the rows, such as device=ddr4-2400 (device= for the default). "
        "Give every option that is not at its default.",
        metavar="NAME=VALUE",
    ),
]
VersionOption = Annotated[
    int | None,
    typer.Option(
        "--version", help="Simulator version of the rows, if the dataset has several.", min=0
    ),
]
DatasetArgument = Annotated[
    Path, typer.Argument(help="Folder of a dataset, or its Parquet file.", metavar="DATASET")
]
ProxyArgument = Annotated[Path, typer.Argument(help="File of a proxy model.", metavar="PROXY")]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        help="Kind of model; see `archgym list models`.",
        autocompletion=complete_model,
    ),
]
WorkloadsOption = Annotated[
    str,
    typer.Option(
        "--workloads",
        help="Models per workload: separate, or joint (also predicts unseen workloads).",
    ),
]
FitOption = Annotated[
    str,
    typer.Option(
        "--fit",
        help="Metrics per model: alike (those that differ in unit only), each, or joint (all).",
    ),
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option(
        "--setting",
        help="Hyperparameter of the model, such as n_trees=20; repeat for more (default: "
        "chosen by cross-validation).",
        metavar="NAME=VALUE",
    ),
]
SeedOption = Annotated[
    int, typer.Option("--seed", help="Random seed of the training.", min=0, max=2**32 - 1)
]
LeftOutOption = Annotated[
    list[str] | None,
    typer.Option(
        "--left-out",
        help="Workload that is not learned, and that errors are measured on; repeat for more. "
        "Needs joint workloads.",
        metavar="WORKLOAD",
    ),
]
_COLUMNS = (
    ("rmse_percent_of_mean", "RMSE % of mean"),
    ("rmse_percent_interval", "95 % interval"),
    ("rmse_percent_of_range", "% of range"),
    ("mape_percent", "MAPE %"),
    ("worst_percent", "worst %"),
    ("r2", "R2"),
    ("spearman", "Spearman"),
    ("top_recall", "top-1% recall"),
    ("coverage", "coverage"),
    ("width_percent", "width %"),
)


@proxy_app.command()
def train(
    dataset: DatasetArgument,
    out: Annotated[
        Path,
        typer.Option("--out", help="File of the proxy to create.", metavar="FILE"),
    ],
    model: ModelOption = "boosting",
    workloads: WorkloadsOption = "separate",
    fit: FitOption = "alike",
    setting: SettingOption = None,
    calibration: Annotated[
        float, typer.Option("--calibration", help="Share of designs to calibrate intervals on.")
    ] = 0.1,
    seed: SeedOption = 0,
    left_out: LeftOutOption = None,
    space: SpaceOption = None,
    fidelity: FidelityOption = None,
    option: OptionOption = None,
    version: VersionOption = None,
    json: JsonOption = False,
) -> None:
    """Fit a proxy to a dataset, and save it as data without code.

    Of a dataset in parts it learns the part train, and its errors on the part test are shown.
    """
    from archgym.cli.console.progress import CountBar, announce_compilation
    from archgym.proxy import Proxy
    from archgym.proxy import train as train_proxy

    options = train_options(model, workloads, fit, calibration, seed, setting)
    require_free(out)
    announce_compilation()
    data = _read(dataset, option, space=space, fidelity=fidelity, version=version)
    with CountBar("models") as bar:
        train_proxy(
            data, options, lambda what, done, total: bar.show(done, total, what), left_out or ()
        ).save(out)
    _write_proxy(Proxy.load(out), out, json)


@proxy_app.command()
def info(proxy: ProxyArgument, json: JsonOption = False) -> None:
    """Show the training data of a proxy, and its errors on held-out designs."""
    from archgym.proxy import Proxy

    _write_proxy(Proxy.load(proxy), proxy, json)


@proxy_app.command()
def verify(
    proxy: ProxyArgument,
    dataset: DatasetArgument,
    left_out: LeftOutOption = None,
    space: SpaceOption = None,
    fidelity: FidelityOption = None,
    option: OptionOption = None,
    version: VersionOption = None,
    json: JsonOption = False,
) -> None:
    """Show the errors of a proxy on a dataset: on its part test, or on all of one without parts.

    With --left-out they are those on workloads that the proxy has not learned.
    """
    import numpy as np

    from archgym.cli.console.progress import announce_compilation
    from archgym.proxy import Proxy, judge

    loaded = Proxy.load(proxy)
    announce_compilation()
    data = _read(dataset, option, space=space, fidelity=fidelity, version=version)
    names = [workload.name for workload in data.workloads]
    check_known("workload of the dataset", left_out or (), names)
    if learned := {w.name for w in loaded.declaration.workloads}.intersection(left_out or ()):
        raise InvalidArgumentError(
            f"`--left-out` must name workloads that {proxy} has not learned; got {min(learned)!r}."
        )
    part, rows = "all rows", np.ones(len(data), dtype=bool)
    if left_out:
        part, rows = "left-out workload", np.isin(data.workload, list(map(names.index, left_out)))
    elif data.split is not None:
        part, rows = "test part", data.is_in("test")
    errors = judge(loaded, data.rows(rows))
    write_json({part: errors}) if json else _write_errors(part, errors)


def _read(dataset: Path, option: Sequence[str] | None, **wanted: Any) -> "Dataset":
    from archgym.datasets import read_dataset

    # An empty value stands for the default, which rows do not record.
    chosen = {name: value for name, value in assignments("--option", option or ()).items() if value}
    return read_dataset(dataset, options=chosen if option else None, **wanted)


@proxy_app.command()
def predict(
    proxy: ProxyArgument,
    design: Annotated[
        Path | None,
        typer.Option("--design", help="JSON file of the design (default: the default design)."),
    ] = None,
    value: Annotated[
        list[str] | None,
        typer.Option("--set", help="Value of a parameter; repeat for more.", metavar="NAME=VALUE"),
    ] = None,
    workload: Annotated[
        str | None,
        typer.Option("--workload", "-w", help="Workload to predict (default: the proxy's first)."),
    ] = None,
    level: Annotated[
        float, typer.Option("--level", help="Share of designs that an interval should cover.")
    ] = 0.9,
    json: JsonOption = False,
) -> None:
    """Predict the metrics of one design, with intervals."""
    from archgym.cli.console.progress import announce_compilation
    from archgym.evaluation.simulator import default_workload
    from archgym.proxy import ProxySimulator

    announce_compilation()
    simulator = ProxySimulator(proxy)
    space = simulator.space
    chosen = space.default
    if design is not None:
        chosen = filled_design(space, read_design(design), design)
    chosen = design_with(space, chosen, assignments("--set", value or ()))
    ran = simulator.workload(workload or default_workload(simulator))
    indices = space.indices_of(chosen)[None, :]
    result = simulator.evaluate_batch(indices, ran)
    why = simulator.spec.reasons[int(result.reason[0])] or None
    found = simulator.predict(indices, ran, level)
    rows = [
        (spec, float(found.values[0, k]), float(found.low[0, k]), float(found.high[0, k]))
        for k, spec in enumerate(simulator.metrics)
    ]
    if json:
        write_json(
            {
                "proxy": str(proxy),
                "workload": ran.name,
                "design": dict(chosen),
                "infeasible": why,
                "level": level,
                "extrapolates": bool(found.is_unfamiliar[0]),
                "metrics": {
                    spec.name: {"value": v, "low": low, "high": high, "unit": spec.unit}
                    for spec, v, low, high in rows
                },
            }
        )
    elif why is not None:
        notice(f"The design is infeasible: {sentence(why)}")
    if why is not None:
        raise typer.Exit(_INFEASIBLE_CODE)
    if json:
        return
    ends = f"{100 * level:g} % from", "to"
    table(
        ("metric", "expected", *ends, "unit"),
        [(s.name, number(v), number(low), number(high), s.unit) for s, v, low, high in rows],
        right=("expected", *ends),
    )
    if any(high == float("inf") for *_, high in rows):
        say(
            "An infinite interval means too few designs for calibration. Train the proxy on more "
            "designs, or with a larger --calibration."
        )
    elif found.is_unfamiliar[0]:
        say(
            "The proxy extrapolates: no training design combines these values. The interval is "
            "based on errors in held-out regions of the space."
        )


@proxy_app.command()
def search(
    proxy: ProxyArgument,
    workload: Annotated[
        str | None,
        typer.Option("--workload", "-w", help="Workload to predict (default: the proxy's first)."),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective",
            help="Objective to search for (default: that of the studies in the training data).",
        ),
    ] = None,
    agent: AgentOption = "genetic",
    budget: Annotated[
        int, typer.Option("--budget", "-n", help="Number of predictions, which are cheap.", min=1)
    ] = 5000,
    verify: Annotated[
        int, typer.Option("--verify", help="Number of best designs to simulate.", min=1)
    ] = 10,
    seed: AgentSeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Search on a proxy, then simulate the best designs.

    Only simulated results count, because a search favours designs that a proxy overrates.
    """
    from archgym.cli.console.progress import StudyProgress, announce_compilation
    from archgym.cli.views.study import limits_text
    from archgym.proxy import ProxySimulator
    from archgym.proxy.verified_search import search_on_proxy
    from archgym.report.quantities import quantity

    announce_compilation()
    simulator = ProxySimulator(proxy)
    with StudyProgress(budget) as bar:
        found = search_on_proxy(simulator, workload, objective, agent, budget, verify, seed, bar)
    if json:
        write_json(found.to_json())
        return
    heading(f"{found.task_id}: {found.asked} designs predicted, {len(found.rows)} simulated")
    ends = "predicted reward", "simulated reward"
    cells = [
        (str(place), f"{row.predicted:.4f}", f"{row.simulated:.4f}")
        for place, row in enumerate(found.rows, start=1)
    ]
    table(("design", *ends), cells, right=("design", *ends))
    space = simulator.space
    for place, row in enumerate(found.rows, start=1):
        changed = [f"{name}={value}" for name, value in space.changes(row.design).items()]
        prose(f"{place:>3}  {', '.join(changed) or 'the default design'}", indent="     ")
    say()
    say(
        f"Best simulated reward: {found.best.simulated:.4f}. "
        f"{found.asked - len(found.rows)} simulations were saved by a proxy trained on "
        f"{found.learned} evaluations."
    )
    units = {spec.name: spec.unit for spec in simulator.metrics}
    metrics = found.best.metrics or {}
    for name, learned in found.learned_best if metrics else ():
        mine, known = (quantity(v, units[name]) for v in (metrics[name], learned))
        aside = ", limits aside" * found.has_limits
        prose(f"{name}: {mine}; the best evaluation that it learned from has {known}{aside}.")
    if found.has_limits:
        say(limits_text(found.best.missed_limits))


def train_options(
    model: str,
    workloads: str,
    fit: str,
    calibration: float,
    seed: int,
    setting: Sequence[str] | None,
) -> "TrainOptions":
    """Return the training options that a command was given.

    Raises:
      InvalidArgumentError: A hyperparameter does not exist or is not a number.
    """
    from archgym.proxy import TrainOptions, model_kind

    chosen: dict[str, Any] | None = None
    if setting:
        chosen = dict(model_kind(model).settings[0])
        for name, text in assignments("--setting", setting).items():
            if name not in chosen:
                raise InvalidArgumentError(
                    f"`--setting` of {model} must be one of {', '.join(chosen)}; got {name!r}."
                )
            try:
                chosen[name] = type(chosen[name])(text)
            except ValueError:
                kind = "whole number" if isinstance(chosen[name], int) else "number"
                raise InvalidArgumentError(
                    f"`--setting` {name} must be a {kind} such as {chosen[name]}; got {text!r}."
                ) from None
    return TrainOptions(model, workloads, fit, calibration, seed, chosen)


def _write_proxy(proxy: "Proxy", path: Path, is_json: bool) -> None:
    """Print what a proxy was trained on, its size and its errors, as text or JSON."""
    declared = proxy.declaration
    names = [workload.name for workload in declared.workloads]
    if is_json:
        write_json(
            {
                "proxy": str(path),
                "digest": proxy.digest,
                "bytes": path.stat().st_size,
                "simulator": declared.simulator,
                "space": declared.space_name,
                "workloads": names,
                **proxy.about,
                "errors": proxy.errors,
            }
        )
        return
    about = proxy.about
    heading(f"{path}: {about.get('model')} for {declared.simulator}/{declared.space_name}")
    say(
        f"Learned: {about.get('designs')} designs, {about.get('distinct_rows')} evaluations of "
        f"{'part train of ' * (about.get('part') is not None)}dataset "
        f"{str(about.get('data_digest'))[:12]}; digest {proxy.digest[:12]}; "
        f"{path.stat().st_size:,} bytes; {_settings_text(about.get('hyperparameters'))}."
    )
    say()
    for split, by_workload in proxy.errors.items():
        _write_errors(split, by_workload)


def _settings_text(settings: Any) -> str:
    """Return the hyperparameters of the models, equal ones once."""
    given = settings if isinstance(settings, list) else [settings]
    texts = [
        ", ".join(f"{name}={value}" for name, value in each.items())
        for each in given
        if isinstance(each, dict)
    ]
    return "; ".join(dict.fromkeys(texts)) or "no hyperparameters"


def _write_errors(split: str, by_workload: Any) -> None:
    """Write the errors on one split, a table per workload."""
    for workload, found in by_workload.items():
        metrics = found.get("metrics", found)
        if not metrics:
            continue
        first = next(iter(metrics.values()))
        n = found.get("n_test", first.get("n"))
        say(f"{split}, {workload}: {n} designs")
        shown = [(key, title) for key, title in _COLUMNS if key in first]
        titles = [title for _, title in shown]
        table(
            ("metric", *titles),
            [
                (name, *(_cell(errors.get(key)) for key, _ in shown))
                for name, errors in metrics.items()
            ],
            right=titles,
        )


def _cell(value: Any) -> str:
    if isinstance(value, list) and len(value) == 2:
        return f"{_cell(value[0])} to {_cell(value[1])}"
    return "–" if not isinstance(value, int | float) else f"{value:.3g}"
