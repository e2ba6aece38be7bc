"""`archgym search` and `archgym resume`: an agent's study, journaled in a folder."""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archgym.cli.console.signals import study_begins
from archgym.cli.console.terminal import notice, prose, say, write_json
from archgym.cli.options.run import (
    AgentOption,
    AgentSeedOption,
    HyperOption,
    PriorOptions,
    StopOptions,
    WorkerOptions,
)
from archgym.cli.options.task import (
    HoldOptions,
    JsonOption,
    MeasuredOption,
    SimulatorArgument,
    StandInOptions,
    TaskOptions,
    make_task,
    task_choices,
)
from archgym.cli.options.values import hyperparameters
from archgym.errors import InvalidArgumentError, StorageError, StudyInterrupted, StudyLockedError
from archgym.files.remote import command_line
from archgym.files.storage import SAME_COMMAND

if TYPE_CHECKING:
    from archgym.studies.settings import StudySettings
    from archgym.studies.snapshot import StudyResult
    from archgym.studies.study import Study
    from archgym.tasks.executor import Executor
    from archgym.tasks.task import Task

_INFEASIBLE_CODE = 3
_MOST_ENDS = 3  # chosen: more lines hide the other findings.
_ENDINGS = {
    "agent": "The agent has no further designs to propose.",
    "patience": "The search ended by --patience: no better design for that many evaluations.",
    "stop_at": "The search ended by --stop-at: the last design meets its limits.",
    "minutes": "The time of this run is over. Continue with `archgym resume`.",
}


def search(
    simulator: SimulatorArgument,
    options: TaskOptions,
    hold: HoldOptions,
    prior: PriorOptions,
    stop: StopOptions,
    agent: AgentOption = "auto",
    budget: Annotated[
        int,
        typer.Option(
            "--budget", "-n", help="Number of evaluations; repeated designs are free.", min=1
        ),
    ] = 200,
    max_asks: Annotated[
        int | None,
        typer.Option(
            "--max-asks",
            help="Maximum number of asks, repeats included (default: 20 × budget).",
            min=1,
        ),
    ] = None,
    seed: AgentSeedOption = 0,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds",
            help="Searches of --budget each, with seeds from --seed on; reports the best one.",
            min=1,
        ),
    ] = 1,
    hyper: HyperOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder to create for the study (default: runs/<task>-<agent>-seed<N>).",
            metavar="PATH",
        ),
    ] = None,
    *,
    how: WorkerOptions,
    json: JsonOption = False,
) -> None:
    """Search a design space with an agent.

    Every evaluation is saved in a folder, so a search can be interrupted and resumed without loss.
    The exit code is 3 if no feasible design is found, or if the best one misses a limit.
    """
    from archgym.searching import timely

    chosen = hyperparameters(agent, hyper or ())
    choices = task_choices(simulator, options, hold)
    task, minutes = timely(stop.minutes, lambda: make_task(choices))
    from archgym.report.quantities import counted
    from archgym.searching import suited_settings
    from archgym.studies.portfolio import shipped_designs
    from archgym.studies.settings import StudySettings

    settings = StudySettings(
        seed=seed,
        budget=budget,
        max_asks=max_asks,
        hyperparameters=chosen,
        start=prior.start_designs(task.space),
        warm_start=tuple(prior.warm_start or ()),
        patience=stop.patience,
        stop_at=stop.stop_at,
    )
    is_auto = [str(each) for each in settings.warm_start] == ["auto"]
    if is_auto and not json:
        say("Looking for earlier designs in runs/; what is simulated for it is not in the budget.")
    settings = suited_settings(task, agent, settings, how.workers, not prior.no_prior)
    if is_auto and not json:
        start = settings.start
        shipped = shipped_designs(task.simulator.name, task.space)
        n = sum(design in shipped for design in start)
        with_ = f"with {counted(n, 'design')} that ship" if n else "without earlier designs"
        none = f"Nothing in runs/ is of this simulator and space; begins {with_}."
        of = f", {n} of which ship with ArchGym" if n else ""
        # The default design follows those in runs/.
        say(f"Begins with {counted(len(start), 'design')}{of}." if len(start) > n else none)
    # First: a start that fails leaves no folder of a study.
    with how.executor(task) as executor:
        results = []
        for number in range(seed, seed + seeds):
            place = out / f"seed-{number}" if out is not None and seeds > 1 else out
            study = _create(place, task, agent, replace(settings, seed=number))
            results.append(_result(study, executor, None, minutes, how, json))
        _report_best(results, task, executor, json)


