"""`archgym portfolio`: start designs for a new workload, chosen from studies of known ones."""

from pathlib import Path
from typing import Annotated

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.console.terminal import say, write_json
from archgym.cli.options.studies import StudiesArgument
from archgym.cli.options.task import JsonOption
from archgym.cli.options.values import PORTFOLIO_FORMAT, named_path

_MARK = '"mean_best_rewards"'
"""Text that every file of this command has, by which it may be replaced."""


def portfolio(
    studies: StudiesArgument,
    size: Annotated[int, typer.Option("--size", help="Number of designs.", min=1)] = 4,
    per_study: Annotated[
        int,
        typer.Option("--per-study", help="Best designs of each study to consider.", min=1),
    ] = 2,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Write the designs to this JSON file, which `--start` reads.",
            parser=named_path,
            metavar="PATH",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Choose designs of earlier studies that together are good for most of their workloads.

    The best designs of each study are evaluated on the tasks of all others. The first design is
    the best on average; each later one adds most to the mean of the best rewards.
    """
    import json as text

    from archgym.files.replacement import require_replaceable
    from archgym.files.storage import write_atomic
    from archgym.studies.portfolio import portfolio as choose

    if out is not None:
        require_replaceable("--out", out, mark=_MARK)
    with prompt_stops():
        found = choose(studies, size=size, per_study=per_study)
    data = {
        "format": PORTFOLIO_FORMAT,
        "designs": [dict(design) for design in found.designs],
        "studies": list(found.sources),
        "mean_best_rewards": found.mean_best.tolist(),
        "evaluations": found.evaluations,
    }
    if out is not None:
        write_atomic(out, f"{text.dumps(data, indent=1)}\n".encode())
    if json:
        write_json(data)
        return
    for number, (source, mean) in enumerate(
        zip(found.sources, found.mean_best.tolist(), strict=True), 1
    ):
        say(f"{number}. a best design of {source}: mean best reward {mean:.4f}")
    say(f"Evaluations of the studies' tasks: {found.evaluations}.")
    if out is not None:
        say(f"Written: {out}. Use it with --start.")
