"""Runs in parts: equal to whole runs bit for bit, and settings that change between the parts."""

import math
from typing import Any

import numpy as np
import pytest

from archgym.control.runs import Counter, Scale
from archgym.control.tasks import task_of
from archgym.errors import (
    InvalidArgumentError,
    InvalidDesignError,
    SimulatorError,
    UnknownNameError,
)
from archgym.evaluation.simulator import Workload, default_workload
from archgym.simulators.cpu.control.runs import CoresRun, CpuRun
from archgym.simulators.cpu.control.tasks import in_turns
from archgym.simulators.cpu.kernel.cores.run import run_cores
from archgym.simulators.cpu.kernel.run import run
from archgym.simulators.cpu.space import design_space, machine_of
from archgym.simulators.dram.control.runs import DramRun, RamulatorRun
from archgym.simulators.dram.controllers.dramsys import dramsys_of
from archgym.simulators.dram.dramsys.kernel import stepping
from archgym.simulators.dram.dramsys.kernel.batch import OUTPUTS
from archgym.simulators.dram.simulator import DramSimulator
from archgym.simulators.dram.workloads.trace import Trace
from archgym.simulators.moe import MoeSimulator
from archgym.simulators.moe.control.runs import MoeRun
from archgym.simulators.moe.kernel.state import FIRST, LAST


def in_parts(whole: Any, length: int, rng: np.random.Generator) -> Any:
    """Return a run cut at random places, now and then continued as a copy."""
    choices = (whole.choice({}),) * whole.n_agents
    cuts = sorted(rng.integers(1, length, size=int(rng.integers(0, 30))).tolist())
    for cut in cuts:
        if rng.random() < 0.3:
            whole = whole.copy()
        whole.advance(choices, cut)
    while not whole.is_over:
        whole.advance(choices, 1 << 62)
    return whole


@pytest.mark.slow
@pytest.mark.parametrize("workload", ["cloud-1", "bursty-rw", "recorded-sort"])
@pytest.mark.parametrize("device", ["ddr3-1600", "lpddr4-3200", "hbm2"])
def test_dram_in_parts_equals_a_whole_run(device: str, workload: str) -> None:
    simulator = DramSimulator(device=device, requests=3000)
    space, content = simulator.space, simulator.workload(workload)
    rng = np.random.default_rng(0)

    for indices in space.sample(6, rng):
        design = space.design_at(indices)
        indices = space.indices_of(design)[None]
        expected = dramsys_of(simulator).outputs(space, indices, content.content)[0]
        if expected[0]:
            continue  # the controller deadlocks
        found = in_parts(DramRun(simulator, design, content), 3000, rng).finish()

        places = [OUTPUTS.index(name) for name in found]
        assert len(places) >= 17
        # HBM2 has no energy.
        assert np.array_equal(list(found.values()), expected[places], equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["ddr5", "hbm3", "lpddr5"])
def test_ramulator_in_parts_equals_a_whole_run(device: str) -> None:
    simulator = DramSimulator(device=device, requests=3000)
    space, content = simulator.space, simulator.workload("bursty-rw")
    rng = np.random.default_rng(1)
    n_runs = 0

    for indices in space.sample(6, rng):
        expected = simulator.simulate(space.canonical(indices[None]), content)
        if expected.reason[0]:
            continue
        design = space.design_at(space.canonical(indices[None])[0])
        found = in_parts(RamulatorRun(simulator, design, content), 3000, rng).finish()

        # Bounds of an estimate are made of the metrics that a run has.
        names = [spec.name for spec in simulator.metrics if spec.name in found]
        assert [found[name] for name in names] == expected.values[0].tolist()
        n_runs += 1
    assert n_runs > 2


