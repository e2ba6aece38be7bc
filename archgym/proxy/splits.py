"""Held-out rows, on which the error of a proxy on unseen designs is measured."""

from collections.abc import Sequence

import numpy as np

from archgym.datasets.region import Sums, add_to_sums, influential
from archgym.evaluation.metrics import MetricSpec
from archgym.spaces.parameter import Categorical
from archgym.spaces.space import DesignSpace

# Sums of doubles that are equal on paper differ by some 1e-16.
_DIGITS = 12
# chosen: a parameter with more values is not looked at for a region.
_MOST_VALUES = 65536


def design_groups(indices: np.ndarray) -> np.ndarray:
    """Return number of each row's design, (n,), of canonical designs (n, n_parameters)."""
    return np.unique(indices, axis=0, return_inverse=True)[1].reshape(-1)


def outcome_groups(values: np.ndarray) -> np.ndarray:
    """Number of each row's outcome, (n,), equal where all metrics, (n, n_metrics), are equal.

    Designs whose parameters do nothing on a workload share an outcome, and with one of them in the
    training data the others do not test a model.
    """
    with np.errstate(divide="ignore"):
        size = np.floor(np.log10(np.abs(values)))
    scale = 10.0 ** (_DIGITS - np.where(np.isfinite(size), size, 0.0))
    rounded = np.round(values * scale) / scale
    return np.unique(rounded, axis=0, return_inverse=True)[1].reshape(-1)


def folds(groups: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return the fold, 0 to n - 1, of each row, (n_rows,), with each group in one fold.

    Groups are dealt in random order, each to the fold that has fewest rows so far.
    """
    sizes = np.bincount(groups)
    fold_of = np.empty(len(sizes), dtype=np.int64)
    filled = np.zeros(n, dtype=np.int64)
    for group in rng.permutation(len(sizes)):
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += sizes[group]
    return np.asarray(fold_of[groups])


def held_out(groups: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """True if each row is held out, (n,) bool: whole groups in random order up to `share`."""
    sizes = np.bincount(groups)
    order = rng.permutation(len(sizes))
    before = np.cumsum(sizes[order]) - sizes[order]
    chosen = np.zeros(len(sizes), dtype=bool)
    chosen[order] = before < share * len(groups)
    return np.asarray(chosen[groups])


def region(
    space: DesignSpace,
    metrics: Sequence[MetricSpec],
    indices: np.ndarray,
    values: np.ndarray,
    share: float,
) -> tuple[np.ndarray, Sequence[str]]:
    """Return rows in a region of the space, (n,) bool, and its condition in words.

    It is the one that `archgym dataset split --split region` chooses: the tail or value, near
    `share` of the rows, of the parameter that explains most of the first metric with a goal. None
    of the rows where no parameter takes several values.
    """
    place = next((k for k, spec in enumerate(metrics) if spec.goal != "none"), 0)
    with np.errstate(divide="ignore"):
        logs = np.log(np.abs(values[:, place]) + metrics[place].resolution)
    columns = {
        p.name: np.array([p.value(k) for k in range(p.size)])[indices[:, column]]
        for column, p in enumerate(space.parameters)
        if isinstance(p, Categorical) or p.is_ordered
        if p.size <= _MOST_VALUES
    }
    tallies: dict[str, Sums] = {}
    for name, column_values in columns.items():
        add_to_sums(tallies.setdefault(name, {}), column_values, logs)
    found = influential(tallies, share)
    if found is None:
        return np.zeros(len(indices), dtype=bool), ()
    condition, explained = found
    words = f"{condition} (explains {100 * explained:.0f} % of {metrics[place].name})"
    return condition.holds_of(columns[condition.parameter]), (words,)
