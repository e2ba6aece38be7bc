"""Interface of model kinds, and the registry of available kinds."""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

import numpy as np

from archgym.errors import unknown_name
from archgym.proxy.features import EncodingKind


class Predictor(ABC):
    """A fitted model as arrays, which predicts with NumPy the same wherever it is loaded.

    Its constructor takes `(arrays, n_features, n_outputs)`, checks that they fit each other, and
    raises ValueError where they do not: they may come from any file.
    """

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays of the model, by name."""

    @abstractmethod
    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return scaled metrics, (n, n_outputs), of features, (n, n_features)."""

    def spread(self, features: np.ndarray) -> np.ndarray | None:
        """Return the model's uncertainty, (n, n_outputs), 0 or more; None if it has no estimate."""
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
    """Return the array with this name, where it is what it should be.

    Args:
      kind: "i" whole numbers, "f" floats; returned as int64 or float64.
      shape: Shape, with None for any length above 0.
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


Setting = Mapping[str, Any]


class ModelKind(ABC):
    """A way to learn metrics from features. A subclass in its file of `archgym.proxy.models`."""

    name: ClassVar[str]
    """Name on the command line: the file's name with hyphens."""
    doc: ClassVar[str]
    encoding: ClassVar[EncodingKind]
    settings: ClassVar[tuple[Setting, ...]]
    """Hyperparameters that cross-validation chooses from; the first is the default."""
    predictor: ClassVar[type[Predictor]]

    @abstractmethod
    def fit(
        self, features: np.ndarray, targets: np.ndarray, setting: Setting, seed: int
    ) -> Predictor:
        """Learn targets, (n, n_outputs), of mean 0 and deviation 1, of features, (n, n_features).

        The same for the same arguments.
        """


@cache
def _found() -> dict[str, str]:
    package = importlib.import_module("archgym.proxy.models")
    return {
        module.name.replace("_", "-"): f"{package.__name__}.{module.name}"
        for module in pkgutil.iter_modules(package.__path__)
    }


def model_names() -> tuple[str, ...]:
    """Return the names of all kinds of proxy model, sorted."""
    return tuple(sorted(_found()))


def model_kind(name: str) -> ModelKind:
    """Return the kind with this name, imported now.

    Raises:
      UnknownNameError: The name is unknown.
    """
    if name not in _found():
        raise unknown_name("kind of model", name, _found())
    module = importlib.import_module(_found()[name])
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, ModelKind) and value is not ModelKind:
            return value()
    raise AssertionError(f"{module.__name__} holds no kind of model")
