"""Derived instructions: records of traces in the form that the kernel reads, made once."""

from typing import Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit.kernels import entry_point, helper

Ints = npt.NDArray[np.int64]

# A derived trace record: address, second word, up to two writes, up to four reads.
T_IP, T_WORD, T_WRITES, T_READS = 0, 1, 2, 4
T_SIZE: Final = 8
# Its second word; bits 16-31 destinations, 32-63 sources.
TAKEN_BIT: Final = 3
N_DESTINATIONS_BIT: Final = 4
N_SOURCES_BIT: Final = 6
N_READS_BIT: Final = 9
N_WRITES_BIT: Final = 12
NEAR_BRANCH_BIT: Final = 14
_STACK_POINTER, _FLAGS, _INSTRUCTION_POINTER = 6, 25, 26


@helper
def _kind_of(word: int) -> int:
    """Return the kind of branch of a record by the registers in its second word."""
    writes_ip = writes_sp = reads_sp = reads_flags = reads_ip = other = False
    for k in range(2, 4):
        register = (word >> (8 * k)) & 255
        writes_ip |= register == _INSTRUCTION_POINTER
        writes_sp |= register == _STACK_POINTER
    for k in range(4, 8):
        register = (word >> (8 * k)) & 255
        reads_sp |= register == _STACK_POINTER
        reads_flags |= register == _FLAGS
        reads_ip |= register == _INSTRUCTION_POINTER
        other |= register not in (0, _STACK_POINTER, _FLAGS, _INSTRUCTION_POINTER)
    if not writes_ip:
        return 7
    if not reads_sp and not reads_flags and not other:
        return 0
    if other and not reads_sp and not reads_ip and not reads_flags:
        return 1
    if not writes_sp and reads_ip and not reads_sp and (reads_flags or other):
        return 2
    if reads_sp and reads_ip and writes_sp and not reads_flags:
        return 4 if other else 3
    if reads_sp and not reads_ip and writes_sp:
        return 5
    return 6


@helper
def _pack(word: int, kind: int, n_reads: int, n_writes: int) -> int:
    """Return the derived second word: counts in the low bits, registers without gaps."""
    has_other = False
    n_sources = 0
    registers = 0
    for k in range(4, 8):
        register = (word >> (8 * k)) & 255
        if register != 0:
            registers |= register << (32 + 8 * n_sources)
            n_sources += 1
            has_other |= register not in (
                _STACK_POINTER,
                _FLAGS,
                _INSTRUCTION_POINTER,
            )
    folds = kind != 7 or n_reads + n_writes > 0 or not has_other
    n_destinations = 0
    for k in range(2, 4):
        register = (word >> (8 * k)) & 255
        if register != 0 and not (folds and register == _STACK_POINTER):
            registers |= register << (16 + 8 * n_destinations)
            n_destinations += 1
    taken = (word >> 8) & 255 != 0
    if kind == 7:
        taken = False
    elif kind != 2 and kind != 6:
        taken = True
    return (
        registers
        | kind
        | ((1 if taken else 0) << TAKEN_BIT)
        | (n_destinations << N_DESTINATIONS_BIT)
        | (n_sources << N_SOURCES_BIT)
        | (n_reads << N_READS_BIT)
        | (n_writes << N_WRITES_BIT)
    )


@entry_point(seconds=1.0)
def count_pages(records: Ints, seen: Ints, n: int) -> int:
    """Return the number of pages that raw records touch, or -1 if `seen` is too small.

    Args:
      records: (n + 1, 8), raw.
      seen: (2 ** k,) zeros: a hash table of pages.
      n: Number of records.
    """
    mask = len(seen) - 1
    count = 0
    last = 0
    for i in range(n):
        for k in range(8):
            if k == 1:
                continue
            page = (records[i, k] >> 12) + 1
            if page == last or page == 1:
                continue
            if k == 0:
                last = page
            at = (page ^ (page >> 9) ^ (page >> 18)) & mask
            while seen[at] != 0 and seen[at] != page:
                at = (at + 1) & mask
            if seen[at] == 0:
                seen[at] = page
                count += 1
                if 2 * count > mask:
                    return -1
    return count


@entry_point(seconds=3.0)
def derive(records: Ints, near: npt.NDArray[np.uint8], n: int) -> None:
    """Turn the raw records of a trace into derived instructions, in place.

    Args:
      records: (n + 1, 8), one 64-byte record per row; the last row is a pad.
      near: (2 ** k,) zeros: a filter of the addresses of branches.
      n: Number of records.
    """
    mask = len(near) - 1
    for i in range(n):
        word = records[i, 1]
        n_writes = 0
        for k in range(2, 4):
            address = records[i, k]
            if address != 0:
                records[i, k] = 0
                records[i, 2 + n_writes] = address
                n_writes += 1
        n_reads = 0
        for k in range(4, 8):
            address = records[i, k]
            if address != 0:
                records[i, k] = 0
                records[i, 4 + n_reads] = address
                n_reads += 1
        kind = _kind_of(word)
        records[i, 1] = _pack(word, kind, n_reads, n_writes)
        if kind != 7:
            near[(records[i, 0] >> 2) & mask] = 1
    for i in range(n):
        if near[(records[i, 0] >> 2) & mask]:
            records[i, 1] |= 1 << NEAR_BRANCH_BIT
