"""`archgym proxy`: models that answer in a simulator's place, and how far to trust them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.tasks import JsonOption
from archgym.cli.terminal import heading, number, say, table, unit, write_json
from archgym.cli.values import assignments, filled_design, named_path, read_design, with_values
from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    from archgym.datasets.dataset import Dataset
    from archgym.proxy import Proxy, TrainOptions

__all__ = ["proxy_app"]

proxy_app = typer.Typer(
    name="proxy",
    help="Train models that answer in a simulator's place.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

DatasetArgument = Annotated[
    Path, typer.Argument(help="A dataset's folder, or its Parquet file.", metavar="DATASET")
]
ProxyArgument = Annotated[Path, typer.Argument(help="A proxy's file.", metavar="PROXY")]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        help="forest, extra-trees, boosting, mlp, gp, knn, linear, xgboost or lightgbm.",
    ),
]
WorkloadsOption = Annotated[
    str,
    typer.Option(
        "--workloads",
        help="separate: a model each; joint: one that also predicts on workloads it has not seen.",
    ),
]
FitOption = Annotated[
    str,
    typer.Option(
        "--fit",
        help="A model for metrics that are alike (alike), for each, or one for all (joint).",
    ),
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option(
        "--setting",
        help="A hyperparameter, such as n_trees=20; others by default; none: cross-validation.",
        metavar="NAME=VALUE",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Of the training.", min=0, max=2**32 - 1)]
_COLUMNS = (
    ("rmse_percent_of_mean", "RMSE % of mean"),
    ("rmse_percent_of_range", "% of range"),
    ("mape_percent", "MAPE %"),
    ("worst_percent", "worst %"),
    ("r2", "R2"),
    ("spearman", "Spearman"),
    ("top_recall", "top-1% recall"),
    ("coverage", "coverage"),
    ("width_percent", "width %"),
)


@proxy_app.callback()
def _group() -> None:
    """Train models that answer in a simulator's place."""


