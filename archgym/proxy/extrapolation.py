"""Extrapolation of proxies: interval widths measured by leaving regions and workloads out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from typing import Self, final

import numpy as np

from archgym.proxy.measures import LEVELS, conformal_quantile
from archgym.runtime.reductions import report_reduction
from archgym.spaces.features import Coordinates
from archgym.spaces.space import DesignSpace

TIERS = ("pair", "value", "workload")
"""Levels of novelty of a design or its workload, in ascending order."""

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
    """Return half-widths of scaled metrics, (n_tiers, n_levels, n_metrics).

    Regions are left out one after the other: tails and values of the parameters that explain most
    of the metrics, corners of two of these, and each workload. Of each, the quantile of the errors
    is taken as for other intervals, and the worst of the regions counts. Infinite where nothing
    can be left out.

    Args:
      errors: Function that learns without a region.
      indices: (n, n_parameters), what was learned from.
      targets: (n, n_metrics), scaled.
      workload: (n,), number of each row's workload.
      seed: Random seed of the rows that are looked at.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 9]))
    some = _some(workload, rng)
    report_reduction(
        "rows for errors of extrapolation", len(some), len(workload),
        "they are a random sample of fixed size for each workload",
    )  # fmt: skip
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
    """Return indices of rows, the same number of each workload where there are enough."""
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
    """Return both tails of a coordinate, or two of its values, of a size that can be left out.

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
    """Return the share of variance that a coordinate explains, the mean over metrics."""
    values, place = np.unique(column, return_inverse=True)
    counts = np.bincount(place, minlength=len(values))
    shares = []
    for target in targets.T:
        centred = target - target.mean()
        total = float((centred**2).sum())
        sums = np.bincount(place, centred, len(values))
        shares.append(float((sums**2 / counts).sum()) / total if total > 0 else 0.0)
    return float(np.mean(shares)) if shares else 0.0


PAIR, VALUE = 1, 2
"""Levels of novelty of a design."""

# chosen: larger tables say little, since most of their entries are empty anyway.
_MOST_PAIRS = 4096
_MOST_VALUES = 65536
# chosen: with more parameters than that, pairs are judged of the first ones only.
_MOST_COORDINATES = 64


@final
class Familiarity:
    """Values and pairs of values that occur in the training data.

    A design is unfamiliar where it has a value, or two values together, that no canonical design
    in the training data had: a model can only guess what they do. Permutations and factorisations
    are judged by their parts.
    """

    def __init__(self, space: DesignSpace, seen: np.ndarray) -> None:
        """Take `seen`, (n_entries,) bool, of the tables that follow from the space.

        Raises:
          ValueError: It has another length.
        """
        self._coordinates = Coordinates(space)
        if seen.shape != (self._size,) or seen.dtype != np.bool_:
            raise ValueError(f"array 'seen' has shape {seen.shape} of {seen.dtype}")
        self.seen = seen

    @classmethod
    def of(cls, space: DesignSpace, indices: np.ndarray) -> Self:
        """Return what occurs in canonical designs, (n, n_parameters)."""
        empty = cls(space, np.zeros(_Tables(Coordinates(space)).size, dtype=bool))
        digits = empty._coordinates.digits(indices)
        for entries in empty._tables.entries(digits):
            empty.seen[entries] = True
        return empty

    @classmethod
    def read(cls, space: DesignSpace, arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the tables from the result of `arrays`; raise ValueError for anything else."""
        if "seen" not in arrays:
            raise ValueError("array 'seen' is missing")
        packed = arrays["seen"]
        size = _Tables(Coordinates(space)).size
        if packed.dtype != np.uint8 or packed.shape != ((size + 7) // 8,):
            raise ValueError(f"array 'seen' has shape {packed.shape} of {packed.dtype}")
        return cls(space, np.unpackbits(packed, count=size).astype(bool))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays of the tables, by name."""
        return {"seen": np.packbits(self.seen)}

    def novelty(self, indices: np.ndarray) -> np.ndarray:
        """Return the novelty of canonical designs, (n,) int8: 0 none, 1 new pair, 2 new value."""
        novelty = np.zeros(len(indices), dtype=np.int8)
        if self.seen.all():
            return novelty
        digits = self._coordinates.digits(indices)
        for table, entries in enumerate(self._tables.entries(digits)):
            new = PAIR if table >= self._tables.n_single else VALUE
            np.maximum(novelty, np.where(self.seen[entries], 0, new), out=novelty, casting="unsafe")
        return novelty

    @cached_property
    def _tables(self) -> "_Tables":
        return _Tables(self._coordinates)

    @property
    def _size(self) -> int:
        return self._tables.size


@final
class _Tables:
    """Index of the entry of each value and pair."""

    def __init__(self, coordinates: Coordinates) -> None:
        self._tables: list[tuple[int, int, int, int]] = []
        sizes = coordinates.sizes[:_MOST_COORDINATES]
        self.size = 0
        for place, n in enumerate(sizes):
            if n <= _MOST_VALUES:
                self._append(place, place, 0, n)
        self.n_single = len(self._tables)
        for (first, n), (second, m) in combinations(enumerate(sizes), 2):
            if n * m <= _MOST_PAIRS:
                self._append(first, second, m, n * m)

    def _append(self, first: int, second: int, stride: int, n: int) -> None:
        self._tables.append((first, second, stride, self.size))
        self.size += n

    def entries(self, digits: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the entries of the designs, (n,), in each table."""
        for first, second, stride, start in self._tables:
            yield start + digits[:, first] * stride + digits[:, second]
