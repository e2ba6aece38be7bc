"""`archgym trace record`: the memory accesses of a program."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archgym.cli.console.progress import CountBar
from archgym.errors import InvalidArgumentError
from archgym.files.storage import require_free

if TYPE_CHECKING:
    from archgym.traces.recording import Recording

__all__ = ["record"]


def record(
    command: Annotated[
        list[str],
        typer.Argument(help="A program and its arguments, after `--`.", metavar="PROGRAM"),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="A new file, .npz; by default PROGRAM.npz.", metavar="FILE"
        ),
    ] = None,
    skip: Annotated[
        int, typer.Option("--skip", help="Data accesses to leave out first.", min=0)
    ] = 0,
    max_accesses: Annotated[
        int,
        typer.Option("--max-accesses", help="Data accesses after which it is stopped.", min=1),
    ] = 10_000_000,
    name: Annotated[
        str | None,
        typer.Option("--name", help="What the trace is called; by default as the program."),
    ] = None,
    instructions: Annotated[
        bool,
        typer.Option(
            "--instructions",
            help="Record instructions for the CPU simulator, a ChampSim trace, without valgrind.",
        ),
    ] = False,
    max_instructions: Annotated[
        int,
        typer.Option("--max-instructions", help="Instructions after which it is stopped.", min=1),
    ] = 1_000_000,
    from_function: Annotated[
        str | None,
        typer.Option(
            "--from-function",
            help="Function of the program whose first call starts a trace of instructions.",
            metavar="NAME",
        ),
    ] = None,
) -> None:
    """Record every memory access of a program, under valgrind, or its instructions.

    The program has this terminal's input and output; all that ArchGym says goes to standard error.
    Ctrl-C stops it and keeps what was recorded. What its children do is not recorded.
    """
    from datetime import UTC, datetime

    from archgym.traces.programs import resolved
    from archgym.traces.recording import record as record_program

    command, note = resolved(command)
    if note:
        _note(note)
    if instructions:
        _record_instructions(command, out, skip, max_instructions, from_function)
        return
    if from_function is not None:
        raise InvalidArgumentError("`--from-function` needs `--instructions`.")
    path = out if out is not None else Path(f"{Path(command[0]).name}.npz")
    require_free(path)
    with CountBar("accesses") as bar:

        def report(so_far: "Recording") -> None:
            bar.show(so_far.accesses_seen, skip + max_accesses)

        done = record_program(
            command,
            path,
            name=name or "",
            skip=skip,
            max_accesses=max_accesses,
            date=datetime.now(UTC).strftime("%Y-%m-%d"),
            report=report,
        )
    _say_recorded(done, path, max_accesses)
    if done.stopped.startswith("SIG"):
        raise typer.Exit(130 if done.stopped == "SIGINT" else 143)


def _record_instructions(
    command: list[str], out: Path | None, skip: int, n: int, function: str | None
) -> None:
    from archgym.simulators.cpu.recording.recorder import record_instructions

    path = out if out is not None else Path(f"{Path(command[0]).name}.champsimtrace.xz")
    require_free(path)
    with CountBar("instructions") as bar:
        done = record_instructions(
            command,
            path,
            n=n,
            skip=skip,
            function=function,
            report=lambda so_far: bar.show(so_far, n),
        )
    _note(
        f"{path}: {done.n:,} instructions, {done.n_static:,} different ones, "
        f"{path.stat().st_size:,} bytes; {done.seconds:.1f} s, "
        f"{done.n / max(done.seconds, 1e-3) / 1000:,.0f} thousand instructions/s"
    )
    if not done.has_ended:
        _note("The program was stopped after the last instruction wanted (--max-instructions).")


def _say_recorded(done: "Recording", path: Path, max_accesses: int) -> None:
    info = done.info
    accesses = info.loads + info.stores + info.modifies
    size = path.stat().st_size
    rate = done.accesses_seen / max(done.elapsed_s, 1e-3)
    _note(
        f"{path}: {accesses:,} accesses ({info.loads:,} loads, {info.stores:,} stores, "
        f"{info.modifies:,} read-modify-writes) over {info.instructions:,} instructions, "
        f"{info.footprint_bytes / 2**20:,.1f} MiB of data pages"
    )
    _note(
        f"{size:,} bytes, {size / max(1, accesses):.2f} an access; {done.elapsed_s:.1f} s, "
        f"{rate / 1000:,.0f} thousand accesses/s with the skipped ones"
    )
    if done.stopped == "limit" and accesses < max_accesses:
        _note(f"The program was stopped: a file holds no more than its {info.records:,} records.")
    elif done.stopped == "limit":
        _note("The program was stopped after the last access that was wanted (--max-accesses).")
    elif done.stopped:
        _note(f"Stopped by {done.stopped}; what was recorded is kept.")
    elif info.exit_code:
        _note(f"The program ended with exit code {info.exit_code}.")


def _note(text: str) -> None:
    """Say something on standard error, since standard output is the program's."""
    sys.stdout.flush()
    typer.echo(text, err=True)
