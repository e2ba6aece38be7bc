"""`archgym trace`: memory traces of the user's own programs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archgym.cli.console.progress import CountBar, announce_compilation
from archgym.cli.console.terminal import heading, notice, say, table, write_facts, write_json
from archgym.cli.options.groups import command_group
from archgym.cli.options.task import JsonOption
from archgym.errors import InvalidArgumentError
from archgym.files.storage import require_free

if TYPE_CHECKING:
    from archgym.traces.recording import Recording

# Forms of traces that a simulator's command describes, not this one.
_REQUESTS = (".stl", ".rstl")

trace_app = command_group("trace", "Record, filter and inspect memory traces of programs.")


@trace_app.command("list")
def list_traces(json: JsonOption = False) -> None:
    """List the shipped traces: recorded ones, and generated ones of 4 GiB."""
    from archgym.traces.sources import named_traces

    traces = named_traces()
    if json:
        write_json([vars(trace) for trace in traces])
        return
    columns = ("name", "accesses", "footprint [MiB]", "origin")
    cells = [(t.name, f"{t.accesses:,}", f"{t.footprint_mib:,.1f}", t.made) for t in traces]
    table(columns, cells, right=columns[1:3])


@trace_app.command()
def info(
    source: Annotated[
        str,
        typer.Argument(
            help="Memory trace (.npz), or the name of a shipped one: see `archgym trace list`.",
            metavar="TRACE",
        ),
    ],
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture", help="Draw the statistics to this .svg, .png or .pdf file.", metavar="FILE"
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show the contents of a memory trace: counts, footprint, reuse of pages."""
    from archgym.report.plots import check_plot, plot_trace
    from archgym.traces.sources import summarise_trace, trace_stem

    if picture is not None:
        check_plot("--picture", picture)
    if source.removesuffix(".gz").endswith(_REQUESTS):
        raise InvalidArgumentError(
            f"TRACE must be a memory trace (.npz); {source!r} is a trace of requests. Use "
            "`archgym trace requests`."
        )
    announce_compilation()
    summary = summarise_trace(source)
    if picture is not None:
        if summary.analysis is None:
            raise InvalidArgumentError("`--picture` needs a trace with accesses; it has none.")
        plot_trace(summary.analysis, trace_stem(source), picture)
    if json:
        write_json({name: value for name, (value, _unit) in summary.facts.items()})
        return
    heading(trace_stem(source))
    write_facts((name, value, unit) for name, (value, unit) in summary.facts.items())
    if picture is not None:
        say(f"Picture: {picture}")


@trace_app.command()
def export(
    program: Annotated[
        str,
        typer.Argument(help="Program that ships: a workload of `cpu`.", metavar="PROGRAM"),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", help="New file that ends in .champsimtrace.xz."),
    ],
    instructions: Annotated[
        int, typer.Option("--instructions", help="Number of instructions.", min=1, max=10**8)
    ] = 100_000,
) -> None:
    """Write the instructions of a shipped program as ChampSim reads them."""
    from archgym.errors import check_known
    from archgym.traces.instructions.generators import GENERATORS, generate
    from archgym.traces.instructions.records import looks_like_trace, write_records

    check_known("program", [program], GENERATORS)
    if not looks_like_trace(out.name):
        raise InvalidArgumentError(
            f"`--out` must end as a ChampSim trace does, in .champsimtrace.xz; got {out.name!r}."
        )
    require_free(out)
    write_records(out, generate(program, instructions))
    say(f"Written: {out}, {instructions:,} instructions")