@pytest.mark.slow
def test_core_in_parts_equals_a_whole_run() -> None:
    space, rng = design_space("default"), np.random.default_rng(2)
    trace = in_turns(("stencil", "pointer-chase", "b-tree"), 24_000, 3, "mixture")

    for indices in space.sample(6, rng):
        design = space.design_at(space.canonical(indices[None])[0])
        expected = run(machine_of("default", design), trace, 5000, 12_000)
        if expected is None:
            continue  # the machine never ends
        found = in_parts(CpuRun(design, trace, 5000, 12_000), 12_000, rng).finish()

        assert list(found.values()) == expected.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("n_cores", [2, 4])
def test_cores_in_parts_equal_a_whole_run(n_cores: int) -> None:
    space, rng = design_space("default"), np.random.default_rng(n_cores)
    traces = [in_turns(("stencil", "b-tree"), 60_000, i, f"core-{i}") for i in range(n_cores)]
    design = space.design_at(space.default_indices)
    expected = run_cores(machine_of("default", design), traces, 4000, 8000)
    assert expected is not None

    found = in_parts(CoresRun(design, traces, 4000, 8000), max(expected[1]), rng).finish()

    assert list(found.values()) == list(expected[1])


@pytest.mark.slow
@pytest.mark.parametrize("clients", [0, None])
def test_server_in_parts_equals_a_whole_run(clients: int | None) -> None:
    simulator = MoeSimulator("closed-loop", fidelity="steps", clients=clients, requests=60)
    space, rng = simulator.space, np.random.default_rng(4)
    workload = simulator.workload(default_workload(simulator))
    n_runs = 0

    for indices in space.sample(5, rng):
        design = space.design_at(space.canonical(indices[None])[0])
        if simulator.prepared(design, workload).plan.infeasible is not None:
            continue
        expected = simulator.run(design, workload)
        elapsed_ms = max(2, int(expected.counters["elapsed_ns"] / 1e6))
        run = in_parts(MoeRun(simulator, design, workload), elapsed_ms, rng)

        found = run.finish()
        assert found == {name: expected.counters[name] for name in found}
        times = run._run.state.times
        assert np.array_equal(times[FIRST], expected.first_ns)
        assert np.array_equal(times[LAST], expected.finish_ns)
        n_runs += 1
    assert n_runs > 1


def test_choices_of_no_run_and_an_early_finish_are_refused() -> None:
    server = MoeSimulator("closed-loop", fidelity="steps", clients=0, requests=40)
    core = CpuRun({}, in_turns(("stencil",), 3000, 1, "short"), 500, 1000)
    memory = DramSimulator(device="ddr5", requests=1000)
    runs: list[Any] = [
        MoeRun(server, {}, server.workload(default_workload(server))),
        RamulatorRun(memory, {}, memory.workload("bursty-rw")),
        core,
    ]
    for each in runs:
        own = each.choice({})
        # Before, the first was a segmentation fault of the server.
        for choices in ((999_999,), (-1,), (), (own, own), ({},)):
            with pytest.raises(InvalidArgumentError, match="must be a tuple of 1 from `choice`"):
                each.advance(choices, 1000)
        each.advance((own,), 1)
        with pytest.raises(SimulatorError, match="must be over"):
            each.finish()
    with pytest.raises(InvalidArgumentError, match="`choices`"):
        runs[0].advance((core.choice({}),), 1000)


def test_server_takes_settings_with_the_next_step() -> None:
    simulator = MoeSimulator("closed-loop", fidelity="steps", clients=0, requests=40)
    run = MoeRun(simulator, {}, simulator.workload(default_workload(simulator)))
    branch = run.copy()

    for each, most in ((run, 1), (branch, 256)):
        each.advance((each.choice({"max_sequences": most}),), 1 << 40)

    assert run.finish()["peak_sequences"] == 1.0
    assert branch.finish()["peak_sequences"] > 1.0
    for name, value in (("max_tokens", 0), ("max_sequences", 1.5), ("scheduler", "lifo")):
        with pytest.raises(InvalidArgumentError, match=f"`{name}` must be"):
            run.choice({name: value})
    with pytest.raises(UnknownNameError, match="tensor"):
        run.choice({"tensor": 4})


