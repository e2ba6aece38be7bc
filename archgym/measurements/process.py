"""Gaussian process of a simulator's error, given measurements."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, final

import numpy as np

from archgym.measurements.points import Points, Sides
from archgym.measurements.prior import Component, ErrorPrior
from archgym.runtime.importing import import_library, one_thread

# chosen: a measurement further than this from what all others say is named and counts less [sigma].
OUTLIER: Final = 4.0
# chosen: measurements' worth of trust in a learned prior's size of errors.
_TRUST: Final = 6.0
# chosen: an author's guess of a size is wrong by a factor of e, half of it in one part alone.
_GUESS, _GUESS_OF_PART = 1.0, 0.4
# chosen: sizes that are compared, from a quarter of the guess to 64 times it.
_SIZES: Final = 2.0 ** np.arange(-2, 7)
# chosen: residuals that tell the sizes well enough.
_MOST_FOR_SIZES: Final = 30
# chosen: odds against chance at which a prior is called wrong.
_SURPRISE: Final = 0.01
# chosen: more outliers than this are no outliers.
_MOST_OUTLIERS: Final = 12
_JITTER: Final = 1e-10
# chosen: resolution of a number that is said to be exact [log].
EXACT: Final = 1e-9
# chosen: variance of what no measurement tells, far above that of any error.
_OPEN: Final = 1e4


class Residuals(NamedTuple):
    """Measured errors: row of the points, number of the quantity, ``log(measured / simulated)``.

    `run` numbers the measurements; those of one run share its noise. `open`, (n, n_quantities),
    projects on what runs leave open: of a product, its factors' ratio.
    """

    row: np.ndarray
    quantity: np.ndarray
    value: np.ndarray
    run: np.ndarray
    open: np.ndarray | None = None

    @property
    def told(self) -> np.ndarray:
        """Share of each quantity's error that its run tells, (n,)."""
        if self.open is None:
            return np.ones(len(self.value))
        return np.asarray(1.0 - self.open[np.arange(len(self.value)), self.quantity])


