"""`archgym table`: every design of a space simulated once, which proves its optimum."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archgym.checks import MAX_WORKERS
from archgym.cli.console.terminal import (
    duration,
    file_size,
    heading,
    notice,
    number,
    say,
    table,
    write_json,
)
from archgym.cli.options.groups import command_group, with_groups
from archgym.cli.options.run import MAX_SEED
from archgym.cli.options.task import (
    GoalOptions,
    HoldOptions,
    JsonOption,
    SimulatorArgument,
    SimulatorOptions,
    TaskOptions,
    make_task,
    task_choices,
)
from archgym.cli.options.values import lasting
from archgym.errors import StudyInterrupted
from archgym.files.remote import shown
from archgym.files.storage import file_stem

if TYPE_CHECKING:
    from archgym.tables import Optimum, TablePlan
    from archgym.tables.simulator import TableSummary

_TABLES = Path("tables")
_MAX_DESIGNS = 10_000_000
# chosen: shorter work is done before a notice is read.
_NOTICE_S = 2.0

table_app = command_group("table", "Build and use tables of all designs of a space.")

TableArgument = Annotated[
    Path,
    typer.Argument(help="Parquet file of the table, or a URL.", metavar="TABLE"),
]


@table_app.command()
@with_groups
def build(
    simulator: SimulatorArgument,
    model: SimulatorOptions,
    goal: GoalOptions,
    hold: HoldOptions,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Parquet file to create (default: tables/<simulator>-<space>-<workloads>.parquet)",
            metavar="FILE",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", help="Number of threads (default: one per core).", min=1, max=MAX_WORKERS
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            help="Simulate on a Ray cluster: its address, `auto` for one that runs on this "
            "machine, or `local`. All nodes must see the folder of the table.",
            metavar="ADDRESS",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Simulate every distinct design of a space and write the results as a table.

    An interrupted build continues with the same command. Processes that run it at once, also on
    other machines that see the table's folder, build it together. The default space is the one
    that the simulator declares for tables.
    """
    from archgym.cli.console.progress import StageBar, TableBar
    from archgym.evaluation.simulator import simulator_class
    from archgym.tables import build_table
    from archgym.tables.simulator import summarise_table

    choice = task_choices(simulator, TaskOptions(model, goal), hold)
    if choice.space is None:
        choice = replace(choice, space=simulator_class(str(choice.simulator)).spec.table_space)
    task = make_task(choice)
    names = "-".join(w.workload.name for w in task.workloads)
    stem = file_stem(f"{task.simulator.name}-{task.space_name}-{names}")
    target = lasting(out or _TABLES / f"{stem}.parquet")
    try:
        with TableBar() as simulating, StageBar() as assembling:
            build_table(task, target, workers, simulating, assembling, _announce, ray=ray)
    except StudyInterrupted as stop:
        raise StudyInterrupted(
            f"{stop} To continue, run the same command.", stop.signal_number
        ) from None
    summary = summarise_table(target)
    write_json(summary.to_json()) if json else _write_table(summary)
    if not json:
        from archgym.report.commands import search_command

        say("Next: " + search_command(task.to_json(), None, "--from-table", shown(target)))


def _announce(plan: "TablePlan") -> None:
    """Write the size of the work on standard error, so that output can be piped."""
    if plan.seconds is None or not plan.n_simulations - plan.n_known:
        on = f" on {plan.n_workloads} workloads" if plan.n_workloads > 1 else ""
        known = f", {plan.n_known:,} of them already done" if plan.n_known else ""
        notice(
            f"{plan.out}: {plan.n_designs:,} distinct designs of {plan.n_combinations:,} "
            f"combinations{on}; {plan.n_simulations:,} simulations{known}. Uncompressed, the "
            f"metrics take {file_size(plan.most_bytes)}; parameters and reasons come on top."
        )
    elif plan.seconds > _NOTICE_S:
        threads = f"{plan.n_workers} thread{'s' * (plan.n_workers > 1)}"
        where = f"with {threads}" if plan.ray is None else "on the Ray cluster"
        notice(
            f"Remaining time: about {duration(plan.seconds)} {where}. Ctrl-C stops the "
            "build; the same command continues it."
        )


@table_app.command()
def info(file: TableArgument, json: JsonOption = False) -> None:
    """Show the designs, optima and digest of a table."""
    from archgym.tables.simulator import summarise_table

    summary = summarise_table(file)
    write_json(summary.to_json()) if json else _write_table(summary)


@table_app.command()
def verify(
    file: TableArgument,
    designs: Annotated[
        int,
        typer.Option(
            "--designs",
            "-n",
            help="Number of designs to simulate again.",
            min=1,
            max=_MAX_DESIGNS,
        ),
    ] = 100,
    seed: Annotated[
        int,
        typer.Option("--seed", help="Random seed of the choice of designs.", min=0, max=MAX_SEED),
    ] = 0,
    json: JsonOption = False,
) -> None:
    """Compare a table with its hashes, its optima and the simulator.

    The exit code is 1 if anything differs, even by a single bit.
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
        write_json({"table": shown(file), "designs": n, "seed": seed, "problems": problems})
    for problem in problems:
        notice(f"{shown(file)}: {problem}")
    if problems:
        raise typer.Exit(1)
    if not json:
        n_workloads = len(made.workload_names())
        say(
            f"{shown(file)}: {n:,} of {made.rows:,} designs, simulated again on {n_workloads} "
            f"workload{'s' * (n_workloads > 1)}, are equal in every bit. All column hashes, design "
            "parameters and optima are correct."
        )


def _write_table(summary: "TableSummary") -> None:
    """Write the contents and the optima of a table."""
    from archgym.cli.views.study import limits_text

    made = summary.table
    declared = made.declaration
    space = made.space
    options = ", ".join(f"{name}={value}" for name, value in made.options.items())
    heading(f"{made.path}: {declared.simulator}, version {declared.version}, space {space.name}")
    say(
        f"{made.rows:,} distinct designs of {space.size:,} combinations, fidelity "
        f"{made.fidelity}{f', {options}' if options else ''}; {file_size(made.size_bytes)}"
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
            *_best(summary, optimum),
            f"{optimum.n_ties:,}",
            f"{optimum.n_infeasible:,}",
            f"{optimum.front_size:,}" if optimum.front_size else "–",
        )
        for optimum in made.optima
    ]
    table(columns, rows, right=("reward", "best", "ties", "infeasible", "front"))
    for optimum in made.optima:
        if optimum.objective.limits:
            missed = limits_text(summary.missed_limits(optimum))
            say(f"{optimum.objective.name} on {_mixture(optimum)}: {missed}")


def _mixture(optimum: "Optimum") -> str:
    are_equal = len(set(optimum.weights.values())) == 1
    return "+".join(
        ("" if are_equal else f"{weight:g}*") + name for name, weight in optimum.weights.items()
    )


def _best(summary: "TableSummary", optimum: "Optimum") -> tuple[str, str]:
    best = summary.best_metric(optimum)
    return ("–", "") if best is None else (number(best[0]), best[1].unit)
