"""Pareto fronts and their measures, for values of which larger is better.

A point dominates another if it is at least as large in every column and larger in one. Values are
(n, k), one row a point; they are usually the terms of an objective, `Trials.terms`.
"""

import math
from collections.abc import Sequence

import numpy as np

from archgym.errors import InvalidArgumentError

# Columns that moocore compares.
_MAX_COLUMNS = 31
# chosen: exact volumes of fronts up to this many steps take below ten seconds: 10,000 designs with
# five terms, 1,800 with six, 400 with seven.
_MAX_STEPS = 1e13
# chosen: distances that are held at once, 8 MB of them.
_MAX_DISTANCES = 2**20


def front(values: np.ndarray) -> np.ndarray:
    """Return a mask of the points that no other point dominates.

    Points that are equal do not dominate each other: all or none of them are on the front.

    Args:
      values: (n, k), k at most 31, without NaN; infinite values are compared like others.

    Returns:
      (n,) bool.

    Raises:
      InvalidArgumentError: `values` is something else.

    Source:
      Kung, Luccio & Preparata, *On Finding the Maxima of a Set of Vectors*, Journal of the ACM 22,
      1975, in moocore: O(n log n) for up to three columns.
    """
    import moocore

    points = _checked("values", values)
    if not np.isfinite(points).all():
        # moocore 0.3.2 reads beyond its arrays where values are infinite. Ranks compare alike.
        points = np.stack([np.unique(c, return_inverse=True)[1] for c in points.T], axis=1)
    mask: np.ndarray = moocore.is_nondominated(points, maximise=True, keep_weakly=True)
    return mask


def hypervolume(points: np.ndarray, reference: Sequence[float] | np.ndarray) -> float:
    """Return the volume between a reference point and the points: larger is better.

    It is exact. Up to four columns it takes at most O(n^2); each further one costs a factor n.

    Args:
      points: (n, k), finite, in any order, dominated or not; those that do not exceed the
        reference in every column add nothing.
      reference: (k,), finite; the worst corner.

    Returns:
      The volume, 0 where there is no point.

    Raises:
      InvalidArgumentError: An argument is something else.

    Source:
      Zitzler & Thiele, *Multiobjective Optimization Using Evolutionary Algorithms*, PPSN V, 1998,
      define it; moocore computes it with HV3D+ and HV4D+, Guerreiro & Fonseca, *Computing and
      Updating Hypervolume Contributions in Up to Four Dimensions*, IEEE Transactions on
      Evolutionary Computation 22, 2018.
    """
    import moocore

    values = _checked("points", points)
    corner = np.asarray(reference, dtype=np.float64)
    if corner.shape != values.shape[1:] or not (
        np.isfinite(corner).all() and np.isfinite(values).all()
    ):
        raise InvalidArgumentError(
            f"`reference` must be {values.shape[1]} finite numbers, one a column of `points`, "
            f"which are finite too; got {reference!r}."
        )
    above = values[(values > corner).all(axis=1)]
    if not len(above):
        return 0.0
    return float(moocore.hypervolume(above[front(above)], ref=corner, maximise=True))


def quick_hypervolume(points: np.ndarray, reference: Sequence[float] | np.ndarray) -> float | None:
    """Return `hypervolume`, or None if the points and columns could take over 10 s."""
    n, k = np.shape(points)
    return hypervolume(points, reference) if n ** max(k - 2, 0) <= _MAX_STEPS else None


def adrs(found: np.ndarray, exact: np.ndarray) -> float:
    """Return the average distance by which a found front lies behind a reference front.

    The distance of a design from another is the largest relative loss over the metrics, 0 where
    it loses nothing; each point of the exact front counts with the nearest that was found. So 0.03
    says that what is best is missed by 3 % on average.

    Args:
      found: (n, k), terms of the objective, logarithms of metrics, larger is better; a difference
        d of a term is a factor e^d of its metric.
      exact: (m, k), the same of the exact front, such as `values[front(values)]` of all designs.

    Returns:
      The distance, 0 or more; infinite where nothing was found.

    Raises:
      InvalidArgumentError: The arrays do not match, or `exact` is empty.

    Source:
      Czyzżak & Jaszkiewicz, *Pareto Simulated Annealing*, Journal of Multi-Criteria Decision
      Analysis 7, 1998, measure Dist1; Palermo, Silvano & Zaccaria, *ReSPIR*, IEEE Transactions on
      Computer-Aided Design 28, 2009, with relative distances.
    """
    points, goal = _checked("found", found), _checked("exact", exact)
    if points.shape[1] != goal.shape[1] or not len(goal):
        raise InvalidArgumentError(
            f"`exact` must have one or more rows, and as many columns as `found`; got shapes "
            f"{goal.shape} and {points.shape}."
        )
    if not len(points):
        return math.inf
    nearest = np.full(len(goal), np.inf)
    step = max(1, _MAX_DISTANCES // (points.shape[1] * len(points)))
    for start in range(0, len(goal), step):
        behind = goal[start : start + step, None, :] - points[None, :, :]
        nearest[start : start + step] = behind.max(axis=2).min(axis=1)
    # The distance grows with the loss in logarithms, so that one exponential an exact point does.
    return float(np.expm1(np.maximum(nearest, 0.0)).mean())


def _checked(name: str, values: np.ndarray) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or not 1 <= array.shape[1] <= _MAX_COLUMNS or np.isnan(array).any():
        raise InvalidArgumentError(
            f"`{name}` must be numbers of shape (n, k), k from 1 to {_MAX_COLUMNS}, none of them "
            f"NaN; got shape {array.shape}. Leave out designs that were not built."
        )
    return array
