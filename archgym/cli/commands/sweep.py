"""`archgym sweep`: plans of many studies, run and reported."""

import itertools
import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.checks import MAX_WORKERS
from archgym.cli.console.sweep_progress import SweepProgress
from archgym.cli.console.terminal import heading, number, say, table, write_json
from archgym.cli.options.task import JsonOption
from archgym.cli.options.values import named_path
from archgym.errors import InvalidArgumentError, StudyInterrupted

if TYPE_CHECKING:
    from archgym.sweep.driver import SweepOutcome
    from archgym.sweep.plan import AgentPlan, SweepPlan
    from archgym.sweep.results import AgentSummary, SweepReport, TaskSummary

__all__ = ["SweepWorkersOption", "run_interruptible", "sweep_app", "write_report"]

# chosen: more columns than this do not fit a line.
_SHOWN_BUDGETS = 5
# chosen: what an estimate of the simulator's time may cost.
_TRIED_DESIGNS = 16

sweep_app = typer.Typer(
    name="sweep",
    help="Compare agents on tasks over seeds: plan, run, resume, status, report.",
    rich_markup_mode=None,
)


@sweep_app.callback(invoke_without_command=True)
def _group(context: typer.Context) -> None:
    """Compare agents on tasks over seeds: plan, run, resume, status, report."""
    if context.invoked_subcommand is None:
        say(context.get_help())


PlanArgument = Annotated[Path, typer.Argument(help="The plan, a YAML file.", metavar="FILE")]
SweepWorkersOption = Annotated[
    int,
    typer.Option(
        "--workers",
        help="How many studies run at once, in processes of their own.",
        min=1,
        max=MAX_WORKERS,
    ),
]


SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="What counts more than the file, such as budget=100 or "
        "tasks.LABEL.workload=cloud-2; repeat it.",
        metavar="NAME=VALUE",
    ),
]


@sweep_app.command()
def plan(file: PlanArgument, set: SetOption = None, json: JsonOption = False) -> None:
    """Check a plan, and say what it would run."""
    read = _read(file, set)
    runs = read.runs()
    evaluations = sum(run.budget for run in runs)
    seconds = _simulated_s(read)
    if json:
        write_json(
            {
                "plan": read.to_json(),
                "runs": [run.id for run in runs],
                "evaluations": evaluations,
                "simulator_s": seconds,
            }
        )
        return
    say(
        f"{len(runs)} runs: {_counted(len(read.tasks), 'task')} × "
        f"{_counted(len(read.agents), 'agent')} × {_counted(len(read.seeds), 'seed')}, "
        f"{read.budget:,} evaluations each, {evaluations:,} in all."
    )
    say(f"The simulators take about {_duration(seconds)} of one processor; agents' own time adds.")
    say()
    heading("Tasks")
    table(("label", "task"), [(task.label, task.id) for task in read.tasks])
    heading("Agents")
    table(("label", "agent", "hyperparameters"), _agent_rows(read.agents))


WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        help="How many studies run at once: 1 on this machine, as many as it takes on a cluster.",
        min=1,
        show_default=False,
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="Run on a Ray cluster: auto, ray://HOST:PORT, HOST:PORT, or local for one of its own.",
        show_default=False,
    ),
]
OnlyOption = Annotated[
    str | None,
    typer.Option(
        "--only",
        help="Labels of agents or of families (`draws`, `grid`), with commas.",
        metavar="AGENT,...",
    ),
]
SeedsOption = Annotated[
    str | None,
    typer.Option("--seeds", help="Seeds of the plan, with commas.", metavar="SEED,..."),
]
FolderArgument = Annotated[Path, typer.Argument(help="The sweep's folder.")]


@sweep_app.command()
def run(
    file: PlanArgument,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="The sweep's folder, new or one of this plan.",
            parser=named_path,
            metavar="FOLDER",
        ),
    ],
    set: SetOption = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
    only: OnlyOption = None,
    seeds: SeedsOption = None,
    json: JsonOption = False,
) -> None:
    """Run what of a plan is not finished yet.

    Each run is a study in a folder of its own. Stop it and run the same command again, or `archgym
    sweep resume`: finished runs stay, interrupted ones go on where they were.
    """
    part = SweepPart(only, seeds)
    _run(_read(file, set), out, part, workers, address, json)


