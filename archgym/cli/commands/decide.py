"""`archgym decide` and `prove`: which design of a study to take, and if a better one may exist."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.console.terminal import duration, number, prose, say, table, warn, write_json
from archgym.cli.options.design import is_study
from archgym.cli.options.task import ErrorOptions, JsonOption, TaskOptions, make_task, task_choices
from archgym.cli.options.values import complete_simulator
from archgym.errors import InvalidArgumentError, UnknownNameError, error_text
from archgym.files.remote import command_line

if TYPE_CHECKING:
    from archgym.report.decision import Candidate, Decision
    from archgym.spaces.design import Design
    from archgym.tables.proof import Proof
    from archgym.tasks.task import Task


_MOST_ROWS, _MOST_ON_FRONT = 8, 20


def decide(
    study: Annotated[Path, typer.Argument(help="Folder of the study.", metavar="STUDY")],
    error: ErrorOptions,
    robust: Annotated[
        str,
        typer.Option(
            "--robust",
            help="Choose by the reward of the most likely metrics (no), the expected reward "
            "(expected), or the reward that is exceeded with 90 % (p10).",
        ),
    ] = "no",
    n_next: Annotated[
        int,
        typer.Option("--next", help="Number of designs to measure next.", min=0, max=20),
    ] = 0,
    json: JsonOption = False,
) -> None:
    """Decide which design to take, given the error of the simulator.

    The fewest designs that include the best one with probability 90 % are listed, with the chance
    to be best and to meet each limit, and the expected loss if a design is taken. Measurements and
    confidence are the task's, and measurements those of `archgym measure STUDY`, unless given.
    """
    from archgym.checks import check_choice
    from archgym.report.decision import ROBUST
    from archgym.report.decision import decide as decision_of
    from archgym.studies.snapshot import read_study

    check_choice("--robust", robust, ROBUST)
    with prompt_stops():
        found = decision_of(
            read_study(study),
            error.measured,
            confidence=error.confidence,
            robust=robust,  # type: ignore[arg-type]  # checked above
        )
        if json:
            write_json(found.to_json(n_next))
            return
        _write(found)
        if n_next:
            _write_next(found, n_next, study)


def _write(found: "Decision") -> None:
    for sentence in found.sentences():
        prose(sentence)
    prose(f"Evaluation {found.best.evaluation}: {_text(found.best)}")
    say()
    rows = list(found.alternatives[:_MOST_ROWS])
    if found.best not in rows:
        rows = [found.best, *rows[: _MOST_ROWS - 1]]
    best = "best with" if not found.front else "best sum with"
    first = [best, "expected loss", *found.best.p_limits]
    chances = [
        [
            _percent(row.p_equal) + (f", {row.n_equal} equal designs" if row.n_equal > 1 else ""),
            found.percent(row.loss),
            *map(_percent, row.p_limits.values()),
        ]
        for row in rows
    ]
    _write_table(first, list(zip(rows, chances, strict=True)))
    left = len(found.alternatives) - _MOST_ROWS
    if left > 0:
        say(f"… and {left} more, each less likely. `--json` lists all.")
    if found.front:
        say()
        shown = found.front[:_MOST_ON_FRONT]
        _write_table(["on the front with"], [(row, [_percent(row.p_front)]) for row in shown])
        if len(found.front) > len(shown):
            say(f"… and {len(found.front) - len(shown)} more. `--json` lists all.")
    if found.n_left_out:
        say(f"{found.n_left_out} evaluations that come far behind were not looked at.")


def _short(percent: float) -> str:
    """Return a percentage with two digits, never as a power of ten."""
    return f"{percent:.0f}" if percent >= 10.0 else f"{percent:.2g}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _write_table(columns: list[str], rows: list[tuple["Candidate", list[str]]]) -> None:
    """Write some cells of designs between their evaluation and their metrics."""
    cells = []
    for row, own in rows:
        values = []
        for name, (likely, _, _) in row.metrics.items():
            half = row.margin(name)
            text = f"{number(likely)} ± {_short(half)} %" if half else number(likely)
            real = row.measured.get(name)
            values.append(text if real is None else f"{text}, measured {number(real)}")
        cells.append([str(row.evaluation), *own, *values, "yes" if row.is_measured else ""])
    table(["evaluation", *columns, *rows[0][0].metrics, "measured"], cells)


def _text(candidate: "Candidate") -> str:
    return ", ".join(f"{name}={value}" for name, value in candidate.design.items())


def _write_next(found: "Decision", n_next: int, study: Path) -> None:
    say()
    steps = found.next(n_next)
    if found.is_blind:
        say("What a measurement is worth is not known, since the error is not. Begin with:")
        steps = steps[:1]
    elif not found.is_worth(steps):
        say("Measuring more is not worth it: it would hardly change the choice.")
        if steps[0].loss_before < 1e-9:
            return
        say("If you measure anyway:")
    for step in steps:
        gain = f"{found.percent(step.loss_before)} to {found.percent(step.loss_after)}"
        named = f"{step.candidate.evaluation}: expected loss {gain}. {_text(step.candidate)}"
        prose(f"Measure evaluation {named}")
    line = command_line("archgym", "measure", study, "measured.csv")
    say(f"Then: {line}, with the columns evaluation and the metrics.")


def prove(
    study: Annotated[Path, typer.Argument(help="Folder of the study.", metavar="STUDY")],
    seconds: Annotated[
        float, typer.Option("--seconds", help="Time after which the proof stops [s].", min=0.1)
    ] = 60.0,
    table: Annotated[
        Path | None,
        typer.Option("--table", help="Table of the task, which has every design.", metavar="FILE"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Prove that a study's best design is the optimum, or say how much better one may be.

    Designs are left out where the simulator bounds what they can reach (accelerator mappings, soc).
    Elsewhere every design is evaluated, or looked up in a table. The exit code is 0 if the best
    design that is known at the end is proven, else 1.
    """
    from archgym.cli.console.progress import StageBar
    from archgym.errors import InvalidArgumentError
    from archgym.report.design_explanation import check_registered
    from archgym.studies.snapshot import read_study
    from archgym.tables import TableSimulator
    from archgym.tables.proof import prove as proof_of
    from archgym.tasks.task import Task

    log = read_study(study)
    recipe = dict(log.header.task)
    if table is None and not recipe.get("stand_in"):
        check_registered(study, recipe)
    if table is not None:
        recipe.pop("stand_in", None)
        if (of := TableSimulator(table).name) != recipe["simulator"]:
            raise InvalidArgumentError(
                f"`--table` must be of the study's simulator, {recipe['simulator']!r}; {table} is "
                f"of {of!r}."
            )
    task = Task.from_json(recipe, stand_in=table)
    best = log.best()
    known = None if best is None else task.space.indices_of(best.design)
    with prompt_stops(), StageBar() as bar:
        proof = proof_of(task, known, seconds, bar)
    former = None if best is None else float(best.reward)
    if json:
        write_json(proof.to_json(task) | {"study": str(study), "study_reward": former})
    else:
        _write_proof(proof, task, former, study, seconds)
    if not proof.is_optimal:
        raise typer.Exit(1)


