"""`archgym trace`: memory traces of the user's own programs."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.commands.trace_record import record
from archgym.cli.console.progress import announce_compilation
from archgym.cli.console.terminal import heading, say, table, write_facts, write_json
from archgym.cli.options.task import JsonOption
from archgym.errors import InvalidArgumentError
from archgym.files.storage import require_free

if TYPE_CHECKING:
    from archgym.traces import MemoryTrace

__all__ = ["trace_app"]

trace_app = typer.Typer(
    name="trace",
    help="Record, filter, convert and look at memory traces of programs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@trace_app.callback()
def _group() -> None:
    """Record, filter, convert and look at memory traces of programs."""


SourceArgument = Annotated[
    str,
    typer.Argument(
        help="A memory trace (.npz), or the name of one that ships: see `archgym trace list`.",
        metavar="TRACE",
    ),
]
# chosen: as long as the generated traces of the simulators' workloads.
_GENERATED_ACCESSES = 1_000_000


# chosen: half a gigabyte of memory, and some ten seconds.
_MAX_ANALYSED = 2**23


@trace_app.command("list")
def list_traces(json: JsonOption = False) -> None:
    """List the traces that ship: recorded ones, and generated ones of 4 GiB."""
    from archgym.traces import GENERATED, shipped_info, shipped_names

    rows: list[dict[str, Any]] = []
    for name in shipped_names():
        info = shipped_info(name)
        rows.append(
            {
                "name": name,
                "accesses": info.loads + info.stores + info.modifies,
                "footprint_mib": info.footprint_bytes / 2**20,
                "made": "recorded",
            }
        )
    for name, (doc, _make) in GENERATED.items():
        rows.append(
            {
                "name": name,
                "accesses": _GENERATED_ACCESSES,
                "footprint_mib": 4096.0,
                "made": f"generated: {doc}",
            }
        )
    if json:
        write_json(rows)
        return
    columns = ("name", "accesses", "footprint [MiB]", "made")
    cells = [
        [r["name"], f"{r['accesses']:,}", f"{r['footprint_mib']:,.1f}", r["made"]] for r in rows
    ]
    table(columns, cells, right=columns[1:3])


trace_app.command(context_settings={"allow_interspersed_args": False})(record)


@trace_app.command("filter")
def filter_trace(
    source: SourceArgument,
    l1: Annotated[
        str, typer.Option("--l1", help="First-level data cache.", metavar="SIZE:WAYS")
    ] = "32K:8",
    llc: Annotated[
        str, typer.Option("--llc", help="Last-level cache.", metavar="SIZE:WAYS")
    ] = "2M:16",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The file, .stl or .stl.gz; by default NAME.stl.gz.", metavar="FILE"
        ),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="A DRAM device, whose capacity bounds the pages.")
    ] = "ddr3-1600",
    ipc: Annotated[
        float, typer.Option("--ipc", help="Instructions a cycle, as if no access waited.")
    ] = 0.5,
    clock_mhz: Annotated[
        int, typer.Option("--clock-mhz", help="The processor's clock.", min=1, max=100_000)
    ] = 2000,
    seed: Annotated[
        int, typer.Option("--seed", help="Of the physical pages.", min=0, max=2**63 - 1)
    ] = 0,
    skip: Annotated[
        int, typer.Option("--skip", help="Requests to leave out while the caches fill.", min=0)
    ] = 0,
    max_requests: Annotated[
        int, typer.Option("--max-requests", help="The most to write.", min=1, max=4_000_000)
    ] = 1_000_000,
) -> None:
    """Turn a memory trace into requests to DRAM: misses and write-backs of two caches.

    Pages get physical frames by chance, as the seed says. The DRAM simulator takes the file as a
    workload.
    """
    from archgym.checks import check_number
    from archgym.simulators.dram.devices import device as device_named
    from archgym.simulators.dram.recorded import IPC_LIMITS, request_trace
    from archgym.simulators.dram.trace import write_trace
    from archgym.traces.caches import CacheSize
    from archgym.traces.filtering import memory_requests

    check_number("--ipc", ipc, *IPC_LIMITS)
    announce_compilation()
    name = _name(source)
    path = out if out is not None else Path(f"{name}.stl.gz")
    if not path.name.removesuffix(".gz").endswith(".stl"):
        raise InvalidArgumentError(f"`--out` must end in .stl or .stl.gz; got {path.name!r}.")
    requests = memory_requests(
        _parts(source),
        first=CacheSize.parse("--l1", l1),
        last=CacheSize.parse("--llc", llc),
        capacity_bytes=device_named(device).capacity_bytes,
        seed=seed,
        skip=skip,
        max_requests=max_requests,
    )
    made = request_trace(requests, name, ipc=ipc, clock_mhz=clock_mhz)
    write_trace(made, path)
    writes = int(requests.is_write.sum())
    us = int(made.ticks[-1]) / clock_mhz
    say(
        f"{path}: {len(requests):,} requests of 64 bytes ({len(requests) - writes:,} reads, "
        f"{writes:,} write-backs) over {us:,.1f} µs"
    )
    say(
        f"of {requests.accesses:,} accesses to {requests.lines:,} lines; {requests.pages:,} pages "
        f"in {device}"
    )


@trace_app.command()
def convert(
    source: Annotated[
        str, typer.Argument(help="A trace, or the name of one that ships.", metavar="SOURCE")
    ],
    target: Annotated[Path, typer.Argument(help="A new file.", metavar="TARGET")],
    source_form: Annotated[
        str | None, typer.Option("--from", help="The source's form.", metavar="FORM")
    ] = None,
    target_form: Annotated[
        str | None, typer.Option("--to", help="The target's form.", metavar="FORM")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", help="Records after which it stops.", min=1)
    ] = None,
) -> None:
    """Convert a trace between forms, and say what is lost.

    Forms are memory (.npz), requests (.stl, .rstl), champsim (.champsim, .champsimtrace),
    loads-stores (.ldst) and bubbles (.bubbles); texts, requests and champsim also with .gz, and all
    but requests with .xz.
    """
    from archgym.simulators.dram.trace_forms import convert_trace, form_of

    announce_compilation()
    require_free(target)
    read_as = form_of("--from", source_form, source)
    write_as = form_of("--to", target_form, target.name)
    # A form other than a memory trace's says that a file is meant, even of such a name.
    parts = _parts(source) if _is_named(source) and read_as == "memory" else None
    written, lost = convert_trace(source, read_as, target, write_as, limit, parts)
    say(f"{target}: {written:,} records as {write_as}")
    for line in lost:
        say(f"  {line}")


@trace_app.command()
def info(
    source: Annotated[
        str,
        typer.Argument(
            help="A trace (.npz, .stl), or the name of one that ships.", metavar="TRACE"
        ),
    ],
    picture: Annotated[
        Path | None,
        typer.Option("--picture", help="Draw it to a .svg, .png or .pdf file.", metavar="FILE"),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="For requests: the DRAM device they go to.")
    ] = "ddr3-1600",
    json: JsonOption = False,
) -> None:
    """Say what a trace holds: counts, footprint, reuse of pages."""
    from archgym.report.plots import check_plot

    if picture is not None:
        check_plot("--picture", picture)
    announce_compilation()
    is_requests = Path(source.removesuffix(".gz")).suffix in (".stl", ".rstl")
    if is_requests and picture is not None:
        raise InvalidArgumentError("`--picture` must be of a memory trace (.npz); got requests.")
    rows = _request_rows(source, device) if is_requests else _memory_rows(source, picture)
    if json:
        write_json({name: value for name, (value, _unit) in rows.items()})
        return
    heading(_name(source))
    write_facts((name, value, of) for name, (value, of) in rows.items())
    if picture is not None:
        say(f"Drawn to {picture}.")


Rows = dict[str, tuple[Any, str]]


def _request_rows(source: str, device: str) -> Rows:
    from archgym.simulators.dram.characterise import characterise
    from archgym.simulators.dram.devices import device as device_named
    from archgym.simulators.dram.trace import read_trace

    return dict(characterise(read_trace(source), device_named(device)).rows())


def _memory_rows(source: str, picture: Path | None) -> Rows:
    from archgym.traces.analysis import analyse
    from archgym.traces.file import joined, read_trace_info
    from archgym.traces.picture import draw_analysis
    from archgym.traces.shipped import shipped_info, shipped_names

    rows: Rows = {}
    parts, n_held = [], 0
    for part in _parts(source):
        parts.append(part[: _MAX_ANALYSED - n_held])
        n_held += len(parts[-1])
        if n_held == _MAX_ANALYSED:
            break
    trace = joined(parts, None)
    about = None
    if not _is_named(source):
        about = read_trace_info(source)
    elif source in shipped_names():
        about = shipped_info(source)
    if about is not None:
        rows["command"] = (about.command, "")
        rows["date"] = (about.date, "")
        rows["skipped"] = (about.skipped, "accesses")
        rows["exit code"] = (about.exit_code, "")
        rows["loads"] = (about.loads, "")
        rows["stores"] = (about.stores, "")
        rows["read-modify-writes"] = (about.modifies, "")
        rows["code pages entered"] = (about.fetches, "")
        if not _is_named(source):
            size = Path(source).stat().st_size
            rows["bytes a record"] = (round(size / max(1, about.records), 3), "")
        if about.records > len(trace):
            rows["analysed"] = (len(trace), "records, the first")
    found = analyse(trace)
    rows["accesses"] = (found.accesses, "")
    rows["instructions"] = (found.instructions, "")
    rows["accesses a thousand instructions"] = (
        round(1000 * found.accesses / max(1, found.instructions), 1),
        "",
    )
    rows["data pages"] = (found.pages, "4 KiB")
    rows["footprint"] = (round(found.pages / 256, 2), "MiB")
    if not found.accesses:
        if picture is not None:
            raise InvalidArgumentError("`--picture` must be of a trace with accesses; got none.")
        return rows
    for entries in (64, 1024, 16384):
        missing = round(100 * found.missing(entries), 2)
        rows[f"misses of {entries:,} pages (LRU)"] = (missing, "%")
    rows["accesses to the hottest 10 % of pages"] = (
        round(100 * found.share_of_hottest(0.1), 2),
        "%",
    )
    if picture is not None:
        draw_analysis(found, _name(source), picture)
    return rows


def _is_named(source: str) -> bool:
    """Return True if the source is the name of a trace that ships, not a file."""
    from archgym.traces import GENERATED, shipped_names

    return source in shipped_names() or source in GENERATED


def _parts(source: str) -> Iterator["MemoryTrace"]:
    """Yield the trace of a name or in a file, piece after piece."""
    from archgym.errors import unknown_name
    from archgym.traces import (
        GENERATED,
        generated_trace,
        iterate_memory_trace,
        shipped_names,
        shipped_trace,
    )

    if source in shipped_names():
        yield shipped_trace(source)
    elif source in GENERATED:
        yield generated_trace(source, _GENERATED_ACCESSES)
    elif source.endswith(".npz") or Path(source).exists():
        yield from iterate_memory_trace(source)
    else:
        raise unknown_name("trace", source, [*shipped_names(), *GENERATED])


def _name(source: str) -> str:
    name = Path(source).name
    for ending in (".gz", ".npz", ".stl", ".rstl"):
        name = name.removesuffix(ending)
    return name or "trace"
