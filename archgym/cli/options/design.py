"""Argument that names a design: a JSON file, a study for its best design, or the word default."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.console.terminal import notice, warn
from archgym.cli.options.task import TaskOptions, make_task, task_choices
from archgym.cli.options.values import filled_design, read_design, read_task
from archgym.errors import InvalidArgumentError
from archgym.files.remote import local_copy

if TYPE_CHECKING:
    import numpy as np

    from archgym.spaces.design import Design
    from archgym.tasks.task import Task

DEFAULT_DESIGN = "default"
DesignArgument = Annotated[
    str,
    typer.Argument(
        help="JSON file of a design, files of a tool that `archgym export` writes for, folder of a "
        "study (for its best design), or the word default.",
        metavar="DESIGN|STUDY|default",
    ),
]
TaskOfDesignArgument = Annotated[
    str,
    typer.Argument(
        help="Simulator or complete task of the design; omit it for a study or exported file.",
        metavar="TASK",
    ),
]


def is_study(text: str | Path) -> bool:
    """Return True if a text names the folder of a study, or the URL of one."""
    return (local_copy(text) / "study.json").is_file()


def best_of(folder: Path, simulator: str, options: TaskOptions) -> "tuple[Task, np.ndarray]":
    """Return the task of a study and its best design.

    Args:
      folder: Folder of the study.
      simulator: TASK of the command line, which must be empty.
      options: Options of the command; only a table may be given.

    Raises:
      InvalidArgumentError: A choice of a task is given too, or no design was feasible.
    """
    from archgym.cli.console.progress import announce_compilation
    from archgym.report.design_explanation import best_of_study

    if simulator or options.given:
        given = ", ".join(["TASK"] * bool(simulator) + list(options.given))
        raise InvalidArgumentError(f"A study has its task; leave out {given}.")
    if options.stand_in.from_proxy is not None:
        raise InvalidArgumentError(
            "`--from-proxy` needs a task, because a proxy's tasks differ from those of a study; "
            f"got {folder}. Write its best design to a file, and name the task."
        )
    announce_compilation()
    found = best_of_study(folder, stand_in=options.stand_in.path)
    if found.damage is not None:
        warn(found.damage)
    return found.task, found.indices


def named_design(text: str, simulator: str, options: TaskOptions) -> "tuple[Task, np.ndarray]":
    """Return a task and the design that a text names.

    Args:
      text: JSON file of a design, file or folder of another tool, folder of a study, or the word
        default.
      simulator: TASK of the command line; empty for a study or a file with a task.
      options: Options of the command.

    Raises:
      InvalidArgumentError: No design is named, or a task is missing or superfluous.
      FileFormatError: The file is not a design of the task's space.
    """
    if not text:
        raise InvalidArgumentError(
            "A design must be named: a JSON file, a study's folder, or the word default; got ''."
        )
    from archgym.evaluation.simulator import simulator_names
    from archgym.tasks.tool_files import states_design

    place = local_copy(text)
    is_tools = text != DEFAULT_DESIGN and states_design(place)
    if text != DEFAULT_DESIGN and place.is_dir() and not (is_tools and simulator):
        if is_tools and any(place.iterdir()):
            raise InvalidArgumentError(
                f"TASK must be given for files of a tool; got {text} alone, which is no study: it "
                "has no study.json."
            )
        return best_of(place, simulator, options)
    if text in simulator_names() and not place.exists():
        raise InvalidArgumentError(
            f"A design must come first, then its task; got the simulator {text!r} alone. For its "
            f"default design write `default {text}`."
        )
    start = None if text == DEFAULT_DESIGN or is_tools else read_design(place)
    simulator, digest, sources = task_of_design(text, simulator, start)
    choice = task_choices(simulator, options)
    if sources and options.goal.workload is None:
        choice = replace(choice, workload=sources)
    task = make_task(choice)
    warn_of_version(text, digest, task, options)
    if is_tools:
        return task, task.space.indices_of(design_in_files(task, place))
    if start is None:
        return task, task.space.default_indices
    return task, task.space.indices_of(filled_design(task.space, start, place))


def design_in_files(task: "Task", path: Path) -> "Design":
    """Return the design that files of another tool state, and say what of them it leaves out."""
    from archgym.tasks.tool_files import design_of_files

    found = design_of_files(task, path)
    for line in found.notes:
        notice(line)
    return found.design


def task_of_design(
    text: str, simulator: str, start: Mapping[str, Any] | None
) -> tuple[str, str, dict[str, float]]:
    """Return the task of a design by name, and its digest and files if the design's file has them.

    Args:
      text: JSON file of a design, or the word default.
      simulator: TASK of the command line; empty for a file with a task.
      start: Values that the file gives; None for the default design.

    Raises:
      InvalidArgumentError: Neither the command line nor the file names a task.
    """
    if simulator:
        return simulator, "", {}
    name, digest, sources = ("", "", {}) if start is None else read_task(local_copy(text))
    if not name:
        raise InvalidArgumentError(
            "TASK must be given for a design that is not a study's, or whose file names no task; "
            "got none. Name a simulator or a task (see `archgym list simulators`)."
        )
    return name, digest, sources


def warn_of_version(text: str, digest: str, task: "Task", options: TaskOptions) -> None:
    """Warn if a file's design was written for another version of its task.

    Args:
      text: File of the design.
      digest: Digest of the task that the file names; empty for none.
      task: Task as it is now.
      options: Options of the command, which may change the task on purpose.
    """
    if digest and digest != task.digest and not options.given:
        warn(
            f"{text} was written for another version of task {task.id}: its simulator, workload or "
            "proxy differs."
        )
