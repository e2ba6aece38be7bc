"""Rewards on a scale that a regressor can learn."""

import numpy as np

__all__ = ["normal_scores"]


def normal_scores(rewards: np.ndarray) -> np.ndarray:
    """Where each reward would stand in a sample of a normal distribution, by its rank.

    However far the worst designs fall behind, the differences among the best stay visible.

    Args:
      rewards: (n,), finite.

    Returns:
      (n,), about 0 in the mean; equal rewards have equal scores.

    Source:
      Blom, *Statistical Estimates and Transformed Beta-Variables*, 1958: (rank - 3/8) / (n + 1/4).
    """
    from scipy.special import ndtri

    _, which, counts = np.unique(rewards, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    scores: np.ndarray = ndtri((mean_rank[which] - 0.375) / (len(rewards) + 0.25))
    return scores
