"""`archgym proxy report`: errors of a model on held-out designs, regions and workloads."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.console.terminal import say, write_json
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
from archgym.cli.views.proxy import write_errors, write_proxy

if TYPE_CHECKING:
    from archgym.datasets.dataset import Dataset


def report(
    source: Annotated[
        Path, typer.Argument(help="Dataset, or file of a proxy model.", metavar="DATASET|PROXY")
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
        bool,
        typer.Option(
            "--curves", help="Also compute learning and diversity curves, which takes longer."
        ),
    ] = False,
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate", help="Simulate the best predicted designs to measure the regret."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Write the report to this Markdown file.",
            parser=named_path,
            metavar="FILE",
        ),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            "--figure", help="Draw the curves to this .png, .svg or .pdf file.", parser=named_path
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show the errors of a model on held-out designs, regions and workloads.

    For a proxy, the errors that were measured in its training are shown.
    """
    if source.is_file() and source.suffix == ".npz":
        from archgym.proxy import Proxy

        write_proxy(Proxy.load(source), source, json)
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
        write_errors(split, by_workload)
    for title, points in curve_tables(found):
        for point in points:
            say(
                f"{title}, {point.get('data', 'all')}, {point['rows']} rows: "
                f"error {point['error_percent']:.3g} % "
                f"({max(0.0, point['low']):.3g} to {point['high']:.3g})"
            )


def _simulator(data: "Dataset") -> Any:
    from archgym.evaluation.factory import make_simulator
    from archgym.evaluation.simulator import simulator_class

    declared = data.declaration
    return make_simulator(
        simulator_class(declared.simulator),
        declared.space_name,
        declared.fidelity,
        declared.options,
    )
