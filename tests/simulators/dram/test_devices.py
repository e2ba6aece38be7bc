"""Devices: what ships, and what is derived from it."""

import dataclasses

import pytest

from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.simulators.dram.dramsys.devices import device, dramsys_device_names


@pytest.mark.parametrize(
    ("name", "clock_ps", "burst_bytes", "gigabytes", "peak_gbps"),
    [
        # Clock and peak of the reference results: 102.40, 68.23, 119.40, 153.66, 51.20, 128 Gb/s.
        ("ddr3-1600", 1250, 64, 1, 102.40),
        ("ddr3-1066", 1876, 64, 1, 68.23),
        ("ddr3-1600-4ranks", 1250, 64, 4, 102.40),
        ("ddr4-1866", 1072, 64, 4, 119.40),
        ("ddr4-2400", 833, 64, 4, 153.66),
        ("lpddr4-3200", 625, 32, 1, 51.20),
        ("hbm2", 1000, 32, 1, 128.00),
    ],
)
def test_organisation_gives_the_published_size_and_peak(
    name: str, clock_ps: int, burst_bytes: int, gigabytes: int, peak_gbps: float
) -> None:
    found = device(name)

    assert found.clock_ps == clock_ps
    assert found.burst_bytes == burst_bytes
    assert found.capacity_bytes == gigabytes * 2**30
    assert round(8 * found.peak_bandwidth_gbps, 2) == peak_gbps


@pytest.mark.parametrize("name", dramsys_device_names())
def test_every_timing_and_current_names_its_source(name: str) -> None:
    found = device(name)

    assert set(found.source) == set(found.timing) | set(found.current)
    assert all(len(text) > 10 for text in found.source.values())


def test_energy_of_ddr3_and_recorded_ddr4_counts_as_validated() -> None:
    validated = {name for name in dramsys_device_names() if device(name).is_energy_validated}

    ddr3 = {name for name in dramsys_device_names() if device(name).standard == "DDR3"}
    assert validated == ddr3 | {"ddr4-2400"}


def test_lpddr4_and_hbm2_have_no_energy() -> None:
    assert not device("lpddr4-3200").has_energy
    assert not device("hbm2").has_energy


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="ddr3-1600"):
        device("ddr3-1601")


def test_timing_without_source_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="`source` lacks RCD"):
        dataclasses.replace(
            device("ddr3-1600"),
            source={key: "x" for key in device("ddr3-1600").source if key != "RCD"},
        )


def test_organisation_must_be_powers_of_two() -> None:
    with pytest.raises(InvalidArgumentError, match=r"`n_banks` must be a power of two; got 6"):
        dataclasses.replace(device("ddr3-1600"), n_banks=6)
