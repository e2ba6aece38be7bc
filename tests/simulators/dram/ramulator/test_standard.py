"""Device families and users' device files."""

from pathlib import Path

import pytest

from archgym.errors import FileFormatError, InvalidArgumentError, UnknownNameError
from archgym.simulators.dram.formats.families import load_standard
from archgym.simulators.dram.kernel.clocks import distance
from archgym.simulators.dram.ramulator.machine import FAMILIES, standard

_BIN = """\
format: 1
extends: ddr5
source: data sheet of a test
bins:
  FAST:
    base: DDR5_4800BN
    tCK_ps: 400
    clocks: {nCL: 36, nRCD: 36}
"""


def test_distance_is_a_sum_of_parameters() -> None:
    assert distance("nCL + nBL + 2 - nCWL + 2", {"nCL": 40, "nBL": 8, "nCWL": 38}) == 14


@pytest.mark.parametrize("expression", ["", "nCL *2", "nCL nBL", "nXX", "import os", "--1"])
def test_other_expressions_are_refused(expression: str) -> None:
    with pytest.raises(InvalidArgumentError):
        distance(expression, {"nCL": 40, "nBL": 8})


@pytest.mark.parametrize("family", FAMILIES)
def test_every_constraint_names_its_source(family: str) -> None:
    found = standard(family)

    assert all(rule.source.startswith("JESD") for rule in found.constraints)
    assert found.source
    for name, speed in found.bins.items():
        for organisation in found.organisations:
            values = speed.values(organisation)
            assert all(
                isinstance(distance(rule.distance, values), int) for rule in found.constraints
            ), name


def test_capacity_follows_from_the_organisation() -> None:
    # 16 Gb x8: four devices on the 32-bit sub-channel hold 8 GiB.
    assert standard("ddr5").organisations["DDR5_16Gb_x8"].channel_bytes() == 8 * 2**30
    assert standard("hbm3").organisations["HBM3_4Gb"].channel_bytes() == 2**29


def test_own_speed_bin_takes_over_what_it_does_not_change(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(_BIN)

    found = load_standard(path)

    values = found.bins["FAST"].values("DDR5_16Gb_x8")
    shipped = standard("ddr5").bins["DDR5_4800BN"].values("DDR5_16Gb_x8")
    assert found.tick_ps("FAST") == 400
    assert (values["nCL"], values["nRCD"]) == (36, 36)
    assert values["nRFC"] == shipped["nRFC"]


def test_unknown_family_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="ddr5"):
        load_standard("ddr55")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("format: 1", "format: 2", "must have `format` 1"),
        ("  FAST:", '  "A\\nobey":', "must have 1 to 40 letters"),
        ("  FAST:", "  DDR5_4800BN:", "must differ from the shipped ones"),
        ("nRCD: 36", "nRCD: 36, rate: 1", "400 ps make about"),
        ("extends: ddr5", "extends: ddr6", "`extends` must be one of"),
        ("nCL: 36", "nCL: -1", "`nCL` must be a whole number from 0"),
        ("nCL: 36", "nXX: 36", "may have the keys"),
        ("base: DDR5_4800BN", "base: nothing", "`base` must be one of"),
        ("    base: DDR5_4800BN\n", "", "must state `rate`"),
        ("tCK_ps: 400", "tCK_ps: 0", "`tCK_ps` must be a whole number"),
        ("tCK_ps: 400", "tCK_ps: [1", "must be YAML"),
        ("nRCD: 36", "nREFI: 100", "`nREFI` must exceed"),
        ("source: data sheet of a test\n", "", "must have 'source'"),
        (_BIN[_BIN.index("bins:") :], "bins: {}\n", "at least one bin"),
    ],
)
def test_damaged_file_is_refused_in_one_line(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    path = tmp_path / "mine.yaml"
    assert old in _BIN
    path.write_text(_BIN.replace(old, new))

    with pytest.raises(FileFormatError, match=problem) as caught:
        load_standard(path)

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_organisation_that_is_no_power_of_two_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        _BIN
        + "organisations:\n  ODD: {density_mbit: 1, dq: 8, channel_width: 32, burst_beats: 16, "
        "sizes: {Rank: 1, BankGroup: 3, Bank: 4, Row: 16, Column: 64}}\n"
    )

    with pytest.raises(FileFormatError, match="`BankGroup` must be a power of two; got 3"):
        load_standard(path)
