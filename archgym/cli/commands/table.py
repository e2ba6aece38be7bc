"""`archgym table`: every design of a space simulated once, and what is proven by that."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.checks import MAX_WORKERS
from archgym.cli.console.terminal import heading, number, say, table, unit, write_json
from archgym.cli.options.task import (
    FidelityOption,
    JsonOption,
    ObjectiveOption,
    OptionOption,
    SimulatorArgument,
    TaskChoice,
    TaskCommand,
    WorkloadOption,
    make_task,
)
from archgym.cli.options.values import file_stem, named_path
from archgym.cli.views.random_search import curve_json, write_random_curve
from archgym.errors import InvalidArgumentError, StudyInterrupted

if TYPE_CHECKING:
    from archgym.tables import Optimum, TablePlan, TableSimulator

__all__ = ["table_app"]

_TABLES = Path("tables")
_MAX_DESIGNS = 10_000_000
# chosen: what takes less is over before it is read.
_WORTH_SAYING_S = 2.0
# chosen: up to two minutes, two hours and two days are told in the smaller unit.
_SECONDS, _MINUTES, _HOURS = 120, 7200, 172_800

table_app = typer.Typer(
    name="table",
    help="Tabulate a whole space, so that its optimum is proven.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

TableArgument = Annotated[Path, typer.Argument(help="A table's file.", metavar="TABLE")]


@table_app.callback()
def _group() -> None:
    """Tabulate a whole space, so that its optimum is proven."""


@table_app.command(cls=TaskCommand)
def build(
    simulator: SimulatorArgument,
    space: Annotated[
        str | None,
        typer.Option(
            "--space", help="A space; left out, the one that the simulator has for tables."
        ),
    ] = None,
    workload: WorkloadOption = None,
    objective: ObjectiveOption = None,
    fidelity: FidelityOption = None,
    option: OptionOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="A new Parquet file; left out, tables/<a readable name>.parquet.",
            parser=named_path,
            metavar="FILE",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Threads; left out, one a core.", min=1, max=MAX_WORKERS),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Simulate every distinct design of a space and write them as a table.

    What is stopped, or killed, goes on where it was with the same command.
    """
    from archgym.cli.console.progress import StageBar, TableBar
    from archgym.tables import TableSimulator, build_table

    task = make_task(
        _with_space(TaskChoice(simulator, space, workload, objective, fidelity, option))
    )
    names = "-".join(w.workload.name for w in task.workloads)
    target = out or _TABLES / f"{file_stem(f'{task.simulator.name}-{task.space_name}-{names}')}"
    target = target if out is not None else target.with_name(f"{target.name}.parquet")
    try:
        with TableBar() as simulating, StageBar() as assembling:
            build_table(task, target, workers, simulating, assembling, _announce)
    except StudyInterrupted as stop:
        raise StudyInterrupted(f"{stop} Go on with the same command.", stop.signal_number) from None
    made = TableSimulator(target)
    write_json(_as_json(made)) if json else _write(made)
    if not json:
        say(f"Next: archgym search {shlex.quote(task.id)} --from-table {shlex.quote(str(target))}")


def _announce(plan: "TablePlan") -> None:
    """Say on standard error what is going to be done, so that output can be piped."""
    if plan.seconds is None or not plan.n_simulations - plan.n_known:
        on = f" on {plan.n_workloads} workloads" if plan.n_workloads > 1 else ""
        known = f"; {plan.n_known:,} simulations are there already" if plan.n_known else ""
        typer.echo(
            f"{plan.out}: {plan.n_designs:,} distinct designs of {plan.n_combinations:,} "
            f"combinations{on}, {plan.n_simulations:,} simulations in all{known}. The file takes "
            f"at most {_size(plan.most_bytes)}.",
            err=True,
        )
    elif plan.seconds > _WORTH_SAYING_S:
        threads = f"{plan.n_workers} thread{'s' * (plan.n_workers > 1)}"
        typer.echo(
            f"It takes about {_duration(plan.seconds)} more with {threads}. Ctrl-C stops it, and "
            "the same command goes on.",
            err=True,
        )


