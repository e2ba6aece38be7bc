"""Memory traces of programs: every access with its address, as simulators take them."""

from archgym.traces.file import (
    TraceInfo,
    iterate_memory_trace,
    read_memory_trace,
    read_trace_info,
    write_memory_trace,
)
from archgym.traces.generators import GENERATED, generated_trace
from archgym.traces.markers import begin, end
from archgym.traces.memory_trace import AccessKind, MemoryTrace
from archgym.traces.shipped import shipped_info, shipped_names, shipped_trace

__all__ = [
    "GENERATED",
    "AccessKind",
    "MemoryTrace",
    "TraceInfo",
    "begin",
    "end",
    "generated_trace",
    "iterate_memory_trace",
    "read_memory_trace",
    "read_trace_info",
    "shipped_info",
    "shipped_names",
    "shipped_trace",
    "write_memory_trace",
]
