"""Trends say what they compare, and when they are met."""

from dataclasses import replace

import numpy as np
import pytest

from archgym.simulators.translation.kernel.counters import COUNTERS
from archgym.simulators.translation.machine import Hardware
from evidence.translation import trends as module
from evidence.translation.trends import TLB_HEAVY, Trend, Trial


def trend(ours: float, low: float = 3.0, high: float = 15.0) -> Trend:
    return Trend("Victima over radix", "gups", "%", "+7.4", ours, low, high)


def trial(hardware: Hardware | None = None, **events: int) -> Trial:
    counters = np.zeros(len(COUNTERS), dtype=np.int64)
    for name, number in ({"instructions": 1000} | events).items():
        counters[COUNTERS.index(name)] = number
    return Trial(hardware or Hardware(), counters)


@pytest.mark.parametrize(("ours", "distance"), [(3.0, 0.0), (15.0, 0.0), (2.5, 0.5), (20.0, 5.0)])
def test_trend_is_met_within_its_range(ours: float, distance: float) -> None:
    assert trend(ours).distance == distance


def test_gain_is_the_geometric_mean_of_speedups() -> None:
    fast, slow = trial(core_cycles=400), trial(core_cycles=600)
    found = [{"victima": fast, "radix": slow}, {"victima": fast, "radix": fast}]

    assert module._gain(found, "victima", "radix") == pytest.approx(100 * (1.5**0.5 - 1))


def test_change_of_a_figure_that_vanishes_is_finite() -> None:
    found = [{"victima": trial(walks=0), "radix": trial(walks=1000)}]

    change = module._change(found, "victima", "radix", lambda t: t.walks)

    assert change == pytest.approx(-99.9999)


def test_null_trace_may_hardly_change() -> None:
    same = trial(l2_misses=0, core_cycles=1000)
    plain = {name: {"radix": same, "victima": same} for name in module.NULL_TRACES}

    rows = list(module._nulls(plain))

    assert len(rows) == 4
    assert all(row.distance == 0 for row in rows)
    slower = {"radix": same, "victima": trial(core_cycles=1010)}
    assert not all(row.distance == 0 for row in module._nulls({**plain, "sqlite": slower}))


def test_bigger_l2_caches_must_save_more_walks() -> None:
    def sized(saved: dict[int, int]) -> dict[str, Trial]:
        return {
            name if kib == 2048 else f"{name} {kib}": trial(
                walks=1000 - saved[kib] * (name == "victima")
            )
            for kib in saved
            for name in ("radix", "victima")
        }

    rising = {"gups": sized({1024: 100, 2048: 200, 4096: 300, 8192: 300})}
    falling = {"gups": sized({1024: 100, 2048: 90, 4096: 300, 8192: 400})}

    assert [row.distance == 0 for row in module._cache_sizes(rising)] == [True, True, True]
    assert [row.distance == 0 for row in module._cache_sizes(falling)] == [False, True, True]
    assert next(iter(module._cache_sizes(falling))).ours == pytest.approx(-1.0)


def test_every_heavy_trace_compares_victima_with_pom() -> None:
    found = {
        name: {
            "radix": trial(core_cycles=400),
            "victima": trial(core_cycles=400),
            "pom_tlb": trial(core_cycles=410),
        }
        for name in TLB_HEAVY
    }

    rows = list(module._pom(found, "third pass"))

    assert [row.traces.split(",")[0] for row in rows[1:]] == ["gups", "kmer", "xs", "dlrm", "bfs"]
    assert all(row.distance == 0 for row in rows[1:])


def test_hardware_of_trends_is_what_is_published() -> None:
    assert module._LARGE["l2 tlb 64K"].l2_cycles == 12
    assert module._LARGE["l3 tlb"].l3_tlb_cycles == 15
    assert module._SIZED["victima 8192"].l2_cache_cycles == 30
    assert module._VIRTUAL["virtual victima"] == replace(module._VICTIMA, virtualised=True)
