"""`archgym search` and `archgym resume`: an agent's study, journaled in a folder."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.checks import MAX_WORKERS
from archgym.cli.console.signals import study_begins
from archgym.cli.console.terminal import say
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
    stand_in_path,
)
from archgym.cli.options.values import file_stem, hyperparameters, named_path
from archgym.errors import InvalidArgumentError, StudyInterrupted, StudyLockedError

if TYPE_CHECKING:
    from archgym.evaluation.task import Task
    from archgym.studies.study import Study, StudyResult

__all__ = ["resume", "search"]

_RUNS = Path("runs")
_MAX_FOLDERS = 10_000
_MAX_SEED = 2**63 - 1


def _checked_timeout(timeout: float | None) -> float | None:
    if timeout is not None and not timeout > 0:
        raise typer.BadParameter(f"It must be above 0 seconds; got {timeout!r}.")
    return timeout


def _checked_seed(seed: int) -> int:
    if seed > _MAX_SEED:
        raise typer.BadParameter(f"It must be at most {_MAX_SEED}; got {seed}.")
    return seed


WorkersOption = Annotated[
    int,
    typer.Option(
        "--workers", help="How many designs are evaluated at once.", min=1, max=MAX_WORKERS
    ),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        help="Seconds that a design may take; then it counts as failed.",
        callback=_checked_timeout,
    ),
]


def search(
    simulator: SimulatorArgument,
    space: SpaceOption = None,
    task_space: TaskOption = None,
    workload: WorkloadOption = None,
    objective: ObjectiveOption = None,
    fidelity: FidelityOption = None,
    option: OptionOption = None,
    from_table: FromTableOption = None,
    from_proxy: FromProxyOption = None,
    agent: Annotated[
        str,
        typer.Option("--agent", "-a", help="The search method.", autocompletion=complete_agent),
    ] = "genetic",
    budget: Annotated[
        int, typer.Option("--budget", "-n", help="Evaluations; repeats cost none.", min=1)
    ] = 200,
    max_asks: Annotated[
        int | None,
        typer.Option("--max-asks", help="Asks, repeats included; 20 × budget.", min=1),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", help="The agent's.", min=0, callback=_checked_seed)
    ] = 0,
    hyper: Annotated[
        list[str] | None,
        typer.Option(
            "--hyper",
            help="A hyperparameter (see `archgym describe AGENT`); repeat it.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    tuned: Annotated[
        bool,
        typer.Option(
            "--tuned", help="Start from the hyperparameters that were tuned for this task."
        ),
    ] = False,
    tuned_from: Annotated[
        Path | None,
        typer.Option("--tuned-from", help="The same, from a file that `archgym tune` wrote."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="A new folder for the study; runs/<a readable name>.",
            parser=named_path,
            metavar="PATH",
        ),
    ] = None,
    workers: WorkersOption = 1,
    timeout: TimeoutOption = None,
    json: JsonOption = False,
) -> None:
    """Search a design space with an agent.

    Every evaluation is kept in a folder, so that a search can be stopped and resumed without loss.
    """
    chosen = hyperparameters(agent, hyper or ())
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
    if tuned or tuned_from is not None:
        chosen = {**_tuned(task, agent, tuned_from), **chosen}
    settings: dict[str, Any] = {
        "seed": seed,
        "budget": budget,
        "max_asks": max_asks,
        "hyperparameters": chosen,
    }
    study = _create(out, task, agent, settings)
    _run(study, None, workers, timeout, json)


def resume(
    folder: Annotated[Path, typer.Argument(help="The study's folder.")],
    budget: Annotated[
        int | None,
        typer.Option("--budget", "-n", help="A new number of evaluations in all.", min=1),
    ] = None,
    from_table: FromTableOption = None,
    from_proxy: FromProxyOption = None,
    from_simulator: Annotated[
        bool,
        typer.Option(
            "--from-simulator", help="Go on with the simulator where a table was used before."
        ),
    ] = False,
    workers: WorkersOption = 1,
    timeout: TimeoutOption = None,
    json: JsonOption = False,
) -> None:
    """Go on with a study.

    It was interrupted, or it is to have more evaluations.
    """
    from archgym.cli.console.progress import announce_compilation
    from archgym.studies.study import Study

    stand_in = stand_in_path(from_table, from_proxy)
    if from_simulator and stand_in is not None:
        raise InvalidArgumentError(
            "`--from-simulator` must not be given with a file that answers in its place."
        )
    announce_compilation()
    task = _task(folder, stand_in) if from_simulator or stand_in is not None else None
    study = Study.open(folder, task)
    _run(study, budget, workers, timeout, json)


def _task(folder: Path, stand_in: Path | None) -> "Task":
    """Return a study's task with other answers: those of a stand-in, or of the simulator itself."""
    from archgym.evaluation.task import Task
    from archgym.studies.metadata import read_header

    recipe = dict(read_header(folder).task)
    recipe.pop("stand_in", None)
    return Task.from_json(recipe, stand_in=stand_in)


