"""Memory traces of programs: every access with its address, as simulators take them."""

from archgym.traces.memory_trace import AccessKind, MemoryTrace
from archgym.traces.reference import read_planes

__all__ = ["AccessKind", "MemoryTrace", "read_planes"]
