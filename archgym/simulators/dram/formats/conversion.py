"""Forms of traces, and how one becomes another."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from archgym.errors import InvalidArgumentError, unknown_name

if TYPE_CHECKING:
    from archgym.traces import MemoryTrace

FORMS = {
    "memory": (".npz",),
    "requests": (".stl", ".rstl"),
    "champsim": (".champsim", ".champsimtrace"),
    "loads-stores": (".ldst",),
    "bubbles": (".bubbles",),
}
"""Each form's endings; .gz and .xz may follow."""

# chosen: as many as are read of any memory trace; half a gigabyte as columns.
_MAX_RECORDS = 2**25
_MAX_REQUESTS = 4_000_000
_LOST = {
    "requests": (
        "Lost: code, and instructions but for the times, which are those at one a tick; a "
        "read-modify-write is two requests.",
        "Addresses stay virtual and no cache is in between: see `archgym trace filter` for both.",
    ),
    "champsim": (
        "Lost: sizes. Made up: instruction pointers within the pages of code, registers, branches.",
    ),
    "loads-stores": (
        "Lost: sizes, code, instructions between accesses; a read-modify-write is two lines.",
    ),
    "bubbles": ("Lost: sizes, code. A store alone is a load of its line that is written.",),
}
_ABSENT = {
    "requests": "The source has no instructions: a tick is said to be one.",
    "champsim": "The source has no sizes: all are said to be 8 bytes.",
    "loads-stores": "The source has no sizes or instructions: 64 bytes, and one an access.",
    "bubbles": "The source has no sizes: all are said to be 64 bytes.",
}


def form_of(option: str, named: str | None, file: str) -> str:
    """Return the form that is named, or that a file's ending says.

    Raises:
      UnknownNameError: There is no form of this name.
      InvalidArgumentError: None is named, and the ending says nothing.
    """
    if named is not None:
        if named not in FORMS:
            raise unknown_name("form", named, FORMS)
        return named
    bare = file.removesuffix(".gz").removesuffix(".xz")
    for form, endings in FORMS.items():
        if bare.endswith(endings):
            return form
    if option == "--from" and not Path(file).suffix:
        # The name of a trace that ships.
        return "memory"
    raise InvalidArgumentError(
        f"`{option}` must say the form of {file!r}, whose ending does not: one of "
        f"{', '.join(FORMS)}."
    )


def convert_trace(
    source: str,
    source_form: str,
    target: Path,
    target_form: str,
    limit: int | None,
    parts: Iterator["MemoryTrace"] | None = None,
) -> tuple[int, list[str]]:
    """Write a trace in another form.

    Args:
      source: The file.
      source_form: Its form.
      target: The file to write.
      target_form: Its form.
      limit: Most records, or None.
      parts: Parts to write in place of the source.

    Returns:
      Records that were written, and lines about what is lost and made up.

    Raises:
      FileFormatError: The source is of another form.
      InvalidArgumentError: It does not fit the target's form.
      StorageError: A file cannot be read or written.
    """
    from archgym.traces.champsim import write_champsim
    from archgym.traces.ramulator import write_bubbles, write_loads_and_stores
    from archgym.traces.streams import writer

    counted = _Counted(_read(source, source_form) if parts is None else parts, limit)
    if target_form == "memory":
        _write_memory(counted, target)
    elif target_form == "requests":
        _write_requests(counted, target)
    else:
        write = {
            "champsim": write_champsim,
            "loads-stores": write_loads_and_stores,
            "bubbles": write_bubbles,
        }[target_form]
        with writer(target) as handle:
            write(counted, handle)
    lost = [_ABSENT[source_form]] if source_form in _ABSENT else []
    return counted.n, [*lost, *_LOST.get(target_form, ())]


