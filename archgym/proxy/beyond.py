"""How wide intervals are where a proxy has seen nothing alike: regions and workloads left out."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from archgym.coordinates import Coordinates
from archgym.proxy.conformal import LEVELS, conformal_quantile

__all__ = ["TIERS", "Errors", "fit_beyond"]

TIERS = ("pair", "value", "workload")
"""What a design or its workload may have that was never learned from, in ascending order."""

Errors = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Takes places of rows to learn and to test on; gives absolute errors of scaled metrics."""

# chosen: each region costs a fit; errors beyond the data are coarse, and so may their models be.
_MOST_ROWS = 1500
_N_REGIONS = 6
_N_CUTS = 2
_N_PAIRS = 3
# chosen: a region is large enough to show errors, and leaves enough to learn from.
_SHARE = 0.2
_LEAST_SHARE, _MOST_SHARE = 0.02, 0.6
_LEAST_LEARNED = 20


def fit_beyond(
    errors: Errors,
    coordinates: Coordinates,
    indices: np.ndarray,
    targets: np.ndarray,
    workload: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Half-widths of scaled metrics, (n_tiers, n_levels, n_metrics), by `TIERS` and `LEVELS`.

    Regions are left out one after the other: tails and values of the parameters that explain most
    of the metrics, corners of two of these, and each workload. Of each, the quantile of the errors
    is taken as for other intervals, and the worst of the regions counts. Infinite where nothing
    can be left out.

    Args:
      errors: What is asked to learn without a region.
      coordinates: Of the space.
      indices: (n, n_parameters), what was learned from.
      targets: (n, n_metrics), scaled.
      workload: (n,), number of each row's workload.
      seed: Of the rows that are looked at.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 9]))
    some = _some(workload, rng)
    digits = coordinates.digits(indices[some])
    regions = _regions(digits, coordinates.are_ordered, targets[some])
    # The first region of each coordinate, so that a corner is one of two of them.
    first: dict[int, np.ndarray] = {}
    for place, mask in regions:
        first.setdefault(place, mask)
    corners = [a & b for a, b in combinations(list(first.values())[: _N_PAIRS + 1], 2)]
    corners = [corner for corner in corners if corner.mean() >= _LEAST_SHARE][:_N_PAIRS]
    known = np.unique(workload)
    sets = [
        corners,
        [mask for _, mask in regions[:_N_REGIONS]],
        [workload[some] == number for number in known] if len(known) > 1 else [],
    ]
    widths = np.full((len(TIERS), len(LEVELS), targets.shape[1]), np.inf)
    for tier, masks in enumerate(sets):
        found = [
            _quantiles(errors(some[~mask], some[mask]))
            for mask in masks
            if (~mask).sum() >= _LEAST_LEARNED
        ]
        if found:
            widths[tier] = np.max(found, axis=0)
    # With no corner to leave out, two values together are judged as a value is.
    if np.isinf(widths[0]).all():
        widths[0] = widths[1]
    widths[1] = np.maximum(widths[0], widths[1])
    return widths


def _some(workload: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Places of rows, the same number of each workload where there are enough."""
    order = rng.permutation(len(workload))
    known = np.unique(workload)
    share = -(-_MOST_ROWS // len(known))
    chosen = [order[workload[order] == number][:share] for number in known]
    return np.sort(np.concatenate(chosen))


def _quantiles(errors: np.ndarray) -> np.ndarray:
    return np.array([conformal_quantile(errors, level) for level in LEVELS])


def _regions(
    digits: np.ndarray, are_ordered: Sequence[bool], targets: np.ndarray
) -> list[tuple[int, np.ndarray]]:
    """Coordinate and rows, (n,) bool, of each region; coordinates that explain most come first."""
    explained = [_explained(column, targets) for column in digits.T]
    return [
        (place, mask)
        for place in np.argsort(-np.array(explained), kind="stable").tolist()
        for mask in _cuts(digits[:, place], are_ordered[place], targets)
    ]


def _cuts(column: np.ndarray, is_ordered: bool, targets: np.ndarray) -> list[np.ndarray]:
    """Both tails of a coordinate, or two of its values, of a size that can be left out.

    Of values without an order those are taken on which the metrics differ most from their means.
    """
    values = np.unique(column)
    if len(values) < 2:
        return []
    if is_ordered:
        tails = [[column <= v for v in values[:-1]], [column >= v for v in values[1:]]]
        cuts = [min(tail, key=lambda mask: abs(mask.mean() - _SHARE)) for tail in tails]
    else:
        masks = [column == v for v in values]
        cuts = sorted(masks, key=lambda mask: -float(np.abs(targets[mask].mean(axis=0)).mean()))
    return [mask for mask in cuts if _LEAST_SHARE <= mask.mean() <= _MOST_SHARE][:_N_CUTS]


def _explained(column: np.ndarray, targets: np.ndarray) -> float:
    """Share of the metrics' variance between a coordinate's values, the mean over metrics."""
    values, place = np.unique(column, return_inverse=True)
    counts = np.bincount(place, minlength=len(values))
    shares = []
    for target in targets.T:
        centred = target - target.mean()
        total = float((centred**2).sum())
        sums = np.bincount(place, centred, len(values))
        shares.append(float((sums**2 / counts).sum()) / total if total > 0 else 0.0)
    return float(np.mean(shares)) if shares else 0.0