def _write_proof(
    proof: "Proof",
    task: "Task",
    former: float | None,
    study: Path = Path("study"),
    seconds: float = 60.0,
) -> None:
    from archgym.cli.views.study import proof_text
    from archgym.evaluation.limits import LIMITED_REWARD
    from archgym.report.commands import evaluate_command
    from archgym.report.quantities import counted

    better = proof.indices is not None and (former is None or proof.reward > former)
    unknown = proof_text(proof, task)
    took = duration(proof.seconds) if proof.seconds >= 1.0 else "less than 1 s"
    if proof.indices is None:
        none = "Not one design could be built."
        prose(none if proof.is_optimal else f"No design was found: {unknown}.")
    elif proof.is_optimal and task.limits and proof.reward <= LIMITED_REWARD:
        prose(f"Proven: {unknown}.")
    elif proof.is_optimal:
        shown = "" if better else "The study's best design is optimal. "
        prose(f"{shown}Reward {proof.reward:.6g} is proven: no design of {task.id} has more.")
    else:
        prose(f"Not proven in {took}: {unknown}.")
    if better:
        assert proof.indices is not None
        than, now = "", f"{proof.reward:.6g}"
        if former is not None:
            # As many digits as tell them apart.
            forms = (f"{{:.{digits}g}}".format for digits in range(6, 18))
            old, now = next(two for f in forms if len(set(two := (f(former), f(proof.reward)))) > 1)
            than = f" than the study's {old}"
        prose(f"The proof found a better design{than}, reward {now}:")
        say(evaluate_command(task, proof.indices))
    how = f"{counted(proof.n_evaluated, 'design')} evaluated in {took}"
    if proof.method == "bounds":
        prose(f"{proof.n_bounded:,} partial designs were bounded, and {how}.")
    else:
        why = "none is known for this objective, or the task is on a table"
        prose(f"No bounds were used, since {why}: {how}.")
    if proof.is_optimal or proof.n_failed:
        return
    if not math.isfinite(proof.bound):
        _write_rest(proof, task, study, seconds)
    if not proof.gave_up(task):
        remedy = "--seconds" if proof.method == "bounds" else "--seconds, or --table FILE"
        say(f"To continue for longer: {remedy}.")