# Options after PROGRAM belong to the program.
@trace_app.command(context_settings={"allow_interspersed_args": False})
def record(
    command: Annotated[
        list[str],
        typer.Argument(help="Program and its arguments, after `--`.", metavar="PROGRAM"),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Trace file to create (default: PROGRAM.npz).", metavar="FILE"
        ),
    ] = None,
    skip: Annotated[
        int, typer.Option("--skip", help="Number of data accesses to skip at the start.", min=0)
    ] = 0,
    max_accesses: Annotated[
        int,
        typer.Option(
            "--max-accesses",
            help="Number of data accesses after which the program is stopped.",
            min=1,
        ),
    ] = 10_000_000,
    code_bytes: Annotated[
        int,
        typer.Option(
            "--code-bytes",
            help="Block of code whose entry is recorded as a fetch: 4096 for pages, 64 for lines.",
            min=64,
            max=4096,
        ),
    ] = 4096,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of the trace (default: that of the program)."),
    ] = None,
    instructions: Annotated[
        bool,
        typer.Option(
            "--instructions",
            help="Record instructions instead, as a ChampSim trace for the CPU simulator.",
        ),
    ] = False,
    max_instructions: Annotated[
        int,
        typer.Option(
            "--max-instructions",
            help="Number of instructions after which the program is stopped.",
            min=1,
        ),
    ] = 1_000_000,
    from_function: Annotated[
        str | None,
        typer.Option(
            "--from-function",
            help="Function of the program whose first call starts the instruction trace.",
            metavar="NAME",
        ),
    ] = None,
    marked: Annotated[
        bool,
        typer.Option(
            "--marked",
            help="Record the instructions between the program's own calls of "
            "archgym.traces.begin() and end(), which it reaches at full speed.",
        ),
    ] = False,
) -> None:
    """Record every memory access of a program with valgrind, or its instructions with ptrace.

    The program uses this terminal; messages of ArchGym go to standard error. Ctrl-C stops the
    program and keeps the recording. Child processes are not recorded.
    """
    from datetime import UTC, datetime

    from archgym.traces.recording import record as record_program
    from archgym.traces.recording import resolved

    command, note = resolved(command)
    if note:
        _note(note)
    if instructions:
        _record_instructions(command, out, skip, max_instructions, from_function, marked)
        return
    for option, is_given in (("--from-function", from_function is not None), ("--marked", marked)):
        if is_given:
            raise InvalidArgumentError(f"`{option}` needs `--instructions`.")
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
            code_bytes=code_bytes,
            date=datetime.now(UTC).strftime("%Y-%m-%d"),
            report=report,
        )
    _say_recorded(done, path, max_accesses)
    if done.stopped.startswith("SIG"):
        raise typer.Exit(130 if done.stopped == "SIGINT" else 143)


def _record_instructions(
    command: list[str],
    out: Path | None,
    skip: int,
    n: int,
    function: str | None,
    is_marked: bool,
) -> None:
    """Record the instructions of a program, and report on them."""
    from archgym.traces.instructions.recorder import record_instructions
    from archgym.traces.instructions.records import MIN_RECORDS

    path = out if out is not None else Path(f"{Path(command[0]).name}.champsimtrace.xz")
    require_free(path)
    with CountBar("instructions") as bar:
        done = record_instructions(
            command,
            path,
            n=n,
            skip=skip,
            function=function,
            is_marked=is_marked,
            report=lambda so_far: bar.show(so_far, n),
        )
    _note(
        f"{path}: {done.n:,} instructions, {done.n_static:,} different ones, "
        f"{path.stat().st_size:,} bytes; {done.seconds:.1f} s, "
        f"{done.n / max(done.seconds, 1e-3) / 1000:,.0f} thousand instructions/s"
    )
    if done.is_marked:
        _note("The program was stopped at its mark, `archgym.traces.end()`.")
    elif not done.has_ended:
        _note("The program was stopped after the last requested instruction (--max-instructions).")
    elif done.ended_by:
        _note(f"The program was ended by {done.ended_by}; the recording is kept.")
    elif done.exit_code:
        _note(f"The program ended with exit code {done.exit_code}.")
    if done.n < MIN_RECORDS:
        _note(
            f"Warning: the CPU simulator needs at least {MIN_RECORDS:,} instructions; this trace "
            f"has {done.n:,}. Record a longer part of the program."
        )
    if done.signal_number:
        raise typer.Exit(128 + done.signal_number)


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
        f"{size:,} bytes, {size / max(1, accesses):.2f} per access; {done.elapsed_s:.1f} s, "
        f"{rate / 1000:,.0f} thousand accesses/s including skipped ones"
    )
    if done.stopped == "limit":
        _note("The program was stopped after the last requested access (--max-accesses).")
    elif done.stopped:
        _note(f"Stopped by {done.stopped}; the recording is kept.")
    elif info.exit_code:
        _note(f"The program ended with exit code {info.exit_code}.")


def _note(text: str) -> None:
    """Write a line on standard error, because standard output belongs to the program."""
    sys.stdout.flush()
    notice(text)
