"""Arrays on a network on chip, against the two parts alone."""

from typing import Any

import pytest

from archgym.simulators.accelerator import AcceleratorSimulator
from archgym.simulators.accelerator_plus_noc import AcceleratorNocSimulator
from archgym.simulators.noc import NocSimulator

WHOLE = AcceleratorNocSimulator(**{"noc.space": "mesh"})
DEFAULT: dict[str, Any] = dict(WHOLE.space.design_at(WHOLE.space.default_indices))
NETWORK = WHOLE.workload("resnet-18")


def test_stalls_follow_from_what_arrays_ask_and_what_the_network_carries_alone() -> None:
    own = {n.partition(".")[2]: v for n, v in DEFAULT.items() if n.startswith("accelerator.")}
    array = AcceleratorSimulator("systolic-buffered")
    alone = array.evaluate(own, array.workload("resnet-18"))
    rest = {n.partition(".")[2]: v for n, v in DEFAULT.items() if n.startswith("noc.")}
    mesh = NocSimulator("mesh", load=0.01, saturation=True)
    carried = mesh.evaluate(rest, mesh.workload("uniform"))["saturation_gb_per_s"]

    found = WHOLE.evaluate(DEFAULT, NETWORK)

    # 16 arrays at 200 MHz; 96 bytes on the network for a line of 64.
    asked = 16 * 1.5 * alone["dram_bytes"] / (5 * alone["latency_cycles"])
    assert found["asked_gb_per_s"] == pytest.approx(asked)
    assert found["carried_gb_per_s"] == carried
    assert found["stall_percent"] == pytest.approx(100 * (1 - carried / asked))
    assert found["inferences_per_s"] == pytest.approx(16e6 / found["latency_us"])
    assert found["noc.throughput_gb_per_s"] < 1.1 * carried


def test_wider_channels_stall_less() -> None:
    stalls = [
        WHOLE.evaluate({**DEFAULT, "noc.channel_width": bits}, NETWORK)["stall_percent"]
        for bits in (32, 128, 256)
    ]

    assert stalls == sorted(stalls, reverse=True)
    assert stalls[0] > stalls[-1]