@sweep_app.command()
def resume(
    folder: FolderArgument,
    workers: WorkersOption = None,
    address: AddressOption = None,
    only: OnlyOption = None,
    seeds: SeedsOption = None,
    json: JsonOption = False,
) -> None:
    """Go on with a sweep that was stopped, after the plan in its folder.

    Finished runs stay, interrupted ones go on where they were, failed ones are tried again.
    """
    from archgym.cli.console.progress import announce_compilation
    from archgym.cli.console.signals import prompt_stops
    from archgym.sweep.recorded_plan import read_recorded_plan

    part = SweepPart(only, seeds)
    announce_compilation()
    with prompt_stops():
        # Made here, too, the tasks show whether they still are what was recorded.
        plan = read_recorded_plan(folder).decided()
    _run(plan, folder, part, workers, address, json)


@sweep_app.command()
def status(folder: FolderArgument, json: JsonOption = False) -> None:
    """Show how far a sweep is, also while it runs."""
    from archgym.cli.console.sweep_progress import write_status
    from archgym.sweep.status import read_status

    read = read_status(folder)
    if json:
        write_json(read.to_json())
    else:
        write_status(read)


class SweepPart:
    """Which runs of a plan are meant, as the command line says it."""

    def __init__(self, only: str | None, seeds: str | None) -> None:
        """Take lists with commas.

        Raises:
          InvalidArgumentError: One is none.
        """
        self.only = None if only is None else _parts("--only", only)
        self.seeds = None if seeds is None else [_seed(text) for text in _parts("--seeds", seeds)]
        given = (("--only", only), ("--seeds", seeds))
        self.words = [word for name, value in given if value is not None for word in (name, value)]


def _run(
    plan: "SweepPlan",
    out: Path,
    part: SweepPart,
    workers: int | None,
    address: str | None,
    json: bool,
) -> None:
    from archgym.sweep.driver import run_sweep

    words = ["archgym", "sweep", "resume", str(out), *part.words]
    words += ["--workers", str(workers)] if workers is not None else []
    words += ["--address", address] if address is not None else []
    with run_interruptible(words), SweepProgress() as progress:
        outcome = run_sweep(
            plan,
            out,
            workers=workers,
            address=address,
            only=part.only,
            seeds=part.seeds,
            progress=progress,
        )
    if json:
        write_json(
            {
                "folder": str(out),
                "runs": outcome.runs,
                "finished": outcome.runs - len(outcome.failures),
                "finished_before": outcome.repeated,
                "failures": dict(outcome.failures),
            }
        )
    else:
        _write_outcome(outcome)
        say(f"Next: archgym sweep report {shlex.quote(str(out))} --figure curves.png")
    if outcome.failures:
        raise typer.Exit(1)


