"""`archgym measure`: designs that were measured on the real thing, read from a CSV file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archgym.cli.console.terminal import say, warn, write_json
from archgym.cli.options.completion import complete_simulator
from archgym.cli.options.design import is_study
from archgym.cli.options.task import JsonOption, TaskOptions, make_task, task_choices
from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    from archgym.evaluation.task import Task
    from archgym.spaces.design import Design


def measure(
    subject: Annotated[
        str,
        typer.Argument(
            help="Folder of a study, simulator or complete task that the designs belong to.",
            autocompletion=complete_simulator,
            metavar="STUDY|SIMULATOR|TASK",
        ),
    ],
    table: Annotated[
        Path,
        typer.Argument(
            help="CSV file: columns are parameters, metrics such as `latency_ns [us]`, and "
            "optionally evaluation, workload, date and machine.",
            metavar="CSV",
        ),
    ],
    options: TaskOptions,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            help="File of measurements to append to (default: measured.jsonl in the study's "
            "folder, or SIMULATOR.measured.jsonl here).",
            metavar="FILE",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Add measurements of designs, for `decide`, `evaluate` and `search`.

    Every row is checked before any is kept; the file is checksummed and only ever grows.
    """
    from archgym.measurements.calibration import calibration_of
    from archgym.measurements.file import append_measurements, contradictions, repeats
    from archgym.measurements.spreadsheet import read_spreadsheet

    task, designs, default = _subject(subject, options)
    imported = read_spreadsheet(table, task, designs)
    path = to or default
    present = append_measurements(path, imported.rows)
    source = task.simulator.bare
    calibration = calibration_of(
        source.name, source.version, source.space, source.metrics, present,
        options=source.options,
    )  # fmt: skip
    notes = [
        *repeats(present.rows, len(imported.rows)),
        *contradictions(present.rows),
        *calibration.notes,
    ]
    if json:
        write_json(
            {
                "file": str(path),
                "added": len(imported.rows),
                "measurements": len(present),
                "unused_columns": list(imported.unused),
                "parameters_at_default": list(imported.completed),
                "notes": notes,
            }
        )
        return
    say(f"{len(imported.rows)} measurements added to {path}, which has {len(present)} now.")
    if imported.completed:
        n = len(imported.completed)
        say(f"{n} parameters are not in the file: the default design's values were taken.")
    if imported.unused:
        n = len(imported.unused)
        kept = "unused (numbers are kept)"
        say(f"{n} columns are no metric of the simulator, {kept}: {_few(imported.unused)}")
    for note in notes:
        warn(f"{note}.")
    where = subject if is_study(subject) else "STUDY"
    say(f"Next: archgym decide {where}" + ("" if is_study(subject) else f" --measured {path}"))


def _few(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _subject(subject: str, options: TaskOptions) -> "tuple[Task, dict[str, Design] | None, Path]":
    """Return the task, designs by the numbers of their evaluations, and the default file."""
    from archgym.measurements.file import MEASURED_NAME

    if not is_study(subject):
        task = make_task(task_choices(subject, options))
        return task, None, Path(f"{task.simulator.name}.measured.jsonl")
    if options.given or options.stand_in.path is not None:
        raise InvalidArgumentError("A study has its task; leave the options of a task out.")
    import numpy as np

    from archgym.cli.console.progress import announce_compilation
    from archgym.evaluation.task import Task
    from archgym.studies.snapshot import read_study

    log = read_study(subject)
    announce_compilation()
    task = Task.from_json(log.header.task)
    designs = {
        str(number): log.space.design_at(log.records.indices[row])
        for number, row in enumerate(np.flatnonzero(log.is_evaluation), 1)
    }
    return task, designs, Path(subject) / MEASURED_NAME
