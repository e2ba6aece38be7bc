"""`archgym tune`: hyperparameters of an agent for a task, found by a sweep of random draws."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archgym.cli.commands.sweep import SweepWorkersOption, run_interruptible
from archgym.cli.console.sweep_progress import SweepProgress
from archgym.cli.console.terminal import heading, say, table, write_json
from archgym.cli.options.completion import complete_agent
from archgym.cli.options.task import (
    FidelityOption,
    FromProxyOption,
    FromTableOption,
    JsonOption,
    ObjectiveOption,
    OptionOption,
    SimulatorArgument,
    SpaceOption,
    TaskChoice,
    TaskOption,
    WorkloadOption,
    make_task,
    named_space,
)
from archgym.cli.options.values import file_stem, hyperparameters, named_path
from archgym.files.storage import make_folder

if TYPE_CHECKING:
    from archgym.evaluation.task import Task
    from archgym.sweep.plan import TaskPlan
    from archgym.sweep.tuning import Tuning

__all__ = ["tune"]

_RUNS = Path("runs")
_MAX_DRAWS = 10_000
# chosen: what fits a screen.
_SHOWN_DRAWS = 12


def tune(
    simulator: SimulatorArgument,
    agent: Annotated[
        str,
        typer.Option("--agent", "-a", help="The search method.", autocompletion=complete_agent),
    ],
    space: SpaceOption = None,
    task_space: TaskOption = None,
    workload: WorkloadOption = None,
    objective: ObjectiveOption = None,
    fidelity: FidelityOption = None,
    option: OptionOption = None,
    from_table: FromTableOption = None,
    from_proxy: FromProxyOption = None,
    draws: Annotated[
        int,
        typer.Option(
            "--draws", help="Settings tried; the first are the defaults.", min=1, max=_MAX_DRAWS
        ),
    ] = 24,
    seeds: Annotated[
        int, typer.Option("--seeds", help="Studies of each setting.", min=1, max=1000)
    ] = 3,
    budget: Annotated[
        int, typer.Option("--budget", "-n", help="Evaluations of each study.", min=1)
    ] = 200,
    hyper: Annotated[
        list[str] | None,
        typer.Option(
            "--hyper",
            help="A hyperparameter that all settings share; repeat it.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            help="A folder for the studies; runs/tune-<task>-<agent>.",
            parser=named_path,
            metavar="PATH",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="The file that gets the entry.", parser=named_path, metavar="FILE"
        ),
    ] = Path("tuned.yaml"),
    workers: SweepWorkersOption = 1,
    json: JsonOption = False,
) -> None:
    """Find hyperparameters of an agent for a task.

    Random draws from the ranges that the agent publishes, and its defaults, search with several
    seeds; the best few and the defaults search again with fresh ones. The file gets the winner.
    """
    from archgym.sweep.tuned_settings import read_tuned, write_tuned
    from archgym.sweep.tuning import tune as find

    fixed = hyperparameters(agent, hyper or ())
    if out.exists():
        # An older file that cannot be read is said before hours of work.
        read_tuned(out)
    task = make_task(
        TaskChoice(
            simulator,
            named_space(space, task_space),
            workload,
            objective,
            fidelity,
            option,
            from_table,
            from_proxy,
        )
    )
    place = folder or _RUNS / file_stem(f"tune-{task.id}-{agent}")
    words = ["archgym", "tune", task.id, "--agent", agent]
    for name, path in (("--from-table", from_table), ("--from-proxy", from_proxy)):
        words += [] if path is None else [name, str(path)]
    words += [text for name in hyper or () for text in ("--hyper", name)]
    words += ["--draws", str(draws), "--seeds", str(seeds), "--budget", str(budget)]
    more = ["--out", str(out), "--workers", str(workers)]
    more += [] if folder is None else ["--folder", str(folder)]
    with run_interruptible([*words, *more]), SweepProgress() as progress:
        tuning = find(
            _task_plan(task),
            agent,
            place,
            draws=draws,
            seeds=seeds,
            budget=budget,
            workers=workers,
            fixed=fixed,
            command=shlex.join(words),
            progress=progress,
        )
    make_folder(out.parent)
    write_tuned(out, tuning.entry)
    if json:
        write_json(
            {
                "task": task.id,
                "agent": agent,
                "folder": str(place),
                "draws": [vars(draw) for draw in tuning.draws],
                "hyperparameters": tuning.entry.hyperparameters,
                "found_by": tuning.entry.found_by,
                "failures": dict(tuning.outcomes[0].failures),
            }
        )
        return
    _write(tuning, place)
    say(f"Written: {out}")
    say(f"Next: archgym search {shlex.quote(task.id)} -a {agent} --tuned-from {out}")


def _task_plan(task: "Task") -> "TaskPlan":
    from archgym.evaluation.stand_in import StandIn
    from archgym.sweep.plan import TaskPlan

    return TaskPlan(
        "task",
        task.simulator.name,
        task.space_name,
        {w.source: w.weight for w in task.workloads},
        task.objective.name,
        task.simulator.fidelity,
        {name: str(value) for name, value in task.simulator.options.items()},
        str(task.simulator.path) if isinstance(task.simulator, StandIn) else None,
    )


def _write(tuning: "Tuning", place: Path) -> None:
    heading(f"{tuning.entry.task}: {tuning.entry.agent}")
    say(f"Best rewards reached by {len(tuning.draws)} settings, over the seeds: {place}")
    shown = list(tuning.draws[:_SHOWN_DRAWS])
    if tuning.default not in shown:
        shown.append(tuning.default)
    rows = [
        (
            draw.label if draw is not tuning.default else f"{draw.label} (defaults)",
            f"{draw.mean:.4f}",
            f"{draw.best:.4f}",
            f"{draw.early:.4f}",
            ", ".join(f"{n}={v}" for n, v in draw.hyperparameters.items()),
        )
        for draw in shown
    ]
    table(
        ("setting", "mean", "best", "mean on the way", "hyperparameters"),
        rows,
        right=("mean", "best", "mean on the way"),
    )
    for name, why in tuning.outcomes[0].failures.items():
        say(f"{name} failed: {' '.join(why.split())}")
    if tuning.best is tuning.default:
        say("With fresh seeds, no setting is better than the defaults, which stand.")
        return
    verdict = "better" if tuning.is_better else "no better, so the defaults stand"
    say(
        f"Over all seeds {tuning.best.label} is best; with fresh ones alone it reaches "
        f"{tuning.fresh_best:.4f} and the defaults {tuning.fresh_default:.4f}: {verdict}."
    )