class _Counted:
    """Pieces of a trace up to a limit, at least one record, counted as they are read."""

    def __init__(self, parts: Iterator["MemoryTrace"], limit: int | None) -> None:
        self._parts = parts
        self._limit = limit
        self.n = 0

    def __iter__(self) -> Iterator["MemoryTrace"]:
        for part in self._parts:
            if self._limit is not None:
                part = part[: self._limit - self.n]
            self.n += len(part)
            if len(part):
                yield part
            if self._limit is not None and self.n >= self._limit:
                return
        if not self.n:
            # No reader takes what would be written.
            raise InvalidArgumentError("A trace must hold at least one record; this one has none.")


def _read(source: str, form: str) -> Iterator["MemoryTrace"]:
    from archgym.traces import iterate_memory_trace
    from archgym.traces.champsim import read_champsim
    from archgym.traces.ramulator import read_bubbles, read_loads_and_stores

    if form == "requests":
        return iter([_of_requests(source)])
    if form == "memory":
        return iterate_memory_trace(source)
    read = {
        "champsim": read_champsim,
        "loads-stores": read_loads_and_stores,
        "bubbles": read_bubbles,
    }[form]
    return read(source, _MAX_RECORDS)


def _of_requests(source: str) -> "MemoryTrace":
    import numpy as np

    from archgym.simulators.dram.formats.trace import read_trace
    from archgym.traces import AccessKind, MemoryTrace

    found = read_trace(source)
    too_far = np.flatnonzero(found.addresses >> 57)
    if len(too_far):
        raise InvalidArgumentError(
            f"Addresses of a memory trace must have at most 57 bits; request {too_far[0]} of "
            f"{source} has {int(found.addresses[too_far[0]]):#x}."
        )
    waits = np.diff(found.due_ticks, prepend=0)
    return MemoryTrace(
        instructions=np.minimum(waits, 2**32 - 1).astype(np.uint32),
        kind=np.where(found.is_write, AccessKind.STORE, AccessKind.LOAD).astype(np.uint8),
        size_bytes=np.where(found.lengths == 0, 64, np.minimum(found.lengths, 65535)).astype(
            np.uint16
        ),
        address=found.addresses.astype(np.uint64),
        name=found.name,
    )


def _write_memory(parts: _Counted, target: Path) -> None:
    from archgym.traces.file import TraceInfo, trace_writer

    first = next(pieces := iter(parts))
    info = TraceInfo(
        name=first.name or target.name.removesuffix(".npz"),
        command=first.command,
        tool="archgym trace convert",
    )
    with trace_writer(target, info) as writer:
        for part in chain([first], pieces):
            writer.append(part)
        writer.finish()


def _write_requests(parts: _Counted, target: Path) -> None:
    import numpy as np

    from archgym.simulators.dram.formats.trace import Trace, write_trace
    from archgym.traces import AccessKind
    from archgym.traces.file import joined

    held = []
    for part in parts:
        held.append(part)
        if parts.n > _MAX_REQUESTS:
            raise InvalidArgumentError(
                f"A trace of requests must hold at most {_MAX_REQUESTS:,} here. Cut it with "
                "`--limit`."
            )
    trace = joined(held, None)
    when = np.cumsum(trace.instructions, dtype=np.int64)
    is_data = (trace.kind <= AccessKind.MODIFY) & (trace.kind != AccessKind.FETCH)
    chosen = np.flatnonzero(is_data)
    if not len(chosen):
        raise InvalidArgumentError("A trace of requests must hold at least one; this has none.")
    # A read-modify-write is a read, then a write.
    chosen = np.repeat(chosen, 1 + (trace.kind[chosen] == AccessKind.MODIFY))
    is_second = np.diff(chosen, prepend=-1) == 0
    write_trace(
        Trace(
            name=target.name,
            ticks=when[chosen] - when[chosen][:1],
            is_write=(trace.kind[chosen] == AccessKind.STORE) | is_second,
            addresses=trace.address[chosen].astype(np.int64),
            lengths=np.maximum(trace.size_bytes[chosen].astype(np.int64), 1),
        ),
        target,
    )
