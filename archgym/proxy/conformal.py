"""Intervals that hold a stated share of the time: normalised split conformal prediction."""

import math

import numpy as np

__all__ = ["LEVELS", "conformal_quantile", "spread_floor"]

LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
"""Shares of unseen designs that intervals are kept for."""
# chosen: designs on which all trees agree get an interval of some width too.
_FLOOR_SHARE = 0.1
_LEAST_FLOOR = 1e-9


def spread_floor(spread: np.ndarray) -> np.ndarray:
    """What is added to each metric's spread, (m,), given that of calibration designs, (n, m)."""
    return np.asarray(np.maximum(_FLOOR_SHARE * spread.mean(axis=0), _LEAST_FLOOR))


def conformal_quantile(scores: np.ndarray, level: float) -> np.ndarray:
    """Widths in units of the spread that hold at least `level` of unseen designs, (m,).

    Args:
      scores: (n, m), error over spread of designs that were not learned from.
      level: Above 0, below 1.

    Returns:
      The ceil((n + 1) level)-th smallest score; infinity where there are too few.

    Source:
      Lei et al., *Distribution-Free Predictive Inference for Regression*, JASA 113, 2018,
      algorithm 2 with the local scale of section 5.2.
    """
    n = len(scores)
    rank = math.ceil((n + 1) * level)
    if rank > n:
        return np.full(scores.shape[1], np.inf)
    return np.asarray(np.sort(scores, axis=0)[rank - 1])
