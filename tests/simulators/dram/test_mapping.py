"""Address mappings: bit lists, layouts and decoding."""

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.simulators.dram.dramsys.devices import device, dramsys_device_names
from archgym.simulators.dram.dramsys.mapping import (
    LAYOUTS,
    AddressMapping,
    decode,
    layout,
    reference_mapping,
)


def decode_one(mapping: AddressMapping, device_name: str, address: int) -> tuple[int, ...]:
    decoded = decode(np.array([address], np.int64), [mapping], device(device_name))[0, 0]
    return tuple(int(decoded[field]) for field in ("row", "bank", "group", "rank"))


def test_layout_equals_archgyms_mapping() -> None:
    found = layout("row-bank-column", device("ddr3-1600"))
    published = reference_mapping("am_ddr3_8x1Gbx8_dimm_p1KB_rbc")

    assert (found.byte, found.column) == (published.byte, published.column)
    assert (found.bank, found.row) == (published.bank, published.row)


def test_address_is_taken_apart_by_hand() -> None:
    mapping = reference_mapping("am_ddr3_8x1Gbx8_dimm_p1KB_rbc")

    # From a recorded request: row 15138, bank 7.
    assert decode_one(mapping, "ddr3-1600", 0x3B22EDC0) == (15138, 7, 0, 0)


def test_bank_group_and_rank_count_over_the_channel() -> None:
    mapping = reference_mapping("am_hbm2_8Gb_pc_brc")
    address = 1 << 29 | 0b10 << 27 | 0b11 << 25 | 5 << 10

    # Rank 1, group 2 of 4, bank 3 of 4: group 4 + 2, bank 4 * 6 + 3.
    assert decode_one(mapping, "hbm2", address) == (5, 27, 6, 1)


def test_bits_beyond_the_capacity_are_ignored() -> None:
    mapping = layout("row-bank-column", device("ddr3-1600"))

    beyond = decode_one(mapping, "ddr3-1600", (1 << 40) + 0x3B22EDC0)

    assert beyond == decode_one(mapping, "ddr3-1600", 0x3B22EDC0)


def test_xor_replaces_its_first_bit() -> None:
    mapping = layout("row-bank-column-xor", device("ddr3-1600"))

    # Row 1 flips the lowest bank bit: bank 0 becomes 1, bank 1 becomes 0.
    assert decode_one(mapping, "ddr3-1600", 1 << 16) == (1, 1, 0, 0)
    assert decode_one(mapping, "ddr3-1600", 1 << 16 | 1 << 13) == (1, 0, 0, 0)


@pytest.mark.parametrize("device_name", dramsys_device_names())
@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_gives_every_burst_a_place_of_its_own(name: str, device_name: str) -> None:
    memory = device(device_name)
    mapping = layout(name, memory)
    bits = [*mapping.byte, *mapping.column, *mapping.row]
    bits += [*mapping.bank, *mapping.group, *mapping.rank]

    mapping.check(memory)

    assert sorted(bits) == list(range(memory.capacity_bytes.bit_length() - 1))
    burst_bits = memory.burst_bytes.bit_length() - 1
    assert sorted([*mapping.byte, *mapping.column])[:burst_bits] == list(range(burst_bits))


def test_mapping_of_another_device_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="must give `byte` 3 bits"):
        reference_mapping("am_lpddr4_8Gbx16_brc").check(device("ddr3-1600"))


def test_bit_used_twice_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="used once"):
        AddressMapping(name="bad", byte=(0,), column=(0,), row=(2,), bank=(3,))


def test_unknown_layout_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="row-bank-column"):
        layout("row-bank-colum", device("ddr3-1600"))
