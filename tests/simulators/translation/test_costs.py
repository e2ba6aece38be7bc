"""Ideal machines: against designs that have the ideal, and against what can be counted by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from archgym.errors import UnknownNameError
from archgym.evaluation.capabilities import results_without
from archgym.simulators.translation import TranslationSimulator
from archgym.simulators.translation.costs import COSTS, counted_without, measures_without
from archgym.simulators.translation.kernel.counters import COUNTERS
from archgym.simulators.translation.kernel.prepared import prepare
from archgym.simulators.translation.kernel.run import run
from archgym.simulators.translation.machine import CORES, Hardware
from archgym.simulators.translation.metrics import METRICS, count_cycles, measures, power_mw
from archgym.traces import MemoryTrace
from tests.simulators.translation.traces import SMALL, mixed, pages

CORE = CORES["additive"]
# Small enough that a short trace misses it again and again.
SMALL_TLBS = Hardware(l1_entries=4, l2_entries=48)
# Costs that change no event.
LATENCIES = ("l2-tlb-latency", "walk-latency", "data-misses", "memory")


def counted(cost: str, trace: MemoryTrace, hardware: Hardware = SMALL_TLBS) -> dict[str, int]:
    """What a design counts without a cost, or with all of them for an empty name."""
    ready = prepare(trace, SMALL)
    row = (counted_without(cost, ready, [hardware]) if cost else run(ready, hardware))[0]
    return dict(zip(COUNTERS, row.tolist(), strict=True))


def measured(cost: str, hardware: Hardware, trace: MemoryTrace) -> dict[str, float]:
    """Metrics without a cost, or with all of them for an empty name."""
    ready = prepare(trace, SMALL)
    if cost:
        rows = counted_without(cost, ready, [hardware])
        values = measures_without(cost, [hardware], rows, CORE, 1e6)
    else:
        values = measures([hardware], run(ready, hardware), CORE, 1e6)
    return dict(zip([spec.name for spec in METRICS], values[0].tolist(), strict=True))


def evaluated(simulator: TranslationSimulator, cost: str = "", **changes: Any) -> dict[str, float]:
    """Metrics of a design without a cost, or with all of them for an empty name."""
    space = simulator.space
    design = dict(space.design_at(space.default_indices)) | changes
    indices, workload = space.indices_of(design)[None, :], simulator.workload("kmer-count")
    result = (
        results_without(simulator, cost, indices, workload)
        if cost
        else simulator.simulate(indices, workload)
    )
    return dict(zip([spec.name for spec in METRICS], result.values[0].tolist(), strict=True))


@pytest.fixture(scope="module")
def limits() -> TranslationSimulator:
    return TranslationSimulator("limits", fidelity="short")


def test_without_translation_a_design_is_as_fast_as_with_a_perfect_tlb(
    limits: TranslationSimulator,
) -> None:
    free = evaluated(limits, "translation", mechanism="victima")
    perfect = evaluated(limits, mechanism="perfect")

    assert free["total_cycles"] == perfect["total_cycles"]
    # The arrays are still there.
    assert free["area_mm2"] > perfect["area_mm2"]


def test_without_virtualisation_a_design_is_as_fast_as_natively(
    limits: TranslationSimulator,
) -> None:
    free = evaluated(limits, "virtualisation", execution="virtualised")
    native = evaluated(limits, execution="native")

    assert free["total_cycles"] == native["total_cycles"]


def test_native_design_has_no_cost_of_virtualisation(limits: TranslationSimulator) -> None:
    assert evaluated(limits, "virtualisation") == evaluated(limits)


def test_with_all_reach_each_page_is_walked_for_once() -> None:
    # The first 300 only warm up; of the others 250 come for the first time.
    order = [*range(300), *range(300), *range(300, 550), *range(150)]
    trace = pages(order)

    paid, free = counted("", trace), counted("tlb-reach", trace)

    assert paid["walks"] == 700
    assert free["walks"] == 250


def test_without_walk_latency_every_read_of_a_table_hits_the_l1_cache() -> None:
    trace = mixed()

    paid, free = counted("", trace), counted("walk-latency", trace)

    assert free["walk_cycles"] == 3 * free["walks"] + 4 * free["walk_reads"]
    assert free["walk_cycles"] < paid["walk_cycles"]
    latencies = [name for name in COUNTERS if name.endswith("_cycles")]
    assert {n: v for n, v in free.items() if n not in latencies} == {
        n: v for n, v in paid.items() if n not in latencies
    }
    assert free["data_cycles"] == paid["data_cycles"]


def test_without_memory_its_170_cycles_are_gone() -> None:
    trace = mixed(fetches=0.0)

    paid, free = counted("", trace), counted("memory", trace)

    saved = paid["data_cycles"] - free["data_cycles"]
    assert saved == 170 * paid["l3_cache_data_misses"] > 0
    assert free["walk_cycles"] < paid["walk_cycles"]


@pytest.mark.parametrize(("cost", "part"), [("l2-tlb-latency", "l2_tlb"), ("data-misses", "data")])
def test_time_is_less_by_the_part_that_is_free(cost: str, part: str) -> None:
    trace = mixed()
    cycles = count_cycles(SMALL_TLBS, run(prepare(trace, SMALL), SMALL_TLBS)[0], CORE)

    free = measured(cost, SMALL_TLBS, trace)

    assert getattr(cycles, part) > 0
    assert free["total_cycles"] == pytest.approx(cycles.total - getattr(cycles, part))


def test_without_leakage_a_run_that_does_nothing_takes_no_power() -> None:
    trace = mixed()
    idle = power_mw(SMALL_TLBS, np.zeros(len(COUNTERS), dtype=np.int64), 1.0)

    paid, free = measured("", SMALL_TLBS, trace), measured("leakage", SMALL_TLBS, trace)

    assert paid["power_mw"] - free["power_mw"] == pytest.approx(idle)
    assert paid | {"power_mw": 0} == free | {"power_mw": 0}


def test_without_memory_power_is_that_of_a_run_that_never_reads_it() -> None:
    trace = mixed()
    row = counted_without("memory", prepare(trace, SMALL), [SMALL_TLBS])[0]
    row[[place for place, name in enumerate(COUNTERS) if name.startswith("l3_cache")]] = 0

    free = measured("memory", SMALL_TLBS, trace)

    assert free["power_mw"] == pytest.approx(power_mw(SMALL_TLBS, row, free["total_cycles"]))


@pytest.mark.parametrize("mechanism", ["radix", "victima", "pom_tlb", "l3_tlb", "hash"])
def test_no_latency_less_takes_longer(mechanism: str) -> None:
    hardware = replace(SMALL_TLBS, mechanism=mechanism, predictor="always")
    trace = mixed(10_000)
    paid = measured("", hardware, trace)["total_cycles"]

    for cost in LATENCIES:
        assert measured(cost, hardware, trace)["total_cycles"] < paid, cost


def test_unknown_cost_is_refused(limits: TranslationSimulator) -> None:
    with pytest.raises(UnknownNameError, match="walk-latency"):
        evaluated(limits, "walk-latnecy")


def test_every_cost_changes_a_virtualised_design(limits: TranslationSimulator) -> None:
    changes = {"execution": "virtualised", "mechanism": "victima"}
    paid = evaluated(limits, **changes)

    for cost in COSTS:
        assert evaluated(limits, cost, **changes) != paid, cost
