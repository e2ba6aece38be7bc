"""Workloads: generated programs or a user's ChampSim trace, in the form that the kernel takes."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit import FileFormatError, unknown_name
from archgym.traces.instructions.generators import GENERATORS, generate
from archgym.traces.instructions.records import MIN_RECORDS, looks_like_trace, read_records

Ints = npt.NDArray[np.int64]
DEFAULT_WORKLOAD: Final = "b-tree"
# chosen: one record of each loop of the programs, in a few milliseconds.
_SAMPLE: Final = 20_000
# Bits of an address below the entry of the filter of branches; it has 2^20 entries.
_FILTER: Final = 1 << 20


@final
@dataclass(frozen=True)
class InstructionTrace:
    """A trace that is ready to run.

    Attributes:
      name: Name for people.
      digest: SHA-256 of the records.
      records: (n + 1, 8) int64, derived instructions and a pad.
      n: Instructions.
      n_pages: Upper bound of the pages that instructions and data touch.
    """

    name: str
    digest: str
    records: Ints
    n: int
    n_pages: int


def trace_of(name: str, records: npt.NDArray[np.void]) -> InstructionTrace:
    """Return a trace of records of `RECORD`, (n,)."""
    from archgym.simulators.cpu.workloads.derivation import count_pages, derive

    n = len(records)
    derived = np.zeros((n + 1, 8), dtype=np.int64)
    derived[:n] = records.view("<i8").reshape(n, 8)
    digest = hashlib.sha256(derived[:n].data).hexdigest()
    size = 1 << 16
    while (n_pages := int(count_pages(derived, np.zeros(size, dtype=np.int64), n))) < 0:
        size *= 4
    derive(derived, np.zeros(_FILTER, dtype=np.uint8), n)
    return InstructionTrace(name, digest, derived, n, n_pages)


def read_trace(path: str | Path, limit: int | None = None) -> InstructionTrace:
    """Return the trace in a file.

    Args:
      path: The file.
      limit: Records to read; None for all.

    Raises:
      FileFormatError: The file is torn, or a record cannot be one; the message names it.
      StorageError: The file cannot be read.
    """
    return trace_of(Path(path).name, read_records(path, limit))


def kinds_of(trace: InstructionTrace) -> Ints:
    """Return the kind of branch of every instruction, (n,); 7 is not a branch."""
    return trace.records[: trace.n, 1] & 7


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
