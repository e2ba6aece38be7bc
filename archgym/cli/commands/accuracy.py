"""`archgym bench accuracy`: questions on measured serving, and scores of predictions."""

from pathlib import Path
from typing import Annotated

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.console.terminal import say, table, write_json
from archgym.cli.options.groups import command_group
from archgym.cli.options.task import JsonOption

accuracy_app = command_group(
    "accuracy", "Score any simulator on measured LLM serving: questions, score, run, verify."
)


@accuracy_app.command()
def questions(
    out: Annotated[Path, typer.Option("--out", help="New folder for the files.", metavar="FOLDER")],
    json: JsonOption = False,
) -> None:
    """Write questions on each group that is left out, and the rows to learn from.

    FOLDER/AXIS/GROUP/ has questions.csv without answers and learn.csv with answers. Predictions are
    one CSV with the columns axis, id, tpot_ms, tpot_low_ms, tpot_high_ms, ttft_ms, ttft_low_ms and
    ttft_high_ms; all but axis and id may be left out.
    """
    from archgym.bench.accuracy import measured_rows, split, split_digest, write_questions

    write_questions(out)
    groups = {axis: len(of) for axis, of in split().items()}
    if json:
        write_json({"rows": len(measured_rows()), "groups": groups, "digest": split_digest()})
        return
    table(
        ("axis", "groups", "questions"),
        [(axis, str(len(of)), f"{sum(map(len, of.values())):,}") for axis, of in split().items()],
    )
    say(f"{len(measured_rows()):,} measured rows; checksum of the split: {split_digest()}")


@accuracy_app.command()
def score(
    predictions: Annotated[
        Path, typer.Argument(help="CSV of predictions.", metavar="PREDICTIONS.csv")
    ],
    json: JsonOption = False,
) -> None:
    """Show errors of predictions for each kind of what is left out.

    A row without a prediction counts as a miss, and one without an interval as outside of it.
    """
    from archgym.bench.accuracy import score as scored
    from archgym.bench.accuracy import split_digest

    found = scored(predictions)
    if json:
        write_json({"digest": split_digest(), "scores": [each.to_json() for each in found]})
        return
    numbers = "median %", "p90 %", "bias %", "held %", "width"
    rows = []
    for each in found:
        values = each.median, each.p90, each.bias, each.coverage, each.width
        shown = ["–" if value is None else f"{value:.1f}" for value in values]
        rows.append((each.axis, each.quantity, str(each.rows), str(each.missing), *shown))
    table(("left out", "time", "rows", "missing", *numbers), rows)
    if missing := sum(each.missing for each in found):
        say(f"Predictions that are missing, and count as misses: {missing:,}.")
    say("Held: rows in their 90 % interval. Width: median of its upper over its lower end.")
    say(f"Checksum of the split: {split_digest()}")


LimitOption = Annotated[
    float,
    typer.Option("--limit-seconds", help="Time of the program for each group.", min=0.1),
]


@accuracy_app.command()
def run(
    command: Annotated[
        str,
        typer.Argument(
            help="Program with its arguments in quotes, or a function of the current folder.",
            metavar="COMMAND|MODULE:FUNCTION",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="New folder of the entry.", metavar="FOLDER")],
    limit_seconds: LimitOption = 3600.0,
    json: JsonOption = False,
) -> None:
    """Ask a program about each group, in a process and folder of its own, and show its score.

    The folder is the program's last argument, or the function's only one. It holds learn.csv and
    questions.csv; the program writes predictions.csv with the columns id, tpot_ms and so on.
    """
    from archgym.bench.entries import run_entry

    with prompt_stops():
        run_entry(command, out, limit_seconds)
    score(out / "predictions.csv", json)


@accuracy_app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="Folder of the entry.")],
    limit_seconds: LimitOption = 3600.0,
    json: JsonOption = False,
) -> None:
    """Run an entry's program again, away from the answers, and refuse what differs."""
    from archgym.bench.entries import hidden_from, verify_entry

    with prompt_stops():
        refusals, is_hidden = verify_entry(folder, limit_seconds), bool(hidden_from())
    if json:
        write_json({"accepted": not refusals, "hidden": is_hidden, "refusals": refusals})
    else:
        for refusal in refusals:
            say(f"refused: {refusal}")
        reach = "out of" if is_hidden else "within"
        say(f"{'Refused' if refusals else 'Accepted'}; the answers were {reach} its reach.")
    if refusals:
        raise typer.Exit(1)
