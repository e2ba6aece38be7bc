"""Systolic arrays with buffers, alone and with their memory."""

from typing import Any

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.evaluation.capabilities import exported
from archgym.simulators.accelerator import AcceleratorSimulator
from archgym.simulators.accelerator.kernel.systolic import DATAFLOWS, systolic_run
from archgym.simulators.accelerator.kernel.tiles import Array, tiles_of
from archgym.simulators.accelerator.problem import Problem
from archgym.simulators.accelerator.workloads import layer_named, load_network
from archgym.simulators.accelerator_plus_dram import AcceleratorDramSimulator
from archgym.simulators.accelerator_plus_dram.memory import (
    least_ps,
    peak_bytes_per_ps,
    run_layer,
)
from archgym.simulators.dram.ramulator.kernel.run import Configuration, Requests, run
from archgym.simulators.dram.ramulator.machine import standard

LAYER = layer_named("resnet-18/layer3.0.conv2")
SMALL = layer_named("resnet-18/layer4.0.downsample")
DDR4 = Configuration(
    organisation="DDR4_8Gb_x8", timing="DDR4_3200AA", channels=2, mapping="MOP4CLXOR", width=8
)
WHOLE = 2**21


def array(dataflow: str, side: int = 32, kib: tuple[int, int, int] = (64, 64, 64)) -> Array:
    return Array(side, side, dataflow, kib)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("name", ["resnet-18", "mobilenet-v2", "bert-base", "alexnet"])
def test_cycles_without_stalls_are_those_of_the_array_without_buffers(
    name: str, dataflow: str
) -> None:
    for layer in load_network(name).layers:
        tiles = tiles_of(layer.problem, Array(32, 16, dataflow, (16, 64, 32)))
        cycles = tiles.repeats * int(tiles.cycles.sum())

        assert cycles == systolic_run(layer.problem, 32, 16, dataflow).cycles


def test_bytes_of_a_product_that_fits_are_those_of_its_matrices() -> None:
    # 64 pixels, 128 channels, 32 filters of 1 x 1: every matrix fits half of its buffer.
    product = product_of(pixels=64, channels=128, filters=32)
    matrices = 64 * 128 + 128 * 32 + 64 * 32

    for dataflow in DATAFLOWS:
        assert tiles_of(product, array(dataflow, 16)).n_bytes == matrices


def test_partial_sums_that_do_not_fit_leave_and_return() -> None:
    # The array has a quarter of the channels; sums of 4,096 x 16 x 4 bytes exceed 8 KiB.
    product = product_of(pixels=4096, channels=64, filters=16)
    small, large = (16, 64, 16), (16, 64, 1024)
    sums = 4 * 4096 * 16

    spilled = tiles_of(product, Array(16, 16, "weight-stationary", small))
    kept = tiles_of(product, Array(16, 16, "weight-stationary", large))

    # Written after each of three folds and read before each of three.
    assert spilled.n_bytes - kept.n_bytes == 6 * sums
    assert int(kept.writes.sum()) == 4096 * 16


def product_of(pixels: int, channels: int, filters: int) -> Problem:
    one = ((("M", 1),), (("C", 1),)), ((("C", 1),), (("P", 1),)), ((("M", 1),), (("P", 1),))
    return Problem("product", {"C": channels, "M": filters, "P": pixels}, one)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_requests_are_served_as_the_dram_simulator_serves_them_alone(dataflow: str) -> None:
    made = standard("ddr4")
    found = run_layer(SMALL.problem, array(dataflow, 16), made, DDR4, WHOLE)
    assert found is not None
    outcome = found.outcome
    # Requests that wait for room are offered later than they are due.
    due_ps = outcome.arrive * outcome.tick_ps

    alone = run(made, DDR4, Requests.of(due_ps, found.is_write, found.addresses))

    assert len(found.addresses) > 1000
    assert found.is_write.any()
    assert (alone.depart == outcome.depart).all()


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_layer_takes_at_least_its_cycles_and_its_bytes_at_the_peak(dataflow: str) -> None:
    made = standard("ddr4")
    peak = peak_bytes_per_ps(made, DDR4)

    for limit in (WHOLE, 4_000):
        found = run_layer(LAYER.problem, array(dataflow), made, DDR4, limit)
        assert found is not None
        least = float(least_ps(LAYER.problem, array(dataflow), np.array([peak]))[0])
        assert found.time_ps >= least
        assert found.compute_ps <= least
    # DDR4-3200 on two channels of 64 pins: 51.2 GB/s.
    assert peak == 0.0512


