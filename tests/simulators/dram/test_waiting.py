"""Requests that wait for earlier answers: times by hand, and properties over all devices."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError, InvalidDesignError
from archgym.evaluation.capabilities import exported, facts_about, never_compared
from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import Workload
from archgym.report.decision import decide
from archgym.simulators.dram.control.runs import DramRun, RamulatorRun
from archgym.simulators.dram.controllers.dramsys import DramsysController
from archgym.simulators.dram.controllers.ramulator import controllers_of
from archgym.simulators.dram.dramsys.devices import device
from archgym.simulators.dram.dramsys.kernel.batch import tables
from archgym.simulators.dram.dramsys.mapping import decode, layout
from archgym.simulators.dram.ramulator.kernel.run import bursts_of, run
from archgym.simulators.dram.simulator import DramSimulator, device_names
from archgym.simulators.dram.workloads.trace import Trace, read_trace, trace_text, write_trace
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.simulators.dram.recording import Recording, record
from tests.simulators.dram.test_kernel import CYCLE, address, controller

# A device of each standard and of each family, and one of several ranks.
DEVICES = (
    "ddr3-1600",
    "ddr4-2400",
    "lpddr4-3200",
    "hbm2",
    "ddr4",
    "ddr5",
    "lpddr5",
    "hbm3",
    "gddr6",
)

NOT_COMPARED = "wait for answers, which no tool was compared on"


def trace(waits_for: Any, *, gap: int = 4, n: int = 300, length: int = 64, **changes: Any) -> Trace:
    rng = np.random.default_rng(3)
    return Trace(
        "walk",
        gap * np.arange(n),
        np.zeros(n, bool),
        64 * rng.integers(2**20, size=n),
        np.full(n, length),
        clock_mhz=2000,
        waits_for=np.asarray(waits_for),
        **changes,
    )


def chain(n: int = 300, **changes: Any) -> Trace:
    return trace(np.arange(n) - 1, n=n, **changes)


def never(n: int = 300, **changes: Any) -> Trace:
    return trace([], n=n, **changes)


def simulator(name: str) -> DramSimulator:
    return make_simulator(DramSimulator, None, None, {"device": name})  # type: ignore[return-value]  # of this class


def metrics_of(made: DramSimulator, content: Trace) -> dict[str, float]:
    indices = made.space.default_indices[None]
    workload = Workload(content.name, content.digest, content)
    values = made.evaluate_batch(indices, workload).values[0]
    return dict(zip((spec.name for spec in made.metrics), values.tolist(), strict=True))


def recorded(ticks: list[int], waits: list[tuple[int, int]], **settings: Any) -> Recording:
    memory = device("ddr3-1600")
    is_relative = bool(settings.pop("is_relative", False))
    addresses = np.array([address(1, bank) for bank in range(len(ticks))])
    return record(
        controller(**settings),
        decode(addresses, [layout("row-bank-column", memory)], memory)[0],
        addresses,
        np.array(ticks),
        np.zeros(len(ticks), bool),
        player_clock_ps=memory.clock_ps,
        is_relative=is_relative,
        device=tables(memory),
        waits=np.array(waits),
    )


def sent(found: Recording) -> list[int]:
    return [int(time) // CYCLE for time in found.requests["sent"]]


@pytest.mark.parametrize("arbiter", ["Simple", "Fifo", "Reorder"])
def test_request_that_waits_delays_all_that_follow(arbiter: str) -> None:
    found = recorded([0, 3, 9, 200], [(0, 0), (0, 1), (0, 0), (0, 0)], arbiter=arbiter)

    # The first answer takes 24 cycles. The second request leaves 3 after the tick that follows, so
    # the program stands still for 24 + 1 + 3 - 3.
    assert int(found.requests["received"][0]) == 24 * CYCLE
    assert sent(found) == [0, 28, 34, 225]


def test_delay_of_a_relative_trace_counts_from_the_answer() -> None:
    found = recorded([0, 3, 2], [(0, 0), (0, 1), (0, 0)], is_relative=True)

    assert sent(found)[:2] == [0, 28]


def test_request_of_several_bursts_is_answered_with_its_last() -> None:
    found = recorded([0, 0, 0, 1], [(0, 0), (0, 0), (0, 0), (0, 3)])

    last = max(int(time) for time in found.requests["received"][:3])
    assert last > int(found.requests["received"][0])
    assert sent(found)[3] == last // CYCLE + 1 + 1


def test_front_end_of_the_second_controller_waits_as_long() -> None:
    memory = simulator("ddr5")
    made = controllers_of(memory)
    content = trace([-1, 0, -1], n=3, gap=1000)
    c = made.configuration(memory.space.design_at(memory.space.default_indices))

    found = run(made.made, c, bursts_of(content, made.burst_bytes).requests)

    think = -(-1000 * content.period_ps // found.tick_ps)
    assert found.due[1] == found.depart[0] + think
    assert found.due[2] == found.due[1] + think


@pytest.mark.parametrize("name", DEVICES)
def test_chain_has_one_request_under_way_on_every_device(name: str) -> None:
    made = simulator(name)

    free, chained = metrics_of(made, trace([])), metrics_of(made, chain())

    assert 300 * chained["mean_latency_ns"] <= chained["total_time_ns"]
    assert 300 * free["mean_latency_ns"] > free["total_time_ns"]
    assert free["total_time_ns"] < chained["total_time_ns"]


@pytest.mark.parametrize("name", DEVICES)
def test_each_wait_takes_as_long_as_the_answer(name: str) -> None:
    # 20 us of work between two requests, far longer than any answer takes.
    made, n = simulator(name), 40
    free, chained = (metrics_of(made, one(n=n, gap=40_000)) for one in (never, chain))

    waited = chained["total_time_ns"] - free["total_time_ns"]

    # Refreshes delay single requests, and other ones in either run.
    assert waited == pytest.approx((n - 1) * chained["mean_latency_ns"], rel=0.3)


@pytest.mark.parametrize("name", ["ddr3-1600", "hbm2", "ddr5", "lpddr5"])
def test_waiting_run_in_parts_equals_a_whole_run(name: str) -> None:
    made = simulator(name)
    n = 400
    content = trace(np.where(np.arange(n) % 3 == 0, np.arange(n) - 2, -1).clip(-1), n=n)
    workload = Workload(content.name, content.digest, content)
    design = made.space.design_at(made.space.default_indices)
    kind: Any = DramRun if isinstance(made.controller, DramsysController) else RamulatorRun

    part = kind(made, design, workload)
    for cut in (1, 7, 100, 250):
        part = part.copy()
        part.advance((part.choice({}),), cut)
    part.advance((part.choice({}),), 1 << 62)

    expected = metrics_of(made, content)
    found = part.finish()
    assert found["total_time_ns"] == expected["total_time_ns"]
    assert found["mean_latency_ns"] == expected["mean_latency_ns"]


@pytest.mark.parametrize("name", DEVICES)
def test_description_counts_the_requests_that_wait(name: str) -> None:
    made = simulator(name)
    rows = [
        {key.replace("_", " "): value for key, value in facts_about(made, w).items()}
        for w in (Workload(t.name, t.digest, t) for t in (trace([]), chain()))
    ]

    assert "waiting requests" not in rows[0]
    assert rows[1]["waiting requests"] == (299, "")


def test_every_device_is_of_a_kind_that_is_tried_here() -> None:
    kinds = {name.split("-")[0].rstrip("x") for name in device_names()}

    assert kinds <= {name.split("-")[0] for name in DEVICES} | {"lpddr5"}


@pytest.mark.parametrize("ending", [".stl", ".rstl.gz"])
def test_file_keeps_who_waits_for_whom(tmp_path: Path, ending: str) -> None:
    content = chain(n=5, relative=ending.startswith(".rstl"))
    write_trace(content, tmp_path / f"walk{ending}")

    found = read_trace(tmp_path / f"walk{ending}")

    assert found.waits_for.tolist() == [-1, 0, 1, 2, 3]
    assert found.digest == content.digest != replace(content, waits_for=np.zeros(0)).digest
    assert found.first(2).waits_for.tolist() == [-1, 0]
    assert not len(found.first(1).waits_for)


def test_trace_in_which_nobody_waits_is_as_it_always_was() -> None:
    # Recorded before requests could wait.
    content = trace(np.full(3, -1), n=3)

    assert "<" not in trace_text(content)
    assert content.digest.startswith("07b289a41f77cbdf")


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ("0: read 0x40 <1", 1),
        ("0: read 0x40 64\n1: read 0x40 64 <2", 2),
        ("0: write 0x40\n1: read 0x40 <1", 2),
        ("0: read 0x40\n1: read 0x40 <0", 2),
    ],
)  # fmt: skip
def test_line_that_waits_for_no_earlier_read_is_refused(
    tmp_path: Path, lines: str, line: int
) -> None:
    path = tmp_path / "wrong.stl"
    path.write_text(lines)

    with pytest.raises(FileFormatError, match="Only reads have an answer") as caught:
        read_trace(path)

    assert f"wrong.stl:{line}:" in str(caught.value)


@pytest.mark.parametrize("waits_for", [[0, -1], [-1, 1], [-1, -2], [-1, 0, 0]])
def test_trace_that_waits_for_no_earlier_read_is_refused(waits_for: list[int]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"wait for an earlier read|one entry a request"):
        trace(waits_for, n=2)


def test_search_waits_and_its_task_reads_back(tmp_path: Path) -> None:
    write_trace(chain(n=50), tmp_path / "walk.stl")
    write_trace(trace([], n=50), tmp_path / "free.stl")
    walk, free = (
        Task.make("dram", workload=str(tmp_path / f"{name}.stl"), minimise="total_time_ns")
        for name in ("walk", "free")
    )
    designs = walk.space.sample(6, np.random.default_rng(0))

    ratio = walk.evaluate(designs).values[:, 0, 0] / free.evaluate(designs).values[:, 0, 0]

    assert walk.id != free.id
    assert Task.from_json(walk.to_json()).digest == walk.digest
    ratio = ratio[np.isfinite(ratio)]
    # Controllers that have one request under way wait in any case.
    assert (ratio >= 1).all()
    assert (ratio > 1.1).any()


@pytest.mark.parametrize(("name", "form"), [("ddr3-1600", "dramsys"), ("ddr5", "ramulator")])
def test_workload_whose_requests_wait_is_refused_by_tools(name: str, form: str) -> None:
    made = simulator(name)
    content = chain(n=4)

    with pytest.raises(InvalidDesignError, match=r"'walk'.* wait for an earlier answer"):
        exported(made, form, made.space.default_indices, Workload("walk", content.digest, content))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.rstl", "0: read 0x0\n9: read 0x40\n9: read 0x80 <2\n", "waits for the one before it"),
        ("a.stl", "# clock_mhz: 400.5\n0: read 0x0\n", "a comment on clock_mhz must end in"),
        ("a.stl", "# placed_bytes: -5\n0: read 0x0\n", "a comment on placed_bytes must end in"),
    ],
)
def test_what_would_have_no_effect_is_refused(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(FileFormatError, match=message):
        read_trace(tmp_path / name)


@pytest.mark.parametrize("memory", ["ddr3-1600", "ddr5"])
def test_requests_that_wait_are_compared_with_no_tool(tmp_path: Path, memory: str) -> None:
    for name, waits in (("plain", np.zeros(0)), ("waiting", chain(n=5).waits_for)):
        write_trace(replace(chain(n=5), waits_for=waits), tmp_path / f"{name}.stl")
        task = Task.make("dram", str(tmp_path / f"{name}.stl"), device=memory)
        Study.create(tmp_path / name, task, "random", seed=0, budget=3).run()
        decision = decide(read_study(tmp_path / name))

        assert decision.origin == ("exact" if name == "plain" else "chosen")
        said = never_compared(task.simulator, task.workloads[0].workload)
        assert said == ("" if name == "plain" else f"4 requests {NOT_COMPARED}")
