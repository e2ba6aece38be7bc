"""`archgym moe prefetch`: what prefetching is worth over the predictor's accuracy."""

from pathlib import Path
from typing import Annotated

import typer

from archgym.cli.tasks import JsonOption
from archgym.cli.terminal import number, say, table, write_json
from archgym.cli.values import named_path

__all__ = ["prefetch"]


def prefetch(
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture",
            help="Where to draw it: .png, .svg or .pdf.",
            parser=named_path,
            metavar="FILE",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show when prefetching helps: time per token over accuracy, on two links.

    Qwen3-30B with weights of 4 bits on a card that holds a third of it; the next layer's experts
    are loaded ahead.
    """
    from dataclasses import asdict

    from archgym.cli.notices import announce_compilation
    from archgym.simulators.moe.prefetch import draw_sweep, prefetch_sweep

    announce_compilation()
    sweeps = prefetch_sweep(progress=_say_progress)
    if picture is not None:
        draw_sweep(sweeps, picture)
    if json:
        write_json([asdict(sweep) for sweep in sweeps])
        return
    columns = ["accuracy_percent"]
    for sweep in sweeps:
        columns += [f"{sweep.link}_tpot_ms", f"{sweep.link}_wasted_percent"]
    rows = [["no prefetch", *(x for s in sweeps for x in (number(s.without_ms), ""))]]
    for place, accuracy in enumerate(sweeps[0].accuracies):
        cells = [(s.tpot_ms[place], s.wasted_percent[place]) for s in sweeps]
        rows.append([number(100.0 * accuracy), *(number(x) for pair in cells for x in pair)])
    table(columns, rows, right=columns)
    if picture is not None:
        say(f"Drawn into {picture}.")


def _say_progress(text: str) -> None:
    typer.echo(f"{text} …", err=True)