def test_sampled_run_is_near_the_whole_one() -> None:
    made = standard("ddr4")
    for dataflow in DATAFLOWS:
        whole = run_layer(LAYER.problem, array(dataflow), made, DDR4, WHOLE)
        sampled = run_layer(LAYER.problem, array(dataflow), made, DDR4, 8_000)
        assert whole is not None
        assert sampled is not None
        assert whole.share == 1.0
        assert sampled.share > 1.5
        assert sampled.time_ps == pytest.approx(whole.time_ps, rel=0.1)


def test_order_of_dataflows_flips_with_the_memory() -> None:
    # Raj et al., arXiv:2504.15377: six shapes of ResNet-18; weight-stationary is better alone,
    # output-stationary with the memory.
    whole = AcceleratorDramSimulator(**{"accelerator.layers": "3"})
    workload = whole.workload("resnet-18")
    design = dict(whole.space.design_at(whole.space.default_indices))
    problem = layer_named("resnet-18/layer1.0.conv1").problem
    alone = {d: systolic_run(problem, 128, 128, d).cycles for d in DATAFLOWS}

    found = {
        dataflow: whole.evaluate(
            {
                **design,
                "accelerator.array_height": 128,
                "accelerator.array_width": 128,
                "accelerator.dataflow": dataflow,
            },
            workload,
        )["latency_us"]
        for dataflow in DATAFLOWS
    }

    assert alone["weight-stationary"] < alone["output-stationary"]
    assert found["weight-stationary"] > 1.3 * found["output-stationary"]


def test_more_bandwidth_takes_stalls_away() -> None:
    whole = AcceleratorDramSimulator(**{"accelerator.layers": "2"})
    workload = whole.workload("resnet-18")
    design = dict(whole.space.design_at(whole.space.default_indices))

    one = whole.evaluate({**design, "dram.channels": 1}, workload)
    eight = whole.evaluate({**design, "dram.channels": 8}, workload)

    assert one["stall_percent"] > eight["stall_percent"]
    assert one["accelerator.latency_cycles"] == eight["accelerator.latency_cycles"]
    assert eight["area_mm2"] - one["area_mm2"] == pytest.approx(14.0)


def test_array_is_simulated_once_for_several_memories() -> None:
    whole = AcceleratorDramSimulator(**{"accelerator.layers": "1"})
    workload = whole.workload("resnet-18")
    design = dict(whole.space.design_at(whole.space.default_indices))

    for channels in (1, 2, 4):
        whole.evaluate({**design, "dram.channels": channels}, workload)

    assert whole.n_part_runs == 1


def test_space_with_buffers_has_metrics_of_its_own() -> None:
    alone = AcceleratorSimulator("systolic-buffered")
    design = dict(alone.space.design_at(alone.space.default_indices))

    found = alone.evaluate(design, alone.workload("resnet-18"))
    larger = alone.evaluate({**design, "output_kib": 256}, alone.workload("resnet-18"))

    assert found["units"] == 1024.0
    assert larger["dram_bytes"] < found["dram_bytes"]
    assert larger["area_mm2"] > found["area_mm2"]
    assert larger["latency_cycles"] == found["latency_cycles"]


def test_export_has_the_requests_of_the_tiles() -> None:
    whole = AcceleratorDramSimulator(**{"accelerator.layers": "1"})

    files: Any = exported(
        whole, "dram.ramulator", whole.space.default_indices, whole.workload("resnet-18")
    )

    assert any("DDR4_8Gb_x8" in text for text in files.values())
    assert any(text.count("\n") > 1000 for text in files.values())


@pytest.mark.parametrize("device", ["lpddr5", "hbm3", "gddr6"])
def test_every_family_of_devices_runs_with_an_energy(device: str) -> None:
    whole: Any = AcceleratorDramSimulator(**{"dram.device": device, "accelerator.layers": "1"})
    workload = whole.workload("resnet-18")

    found = whole.evaluate(whole.space.design_at(whole.space.default_indices), workload)

    assert found["dram_energy_uj"] > 0.0


def test_device_without_such_controllers_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"dram\.device"):
        AcceleratorDramSimulator(**{"dram.device": "ddr3-1600"})
