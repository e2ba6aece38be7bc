"""Commands `archgym trace filter | requests`: traces of requests to DRAM."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from archgym.cli.kit import (
    MAX_SEED,
    InvalidArgumentError,
    JsonOption,
    announce_compilation,
    heading,
    require_free,
    say,
    warn,
    whole,
    write_facts,
    write_json,
)

if TYPE_CHECKING:
    from archgym.simulators.dram.simulator import DramSimulator
    from archgym.traces.filtering import Requests

commands = typer.Typer()
# chosen: a thousand times the smallest device of the second controller.
_MAX_CAPACITY: Final = 2**40
trace_app = typer.Typer(name="trace")
commands.add_typer(trace_app)

DeviceOption = Annotated[
    str,
    typer.Option("--device", help="DRAM device, or a file; see `archgym list devices`."),
]
SourceArgument = Annotated[
    str,
    typer.Argument(
        help="Memory trace (.npz), instruction trace (.champsimtrace.xz), or the name of a shipped "
        "memory trace: see `archgym trace list`.",
        metavar="TRACE",
    ),
]


@trace_app.command("filter")
def filter_trace(
    source: SourceArgument,
    l1: Annotated[
        str, typer.Option("--l1", help="Size of the first-level data cache.", metavar="SIZE:WAYS")
    ] = "32K:8",
    llc: Annotated[
        str, typer.Option("--llc", help="Size of the last-level cache.", metavar="SIZE:WAYS")
    ] = "2M:16",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="File to create, .stl or .stl.gz (default: NAME.stl.gz).",
            metavar="FILE",
        ),
    ] = None,
    device: DeviceOption = "ddr3-1600",
    capacity: Annotated[
        str,
        typer.Option(
            "--capacity",
            help="Size of the memory for the pages, such as 16GiB (default: that of the device's "
            "default design).",
            metavar="SIZE",
        ),
    ] = "",
    ipc: Annotated[
        float, typer.Option("--ipc", help="Instructions per cycle without memory stalls.")
    ] = 0.5,
    clock_mhz: Annotated[
        int,
        typer.Option(
            "--clock-mhz", help="Clock frequency of the processor in MHz.", min=1, max=100_000
        ),
    ] = 2000,
    seed: Annotated[
        int, typer.Option("--seed", help="Random seed of the physical pages.", min=0, max=MAX_SEED)
    ] = 0,
    skip: Annotated[
        int, typer.Option("--skip", help="Number of requests to skip while the caches fill.", min=0)
    ] = 0,
    max_requests: Annotated[
        int,
        typer.Option(
            "--max-requests", help="Maximum number of requests to write.", min=1, max=4_000_000
        ),
    ] = 1_000_000,
    windows: Annotated[
        int,
        typer.Option(
            "--windows",
            help="Number of equal windows, evenly spread over the trace, that share the maximum "
            "(default: one, at the beginning).",
            min=1,
            max=10_000,
        ),
    ] = 1,
    instructions: Annotated[
        int,
        typer.Option(
            "--instructions",
            help="Number of instructions to take of an instruction trace, or of a program of the "
            "CPU simulator, whose name TRACE then is (default: all of a file).",
            min=0,
            max=20_000_000,
        ),
    ] = 0,
    region: Annotated[
        str,
        typer.Option(
            "--region",
            help="Instructions of interest; earlier accesses only fill the caches.",
            metavar="FIRST:LAST",
        ),
    ] = "",
) -> None:
    """Filter a program's accesses through two caches into requests to DRAM.

    Pages get random physical frames in the capacity of the device. The DRAM simulator accepts the
    file as a workload. Of an instruction trace, requests whose address depends on an earlier one
    wait for its answer.
    """
    from archgym.cli.kit import check_number
    from archgym.simulators.dram.workloads.shipped import IPC_LIMITS, request_trace
    from archgym.simulators.dram.workloads.trace import write_trace
    from archgym.traces.caches import CacheSize
    from archgym.traces.filtering import memory_requests
    from archgym.traces.sources import program_or_parts, trace_stem

    check_number("--ipc", ipc, *IPC_LIMITS)
    announce_compilation()
    name = trace_stem(source)
    path = out if out is not None else Path(f"{name}.stl.gz")
    if not path.name.removesuffix(".gz").endswith(".stl"):
        raise InvalidArgumentError(f"`--out` must end in .stl or .stl.gz; got {path.name!r}.")
    require_free(path)
    interest = _region(region)
    capacity_bytes = _capacity_bytes(capacity) if capacity else _simulator(device).capacity_bytes
    requests = memory_requests(
        lambda: program_or_parts(source, instructions),
        first=CacheSize.parse("--l1", l1),
        last=CacheSize.parse("--llc", llc),
        capacity_bytes=capacity_bytes,
        seed=seed,
        skip=skip,
        max_requests=max_requests,
        windows=windows,
        region=interest,
    )
    made = request_trace(requests, name, ipc=ipc, clock_mhz=clock_mhz, placed_bytes=capacity_bytes)
    write_trace(made, path)
    writes = int(requests.is_write.sum())
    us = int(made.ticks[-1]) / clock_mhz
    say(
        f"{path}: {len(requests):,} requests of 64 bytes ({len(requests) - writes:,} reads, "
        f"{writes:,} write-backs) over {us:,.1f} µs"
    )
    say(
        f"of {requests.accesses:,} accesses to {requests.lines:,} lines; {requests.pages:,} pages "
        f"in {capacity_bytes / 2**30:.4g} GiB" + ("" if capacity else f" of {device}")
    )
    waiting = int((requests.waits_for >= 0).sum())
    say(
        f"{waiting:,} requests wait for an earlier answer; minimise `total_time_ns` to make the "
        "program fast"
        if waiting
        else "The requests have fixed times: the program does not wait for its memory. For one "
        "that does, such as a walk along a list, filter a trace of its instructions: `archgym "
        "trace record --instructions`"
    )
    _say_left_out(requests, windows)


def _simulator(device: str) -> "DramSimulator":
    """Return the simulator of a device."""
    from archgym.simulators.dram import DramSimulator

    made: Any = DramSimulator
    return cast("DramSimulator", made(device=device))


def _device_for(source: Path) -> str:
    """Return the first of some devices whose default design holds what a trace was placed in."""
    from archgym.simulators.dram.workloads.shipped import load_trace

    placed = load_trace(source).placed_bytes
    return next((d for d in _BY_SIZE[:-1] if _simulator(d).capacity_bytes >= placed), _BY_SIZE[-1])


# From the default of other commands, 1 GiB, to a family with designs of 1 TiB.
_BY_SIZE: Final = ("ddr3-1600", "ddr4", "ddr5")
_SIZE = re.compile(r"(\d{1,6}) ?([KMG])(?:iB|B)?", re.IGNORECASE)


def _capacity_bytes(text: str) -> int:
    found = _SIZE.fullmatch(text.strip())
    n_bytes = int(found[1]) << {"K": 10, "M": 20, "G": 30}[found[2].upper()] if found else 0
    if not 0 < n_bytes <= _MAX_CAPACITY:
        raise InvalidArgumentError(
            f"`--capacity` must be a size such as 512MiB or 16GiB, at most 1024GiB; got {text!r}."
        )
    return n_bytes


def _region(text: str) -> tuple[int, int | None]:
    """Return the first instruction of a region and the one after its last."""
    if not text:
        return 0, None
    first, _, last = text.partition(":")
    ends = [end if isinstance(end, int) else -1 for end in (whole(first or "0"), whole(last))]
    if not last and ":" in text:
        ends[1] = 2**63 - 1
    if ends[0] < 0 or ends[1] <= ends[0] or ends[1] > 2**63 - 1:
        raise InvalidArgumentError(
            f"`--region` must be two numbers of instructions such as 1000000:5000000, the second "
            f"one larger; got {text!r}."
        )
    return ends[0], ends[1]


def _say_left_out(requests: "Requests", windows: int) -> None:
    """Say how many requests were left out, and warn if they are of another kind."""
    left = requests.left_out
    if not left.n:
        return
    total = len(requests) + left.n
    least = "" if requests.is_counted else "at least "
    where = "after these" if windows == 1 else "between the windows"
    say(
        f"left out: {least}{left.n:,} of {total:,} requests ({100 * left.n / total:.1f} %), "
        f"{where}. Options: a larger --max-requests, --windows 20, or --region FIRST:LAST"
    )
    if requests.n_lost_waits and windows > 1:
        warn(
            f"{requests.n_lost_waits:,} of the requests kept would wait for one that was left out, "
            "and have fixed times instead. Take a --region in one piece."
        )
    differing = requests.kept.differences(left)
    if differing:
        advice = "Spread them with --windows." if windows == 1 else "Take more of them."
        warn(
            f"the requests that were left out differ from those kept: {'; '.join(differing)}. "
            f"{advice}"
        )


@trace_app.command()
def requests(
    source: Annotated[
        Path, typer.Argument(help="Trace of requests (.stl, .rstl, also .gz).", metavar="TRACE")
    ],
    device: Annotated[
        str,
        typer.Option(
            "--device",
            help="DRAM device, or a file (default: one with the capacity that the trace states).",
        ),
    ] = "",
    json: JsonOption = False,
) -> None:
    """Show the contents of a trace of requests: counts, rates, row locality."""
    from archgym.simulators.kit import facts_about
    from archgym.traces.sources import trace_stem

    announce_compilation()
    simulator = _simulator(device or _device_for(source))
    facts = facts_about(simulator, simulator.workload(source))
    if json:
        write_json({name: value for name, (value, _unit) in facts.items()})
        return
    heading(trace_stem(str(source)))
    write_facts((name, value, unit) for name, (value, unit) in facts.items())
