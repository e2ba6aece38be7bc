"""Decoding of addresses: channel, bank, row and column under each mapping."""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.dram.ramulator.machine import Organisation, Standard

MAPPINGS: Final = ("RoBaRaCoCh", "ChRaBaRoCo", "MOP4CLXOR")

_MOP_COLUMN_BITS: Final = 2  # Ramulator 2.1: minimalist open page, four cache lines


@final
@dataclass(frozen=True, eq=False)
class Places:
    """Places of requests, each (n_requests,) int64; columns count bursts."""

    channel: npt.NDArray[np.int64]
    bank: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    column: npt.NDArray[np.int64]


def decode(
    addresses: npt.NDArray[np.int64],
    made: Standard,
    organisation: Organisation,
    *,
    mapping: str,
    ranks: int,
    channels: int,
    interleave_bits: int,
) -> Places:
    """Return channel, bank, row and column of byte addresses.

    Args:
      addresses: (n_requests,) int64 [byte].
      made: The family.
      organisation: One of its organisations.
      mapping: One of `MAPPINGS`.
      ranks: Ranks of a channel.
      channels: Channels, a power of two.
      interleave_bits: Bits above the burst below which neighbours share a channel.
    """
    burst_bits = _bits(organisation.burst_bytes)
    channel_bits = _bits(channels)
    channel = (addresses >> (burst_bits + interleave_bits)) & (channels - 1)
    a = addresses >> burst_bits
    if channels > 1:
        low = a & ((1 << interleave_bits) - 1)
        a = ((a >> (interleave_bits + channel_bits)) << interleave_bits) | low
    sizes = {
        level: ranks if level == "Rank" else organisation.sizes[level] for level in made.levels
    }
    widths = {level: _bits(size) for level, size in sizes.items()}
    row_bits = _bits(organisation.sizes["Row"])
    column_bits = _bits(organisation.sizes["Column"]) - _bits(organisation.burst_beats)
    # Ramulator slices its levels from the outermost: rank or pseudo-channel, stack, group, bank.
    found: dict[str, npt.NDArray[np.int64]] = {}
    if mapping == "ChRaBaRoCo":
        column, a = _cut(a, column_bits)
        row, a = _cut(a, row_bits)
        for level in reversed(made.levels):
            found[level], a = _cut(a, widths[level])
    elif mapping == "RoBaRaCoCh":
        column, a = _cut(a, column_bits)
        for level in made.levels:
            found[level], a = _cut(a, widths[level])
        row, a = _cut(a, row_bits)
    else:
        low_bits = min(_MOP_COLUMN_BITS, column_bits)
        column, a = _cut(a, low_bits)
        for level in made.levels:
            found[level], a = _cut(a, widths[level])
        upper, a = _cut(a, column_bits - low_bits)
        row = a.astype(np.int32).astype(np.int64)
        column = column | (upper << low_bits)
        used = 0
        for level in made.levels:
            if widths[level] > 0:
                found[level] = found[level] ^ ((column >> used) & (sizes[level] - 1))
                used += widths[level]
        if row_bits > 0:
            row = row ^ ((column >> used) & ((1 << row_bits) - 1))
    bank = np.zeros_like(addresses)
    for level in made.levels:
        bank = bank * sizes[level] + found[level]
    return Places(channel, bank, row, column)


def _cut(
    a: npt.NDArray[np.int64], n_bits: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the lowest bits and the rest."""
    return a & ((1 << n_bits) - 1), a >> n_bits


def _bits(count: int) -> int:
    return count.bit_length() - 1
