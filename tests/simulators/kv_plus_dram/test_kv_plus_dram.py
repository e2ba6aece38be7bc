"""Prefix caches with the host's memory, against the cache alone at the memory's rate."""

from typing import Any

import numpy as np
import pytest

import archgym as ag
from archgym.errors import InvalidArgumentError
from archgym.simulators.kv import KvSimulator
from archgym.simulators.kv_plus_dram import KvDramSimulator
from archgym.simulators.kv_plus_dram.simulator import block_traffic

# A small accelerator, so that keys and values leave it.
SHORT: dict[str, Any] = {"kv.sessions": "6", "kv.hardware": "rtx-4090"}


def joint_design(whole: ag.Simulator, **changes: Any) -> dict[str, Any]:
    design = dict(whole.space.design_at(whole.space.default_indices))
    return {**design, "kv.dram_gb": 64, "dram.ranks": 2, "dram.channels": 8, **changes}


def test_every_metric_is_that_of_the_cache_at_the_rate_of_the_memory() -> None:
    whole = KvDramSimulator(**SHORT)
    joint = joint_design(whole)
    own = {n.partition(".")[2]: v for n, v in joint.items() if n.startswith("kv.")}

    found = whole.evaluate(joint, whole.workload("coding"))

    rate = float(f"{found['memory_gb_per_s']:.6g}")
    alone = KvSimulator("serving", sessions=6, hardware="rtx-4090", dram_gb_per_s=rate)
    expected = alone.evaluate(own, alone.workload("coding"))
    assert expected["loaded_percent"] > 5.0
    assert {n: found[f"kv.{n}"] for n in expected} == dict(expected)
    assert found["memory_gb_per_s"] == found["dram.bandwidth_gb_per_s"]


def test_memory_faster_than_the_links_is_not_noticed() -> None:
    usual, fast, slow = (
        KvSimulator("serving", sessions=6, hardware="rtx-4090", dram_gb_per_s=rate)
        for rate in (np.inf, 1e4, 2.0)
    )
    design = {**usual.space.design_at(usual.space.default_indices), "dram_gb": 64}
    workload = usual.workload("coding")

    expected = usual.evaluate(design, workload)

    assert dict(fast.evaluate(design, workload)) == dict(expected)
    assert slow.evaluate(design, workload)["ttft_p90_ms"] > expected["ttft_p90_ms"]


def test_controllers_decide_the_rate_of_loads_and_stores() -> None:
    whole = KvDramSimulator(**SHORT)
    workload = whole.workload("coding")
    rates = {
        channels: whole.evaluate(joint_design(whole, **{"dram.channels": channels}), workload)
        for channels in (4, 8)
    }

    assert 1.2 * rates[4]["memory_gb_per_s"] < rates[8]["memory_gb_per_s"]
    assert rates[8]["dram.data_pins"] == 256


def test_memory_smaller_than_the_tier_is_refused() -> None:
    whole = KvDramSimulator(**SHORT)
    small = joint_design(whole, **{"dram.channels": 1, "kv.dram_gb": 2048})
    indices = whole.space.indices_of(small)[None, :]

    result = whole.evaluate_batch(indices, whole.workload("coding"))

    assert whole.reasons[result.reason[0]] == "the memory holds less than the tier dram_gb"


@pytest.mark.parametrize("piece", [64, 18_432, 262_144, 10**7])
def test_traffic_loads_and_stores_pieces_line_by_line(piece: int) -> None:
    trace = block_traffic(piece).content

    loads, stores = trace.addresses[::2], trace.addresses[1::2]
    for lines in (loads, stores):
        whole = piece // 64
        assert (np.diff(lines[:whole]) == 64).all()
        assert (lines % 64 == 0).all()
        assert lines.max() < 2**30 + 10**7
    assert not trace.is_write[::2].any()
    assert trace.is_write[1::2].all()


def test_task_reads_back_from_its_id() -> None:
    task = ag.Task.make("kv+dram", "chat", "latency", fixed={"dram.channels": 4}, **SHORT)

    assert task.id == (
        "kv+dram[kv.hardware=rtx-4090,kv.sessions=6]/default{dram.channels=4}/chat/latency-v0"
    )
    assert ag.Task.make(task.id).digest == task.digest


def test_device_without_such_controllers_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"dram\.device"):
        KvDramSimulator(**{"dram.device": "ddr3-1600"})
