"""Memory specifications and address mappings in DRAMSys' own form."""

import json
from pathlib import Path

import pytest

from archgym.errors import FileFormatError
from archgym.simulators.dram.devices import device
from archgym.simulators.dram.dramsys_files import read_mapping, read_memspec
from archgym.simulators.dram.mapping import reference_mapping

_MAPPING = {
    "CONGEN": {
        "BYTE_BIT": [0, 1, 2],
        "COLUMN_BIT": [3, 4, 5],
        "BANK_BIT": [6, 7],
        "ROW_BIT": [8, 9, 10],
        "XOR": [{"FIRST": 6, "SECOND": 8}],
    }
}


def test_mapping_is_read_with_its_xor(tmp_path: Path) -> None:
    path = tmp_path / "am_mine.json"
    path.write_text(json.dumps(_MAPPING, indent="\t"))

    found = read_mapping(path)

    assert (found.name, found.bank, found.row) == ("am_mine", (6, 7), (8, 9, 10))
    assert found.xor == ((6, 8),)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("BANK_BIT", [6, 70], "an address bit must be a whole number from 0 to 62"),
        ("BANK_BIT", 6, "address bits must be a list"),
        ("BANK_BIT", [3, 7], "used once"),
        ("XOR", [{"FIRST": 6}], "must have `FIRST` and `SECOND`"),
        ("OTHER_BIT", [1], "may have the keys"),
    ],
)
def test_damaged_mapping_is_refused_in_one_line(
    tmp_path: Path, key: str, value: object, problem: str
) -> None:
    path = tmp_path / "am_mine.json"
    path.write_text(json.dumps({"CONGEN": _MAPPING["CONGEN"] | {key: value}}))

    with pytest.raises(FileFormatError, match=problem) as caught:
        read_mapping(path)

    assert "\n" not in str(caught.value)


def test_torn_file_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "am_mine.json"
    path.write_text('{\n"CONGEN": {')

    with pytest.raises(FileFormatError, match=r"am_mine.json:2: the file must be JSON"):
        read_mapping(path)


@pytest.mark.parametrize("name", ["ddr3-1600", "ddr4-2400", "lpddr4-3200", "hbm2"])
def test_recorded_specification_is_the_shipped_device(reference: Path, name: str) -> None:
    shipped = device(name)

    found = read_memspec(reference / "configs" / f"{shipped.reference}.json")

    assert found.timing == shipped.timing
    assert found.clock_mhz == shipped.clock_mhz
    assert found.capacity_bytes == shipped.capacity_bytes
    assert {k: found.current[k] for k in shipped.current} == shipped.current


def test_recorded_mapping_is_the_shipped_one(reference: Path) -> None:
    name = "am_hbm2_8Gb_pc_brc"

    assert read_mapping(reference / "configs" / f"{name}.json") == reference_mapping(name)


def test_specification_without_timings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"memspec": {"memoryType": "DDR3", "memarchitecturespec": {}}}')

    with pytest.raises(FileFormatError, match="`memspec` must have `memtimingspec`"):
        read_memspec(path)
