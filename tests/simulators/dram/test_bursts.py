"""Requests become bursts of the device, and must lie within it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.simulators.dram.dramsys.devices import device
from archgym.simulators.dram.dramsys.kernel.bursts import split
from archgym.simulators.dram.workloads.shipped import shipped_trace
from archgym.simulators.dram.workloads.trace import Trace, read_trace

GIB = 2**30


def trace(addresses: list[int], lengths: list[int], relative: bool = False) -> Trace:
    n = len(addresses)
    return Trace(
        "t",
        np.arange(n) * 10,
        np.arange(n) % 2 == 1,
        np.array(addresses),
        np.array(lengths),
        relative=relative,
    )


def test_request_of_one_burst_stays_one() -> None:
    bursts = split(trace([0, 64, 4096], [64, 64, 64]), device("ddr3-1600"))

    assert bursts.addresses.tolist() == [0, 64, 4096]
    assert bursts.first_burst.tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["lpddr4-3200", "hbm2"])
def test_request_of_64_bytes_is_two_bursts_of_32(name: str) -> None:
    bursts = split(trace([0, 128], [64, 64]), device(name))

    assert bursts.addresses.tolist() == [0, 32, 128, 160]
    assert bursts.ticks.tolist() == [0, 0, 10, 10]
    assert bursts.is_write.tolist() == [False, False, True, True]
    assert bursts.first_burst.tolist() == [0, 2]


def test_further_bursts_of_a_delayed_request_follow_at_once() -> None:
    bursts = split(trace([0, 128], [64, 64], relative=True), device("hbm2"))

    assert bursts.ticks.tolist() == [0, 0, 10, 0]


def test_request_across_a_boundary_touches_both_bursts() -> None:
    bursts = split(trace([60, 130], [8, 1]), device("ddr3-1600"))

    assert bursts.addresses.tolist() == [0, 64, 128]


def test_request_without_length_is_one_burst_at_its_very_address() -> None:
    bursts = split(trace([0x21, 0x7F], [0, 0]), device("hbm2"))

    assert bursts.addresses.tolist() == [0x21, 0x7F]


def test_bytes_are_conserved_on_every_device() -> None:
    for name in ("ddr3-1600", "ddr4-2400", "lpddr4-3200", "hbm2"):
        bursts = split(shipped_trace("multicore-rw"), device(name))
        assert len(bursts) * device(name).burst_bytes == 640_000


def test_request_beyond_the_capacity_is_refused() -> None:
    beyond = trace([0, GIB - 64, GIB - 32], [64, 64, 64])

    with pytest.raises(InvalidArgumentError, match=r"Request 2 of trace 't'.*below 0x40000000"):
        split(beyond, device("ddr3-1600"))
    assert len(split(beyond, device("ddr4-2400"))) == 4


def test_request_beyond_the_capacity_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.stl"
    path.write_text("# far\n0: read 0x0\n1: read 0x7fff8000\n2: read 0x7fff8040\n")

    with pytest.raises(FileFormatError, match="2 of 3 requests do") as caught:
        split(read_trace(path), device("ddr3-1600"))

    assert str(caught.value).startswith(f"{path}:3: ")


def test_too_many_bursts_are_refused() -> None:
    n = 20_000
    large = replace(
        trace([0] * n, [2**16] * n),
        name="large",
    )

    with pytest.raises(InvalidArgumentError, match="at most 33554432 bursts"):
        split(large, device("hbm2"))
