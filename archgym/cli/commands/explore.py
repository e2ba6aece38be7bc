"""`archgym explore`: the page on which a design is moved."""

from pathlib import Path
from typing import Annotated

import typer

from archgym.cli.console.signals import interruptible
from archgym.cli.console.terminal import say
from archgym.cli.options.task import TaskOptions, make_task, task_choices
from archgym.cli.options.values import complete_simulator
from archgym.errors import InvalidArgumentError
from archgym.runtime.importing import import_library


def explore(
    subject: Annotated[
        str,
        typer.Argument(
            help="Simulator, complete task, or folder of a study or sweep, also a running one.",
            autocompletion=complete_simulator,
            metavar="SIMULATOR|TASK|STUDY|SWEEP",
        ),
    ],
    options: TaskOptions,
    task: Annotated[
        str, typer.Option("--task", help="Task of a sweep (default: that of its first run).")
    ] = "",
    port: Annotated[
        int,
        typer.Option(
            "--port", help="Port to serve the page on (default: a free one).", min=0, max=65535
        ),
    ] = 0,
) -> None:
    """Move a design on a page that answers at once, and follow running studies.

    Only this computer can open the page. Ctrl-C ends the server; studies continue.
    """
    import_library("panel", "explore")
    from archgym.explorer.page import ExploreServer
    from archgym.explorer.subject import is_followed, task_of_folder

    folder = Path(subject) if is_followed(Path(subject)) else None
    if folder is not None and options.given:
        raise InvalidArgumentError(f"A study has its task; leave out {', '.join(options.given)}.")
    made = task_of_folder(folder, task) if folder else make_task(task_choices(subject, options))
    with interruptible(), ExploreServer(made, folder, port) as server:
        say(f"Explore: {server.url}")
        say("The address contains a secret token. Ctrl-C ends the server.")
        server.serve()
