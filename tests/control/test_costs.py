"""Costs by name: formulas, what runs count for them, and what is refused."""

import numpy as np
import pytest

from archgym.control.tasks import Episode, hindsight, reference, static, task_names, task_of
from archgym.errors import ArchGymError, UnknownNameError
from archgym.evaluation.simulator import Workload
from archgym.simulators.cpu.control.runs import CpuRun
from archgym.simulators.cpu.simulator import CpuSimulator
from archgym.simulators.dram import DramSimulator
from archgym.simulators.dram.control.runs import DramRun, RamulatorRun
from archgym.simulators.dram.control.tasks import _KINDS, _simulator

SHORT = {"cpu": "instructions=4000,epoch=500", "dram": "requests=2000", "moe": "requests=60"}


@pytest.mark.parametrize("name", task_names())
def test_every_cost_of_every_task_is_positive_and_equal_on_branches(name: str) -> None:
    short = f"{name}:{SHORT[name.partition('-')[0]]}"
    for cost in task_of(name).costs:
        task = task_of(f"{short},cost={cost}")
        episode = Episode(task, "held-out-0")
        twin = episode
        while not episode.is_over:
            twin = episode.copy()
            part = episode.step((task.default,) * len(task.agents))
            assert np.array_equal(twin.step((task.default,) * len(task.agents)).cost, part.cost)
            assert np.isfinite(part.cost).all()
            assert part.cost.min() >= 0.0
        found = static(task, "held-out-0", task.default).score
        assert found > 0.0 or "promises" in cost
        if cost == next(iter(task.costs)):
            assert found == pytest.approx(static(task_of(short), "held-out-0", task.default).score)


@pytest.mark.parametrize("device", ["ddr3-1600", "ddr5"])
def test_energy_of_epochs_adds_up_to_that_of_the_run(device: str) -> None:
    simulator = _simulator(device)
    trace = _KINDS["sparse-30"](2000, 5)
    kind = RamulatorRun if device == "ddr5" else DramRun
    run = kind(simulator, {}, Workload("sparse", trace.digest, trace))
    run.count(("energy_pj", "energy_delay", "p99_latency_ns"))
    parts = []
    while not run.is_over:
        parts.append(run.advance((run.choice({}),), 250 * (len(parts) + 1)))

    whole = simulator.evaluate_batch(
        simulator.space.default_indices[None, :], Workload("sparse", trace.digest, trace)
    )
    metrics = dict(zip([m.name for m in simulator.metrics], whole.values[0], strict=True))
    total = sum(float(part.amounts["energy_pj"][0]) for part in parts)
    assert len(parts) > 4
    assert total == pytest.approx(metrics["total_energy_pj"], rel=1e-6)


def test_percentile_of_a_run_in_one_epoch_is_that_of_the_simulator() -> None:
    simulator = DramSimulator()
    trace = _KINDS["sparse-30"](3000, 5)
    run = DramRun(simulator, {}, Workload("sparse", trace.digest, trace))
    run.count(("p99_latency_ns",))
    part = run.advance((run.choice({}),), 10**6)

    # Sparse requests are sent when they are due.
    assert part.cost[0] / part.work[0] == pytest.approx(run.finish()["mean_latency_ns"], rel=0.02)
    found = part.amounts["p99_latency_ns"] / part.work
    assert found == pytest.approx(run.finish()["p99_latency_ns"], rel=0.02)


def test_energy_of_a_core_is_that_of_the_simulator() -> None:
    simulator = CpuSimulator(instructions=8000, warmup=3000)
    workload = simulator.workload("b-tree")
    trace, warmup, length = simulator.region(workload.content)
    run = CpuRun({}, trace, warmup, length)
    run.count(("energy_pj",))
    parts = [run.advance((run.choice({}),), until) for until in range(500, length + 500, 500)]

    names = [m.name for m in simulator.metrics]
    row = simulator.evaluate_batch(simulator.space.default_indices[None, :], workload).values[0]
    energy = sum(float(part.amounts["energy_pj"][0]) for part in parts)
    per_instruction = row[names.index("energy_per_instruction_pj")]
    assert energy / sum(part.work[0] for part in parts) == pytest.approx(per_instruction, rel=1e-3)


def test_weighted_sum_is_the_sum_of_its_parts() -> None:
    options = "requests=2000,device=ddr4-2400"
    scores = {
        cost: static(task_of(f"dram-load:{options},cost={cost}"), "held-out-0", 2).score
        for cost in ("latency_from_due_ns", "energy_pj", "latency_from_due_ns+0.25*energy_pj")
    }
    latency, energy, both = scores.values()

    assert both == pytest.approx(latency + 0.25 * energy)


def test_other_cost_may_have_another_best_setting() -> None:
    fast, thrifty = (
        task_of(f"dram-locality:requests=4000,cost={c}")
        for c in ("latency_from_due_ns", "energy_pj")
    )

    assert hindsight(fast, "held-out-0")[1] < 1000.0 < hindsight(thrifty, "held-out-0")[1]
    assert reference(thrifty) in range(6)


@pytest.mark.parametrize(
    "text",
    ["1", "energy_pj-latency_from_due_ns", "energy_pj**2", "energy_pj*", "0*energy_pj", "()",
     "nan*energy_pj", "-1*energy_pj", "energy_pj+energy_pj", "1e999*energy_pj",
     "+".join(["2*energy_pj"] * 300)],
)  # fmt: skip
def test_cost_that_is_no_weighted_sum_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ArchGymError) as caught:
        task_of(f"dram-load:cost={text}")

    assert "\n" not in str(caught.value)


def test_unknown_cost_and_energy_that_is_counted_later_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="p99_latency_ns"):
        task_of("dram-load:cost=p99_latency")
    with pytest.raises(UnknownNameError, match="cycles_per_instruction"):
        task_of("cpu-cores-2:cost=energy_pj")
    with pytest.raises(ArchGymError, match="whose energy is counted after a run"):
        task_of("dram-load:device=hbm3,cost=energy_pj")
