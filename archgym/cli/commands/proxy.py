"""`archgym proxy`: models that answer in a simulator's place, and how far to trust them."""

from pathlib import Path
from typing import Annotated

import typer

from archgym.cli.commands.proxy_report import report, show_proxy
from archgym.cli.console.terminal import heading, number, say, table, unit, write_json
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
    WorkloadsOption,
    train_options,
)
from archgym.cli.options.task import JsonOption
from archgym.cli.options.values import (
    assignments,
    filled_design,
    named_path,
    read_design,
    with_values,
)
from archgym.files.storage import require_free

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


@proxy_app.callback()
def _group() -> None:
    """Train models that answer in a simulator's place."""


@proxy_app.command()
def train(
    dataset: DatasetArgument,
    out: Annotated[
        Path,
        typer.Option("--out", help="A new file.", parser=named_path, metavar="FILE"),
    ],
    model: ModelOption = "boosting",
    workloads: WorkloadsOption = "separate",
    fit: FitOption = "alike",
    setting: SettingOption = None,
    calibration: Annotated[
        float, typer.Option("--calibration", help="Share of designs that intervals are fitted on.")
    ] = 0.1,
    seed: SeedOption = 0,
    space: SpaceOption = None,
    fidelity: FidelityOption = None,
    option: OptionOption = None,
    version: VersionOption = None,
    json: JsonOption = False,
) -> None:
    """Fit a proxy to a dataset and save it as data only."""
    from archgym.cli.console.progress import CountBar, announce_compilation
    from archgym.proxy import Proxy
    from archgym.proxy import train as train_proxy

    options = train_options(model, workloads, fit, calibration, seed, setting)
    require_free(out)
    announce_compilation()
    data = read_rows(dataset, space, fidelity, option, version)
    with CountBar("models") as bar:
        train_proxy(data, options, lambda what, done, total: bar.show(done, total, what)).save(out)
    show_proxy(Proxy.load(out), out, json)


@proxy_app.command()
def info(proxy: ProxyArgument, json: JsonOption = False) -> None:
    """Show what a proxy was made of, and its errors on designs that it has not seen."""
    from archgym.proxy import Proxy

    show_proxy(Proxy.load(proxy), proxy, json)


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
    from archgym.cli.console.progress import announce_compilation
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
    if any(high == float("inf") for *_, high in rows):
        say(
            "Where an interval ends in infinity, too few designs were there to find out how wrong "
            "the proxy is: train it on more, or with a larger --calibration."
        )
    elif found.is_unfamiliar[0]:
        say(
            "The proxy extrapolates: it has seen no design with some of these values together. The "
            "interval is as wide as errors were in parts of the space that it was not shown."
        )


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
    from archgym.cli.console.progress import StudyProgress, announce_compilation
    from archgym.proxy import ProxySimulator
    from archgym.proxy.verified_search import search_on_proxy

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


proxy_app.command()(report)
