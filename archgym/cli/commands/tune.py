"""`archgym tune`: hyperparameters of an agent for a task, found by a sweep of random draws."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archgym.cli.console.signals import resumable
from archgym.cli.console.sweep_progress import SweepProgress
from archgym.cli.console.terminal import heading, say, table, write_json
from archgym.cli.options.run import AgentOption, HyperOption, ProcessesOption
from archgym.cli.options.task import (
    HoldOptions,
    JsonOption,
    SimulatorArgument,
    TaskOptions,
    make_task,
    task_choices,
)
from archgym.cli.options.values import hyperparameters, named_path
from archgym.files.storage import file_stem, make_folder
from archgym.studies.folder import RUNS_FOLDER

if TYPE_CHECKING:
    from archgym.evaluation.task import Task
    from archgym.sweep.plan import TaskPlan
    from archgym.sweep.tuning import Tuning

_MAX_DRAWS = 10_000
# chosen: as many as fit on a screen.
_SHOWN_DRAWS = 12


def tune(
    simulator: SimulatorArgument,
    agent: AgentOption,
    options: TaskOptions,
    hold: HoldOptions,
    draws: Annotated[
        int,
        typer.Option(
            "--draws",
            help="Number of settings to try; the first are the defaults.",
            min=1,
            max=_MAX_DRAWS,
        ),
    ] = 24,
    seeds: Annotated[
        int, typer.Option("--seeds", help="Number of studies per setting.", min=1, max=1000)
    ] = 3,
    budget: Annotated[
        int, typer.Option("--budget", "-n", help="Number of evaluations per study.", min=1)
    ] = 200,
    hyper: HyperOption = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            help="Folder for the studies (default: runs/tune-<task>-<agent>).",
            parser=named_path,
            metavar="PATH",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="File to add the tuned settings to.",
            parser=named_path,
            metavar="FILE",
        ),
    ] = Path("tuned.yaml"),
    workers: ProcessesOption = 1,
    json: JsonOption = False,
) -> None:
    """Find hyperparameters of an agent for a task.

    The defaults and random draws from the agent's published ranges search with several seeds.
    The best few and the defaults search again with new seeds. The winner is written to a file.
    Hyperparameters given by --hyper are the same for all settings.
    """
    from archgym.report.commands import search_command, task_words
    from archgym.sweep.tuned_settings import read_tuned, write_tuned
    from archgym.sweep.tuning import tune as find

    fixed = hyperparameters(agent, hyper or ())
    if out.exists():
        # An unreadable file must be reported before hours of work.
        read_tuned(out)
    task = make_task(task_choices(simulator, options, hold))
    studies = folder or RUNS_FOLDER / file_stem(f"tune-{task.id}-{agent}")
    words = ["archgym", "tune", *task_words(task.to_json()), "--agent", agent]
    if options.stand_in.from_table is not None:
        words += ["--from-table", str(options.stand_in.from_table)]
    words += [text for name in hyper or () for text in ("--hyper", name)]
    words += ["--draws", str(draws), "--seeds", str(seeds), "--budget", str(budget)]
    more = ["--out", str(out), "--workers", str(workers)]
    more += [] if folder is None else ["--folder", str(folder)]
    with resumable([*words, *more]), SweepProgress() as progress:
        tuning = find(
            _task_plan(task),
            agent,
            studies,
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
                "folder": str(studies),
                "draws": [vars(draw) for draw in tuning.draws],
                "hyperparameters": tuning.entry.hyperparameters,
                "found_by": tuning.entry.found_by,
                "failures": dict(tuning.outcomes[0].failures),
            }
        )
        return
    _write(tuning, studies)
    say(f"Tuned settings: {out}")
    say("Next: " + search_command(task.to_json(), agent, "--tuned-from", str(out)))


def _task_plan(task: "Task") -> "TaskPlan":
    from archgym.evaluation.simulator import recorded_options
    from archgym.evaluation.stand_in import StandIn
    from archgym.evaluation.task_choices import objective_choice
    from archgym.sweep.plan import TaskPlan

    return TaskPlan(
        "task",
        task.simulator.name,
        task.space_name,
        {w.source: w.weight for w in task.workloads},
        objective_choice(task.objective, task.simulator),
        task.simulator.fidelity,
        recorded_options(task.simulator.name, task.version, task.simulator.options),
        str(source.path) if isinstance(source := task.simulator.unrestricted, StandIn) else None,
    )


def _write(tuning: "Tuning", studies: Path) -> None:
    heading(f"{tuning.entry.task}: {tuning.entry.agent}")
    say(f"Best rewards of {len(tuning.draws)} settings over the seeds. Studies: {studies}")
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
        ("setting", "mean", "best", "mean over the run", "hyperparameters"),
        rows,
        right=("mean", "best", "mean over the run"),
    )
    for name, why in tuning.outcomes[0].failures.items():
        say(f"{name} failed: {' '.join(why.split())}")
    if tuning.best is tuning.default:
        say("With new seeds, no setting is better than the defaults; the defaults are kept.")
        return
    verdict = "it is better" if tuning.is_better else "it is not better; the defaults are kept"
    say(
        f"Over all seeds {tuning.best.label} is best. With the new seeds alone it reaches "
        f"{tuning.fresh_best:.4f} and the defaults {tuning.fresh_default:.4f}: {verdict}."
    )
