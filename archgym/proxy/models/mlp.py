"""A neural network, all metrics together."""

import warnings
from collections.abc import Mapping
from typing import ClassVar, final

import numpy as np

from archgym.proxy.model import ModelKind, Predictor, Setting, checked
from archgym.runtime.importing import import_library

# chosen: more than anyone needs here.
_MOST_LAYERS = 16


@final
class NetworkPredictor(Predictor):
    """Layers of weighted sums, cut off at 0 between them."""

    def __init__(self, arrays: Mapping[str, np.ndarray], n_features: int, n_outputs: int) -> None:
        """Take `weights0`, `constant0` and so on."""
        n_layers = sum(name.startswith("weights") for name in arrays)
        if not 1 <= n_layers <= _MOST_LAYERS:
            raise ValueError(f"a network has 1 to {_MOST_LAYERS} layers; it has {n_layers}")
        self.layers: list[tuple[np.ndarray, np.ndarray]] = []
        width = n_features
        for layer in range(n_layers):
            is_last = layer == n_layers - 1
            shape = (width, n_outputs if is_last else None)
            weights = checked(arrays, f"weights{layer}", "f", shape)
            width = weights.shape[1]
            self.layers.append((weights, checked(arrays, f"constant{layer}", "f", (width,))))

    def arrays(self) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for layer, (weights, constant) in enumerate(self.layers):
            found |= {f"weights{layer}": weights, f"constant{layer}": constant}
        return found

    def predict(self, features: np.ndarray) -> np.ndarray:
        values = features
        for layer, (weights, constant) in enumerate(self.layers):
            # Row by row the same sum in the same order, whatever the batch; `@` promises neither.
            values = np.einsum("nf,fm->nm", values, weights) + constant
            if layer < len(self.layers) - 1:
                values = np.maximum(values, 0.0)
        return values


@final
class MlpKind(ModelKind):
    """A multi-layer perceptron."""

    name = "mlp"
    doc = "a neural network of two hidden layers"
    encoding = "one-hot"
    settings: ClassVar[tuple[Setting, ...]] = (
        {"width": 128, "learning_rate": 3e-3, "max_epochs": 200},
        {"width": 64, "learning_rate": 1e-2, "max_epochs": 200},
    )
    predictor = NetworkPredictor

    def fit(
        self, features: np.ndarray, targets: np.ndarray, setting: Setting, seed: int
    ) -> NetworkPredictor:
        """Train by Adam."""
        width = int(setting["width"])
        model = import_library("sklearn.neural_network").MLPRegressor(
            hidden_layer_sizes=(width, width),
            learning_rate_init=float(setting["learning_rate"]),
            max_iter=int(setting["max_epochs"]),
            random_state=seed,
        )
        with warnings.catch_warnings():
            # That it could be trained longer is known: epochs are a hyperparameter.
            warnings.simplefilter("ignore")
            model.fit(features, targets if targets.shape[1] > 1 else targets[:, 0])
        arrays: dict[str, np.ndarray] = {}
        for layer, (weights, constant) in enumerate(
            zip(model.coefs_, model.intercepts_, strict=True)
        ):
            arrays |= {f"weights{layer}": weights, f"constant{layer}": constant}
        return NetworkPredictor(arrays, features.shape[1], targets.shape[1])
