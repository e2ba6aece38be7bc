"""`archgym watch`: live view of a running study or sweep in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from archgym.cli.console.signals import interruptible
from archgym.cli.console.terminal import say


def watch(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder of a study or of a sweep.", metavar="STUDY|SWEEP"),
    ],
    port: Annotated[
        int,
        typer.Option(
            "--port", help="Port to serve the page on (default: a free one).", min=0, max=65535
        ),
    ] = 0,
) -> None:
    """Follow a running study or sweep on a page that this computer alone can open.

    The page shows the best design, the curve, the front, failures, rate and remaining time.
    Ctrl-C ends the server; the study continues.
    """
    from archgym.report.live_server import LiveServer

    with interruptible(), LiveServer(folder, port) as server:
        say(f"Live view: {server.url}")
        say("The address contains a secret token. Ctrl-C ends the server.")
        server.serve()
