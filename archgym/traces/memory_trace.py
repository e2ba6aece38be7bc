"""Memory accesses of a program, in program order."""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import final

import numpy as np

from archgym.errors import InvalidArgumentError

ADDRESS_BITS = 57
"""Virtual addresses have at most this many bits, as in five-level paging of x86-64."""


@final
class AccessKind(IntEnum):
    """Kind of a record of a trace; the values are those of the stored column."""

    LOAD = 0
    STORE = 1
    FETCH = 2
    """The first instruction fetched after execution came to another page of 4 KiB."""
    MODIFY = 3
    """A read and a write of the same bytes by one instruction: one access."""
    INVALIDATE = 4
    """The translation of the address's page is no longer valid."""
    FLUSH = 5
    """All translations of the program are no longer valid."""


COLUMNS = {
    "instructions": np.uint32,
    "kind": np.uint8,
    "size_bytes": np.uint16,
    "address": np.uint64,
}
"""Types of the columns of a trace, in the order of its constructor."""


@final
@dataclass(frozen=True)
class MemoryTrace:
    """Records of a program's memory accesses: n of them, in program order.

    `instructions` is (n,) uint32, instructions that retired since the record before; `kind` (n,)
    uint8, values of `AccessKind`; `size_bytes` (n,) uint16; `address` (n,) uint64, virtual.
    """

    instructions: np.ndarray
    kind: np.ndarray
    size_bytes: np.ndarray
    address: np.ndarray
    name: str = ""
    command: str = ""
    """The program that was recorded, where it is known."""

    def __post_init__(self) -> None:
        n = len(self.address)
        for name, wanted in COLUMNS.items():
            column = getattr(self, name)
            if column.dtype != wanted or column.shape != (n,):
                raise InvalidArgumentError(
                    f"`{name}` must have shape {(n,)} and type {np.dtype(wanted)}; got "
                    f"{column.shape}, {column.dtype}."
                )
        if n and int(self.kind.max()) > max(AccessKind):
            raise InvalidArgumentError(
                f"`kind` must be a value of AccessKind, at most {int(max(AccessKind))}; got "
                f"{int(self.kind.max())}."
            )
        if n and int(self.address.max()) >> ADDRESS_BITS:
            raise InvalidArgumentError(
                f"`address` must have at most {ADDRESS_BITS} bits; got "
                f"{int(self.address.max()):#x}."
            )

    def __len__(self) -> int:
        return len(self.address)

    def __getitem__(self, part: slice) -> "MemoryTrace":
        """Return the records of a slice, under the same name; they share this trace's memory."""
        columns = {name: getattr(self, name)[part] for name in COLUMNS}
        return replace(self, **columns)

    @property
    def n_instructions(self) -> int:
        """Instructions that retired up to the last record."""
        return int(self.instructions.sum(dtype=np.int64))
