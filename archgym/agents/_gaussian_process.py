"""Gaussian process on mixed parameters, with a linear part and a relevance for each parameter."""

import math
import sys
from collections.abc import Callable
from functools import cache
from typing import Final, final

import numpy as np

from archgym.runtime.importing import import_library

# chosen: prior of the logarithm of a weight. Its centre falls with the number of parameters, so
# that random designs lie about one length scale apart in any space. A wider prior switches
# parameters off after a few designs, which makes predictions overconfident. Source of the
# dependence on the number: Hvarfner et al., *Vanilla Bayesian Optimization Performs Great in High
# Dimensions*, ICML 2024.
_WEIGHT_AT_ONE: Final = 3.0
_WEIGHT_SPREAD: Final = 1.2
# chosen: priors of the logarithms of the amplitudes and of the noise, for targets of variance 1.
# Simulators are deterministic, so noise only stands for what the kernel cannot express.
_AMPLITUDE_CENTRE: Final = 0.0
_AMPLITUDE_SPREAD: Final = 1.5
_NOISE_CENTRE: Final = math.log(1e-3)
_NOISE_SPREAD: Final = 1.5
_BOUND: Final = 16.0
_JITTER: Final = 1e-8
# chosen: rounds of L-BFGS from the prior and from earlier values, and rows that they look at; all
# rows take part in predictions.
_FIRST_ROUNDS: Final = 30
_LATER_ROUNDS: Final = 10
_MAX_LEARNED: Final = 96
_Rooms = tuple[np.ndarray, ...]


