"""The interface of fitted models: arrays that predict, and nothing else."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

__all__ = ["Predictor", "checked"]


class Predictor(ABC):
    """A fitted model as arrays, which predicts with NumPy the same wherever it is loaded.

    Its constructor takes `(arrays, n_features, n_outputs)`, checks that they fit each other, and
    raises ValueError where they do not: they may come from any file.
    """

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """All that it consists of, by name."""

    @abstractmethod
    def predict(self, features: np.ndarray) -> np.ndarray:
        """Scaled metrics, (n, n_outputs), of features, (n, n_features)."""

    def spread(self, features: np.ndarray) -> np.ndarray | None:
        """How much the model doubts, (n, n_outputs), 0 or more; None where it cannot say."""
        del features
        return None


def checked(
    arrays: Mapping[str, np.ndarray],
    name: str,
    kind: str,
    shape: tuple[int | None, ...],
    low: float | None = None,
    high: float | None = None,
) -> np.ndarray:
    """The array with this name, where it is what it should be.

    Args:
      arrays: By name.
      name: Which.
      kind: "i" whole numbers, "f" floats; returned as int64 or float64.
      shape: With None where any length above 0 will do.
      low: Least entry allowed.
      high: Largest entry allowed.

    Raises:
      ValueError: It is absent or something else.
    """
    if name not in arrays:
        raise ValueError(f"array {name!r} is missing")
    array = arrays[name]
    fits = array.ndim == len(shape) and all(
        there == wanted if wanted is not None else there > 0
        for there, wanted in zip(array.shape, shape, strict=True)
    )
    if array.dtype.kind != kind or not fits:
        raise ValueError(f"array {name!r} has shape {array.shape} of {array.dtype}")
    if array.size and (
        (low is not None and array.min() < low) or (high is not None and array.max() > high)
    ):
        raise ValueError(f"array {name!r} has entries outside {low} to {high}")
    # In one order, so that compiled code is always the same.
    return np.ascontiguousarray(array, dtype=np.int64 if kind == "i" else np.float64)
