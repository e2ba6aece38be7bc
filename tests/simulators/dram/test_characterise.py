"""Characteristics of traces, worked out by hand."""

import numpy as np
import pytest

from archgym.simulators.dram.dramsys.characteristics import characterise
from archgym.simulators.dram.dramsys.devices import device
from archgym.simulators.dram.workloads.generators import Traffic, random_access, stream
from archgym.simulators.dram.workloads.trace import Trace

DDR3 = device("ddr3-1600")


def test_four_requests_by_hand() -> None:
    # The default mapping of DDR3-1600: bits 13 to 15 are the bank, 16 and up the row.
    trace = Trace(
        "four",
        np.array([0, 4, 8, 108]),
        np.array([False, False, True, False]),
        np.array([0, 64, 1 << 13, 0]),
        np.array([64] * 4),
    )

    found = characterise(trace, DDR3)

    assert found.requests == found.bursts == 4
    assert found.read_share_percent == 75.0
    assert found.footprint_mib == 3 * 64 / 2**20
    assert found.span_mib == (8192 + 64) / 2**20
    assert found.sequential_percent == pytest.approx(100 / 3)
    assert found.row_locality_percent == pytest.approx(100 / 3)
    assert found.bank_row_locality_percent == pytest.approx(200 / 3)
    assert (found.banks, found.busiest_bank_percent) == (2, 75.0)
    assert found.duration_us == pytest.approx(109 * 1.25e-3)
    assert found.demand_gb_per_s == pytest.approx(4 * 64 / (109 * 1.25))
    assert found.demand_percent == pytest.approx(found.demand_gb_per_s / 12.8 * 100)
    # A burst takes 4 ticks: idle from 12 to 108, and done at 112.
    assert found.idle_percent == pytest.approx(100 * 96 / 112)
    assert found.longest_gap_us == pytest.approx(0.125)
    assert found.strides[0][1] == pytest.approx(100 / 3)


def test_stream_is_local_and_random_is_not() -> None:
    local = characterise(stream(2000), DDR3)
    scattered = characterise(random_access(2000, seed=1, footprint_bytes=2**30), DDR3)

    assert local.sequential_percent == 100.0
    assert local.row_locality_percent > 99
    assert local.strides == ((64, 100.0),)
    assert scattered.row_locality_percent < 1
    assert scattered.strides == ()


def test_dense_requests_leave_no_idle_time_and_bursts_do() -> None:
    bursty = Traffic(burst_requests=(10, 10), idle_ticks=(500, 500))

    assert characterise(stream(1000), DDR3).idle_percent == 0.0
    found = characterise(stream(1000, traffic=bursty), DDR3)
    assert found.idle_percent == pytest.approx(100 * (500 - 30) / 510, abs=1)
    assert found.burstiness > 2


def test_a_single_request_has_characteristics() -> None:
    found = characterise(stream(1), DDR3)

    assert found.strides == ()
    assert found.row_locality_percent == found.burstiness == found.longest_gap_us == 0.0


def test_rows_name_every_characteristic_with_its_unit() -> None:
    rows = characterise(stream(100), DDR3).rows()

    assert rows["demand_gb_per_s"][0] == pytest.approx(51.2)
    assert rows["demand_gb_per_s"][1] == "GB/s"
    assert rows["strides"] == ("+64 B: 100.0 %", "")
    assert len(rows) == 18