def test_branch_continues_as_its_origin_and_leaves_it_alone() -> None:
    run, other = dram_run(), dram_run()
    first, second = ({"page_policy": p} for p in ("Open", "ClosedAdaptive"))
    for each in (run, other):
        each.advance((each.choice(first),), 500)
    branch = run.copy()
    branch.advance((branch.choice(second),), 1500)
    # A branch that has run ahead is used again.
    branch = run.copy(branch)

    found = [r.advance((r.choice(first),), 1200).values for r in (run, branch, other)]

    assert np.array_equal(found[0], found[2])
    assert np.array_equal(found[1], found[2])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workload", "arbiter"),
    [("cloud-1", "Fifo"), ("cloud-2", "Reorder"), ("recorded-hash-join", "Fifo")],
)
def test_window_that_moves_gives_the_bits_of_a_run_that_holds_all_bursts(
    workload: str, arbiter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings change and branches run ahead; requests of the last wait for answers."""
    simulator, found = DramSimulator(requests=6000), []
    for window in (1 << 20, 700, 1500):
        monkeypatch.setattr(stepping, "_WINDOW", window)
        rng, branch, rows = np.random.default_rng(1), None, []
        run = DramRun(simulator, {"arbiter": arbiter}, simulator.workload(workload))
        run.count(("p99_latency_ns", "energy_pj"))
        pages = ("Open", "OpenAdaptive", "ClosedAdaptive")
        choices = [run.choice({"page_policy": page}) for page in pages]
        until = 0
        while not run.is_over:
            until += int(rng.integers(20, 900))
            if rng.random() < 0.4:
                branch = run.copy(branch)
                branch.advance((choices[int(rng.integers(3))],), until + int(rng.integers(2000)))
            part = run.advance((choices[int(rng.integers(3))],), until)
            rows.append([*part.values[0], *part.cost, *np.concatenate([*part.amounts.values()])])
        found.append((rows, run.finish()))
        assert run._run._epoch[0]["base"] > 0 or window == 1 << 20

    assert found[0] == found[1] == found[2]


def test_branch_that_is_used_again_has_the_metrics_of_its_origin() -> None:
    run = dram_run()
    first, second = (run.choice({"page_policy": p}) for p in ("Open", "ClosedAdaptive"))
    branch = run.copy()
    for number in range(1, 9):
        branch.advance((second,), 250 * number + 100)
        run.advance((first,), 250 * number)
        branch = run.copy(branch)

    assert run.is_over
    assert branch.finish() == run.finish()


def test_branch_of_the_second_controller_continues_as_its_origin_and_leaves_it_alone() -> None:
    simulator = DramSimulator(device="ddr5", requests=1000)
    run = RamulatorRun(simulator, {}, simulator.workload("bursty-rw"))
    opened, closed = (run.choice({"row_policy": p}) for p in ("Open", "ClosedCAP"))
    run.advance((opened,), 300)
    branch, other = run.copy(), run.copy()
    other.advance((closed,), 900)

    found = [each.advance((opened,), 10_000).values for each in (run, branch)]

    assert run.is_over
    assert np.array_equal(found[0], found[1])
    assert run.finish() == branch.finish()


def dram_run(device: str = "ddr3-1600", workload: str = "cloud-1", **settings: Any) -> DramRun:
    simulator = DramSimulator(device=device, requests=2000)
    return DramRun(simulator, settings, simulator.workload(workload))


def test_parts_add_up_to_the_trace() -> None:
    run = dram_run()
    parts = [run.advance((run.choice({}),), 250 * (number + 1)) for number in range(8)]
    assert run.is_over

    outputs = run.finish()

    assert sum(part.work[0] for part in parts) == 2000
    # All requests are due from the start on, a tick apart, so that most wait before they are sent.
    assert sum(part.cost[0] for part in parts) / 2000 > 5 * outputs["mean_latency_ns"]


def test_due_latency_counts_from_when_a_request_is_due() -> None:
    # Two reads due at once; the second is sent when the first was accepted, a clock later.
    reads = np.zeros(2, dtype=bool)
    trace = Trace("two", np.array([0, 0]), reads, np.array([0, 64]), clock_mhz=800)
    simulator = DramSimulator()
    run = DramRun(simulator, {"arbiter": "Fifo"}, Workload("two", trace.digest, trace))

    part = run.advance((run.choice({}),), 2)
    mean_ns = run.finish()["mean_latency_ns"]

    assert part.cost[0] / 2 - mean_ns == pytest.approx(1.25 / 2)


def test_row_that_was_open_before_a_switch_to_closed_is_closed_first() -> None:
    # A row stays open after the first read; the second goes to another row of the bank.
    row = 8192 * 8
    trace = Trace(
        "rows",
        np.array([0, 100, 400]),
        np.zeros(3, dtype=bool),
        np.array([0, row, 2 * row]),
        clock_mhz=800,
    )
    simulator = DramSimulator()
    workload = Workload("rows", trace.digest, trace)
    run = DramRun(simulator, {"arbiter": "Fifo", "address_mapping": "row-bank-column"}, workload)
    run.advance((run.choice({"page_policy": "Open"}),), 1)

    run.advance((run.choice({"page_policy": "Closed"}),), 3)
    outputs = run.finish()

    assert outputs["row_conflicts"] == 1
    assert outputs["row_misses"] == 2


def test_fewer_postponed_refreshes_are_forced_at_once() -> None:
    run = dram_run(workload="cloud-1", refresh_max_postponed=8, refresh_max_pulled_in=0)
    run.advance((run.choice({}),), 1000)
    before = run.copy()

    run.advance((run.choice({"refresh_max_postponed": 0}),), 2000)
    before.advance((before.choice({}),), 2000)

    assert run.finish()["refreshes"] > before.finish()["refreshes"]


def test_settings_that_may_not_change_are_refused() -> None:
    run = dram_run()

    with pytest.raises(UnknownNameError, match="arbiter"):
        run.choice({"arbiter": "Simple"})
    with pytest.raises(InvalidDesignError):
        dram_run(command_mux="Strict", scheduler="Fifo").choice({"scheduler": "FrFcfs"})


def test_prefetcher_that_is_switched_on_prefetches_from_then_on() -> None:
    trace = in_turns(("stencil", "stencil"), 24_000, 0, "stencil")
    run = CpuRun({}, trace, 4000, 12_000)
    off, on = (run.choice({"l2_prefetcher": p}) for p in ("none", "ip-stride"))
    place = [counter.name for counter in run.counters].index("l2_prefetches")

    rates = [run.advance((c,), 3000 * (i + 1)).values[0, place] for i, c in enumerate((off, on))]

    assert rates[0] == 0.0
    assert rates[1] > 1.0


def test_scale_maps_declared_ranges_to_one() -> None:
    counters = (
        Counter(name="share", low=0.0, high=2.0, doc="Share."),
        Counter(name="latency_ns", low=10.0, high=1000.0, is_log=True, doc="Latency."),
    )

    found = Scale(counters)(np.array([[1.0, 100.0], [5.0, 1.0], [math.nan, 1e9]]))

    assert found == pytest.approx(np.array([[0.5, 0.5], [1.0, 0.0], [0.0, 1.0]]))


@pytest.mark.parametrize("name", ["dram-locality:requests=1000", "cpu-mixture:instructions=1000",
    "moe-bursts:requests=10"])  # fmt: skip
def test_parts_of_no_work_change_nothing(name: str) -> None:
    task = task_of(name)
    ours, plain = (task.begin("held-out-0") for _ in range(2))
    for until in (1, 1, 1, 2, 3):
        ours.advance((ours.choice({}),), until)
    for _ in range(3):
        last = ours.advance((ours.choice({}),), 10**9)
    plain.advance((plain.choice({}),), 10**9)
    assert not last.work.any()
    assert ours.finish() == plain.finish()