def resume(
    folder: Annotated[Path, typer.Argument(help="Folder of the study.")],
    stand_in: StandInOptions,
    stop: StopOptions,
    budget: Annotated[
        int | None,
        typer.Option(
            "--budget",
            "-n",
            help="New total number of evaluations (default: the study's budget).",
            min=1,
        ),
    ] = None,
    no_rules: Annotated[
        bool,
        typer.Option("--no-rules", help="Drop the --patience and --stop-at of the study."),
    ] = False,
    from_simulator: Annotated[
        bool,
        typer.Option(
            "--from-simulator", help="Continue with the simulator if a table was used before."
        ),
    ] = False,
    measured: MeasuredOption = None,
    *,
    how: WorkerOptions,
    json: JsonOption = False,
) -> None:
    """Continue an interrupted study, or extend a finished one with --budget.

    The exit code is that of `archgym search`.
    """
    from archgym.cli.console.progress import announce_compilation
    from archgym.searching import timely
    from archgym.studies.study import Study

    path = stand_in.path
    if from_simulator and path is not None:
        raise InvalidArgumentError(
            "`--from-simulator` must not be combined with --from-table or --from-proxy."
        )
    announce_compilation()
    is_other = from_simulator or path is not None or measured is not None
    task = _task(folder, path, measured) if is_other else None
    study, minutes = timely(stop.minutes, lambda: Study.open(folder, task))
    try:
        _set_rules(study, stop, no_rules)
        executor = how.executor(study.task)
    except BaseException:
        study.close()
        raise
    with executor:
        known, goal = study.read(), budget or study.budget or 0
        result = _result(study, executor, budget, minutes, how, json)
        more = ""
        if known.is_complete and result.log.evaluations == known.evaluations:
            command = command_line("archgym", "resume", folder, "--budget", str(2 * goal))
            more = f"This study is already complete. To extend it, run: {command}"
        _report_best([result], study.task, executor, json, more)


def _set_rules(study: "Study", stop: StopOptions, are_dropped: bool) -> None:
    """Replace the rules by which a study ends, where others are given."""
    if are_dropped and (stop.patience, stop.stop_at) != (None, None):
        raise InvalidArgumentError(
            "`--no-rules` must not be combined with --patience or --stop-at."
        )
    patience, stop_at = study.rules
    if are_dropped:
        patience, stop_at = None, None
    study.stop_by(stop.patience or patience, stop.stop_at or stop_at)


def _task(folder: Path, stand_in: Path | None, measured: Path | None) -> "Task":
    """Return a study's task, answered by a stand-in or by the simulator with its measurements."""
    from archgym.studies.metadata import read_header
    from archgym.tasks.task import Task

    recipe = dict(read_header(folder).task)
    recipe.pop("stand_in", None)
    if measured is not None:
        if recipe.get("measured") is None:
            raise InvalidArgumentError(
                f"`--measured` must be left out; {folder} was made without measurements. Start a "
                "new study with them."
            )
        recipe["measured"] = str(measured)
    return Task.from_json(recipe, stand_in=stand_in)


def _create(out: Path | None, task: "Task", agent: str, settings: "StudySettings") -> "Study":
    from archgym.searching import run_folders
    from archgym.studies.study import Study

    if out is not None:
        return Study.begin(out, task, agent, settings)
    for folder in run_folders(task, agent, settings.seed, "--out"):
        if folder.exists():
            continue
        try:
            return Study.begin(folder, task, agent, settings)
        except StudyLockedError:
            # Another process has just created this folder.
            continue
    raise AssertionError("run_folders ends by an error")


def _report_best(
    results: "list[StudyResult]", task: "Task", executor: "Executor", is_json: bool, more: str = ""
) -> None:
    """Report the best of some searches, and where each of several ended."""
    from archgym.cli.views.study import best_text

    bests = [result.log.best() for result in results]
    rewards = [-math.inf if best is None else best.reward for best in bests]
    row = rewards.index(max(rewards))
    if not is_json and len(results) > 1:
        for result in results:
            say(f"{result.log.folder}: {best_text(result.log).splitlines()[0]}")
        n = sum(reward == rewards[row] for reward in rewards)
        say(f"{n} of {len(results)} searches found the best reward. The best one:")
    _report(results[row], task, executor, is_json)
    if more and not is_json:
        say(more)
    if (best := bests[row]) is None or results[row].log.missed(best):
        raise typer.Exit(_INFEASIBLE_CODE)


