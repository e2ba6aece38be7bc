"""`archgym sweep`: plans of many studies, their runs and reports."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.checks import parse_whole
from archgym.cli.console.progress import SweepProgress
from archgym.cli.console.signals import prompt_stops, resumable
from archgym.cli.console.terminal import duration, heading, number, say, table, write_json
from archgym.cli.options.groups import command_group, with_groups
from archgym.cli.options.run import MAX_SEED
from archgym.cli.options.task import JsonOption
from archgym.cli.options.values import lasting
from archgym.errors import InvalidArgumentError
from archgym.files.remote import command_line, require_local, shown
from archgym.report.quantities import counted

if TYPE_CHECKING:
    from archgym.sweep.driver import SweepOutcome
    from archgym.sweep.plan import AgentPlan, SweepPlan
    from archgym.sweep.results import AgentSummary, SweepReport, TaskSummary
    from archgym.sweep.status import RunStatus, SweepStatus


# chosen: more columns than this do not fit a line.
_SHOWN_BUDGETS = 5
# chosen: as many fill two lines.
_SHOWN_SEEDS = 40
# chosen: further lines usually repeat the same; --json has all.
_SHOWN_RUNS = 20

sweep_app = command_group(
    "sweep", "Compare agents on tasks over seeds: plan, run, resume, status, report."
)


PlanArgument = Annotated[Path, typer.Argument(help="YAML file of the plan.", metavar="FILE")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Override a value of the plan, such as budget=100 or "
        "tasks.LABEL.workload=cloud-2; repeat for more.",
        metavar="NAME=VALUE",
    ),
]


@sweep_app.command()
def plan(file: PlanArgument, set: SetOption = None, json: JsonOption = False) -> None:
    """Check a plan, and show its runs."""
    from archgym.sweep.status import simulation_seconds

    read = _read(file, set)
    runs = read.runs()
    evaluations = sum(run.budget for run in runs)
    with prompt_stops():
        seconds = simulation_seconds(read)
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
        f"{len(runs)} runs: {counted(len(read.tasks), 'task')} × "
        f"{counted(len(read.agents), 'agent')} × {counted(len(read.seeds), 'seed')}, "
        f"{read.budget:,} evaluations each, {evaluations:,} in total."
    )
    say(f"Estimated simulation time: {duration(seconds)} on one core, plus the time of the agents.")
    say()
    heading("Tasks")
    table(("label", "task"), [(task.label, task.id) for task in read.tasks])
    heading("Agents")
    table(("label", "agent", "hyperparameters"), _agent_rows(read.agents))


@dataclass(frozen=True)
class RunOptions:
    """Options that say which runs of a plan are run, and where."""

    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            help="Number of studies to run in parallel (default: 1; on a cluster, as many as fit).",
            min=1,
            show_default=False,
        ),
    ] = None
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            help="Address of a Ray cluster: auto, ray://HOST:PORT, HOST:PORT, or local to start "
            "one.",
            show_default=False,
        ),
    ] = None
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            help="Labels of the agents or families (`draws`, `grid`) to run, separated by commas.",
            metavar="AGENT,...",
        ),
    ] = None
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds", help="Seeds of the plan to run, separated by commas.", metavar="SEED,..."
        ),
    ] = None

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `run_sweep`.

        Raises:
          InvalidArgumentError: A text is not a list separated by commas.
        """
        only = None if self.only is None else _parts("--only", self.only)
        given = () if self.seeds is None else _parts("--seeds", self.seeds)
        seeds = [parse_whole("--seeds", text, 0, MAX_SEED) for text in given] or None
        return {"workers": self.workers, "address": self.address, "only": only, "seeds": seeds}

    def words(self) -> list[str]:
        """Return the given options as words of a command."""
        given = {f"--{name}": value for name, value in vars(self).items() if value is not None}
        return [word for pair in given.items() for word in map(str, pair)]


FolderArgument = Annotated[Path, typer.Argument(help="Folder of the sweep.")]


@sweep_app.command()
@with_groups
def run(
    file: PlanArgument,
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="Folder for the sweep, new or from this plan.", metavar="FOLDER"
        ),
    ],
    set: SetOption = None,
    *,
    how: RunOptions,
    json: JsonOption = False,
) -> None:
    """Run the unfinished runs of a plan.

    Each run is a study in a separate folder. To continue after an interruption, run the same
    command again, or `archgym sweep resume`.
    """
    chosen, out = how.arguments(), lasting(out)
    _run(_read(file, set), out, chosen, how.words(), json)


