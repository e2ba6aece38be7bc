"""Tests of rewards as normal scores."""

import numpy as np
import pytest

from archgym.analysis.statistics import normal_scores


def test_scores_are_the_quantiles_of_the_ranks() -> None:
    # Blom's scores of 5, as statistics books print them: 1.18, 0.50, 0, and their negatives.
    scores = normal_scores(np.array([0.3, -25.0, 0.1, 0.2, 0.4]))

    assert scores == pytest.approx([0.497, -1.180, -0.497, 0.0, 1.180], abs=1e-3)


def test_equal_rewards_have_equal_scores_at_their_mean_rank() -> None:
    scores = normal_scores(np.array([-25.0, -25.0, -25.0, 1.0, 1.0]))

    assert scores[0] == scores[1] == scores[2]
    assert scores[3] == scores[4] > 0 > scores[0]


def test_one_reward_and_rewards_all_alike_have_score_0() -> None:
    assert normal_scores(np.array([7.0])) == pytest.approx([0.0], abs=1e-12)
    assert normal_scores(np.full(9, -25.0)) == pytest.approx(np.zeros(9), abs=1e-12)
