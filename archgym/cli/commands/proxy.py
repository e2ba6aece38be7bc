"""`archgym proxy`: fitted models that replace a simulator, with measured errors."""

from pathlib import Path
from typing import Annotated

import typer

from archgym.cli.commands.proxy_report import report
from archgym.cli.console.terminal import heading, number, prose, say, table, write_json
from archgym.cli.options.dataset import (
    FidelityOption,
    OptionOption,
    SpaceOption,
    VersionOption,
    read_rows,
)
from archgym.cli.options.groups import command_group
from archgym.cli.options.proxy import (
    FitOption,
    ModelOption,
    SeedOption,
    SettingOption,
    WorkloadsOption,
    train_options,
)
from archgym.cli.options.run import AgentOption, AgentSeedOption
from archgym.cli.options.task import JsonOption
from archgym.cli.options.values import (
    assignments,
    filled_design,
    named_path,
    read_design,
)
from archgym.cli.views.proxy import write_proxy
from archgym.files.storage import require_free

proxy_app = command_group("proxy", "Train and use proxy models that replace a simulator.")

DatasetArgument = Annotated[
    Path, typer.Argument(help="Folder of a dataset, or its Parquet file.", metavar="DATASET")
]
ProxyArgument = Annotated[Path, typer.Argument(help="File of a proxy model.", metavar="PROXY")]


@proxy_app.command()
def train(
    dataset: DatasetArgument,
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="File of the proxy to create.", parser=named_path, metavar="FILE"
        ),
    ],
    model: ModelOption = "boosting",
    workloads: WorkloadsOption = "separate",
    fit: FitOption = "alike",
    setting: SettingOption = None,
    calibration: Annotated[
        float, typer.Option("--calibration", help="Share of designs to calibrate intervals on.")
    ] = 0.1,
    seed: SeedOption = 0,
    space: SpaceOption = None,
    fidelity: FidelityOption = None,
    option: OptionOption = None,
    version: VersionOption = None,
    json: JsonOption = False,
) -> None:
    """Fit a proxy to a dataset, and save it as data without code."""
    from archgym.cli.console.progress import CountBar, announce_compilation
    from archgym.proxy import Proxy
    from archgym.proxy import train as train_proxy

    options = train_options(model, workloads, fit, calibration, seed, setting)
    require_free(out)
    announce_compilation()
    data = read_rows(dataset, space, fidelity, option, version)
    with CountBar("models") as bar:
        train_proxy(data, options, lambda what, done, total: bar.show(done, total, what)).save(out)
    write_proxy(Proxy.load(out), out, json)


@proxy_app.command()
def info(proxy: ProxyArgument, json: JsonOption = False) -> None:
    """Show the training data of a proxy, and its errors on held-out designs."""
    from archgym.proxy import Proxy

    write_proxy(Proxy.load(proxy), proxy, json)


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
    from archgym.proxy import ProxySimulator

    announce_compilation()
    simulator = ProxySimulator(proxy)
    space = simulator.space
    chosen = space.design_at(space.default_indices)
    if design is not None:
        chosen = filled_design(space, read_design(design), design)
    from archgym.spaces.texts import with_values

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
        say(f"The design is infeasible: {why}.")
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
    default = space.design_at(space.default_indices)
    for place, row in enumerate(found.rows, start=1):
        changed = [f"{name}={v}" for name, v in row.design.items() if v != default[name]]
        prose(f"{place:>3}  {', '.join(changed) or 'the default design'}", indent="     ")
    say()
    say(
        f"Best simulated reward: {found.best.simulated:.4f}. "
        f"{found.asked - len(found.rows)} simulations were saved by a proxy trained on "
        f"{found.learned} evaluations."
    )
    units = {spec.name: spec.unit for spec in simulator.metrics}
    for name, learned in found.learned_best if found.best.metrics is not None else ():
        mine, known = (quantity(v, units[name]) for v in (found.best.metrics[name], learned))
        aside = ", limits aside" * found.has_limits
        prose(f"{name}: {mine}; the best evaluation that it learned from has {known}{aside}.")
    if found.has_limits:
        say(limits_text(found.best.missed_limits))


proxy_app.command()(report)
