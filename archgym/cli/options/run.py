"""Options of commands that run studies: agent, seed, workers and time limit."""

from typing import Annotated

import typer

from archgym.checks import MAX_WORKERS
from archgym.cli.options.completion import complete_agent
from archgym.studies.folder import RUNS_FOLDER

__all__ = [
    "MAX_SEED",
    "RUNS_FOLDER",
    "AgentOption",
    "AgentSeedOption",
    "HyperOption",
    "ProcessesOption",
    "TimeoutOption",
    "WorkersOption",
]

MAX_SEED = 2**63 - 1


def _checked_timeout(timeout: float | None) -> float | None:
    if timeout is not None and not timeout > 0:
        raise typer.BadParameter(f"It must be above 0 seconds; got {timeout!r}.")
    return timeout


def _checked_seed(seed: int) -> int:
    if seed > MAX_SEED:
        raise typer.BadParameter(f"It must be at most {MAX_SEED}; got {seed}.")
    return seed


AgentOption = Annotated[
    str,
    typer.Option(
        "--agent",
        "-a",
        help="Search agent; see `archgym list agents`.",
        autocompletion=complete_agent,
    ),
]
AgentSeedOption = Annotated[
    int,
    typer.Option("--seed", help="Random seed of the agent.", min=0, callback=_checked_seed),
]
HyperOption = Annotated[
    list[str] | None,
    typer.Option(
        "--hyper",
        help="Hyperparameter of the agent (see `archgym describe AGENT`); repeat for more.",
        metavar="NAME=VALUE",
    ),
]
WorkersOption = Annotated[
    int,
    typer.Option(
        "--workers", help="Number of designs to evaluate in parallel.", min=1, max=MAX_WORKERS
    ),
]
ProcessesOption = Annotated[
    int,
    typer.Option(
        "--workers",
        help="Number of studies to run in parallel, each in its own process.",
        min=1,
        max=MAX_WORKERS,
    ),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        help="Time limit per design in seconds; a slower evaluation counts as failed.",
        callback=_checked_timeout,
    ),
]