def _size(n_bytes: int) -> str:
    if n_bytes < 10**6:
        return f"{n_bytes / 1e3:.1f} kB"
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes < 10**9 else f"{n_bytes / 1e9:.1f} GB"


def _duration(seconds: float) -> str:
    if seconds < _SECONDS:
        return f"{seconds:.0f} s"
    if seconds < _MINUTES:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < _HOURS else f"{seconds / 86400:.1f} days"


def _with_space(choice: TaskChoice) -> TaskChoice:
    """Return the choice with the simulator's space for tables, where no space was named."""
    from archgym.evaluation.simulator import simulator_class

    choice = choice.resolved()
    if choice.space is not None:
        return choice
    return replace(choice, space=simulator_class(choice.simulator).table_space)


@table_app.command()
def info(file: TableArgument, json: JsonOption = False) -> None:
    """Show what a table holds: designs, optima, digest."""
    from archgym.tables import TableSimulator

    made = TableSimulator(file)
    write_json(_as_json(made)) if json else _write(made)


@table_app.command()
def verify(
    file: TableArgument,
    designs: Annotated[
        int,
        typer.Option(
            "--designs", "-n", help="How many are simulated anew.", min=1, max=_MAX_DESIGNS
        ),
    ] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Of the draw.", min=0, max=2**63 - 1)] = 0,
    json: JsonOption = False,
) -> None:
    """Compare a table with its hashes, its optima, and the simulator.

    The exit code is 1 where anything differs, be it a single bit.
    """
    from archgym.cli.console.progress import StageBar, announce_compilation
    from archgym.cli.console.signals import prompt_stops
    from archgym.tables import TableSimulator, verify_table

    made = TableSimulator(file)
    announce_compilation()
    with prompt_stops(), StageBar() as bar:
        problems = list(verify_table(made, made.simulator(), designs, seed, bar))
    n = min(designs, made.rows)
    if json:
        write_json({"table": str(file), "designs": n, "seed": seed, "problems": problems})
    for problem in problems:
        typer.echo(f"{file}: {problem}", err=True)
    if problems:
        raise typer.Exit(1)
    if not json:
        n_workloads = len(made.workload_names())
        say(
            f"{file}: {n:,} of {made.rows:,} designs simulated anew on "
            f"{n_workloads} workload{'s' * (n_workloads > 1)} are equal in every bit; all columns "
            "have their hashes, parameters are the designs' own, and all optima are there and "
            "those of the rows."
        )


