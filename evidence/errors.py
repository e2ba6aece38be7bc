"""Prior of a simulator's error, learned from rows that it is validated on.

Spreads of the components maximise the likelihood of the rows' errors, with a wide prior around
values that are chosen for reasons. Rows of several folds are independent: each fold predicts rows
with constants that were fitted without them, so that spreads of what is new come from what was new.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve
from scipy.optimize import minimize

from archgym.measurements.points import Points
from archgym.measurements.prior import Component, ErrorPrior, is_new
from archgym.measurements.process import quantile

Floats = npt.NDArray[np.float64]

# chosen: a spread lies within a factor of 2 of the guess for most simulators.
_DOUBT: Final = 0.7
_ROUNDS: Final = 60
# chosen: rows of one deployment that take part; more would only repeat what these say.
_MOST_ALIKE: Final = 8
MOST_ROWS: Final = 450
"""Rows of a fold that take part at most. Chosen: the work grows with their cube."""
# chosen: errors beyond this from what all others say count as if they were this far [sigma].
_OUTLIER: Final = 3.0
_LEAST: Final = 1e-4
# chosen: share of errors that an interval is to hold, and pairs of a deployment that take part.
_INSIDE, _MOST_PAIRS = 0.9, 200
# chosen: as `_DOUBT`; groups are too few to say more.
_FACTORS: Final = (0.5, 2.0)
_TURNS, _HALVINGS = 5, 30


@final
@dataclass(frozen=True, eq=False)
class Fold:
    """Rows with their errors.

    Attributes:
      points: (n,) points.
      errors: (n, n_quantities), ``log(measured / simulated)``; NaN where nobody measured.
      known: Values of facts that the predictions knew.
    """

    points: Points
    errors: Floats
    known: Mapping[str, frozenset[str]]

    def rows(self, rows: npt.NDArray[np.int64]) -> "Fold":
        """Return some of the rows."""
        return Fold(self.points.rows(rows), self.errors[rows], self.known)


class _Block(NamedTuple):
    """A fold made ready for one quantity."""

    shares: Floats
    new: npt.NDArray[np.bool_]
    errors: Floats


def thinned(fold: Fold, alike: Sequence[str], seed: int, most: int) -> Fold:
    """Return a fold with at most some rows of each deployment, and so many in all.

    Args:
      fold: The fold.
      alike: Facts that make a deployment.
      seed: Random seed of the choice.
      most: Rows at most.
    """
    rng = np.random.default_rng(seed)
    keys = list(zip(*(fold.points.text(name).tolist() for name in alike), strict=True))
    order = rng.permutation(len(keys))
    counts: dict[tuple[str, ...], int] = {}
    kept = []
    for row in order.tolist():
        counts[keys[row]] = counts.get(keys[row], 0) + 1
        if counts[keys[row]] <= _MOST_ALIKE:
            kept.append(row)
    return fold.rows(np.sort(np.array(kept[:most], dtype=np.int64)))


def learned_prior(
    guess: ErrorPrior,
    folds: Sequence[Fold],
    alike: Sequence[str],
    seed: int = 0,
    most_rows: int = MOST_ROWS,
) -> ErrorPrior:
    """Return the prior whose spreads fit the errors of folds best.

    Args:
      guess: Components with spreads that are chosen for reasons.
      folds: Rows with errors.
      alike: Facts that make a deployment.
      seed: Random seed of the rows that take part.
      most_rows: Rows of a fold that take part at most.
    """
    kept = [thinned(fold, alike, seed, most_rows) for fold in folds]
    errors = np.concatenate([fold.errors for fold in folds])
    if np.nanmax(np.abs(errors)) < 1e-9:
        zero = tuple(
            replace(c, spread=(0.0,) * len(c.spread), spread_new=(0.0,) * len(c.spread_new))
            for c in guess.components
        )
        noise = (0.0,) * len(guess.noise)
        return replace(guess, origin="exact", components=zero, noise=noise)
    spreads, news, noises, tails = [], [], [], []
    for quantity in range(len(guess.quantities)):
        spread, new, own_noise, deviations = _fit(guess, kept, quantity)
        spreads.append(spread)
        news.append(new)
        noises.append(own_noise)
        tails.append(deviations)
    components = tuple(
        replace(
            c,
            spread=tuple(_rounded(s[place]) for s in spreads),
            # What is new is known no better than what is not.
            spread_new=tuple(
                _rounded(max(new[place], known[place]))
                for new, known in zip(news, spreads, strict=True)
            )
            if c.news
            else (),
        )
        for place, c in enumerate(guess.components)
    )
    return replace(
        guess,
        origin="learned",
        components=components,
        noise=tuple(_rounded(each) for each in noises),
        correlation=_correlation(errors),
        tail=_tail(np.concatenate(tails)),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.3g}") if value > _LEAST else 0.0


def _fit(
    guess: ErrorPrior, folds: Sequence[Fold], quantity: int
) -> tuple[Floats, Floats, float, Floats]:
    """Return spreads, spreads of what is new, noise, and leave-one-out deviations."""
    blocks = []
    for fold in folds:
        known = np.isfinite(fold.errors[:, quantity])
        points, errors = fold.points.rows(np.flatnonzero(known)), fold.errors[known, quantity]
        if not len(errors):
            continue
        shares = np.stack([c.shares(points, points) for c in guess.components])
        new = np.stack([is_new(points, c.news, fold.known) for c in guess.components])
        blocks.append(_Block(shares, new, errors))
    n = len(guess.components)
    centre = np.log(
        np.concatenate(
            [
                [c.spread[quantity] for c in guess.components],
                [(c.spread_new or c.spread)[quantity] for c in guess.components],
                [guess.noise[quantity]],
            ]
        )
    )
    extra = [np.zeros(len(block.errors)) for block in blocks]
    theta = centre.copy()
    for _ in range(2):
        found: Any = minimize(
            _loss, theta, args=(centre, blocks, extra), jac=True, method="L-BFGS-B",
            options={"maxiter": _ROUNDS},
        )  # fmt: skip
        theta = found.x
        extra, deviations = _outliers(theta, blocks, extra)
    values = np.exp(theta)
    return values[:n], values[n : 2 * n], float(values[-1]), np.concatenate(deviations)


def _kernel(theta: Floats, block: _Block, extra: Floats) -> tuple[Floats, Floats]:
    """Return the covariance of a block, and the spreads of its rows by component."""
    n = len(block.shares)
    rows = np.where(block.new, np.exp(theta[n : 2 * n, None]), np.exp(theta[:n, None]))
    kernel = np.einsum("cij,ci,cj->ij", block.shares, rows, rows)
    kernel[np.diag_indices_from(kernel)] += np.exp(2.0 * theta[-1]) + extra + 1e-10
    return kernel, rows


def _loss(
    theta: Floats, centre: Floats, blocks: Sequence[_Block], extra: Sequence[Floats]
) -> tuple[float, Floats]:
    """Return the negative logarithm of the posterior and its gradient."""
    off = (theta - centre) / _DOUBT
    loss, gradient = 0.5 * float(off @ off), off / _DOUBT
    for block, added in zip(blocks, extra, strict=True):
        n = len(block.shares)
        kernel, rows = _kernel(theta, block, added)
        lower = np.linalg.cholesky(kernel)
        inverse = cho_solve((lower, True), np.eye(len(kernel)))
        alpha = inverse @ block.errors
        loss += float(0.5 * block.errors @ alpha + np.log(np.diag(lower)).sum())
        half = 0.5 * (inverse - np.outer(alpha, alpha))
        for c in range(n):
            # d(a_i a_j) / d log a, row by row.
            by_row = 2.0 * ((half * block.shares[c]) @ rows[c]) * rows[c]
            gradient[c] += by_row[~block.new[c]].sum()
            gradient[n + c] += by_row[block.new[c]].sum()
        gradient[-1] += 2.0 * np.trace(half) * np.exp(2.0 * theta[-1])
    return loss, gradient


def _outliers(
    theta: Floats, blocks: Sequence[_Block], extra: Sequence[Floats]
) -> tuple[list[Floats], list[Floats]]:
    """Return variances that keep outliers from counting, and leave-one-out deviations."""
    added, deviations = [], []
    for block, before in zip(blocks, extra, strict=True):
        kernel, _ = _kernel(theta, block, np.zeros_like(before))
        inverse = np.linalg.inv(kernel)
        own = np.diag(inverse)
        deviation = (inverse @ block.errors) / np.sqrt(own)
        excess = np.maximum(np.abs(deviation) / _OUTLIER, 1.0) ** 2 - 1.0
        added.append(excess / own)
        deviations.append(deviation)
    return added, deviations


def matched(prior: ErrorPrior, folds: Sequence[Fold], alike: Sequence[str]) -> ErrorPrior:
    """Return a prior whose two halves are as large as groups that were left out say.

    Differences of two rows of a deployment say how large effects of the load are. Errors of all
    rows say how large the rest is, which shifts whole groups. Of both, 90 % lie within their
    interval. The likelihood finds neither: it cuts outliers, and sees few rows of a deployment and
    few groups.

    Args:
      prior: Learned components; those with the member `near` are effects of the load.
      folds: Rows that were predicted without their group.
      alike: Facts that make a deployment.
    """
    parts = [
        _halves(prior, fold.rows(rows), np.random.default_rng(0))
        for fold in folds
        for rows in _deployments(fold, alike)
    ]
    whole, apart = (
        tuple(np.concatenate([part[of][n] for part in parts]) for n in range(3)) for of in (0, 1)
    )
    noise = np.array(prior.noise) ** 2
    factors = np.ones((2, len(prior.quantities)))
    for _ in range(_TURNS):
        for q in range(len(prior.quantities)):
            errors, rest, load = (each[:, q] for each in apart)
            known = factors[0, q] ** 2 * rest + 2.0 * noise[q]
            factors[1, q] = _factor(errors, known, load, prior.tail)
            errors, rest, load = (each[:, q] for each in whole)
            known = factors[1, q] ** 2 * load + noise[q]
            factors[0, q] = _factor(errors, known, rest, prior.tail)
    components = []
    for part in prior.components:
        spread, new = (
            tuple(map(_rounded, (factors[int(bool(part.near))] * each).tolist())) if each else ()
            for each in (part.spread, part.spread_new)
        )
        components.append(replace(part, spread=spread, spread_new=new))
    return replace(prior, components=tuple(components))


def apart_from_repeats(
    prior: ErrorPrior, fold: Fold, same: Sequence[str], near: Mapping[str, float]
) -> ErrorPrior:
    """Return a prior whose noise is what repeats of a measurement differ by.

    The likelihood calls noise what rows do not share. Most of it is the same in each run of a
    configuration, as its repeats show: it becomes a component of its own. Half of the repeats
    differ by less than the noise says. Medians count, since some rows that look like repeats are
    of other releases and launch settings.

    Args:
      prior: Learned components and noise.
      fold: Rows, some of which repeat others: all their facts are equal.
      same: Facts that must be equal for configurations to share the component.
      near: Length scale by fact; short, so that equal configurations alone share it.
    """
    names = sorted(fold.points.texts)
    keys = list(zip(*(fold.points.text(name).tolist() for name in names), strict=True))
    numbers: dict[tuple[str, ...], int] = {}
    of = np.array([numbers.setdefault(key, len(numbers)) for key in keys])
    one, other = np.triu_indices(len(of), 1)
    repeat = of[one] == of[other]
    edge = quantile(prior.tail, 0.75) * np.sqrt(2.0)
    apart = np.abs(fold.errors[one[repeat]] - fold.errors[other[repeat]])
    noise = np.minimum(np.nanmedian(apart, axis=0) / edge, prior.noise)
    own = np.sqrt(np.array(prior.noise) ** 2 - noise**2)
    spread, rounded = (tuple(map(_rounded, each.tolist())) for each in (own, noise))
    part = Component("configuration", tuple(same), near, spread=spread)
    return replace(prior, components=(*prior.components, part), noise=rounded)


def _deployments(fold: Fold, alike: Sequence[str]) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the rows of each deployment that has enough of them."""
    keys = list(zip(*(fold.points.text(name).tolist() for name in alike), strict=True))
    for key in sorted(set(keys)):
        rows = np.array([row for row, of in enumerate(keys) if of == key], dtype=np.int64)
        if len(rows) >= _MOST_ALIKE:
            yield rows


