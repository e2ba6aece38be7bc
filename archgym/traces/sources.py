"""Memory traces by name or file, and facts about them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.errors import unknown_name
from archgym.traces.analysis import Analysis, analyse
from archgym.traces.dataflow import ProgramPart, program_parts
from archgym.traces.file import TraceInfo, iterate_memory_trace, joined, read_trace_info
from archgym.traces.generators import GENERATED, generated_trace
from archgym.traces.instructions.generators import GENERATORS, generate
from archgym.traces.instructions.records import iterate_records, looks_like_trace
from archgym.traces.memory_trace import MemoryTrace
from archgym.traces.shipped import shipped_info, shipped_names, shipped_trace

# chosen: as long as the generated traces of the simulators' workloads.
_GENERATED_ACCESSES = 1_000_000
# chosen: half a gigabyte of memory, and some ten seconds.
_MAX_ANALYSED = 2**23
# chosen: instructions of a program at a time, as of a file.
_PIECE = 1 << 16
_REUSE_ENTRIES = (64, 1024, 16384)

Facts = dict[str, tuple[Any, str]]
"""Values with units, by name."""


@final
@dataclass(frozen=True)
class NamedTrace:
    """Shipped or generated trace that has a name."""

    name: str
    accesses: int
    footprint_mib: float
    made: str
    """Origin of the trace: recorded, or generated with a description."""


@final
@dataclass(frozen=True)
class TraceSummary:
    """Facts about a memory trace, with its page statistics."""

    facts: Facts
    analysis: Analysis | None
    """Page statistics; None for a trace without accesses."""


def named_traces() -> tuple[NamedTrace, ...]:
    """Return the traces that have a name: recorded ones, then generated ones."""
    recorded = (
        NamedTrace(
            name,
            info.loads + info.stores + info.modifies,
            info.footprint_bytes / 2**20,
            "recorded",
        )
        for name, info in ((name, shipped_info(name)) for name in shipped_names())
    )
    generated = (
        NamedTrace(name, _GENERATED_ACCESSES, 4096.0, f"generated: {doc}")
        for name, (doc, _make) in GENERATED.items()
    )
    return (*recorded, *generated)


def is_named(source: str) -> bool:
    """Return True if the source is the name of a trace, not a file."""
    return source in shipped_names() or source in GENERATED


def trace_stem(source: str) -> str:
    """Return the name of a trace: that of its file without extensions."""
    name = Path(source).name
    for ending in (".xz", ".gz", ".champsimtrace", ".trace", ".npz", ".stl", ".rstl"):
        name = name.removesuffix(ending)
    return name or "trace"


def program_or_parts(source: str, instructions: int = 0) -> Iterator[MemoryTrace | ProgramPart]:
    """Yield a program part by part, or a memory trace as `trace_parts`.

    Args:
      source: File of an instruction trace, name of a generated program, or as of `trace_parts`.
      instructions: Instructions to take, for the name of a program at least 1; 0 for all of a file.

    Raises:
      UnknownNameError: The source is neither a name nor a file.
      FileFormatError: The file is not such a trace, or it is damaged.
    """
    if looks_like_trace(source):
        yield from program_parts(iterate_records(source, instructions or None))
    elif instructions:
        if source not in GENERATORS:
            raise unknown_name("program", source, GENERATORS)
        records = generate(source, instructions)
        yield from program_parts(np.array_split(records, -(-instructions // _PIECE)))
    else:
        yield from trace_parts(source)


def trace_parts(source: str) -> Iterator[MemoryTrace]:
    """Yield the trace of a name or in a file, part by part.

    Raises:
      UnknownNameError: The source is neither a name nor a file.
      FileFormatError: The file is not a memory trace, or it is damaged.
    """
    if source in shipped_names():
        yield shipped_trace(source)
    elif source in GENERATED:
        yield generated_trace(source, _GENERATED_ACCESSES)
    elif source.endswith(".npz") or Path(source).exists():
        yield from iterate_memory_trace(source)
    else:
        raise unknown_name("trace", source, [*shipped_names(), *GENERATED])


def summarise_trace(source: str) -> TraceSummary:
    """Summarise a memory trace: counts, footprint, reuse of pages.

    Args:
      source: Name or file; only the first 8 million records of a long trace are analysed.
    """
    parts, n_held = [], 0
    for part in trace_parts(source):
        parts.append(part[: _MAX_ANALYSED - n_held])
        n_held += len(parts[-1])
        if n_held == _MAX_ANALYSED:
            break
    trace = joined(parts, None)
    about = None
    if not is_named(source):
        about = read_trace_info(source)
    elif source in shipped_names():
        about = shipped_info(source)
    facts: Facts = {}
    if about is not None:
        facts |= _recording_facts(about, None if is_named(source) else Path(source), len(trace))
    found = analyse(trace)
    facts["accesses"] = (found.accesses, "")
    facts["instructions"] = (found.instructions, "")
    facts["accesses per thousand instructions"] = (
        round(1000 * found.accesses / max(1, found.instructions), 1),
        "",
    )
    facts["data pages"] = (found.pages, "4 KiB")
    facts["footprint"] = (round(found.pages / 256, 2), "MiB")
    if not found.accesses:
        return TraceSummary(facts, None)
    for entries in _REUSE_ENTRIES:
        missing = round(100 * found.missing(entries), 2)
        facts[f"misses of {entries:,} pages (LRU)"] = (missing, "%")
    hottest = round(100 * found.share_of_hottest(0.1), 2)
    facts["accesses to the hottest 10 % of pages"] = (hottest, "%")
    return TraceSummary(facts, found)


def _recording_facts(about: TraceInfo, file: Path | None, n_analysed: int) -> Facts:
    facts: Facts = {
        "command": (about.command, ""),
        "date": (about.date, ""),
        "skipped": (about.skipped, "accesses"),
        "exit code": (about.exit_code, ""),
        "loads": (about.loads, ""),
        "stores": (about.stores, ""),
        "read-modify-writes": (about.modifies, ""),
        "code pages entered": (about.fetches, ""),
    }
    if file is not None:
        size = file.stat().st_size
        facts["bytes per record"] = (round(size / max(1, about.records), 3), "")
    if about.records > n_analysed:
        facts["analysed"] = (n_analysed, "records, the first")
    return facts