@final
class GaussianProcess:
    """Regression with the kernel `a * linear + s * Matern-5/2`, both on weighted features.

    Each parameter has one weight, the inverse square of its length scale, for all its features.
    The linear part learns the effect of single parameters from few designs, the other part what
    is left. Weights, amplitudes and noise maximise the posterior, from earlier values on.

    Source:
      Rasmussen and Williams, *Gaussian Processes for Machine Learning*, 2006, equations 2.25,
      2.26, 4.17 and 5.9.
    """

    def __init__(self, groups: np.ndarray, rooms: dict[int, np.ndarray] | None = None) -> None:
        """Set up a process that has learned nothing.

        Args:
          groups: (n_features,), number of the parameter that each feature belongs to.
          rooms: Memory for intermediate results, which processes of one thread may share.
        """
        self._groups = groups
        self._n_groups = int(groups.max()) + 1 if len(groups) else 0
        n = self._n_groups
        centre = math.log(_WEIGHT_AT_ONE / max(n, 1))
        others = [_AMPLITUDE_CENTRE, _AMPLITUDE_CENTRE, _NOISE_CENTRE]
        self._centres = np.array([centre] * n + others)
        spreads = [_AMPLITUDE_SPREAD, _AMPLITUDE_SPREAD, _NOISE_SPREAD]
        self._spreads = np.array([_WEIGHT_SPREAD] * n + spreads)
        self._values = self._centres.copy()
        self._is_new = True
        self._rooms = {} if rooms is None else rooms

    def learn(self, features: np.ndarray, targets: np.ndarray) -> None:
        """Adapt weights, amplitudes and noise to targets, (n,), of features, (n, n_features).

        Of more than 96 rows, the last ones and evenly spaced earlier ones are looked at.
        """
        minimize = import_library("scipy.optimize").fmin_l_bfgs_b
        n = len(targets)
        if n > _MAX_LEARNED:
            half = _MAX_LEARNED // 2
            early = np.linspace(0, n - half - 1, _MAX_LEARNED - half).astype(np.int64)
            rows = np.concatenate([early, np.arange(n - half, n)])
            features, targets = features[rows], targets[rows]
        y = (targets - targets.mean()) / _scale(targets)
        centred = features - features.mean(axis=0)
        bounds = [(c - _BOUND, c + _BOUND) for c in self._centres.tolist()]
        rounds = _FIRST_ROUNDS if self._is_new else _LATER_ROUNDS
        found, *_ = minimize(
            self._loss, self._values, args=(centred, y), bounds=bounds, maxiter=rounds
        )
        if np.isfinite(found).all():
            self._values = np.asarray(found)
        self._is_new = False

    def condition(self, features: np.ndarray, targets: np.ndarray) -> None:
        """Take the rows that predictions rest on."""
        self._mean, self._scale = float(targets.mean()), _scale(targets)
        self._origin = features.mean(axis=0)
        weights, a, s, noise = self._parts(self._values)
        self._root = np.sqrt(weights)
        self._a, self._s, self._noise = a, s, noise
        self._z = (features - self._origin) * self._root
        self._squares = self._lengths(self._z)
        kernel = self._kernel(self._z, self._z, self._squares, self._squares)
        _diagonal(kernel)[:] += noise + _JITTER
        self._inverse = _inverse(_cholesky(kernel))
        y = (targets - self._mean) / self._scale
        self._alpha = self._inverse.T @ (self._inverse @ y)

    def believe(self, features: np.ndarray) -> None:
        """Condition on rows of features as if they had the predicted means.

        Predictions keep their means; they become surer near these rows.
        """
        z = (features - self._origin) * self._root
        squares = self._lengths(z)
        rest = self._kernel(z, self._z, squares, self._squares) @ self._inverse.T
        kernel = self._kernel(z, z, squares, squares) - rest @ rest.T
        _diagonal(kernel)[:] += self._noise + _JITTER
        corner = _inverse(_cholesky(kernel))
        n = len(self._z)
        inverse = np.zeros((n + len(z), n + len(z)))
        inverse[:n, :n], inverse[n:, n:] = self._inverse, corner
        inverse[n:, :n] = -corner @ rest @ self._inverse
        self._inverse = inverse
        self._z = np.concatenate([self._z, z])
        self._squares = np.concatenate([self._squares, squares])
        self._alpha = np.concatenate([self._alpha, np.zeros(len(z))])

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of each row of features, (n,) each."""
        z = np.subtract(features, self._origin, out=self._room_like(1, features))
        z *= self._root
        squares = self._lengths(z)
        cross = self._kernel(z, self._z, squares, self._squares)
        mean = cross @ self._alpha
        explained = np.matmul(cross, self._inverse.T, out=self._room(0, cross.shape))
        explained *= explained
        own = self._a * squares + self._s
        variance = np.maximum(own - explained.sum(axis=1), 1e-10)
        return self._mean + self._scale * mean, self._scale * np.sqrt(variance)

    @property
    def noise(self) -> float:
        """Standard deviation of what the kernel cannot express, in the unit of the targets."""
        return self._scale * math.sqrt(self._noise)

    def residuals(self, hidden: np.ndarray) -> np.ndarray:
        """Return the error of each row's prediction, in its standard deviations, (n,).

        Args:
          hidden: (n, n) bool, the rows that a row is predicted without, itself among them.
        """
        precision = self._inverse.T @ self._inverse
        found = np.empty(len(hidden))
        for row, rows in enumerate(map(np.flatnonzero, hidden)):
            variances = np.linalg.inv(precision[np.ix_(rows, rows)])
            place = int(np.searchsorted(rows, row))
            error = variances[place] @ self._alpha[rows]
            found[row] = error / np.sqrt(max(variances[place, place], 1e-10))
        return found

    def _room(self, number: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return an array to fill, whose memory earlier calls with this number had.

        Fresh memory of this size takes longer to get than to fill.
        """
        size = math.prod(shape)
        if number not in self._rooms or self._rooms[number].size < size:
            self._rooms[number] = np.empty(size)
        return np.ndarray(shape, buffer=self._rooms[number])

    def _room_like(self, number: int, array: np.ndarray) -> np.ndarray:
        """Return room in the order of an array's entries, which decides the last bits of sums."""
        is_by_column = array.strides[0] < array.strides[1]
        return (
            self._room(number, array.T.shape).T if is_by_column else self._room(number, array.shape)
        )

    def _lengths(self, z: np.ndarray) -> np.ndarray:
        """Return the squared length of each row, (n,)."""
        return np.asarray(np.multiply(z, z, out=self._room_like(2, z)).sum(axis=1))

    def _kernel(
        self, one: np.ndarray, other: np.ndarray, ones: np.ndarray, others: np.ndarray
    ) -> np.ndarray:
        """Return the kernel, (n, m), of rows with these squared lengths; see `_filled`."""
        return self._filled(one, other, ones, others, self._a, self._s)[4]

    def _filled(
        self,
        one: np.ndarray,
        other: np.ndarray,
        ones: np.ndarray,
        others: np.ndarray,
        a: float,
        s: float,
    ) -> _Rooms:
        """Return the kernel of n and m rows and its parts, in memory that the next call takes.

        Returns:
          Five arrays, (n, m): sqrt(5) times the distances, exponentials of these but negative, the
          Matern-5/2 part for an amplitude of 1, products of the rows, and the kernel.
        """
        rooms = tuple(self._room(0, (5, len(one), len(other))))
        root, decay, matern, product, kernel = rooms
        loops = _loops()
        np.matmul(one, other.T, out=product)
        if loops:
            loops[0](ones, others, rooms)
        else:
            np.add(ones[:, None], others[None, :], out=root)
            root -= product * 2.0
            np.maximum(root, 0.0, out=root)
            root *= 5.0
            np.sqrt(root, out=root)
            np.negative(root, out=decay)
        # By NumPy in any case, since the last bits of others differ.
        np.exp(decay, out=decay)
        if loops:
            loops[1](a, s, rooms)
        else:
            np.multiply(root, root, out=matern)
            matern /= 3.0
            matern += root + 1.0
            matern *= decay
            np.multiply(product, a, out=kernel)
            kernel += matern * s
        return rooms

    def _parts(self, values: np.ndarray) -> tuple[np.ndarray, float, float, float]:
        """Return weights of features, amplitudes of both parts, and noise."""
        positive = np.exp(values)
        weights = positive[: self._n_groups][self._groups]
        return weights, float(positive[-3]), float(positive[-2]), float(positive[-1])

    def _loss(
        self, values: np.ndarray, features: np.ndarray, y: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Return the negative logarithm of the posterior and its gradient."""
        weights, a, s, noise = self._parts(values)
        z = features * np.sqrt(weights)
        lengths = self._lengths(z)
        rooms = root, decay, matern, product, kernel = self._filled(z, z, lengths, lengths, a, s)
        _diagonal(kernel)[:] += noise + _JITTER
        lower = _cholesky(kernel)
        inverse_lower = _inverse(lower)
        half = inverse_lower.T @ inverse_lower
        alpha = half @ y
        off = (values - self._centres) / self._spreads
        loss = 0.5 * y @ alpha + np.log(_diagonal(lower)).sum() + 0.5 * off @ off
        # Derivative of the Matern kernel by the squared distance.
        factor, slope = -5.0 / 6.0 * s, kernel
        if loops := _loops():
            loops[2](alpha, half, factor, rooms)
        else:
            half -= np.multiply(alpha[:, None], alpha, out=slope)
            half *= 0.5
            np.multiply(half, factor, out=slope)
            slope *= root + 1.0
            slope *= decay
        product *= half
        matern *= half
        by_feature = a * ((half @ z) * z).sum(axis=0)
        by_feature += 2.0 * (
            (slope.sum(axis=1)[:, None] * z * z).sum(axis=0) - ((slope @ z) * z).sum(axis=0)
        )
        gradient = np.concatenate(
            [
                np.bincount(self._groups, by_feature, self._n_groups),
                [a * product.sum(), s * matern.sum(), noise * half.trace()],
            ]
        )
        return float(loss), gradient + off / self._spreads


def _scale(targets: np.ndarray) -> float:
    scale = float(targets.std())
    return scale if scale > 1e-12 else 1.0


def _loops() -> tuple[Callable[..., None], ...]:
    """Return loops that do what NumPy does here, to the last bit, in a third of the time.

    There are none where no simulator has loaded the library that compiles them.
    """
    return _compiled() if "archgym.runtime.kernels" in sys.modules else ()


@cache
def _compiled() -> tuple[Callable[..., None], ...]:
    from archgym.runtime.kernels import entry_point

    return tuple(entry_point(seconds=0.7)(f) for f in (_each_root, _each_part, _each_slope))


def _each_root(ones: np.ndarray, others: np.ndarray, rooms: _Rooms) -> None:
    root, decay, _, product, _ = rooms
    for i in range(len(ones)):
        for j in range(len(others)):
            square = max(ones[i] + others[j] - product[i, j] * 2.0, 0.0)
            root[i, j] = math.sqrt(square * 5.0)
            decay[i, j] = -root[i, j]


def _each_part(a: float, s: float, rooms: _Rooms) -> None:
    root, decay, matern, product, kernel = rooms
    for i in range(root.shape[0]):
        for j in range(root.shape[1]):
            part = (root[i, j] * root[i, j] / 3.0 + (root[i, j] + 1.0)) * decay[i, j]
            matern[i, j] = part
            kernel[i, j] = product[i, j] * a + part * s


def _each_slope(alpha: np.ndarray, half: np.ndarray, factor: float, rooms: _Rooms) -> None:
    root, decay, _, _, slope = rooms
    for i in range(len(alpha)):
        for j in range(len(alpha)):
            entry = (half[i, j] - alpha[i] * alpha[j]) * 0.5
            half[i, j] = entry
            slope[i, j] = entry * factor * (root[i, j] + 1.0) * decay[i, j]


def _diagonal(matrix: np.ndarray) -> np.ndarray:
    """Return a view of the diagonal of a square matrix whose rows follow each other in memory."""
    return matrix.reshape(-1)[:: len(matrix) + 1]


def _inverse(lower: np.ndarray) -> np.ndarray:
    """Return the inverse of a lower factor."""
    # The routine behind `solve_triangular`, whose checks take as long as a small matrix.
    solve = import_library("scipy.linalg.lapack").dtrtrs
    unit = np.zeros_like(lower)
    _diagonal(unit)[:] = 1.0
    inverse: np.ndarray
    inverse, _ = solve(lower.T, unit.T, lower=0, trans=1, overwrite_b=1)
    return inverse


def _cholesky(kernel: np.ndarray) -> np.ndarray:
    """Return the lower factor, with more noise where the kernel is not positive definite."""
    extra = 0.0
    while True:
        try:
            return np.asarray(np.linalg.cholesky(kernel))
        except np.linalg.LinAlgError:
            extra = 10.0 * extra or 1e-6 * float(np.diag(kernel).mean())
            kernel[np.diag_indices_from(kernel)] += extra
