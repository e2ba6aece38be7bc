"""Address mappings as bit lists, and their decoding of whole traces."""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.dram.dramsys.devices import Device
from archgym.simulators.kit import InvalidArgumentError, unknown_name

DECODED: Final = np.dtype(
    [("row", np.int32), ("bank", np.uint16), ("group", np.uint8), ("rank", np.uint8)]
)
"""Coordinates of a request: row, and bank, bank group and rank counted over the channel."""


@dataclass(frozen=True, kw_only=True)
class AddressMapping:
    """Address bits of each coordinate, least significant first.

    Attributes:
      name: Short name.
      byte, column, row, bank, group, rank: Bit positions; bits in none of them are ignored.
      xor: Pairs (first, second): bit `first` is replaced by `first` xor `second` beforehand.
    """

    name: str
    byte: tuple[int, ...]
    column: tuple[int, ...]
    row: tuple[int, ...]
    bank: tuple[int, ...]
    group: tuple[int, ...] = ()
    rank: tuple[int, ...] = ()
    xor: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        bits = [*self.byte, *self.column, *self.row, *self.bank, *self.group, *self.rank]
        if any(bit < 0 or bit > 62 for bit in bits) or len(set(bits)) != len(bits):
            raise InvalidArgumentError(
                f"Every bit of mapping {self.name!r} must lie in 0 to 62 and be used once; "
                f"got {sorted(bits)!r}."
            )

    def check(self, device: Device) -> None:
        """Refuse a mapping that does not fit the device's organisation.

        Raises:
          InvalidArgumentError: A coordinate has too few or too many bits.
        """
        expected = {
            "byte": _bits(device.beat_bytes),
            "column": _bits(device.n_columns),
            "row": _bits(device.n_rows),
            "bank": _bits(device.n_banks // device.n_groups),
            "group": _bits(device.n_groups),
            "rank": _bits(device.n_ranks),
        }
        for field, n_bits in expected.items():
            if len(getattr(self, field)) != n_bits:
                raise InvalidArgumentError(
                    f"Mapping {self.name!r} must give `{field}` {n_bits} bits for device "
                    f"{device.name!r}; got {len(getattr(self, field))}."
                )


# Fields from the most to the least significant address bit. "burst" are the column bits inside
# one burst, which stay lowest so that a burst is contiguous; "column" are the others.
LAYOUTS: Final[dict[str, tuple[str, ...]]] = {
    "row-bank-column": ("rank", "row", "bank", "group", "column", "burst"),
    "bank-row-column": ("rank", "group", "bank", "row", "column", "burst"),
    "row-column-bank": ("row", "column", "rank", "bank", "group", "burst"),
    "row-bank-column-xor": ("rank", "row", "bank", "group", "column", "burst"),
}
"""Layouts that fit any device. `-xor` folds the lowest row bits into the bank bits, which spreads
rows that would meet in one bank (Zhang, Zhu and Zhang, *A permutation-based page interleaving
scheme*, MICRO 2000)."""


FIELDS: Final = ("rank", "row", "bank", "group", "column")
"""Fields of an address above the bytes of a beat."""


@functools.cache
def _layout(
    name: str, fields: tuple[str, ...], widths: tuple[tuple[str, int], ...], folds: bool
) -> AddressMapping:
    n_bits = dict(widths)
    placed: dict[str, tuple[int, ...]] = {}
    position = n_bits["byte"]
    for field in reversed(fields):
        placed[field] = tuple(range(position, position + n_bits[field]))
        position += n_bits[field]
    bank_bits = (*placed["group"], *placed["bank"])
    xor = tuple(zip(bank_bits, placed["row"], strict=False)) if folds else ()
    return AddressMapping(
        name=name,
        byte=tuple(range(n_bits["byte"])),
        column=(*placed["burst"], *placed["column"]),
        row=placed["row"],
        bank=placed["bank"],
        group=placed["group"],
        rank=placed["rank"],
        xor=xor,
    )


def layout(name: str, device: Device) -> AddressMapping:
    """Return the named layout's mapping for a device.

    Raises:
      UnknownNameError: `LAYOUTS` has no such name.
    """
    if name not in LAYOUTS:
        raise unknown_name("address mapping", name, tuple(LAYOUTS))
    return _layout(name, LAYOUTS[name], _widths(device), name.endswith("-xor"))


def ordered_mapping(
    name: str, fields: tuple[str, ...], device: Device, folds: bool
) -> AddressMapping:
    """Return a mapping with the fields in an order of one's own.

    Args:
      name: Name of the mapping.
      fields: `FIELDS` from the most to the least significant.
      device: The memory.
      folds: True to fold the lowest row bits into the bank bits.
    """
    return _layout(name, (*fields, "burst"), _widths(device), folds)


def _widths(device: Device) -> tuple[tuple[str, int], ...]:
    """Return the number of address bits of each field."""
    burst = _bits(device.burst_length)
    return (
        ("byte", _bits(device.beat_bytes)),
        ("burst", burst),
        ("column", _bits(device.n_columns) - burst),
        ("row", _bits(device.n_rows)),
        ("bank", _bits(device.n_banks // device.n_groups)),
        ("group", _bits(device.n_groups)),
        ("rank", _bits(device.n_ranks)),
    )


def reference_mapping_names() -> tuple[str, ...]:
    """Return the names that `reference_mapping` takes."""
    return tuple(_reference_mappings())


def reference_mapping(name: str) -> AddressMapping:
    """Return a mapping by the name that the reference results give it.

    Raises:
      UnknownNameError: No reference mapping has this name.
    """
    mappings = _reference_mappings()
    if name not in mappings:
        raise unknown_name("reference mapping", name, tuple(mappings))
    return mappings[name]


@functools.cache
def _reference_mappings() -> dict[str, AddressMapping]:
    path = resources.files("archgym.simulators.dram").joinpath("data/mappings.json")
    data = json.loads(path.read_text("utf-8"))
    return {
        name: AddressMapping(name=name, **{field: tuple(bits) for field, bits in fields.items()})
        for name, fields in data.items()
    }


def decode(
    addresses: npt.NDArray[np.int64], mappings: Sequence[AddressMapping], device: Device
) -> npt.NDArray[Any]:
    """Decode every address under every mapping.

    Address bits beyond the device's capacity are ignored, as the reference ignores them.

    Args:
      addresses: (n_requests,), byte addresses.
      mappings: Mappings that fit the device.
      device: The memory.

    Returns:
      (n_mappings, n_requests) of `DECODED`.

    Raises:
      InvalidArgumentError: A mapping does not fit the device.
    """
    decoded = np.empty((len(mappings), len(addresses)), dtype=DECODED)
    banks_per_group = device.n_banks // device.n_groups
    for place, mapping in zip(decoded, mappings, strict=True):
        mapping.check(device)
        mixed = addresses.copy()
        for first, second in mapping.xor:
            mixed ^= ((addresses >> second) & 1) << first
        rank = _gather(mixed, mapping.rank)
        group = _gather(mixed, mapping.group) + device.n_groups * rank
        place["row"] = _gather(mixed, mapping.row)
        place["bank"] = _gather(mixed, mapping.bank) + banks_per_group * group
        place["group"] = group
        place["rank"] = rank
    return decoded


def _gather(addresses: npt.NDArray[np.int64], bits: Sequence[int]) -> npt.NDArray[np.int64]:
    value = np.zeros_like(addresses)
    for place, bit in enumerate(bits):
        value |= ((addresses >> bit) & 1) << place
    return value


def _bits(count: int) -> int:
    """Return the number of bits that distinguish `count` items, a power of two."""
    return count.bit_length() - 1
