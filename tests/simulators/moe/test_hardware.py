"""Servers: presets, links, and the user's own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archgym.errors import FileFormatError, UnknownNameError
from archgym.evaluation.simulator import default_workload
from archgym.simulators.moe import MoeSimulator
from archgym.simulators.moe.machine.columns import COSTS
from archgym.simulators.moe.machine.hardware import gpu, gpu_names, node, node_names
from archgym.simulators.moe.machine.serving import Serving
from archgym.simulators.moe.machine.timing import layer_costs
from archgym.simulators.moe.workloads.presets import model
from archgym.tasks.task import Task


def test_every_preset_names_its_sources() -> None:
    for name in gpu_names():
        assert gpu(name).source
    for name in node_names():
        found = node(name)
        links = (found.host_to_gpu, found.gpu_to_host, found.ssd, found.gpu_to_gpu, found.network)
        assert found.host.source
        assert all(link.source for link in links if link is not None)


def test_no_link_is_faster_than_its_accelerators_memory() -> None:
    for name in node_names():
        found = node(name)
        assert found.host_to_gpu.gb_per_s < found.gpu.memory_gb_per_s
        assert found.ssd.gb_per_s < found.host_to_gpu.gb_per_s


def test_unknown_hardware_answers_with_near_names() -> None:
    with pytest.raises(UnknownNameError, match="dgx-h100"):
        node("dgx-h10")


def test_own_server_is_a_preset_with_other_values(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "hardware:\n  preset: a100\n  gpu: t4\n  host_to_gpu: {gb_per_s: 10.5}\n  n_gpus: 2\n"
        "  host: {memory_gb: 64}\n"
    )

    found = node(str(path))

    assert (found.name, found.gpu.name, found.n_gpus) == ("mine", "t4", 2)
    assert found.host_to_gpu.gb_per_s == 10.5
    assert found.host_to_gpu.latency_ns == node("a100").host_to_gpu.latency_ns
    assert (found.host.memory_gb, found.host.gflops) == (64, node("a100").host.gflops)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("model: {}\n", 1),
        ("hardware:\n  preset: a100\n  gpu: voodoo\n", 3),
        ("hardware:\n  preset: a100\n  ssd: {gb_per_s: 0}\n", 3),
        ("hardware:\n  preset: a100\n  n_gpus: 0\n", 3),
        ("hardware:\n  gpu: t4\n", 1),
        ("hardware:\n  preset: warp\n", 2),
    ],
)
def test_bad_file_is_refused_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)

    with pytest.raises(FileFormatError) as refused:
        node(str(path))

    assert refused.value.line == line


def test_pageable_memory_is_copied_by_a_core_before_it_is_sent() -> None:
    served, server = model("mixtral-8x7b"), node("rtx-4090")

    pinned, pageable = (
        layer_costs(served, server, Serving(pinned=flag))[COSTS.index("load_ns")]
        for flag in (True, False)
    )

    # 25 GB/s of the link, and 12 GB/s of the core, one after the other: 8.1 GB/s.
    assert pageable / pinned == pytest.approx(1.0 + 25.0 / 12.0)


def test_experts_on_few_cores_are_bound_by_what_a_core_streams() -> None:
    served = model("mixtral-8x7b")
    server = replace(node("h100"), host=replace(node("h100").host, cores=64))

    def times(cores: int) -> tuple[float, float]:
        found = layer_costs(served, server, Serving(cpu_cores=cores))
        return found[COSTS.index("cpu_weight_ns")], found[COSTS.index("cpu_token_ns")]

    expert_bytes = 3 * 4096 * 14336 * 2
    # 46 % of 614 GB/s for all cores; four cores stream 48 GB/s.
    assert times(0)[0] == pytest.approx(expert_bytes / (0.46 * 614))
    assert times(4)[0] == pytest.approx(expert_bytes / 48)
    assert times(4)[1] == pytest.approx(16 * times(64)[1])


@pytest.mark.parametrize(
    ("hardware", "gigabytes"),
    [
        ("h100", 85.9), ("hgx-h200", 150.8), ("hgx-b200", 192.3), ("hgx-b300", 288.0),
        ("8x-mi300x", 206.1), ("8x-mi325x", 274.9), ("8x-mi355x", 309.2), ("a100", 85.9),
        ("l40s", 48.3), ("rtx-4090", 25.8), ("rtx-pro-6000", 102.6),
    ],
)  # fmt: skip
def test_every_named_gpu_serves(hardware: str, gigabytes: float) -> None:
    server = node(hardware)
    simulator = MoeSimulator("closed-loop", hardware=hardware, model="gpt-oss-20b", clients="4")
    workload = simulator.workload("chat-128")

    found = simulator.evaluate(simulator.space.design_at(simulator.space.default_indices), workload)

    assert server.gpu.memory_gb == gigabytes
    # 3.6e9 active weights, 3.2e9 of them at 4 bits, are 2.5 GB: 0.3 ms at 8 TB/s, 2.5 at 1 TB/s.
    assert 0.5 < found["tpot_mean_ms"] < 50.0
    space = simulator.space
    assert max(p.size for p in space.parameters if p.name == "tensor") <= server.n_gpus


@pytest.mark.parametrize(
    "name",
    [
        "gpt-oss-20b", "gpt-oss-120b", "minimax-m2.5", "qwen3.5-397b-a17b", "kimi-k2.5",
        "glm-4.5", "glm-4.5-air", "glm-5", "llama-4-scout", "llama-4-maverick",
    ],
)  # fmt: skip
def test_every_named_model_is_served_by_eight_b300(name: str) -> None:
    precision = "mxfp4" if name.startswith("gpt-oss") else "fp8"
    simulator = MoeSimulator(
        "closed-loop", hardware="hgx-b300", model=name, engine="sglang", precision=precision,
        clients="4",
    )  # fmt: skip

    found = simulator.evaluate(
        simulator.space.design_at(simulator.space.default_indices), simulator.workload("chat-128")
    )

    assert 1.0 < found["tpot_mean_ms"] < 50.0
    assert MoeSimulator("single-server", hardware="hgx-b300", model=name).model.name == name


@pytest.mark.parametrize(
    ("space", "design", "n_gpus"),
    [
        ("single-server", {"tensor": 16, "expert_bits": 8}, 16),
        ("closed-loop", {"tensor": 4, "data": 4, "clients": 1}, 16),
        ("expert-parallel", {"servers": 2, "tensor": 16}, 32),
    ],
)
def test_own_server_of_sixteen_is_used_whole(
    tmp_path: Path, space: str, design: dict[str, Any], n_gpus: int
) -> None:
    path = tmp_path / "sixteen.yaml"
    path.write_text("hardware: {preset: dgx-h100, n_gpus: 16}\n")
    task = Task.make("moe", space=space, hardware=str(path), fidelity="steps", requests="4")
    values = {**task.space.design_at(task.space.default_indices), **design}

    found = task.evaluate(task.space.indices_of(task.space.design(values))[None])

    column = [spec.name for spec in task.metrics].index("n_gpus")
    assert found.reason.tolist() == [[0]]
    assert found.values[0, 0, column] == n_gpus


def test_experts_that_cannot_be_spread_evenly_are_infeasible() -> None:
    task = Task.make(
        "moe", space="single-server", model="qwen1.5-moe-a2.7b", fidelity="steps", requests="4"
    )
    default = task.space.design_at(task.space.default_indices)
    design = task.space.design({**default, "spread": "yes", "tensor": 8})

    found = task.evaluate(task.space.indices_of(design)[None])

    reason = task.simulator.spec.reasons[int(found.reason[0, 0])]
    assert reason == "experts and copies do not divide evenly among the accelerators"


def test_default_design_takes_as_much_of_an_own_server_as_the_model_needs(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("hardware: {preset: h100, n_gpus: 16}\n")
    options: dict[str, Any] = {"model": "deepseek-v3", "precision": "fp8", "clients": "64"}

    small, large = (
        MoeSimulator("closed-loop", hardware=server, **options)
        for server in ("hgx-h200", str(path))
    )

    assert small.space.default["tensor"] == 8
    assert large.space.default["tensor"] == 16
    workload = large.workload(default_workload(large))
    assert large.evaluate(large.space.default, workload).infeasible is None
