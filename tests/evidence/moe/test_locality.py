"""Locality of routing, worked out by hand."""

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.moe.workloads.routing import Routing, RoutingPreset, generate
from evidence.moe.locality import RULES, hit_rates, segment_routing


def one_layer(*tokens: tuple[int, ...], n_experts: int = 4) -> Routing:
    experts = np.array(tokens, dtype=np.int16)[:, None, :]
    return Routing(experts, np.array([0, len(tokens)]), n_experts)


def small() -> Routing:
    preset = RoutingPreset("small", 10, 3, skew=0.3, topic=0.6, persistence=0.3)
    return generate(preset, 1, [80, 60, 70], 2)


def test_segment_router_by_hand() -> None:
    # Windows of two tokens: expert 0 is used 2, 1, 0 times in them, expert 1 0, 1, 2 times.
    routing = one_layer((0,), (0,), (1,), (1,), n_experts=2)

    found = segment_routing(routing, 0, 2)

    assert found is not None
    # Activating from one use on: 6 of 8 activations match, of 6 uses all: F1 = 12 / 14. From two
    # uses on: 4 match of 4, of 6 uses: F1 = 8 / 10.
    assert found.performance == pytest.approx(12 / 14)
    assert found.threshold == 1
    assert found.size == pytest.approx(8 / 6)
    assert found.share == 0.5


def test_documents_shorter_than_a_segment_have_no_segment_router() -> None:
    assert segment_routing(one_layer((0,), (1,)), 0, 3) is None


def test_first_uses_count_as_hits_while_there_is_room() -> None:
    routing = one_layer((0,), (1,), (2,), (0,))

    assert hit_rates(routing, 0, "lru", [1, 2, 3]).tolist() == [0.25, 0.5, 1.0]


def test_rules_by_hand() -> None:
    routing = one_layer((0,), (1,), (0,), (2,), (0,), (1,), n_experts=3)

    # Room for one: a first use fills it. Taking each in turn, nothing is ever there again; with
    # bypass 0 stays.
    assert hit_rates(routing, 0, "belady", [1])[0] == pytest.approx(1 / 6)
    assert hit_rates(routing, 0, "belady-bypass", [1])[0] == pytest.approx(3 / 6)
    # Room for two, full after 1: LRU drops 1 for 2; so does LFU; Belady keeps 1, not 2, after 0
    # has been used for the last time.
    assert hit_rates(routing, 0, "lru", [2])[0] == pytest.approx(4 / 6)
    assert hit_rates(routing, 0, "lfu", [2])[0] == pytest.approx(4 / 6)
    assert hit_rates(routing, 0, "belady-bypass", [2])[0] == pytest.approx(5 / 6)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "lfu"])
def test_hit_rate_never_falls_with_room(rule: str) -> None:
    for layer in range(2):
        curve = hit_rates(small(), layer, rule, range(1, 11), 8)
        assert (np.diff(curve) >= 0).all()
        assert curve[-1] == 1.0


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_beats_belady_with_bypass(rule: str) -> None:
    best = hit_rates(small(), 0, "belady-bypass", range(1, 11))

    assert (hit_rates(small(), 0, rule, range(1, 11), 8) <= best).all()


def test_segment_rule_that_sees_one_token_is_least_recent() -> None:
    sizes = range(3, 11)

    assert (hit_rates(small(), 0, "sch", sizes, 1) == hit_rates(small(), 0, "lru", sizes)).all()


@pytest.mark.parametrize("arguments", [("mru", [1], 0), ("lru", [0], 0), ("sch", [1], 0)])
def test_bad_arguments_are_refused(arguments: tuple[str, list[int], int]) -> None:
    with pytest.raises(InvalidArgumentError):
        hit_rates(small(), 0, *arguments)
