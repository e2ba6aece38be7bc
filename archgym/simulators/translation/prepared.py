"""Traces made ready for the kernel: what no design changes, worked out once."""

from dataclasses import dataclass
from typing import final

from archgym.simulators.translation.memory import Memory
from archgym.traces import MemoryTrace

__all__ = ["Prepared", "prepare"]


@final
@dataclass(frozen=True, eq=False)
class Prepared:
    """A trace as the kernel takes it, in one layout of memory."""

    n_bytes: int
    """Memory that it takes."""


def prepare(trace: MemoryTrace, memory: Memory) -> Prepared:
    """Lays the pages of a trace into memory and numbers what the kernel meets.

    Raises:
      InvalidArgumentError: The trace is empty, or its pages do not fit into the memory.
    """
    raise NotImplementedError
