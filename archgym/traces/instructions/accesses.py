"""Memory accesses of an instruction trace, for simulators of memory."""

from typing import Any

import numpy as np
import numpy.typing as npt

from archgym.traces.memory_trace import COLUMNS, AccessKind, MemoryTrace

# ChampSim's records have no sizes.
_SIZE_BYTES = 8


def memory_trace_of(
    records: npt.NDArray[np.void], name: str = "", *, code_bytes: int = 4096
) -> MemoryTrace:
    """Return the accesses of instructions: fetches, then reads, then writes of each.

    Args:
      records: (n,) of `RECORD`.
      name: Name of the trace.
      code_bytes: A fetch is recorded when execution comes to another block of so many bytes, a
        power of two: 4096 for pages, 64 for lines.
    """
    n = len(records)
    bits = np.uint64(code_bytes.bit_length() - 1)
    block = records["ip"] >> bits
    is_new = np.ones(n, dtype=bool)
    is_new[1:] = block[1:] != block[:-1]
    # (n, 7): the fetch, four reads and two writes of each instruction.
    address = np.concatenate(
        [records["ip"][:, None], records["reads"], records["writes"]], axis=1
    ).astype(np.uint64)
    present = address != 0
    present[:, 0] = is_new
    kind = np.array([AccessKind.FETCH, *[AccessKind.LOAD] * 4, *[AccessKind.STORE] * 2], np.uint8)
    owner, column = np.nonzero(present)
    retired = np.diff(owner + 1, prepend=0)
    columns: dict[str, Any] = {
        "instructions": retired,
        "kind": kind[column],
        "size_bytes": np.full(len(owner), _SIZE_BYTES),
        "address": address[owner, column],
    }
    return MemoryTrace(**{c: columns[c].astype(t) for c, t in COLUMNS.items()}, name=name)
