"""Canonical forms beyond conditions: one name for designs that differ only in labels.

A space whose designs hold interchangeable parts has several index vectors for one design. A
simulator gives its space a `CanonicalForm`, which renames the parts of many designs at once.
Journals, budgets, tables and datasets then count equal designs once.

    @register_canonical_form
    class Sorted(CanonicalForm):
        name = "sorted"
        ...

    space = DesignSpace("pair", (left, right), canonical_form=Sorted())
"""

import importlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np

from archgym.errors import InvalidSpaceError

_FORMS: dict[str, type["CanonicalForm"]] = {}
Form = TypeVar("Form", bound="CanonicalForm")


class Outline(Protocol):
    """Parts of a `DesignSpace` that a canonical form looks at."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""

    @property
    def default_indices(self) -> np.ndarray:
        """Indices of the default design, (n_parameters,)."""


class CanonicalForm(ABC):
    """Rule that renames the interchangeable parts of designs.

    It is applied to designs whose inactive parameters already have their defaults. It must be
    idempotent, keep every constraint, and leave the default design as it is. A space's declaration
    holds `to_json`, so that a space read from a file has the rule as well.
    """

    name: ClassVar[str]
    """Name that the form is registered by; the simulator's where a simulator brings it."""

    @abstractmethod
    def canonical(self, space: Outline, indices: np.ndarray) -> np.ndarray:
        """Return the canonical forms, (n, n_parameters) int64.

        Args:
          space: The space that has this form.
          indices: (n, n_parameters) int64, left as they are.
        """

    def active(self, space: Outline, indices: np.ndarray) -> np.ndarray:
        """Return True where a parameter changes the design, (n, n_parameters) bool.

        Args:
          space: The space that has this form.
          indices: (n, n_parameters) int64.
        """
        return np.ones(indices.shape, dtype=bool)

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` needs, without the name."""

    @classmethod
    @abstractmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the form from what `to_json` gave.

        Raises:
          InvalidSpaceError: `data` is something else.
        """


def register_canonical_form(form: type[Form]) -> type[Form]:
    """Make a form known by its name, so that spaces read from files find it."""
    _FORMS[form.name] = form
    return form


def canonical_form_from_json(data: Any) -> CanonicalForm:
    """Return the form of a declaration: an object with the name in `form`.

    A form that is not registered yet is looked up in the module `canonical` of the simulator with
    its name.

    Raises:
      InvalidSpaceError: No such form is registered, or its data do not fit.
    """
    name = data.get("form") if isinstance(data, Mapping) else None
    if not isinstance(name, str) or not name.isidentifier():
        raise InvalidSpaceError(f"A canonical form must be an object with `form`; got {data!r}.")
    if name not in _FORMS:
        _import(name)
    if name not in _FORMS:
        raise InvalidSpaceError(
            f"Canonical form {name!r} is not registered. Install the package of its simulator and "
            "import it."
        )
    return _FORMS[name].from_json({key: value for key, value in data.items() if key != "form"})


def _import(name: str) -> None:
    module = f"archgym.simulators.{name}.canonical"
    try:
        is_there = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        is_there = False
    if is_there:
        importlib.import_module(module)
