"""Cycles add up as the model says, and metrics follow from what was counted."""

from dataclasses import replace

import numpy as np
import pytest

from archgym.errors import SimulatorError, UnknownNameError
from archgym.simulators.translation import TranslationSimulator
from archgym.simulators.translation.kernel.counters import COUNTERS
from archgym.simulators.translation.machine import CORES, Hardware
from archgym.simulators.translation.metrics import METRICS, check_counters, count_cycles, measures

RUN = {
    "instructions": 10_000,
    "accesses": 3000,
    "l1_misses": 200,
    "l2_hits": 150,
    "l2_misses": 50,
    "walks": 20,
    "block_hits": 30,
    "walk_cycles": 1000,
    "walk_p99_cycles": 90,
    "miss_cycles": 1600,
    "exposed_miss_cycles": 1600,
    "l1_cache_data_reads": 3000,
    "l1_cache_data_misses": 400,
    "l2_cache_data_misses": 100,
    "l3_cache_data_misses": 10,
    "data_cycles": 8000,
    "samples": 2,
    "sampled_reach_kib": 4096,
}


def counted(**changes: int) -> np.ndarray:
    counters = np.zeros(len(COUNTERS), dtype=np.int64)
    for name, number in (RUN | changes).items():
        counters[COUNTERS.index(name)] = number
    return counters


def test_additive_core_hides_most_of_what_it_waits_for() -> None:
    cycles = count_cycles(Hardware(), counted(), CORES["additive"])

    assert cycles.instructions == 0.4 * 10_000
    assert cycles.l2_tlb == pytest.approx(0.1 * 200 * 12)
    assert cycles.misses == 0.5 * 1600
    assert cycles.data == 0.25 * 8000
    assert cycles.total == pytest.approx(4000 + 240 + 800 + 2000)


def test_core_with_a_reorder_buffer_has_the_cycles_of_its_clock() -> None:
    row = counted(core_cycles=9000, translation_stall_cycles=700)

    cycles = count_cycles(Hardware(), row, CORES["out-of-order"])

    assert (cycles.total, cycles.translation, cycles.instructions) == (9000, 700, 4000)


def test_in_order_core_waits_for_all() -> None:
    cycles = count_cycles(Hardware(), counted(), CORES["in-order"])

    assert cycles.total == 10_000 + 200 * 12 + 1600 + 8000


def test_perfect_tlb_takes_no_cycles() -> None:
    perfect = replace(Hardware(), mechanism="perfect")

    cycles = count_cycles(perfect, counted(exposed_miss_cycles=0), CORES["in-order"])

    assert cycles.translation == 0


def test_unknown_core_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="in-order"):
        TranslationSimulator(core="inorder")


def test_metrics_follow_from_what_was_counted() -> None:
    hardware = replace(Hardware(), mechanism="victima")

    values = measures([hardware], counted()[None, :], CORES["additive"], 14_080.0)[0]

    found = dict(zip([spec.name for spec in METRICS], values, strict=True))
    assert found["total_cycles"] == pytest.approx(7040)
    assert found["speedup"] == pytest.approx(2.0)
    assert found["ipc"] == pytest.approx(10_000 / 7040)
    assert found["l1_tlb_mpki"] == 20.0
    assert found["l2_tlb_mpki"] == 5.0
    assert found["walks_per_kilo_instruction"] == 2.0
    assert found["mechanism_hit_percent"] == 60.0
    assert found["mean_walk_latency_cycles"] == 50.0
    assert found["p99_walk_latency_cycles"] == 90.0
    assert found["mean_l2_tlb_miss_latency_cycles"] == 32.0
    assert found["translation_percent"] == pytest.approx(100 * 1040 / 7040)
    # 1536 pages of 4 KiB are 6 MiB; blocks covered 2 MiB on average.
    assert found["block_reach_mib"] == 2.0
    assert found["translation_reach_mib"] == 8.0
    assert found["l2_cache_block_mpki"] == 2.0
    assert found["l1_cache_data_mpki"] == 40.0
    assert found["l3_cache_data_mpki"] == 1.0


def test_run_without_misses_has_latencies_of_zero() -> None:
    still = counted(
        **dict.fromkeys(
            ("l1_misses", "l2_hits", "l2_misses", "walks", "block_hits", "walk_cycles"), 0
        )
    )

    values = measures([Hardware()], still[None, :], CORES["additive"], 1.0)[0]

    assert np.isfinite(values).all()
    assert values[[spec.name for spec in METRICS].index("mean_walk_latency_cycles")] == 0.0


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"l2_hits": 151}, "hits and misses of the L2 TLB are the misses of the L1 TLBs"),
        ({"walks": 21}, "walks are the misses of the L2 TLB that nothing else served"),
        ({"l2_cache_data_misses": 401}, "misses of data are at most the look-ups"),
        ({"exposed_miss_cycles": 1601}, "exposed cycles are at most all cycles"),
    ],
)
def test_counts_that_do_not_add_up_are_refused(changes: dict[str, int], what: str) -> None:
    with pytest.raises(SimulatorError, match=what):
        check_counters(counted(**changes)[None, :])


def test_counts_that_add_up_are_taken() -> None:
    check_counters(counted()[None, :])