@final
@dataclass(frozen=True)
class Posterior:
    """Errors of n points by quantity, (n, n_quantities) means, and their joint covariance."""

    mean: np.ndarray
    covariance: np.ndarray
    """(n * n_quantities, n * n_quantities), quantities of a point side by side."""
    tail: float
    """Degrees of freedom of Student's t."""

    @property
    def spread(self) -> np.ndarray:
        """Standard deviations, (n, n_quantities)."""
        variance = np.maximum(np.diag(self.covariance), 0.0)
        return np.asarray(np.sqrt(variance).reshape(self.mean.shape))

    def draws(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return joint draws of the errors, (n, n_points, n_quantities)."""
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        # Antithetic: draws in pairs of opposite sign have the mean of the process.
        half = rng.standard_normal((n // 2, len(values)))
        wide = np.sqrt(self.tail / rng.chisquare(self.tail, n // 2))[:, None]
        scaled = half * wide * _deviation_factor(self.tail)
        normal = np.concatenate((scaled, -scaled))
        found = self.mean.ravel() + normal @ root.T
        return np.asarray(found.reshape(len(normal), *self.mean.shape))


def quantile(tail: float, probability: float) -> float:
    """Return a quantile of Student's t with a standard deviation of 1."""
    special = import_library("scipy.special")
    return float(special.stdtrit(tail, probability)) * _deviation_factor(tail)


def _deviation_factor(tail: float) -> float:
    """Return the factor that gives Student's t a standard deviation of 1."""
    return float(np.sqrt((tail - 2.0) / tail)) if tail > 2.0 else 0.5


@final
class ErrorProcess:
    """Error of a simulator: ``log(measured / simulated)`` of points, learned from measurements.

    The prior says how much of the error points share. Conditioning on measurements gives errors of
    other points with a covariance: two similar designs differ by less than either is uncertain.
    A measurement that the others contradict keeps a small weight until another one confirms it.
    How large errors are is learned along: a learned prior that is too small is scaled, and each
    part of a chosen one takes the size that measurements of a quantity suggest.

    Source:
      Rasmussen and Williams, *Gaussian Processes for Machine Learning*, 2006, equations 2.25, 2.26
      and 5.12 (leave-one-out); Shah, Wilson and Ghahramani, *Student-t Processes as Alternatives to
      Gaussian Processes*, AISTATS 2014, for the scale.
    """

    def __init__(self, prior: ErrorPrior) -> None:
        """Take the prior; nothing is measured yet."""
        self.prior = prior
        self.scale = 1.0
        """Factor of the prior's standard deviations that measurements ask for, at least 1."""
        self.surprise = 1.0
        """Probability of errors as large as those measured, if the prior were right."""
        self.deviations = np.zeros(0)
        """Distance of each outlier from what all others say [standard deviations]; else 0."""
        self.weights = np.zeros(0)
        """Weight of each residual, 1 for one that counts in full."""
        self._points: Points | None = None
        self._components, self._widening = prior.components, 1.0
        n = len(prior.quantities)
        self._correlation = np.array(prior.correlation, dtype=np.float64).reshape(n, n)
        self._noise = np.array(prior.noise)

    @property
    def measured_points(self) -> Points | None:
        """Points that were measured; None where nothing was."""
        return self._points

    @property
    def measured_quantities(self) -> frozenset[int]:
        """Numbers of the quantities that some measurement has."""
        return frozenset(() if self._points is None else self._residuals.quantity.tolist())

    @property
    def is_contradicted(self) -> bool:
        """True if measurements say that the prior's errors are of another size."""
        return self.surprise < _SURPRISE

    @property
    def tail(self) -> float:
        """Degrees of freedom of predictions."""
        return self.prior.tail

    @one_thread
    def condition(self, points: Points, residuals: Residuals) -> None:
        """Take measurements; those before are forgotten.

        Args:
          points: Points that were measured.
          residuals: Their errors.
        """
        self._points, self._residuals = points, residuals
        self._components = self.prior.components
        n = len(residuals.value)
        self.weights = np.ones(n)
        if not n:
            self._points = None
            return
        at = Sides(points, residuals.row, residuals.quantity)
        kernel = self._covariance(at, at)
        noise = self._noises(residuals)
        told = residuals.told
        confirmed = _confirmed(residuals, self._noise)
        self.deviations = np.zeros(n)
        for _ in range(_MOST_OUTLIERS):
            inverse = self._inverted(kernel, noise)
            alpha = inverse @ residuals.value
            deviations = np.abs(alpha) / np.sqrt(np.maximum(np.diag(inverse), _JITTER))
            # A prior that is too small makes all of them large.
            square = float(residuals.value @ alpha)
            rest = np.maximum(square - deviations**2, 0.0) / max(told.sum() - 1, 1)
            deviations /= np.maximum(1.0, np.sqrt(rest))
            asked = np.where(confirmed | (self.weights < 1.0), 0.0, deviations)
            worst = int(np.argmax(asked))
            # Factors of the only product do not contradict each other.
            if asked[worst] <= OUTLIER or told.sum() <= 1.0 + EXACT < n:
                break
            # One at a time: an outlier makes those next to it look like outliers.
            self.weights[worst] = (OUTLIER / asked[worst]) ** 4
            self.deviations[worst] = asked[worst]
        self.surprise = float(import_library("scipy.special").chdtrc(told.sum(), square))
        if self.prior.origin == "chosen":
            guessed = _total(self._components)
            # A factor of a product has a part of its error.
            plain = residuals._replace(value=residuals.value / np.sqrt(told), open=None)
            self._components = self._sized(points, plain, self._noises(plain))
            self.scale = max(1.0, float((_total(self._components) / guessed).max()))
            inverse = self._inverted(self._covariance(at, at), noise)
            alpha = inverse @ residuals.value
        else:
            # Several quantities of one run, or runs of one design, say less than as many others.
            worth = float(len(np.unique(residuals.row)))
            scale = float(np.sqrt((_TRUST + worth * square / n) / (_TRUST + worth)))
            # Few measurements that happen to agree do not make the others more certain.
            self.scale = self._widening = max(1.0, scale)
        self._at, self._inverse, self._alpha = at, inverse, alpha

    def _sized(
        self, points: Points, residuals: Residuals, noise: np.ndarray
    ) -> tuple[Component, ...]:
        """Return the components with the sizes that are expected after the measurements.

        Sizes are compared by the likelihood of the residuals of one quantity, times the prior that
        they are guesses. The mean of the squared sizes counts.
        """
        parts = self._components
        spreads = np.array([part.spread for part in parts])
        logs = np.log(_SIZES)[np.indices((len(_SIZES),) * len(parts)).reshape(len(parts), -1).T]
        trust = np.linalg.inv(_GUESS**2 + _GUESS_OF_PART**2 * np.eye(len(parts)))
        guess = -0.5 * np.einsum("gi,ij,gj->g", logs, trust, logs)
        for quantity in np.unique(residuals.quantity):
            own = np.flatnonzero(residuals.quantity == quantity)
            if len(own) > _MOST_FOR_SIZES:
                own = own[np.linspace(0, len(own) - 1, _MOST_FOR_SIZES).astype(int)]
            at, values = points.rows(residuals.row[own]), residuals.value[own]
            shares = np.stack([part.shares(at, at) for part in parts])
            squares = (spreads[:, quantity] * np.exp(logs)) ** 2
            total = np.einsum("gi,ijk->gjk", squares, shares) + noise[np.ix_(own, own)]
            diagonal = np.einsum("gjj->gj", total)
            diagonal += diagonal * (1.0 / self.weights[own] - 1.0) + _JITTER
            roots = np.linalg.cholesky(total)
            half = np.linalg.solve(roots, np.broadcast_to(values[:, None], (*diagonal.shape, 1)))
            fit = -0.5 * (half**2).sum(axis=(1, 2)) - np.log(np.einsum("gjj->gj", roots)).sum(
                axis=1
            )
            weights = np.exp(guess + fit - (guess + fit).max())
            spreads[:, quantity] = np.sqrt(weights @ squares / weights.sum())
        return tuple(
            replace(part, spread=tuple(spread.tolist()))
            for part, spread in zip(parts, spreads, strict=True)
        )

    @one_thread
    def predict(self, points: Points, quantities: Sequence[int] | None = None) -> Posterior:
        """Return errors of points, with their joint covariance.

        Args:
          points: The points.
          quantities: Numbers of quantities; all by default.
        """
        chosen = np.arange(len(self.prior.quantities)) if quantities is None else quantities
        at = Sides.of(points, np.asarray(chosen, dtype=np.int64))
        covariance, mean = self._covariance(at, at), np.zeros(len(at.row))
        if self._points is not None:
            cross = self._covariance(at, self._at)
            mean = cross @ self._alpha
            covariance -= cross @ self._inverse @ cross.T
        found = mean.reshape(len(points), len(chosen))
        return Posterior(found, self._widening**2 * covariance, self.tail)

    @one_thread
    def marginals(
        self, points: Points, sums: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of errors, (n, n_quantities) each.

        Args:
          points: The points.
          sums: (n_sums, n_quantities), sums of errors to return in place of quantities.
        """
        n, n_quantities = len(points), len(self.prior.quantities)
        variance = np.zeros((n, n_quantities))
        for component in self._components:
            variance += component.spreads(points, self.prior.known) ** 2
        parts = np.eye(n_quantities) if sums is None else sums
        variance, mean = variance @ parts.T**2, np.zeros((n, len(parts)))
        if self._points is not None:
            whole = self._covariance(Sides.of(points, np.arange(n_quantities)), self._at)
            # Row by row, so that no digit depends on how many designs there are.
            cross = [part @ each for each in np.split(whole, n) for part in parts]
            mean = np.array([each @ self._alpha for each in cross]).reshape(mean.shape)
            explained = np.array([each @ (self._inverse @ each) for each in cross])
            variance -= explained.reshape(mean.shape)
        return mean, self._widening * np.sqrt(np.maximum(variance, 0.0))

    def noise_covariance(self) -> np.ndarray:
        """Return the covariance of the noise of one run, (n_quantities, n_quantities)."""
        return np.asarray(self._correlation * np.outer(self._noise, self._noise))

    def _covariance(self, one: Sides, other: Sides) -> np.ndarray:
        total = np.zeros((len(one.row), len(other.row)))
        for component in self._components:
            total += component.covariance(one, other, self.prior.known)
        total *= self._correlation[np.ix_(one.quantity, other.quantity)]
        return total

    def _noises(self, residuals: Residuals) -> np.ndarray:
        """Return the covariance of the noise of residuals, (n, n)."""
        spread = self._noise[residuals.quantity]
        same_run = residuals.run[:, None] == residuals.run[None, :]
        shared = self._correlation[np.ix_(residuals.quantity, residuals.quantity)]
        noise = same_run * shared * np.outer(spread, spread)
        if residuals.open is not None:
            noise = noise + _OPEN * same_run * residuals.open[:, residuals.quantity]
        return np.asarray(noise)

    def _inverted(self, kernel: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Return the inverse of the covariance of what was measured, with weights."""
        root = np.sqrt(self.weights)
        total = kernel + noise
        # An outlier's own variance grows, not what it shares.
        diagonal = np.diag(total)
        total = total + np.diag(diagonal * (1.0 / self.weights - 1.0)) + _JITTER * np.eye(len(root))
        linalg: Any = import_library("scipy.linalg")
        lower = np.linalg.cholesky(total)
        inverse: np.ndarray = linalg.cho_solve((lower, True), np.eye(len(total)))
        return inverse


def _total(components: Sequence[Component]) -> np.ndarray:
    """Return the standard deviation of an error by quantity."""
    return np.asarray(np.linalg.norm([part.spread for part in components], axis=0))


def _confirmed(residuals: Residuals, noise: np.ndarray) -> np.ndarray:
    """Return True for residuals that another run of the same point repeats, (n,) bool."""
    apart = np.abs(residuals.value[:, None] - residuals.value[None, :])
    same = (residuals.row[:, None] == residuals.row[None, :]) & (
        residuals.quantity[:, None] == residuals.quantity[None, :]
    )
    same &= residuals.run[:, None] != residuals.run[None, :]
    near = apart <= OUTLIER * np.sqrt(2.0) * np.maximum(noise[residuals.quantity], EXACT)[:, None]
    return np.asarray((same & near).any(axis=1))
