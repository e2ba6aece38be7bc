"""Tests of what remembers the designs asked for."""

import numpy as np
from scipy.stats import chisquare

from archgym.agent.seen import AskedDesigns
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace
from archgym.testing import ProvingSimulator

TINY = ProvingSimulator("tiny").space
MIXED = ProvingSimulator("mixed").space


def test_draw_gives_every_design_once_and_then_no_more() -> None:
    asked = AskedDesigns(TINY)
    rng = np.random.default_rng(0)

    drawn = np.concatenate([asked.draw(4, rng), asked.draw(4, rng), asked.draw(4, rng)])

    assert sorted(map(tuple, drawn.tolist())) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]
    assert len(asked) == 6


def test_draw_exhausts_a_larger_space_with_constraints_and_conditions() -> None:
    asked = AskedDesigns(MIXED)
    rng = np.random.default_rng(0)
    n = MIXED.count().value

    drawn = np.concatenate([asked.draw(500, rng) for _ in range(n // 500 + 2)])

    assert len(drawn) == len(np.unique(drawn, axis=0)) == n


def test_draw_is_uniform_over_what_is_left() -> None:
    hits = np.zeros(6)
    for seed in range(3000):
        asked = AskedDesigns(TINY)
        asked.add(np.array([[0, 0], [0, 1]]))
        hits[TINY.flat(asked.draw(1, np.random.default_rng(seed)))[0]] += 1

    assert hits[:2].tolist() == [0, 0]
    assert chisquare(hits[2:]).pvalue > 0.001


def test_new_refuses_known_copies_and_infeasible() -> None:
    asked = AskedDesigns(MIXED)
    default = MIXED.default_indices
    other_form = default.copy()
    other_form[5] = 3  # boost, which means nothing in mode off
    infeasible = default.copy()
    infeasible[1:3] = MIXED.sizes[1:3] - 1
    rows = np.stack([default, default, other_form, infeasible])

    assert asked.new(rows).tolist() == [True, False, False, False]
    asked.add(other_form[None, :])
    assert asked.new(rows).tolist() == [False, False, False, False]


def test_space_too_large_to_list_ends_without_listing() -> None:
    space = DesignSpace("wide", [Integer(name=n, low=0, high=9999) for n in "ab"])

    drawn = AskedDesigns(space).draw(5000, np.random.default_rng(0))

    assert len(np.unique(drawn, axis=0)) == 5000
