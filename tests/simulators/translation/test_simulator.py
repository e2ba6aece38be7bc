"""The simulator as a whole: designs in, metrics out."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError, SimulatorError, UnknownNameError
from archgym.evaluation.capabilities import facts_about
from archgym.simulators.translation import TranslationSimulator
from archgym.simulators.translation import workloads as workloads_module
from archgym.simulators.translation.metrics import METRICS
from archgym.traces import MemoryTrace, shipped_trace, write_memory_trace
from evidence.translation.reference import (
    golden_rows,
    golden_text,
    recorded_rows,
)

PLACE = {spec.name: place for place, spec in enumerate(METRICS)}


def evaluate(simulator: TranslationSimulator, workload: str = "kmer-count", **changes: Any) -> Any:
    space = simulator.space
    design = dict(space.design_at(space.default_indices)) | changes
    return simulator.evaluate(design, simulator.workload(workload))


@pytest.fixture(scope="module")
def limits() -> TranslationSimulator:
    return TranslationSimulator("limits", fidelity="short")


def test_default_design_is_the_baseline(limits: TranslationSimulator) -> None:
    for simulator in (limits, TranslationSimulator("tabulated", fidelity="short")):
        found = evaluate(simulator)

        assert found["speedup"] == 1.0
        assert found["area_mm2"] == 32.0


def test_perfect_tlb_is_the_fastest(limits: TranslationSimulator) -> None:
    perfect = evaluate(limits, mechanism="perfect")
    others = [
        evaluate(limits, mechanism=name) for name in ("victima", "pom_tlb", "l3_tlb", "cluster")
    ]

    assert perfect["translation_percent"] == 0.0
    assert all(perfect["speedup"] >= other["speedup"] for other in others)


def test_victima_answers_misses_of_the_l2_tlb(limits: TranslationSimulator) -> None:
    radix, victima = evaluate(limits), evaluate(limits, mechanism="victima")

    assert victima["mechanism_hit_percent"] > 10.0
    assert victima["walks_per_kilo_instruction"] < radix["walks_per_kilo_instruction"]
    assert victima["block_reach_mib"] > 0.0
    assert victima["l2_tlb_mpki"] == pytest.approx(radix["l2_tlb_mpki"], rel=0.05)


def test_huge_pages_alone_leave_few_misses(limits: TranslationSimulator) -> None:
    small = evaluate(limits, huge_page_percent=0)
    huge = evaluate(limits, huge_page_percent=100)

    assert huge["l2_tlb_mpki"] < 0.5 * small["l2_tlb_mpki"]


def test_virtual_machine_walks_longer(limits: TranslationSimulator) -> None:
    native, virtual = evaluate(limits), evaluate(limits, execution="virtualised")

    assert virtual["mean_walk_latency_cycles"] > native["mean_walk_latency_cycles"]
    assert virtual["speedup"] < 1.0


def test_latency_of_the_l2_tlb_follows_its_model(limits: TranslationSimulator) -> None:
    large: dict[str, Any] = {"l2_tlb_entries": 65536, "l2_tlb_ways": 16}
    ideal = evaluate(limits, **large, l2_tlb_latency="ideal")
    published = evaluate(limits, **large)
    ratio = evaluate(limits, **large, l2_tlb_latency="cacti-ratio")

    assert ideal["l2_tlb_mpki"] == published["l2_tlb_mpki"] == ratio["l2_tlb_mpki"]
    assert ideal["total_cycles"] < published["total_cycles"] < ratio["total_cycles"]


def test_in_order_core_waits_for_every_cycle() -> None:
    additive = TranslationSimulator("limits", core="additive", fidelity="short")
    in_order = TranslationSimulator("limits", core="in-order", fidelity="short")

    hidden, whole = evaluate(additive), evaluate(in_order)

    assert in_order.options == {"core": "in-order"}
    waited = [found["translation_percent"] * found["total_cycles"] for found in (hidden, whole)]
    # It waits ten times as long for the L2 TLB and twice as long for what follows its misses.
    assert 2.0 < waited[1] / waited[0] < 10.0
    assert evaluate(in_order, mechanism="victima")["speedup"] > 1.0


def test_walkers_count_where_walks_overlap() -> None:
    window = TranslationSimulator(core="window", fidelity="short")

    one, four = (evaluate(window, walkers=n)["total_cycles"] for n in (1, 4))

    assert "walkers" not in TranslationSimulator().space.names
    assert four < one
    # Each address of a chain waits for the one before.
    chain = [evaluate(window, "pointer-chase-4gb", walkers=n)["total_cycles"] for n in (1, 4)]
    assert chain[0] == chain[1]


def test_short_fidelity_runs_a_part_of_the_trace() -> None:
    short = TranslationSimulator(fidelity="short")
    whole = TranslationSimulator()

    def instructions(simulator: TranslationSimulator) -> float:
        found = evaluate(simulator, "moe-gather")
        return float(found["ipc"] * found["total_cycles"])

    assert 0.3 < instructions(short) / instructions(whole) < 0.7


def test_users_trace_gives_what_the_shipped_one_gives(tmp_path: Path) -> None:
    simulator = TranslationSimulator(fidelity="short")
    write_memory_trace(shipped_trace("sort"), tmp_path / "mine.npz")

    mine = evaluate(simulator, str(tmp_path / "mine.npz"), mechanism="victima")

    assert dict(mine) == dict(evaluate(simulator, "sort", mechanism="victima"))


@pytest.mark.parametrize("wrong", [{"space": "all"}, {"core": "atom"}, {"fidelity": "long"}])
def test_unknown_names_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UnknownNameError):
        TranslationSimulator(**wrong)


@pytest.mark.parametrize(
    ("metric", "what"),
    [
        ("speedup", "speedup x cycles are the default design's"),
        ("l2_tlb_mpki", "l2_tlb_mpki is at most l1_tlb_mpki"),
        ("mechanism_hit_percent", "walks and misses that the mechanism served"),
    ],
)
def test_results_that_do_not_add_up_are_refused(
    metric: str, what: str, limits: TranslationSimulator
) -> None:
    workload = limits.workload("kmer-count")
    values = limits.evaluate_batch(limits.space.default_indices[None, :], workload).values.copy()
    limits.check(values, workload)
    values[0, PLACE[metric]] += 1000.0

    with pytest.raises(SimulatorError, match=what):
        limits.check(values, workload)


@pytest.mark.slow
def test_recorded_rows_are_equal() -> None:
    recorded = recorded_rows()

    rows = golden_rows()

    assert len(rows) == len(recorded) == 60
    for workload, changes, values in rows:
        expected = recorded[workload, changes]
        wanted = np.array([expected[spec.name] for spec in METRICS])
        assert values == pytest.approx(wanted, rel=1e-9, abs=1e-9), (workload, changes)


def test_golden_file_has_every_metric() -> None:
    header = golden_text([]).strip().split(",")

    assert header == ["workload", "changes", *(spec.name for spec in METRICS)]
    assert {name for row in recorded_rows().values() for name in row} == set(PLACE)


def test_making_a_simulator_compiles_nothing() -> None:
    code = (
        "import sys; from archgym.simulators.translation import TranslationSimulator as T; "
        "s = T(); s.workload_names(); print([m for m in ('numba', 'scipy', 'pandas', "
        "'matplotlib') if m in sys.modules])"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "[]"


def test_parallel_misses_are_an_option_of_the_task() -> None:
    chain = TranslationSimulator(fidelity="short", parallel_misses="1")
    many = TranslationSimulator(fidelity="short", parallel_misses="16")

    assert chain.options == {"parallel_misses": "1"}
    assert evaluate(many)["total_cycles"] < evaluate(chain)["total_cycles"]
    # Each is compared with the default design under the same option.
    assert evaluate(many)["speedup"] == evaluate(chain)["speedup"] == 1.0


@pytest.mark.parametrize("text", ["0", "17", "2.5", "-1", "many", "\u0663"])
def test_parallel_misses_must_be_a_small_number(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="`parallel_misses` must be a whole number"):
        TranslationSimulator(parallel_misses=text)


def test_prefetcher_is_an_option_of_the_task() -> None:
    made = TranslationSimulator(fidelity="short", prefetcher="next-line")

    assert made.options == {"prefetcher": "next-line"}
    assert pickle.loads(pickle.dumps(made)).options == made.options
    plain = evaluate(TranslationSimulator(fidelity="short"), "sort")
    assert evaluate(made, "sort")["l2_cache_data_mpki"] < plain["l2_cache_data_mpki"]
    with pytest.raises(UnknownNameError, match="streamer"):
        TranslationSimulator(prefetcher="steamer")


def test_long_file_is_read_in_parts_and_counts_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_memory_trace(shipped_trace("sort"), tmp_path / "mine.npz")
    simulator = TranslationSimulator()
    default = simulator.space.default_indices[None, :]
    held = simulator.workload(tmp_path / "mine.npz")
    monkeypatch.setattr(workloads_module, "_MAX_HELD", 1000)
    streamed = simulator.workload(tmp_path / "mine.npz")

    assert not isinstance(streamed.content.source, MemoryTrace)
    assert streamed.digest != held.digest
    values = [simulator.evaluate_batch(default, w).values for w in (held, streamed)]
    assert np.array_equal(*values)
    assert facts_about(simulator, streamed) == facts_about(simulator, held)


def test_first_records_are_an_option_of_the_task() -> None:
    few = TranslationSimulator(records="2000")
    names = [spec.name for spec in few.metrics]
    designs = few.space.default_indices[None, :]

    def cycles(simulator: TranslationSimulator) -> float:
        result = simulator.simulate(designs, simulator.workload("sort"))
        return float(result.values[0, names.index("total_cycles")])

    assert few.options == {"records": "2000"}
    assert pickle.loads(pickle.dumps(few)).options == few.options
    # The fidelity `short` has 200,000 records.
    assert cycles(few) < 0.1 * cycles(TranslationSimulator(fidelity="short"))


@pytest.mark.parametrize("text", ["999", "-1", "many", "1e2"])
def test_records_must_be_a_whole_number(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="`records` must be a whole number from 1,000"):
        TranslationSimulator(records=text)