@sweep_app.command()
@with_groups
def resume(folder: FolderArgument, how: RunOptions, json: JsonOption = False) -> None:
    """Continue an interrupted sweep with the plan in its folder.

    Finished runs are kept, interrupted runs continue, failed runs are tried again.
    """
    from archgym.cli.console.progress import announce_compilation
    from archgym.sweep.reading import read_recorded_plan

    chosen = how.arguments()
    folder = require_local(folder, "A sweep that is resumed")
    announce_compilation()
    with prompt_stops():
        # Making the tasks shows if they still are the recorded ones.
        plan = read_recorded_plan(folder).decided()
    _run(plan, folder, chosen, how.words(), json)


@sweep_app.command()
def status(folder: FolderArgument, json: JsonOption = False) -> None:
    """Show the progress of a sweep, also while it runs."""
    from archgym.sweep.status import read_status

    read = read_status(folder)
    if json:
        write_json(read.to_json())
    else:
        write_status(read)


def _run(
    plan: "SweepPlan", out: Path, chosen: dict[str, Any], words: list[str], json: bool
) -> None:
    from archgym.sweep.driver import run_sweep

    with (
        resumable(["archgym", "sweep", "resume", out, *words]),
        SweepProgress() as progress,
    ):
        outcome = run_sweep(plan, out, progress=progress, **chosen)
    more = {"finished_before": outcome.repeated}
    report_outcome(outcome, command_line("archgym", "sweep", "report", out), more, json)


def report_outcome(
    outcome: "SweepOutcome", following: str, more: dict[str, Any], is_json: bool
) -> None:
    """Write how the runs of a sweep ended, and end the command with 1 if some failed.

    Args:
      outcome: Outcome of the sweep.
      following: Command to use next.
      more: Further members of the JSON.
      is_json: True for JSON.
    """
    finished = outcome.runs - len(outcome.failures)
    if is_json:
        ends = {"folder": shown(outcome.folder), "runs": outcome.runs, "finished": finished}
        write_json({**ends, **more, "failures": dict(outcome.failures)})
    else:
        before = f" ({outcome.repeated} of them earlier)" if outcome.repeated else ""
        say(f"{finished} of {outcome.runs} runs finished{before}: {shown(outcome.folder)}")
        for name, why in outcome.failures.items():
            say(f"{name} failed: {' '.join(why.split())}")
        say(f"Next: {following}")
    if outcome.failures:
        raise typer.Exit(1)


@sweep_app.command()
def report(folder: FolderArgument, json: JsonOption = False) -> None:
    """Show the results of a sweep, finished or not; `archgym report` makes a page and CSV files."""
    from archgym.sweep.results import read_report

    read = read_report(folder)
    write_json(read.to_json()) if json else _write_report(read)


def _read(file: Path, settings: Sequence[str] | None) -> "SweepPlan":
    from archgym.cli.console.progress import announce_compilation
    from archgym.sweep.reading import read_plan

    announce_compilation()
    with prompt_stops():
        return read_plan(file, settings or ())


def _parts(option: str, text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts) or len(set(parts)) != len(parts):
        raise InvalidArgumentError(
            f"`{option}` must be a list separated by commas, each entry once; got {text!r}."
        )
    return parts


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


def _write_report(read: "SweepReport") -> None:
    """Write the results of a sweep, task by task."""
    runs = read.runs
    finished = sum(run.status == "finished" for run in runs)
    seeds = read.plan.seeds
    shown = ", ".join(map(str, seeds[:_SHOWN_SEEDS]))
    say(
        f"{finished} of {len(runs)} runs finished; {read.plan.budget:,} evaluations each, "
        f"{f'seeds {shown}' if len(seeds) <= _SHOWN_SEEDS else f'{len(seeds):,} seeds'}."
    )
    for task in read.tasks:
        _write_task(task, read)
    problems = [run for run in runs if run.problem is not None]
    for run in problems[:_SHOWN_RUNS]:
        say(f"{run.run.id}: {' '.join((run.problem or '').split())}")
    _write_more(len(problems))


