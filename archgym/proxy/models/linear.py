"""Ridge regression on the values of parameters and, where it helps, of pairs of them."""

from collections.abc import Mapping
from typing import ClassVar, final

import numpy as np

from archgym.proxy.model import ModelKind, Predictor, Setting, checked
from archgym.runtime.importing import import_library

# chosen: pairs of more features take gigabytes with thousands of rows; they are left out.
_MOST_PAIRED = 100


@final
class LinearPredictor(Predictor):
    """A weighted sum of features, their squares and products, and a constant."""

    def __init__(self, arrays: Mapping[str, np.ndarray], n_features: int, n_outputs: int) -> None:
        """Take `weights` and `constant`; the number of weights says whether there are products."""
        products = n_features * (n_features + 1) // 2
        self.weights = checked(arrays, "weights", "f", (None, n_outputs))
        self.constant = checked(arrays, "constant", "f", (n_outputs,))
        if len(self.weights) not in (n_features, n_features + products):
            raise ValueError(f"array 'weights' has shape {self.weights.shape}")
        self._has_products = len(self.weights) > n_features

    def arrays(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights, "constant": self.constant}

    def predict(self, features: np.ndarray) -> np.ndarray:
        terms = _terms(features, self._has_products)
        # Row by row the same sum in the same order, whatever the batch; `@` promises neither.
        return np.asarray(np.einsum("nf,fm->nm", terms, self.weights) + self.constant)


def _terms(features: np.ndarray, has_products: bool) -> np.ndarray:
    if not has_products:
        return features
    first, second = np.triu_indices(features.shape[1])
    return np.concatenate([features, features[:, first] * features[:, second]], axis=1)


@final
class LinearKind(ModelKind):
    """Ridge regression."""

    name = "linear"
    doc = "ridge regression on values and pairs of values; the baseline"
    encoding = "one-hot"
    settings: ClassVar[tuple[Setting, ...]] = (
        {"degree": 2, "alpha": 1e-2},
        {"degree": 2, "alpha": 1.0},
        {"degree": 1, "alpha": 1e-2},
    )
    predictor = LinearPredictor

    def fit(
        self, features: np.ndarray, targets: np.ndarray, setting: Setting, seed: int
    ) -> LinearPredictor:
        """Solve for the weights."""
        del seed
        degree = int(setting["degree"])
        if degree not in (1, 2):
            raise ValueError("`degree` must be 1 or 2.")
        terms = _terms(features, degree == 2 and features.shape[1] <= _MOST_PAIRED)
        model = import_library("sklearn.linear_model").Ridge(
            alpha=float(setting["alpha"]), solver="cholesky"
        )
        model.fit(terms, targets)
        arrays = {
            "weights": np.ascontiguousarray(model.coef_.reshape(targets.shape[1], -1).T),
            "constant": np.broadcast_to(model.intercept_, targets.shape[1:]).copy(),
        }
        return LinearPredictor(arrays, features.shape[1], targets.shape[1])
