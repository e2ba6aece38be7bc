"""Recorded traces that ship: windows of programs whose sources stand in `examples/recorded`.

| name | accesses | data pages of 4 KiB | what the program does |
|---|---|---|---|
| graph-search | 200,000 | 6,145 | breadth-first over 262,144 vertices of 64 bytes |
| hash-join | 200,000 | 4,662 | orders joined with 524,288 customers in a hash table |
| kmer-count | 220,000 | 15,805 | words of 21 bases counted in a hash table of 64 MB |
| moe-gather | 400,000 | 3,233 | experts' weights and key-value blocks by a page table |
| random-access | 200,000 | 28,532 | read-modify-writes anywhere in 128 MB |
| sort | 250,000 | 2,463 | a pass of a radix sort into 2,048 streams |

All were recorded on x86-64 with valgrind 3.24 and GCC 12 at -O2; what comes before the window, such
as filling the tables, was skipped. A test compares the table with the files.
"""

from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from archgym.errors import unknown_name
from archgym.traces.file import TraceInfo, read_memory_trace, read_trace_info
from archgym.traces.memory_trace import MemoryTrace

_NAMES = ("graph-search", "hash-join", "kmer-count", "moe-gather", "random-access", "sort")


def shipped_names() -> tuple[str, ...]:
    """Return the names of the shipped recorded traces, sorted."""
    return _NAMES


@cache
def shipped_trace(name: str) -> MemoryTrace:
    """Return the recorded trace of this name, which callers share and must not change.

    Raises:
      UnknownNameError: The name is unknown.
    """
    with resources.as_file(_file(name)) as path:
        trace = read_memory_trace(path)
    for column in (trace.instructions, trace.kind, trace.size_bytes, trace.address):
        column.flags.writeable = False
    return trace


@cache
def shipped_info(name: str) -> TraceInfo:
    """Return the metadata of the recorded trace with this name.

    Raises:
      UnknownNameError: The name is unknown.
    """
    with resources.as_file(_file(name)) as path:
        return read_trace_info(path)


def _file(name: str) -> Traversable:
    if name not in _NAMES:
        raise unknown_name("trace", name, _NAMES)
    return resources.files("archgym.traces").joinpath(f"data/{name}.npz")
