"""A Gaussian process for all metrics together, on a limited number of rows."""

import warnings
from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar, final

import numpy as np

from archgym.proxy.model import ModelKind, Predictor, Setting, checked
from archgym.runtime.importing import import_library
from archgym.runtime.reductions import report_reduction

# chosen: the kernel of so many rows takes 128 MB; a file cannot request more.
_MOST_KNOWN = 4000
# chosen: the likelihood is computed some hundred times, each by the cube of the rows.
_FEW = 300


@final
class ProcessPredictor(Predictor):
    """The mean and deviation of a process with the Matérn kernel of smoothness 5/2.

    Source:
      Rasmussen and Williams, *Gaussian Processes for Machine Learning*, 2006, equations 2.25, 2.26
      and 4.17.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], n_features: int, n_outputs: int) -> None:
        """Take `known` features, `lengths`, `variance`, `noise` and `weights`."""
        self.known = checked(arrays, "known", "f", (None, n_features))
        n = len(self.known)
        if n > _MOST_KNOWN:
            raise ValueError(f"a process knows up to {_MOST_KNOWN} rows; it has {n}")
        self.lengths = checked(arrays, "lengths", "f", (n_features,), 1e-12)
        self.variance = checked(arrays, "variance", "f", (1,), 0.0)
        self.weights = checked(arrays, "weights", "f", (n, n_outputs))
        self.noise = checked(arrays, "noise", "f", (1,), 0.0)

    def arrays(self) -> dict[str, np.ndarray]:
        names = "known", "lengths", "variance", "noise", "weights"
        return {name: getattr(self, name) for name in names}

    def predict(self, features: np.ndarray) -> np.ndarray:
        return np.asarray(np.einsum("nk,km->nm", self._kernel(features), self.weights))

    def spread(self, features: np.ndarray) -> np.ndarray | None:
        explained = np.zeros(len(features))
        if self._whitening is not None:
            kernel = self._kernel(features)
            explained = (np.einsum("nk,lk->nl", kernel, self._whitening) ** 2).sum(axis=1)
        deviation = np.sqrt(np.maximum(self.variance[0] - explained, 0.0))
        return np.repeat(deviation[:, None], self.weights.shape[1], axis=1)

    @cached_property
    def _whitening(self) -> np.ndarray | None:
        """Inverse of the root of the known rows' kernel, (n, n); None if numbers have none.

        It is computed on first use, since it would take a hundred times the rest of the file.
        """
        kernel = self._kernel(self.known)
        kernel[np.diag_indices_from(kernel)] += self.noise[0]
        try:
            found: np.ndarray = np.linalg.inv(np.linalg.cholesky(kernel))
        except np.linalg.LinAlgError:
            return None
        return found if np.isfinite(found).all() else None

    def _kernel(self, features: np.ndarray) -> np.ndarray:
        kernel = np.empty((len(features), len(self.known)))
        known = self.known / self.lengths
        # A row at a time, so that neither memory nor a result depends on the batch.
        for row, scaled in enumerate(features / self.lengths):
            distance = np.sqrt(5.0 * ((known - scaled) ** 2).sum(axis=1))
            kernel[row] = self.variance * (1 + distance + distance**2 / 3) * np.exp(-distance)
        return kernel


@final
class GpKind(ModelKind):
    """A Gaussian process."""

    name = "gp"
    doc = "a Gaussian process on up to 1,000 rows; for small datasets"
    encoding = "one-hot"
    # chosen: fitting takes the cube of the rows; a thousand take some seconds.
    settings: ClassVar[tuple[Setting, ...]] = ({"max_rows": 1000, "noise": 1e-4},)
    predictor = ProcessPredictor

    def fit(
        self, features: np.ndarray, targets: np.ndarray, setting: Setting, seed: int
    ) -> ProcessPredictor:
        """Fit length scales by the likelihood of a few hundred rows, then the weights."""
        process = import_library("sklearn.gaussian_process")
        kernels = import_library("sklearn.gaussian_process.kernels")
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.permutation(len(features))[: int(setting["max_rows"])])
        noise = float(setting["noise"])
        report_reduction(
            "rows of the Gaussian process", len(rows), len(features),
            "they are a random sample; set `max_rows`, at most 4,000, or choose another model",
        )  # fmt: skip
        if not 1 <= len(rows) <= _MOST_KNOWN:
            raise ValueError(f"`max_rows` must be 1 to {_MOST_KNOWN}.")
        start = kernels.ConstantKernel(1.0, (1e-3, 1e3)) * kernels.Matern(
            np.ones(features.shape[1]), (1e-2, 1e2), nu=2.5
        )
        few = rows[rng.permutation(len(rows))[:_FEW]]
        report_reduction(
            "rows for length scales of the Gaussian process", len(few), len(rows),
            "they are a random sample; the weights are fitted to all",
        )  # fmt: skip
        with warnings.catch_warnings():
            # Of length scales at their limits: an inactive parameter has none.
            warnings.simplefilter("ignore")
            search = process.GaussianProcessRegressor(start, alpha=noise, random_state=seed)
            search.fit(features[few], targets[few])
        model = process.GaussianProcessRegressor(search.kernel_, alpha=noise, optimizer=None)
        model.fit(features[rows], targets[rows])
        n = len(rows)
        arrays = {
            "known": features[rows],
            "lengths": np.broadcast_to(model.kernel_.k2.length_scale, features.shape[1:]).copy(),
            "variance": np.array([model.kernel_.k1.constant_value]),
            "weights": np.asarray(model.alpha_).reshape(n, targets.shape[1]),
            "noise": np.array([noise]),
        }
        return ProcessPredictor(arrays, features.shape[1], targets.shape[1])
