"""Prefix caches with the host's memory, against the cache alone at the memory's rate."""

from typing import Any

import numpy as np
import pytest

import archgym as ag
from archgym.errors import InvalidArgumentError
from archgym.evaluation.capabilities import bounds_of
from archgym.simulators.kv import KvSimulator
from archgym.simulators.kv_plus_dram import KvDramSimulator
from archgym.simulators.kv_plus_dram.simulator import block_traffic
from archgym.tables.proof import prove

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
        KvSimulator("serving", sessions=8, hardware="rtx-4090", dram_gb_per_s=rate)
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

    assert whole.spec.reasons[result.reason[0]] == "the memory holds less than the tier dram_gb"


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


def test_device_without_such_controllers_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"dram\.device"):
        KvDramSimulator(**{"dram.device": "ddr3-1600"})


@pytest.mark.parametrize("rate", [1e-3, 5.0, 26.0, 1e4])
def test_memory_that_no_tier_uses_is_not_noticed(rate: float) -> None:
    usual, other = (
        KvSimulator("serving", sessions=3, hardware="rtx-4090", dram_gb_per_s=each)
        for each in (np.inf, rate)
    )
    workload, space = usual.workload("coding"), usual.space
    designs = space.sample(40, np.random.default_rng(0))
    designs[:, space.names.index("dram_gb")] = 0
    designs = space.canonical(designs)

    found = [each.evaluate_batch(designs, workload) for each in (usual, other)]

    assert (found[0].reason == 0).any()
    assert np.array_equal(found[0].values, found[1].values, equal_nan=True)


def test_bounds_are_the_best_over_the_memories_that_are_left() -> None:
    whole = KvDramSimulator(**{**SHORT, "kv.sessions": "3"})
    workload, space = whole.workload("coding"), whole.space
    rng = np.random.default_rng(0)
    kv = whole._columns["kv"][0]
    free = [space.names.index(f"dram.{name}") for name in ("channels", "row_policy", "ranks")]
    partial = np.repeat(space.default_indices[None, :], 8, axis=0)
    partial[:, kv] = space.sample(8, rng)[:, kv]
    partial[:, space.names.index("kv.dram_gb")] = np.arange(8) % 3
    for name in ("workers", "prefill_workers", "tensor"):
        partial[:, space.names.index(f"kv.{name}")] = 0
    partial[:, free] = -1

    bounds = bounds_of(whole, partial, workload)

    rows = np.stack([axis.ravel() for axis in np.indices(space.sizes[free].tolist())], axis=1)
    n_finite = 0
    for design, bound in zip(partial, bounds, strict=True):
        joint = np.tile(design, (len(rows), 1))
        joint[:, free] = rows
        result = whole.evaluate_batch(joint, workload)
        for spec, known, values in zip(whole.metrics, bound, result.values.T, strict=True):
            built = values[result.reason == 0]
            if spec.goal == "none" or spec.name.startswith("dram."):
                continue
            if spec.goal == "minimise":
                assert known == built.min(initial=np.inf)
            else:
                assert known == built.max(initial=-np.inf)
            n_finite += bool(np.isfinite(known))
    assert n_finite > 20


def test_proof_finds_the_best_of_all_designs() -> None:
    held = {
        "kv.dram_gb": [0, 64, 128],
        "kv.block_tokens": [64, 128],
        "kv.reload": ["layerwise", "blocking"],
        "dram.channels": [2, 4, 8],
        "dram.row_policy": ["Open", "ClosedCAP"],
    }
    space = KvDramSimulator(**SHORT).space
    fixed = {
        name: space.parameter(name).value(space.parameter(name).default_index)
        for name in space.names
        if name not in held
    }
    fixed["dram.ranks"] = 2
    task = ag.Task.make(
        "kv+dram", "coding", "latency", fixed=fixed, values=held, **{**SHORT, "kv.sessions": "3"}
    )

    every = np.concatenate(list(task.space.enumerate(canonical=True)))
    rewards = task.evaluate(every).reward

    for known in (None, every[np.argmax(rewards)]):
        found = prove(task, known, seconds=120.0)
        assert found.method == "bounds"
        assert found.is_optimal
        assert found.reward == rewards.max()
    assert found.n_evaluated == 1
