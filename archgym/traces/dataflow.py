"""Requests of a program that wait for earlier answers, from the registers of its instructions.

An address that was read from memory, such as the next node of a list, is known only when that read
is answered. The program's registers, and what it stores and reads again, are followed to find the
youngest such read. Branches, and a window of instructions that may run ahead, are not modelled.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, final

import numpy as np
import numpy.typing as npt

from archgym.runtime.kernels import entry_point
from archgym.traces.memory_trace import ADDRESS_BITS, COLUMNS, AccessKind, MemoryTrace

FARTHEST: Final = 4096
"""chosen: more requests than any controller holds, so that an answer further back is there."""

_STORE: Final = int(AccessKind.STORE)
_MODIFY: Final = int(AccessKind.MODIFY)
# Registers as instruction traces number them; addresses are made of those up to r15.
_SP: Final = 6
_R15: Final = 16
_FLAGS: Final = 25
_IP: Final = 26
# chosen: 512 KiB of words and 4 MiB of lines, far more than are in flight.
_TABLE: Final = 1 << 16


@final
@dataclass(frozen=True, eq=False)
class ProgramPart:
    """Instructions of a program, and the accesses that they make.

    Attributes:
      accesses: The accesses, each within one line; an instruction's reads come before its writes.
      sources, destinations: (n_instructions, 4) and (n_instructions, 2) uint8, 0 for empty.
      first_access: (n_instructions + 1,) int64, the first access of each instruction.
    """

    accesses: MemoryTrace
    sources: npt.NDArray[np.uint8]
    destinations: npt.NDArray[np.uint8]
    first_access: npt.NDArray[np.int64]


def program_parts(pieces: Iterable[npt.NDArray[np.void]]) -> Iterator[ProgramPart]:
    """Yield a program part by part.

    Args:
      pieces: Records of `archgym.traces.instructions.records`, piece by piece.
    """
    pending = 0
    for records in pieces:
        reads, writes = records["reads"], records["writes"]
        again = writes[:, :, None] == reads[:, None, :]
        kind = np.zeros((len(records), 6), np.uint8)
        kind[:, :4] = np.where((again & (reads != 0)[:, None, :]).any(axis=1), _MODIFY, 0)
        kind[:, 4:] = _STORE
        address = np.concatenate([reads, np.where(again.any(axis=2), 0, writes)], axis=1)
        owner, column = np.nonzero(address)
        retired = np.diff(owner, prepend=-1 - pending)
        pending = len(records) - 1 - int(owner[-1]) if len(owner) else pending + len(records)
        columns: dict[str, Any] = {
            "instructions": retired,
            "kind": kind[owner, column],
            "size_bytes": np.ones(len(owner)),
            # The upper bits of an address repeat the last of these.
            "address": address[owner, column] & np.uint64((1 << ADDRESS_BITS) - 1),
        }
        yield ProgramPart(
            MemoryTrace(**{name: columns[name].astype(t) for name, t in COLUMNS.items()}),
            np.ascontiguousarray(records["sources"]),
            np.ascontiguousarray(records["destinations"]),
            np.searchsorted(owner, np.arange(len(records) + 1)).astype(np.int64),
        )


class Known(NamedTuple):
    """Reads that registers, stored words and lines come from, with tags of the last two."""

    registers: Any
    words: Any
    lines: Any


def nothing_known() -> Known:
    """Return the start of a program, where nothing comes from memory."""
    words, lines = np.full((2, _TABLE, 2), -1, np.int64)
    return Known(np.full(256, -1, np.int64), words, lines)


def waits_of(
    part: ProgramPart, request: npt.NDArray[np.int64], known: Known
) -> npt.NDArray[np.int64]:
    """Return the read that the address of each access comes from, (n_accesses,); -1 for none.

    Args:
      part: The next part of the program.
      request: (n_accesses,), number of the request to memory that each access causes, rising; -1
        where a cache has its line.
      known: State after the part before; replaced.
    """
    waits = np.full(len(request), -1, np.int64)
    code = (part.sources, part.destinations, part.first_access)
    follow(code, part.accesses.kind, part.accesses.address, request, known, waits)
    return waits


@entry_point(seconds=3)
def follow(code: Any, kind: Any, address: Any, request: Any, known: Known, waits: Any) -> None:
    """Fill in `waits`, of the loads; other arguments are those of `waits_of`."""
    sources, destinations, first_access = code
    registers, words, lines = known
    for i in range(len(sources)):
        sets_flags = destinations[i, 0] == _FLAGS or destinations[i, 1] == _FLAGS
        base = result = np.int64(-1)
        for place in range(4):
            register = sources[i, place]
            if register in (0, _SP, _IP):
                continue
            origin = registers[register]
            result = max(result, origin)
            # An operand that the instruction adds to is not part of its address.
            adds = sets_flags and (destinations[i, 0] == register or destinations[i, 1] == register)
            if register <= _R15 and not adds:
                base = max(base, origin)
        for access in range(first_access[i], first_access[i + 1]):
            line = np.int64(address[access] >> np.uint64(6))
            at = line % _TABLE
            if request[access] >= 0:
                lines[at, 0] = line
                lines[at, 1] = request[access]
            if kind[access] == _STORE:
                continue
            if request[access] >= 0:
                waits[access] = base
            read = base
            if lines[at, 0] == line:
                read = max(read, lines[at, 1])
            word = np.int64(address[access] >> np.uint64(3))
            if words[word % _TABLE, 0] == word:
                read = max(read, words[word % _TABLE, 1])
            result = max(result, read)
        for access in range(first_access[i], first_access[i + 1]):
            if kind[access] == _STORE or kind[access] == _MODIFY:
                word = np.int64(address[access] >> np.uint64(3))
                words[word % _TABLE, 0] = word
                words[word % _TABLE, 1] = result
        for place in range(2):
            register = destinations[i, place]
            if register not in (0, _SP, _IP):
                registers[register] = result
