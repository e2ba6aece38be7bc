"""Memory specifications and address mappings in DRAMSys' own form."""

import json
import pickle
from pathlib import Path

import pytest

from archgym.errors import FileFormatError
from archgym.simulators.dram import DramSimulator
from archgym.simulators.dram.dramsys.devices import device
from archgym.simulators.dram.dramsys.mapping import reference_mapping
from archgym.simulators.dram.formats.devices import (
    load_device,
    load_mapping,
)
from archgym.simulators.dram.formats.dramsys import read_mapping, read_memspec

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
        ("XOR", [{"FIRST": 6}], "must have 'SECOND'"),
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

    with pytest.raises(FileFormatError, match="`memspec` must have 'memtimingspec'"):
        read_memspec(path)


_OWN_DEVICE = """\
format: 1
extends: ddr3-1600
source: data sheet of a test
clock_mhz: 933
organisation: {n_ranks: 2}
timing: {RCD: 13, RP: 13}
current: {IDD0: 60}
"""
_OWN_MAPPING = "format: 1\norder: [row, column, rank, bank, group]\nbank_xor_row: true\n"


def test_own_device_takes_over_what_it_does_not_change(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(_OWN_DEVICE)

    found = load_device(str(path))

    assert (found.clock_ps, found.n_ranks, found.timing["RCD"]) == (1072, 2, 13)
    assert found.timing["RAS"] == device("ddr3-1600").timing["RAS"]
    assert (found.current["IDD0"], found.current["IDD2N"]) == (60, 45)
    assert found.name.startswith(f"{path}#")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("format: 1", "format: 2", "must have `format` 1"),
        ("extends: ddr3-1600", "extends: ddr9", "`extends` must be one of"),
        ("source: data sheet of a test\n", "", "must have 'source'"),
        ("RCD: 13", "RCDX: 13", "may have the keys"),
        ("RCD: 13", "RCD: -1", "`RCD` must be a whole number"),
        ("RCD: 13", "REFI: 10", "`REFI` must exceed `RFC`"),
        ("n_ranks: 2", "n_ranks: 3", "`n_ranks` must be a power of two"),
        ("n_ranks: 2", "n_banks: 4096", "at most 64 banks"),
        ("n_ranks: 2", "n_devices: 3", "must be a power of two of bytes"),
        ("clock_mhz: 933", "clock_mhz: [", "must be YAML"),
    ],
)
def test_damaged_own_device_is_refused_in_one_line(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    path = tmp_path / "mine.yaml"
    assert old in _OWN_DEVICE
    path.write_text(_OWN_DEVICE.replace(old, new))

    with pytest.raises(FileFormatError, match=problem) as caught:
        load_device(str(path))

    assert "\n" not in str(caught.value)


def test_specification_without_a_timing_is_refused(reference: Path, tmp_path: Path) -> None:
    data = json.loads((reference / "configs" / "HBM2.json").read_text())
    del data["memspec"]["memtimingspec"]["RRDL"]
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(data))

    with pytest.raises(FileFormatError, match="`RRDL` must have a value"):
        load_device(str(path))


def test_own_mapping_orders_the_fields(tmp_path: Path) -> None:
    path = tmp_path / "order.yaml"
    path.write_text(_OWN_MAPPING)

    found = load_mapping(str(path), device("ddr3-1600"))

    # 3 byte bits, 3 burst bits, then bank (no group, one rank), the other columns, the row.
    assert (found.bank, found.column[3:5], found.row[:2]) == ((6, 7, 8), (9, 10), (16, 17))
    assert found.xor == ((6, 16), (7, 17), (8, 18))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("format: 1\norder: [row, bank]\n", "`order` must name each of"),
        ("format: 1\n", "must have 'order'"),
        (f"{_OWN_MAPPING}xor: [[1, 2]]\n", "'xor'"),
    ],
)
def test_damaged_own_mapping_is_refused_in_one_line(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = tmp_path / "order.yaml"
    path.write_text(text)

    with pytest.raises(FileFormatError, match=problem) as caught:
        load_mapping(str(path), device("ddr3-1600"))

    assert "\n" not in str(caught.value)


def test_design_of_users_files_equals_that_of_the_shipped_device(
    reference: Path, tmp_path: Path
) -> None:
    shipped = device("ddr3-1600")
    configs = reference / "configs"
    simulator = DramSimulator(
        device=str(configs / f"{shipped.reference}.json"),
        address_mapping=str(configs / "am_ddr3_8x1Gbx8_dimm_p1KB_rbc.json"),
    )
    own = DramSimulator()
    design = {p.name: p.default for p in simulator.space.parameters}

    found = simulator.evaluate(design, simulator.workload("stream"))

    assert "address_mapping" not in design
    expected = own.evaluate(design | {"address_mapping": "row-bank-column"}, own.workload("stream"))
    assert found["total_time_ns"] == expected["total_time_ns"]
    assert found["total_energy_pj"] == expected["total_energy_pj"]
    again = pickle.loads(pickle.dumps(simulator))
    assert again.options == simulator.options
    assert set(again.options) == {"device", "address_mapping"}


def test_changed_device_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(_OWN_DEVICE)
    cited = DramSimulator(device=str(path)).options["device"]
    path.write_text(_OWN_DEVICE.replace("933", "934"))

    with pytest.raises(FileFormatError, match="the file has changed"):
        DramSimulator(device=cited)


def test_addresses_beyond_the_capacity_wrap_if_wanted(tmp_path: Path) -> None:
    far, near = tmp_path / "far.stl", tmp_path / "near.stl"
    far.write_text("0: read 0x40000040\n10: read 0x40000080\n")  # 1 GiB and above
    near.write_text("0: read 0x40\n10: read 0x80\n")
    simulator = DramSimulator(addresses="wrap")
    design = {p.name: p.default for p in simulator.space.parameters}

    found = simulator.evaluate(design, simulator.workload(far))

    with pytest.raises(FileFormatError, match="addresses=wrap"):
        DramSimulator().workload(far)
    assert (
        found["total_time_ns"]
        == (simulator.evaluate(design, simulator.workload(near))["total_time_ns"])
    )
    assert simulator.options == {"addresses": "wrap"}


def test_every_setting_of_dramsys_is_a_design() -> None:
    simulator = DramSimulator("dramsys")
    design = {p.name: p.default for p in simulator.space.parameters}
    design |= {
        "refresh_policy": "NoRefresh",
        "request_buffer_size": 5,
        "max_active_transactions": 77,
    }

    found = simulator.evaluate(design, simulator.workload("stream"))

    assert found["refreshes"] == 0
