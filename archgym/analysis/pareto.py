"""Pareto fronts and their measures, for values of which larger is better.

A point dominates another if it is at least as large in every column and larger in one. Values are
(n, k), one row a point; they are usually the terms of an objective, `Trials.terms`.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from archgym.errors import InvalidArgumentError

__all__ = ["adrs", "front", "hypervolume"]

# chosen: pairs that are compared outright, since many cost little more than few.
_MAX_PAIRS = 2**14
# chosen: distances that are held at once, 8 MB of them.
_MAX_DISTANCES = 2**20
# chosen: so many strong points discard nearly all others of a large set in one pass each.
_STRONG = 32


def front(values: np.ndarray) -> np.ndarray:
    """Return True if each point is dominated by none.

    Points that are equal do not dominate each other: all or none of them are on the front. Takes
    time O(n log n) for two columns, and a factor log n more for each further one.

    Args:
      values: (n, k), without NaN.

    Returns:
      (n,) bool.

    Raises:
      InvalidArgumentError: `values` is something else.

    Source:
      Kung, Luccio & Preparata, *On Finding the Maxima of a Set of Vectors*, Journal of the ACM 22,
      1975: divide and conquer.
    """
    points = _checked("values", values)
    if not len(points):
        return np.zeros(0, dtype=bool)
    # The first column counts first. Whatever dominates a point comes before it.
    order = np.lexsort(points.T[::-1])[::-1]
    ordered = points[order]
    is_first = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
    distinct = ordered[is_first]
    places = _not_hopeless(distinct)
    kept = np.zeros(len(distinct), dtype=bool)
    kept[places[_undominated(distinct[places])]] = True
    mask = np.empty(len(points), dtype=bool)
    mask[order] = kept[np.cumsum(is_first) - 1]
    return mask


def hypervolume(points: np.ndarray, reference: Sequence[float] | np.ndarray) -> float:
    """Return volume of what lies between a reference point and the points: more is better.

    It is exact. Two and three columns take O(n log n) for n points on the front, each further one
    a factor n: a thousand points in four columns take seconds, as do a hundred in six.

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
      define it; While, Bradstreet & Barone, *A Fast Way of Calculating Exact Hypervolumes*, IEEE
      Transactions on Evolutionary Computation 16, 2012, sum up exclusive volumes as here.
    """
    values = _checked("points", points)
    corner = np.asarray(reference, dtype=np.float64)
    if corner.shape != values.shape[1:] or not (
        np.isfinite(corner).all() and np.isfinite(values).all()
    ):
        raise InvalidArgumentError(
            f"`reference` must be {values.shape[1]} finite numbers, one a column of `points`, "
            f"which are finite too; got {reference!r}."
        )
    above = values - corner
    above = above[(above > 0).all(axis=1)]
    return _volume(above[front(above)]) if len(above) else 0.0


def adrs(found: np.ndarray, exact: np.ndarray) -> float:
    """Average distance from a reference set: how far a found front lies behind the exact one.

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
    if array.ndim != 2 or array.shape[1] == 0 or np.isnan(array).any():
        raise InvalidArgumentError(
            f"`{name}` must be numbers of shape (n, k), k 1 or more, none of them NaN; got shape "
            f"{array.shape}. Leave out designs that were not built."
        )
    return array


def _not_hopeless(points: np.ndarray) -> np.ndarray:
    """Place of distinct points without most of those that some strong one dominates, in order."""
    places = np.arange(len(points))
    if points.shape[1] < 3 or len(points) * len(points) <= _MAX_PAIRS:
        return places
    # Any choice is right; this one takes points that are far up in every column.
    middle = len(points) // 2
    scale = np.sort(points, axis=0)[[middle, -1]]
    with np.errstate(divide="ignore", invalid="ignore"):
        heights = (points - scale[0]) / (scale[1] - scale[0])
    heights = np.nan_to_num(heights, nan=0.0).min(axis=1)
    for strong in points[np.argsort(-heights, kind="stable")[:_STRONG]]:
        rest = points[places]
        places = places[~((rest <= strong).all(axis=1) & (rest < strong).any(axis=1))]
    return places