def _write_rest(proof: "Proof", task: "Task", study: Path, seconds: float) -> None:
    """Write how much is left to prove, and commands that prove a part of the space."""
    from archgym.report.commands import is_registered, search_command, set_words
    from archgym.report.quantities import counted
    from archgym.spaces.counting import number_text
    from archgym.tables.proof import rest_of

    rest, recipe = rest_of(task, proof, seconds), task.to_json()
    upto = "At most " if proof.method == "bounds" else ""
    takes = "over 1,000 years" if rest.seconds > 3e10 else f"about {duration(rest.seconds)}"
    prose(f"{upto}{number_text(rest.n_left)} designs are left, which take {takes} to evaluate.")
    if not rest.held:
        return
    of = f"{counted(len(rest.held), 'value')} of the best known design"
    if not is_registered(recipe):
        held = ", ".join(f"{name}={value}" for name, value in rest.held.items())
        prose(f"All designs with {of} held can be evaluated in {duration(seconds)}: {held}.")
        return
    part = f"{study}-part"
    say(f"All designs with {of} held can be evaluated in {duration(seconds)}:")
    say(search_command(recipe, None, *set_words(rest.held), "--out", part))
    say(command_line("archgym", "prove", part, "--seconds", f"{2 * seconds:g}"))


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
    from archgym.evaluation.restriction import bare
    from archgym.measurements.calibration import calibration_of
    from archgym.measurements.file import append_measurements, contradictions
    from archgym.report.quantities import counted
    from archgym.studies.spreadsheet import read_spreadsheet

    task, designs, default = _subject(subject, options)
    imported = read_spreadsheet(table, task, designs)
    path = to or default
    present = append_measurements(path, imported.rows, once=True)
    n_added = present.n_added
    n_known = len(imported.rows) - n_added
    known = f"{counted(n_known, 'row')} not added, equal to earlier ones: give repeats a date"
    notes = [
        *[known] * bool(n_known),
        *contradictions(present.rows),
        *calibration_of(bare(task.simulator), present).notes,
    ]
    if json:
        write_json(
            {
                "file": str(path),
                "added": n_added,
                "measurements": len(present),
                "unused_columns": list(imported.unused),
                "parameters_at_default": list(imported.completed),
                "notes": notes,
            }
        )
        return
    say(f"{counted(n_added, 'measurement')} added to {path}, which has {len(present)} now.")
    if imported.completed:
        names = counted(len(imported.completed), "parameter")
        say(f"Not in the file: {names}. The default design's values were taken.")
    if imported.unused:
        n = len(imported.unused)
        few = ", ".join(imported.unused[:5]) + (f" and {n - 5} more" if n > 5 else "")
        say(f"{counted(n, 'column')} unused, no metric of the simulator (kept): {few}")
    for note in notes:
        warn(f"{note}.")
    words = [Path(subject)] if is_study(subject) else ["STUDY", "--measured", path]
    say("Next: " + command_line("archgym", "decide", *words))


def _subject(subject: str, options: TaskOptions) -> "tuple[Task, dict[str, Design] | None, Path]":
    """Return the task, designs by the numbers of their evaluations, and the default file."""
    from archgym.measurements.file import MEASURED_NAME

    if not is_study(subject):
        try:
            task = make_task(task_choices(subject, options))
        except UnknownNameError as error:
            if subject not in error_text(error):
                raise
            text = f"{error_text(error)} There is no study in a folder of that name either."
            raise UnknownNameError(text) from None
        return task, None, Path(f"{task.simulator.name}.measured.jsonl")
    if options.given or options.stand_in.path is not None:
        raise InvalidArgumentError("A study has its task; leave the options of a task out.")
    import numpy as np

    from archgym.cli.console.progress import announce_compilation
    from archgym.studies.snapshot import read_study
    from archgym.tasks.task import Task

    log = read_study(subject)
    announce_compilation()
    task = Task.from_json(log.header.task)
    designs = {
        str(number): log.space.design_at(log.records.indices[row])
        for number, row in enumerate(np.flatnonzero(log.is_evaluation), 1)
    }
    return task, designs, Path(subject) / MEASURED_NAME