@sweep_app.command()
def report(
    folder: FolderArgument,
    figure: Annotated[
        Path | None,
        typer.Option("--figure", help="Draw the curves into this .svg, .png or .pdf."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write every run at every budget as CSV.")
    ] = None,
    table: Annotated[
        list[Path] | None,
        typer.Option(
            "--table",
            help="A table of a task: judge by its proven optimum, draw random search exactly; "
            "repeat it.",
            metavar="FILE",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show what a sweep found, finished or not."""
    from archgym.report.sweep_figure import check_figure, draw_report
    from archgym.report.sweep_optima import proven_tasks
    from archgym.sweep.recorded_plan import read_recorded_plan
    from archgym.sweep.results import read_report, write_csv

    if figure is not None:
        check_figure(figure)
    known = proven_tasks(read_recorded_plan(folder), table) if table else {}
    read = read_report(folder, {label: each.reward for label, each in known.items()})
    if json:
        write_json(read.to_json())
    else:
        write_report(read)
    if csv is not None:
        write_csv(read, csv)
    if figure is not None:
        draw_report(read, figure, known)
        if not json:
            say(f"Figure: {figure}")


@contextmanager
def run_interruptible(words: Sequence[str]) -> Iterator[None]:
    """Say after an interruption with which command the sweep goes on.

    Raises:
      StudyInterrupted: A signal came.
    """
    try:
        yield
    except StudyInterrupted as interruption:
        name = signal.Signals(interruption.signal_number).name
        raise StudyInterrupted(
            f"The sweep was stopped by {name}; all finished evaluations are in the journals of "
            f"its studies. Resume with: {shlex.join(words)}",
            interruption.signal_number,
        ) from None


def _read(file: Path, settings: Sequence[str] | None) -> "SweepPlan":
    from archgym.cli.console.progress import announce_compilation
    from archgym.cli.console.signals import prompt_stops
    from archgym.sweep.reading import read_plan

    announce_compilation()
    with prompt_stops():
        return read_plan(file, settings or ())


def _simulated_s(read: "SweepPlan") -> float:
    """Return time of the simulators for the whole plan, after a few random designs of each task."""
    import time

    import numpy as np

    from archgym.cli.console.signals import prompt_stops

    seconds = 0.0
    with prompt_stops():
        for task in read.tasks:
            made = task.make()
            designs = made.space.sample(_TRIED_DESIGNS, np.random.default_rng(0))
            began = time.perf_counter()
            made.evaluate(designs)
            each = (time.perf_counter() - began) / len(designs)
            seconds += each * read.budget * len(read.agents) * len(read.seeds)
    return seconds


def _write_outcome(outcome: "SweepOutcome") -> None:
    before = f", {outcome.repeated} of them before" if outcome.repeated else ""
    finished = outcome.runs - len(outcome.failures)
    say(f"{finished} of {outcome.runs} runs are finished{before}: {outcome.folder}")
    for name, why in outcome.failures.items():
        say(f"{name} failed: {' '.join(why.split())}")


# ---- the report


def write_report(read: "SweepReport") -> None:
    """Write the tables of a sweep."""
    runs = read.runs
    finished = sum(run.status == "finished" for run in runs)
    say(
        f"{finished} of {len(runs)} runs are finished; {read.plan.budget:,} evaluations each, "
        f"seeds {', '.join(map(str, read.plan.seeds))}."
    )
    for task in read.tasks:
        _write_task(task, read)
    for run in runs:
        if run.problem is not None:
            say(f"{run.run.id}: {' '.join(run.problem.split())}")


def _write_task(task: "TaskSummary", read: "SweepReport") -> None:
    import math

    say()
    heading(task.task.id or task.task.label)
    if not math.isfinite(task.best_known):
        say("No design that can be built has been found yet.")
    # Sorting is stable, so that agents without results stay as the plan has them.
    last = read.budgets[-1]
    ranked = sorted(task.agents, key=lambda agent: -_rank(agent, last))
    shown = read.budgets[-_SHOWN_BUDGETS:]
    say("Best reward after so many evaluations, median of the seeds (least … most):")
    columns = ("agent", "seeds", *(f"{budget:,}" for budget in shown))
    rows = [
        (agent.label, f"{agent.finished}", *(_spread(agent, budget) for budget in shown))
        for agent in ranked
    ]
    table(columns, rows, right=columns[1:])
    what = "designs" if task.metric is None else f"{task.metric.split(' ')[0]}"
    say(
        f"Best known reward {number(task.best_known)}. To 5 %: evaluations until {what} within "
        "5 % of the best known, median; own: time of agent and journal."
    )
    columns = (
        "agent",
        "to 5 %",
        "reached",
        "asks",
        "distinct designs",
        "simulator [ms/evaluation]",
        "own [ms/evaluation]",
    )
    rows = [_costs(agent) for agent in ranked]
    table(columns, rows, right=columns[1:])


def _rank(agent: "AgentSummary", budget: int) -> float:
    value = agent.rewards[budget].median
    return float("-inf") if value != value else value


def _spread(agent: "AgentSummary", budget: int) -> str:
    spread = agent.rewards[budget]
    if not spread.n:
        return "–"
    if spread.median == float("-inf"):
        return "none built"
    return f"{spread.median:.4f} ({spread.low:.4f} … {spread.high:.4f})"


def _costs(agent: "AgentSummary") -> tuple[str, ...]:
    place = agent.to_within
    begun = sum(run.evaluations > 0 for run in agent.runs)
    reached = sum(reached is not None for reached in agent.reached)
    return (
        agent.label,
        "–" if place != place else "not" if place == float("inf") else f"{place:,.0f}",
        f"{reached} of {begun}",
        number(agent.mean("asks")),
        number(agent.mean("distinct")),
        f"{1000 * agent.mean('simulator_s'):.3g}".replace("nan", "–"),
        f"{1000 * agent.mean('own_s'):.3g}".replace("nan", "–"),
    )


# ---- words and numbers


def _parts(option: str, text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts) or len(set(parts)) != len(parts):
        raise InvalidArgumentError(
            f"`{option}` must name one or more with commas between, each once; got {text!r}."
        )
    return parts


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise InvalidArgumentError(f"`--seeds` must be whole numbers, 0 or more; got {text!r}.")
    return int(text)


def _agent_rows(agents: "Sequence[AgentPlan]") -> list[tuple[str, str, str]]:
    rows = []
    for _, members in itertools.groupby(agents, lambda each: each.group or each.label):
        first, *others = members
        if others:
            names = dict.fromkeys(n for each in (first, *others) for n in each.hyperparameters)
            label = f"{first.label} … {others[-1].label}"
            rows.append((label, first.agent, f"{len(others) + 1} settings of {', '.join(names)}"))
        else:
            rows.append((first.label, first.agent, _settings(first.hyperparameters)))
        rows += [("", f"on {task}", _settings(each)) for task, each in first.on_tasks.items()]
    return rows


def _settings(values: Any) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items()) or "defaults"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else "a second"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