def _undominated(points: np.ndarray) -> np.ndarray:
    """Place of the front among distinct points in decreasing lexicographic order, (m,)."""
    n, k = points.shape
    if k == 1:
        return np.zeros(1, dtype=np.int64)
    if k == 2:
        # Of those with the same first value only the first can be on the front.
        best = np.maximum.accumulate(points[:, 1])
        return np.flatnonzero(np.append(True, points[1:, 1] > best[:-1]))
    if n * n <= _MAX_PAIRS:
        at_least = (points[:, None, :] >= points[None, :, :]).all(axis=2)
        return np.flatnonzero(at_least.sum(axis=0) == 1)
    half = n // 2
    upper = _undominated(points[:half])
    lower = half + _undominated(points[half:])
    # Every upper point is at least as large in the first column, and not the same.
    covered = _covered(points[upper, 1:], points[lower, 1:])
    return np.concatenate([upper, lower[~covered]])


def _covered(by: np.ndarray, points: np.ndarray) -> np.ndarray:
    """True if each point has one in `by` that is at least as large in every column, (n,) bool."""
    covered = np.zeros(len(points), dtype=bool)
    if not len(by) or not len(points):
        return covered
    if by.shape[1] == 1:
        return np.asarray(points[:, 0] <= by[:, 0].max())
    if by.shape[1] == 2:
        return _covered_in_plane(by, points)
    if len(by) * len(points) <= _MAX_PAIRS:
        return np.asarray((by[:, None, :] >= points[None, :, :]).all(axis=2).any(axis=0))
    first = by[:, 0]
    low, pivot = float(first.min()), float(np.median(first))
    if low == float(first.max()):
        below = points[:, 0] <= low
        covered[below] = _covered(by[:, 1:], points[below, 1:])
        return covered
    if pivot == low:
        pivot = float(first[first > low].min())
    is_high, is_above = first >= pivot, points[:, 0] >= pivot
    covered[is_above] = _covered(by[is_high], points[is_above])
    rest = np.flatnonzero(~is_above)
    covered[rest] = _covered(by[is_high, 1:], points[rest, 1:])
    left = rest[~covered[rest]]
    covered[left] = _covered(by[~is_high], points[left])
    return covered


def _covered_in_plane(by: np.ndarray, points: np.ndarray) -> np.ndarray:
    order = np.argsort(-by[:, 0], kind="stable")
    highest = np.append(-np.inf, np.maximum.accumulate(by[order, 1]))
    # How many of `by` are as large in the first column; the highest second value among them.
    n_large = np.searchsorted(-by[order, 0], -points[:, 0], side="right")
    return np.asarray((n_large > 0) & (highest[n_large] >= points[:, 1]))


def _volume(points: np.ndarray) -> float:
    """Return volume between the origin and points, (n, k), all above 0 and none dominated."""
    k = points.shape[1]
    if k == 1:
        return float(points.max())
    order = np.argsort(-points[:, -1], kind="stable")
    ordered = points[order]
    if k == 2:
        return _area(ordered)
    if k == 3:
        return _volume_in_space(ordered)
    total = 0.0
    for place, point in enumerate(ordered):
        # What this point alone adds to those before it, which are as large in the last column:
        # a slice as thick as that column, of all that lies below it but not below them.
        flat = point[:-1]
        clipped = np.minimum(ordered[:place, :-1], flat)
        clipped = clipped[front(clipped)] if k > 4 else clipped
        inside = _volume(clipped) if place else 0.0
        total += float(point[-1]) * (float(flat.prod()) - inside)
    return total


def _area(ordered: np.ndarray) -> float:
    """Return area below points in decreasing order of the second column."""
    widths = np.maximum.accumulate(ordered[:, 0])
    added = np.diff(widths, prepend=0.0)
    return float(added @ ordered[:, 1])


def _volume_in_space(ordered: np.ndarray) -> float:
    """Volume below points in decreasing order of the third column: a staircase that grows."""
    # Corners of the staircase: x increases, y decreases; the sentinels spare two special cases.
    xs, ys = [0.0, math.inf], [math.inf, 0.0]
    area = volume = 0.0
    rows = ordered.tolist()
    for (x, y, z), below in zip(rows, [*(row[2] for row in rows[1:]), 0.0], strict=True):
        place = bisect_left(xs, x)
        if ys[place] < y:
            # Corners that the new one covers lie to its left, up to the first that is higher.
            start = place
            while ys[start - 1] <= y:
                start -= 1
            left = xs[start - 1]
            for corner in range(start, place):
                area += (xs[corner] - left) * (y - ys[corner])
                left = xs[corner]
            area += (x - left) * (y - ys[place])
            end = place + 1 if xs[place] == x else place
            xs[start:end], ys[start:end] = [x], [y]
        volume += area * (z - below)
    return volume
