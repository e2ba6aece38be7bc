"""Rows that are kept apart, so that an error says how a proxy does on what it has not seen."""

from collections.abc import Sequence

import numpy as np

from archgym.space import DesignSpace

__all__ = ["design_groups", "folds", "held_out", "outcome_groups", "region"]

# Sums of doubles that are equal on paper differ by some 1e-16.
_DIGITS = 12


def design_groups(indices: np.ndarray) -> np.ndarray:
    """Number of each row's design, (n,), of canonical designs (n, n_parameters)."""
    return np.unique(indices, axis=0, return_inverse=True)[1].reshape(-1)


def outcome_groups(values: np.ndarray) -> np.ndarray:
    """Number of each row's outcome, (n,), equal where all metrics, (n, n_metrics), are equal.

    Designs whose parameters do nothing on a workload share an outcome, and with one of them in the
    training data the others are no test of a model.
    """
    with np.errstate(divide="ignore"):
        size = np.floor(np.log10(np.abs(values)))
    scale = 10.0 ** (_DIGITS - np.where(np.isfinite(size), size, 0.0))
    rounded = np.round(values * scale) / scale
    return np.unique(rounded, axis=0, return_inverse=True)[1].reshape(-1)


def folds(groups: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """The fold, 0 to n - 1, of each row, (n_rows,), with each group in one fold.

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
    """Whether each row is held out, (n,) bool: whole groups in random order up to `share`."""
    sizes = np.bincount(groups)
    order = rng.permutation(len(sizes))
    before = np.cumsum(sizes[order]) - sizes[order]
    chosen = np.zeros(len(sizes), dtype=bool)
    chosen[order] = before < share * len(groups)
    return np.asarray(chosen[groups])


def region(
    space: DesignSpace, indices: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, Sequence[str]]:
    """Rows in a corner of the space, (n,) bool, and the conditions that cut it off in words.

    The corner has the upper or the lower part of two ordered parameters at once, so that a model
    must predict beyond the combinations that it has seen. Parameters and ends are drawn; the cut is
    the closest one that leaves `share` of the rows or more in the corner, but never half of a
    parameter's values.
    """
    ordered = [p for p, parameter in enumerate(space.parameters) if parameter.is_ordered]
    ordered = [p for p in ordered if len(np.unique(indices[:, p])) > 2]
    if not ordered:
        return np.zeros(len(indices), dtype=bool), ()
    chosen = sorted(rng.permutation(ordered)[:2].tolist())
    is_upper = (rng.random(len(chosen)) < 0.5).tolist()
    best = np.zeros(len(indices), dtype=bool)
    words: tuple[str, ...] = ()
    for depth in np.linspace(0.05, 0.45, 9):
        inside = np.ones(len(indices), dtype=bool)
        said = []
        for place, upper in zip(chosen, is_upper, strict=True):
            parameter = space.parameters[place]
            last = parameter.size - 1
            bound = round(float(depth) * last)
            bound = last - bound if upper else bound
            column = indices[:, place]
            inside &= column >= bound if upper else column <= bound
            said.append(f"{parameter.name} {'>=' if upper else '<='} {parameter.value(bound)}")
        if inside.any():
            best, words = inside, tuple(said)
        if inside.mean() >= share:
            break
    return best, words