def _halves(
    prior: ErrorPrior, fold: Fold, rng: np.random.Generator
) -> tuple[tuple[Floats, Floats, Floats], tuple[Floats, Floats, Floats]]:
    """Return errors of rows, and differences of pairs, each with variances without and of load."""
    one, other = np.triu_indices(len(fold.errors), 1)
    if len(one) > _MOST_PAIRS:
        kept = rng.choice(len(one), _MOST_PAIRS, replace=False)
        one, other = one[kept], other[kept]
    whole = np.zeros((2, *fold.errors.shape))
    apart = np.zeros((2, len(one), fold.errors.shape[1]))
    for part in prior.components:
        own, half = part.spreads(fold.points, fold.known), int(bool(part.near))
        shares = part.shares(fold.points, fold.points)[one, other][:, None]
        whole[half] += own**2
        apart[half] += own[one] ** 2 + own[other] ** 2 - 2.0 * shares * own[one] * own[other]
    difference = fold.errors[one] - fold.errors[other]
    return (fold.errors, whole[0], whole[1]), (difference, apart[0], apart[1])


def _factor(errors: Floats, known: Floats, scaled: Floats, tail: float) -> float:
    """Return the factor of spreads with which 90 % of errors lie within their interval."""
    seen = np.isfinite(errors)
    edge = quantile(tail, 0.5 + _INSIDE / 2.0)
    low, high = _FACTORS
    for _ in range(_HALVINGS):
        factor = float(np.sqrt(low * high))
        inside = np.abs(errors) <= edge * np.sqrt(known + factor**2 * scaled)
        low, high = (factor, high) if inside[seen].mean() < _INSIDE else (low, factor)
    return float(np.sqrt(low * high))


def _correlation(errors: Floats) -> tuple[tuple[float, ...], ...]:
    """Return the correlation of quantities, of errors whose outliers are cut."""
    known = errors[np.isfinite(errors).all(axis=1)]
    low, high = np.quantile(known, (0.05, 0.95), axis=0)
    found = np.atleast_2d(np.corrcoef(np.clip(known, low, high).T))
    n = errors.shape[1]
    return tuple(tuple(round(float(found[i, j]), 2) for j in range(n)) for i in range(n))


def _tail(deviations: Floats) -> float:
    """Return degrees of freedom of Student's t that fit leave-one-out deviations."""
    from scipy.stats import t

    options = (3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 30.0)
    scaled = [deviations / np.sqrt((nu - 2.0) / nu) for nu in options]
    fits = [
        float(t.logpdf(z, nu).sum() - 0.5 * len(z) * np.log((nu - 2.0) / nu))
        for z, nu in zip(scaled, options, strict=True)
    ]
    return options[int(np.argmax(fits))]


def write_prior(prior: ErrorPrior, path: Path) -> None:
    """Write the prior that ships with a simulator."""
    path.write_text(json.dumps(prior.to_json(), indent=1) + "\n", encoding="utf-8")
