"""Options of commands that run studies: agent, seed, workers and time limit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.checks import MAX_WORKERS
from archgym.cli.options.values import complete_agent, is_inline, read_designs
from archgym.files.remote import local_copy

if TYPE_CHECKING:
    from archgym.spaces.space import DesignSpace
    from archgym.tasks.executor import Executor
    from archgym.tasks.task import Task

MAX_SEED = 2**63 - 1


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


@dataclass(frozen=True)
class WorkerOptions:
    """Options that say how designs are evaluated."""

    workers: Annotated[
        int,
        typer.Option(
            "--workers", help="Number of designs to evaluate in parallel.", min=1, max=MAX_WORKERS
        ),
    ] = 1
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            help="Time limit per design in seconds; a slower evaluation counts as failed.",
            min=0.001,
        ),
    ] = None
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            help="Folder of evaluations that studies share; only the default design is repeated, "
            "and what --recheck says.",
            metavar="FOLDER",
        ),
    ] = None
    recheck: Annotated[
        float | None,
        typer.Option(
            "--recheck",
            help="Share of the results found in --cache that are evaluated again (default: 0.02).",
            min=0.0,
            max=1.0,
        ),
    ] = None

    def executor(self, task: "Task") -> "Executor":
        """Return the executor of these options."""
        from archgym.searching import search_executor

        return search_executor(task, self.workers, self.timeout, self.cache, self.recheck)

    def words(self) -> list[str]:
        """Return the options as words of a command, without those that have their default."""
        words = [] if self.workers == 1 else ["--workers", str(self.workers)]
        if self.timeout is not None:
            words += ["--timeout", f"{self.timeout:g}"]
        if self.cache is None:
            return words
        checks = [] if self.recheck is None else ["--recheck", f"{self.recheck:g}"]
        return [*words, "--cache", str(self.cache), *checks]


@dataclass(frozen=True)
class StopOptions:
    """Options that end a search before its budget."""

    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            help="Time limit of this run in minutes; the study can be resumed.",
            min=0.001,
        ),
    ] = None
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience", help="End after this many evaluations without a better design.", min=1
        ),
    ] = None
    stop_at: Annotated[
        str | None,
        typer.Option(
            "--stop-at",
            help='End at the first design that meets limits, such as "total_time_ns <= 60000".',
            metavar="LIMITS",
        ),
    ] = None


@dataclass(frozen=True)
class PriorOptions:
    """Options that give a search designs and earlier studies to begin with."""

    start: Annotated[
        list[str] | None,
        typer.Option(
            "--start",
            help='Design to evaluate first: "default", a study (its best design), a JSON '
            "file of a design or a portfolio, files of a tool that `archgym export` writes for, or "
            "a JSON object of parameters; repeat for more.",
            metavar="DESIGN",
        ),
    ] = None
    warm_start: Annotated[
        list[Path] | None,
        typer.Option(
            "--warm-start",
            help="Earlier study that the agent may learn from; repeat for more. `auto` begins with "
            "designs of studies in runs/ of the same simulator and space.",
            metavar="STUDY",
        ),
    ] = None

    no_prior: Annotated[
        bool,
        typer.Option(
            "--no-prior",
            help="Begin without the designs that ship for the space, which are good for other "
            "workloads.",
        ),
    ] = False

    def start_designs(self, space: "DesignSpace") -> tuple[Any, ...]:
        """Return designs and names of studies to begin with.

        Raises:
          FileFormatError: A design is not a JSON object.
        """
        return tuple(design for text in self.start or () for design in _start(text, space))


def _start(text: str, space: "DesignSpace") -> Sequence[str | Mapping[str, Any]]:
    """Return designs in JSON, or the text, which names a study, a tool's file or the default."""
    from archgym.tasks.tool_files import states_design

    path = Path(text)
    is_json = is_inline(path) or (
        local_copy(path).is_file() and not states_design(local_copy(path))
    )
    return read_designs(path, space) if is_json else [text]