def _result(
    study: "Study",
    executor: "Executor",
    budget: int | None,
    minutes: float | None,
    how: WorkerOptions,
    is_json: bool,
) -> "StudyResult":
    """Run a study, and return its result."""
    from archgym.cli.console.progress import StudyProgress

    with study:
        if not is_json:
            from archgym.report.commands import task_title

            task = study.task
            names = [weighted.workload.name for weighted in task.workloads]
            say(task_title(task.simulator.name, names, task.objective, task.metrics))
            say(f"{task.id}: {study.folder}")
        goal = budget or study.budget or 0
        if goal > (size := study.task.space.size):
            notice(f"The space has only {size:,} combinations; the budget is {goal:,} evaluations.")
        before = study.read()
        known, evaluations = len(before.records), before.evaluations
        # An open study has the status "running"; its counts say if it is complete.
        was_complete = before.is_complete
        if not is_json and (not was_complete or goal > evaluations):
            _say_segment(study)
            if idle := study.idle_workers(how.workers):
                notice(idle)
        try:
            with StudyProgress(goal, known) as progress:
                study.add_callback(progress)
                study_begins()
                return study.run(executor, budget, progress, minutes=minutes)
        except StorageError as error:
            if SAME_COMMAND not in str(error):
                raise
            # `archgym search` refuses the folder of a study that has begun.
            command = _resume_command(study.folder, budget, how)
            refusal = StorageError(str(error).replace(SAME_COMMAND, f"run: {command}"))
            refusal.errno = error.errno
            raise refusal from None
        except StudyInterrupted as interruption:
            command = _resume_command(study.folder, budget, how)
            raise StudyInterrupted(
                f"{interruption} Resume with: {command}", interruption.signal_number
            ) from None


def _say_segment(study: "Study") -> None:
    """Report where an agent that cannot be replayed starts again."""
    segment, known = study.next_segment, study.read().segments
    if segment is not None and segment.agent is not None:
        number = len(known) + (segment != known[-1])
        say(
            f"{segment.agent} cannot be replayed here: it restarts after {segment.first_seq} asks, "
            f"in segment {number} with seed {segment.seed}."
        )


def _resume_command(folder: Path, budget: int | None, how: WorkerOptions) -> str:
    goal = [] if budget is None else ["--budget", str(budget)]
    return command_line("archgym", "resume", folder, *goal, *how.words())


def _report(result: "StudyResult", task: "Task", executor: "Executor", is_json: bool) -> None:
    from archgym.cli.views.study import best_text, counts_text
    from archgym.evaluation.function import is_of_function
    from archgym.files.policy import Policy
    from archgym.report.diagnostics import prices, range_ends, unreached_limits
    from archgym.report.quantities import counted
    from archgym.report.study_summary import StudySummary
    from archgym.studies.metadata import POLICY_NAME

    if is_json:
        write_json(StudySummary.read(result.log).to_json())
        return
    say(counts_text(result.log))
    report = result.log.damage_report()
    if report is not None:
        say(report)
    say(best_text(result.log))
    unreached = unreached_limits(result.log)
    for line in unreached:
        prose(f"No evaluated design meets the limit on {line}.")
    if unreached and not task.missed(task.reference):
        prose("The default design meets all limits: --start default begins with it.")
    if worse := prices(result.log):
        prose("At the price of: " + "; ".join(worse) + ".")
    # What it evaluates takes time, too.
    ends = [] if result.ended == "minutes" else range_ends(task, result.log, executor)
    for end in ends[:_MOST_ENDS]:
        prose(f"{end}.")
    if ends[_MOST_ENDS:]:
        say(f"{counted(len(ends) - _MOST_ENDS, 'more parameter')} at the end of a range.")
    policy = result.log.folder / POLICY_NAME
    if policy.is_file() and Policy.load(policy).description.get("updates") == 0:
        say("The policy is untrained: the search ended before the agent's first update.")
    if result.ended == "max_asks":
        repeats = result.asks - result.log.evaluations
        remedy = "Raise --max-asks"
        if 2 * repeats > result.asks:
            remedy += " or change the agent's hyperparameters"
        say(
            f"The search reached its limit of {result.asks} asks ({repeats} repeats) before "
            f"its budget. {remedy}."
        )
    elif result.ended in _ENDINGS:
        say(_ENDINGS[result.ended])
    folder = result.log.folder
    say("Next: " + command_line("archgym", "show", folder, "--plot", "curve.png"))
    others = "report" if is_of_function(result.log.header.task) else "explain"
    more = "" if others == "report" else "; also simplify, report, export"
    say("      " + command_line("archgym", others, folder) + more)
