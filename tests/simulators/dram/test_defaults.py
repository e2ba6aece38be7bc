"""Default designs of families, as controllers ship."""

from typing import Any

import numpy as np
import pytest

from archgym.simulators.dram.families import RamulatorSimulator


def test_default_of_lpddr5_is_near_the_best_tail_at_low_load() -> None:
    simulator = RamulatorSimulator(device="lpddr5", requests=2500)
    asked = simulator.workload("recorded-sort")
    drawn = simulator.space.sample(14, np.random.default_rng(0))
    designs = np.concatenate([simulator.space.default_indices[None, :], drawn])

    values = simulator.evaluate_batch(designs, asked).values

    column: Any = [spec.name for spec in simulator.metrics]
    tail = values[:, column.index("p99_latency_ns")]
    # Before, 3,110 ns and 22 times the best.
    assert values[0, column.index("bandwidth_percent")] < 25.0
    assert tail[0] < 5.0 * np.nanmin(tail)


@pytest.mark.parametrize(("device", "unit"), [("ddr5", "subchannels"), ("ddr4", "channels")])
def test_channels_of_ddr5_are_said_to_be_half_of_a_module(device: str, unit: str) -> None:
    channels = RamulatorSimulator(device=device).space.parameter("channels")

    assert channels.unit == unit
