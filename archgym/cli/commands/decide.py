"""`archgym decide`: which design of a study to take, and what to measure next."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.console.terminal import number, prose, say, table, write_json
from archgym.cli.options.task import JsonOption

if TYPE_CHECKING:
    from archgym.report.decision import Candidate, Decision

_MOST_ROWS = 8


def decide(
    study: Annotated[Path, typer.Argument(help="Folder of the study.", metavar="STUDY")],
    measured: Annotated[
        Path | None,
        typer.Option(
            "--measured",
            help="File of measurements (default: those that `archgym measure STUDY` added).",
            metavar="FILE",
        ),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            "--confidence",
            help="Probability with which limits must be met (default: the task's, or 0.5).",
            min=0.5,
            max=0.999,
        ),
    ] = None,
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

    The smallest set of designs that holds the best one with 90 % is listed, with the probability
    to be best and to meet each limit, and the expected loss if a design is taken.
    """
    from archgym.checks import check_choice
    from archgym.report.decision import ROBUST
    from archgym.report.decision import decide as decision_of
    from archgym.studies.snapshot import read_study

    check_choice("--robust", robust, ROBUST)
    with prompt_stops():
        found = decision_of(
            read_study(study),
            measured,
            confidence=confidence,
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
    say()
    rows = list(found.alternatives[:_MOST_ROWS])
    if found.best not in rows:
        rows = [found.best, *rows[: _MOST_ROWS - 1]]
    metrics = list(rows[0].metrics)
    limits = list(rows[0].p_limits)
    columns = ["seq", "best with", "expected loss", *limits, *metrics, "measured"]
    table(columns, [_cells(found, row, metrics, limits) for row in rows])
    left = len(found.alternatives) - _MOST_ROWS
    if left > 0:
        say(f"… and {left} more, each less likely. `--json` lists all.")
    if found.n_left_out:
        say(f"{found.n_left_out} evaluations that come far behind were not looked at.")


def _cells(found: "Decision", row: "Candidate", metrics: list[str], limits: list[str]) -> list[str]:
    values = []
    for name in metrics:
        likely, low, high = row.metrics[name]
        own = number(likely)
        half = 50.0 * (high - low) / likely if likely else 0.0
        values.append(f"{own} ± {half:.2g} %" if half else own)
    return [
        str(row.seq),
        f"{100 * row.p_best:.0f} %",
        found.percent(row.loss),
        *[f"{100 * row.p_limits[name]:.0f} %" for name in limits],
        *values,
        "yes" if row.is_measured else "",
    ]


def _write_next(found: "Decision", n_next: int, study: Path) -> None:
    from archgym.report.decision import WORTH

    say()
    steps = found.next(n_next)
    if found.is_settled or steps[0].loss_before - steps[0].loss_after < WORTH:
        say("Measuring more is not worth it: it would hardly change the choice.")
        if steps[0].loss_before < 1e-9:
            return
    for step in steps:
        design = ", ".join(f"{name}={value}" for name, value in step.candidate.design.items())
        gain = f"{found.percent(step.loss_before)} to {found.percent(step.loss_after)}"
        prose(f"Measure evaluation {step.candidate.seq}: expected loss {gain}. {design}")
    say(f"Then: archgym measure {study} measured.csv, with the columns seq and the metrics.")