def _tuned(task: "Task", agent: str, file: Path | None) -> dict[str, Any]:
    from archgym.sweep.tuned_settings import read_tuned, tuned_hyperparameters

    entries = None if file is None else read_tuned(file)
    return dict(tuned_hyperparameters(task.id, agent, entries))


def _create(out: Path | None, task: "Task", agent: str, settings: Mapping[str, Any]) -> "Study":
    from archgym.studies.study import Study

    if out is not None:
        return Study.create(out, task, agent, **settings)
    stem = file_stem(f"{task.id.rpartition('-v')[0]}-{agent}-seed{settings['seed']}")
    for number in range(1, _MAX_FOLDERS):
        folder = _RUNS / (stem if number == 1 else f"{stem}-{number}")
        if folder.exists():
            continue
        try:
            return Study.create(folder, task, agent, **settings)
        except StudyLockedError:
            # Another process has just taken this name.
            continue
    raise InvalidArgumentError(f"`--out` must be given: {_RUNS} is full of {stem}.")


def _run(
    study: "Study", budget: int | None, workers: int, timeout: float | None, is_json: bool
) -> None:
    from archgym.cli.console.progress import StudyProgress
    from archgym.evaluation.executor import executor_for

    with study:
        if not is_json:
            say(f"{study.task.id}: {study.folder}")
        goal = budget or study.budget or 0
        before = study.read()
        known, evaluations = len(before.records), before.evaluations
        # The status is "running" since it was opened; its counts tell whether there is more to do.
        was_complete = before.is_complete
        if not is_json and (not was_complete or goal > evaluations):
            _say_segment(study)
        try:
            with (
                executor_for(workers, timeout) as executor,
                StudyProgress(goal, known) as progress,
            ):
                study_begins()
                result = study.run(executor, budget, progress)
        except StudyInterrupted as interruption:
            command = _resume_command(study.folder, budget, workers, timeout)
            raise StudyInterrupted(
                f"{interruption} Resume with: {command}", interruption.signal_number
            ) from None
    _report(result, is_json)
    if not is_json and was_complete and result.log.evaluations == evaluations:
        say(
            "It was finished already. Give it more evaluations with: "
            + shlex.join(["archgym", "resume", str(study.folder), "--budget"])
            + f" {2 * goal}"
        )


def _say_segment(study: "Study") -> None:
    """Say where an agent that cannot be replayed begins anew."""
    segment, known = study.next_segment, study.read().segments
    if segment is not None:
        number = len(known) + (segment != known[-1])
        say(
            f"{segment.agent} cannot be replayed here: it begins anew after {segment.first_seq} "
            f"asks, in segment {number} with seed {segment.seed}."
        )


def _resume_command(folder: Path, budget: int | None, workers: int, timeout: float | None) -> str:
    words = ["archgym", "resume", str(folder)]
    if budget is not None:
        words += ["--budget", str(budget)]
    if workers != 1:
        words += ["--workers", str(workers)]
    if timeout is not None:
        words += ["--timeout", f"{timeout:g}"]
    return shlex.join(words)


def _report(result: "StudyResult", is_json: bool) -> None:
    from archgym.cli.commands.policy import UNTRAINED
    from archgym.cli.views.study import best_text, counts_text, write_study_json
    from archgym.search.policy import Policy
    from archgym.studies.folder import POLICY_NAME

    if is_json:
        write_study_json(result.log)
        return
    say(counts_text(result.log))
    report = result.log.damage_report()
    if report is not None:
        say(report)
    say(best_text(result.log))
    policy = result.log.folder / POLICY_NAME
    if policy.is_file() and Policy.load(policy).description.get("updates") == 0:
        say(UNTRAINED)
    if result.ended == "max_asks":
        repeats = result.asks - result.log.evaluations
        remedy = "Raise --max-asks"
        if 2 * repeats > result.asks:
            remedy += " or change the agent's hyperparameters"
        say(
            f"It ended at its limit of {result.asks} asks, {repeats} of them repeats, before its "
            f"budget. {remedy}."
        )
    elif result.ended == "agent":
        say("The agent had nothing more to ask.")
    say(f"Next: archgym show {shlex.quote(str(result.log.folder))} --plot curve.png")
