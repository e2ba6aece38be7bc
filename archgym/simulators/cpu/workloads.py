"""Workloads: generated programs, or a user's ChampSim trace."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Final, final

from archgym.errors import FileFormatError, unknown_name
from archgym.simulators.cpu.trace import InstructionTrace, read_trace, trace_of
from archgym.traces.instructions.generators import GENERATORS, generate
from archgym.traces.instructions.records import MIN_RECORDS, looks_like_trace

DEFAULT_WORKLOAD: Final = "b-tree"
# chosen: one record of each loop of the programs, in a few milliseconds.
_SAMPLE: Final = 20_000


@final
class Program:
    """Content of a workload: a program by name, or a recorded trace."""

    def __init__(self, name: str, trace: InstructionTrace | None = None) -> None:
        """Take the name of a generator, or a trace that is used as it is."""
        self.name = name
        self._trace = trace
        if trace is not None:
            self.digest = trace.digest
        else:
            sample = trace_of(name, generate(name, _SAMPLE))
            self.digest = hashlib.sha256(f"{name}:{sample.digest}".encode()).hexdigest()

    def __reduce__(self) -> tuple[type["Program"], tuple[str, InstructionTrace | None]]:
        return Program, (self.name, self._trace)

    @property
    def is_recorded(self) -> bool:
        """True if the trace has an end."""
        return self._trace is not None

    def instructions(self, n: int) -> InstructionTrace:
        """Return a trace of at least `n` instructions, or all that were recorded."""
        if self._trace is not None:
            return self._trace
        return _generated(self.name, n)


def names() -> tuple[str, ...]:
    """Return the names of the programs that ship."""
    return tuple(GENERATORS)


@lru_cache(maxsize=16)
def _program(name: str) -> Program:
    return Program(name)


# chosen: a trace of a million instructions takes 64 MB.
@lru_cache(maxsize=6)
def _generated(name: str, n: int) -> InstructionTrace:
    return trace_of(name, generate(name, n))


def load(name: str | Path) -> Program:
    """Return the program with this name, or the trace in the file at this path.

    Raises:
      UnknownNameError: Neither.
      FileFormatError: The file cannot be read, or has too few instructions.
    """
    text = str(name)
    if text in GENERATORS:
        return _program(text)
    if not (isinstance(name, Path) or looks_like_trace(text) or Path(text).exists()):
        raise unknown_name("workload", text, GENERATORS)
    trace = read_trace(text)
    if trace.n < MIN_RECORDS:
        raise FileFormatError(
            text, None, f"must have {MIN_RECORDS:,} instructions; it has {trace.n:,}"
        )
    return Program(trace.name.partition(".")[0], trace)