@proxy_app.command()
def train(
    dataset: DatasetArgument,
    out: Annotated[
        Path,
        typer.Option("--out", help="The file to write.", parser=named_path, metavar="FILE"),
    ],
    model: ModelOption = "boosting",
    workloads: WorkloadsOption = "separate",
    fit: FitOption = "alike",
    setting: SettingOption = None,
    calibration: Annotated[
        float, typer.Option("--calibration", help="Share of designs that intervals are fitted on.")
    ] = 0.1,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Fit a proxy to a dataset and save it as data only."""
    from archgym.cli.notices import CountBar, announce_compilation
    from archgym.datasets import read_dataset
    from archgym.proxy import Proxy
    from archgym.proxy import train as train_proxy

    options = _options(model, workloads, fit, calibration, seed, setting)
    announce_compilation()
    data = read_dataset(dataset)
    with CountBar("models") as bar:
        train_proxy(data, options, lambda what, done, total: bar.show(done, total, what)).save(out)
    _show(Proxy.load(out), out, json)


def _options(
    model: str,
    workloads: str,
    fit: str,
    calibration: float,
    seed: int,
    setting: Sequence[str] | None,
) -> "TrainOptions":
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
                raise InvalidArgumentError(
                    f"`--setting` {name} must be a number such as {chosen[name]}; got {text!r}."
                ) from None
    return TrainOptions(model, workloads, fit, calibration, seed, chosen)


@proxy_app.command()
def info(proxy: ProxyArgument, json: JsonOption = False) -> None:
    """Show what a proxy was made of, and its errors on designs that it has not seen."""
    from archgym.proxy import Proxy

    _show(Proxy.load(proxy), proxy, json)


def _show(proxy: "Proxy", path: Path, is_json: bool) -> None:
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
        f"{about.get('designs')} designs, {about.get('distinct_rows')} evaluations of dataset "
        f"{str(about.get('data_digest'))[:12]}; digest {proxy.digest[:12]}; "
        f"{path.stat().st_size:,} bytes; hyperparameters {about.get('hyperparameters')}."
    )
    say()
    for split, by_workload in proxy.errors.items():
        _write_split(split, by_workload)


def _write_split(split: str, by_workload: Any) -> None:
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
    return "–" if not isinstance(value, int | float) else f"{value:.3g}"


@proxy_app.command()
def predict(
    proxy: ProxyArgument,
    design: Annotated[
        Path | None,
        typer.Option("--design", help="A JSON file with the design; the default where left out."),
    ] = None,
    value: Annotated[
        list[str] | None,
        typer.Option("--set", help="A parameter's value; repeat it.", metavar="NAME=VALUE"),
    ] = None,
    workload: Annotated[
        str | None, typer.Option("--workload", "-w", help="On which; the default one.")
    ] = None,
    level: Annotated[
        float, typer.Option("--level", help="Share of designs that an interval should hold.")
    ] = 0.9,
    json: JsonOption = False,
) -> None:
    """Predict the metrics of one design, with intervals."""
    from archgym.cli.notices import announce_compilation
    from archgym.proxy import ProxySimulator

    announce_compilation()
    simulator = ProxySimulator(proxy)
    space = simulator.space
    chosen = space.design_at(space.default_indices)
    if design is not None:
        chosen = filled_design(space, read_design(design), design)
    chosen = with_values(space, chosen, assignments("--set", value or ()))
    ran = simulator.workload(workload or simulator.default_workload)
    indices = space.indices_of(chosen)[None, :]
    result = simulator.evaluate_batch(indices, ran)
    why = simulator.reasons[int(result.reason[0])] or None
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
        return
    if why is not None:
        say(f"The design cannot be built: {why}.")
        return
    ends = f"{100 * level:g} % from", "to"
    table(
        ("metric", "expected", *ends, "unit"),
        [(s.name, number(v), number(low), number(high), unit(s.unit)) for s, v, low, high in rows],
        right=("expected", *ends),
    )
    if found.is_unfamiliar[0]:
        say("The proxy extrapolates: it has seen no design with some of these values together.")


@proxy_app.command()
def search(
    proxy: ProxyArgument,
    workload: Annotated[
        str | None, typer.Option("--workload", "-w", help="On which; the default one.")
    ] = None,
    objective: Annotated[
        str | None, typer.Option("--objective", help="What for; the simulator's default.")
    ] = None,
    agent: Annotated[str, typer.Option("--agent", "-a", help="The search method.")] = "genetic",
    budget: Annotated[
        int, typer.Option("--budget", "-n", help="Predictions; they cost little.", min=1)
    ] = 5000,
    verify: Annotated[
        int, typer.Option("--verify", help="How many of the best designs are simulated.", min=1)
    ] = 10,
    seed: Annotated[int, typer.Option("--seed", help="The agent's.", min=0, max=2**63 - 1)] = 0,
    json: JsonOption = False,
) -> None:
    """Search on a proxy, then simulate the best designs it found.

    Only those that are simulated count: a proxy errs most where a search pushes it.
    """
    from archgym.cli.notices import StudyProgress, announce_compilation
    from archgym.proxy import ProxySimulator
    from archgym.proxy.search import search_on_proxy

    announce_compilation()
    with StudyProgress(budget) as bar:
        found = search_on_proxy(
            ProxySimulator(proxy), workload, objective, agent, budget, verify, seed, bar
        )
    if json:
        write_json(found.to_json())
        return
    heading(f"{found.task_id}: {found.asked} designs predicted, {len(found.rows)} simulated")
    ends = "predicted reward", "simulated reward"
    table(
        ("design", *ends),
        [
            (
                ", ".join(f"{name}={value}" for name, value in row.design.items()),
                f"{row.predicted:.4f}",
                f"{row.simulated:.4f}",
            )
            for row in found.rows
        ],
        right=ends,
    )
    say(
        f"The best has reward {found.best.simulated:.4f} when simulated; "
        f"{found.asked - len(found.rows)} simulations were saved, by a proxy that had learned from "
        f"{found.learned}."
    )


@proxy_app.command()
def report(
    source: Annotated[
        Path, typer.Argument(help="A dataset, or a proxy's file.", metavar="DATASET|PROXY")
    ],
    model: ModelOption = "boosting",
    fit: FitOption = "alike",
    setting: SettingOption = None,
    seed: SeedOption = 0,
    curves: Annotated[
        bool, typer.Option("--curves", help="Add learning and diversity curves; takes longer.")
    ] = False,
    simulate: Annotated[
        bool,
        typer.Option("--simulate", help="Simulate the best predicted designs, for the regret."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="A Markdown file.", parser=named_path, metavar="FILE"),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            "--figure", help="A picture of the curves: .png, .svg, .pdf.", parser=named_path
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show how a kind of model does on designs, regions and workloads that it has not seen.

    Of a proxy, its own errors are shown, with intervals.
    """
    if source.is_file() and source.suffix == ".npz":
        info(source, json)
        return
    from archgym.cli.notices import CountBar, announce_compilation
    from archgym.datasets import read_dataset
    from archgym.proxy.report import report as make_report
    from archgym.proxy.writing import draw_curves, markdown
    from archgym.storage import write_atomic

    options = _options(model, "separate", fit, 0.1, seed, setting)
    announce_compilation()
    data = read_dataset(source)
    simulator = _simulator(data) if simulate else None
    with CountBar("steps") as bar:
        found = make_report(
            data,
            options,
            simulator=simulator,
            curves=curves or figure is not None,
            announce=lambda what, done, total: bar.show(done, total, what),
        )
    if figure is not None:
        draw_curves(found, figure)
    if out is not None:
        write_atomic(out, markdown(found))
    if json:
        write_json(found)
        return
    for split, by_workload in found["splits"].items():
        _write_split(split, by_workload)
    for name in ("learning_curve", "diversity"):
        for point in found.get(name, ()):
            say(
                f"{name.replace('_', ' ')}: {point.get('data', 'all')}, {point['rows']} rows, "
                f"error {point['error_percent']:.3g} % "
                f"({point['low']:.3g} to {point['high']:.3g})"
            )


def _simulator(data: "Dataset") -> Any:
    from archgym.discovery import simulator_class
    from archgym.simulator import make_simulator

    declared = data.declaration
    return make_simulator(
        simulator_class(declared.simulator),
        declared.space_name,
        declared.fidelity,
        declared.options,
    )
