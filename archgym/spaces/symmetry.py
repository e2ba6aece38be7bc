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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, TypeVar, final

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


# chosen: combinations for which the rules are worked out in some 20 ms.
TABLE_LIMIT = 2**16

Rules = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


@final
@dataclass(frozen=True)
class _Column:
    """Parameter that may be inactive: by component and combination, the value it takes."""

    place: int
    component: int
    canonical: np.ndarray
    active: np.ndarray


@final
class Resolution:
    """Lookup tables of canonical forms and violations, for components small enough to tabulate.

    Parameters that conditions and constraints tie together, a component, mostly have few
    combinations. What the rules say of each is worked out once; then a design costs a look-up for
    each parameter.
    """

    def __init__(
        self,
        components: Sequence[tuple[int, ...]],
        default: np.ndarray,
        sizes: np.ndarray,
        conditioned: Sequence[int],
        rules: Rules,
    ) -> None:
        """Tabulate every combination of every component.

        Args:
          components: Places of the parameters of each, tied to no others.
          default: (n_parameters,), a design that keeps all constraints.
          sizes: (n_parameters,).
          conditioned: Places of parameters that have a condition.
          rules: Takes designs, (n, n_parameters), and returns their canonical forms, which
            parameters are active, and the first constraint broken, -1 for none.
        """
        self.places: frozenset[int] = frozenset(p for places in components for p in places)
        """Parameters that are looked up."""
        self._strides = np.zeros((len(sizes), len(components)))
        self._columns: list[_Column] = []
        self._broken: list[tuple[int, np.ndarray]] = []
        for number, places in enumerate(components):
            shape = [int(sizes[place]) for place in places]
            columns = np.indices(shape, dtype=np.int64).reshape(len(places), -1)
            designs = np.tile(default, (columns.shape[1], 1))
            designs[:, list(places)] = columns.T
            canonical, active, broken = rules(designs)
            self._strides[list(places), number] = np.append(np.cumprod(shape[:0:-1])[::-1], 1)
            self._columns += [
                _Column(p, number, canonical[:, p].copy(), active[:, p].copy())
                for p in places
                if p in conditioned
            ]
            if (broken >= 0).any():
                self._broken.append((number, broken))
        listed = self._columns
        self._places = np.array([column.place for column in listed], dtype=np.int64)
        self._components = np.array([column.component for column in listed], dtype=np.int64)
        lengths = [len(column.canonical) for column in listed]
        self._starts = np.append(0, np.cumsum(lengths, dtype=np.int64))[: len(listed)]
        nothing = np.empty(0, dtype=np.int64)
        self._canonical = np.concatenate([nothing, *(column.canonical for column in listed)])
        self._active = np.concatenate([nothing.astype(bool), *(column.active for column in listed)])

    def resolve(self, indices: np.ndarray) -> np.ndarray:
        """Return canonical forms, (n, n_parameters) int64; other parameters stay as given."""
        canonical = indices.astype(np.int64, copy=True)
        if self._columns:
            numbers = self._numbers(canonical)
            canonical[:, self._places] = self._canonical[
                numbers[:, self._components] + self._starts
            ]
        return canonical

    def active(self, indices: np.ndarray) -> np.ndarray:
        """Return True for active parameters, (n, n_parameters) bool; True where unknown."""
        active = np.ones(indices.shape, dtype=bool)
        if self._columns:
            numbers = self._numbers(indices)
            active[:, self._places] = self._active[numbers[:, self._components] + self._starts]
        return active

    def _numbers(self, indices: np.ndarray) -> np.ndarray:
        """Return the number of the combination of each component, (n, n_components) int64."""
        # Small whole numbers are exact as floats, whose products are many times faster.
        return np.asarray((indices.astype(np.float64) @ self._strides).astype(np.int64))

    def violations(self, indices: np.ndarray) -> np.ndarray:
        """Return the first tabulated constraint that each design breaks, (n,); -1 for none."""
        first = np.full(len(indices), -1, dtype=np.int64)
        if not self._broken:
            return first
        numbers = self._numbers(indices)
        for component, broken in self._broken:
            first = earlier(first, broken[numbers[:, component]])
        return first


def earlier(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the smaller of two numbers of constraints, where -1 stands for none."""
    # As unsigned numbers, -1 is the largest.
    smaller: np.ndarray = np.minimum(one.view(np.uint64), other.view(np.uint64)).view(np.int64)
    return smaller
