"""The interface of kinds of models, and the kinds there are."""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

import numpy as np

from archgym.errors import unknown_name
from archgym.proxy.encoding import EncodingKind
from archgym.proxy.predictor import Predictor

__all__ = ["ModelKind", "Setting", "model_kind", "model_names"]

Setting = Mapping[str, Any]


class ModelKind(ABC):
    """A way to learn metrics from features. A subclass in its file of `archgym.proxy.models`."""

    name: ClassVar[str]
    """What the command line calls it: the file's name with hyphens."""
    doc: ClassVar[str]
    encoding: ClassVar[EncodingKind]
    settings: ClassVar[tuple[Setting, ...]]
    """Hyperparameters that cross-validation chooses from; the first is the default."""
    predictor: ClassVar[type[Predictor]]

    @abstractmethod
    def fit(
        self, features: np.ndarray, targets: np.ndarray, setting: Setting, seed: int
    ) -> Predictor:
        """Learns targets, (n, n_outputs), of mean 0 and deviation 1, of features, (n, n_features).

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
    """Names of all kinds, sorted."""
    return tuple(sorted(_found()))


def model_kind(name: str) -> ModelKind:
    """The kind with this name, imported now.

    Raises:
      UnknownNameError: There is none.
    """
    if name not in _found():
        raise unknown_name("kind of model", name, _found())
    module = importlib.import_module(_found()[name])
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, ModelKind) and value is not ModelKind:
            return value()
    raise AssertionError(f"{module.__name__} holds no kind of model")
