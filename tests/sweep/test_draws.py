"""Draws of hyperparameters: from the published ranges, all different, the same ones again."""

from collections.abc import Mapping
from typing import Any

from archgym.agent.agent import agent_class
from archgym.sweep.plan import draw_hyperparameters
from tests.sweep.plugin import TroubledAgent


def all_fit(_: Mapping[str, Any]) -> bool:
    return True


def test_draws_begin_with_the_defaults_and_differ() -> None:
    found = draw_hyperparameters(agent_class("genetic"), 20, {}, all_fit)

    assert found[0] == {}
    assert len({repr(sorted(values.items())) for values in found}) == 20
    ranges = {p.name: p for p in agent_class("genetic").hyperparameters}
    for values in found[1:]:
        assert values.keys() == ranges.keys()
        for name, value in values.items():
            ranges[name].index(value)


def test_more_draws_begin_with_the_same_ones() -> None:
    few = draw_hyperparameters(agent_class("genetic"), 5, {}, all_fit)

    assert draw_hyperparameters(agent_class("genetic"), 9, {}, all_fit)[:5] == few


def test_another_seed_draws_others() -> None:
    found = draw_hyperparameters(agent_class("genetic"), 5, {}, all_fit)

    assert draw_hyperparameters(agent_class("genetic"), 5, {}, all_fit, 1)[1:] != found[1:]


def test_settings_that_are_refused_are_drawn_again_and_small_ranges_end() -> None:
    fixed = {"trouble": "none", "skill": 0}

    found = draw_hyperparameters(TroubledAgent, 1000, fixed, lambda v: v["pace_s"] <= 0.9)

    # Eleven paces, of which 1.0 is refused and 0.0 is the default.
    assert sorted(values.get("pace_s", 0.0) for values in found) == [n / 10 for n in range(10)]