@table_app.command()
def curve(
    file: TableArgument,
    workload: WorkloadOption = None,
    objective: ObjectiveOption = None,
    budget: Annotated[
        list[int] | None,
        typer.Option("--budget", "-n", help="Evaluations; repeat it.", min=1),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw it into this .svg, .png or .pdf.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show what random search reaches, exactly: its mean, and its 5th to 95th percentile of reward.

    The 5th is what an unlucky run has: the larger value of a metric that is minimised. Random
    search evaluates no design twice, so that this needs no runs and has no noise.
    """
    from archgym.analysis.random_search import budgets_up_to
    from archgym.cli.options.task import workload_weights
    from archgym.evaluation.task import Task
    from archgym.report.plots import check_plot, plot_random
    from archgym.tables.exhaustive import DEFAULT_BUDGETS, Exhaustive

    if plot is not None:
        check_plot("--plot", plot)
    task = Task.make(stand_in=file, workload=workload_weights(workload), objective=objective)
    known = Exhaustive(task)
    total = len(known.rewards)
    asked = sorted(set(budget or [n for n in DEFAULT_BUDGETS if n <= total] or [total]))
    if asked[-1] > total:
        raise InvalidArgumentError(
            f"`--budget` must be at most {total:,}, the designs there are; got {asked[-1]:,}."
        )
    found = known.random_curve(asked)
    if json:
        write_json(
            {
                "task": task.id,
                "designs": total,
                "label": known.label,
                "optimum": known.optimum_value,
                "reward": known.reward,
                "ties": known.n_ties,
                **curve_json(found),
            }
        )
    else:
        write_random_curve(known, found)
    if plot is not None:
        plot_random(known, known.random_curve(budgets_up_to(asked[-1], total)), plot)
        if not json:
            say(f"Picture: {plot}")


# ---- what is said


def _write(made: "TableSimulator") -> None:
    declared = made.declaration
    space = made.space
    options = ", ".join(f"{name}={value}" for name, value in made.options.items())
    heading(f"{made.path}: {declared.simulator}, version {declared.version}, space {space.name}")
    say(
        f"{made.rows:,} distinct designs of {space.size:,} combinations, fidelity "
        f"{made.fidelity}{f', {options}' if options else ''}; {_size(made.size_bytes)}"
    )
    say(f"Workloads: {', '.join(workload.name for workload in declared.workloads)}")
    say(f"Digest: {made.digest}")
    say()
    heading("Optima")
    columns = ("workload", "objective", "reward", "best", "unit", "ties", "infeasible", "front")
    rows = [
        (
            _mixture(optimum),
            optimum.objective.name,
            f"{optimum.reward:.4f}",
            *_best(made, optimum),
            f"{optimum.n_ties:,}",
            f"{optimum.n_infeasible:,}",
            f"{optimum.front_size:,}" if optimum.front_size else "–",
        )
        for optimum in made.optima
    ]
    table(columns, rows, right=("reward", "best", "ties", "infeasible", "front"))


def _mixture(optimum: "Optimum") -> str:
    are_equal = len(set(optimum.weights.values())) == 1
    return "+".join(
        ("" if are_equal else f"{weight:g}*") + name for name, weight in optimum.weights.items()
    )


def _best(made: "TableSimulator", optimum: "Optimum") -> tuple[str, str]:
    """Return the metric of an objective with one term on one workload, and its unit."""
    terms = optimum.objective.terms
    if len(terms) != 1 or len(optimum.weights) != 1:
        return "–", ""
    names = [spec.name for spec in made.metrics]
    place = names.index(terms[0].metric)
    value = _values(made, optimum)[0, place]
    return number(float(value)), unit(made.metrics[place].unit)


def _values(made: "TableSimulator", optimum: "Optimum") -> Any:
    """Return metrics of the best design on each workload, (w, n_metrics)."""
    import numpy as np

    row = int(np.searchsorted(made.numbers, optimum.number))
    return np.stack([made.results(name)[0][row] for name in optimum.weights])


def _as_json(made: "TableSimulator") -> dict[str, Any]:
    import numpy as np

    names = [spec.name for spec in made.metrics]
    return {
        "table": str(made.path),
        "bytes": made.size_bytes,
        "digest": made.digest,
        "designs": made.rows,
        "combinations": made.space.size,
        "simulator": made.name,
        "version": made.version,
        "options": dict(made.options),
        "fidelity": made.fidelity,
        "space": made.declaration.space_name,
        "workloads": {w.name: w.digest for w in made.declaration.workloads},
        "units": {spec.name: spec.unit for spec in made.metrics},
        "optima": [
            {
                "weights": dict(optimum.weights),
                "objective": optimum.objective.to_json(),
                "reward": optimum.reward,
                "ties": optimum.n_ties,
                "infeasible": optimum.n_infeasible,
                "design": dict(
                    made.space.design_at(made.space.unflat(np.array([optimum.number]))[0])
                ),
                "metrics_by_workload": {
                    name: dict(zip(names, row.tolist(), strict=True))
                    for name, row in zip(optimum.weights, _values(made, optimum), strict=True)
                },
                "front_size": optimum.front_size,
                "front": [
                    {"number": p.number, "alike": p.n_alike, "terms": p.terms}
                    for p in optimum.front
                ],
            }
            for optimum in made.optima
        ],
    }