def _write_task(task: "TaskSummary", read: "SweepReport") -> None:
    say()
    heading(task.task.id or task.task.label)
    if not math.isfinite(task.best_known):
        say("No feasible design has been found yet.")
    # Sorting is stable: agents without results keep the order of the plan.
    last = read.budgets[-1]
    worst = float("-inf")
    medians = {agent.label: agent.rewards[last].median for agent in task.agents}
    ranked = sorted(task.agents, key=lambda agent: -max(worst, medians[agent.label]))
    shown = read.budgets[-_SHOWN_BUDGETS:]
    say("Best reward by number of evaluations: median over the seeds (minimum … maximum).")
    columns = ("agent", "seeds", *(f"{budget:,}" for budget in shown))
    rows = [
        (agent.label, f"{agent.finished}", *(_spread(agent, budget) for budget in shown))
        for agent in ranked
    ]
    table(columns, rows, right=columns[1:])
    _write_limits(task)
    what = "designs" if task.metric is None else f"{task.metric.split(' ')[0]}"
    say(
        f"Best known reward: {number(task.best_known)}. To 5 %: median number of evaluations until "
        f"{what} within 5 % of the best known. Own: time of agent and journal."
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


def _write_limits(task: "TaskSummary") -> None:
    """Write how many runs found a design that meets the limits, and what the others miss."""
    runs = [run for agent in task.agents for run in agent.runs if run.results.has_limits]
    if not runs:
        return
    missing = [run for run in runs if run.results.missed or not math.isfinite(run.curve.best)]
    say(f"Limits: met by the best designs of {len(runs) - len(missing)} of {len(runs)} runs.")
    for run in missing[:_SHOWN_RUNS]:
        missed = "; ".join(run.results.missed) or "no design could be built"
        say(f"Limits: missed by that of {run.run.id}: {missed}")
    _write_more(len(missing))


def _write_more(n: int) -> None:
    if n > _SHOWN_RUNS:
        say(f"{n - _SHOWN_RUNS:,} more runs; use --json for all.")


def _spread(agent: "AgentSummary", budget: int) -> str:
    spread = agent.rewards[budget]
    if not spread.n:
        return "–"
    median, low, high = (
        f"{reward:.4f}" if math.isfinite(reward) else "none feasible"
        for reward in (spread.median, spread.low, spread.high)
    )
    return f"{median} ({low} … {high})" if math.isfinite(spread.high) else median


def _costs(agent: "AgentSummary") -> tuple[str, ...]:
    needed = agent.to_within
    begun = sum(run.evaluations > 0 for run in agent.runs)
    reached = sum(reached is not None for reached in agent.reached)
    return (
        agent.label,
        "–" if needed != needed else "not reached" if needed == float("inf") else f"{needed:,.0f}",
        f"{reached} of {begun}",
        number(agent.mean("asks")),
        number(agent.mean("distinct")),
        f"{1000 * agent.mean('simulator_s'):.3g}".replace("nan", "–"),
        f"{1000 * agent.mean('own_s'):.3g}".replace("nan", "–"),
    )


# chosen: further failures usually repeat the same reasons; --json has all.
_SHOWN_FAILURES = 10


def write_status(read: "SweepStatus") -> None:
    """Write the status of a sweep."""
    counts = read.counts()
    rest = ", ".join(f"{n} {name}" for name, n in counts.items() if n and name != "finished")
    say(
        f"{counts['finished']} of {len(read.runs)} runs finished{rest and f'; {rest}'}. "
        f"{read.evaluations:,} of {read.goal:,} evaluations."
    )
    say(f"Running by {read.driver}." if read.driver else "Not running.")
    if counts["finished"] < len(read.runs) and read.driver is None:
        say("To continue: " + command_line("archgym", "sweep", "resume", read.folder))
    say()
    parts: dict[tuple[str, str], list[RunStatus]] = {}
    for run in read.runs:
        parts.setdefault((run.run.task.label, run.run.label), []).append(run)
    columns = ("task", "agent", *counts, "evaluations")
    rows = [(*part, *_counted(runs, tuple(counts))) for part, runs in parts.items()]
    table(columns, rows, right=columns[2:])
    for run in read.runs:
        if run.status == "running":
            by = "" if run.writer is None else f" by {run.writer}"
            say(f"{run.run.id}: running{by}, {run.evaluations:,} of {run.run.budget:,} evaluations")
    failed = [run for run in read.runs if run.status == "failed"]
    for run in failed[:_SHOWN_FAILURES]:
        say(f"{run.run.id} failed: {' '.join((run.failure or '').split())}")
    if failed[_SHOWN_FAILURES:]:
        say(f"{len(failed) - _SHOWN_FAILURES} more runs failed; use --json for all.")


def _counted(runs: "Sequence[RunStatus]", names: Sequence[str]) -> tuple[str, ...]:
    counts = [sum(run.status == name for run in runs) for name in names]
    return (
        *(str(count) if count else "–" for count in counts),
        f"{sum(run.evaluations for run in runs):,}",
    )
