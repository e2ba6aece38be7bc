"""Instruction traces in the form that the kernel takes."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.traces.instructions.records import read_records

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
    records: npt.NDArray[np.int64]
    n: int
    n_pages: int


def trace_of(name: str, records: npt.NDArray[np.void]) -> InstructionTrace:
    """Return a trace of records of `RECORD`, (n,)."""
    from archgym.simulators.cpu.kernel import count_pages, derive

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


def kinds_of(trace: InstructionTrace) -> npt.NDArray[np.int64]:
    """Return the kind of branch of every instruction, (n,); 7 is not a branch."""
    return trace.records[: trace.n, 1] & 7
