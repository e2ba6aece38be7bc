"""Memory traces of programs: every access with its address, as simulators take them."""

from archgym.traces.memory_trace import AccessKind, MemoryTrace

__all__ = ["AccessKind", "MemoryTrace"]
