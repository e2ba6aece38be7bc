"""`archgym proxy report`, and errors of proxies as tables."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.console.terminal import heading, say, table, write_json
from archgym.cli.options.dataset import (
    FidelityOption,
    OptionOption,
    SpaceOption,
    VersionOption,
    read_rows,
)
from archgym.cli.options.proxy import (
    FitOption,
    ModelOption,
    SeedOption,
    SettingOption,
    train_options,
)
from archgym.cli.options.task import JsonOption
from archgym.cli.options.values import named_path

if TYPE_CHECKING:
    from archgym.datasets.dataset import Dataset
    from archgym.proxy import Proxy

__all__ = ["report", "show_proxy"]

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


def show_proxy(proxy: "Proxy", path: Path, is_json: bool) -> None:
    """Write what a proxy was made of, and its errors."""
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
        f"{path.stat().st_size:,} bytes; {_settings_text(about.get('hyperparameters'))}."
    )
    say()
    for split, by_workload in proxy.errors.items():
        _write_split(split, by_workload)


def _settings_text(settings: Any) -> str:
    """Return hyperparameters of the models, those that are the same once."""
    given = settings if isinstance(settings, list) else [settings]
    texts = [
        ", ".join(f"{name}={value}" for name, value in each.items())
        for each in given
        if isinstance(each, dict)
    ]
    return "; ".join(dict.fromkeys(texts)) or "no hyperparameters"


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
    if isinstance(value, list) and len(value) == 2:
        return f"{_cell(value[0])} to {_cell(value[1])}"
    return "–" if not isinstance(value, int | float) else f"{value:.3g}"


def report(
    source: Annotated[
        Path, typer.Argument(help="A dataset, or a proxy's file.", metavar="DATASET|PROXY")
    ],
    model: ModelOption = "boosting",
    fit: FitOption = "alike",
    setting: SettingOption = None,
    seed: SeedOption = 0,
    space: SpaceOption = None,
    fidelity: FidelityOption = None,
    option: OptionOption = None,
    version: VersionOption = None,
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
        from archgym.proxy import Proxy

        show_proxy(Proxy.load(source), source, json)
        return
    from archgym.cli.console.progress import CountBar, announce_compilation
    from archgym.files.storage import write_atomic
    from archgym.proxy.report import report as make_report
    from archgym.proxy.report_text import curve_tables, draw_curves, markdown

    options = train_options(model, "separate", fit, 0.1, seed, setting)
    announce_compilation()
    data = read_rows(source, space, fidelity, option, version)
    simulator = _simulator(data) if simulate else None
    with CountBar("models") as bar:
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
    for title, points in curve_tables(found):
        for point in points:
            say(
                f"{title}, {point.get('data', 'all')}, {point['rows']} rows: "
                f"error {point['error_percent']:.3g} % "
                f"({max(0.0, point['low']):.3g} to {point['high']:.3g})"
            )


def _simulator(data: "Dataset") -> Any:
    from archgym.evaluation.simulator import make_simulator, simulator_class

    declared = data.declaration
    return make_simulator(
        simulator_class(declared.simulator),
        declared.space_name,
        declared.fidelity,
        declared.options,
    )
