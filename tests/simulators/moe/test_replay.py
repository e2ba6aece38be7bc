"""Replays of events against caches: by hand, and what must hold of every policy."""

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.moe.kernel.caches import (
    ADMISSIONS,
    POLICIES,
    SCOPES,
    tie_order,
)
from archgym.simulators.moe.kernel.replay import Events, replay_events
from archgym.simulators.moe.workloads.routing import Routing, RoutingPreset, generate
from evidence.moe.sequential import replay_sequential


def routing(seed: int = 0) -> Routing:
    preset = RoutingPreset("small", 12, 3, skew=0.3, topic=0.6, persistence=0.3)
    return generate(preset, seed, [60, 40, 50, 45], 4)


def events(seed: int = 0, batch: int = 2) -> Events:
    return Events.from_routing(routing(seed), batch)


def one_layer(*sets: tuple[int, ...]) -> Events:
    n = len(sets)
    return Events(
        np.zeros(n, dtype=np.int64),
        np.arange(n, dtype=np.int64),
        np.concatenate(([0], np.cumsum([len(each) for each in sets]))).astype(np.int64),
        np.array([expert for each in sets for expert in each], dtype=np.int32),
        n_layers=1,
        n_experts=8,
    )


def test_hits_are_judged_as_the_event_begins() -> None:
    # One at a time, LRU with two slots would lose 0 to 2 before it is used.
    case = one_layer((0, 1), (2, 0))

    assert replay_events(case, "lru", 2).event_misses.tolist() == [2, 1]
    assert replay_sequential(case, "lru", 2).hits == 0


def test_bypass_drops_what_was_used_and_forced_keeps_it() -> None:
    case = one_layer((0,), (0,), (1,), (0,), (1,))

    bypass = replay_events(case, "lfu", 1)
    forced = replay_events(case, "lfu", 1, admission="forced")

    assert bypass.event_misses.tolist() == [1, 0, 1, 0, 1]
    assert forced.event_misses.tolist() == [1, 0, 1, 1, 1]


def test_belady_passes_by_what_is_used_later() -> None:
    case = one_layer((0,), (1,), (0,), (2,), (0,), (1,))

    assert replay_events(case, "belady", 1).event_misses.tolist() == [1, 1, 0, 1, 0, 1]
    assert replay_events(case, "belady", 1, admission="forced").hits == 0


def test_fifo_drops_the_first_that_came_however_often_it_is_used() -> None:
    case = one_layer((0,), (1,), (0,), (2,), (0,))

    assert replay_events(case, "fifo", 2).event_misses.tolist() == [1, 1, 0, 1, 1]
    assert replay_events(case, "lru", 2).event_misses.tolist() == [1, 1, 0, 1, 0]


def test_static_loads_the_most_used_before_the_first_event() -> None:
    result = replay_events(one_layer((0,), (1,), (1,), (2,)), "static", 1)

    assert result.event_misses.tolist() == [1, 0, 0, 1]
    assert (result.insertions, result.evictions) == (1, 0)


def test_predictor_keeps_the_higher_priority() -> None:
    case = one_layer((3,), (4,), (3,), (4,))
    priority = np.arange(8, dtype=np.float64)

    result = replay_events(case, "predictor", 1, priority=priority)

    assert result.event_misses.tolist() == [1, 1, 1, 0]


def test_set_larger_than_the_cache_streams_through() -> None:
    result = replay_events(one_layer((0, 1, 2, 3), (0, 1, 2, 3)), "lru", 2)

    assert result.event_misses.tolist() == [4, 2]
    assert result.residents == 2


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("admission", ADMISSIONS)
@pytest.mark.parametrize("policy", POLICIES)
def test_counts_add_up_and_full_room_misses_once(policy: str, admission: str, scope: str) -> None:
    case = events()

    # Each replay checks itself that hits + misses = uses and loads - evictions = residents.
    for capacity in (0, 1, 7, 20, 47):
        replay_events(case, policy, capacity, scope=scope, admission=admission)
    full = replay_events(case, policy, 48, scope=scope, admission=admission)

    used = len(np.unique(case.blocks))
    assert full.misses == (0 if policy == "static" else used)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("policy", ["lru", "belady"])
def test_hit_rate_never_falls_with_capacity(policy: str, scope: str) -> None:
    for seed in range(3):
        case = events(seed)
        hits = [replay_events(case, policy, n, scope=scope).hits for n in range(0, 49, 4)]
        assert hits == sorted(hits)


@pytest.mark.parametrize("admission", ADMISSIONS)
@pytest.mark.parametrize("policy", POLICIES)
def test_belady_with_bypass_is_at_least_every_policy(policy: str, admission: str) -> None:
    for seed in range(3):
        case = events(seed)
        for capacity in (3, 10, 25, 40):
            best = replay_events(case, "belady", capacity).hits
            found = replay_events(case, policy, capacity, admission=admission)
            # What is loaded before the first event spares a miss each, which nothing else can.
            spared = found.insertions if policy == "static" else 0
            assert found.hits - spared <= best


@pytest.mark.parametrize("policy", ["lru", "lfu", "lfru", "fifo", "least-stale", "belady"])
def test_names_of_experts_do_not_matter(policy: str) -> None:
    case = events()
    rng = np.random.default_rng(5)
    new_names = np.array([rng.permutation(12) for _ in range(4)])
    layers = np.repeat(case.layers, np.diff(case.offsets))
    renamed = Events(
        case.layers,
        case.cycles,
        case.offsets,
        new_names[layers, case.experts].astype(np.int32),
        case.n_layers,
        case.n_experts,
    )
    tie = tie_order(1, 48)
    moved = np.empty(48)
    moved[(np.arange(4)[:, None] * 12 + new_names).ravel()] = tie

    for scope in SCOPES:
        first = replay_events(case, policy, 17, scope=scope, tie=tie)
        second = replay_events(renamed, policy, 17, scope=scope, tie=moved)
        assert first.event_misses.tolist() == second.event_misses.tolist()


def test_batch_asks_for_the_union_of_its_documents() -> None:
    experts = np.array([[[0, 1]], [[2, 3]], [[1, 2]]], dtype=np.int16)
    documents = Routing(experts, np.array([0, 2, 3]), 4)

    case = Events.from_routing(documents, batch=2)

    assert case.offsets.tolist() == [0, 3, 5]
    assert case.experts.tolist() == [0, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"policy": "lur"}, "policy"),
        ({"scope": "all"}, "scope"),
        ({"admission": "maybe"}, "admission"),
        ({"capacity": 49}, "capacity"),
        ({"capacity": -1}, "capacity"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], words: str) -> None:
    given = {"policy": "lru", "capacity": 4, **arguments}

    with pytest.raises(InvalidArgumentError, match=words):
        replay_events(events(), **given)  # type: ignore[arg-type]  # that is the test
