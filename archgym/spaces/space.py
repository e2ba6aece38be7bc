"""Design spaces: finite parameters, what ties them together, and designs in them."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from typing import Any, cast, final

import numpy as np

from archgym.errors import (
    InvalidArgumentError,
    InvalidDesignError,
    InvalidSpaceError,
    unknown_name,
)
from archgym.spaces.counting import Component, Count, Rules, counted_share, number_text
from archgym.spaces.design import (
    Condition,
    Constraint,
    Design,
    check_names,
    values_of,
    with_inactive,
    without,
)
from archgym.spaces.display import html_table
from archgym.spaces.expression import Expression, expression_from_json
from archgym.spaces.parameter import (
    Factorisation,
    Parameter,
    Permutation,
    parameter_from_json,
)
from archgym.spaces.symmetry import (
    TABLE_LIMIT,
    CanonicalForm,
    Resolution,
    canonical_form_from_json,
    earlier,
)

# chosen: four parameters of the largest size; a declaration of a few bytes may stand for millions.
_MAX_LISTED = 2**22
# chosen: enumerated and renamed in seconds.
_MAX_ENUMERATED = 2**22
# chosen: an ask of most agents; comparing larger ones costs more than it saves.
_REMEMBERED = 64


@final
class DesignSpace:
    """A finite set of designs: the product of its parameters, cut by constraints.

    Designs that differ only in inactive parameters (see `Condition`) are equal; the one
    with defaults there is their canonical form. In bulk a design is its index vector, and arrays
    of those, (n, n_parameters) int64, are what everything works on.

    The constructor checks the declaration once, and spaces do not change afterwards. From then on
    `sample` and `enumerate` make designs, `feasible` judges constraints, and `canonical` sets
    inactive parameters to their defaults. `indices_of` and `design_at` translate between
    mappings of values and index vectors. `to_json` records the space with a study.

    Example:
      >>> from archgym.spaces.expression import P
      >>> from archgym.spaces.parameter import Categorical, PowerOfTwo
      >>> space = DesignSpace(
      ...     "cache",
      ...     [
      ...         PowerOfTwo(name="ways", low=1, high=16),
      ...         PowerOfTwo(name="kib", low=8, high=64),
      ...         Categorical(name="policy", choices=("lru", "random")),
      ...     ],
      ...     constraints=[Constraint("size", P("ways") <= P("kib"), "A way must have a KiB.")],
      ...     conditions=[Condition("policy", P("ways") > 1)],
      ... )
      >>> space.size, space.count().value
      (40, 34)
      >>> space.feasible(np.array([[4, 0, 0], [1, 2, 1]])).tolist()
      [False, True]
      >>> space.design_at(space.canonical(np.array([[0, 2, 1]]))[0])
      Design(ways=1, kib=32, policy='lru')
    """

    def __init__(
        self,
        name: str,
        parameters: Sequence[Parameter],
        constraints: Sequence[Constraint] = (),
        conditions: Sequence[Condition] = (),
        doc: str = "",
        canonical_form: CanonicalForm | None = None,
    ) -> None:
        """Check the declaration once.

        Args:
          name: The space's name.
          parameters: Parameters in the order of the index vector.
          constraints: Judged on the canonical form, in this order.
          conditions: At most one a parameter.
          doc: One line.
          canonical_form: Gives equal designs one form where conditions cannot say it, as where
            parts are interchangeable.

        Raises:
          InvalidSpaceError: Names repeat or are unknown, conditions run in a circle, an expression
            does not fit its parameters, or the default design is infeasible.
        """
        self.name = name
        self.parameters = tuple(parameters)
        for each in self.parameters:
            if not isinstance(each, Parameter):
                raise InvalidSpaceError(
                    f"Space {name!r} must be made of parameters, such as Integer; got {each!r}."
                )
        self.constraints = tuple(constraints)
        self.conditions = tuple(conditions)
        self.doc = doc
        self.canonical_form = canonical_form
        self.names: tuple[str, ...] = tuple(p.name for p in self.parameters)
        self.n_parameters = len(self.parameters)
        self.sizes: np.ndarray = np.array([p.size for p in self.parameters], dtype=np.int64)
        self._position = {name: position for position, name in enumerate(self.names)}
        self._last_canonical = b"", np.empty((0, self.n_parameters), dtype=np.int64)
        self._check_declaration()
        self._ordered_conditions = self._order_conditions()
        self.default_indices: np.ndarray = np.array(
            [p.default_index for p in self.parameters], dtype=np.int64
        )
        for shared in (self.sizes, self.default_indices):
            shared.flags.writeable = False
        self._check_default()

    # ---- declaration

    def _check_declaration(self) -> None:
        if not self.parameters or len(self._position) != len(self.parameters):
            raise InvalidSpaceError(
                f"Space {self.name!r} needs parameters with names that differ; got {self.names!r}."
            )
        named = [(c.name, c.require) for c in self.constraints]
        named += [(f"condition of {c.parameter}", c.when) for c in self.conditions]
        for what, expression in named:
            unknown = expression.names - set(self.names)
            if unknown or not expression.names:
                raise InvalidSpaceError(
                    f"`{what}` in space {self.name!r} must name parameters of the space; "
                    f"got {sorted(unknown)!r}."
                )
        targets = [c.parameter for c in self.conditions]
        if len(set(targets)) != len(targets) or not set(targets) <= set(self.names):
            raise InvalidSpaceError(
                f"Conditions of space {self.name!r} must name each parameter at most once; "
                f"got {targets!r}."
            )

    def _order_conditions(self) -> tuple[Condition, ...]:
        waiting = {c.parameter: c for c in self.conditions}
        ordered: list[Condition] = []
        while waiting:
            ready = [c for c in waiting.values() if not c.when.names & waiting.keys()]
            if not ready:
                raise InvalidSpaceError(
                    f"Conditions of space {self.name!r} must not run in a circle; "
                    f"got one through {sorted(waiting)!r}."
                )
            ordered += ready
            for condition in ready:
                del waiting[condition.parameter]
        return tuple(ordered)

    def _check_default(self) -> None:
        try:
            default = self.default_indices[None, :]
            resolved, _, broken = self._judge(default)
            resolved = self._renamed(resolved)
            violated = int(broken[0])
            canonical = bool((resolved == default).all())
        except (TypeError, ValueError, OverflowError, ArithmeticError) as error:
            raise InvalidSpaceError(
                f"Expressions of space {self.name!r} must fit their parameters' values: {error}."
            ) from None
        if violated >= 0 or not canonical:
            why = self.constraints[violated].reason if violated >= 0 else "it is not canonical"
            raise InvalidSpaceError(
                f"The default design of space {self.name!r} must be feasible: {why}."
            )

    # ---- identity

    def to_json(self) -> dict[str, Any]:
        """Return the declaration as JSON; `from_json` reads it."""
        data: dict[str, Any] = {
            "name": self.name,
            "doc": self.doc,
            "parameters": [p.to_json() for p in self.parameters],
            "constraints": [
                {"name": c.name, "require": c.require.to_json(), "reason": c.reason}
                for c in self.constraints
            ],
            "conditions": [
                {"parameter": c.parameter, "when": c.when.to_json()} for c in self.conditions
            ],
        }
        # Left out where there is none, so that digests of other spaces stay.
        if self.canonical_form is not None:
            data["canonical_form"] = {
                "form": self.canonical_form.name,
                **self.canonical_form.to_json(),
            }
        return data

    @classmethod
    def from_json(cls, data: Any) -> "DesignSpace":
        """Return space from what `to_json` gave.

        Raises:
          InvalidSpaceError: `data` is not such a declaration.
        """
        try:
            return cls(
                str(data["name"]),
                _parameters(data["parameters"]),
                [
                    Constraint(str(c["name"]), expression_from_json(c["require"]), str(c["reason"]))
                    for c in data.get("constraints", ())
                ],
                [
                    Condition(str(c["parameter"]), expression_from_json(c["when"]))
                    for c in data.get("conditions", ())
                ],
                str(data.get("doc", "")),
                canonical_form_from_json(data["canonical_form"])
                if "canonical_form" in data
                else None,
            )
        except (KeyError, TypeError, AttributeError, InvalidDesignError) as error:
            raise InvalidSpaceError(
                f"A space must be an object with name, parameters, constraints and conditions; "
                f"{type(error).__name__}: {error}. Write it with `DesignSpace.to_json`."
            ) from None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the declaration without its documentation."""
        data = self.to_json()
        data["doc"] = ""
        data["parameters"] = [{**p, "doc": ""} for p in data["parameters"]]
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    @cached_property
    def are_ordered(self) -> np.ndarray:
        """True where the values of a parameter have an order, (n_parameters,) bool."""
        return np.array([parameter.is_ordered for parameter in self.parameters], dtype=bool)

    @cached_property
    def are_listed(self) -> np.ndarray:
        """True where values have an order or are equally near, (n_parameters,) bool."""
        kinds = Permutation | Factorisation
        return self.are_ordered | [not isinstance(each, kinds) for each in self.parameters]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DesignSpace) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        # Tables are made again where they are needed; a declaration is small to send.
        return DesignSpace, (
            self.name,
            self.parameters,
            self.constraints,
            self.conditions,
            self.doc,
            self.canonical_form,
        )

    def __repr__(self) -> str:
        return (
            f"DesignSpace({self.name!r}, {self.n_parameters} parameters, "
            f"size {number_text(self.size)})"
        )

    def _repr_html_(self) -> str:
        rows = (
            (p.name, p.allowed(), p.value(p.default_index), p.unit, p.doc) for p in self.parameters
        )
        columns = ("parameter", "values", "default", "unit", "")
        return html_table(f"Space {self.name}: {number_text(self.size)} designs", columns, rows)

    # ---- one design

    def parameter(self, name: str) -> Parameter:
        """Return the parameter with this name.

        Raises:
          UnknownNameError: The space has no such parameter.
        """
        if name not in self._position:
            raise unknown_name("parameter", name, self.names)
        return self.parameters[self._position[name]]

    def indices_of(self, design: Mapping[str, Any]) -> np.ndarray:
        """Return index vector of a design, (n_parameters,).

        Raises:
          InvalidDesignError: A parameter is missing, unknown, or has no such value.
        """
        if not isinstance(design, Mapping):
            raise InvalidDesignError(f"A design must map parameters to values; got {design!r}.")
        unknown = [name for name in design if name not in self._position]
        if unknown:
            raise InvalidDesignError(str(unknown_name("parameter", unknown[0], self.names)))
        missing = [name for name in self.names if name not in design]
        if missing:
            raise InvalidDesignError(
                f"A design of space {self.name!r} must give every parameter; "
                f"{', '.join(f'`{name}`' for name in missing)} missing."
            )
        return np.array([p.index(design[p.name]) for p in self.parameters], dtype=np.int64)

    def design(self, values: Mapping[str, Any]) -> Design:
        """Return design with these values, checked.

        Raises:
          InvalidDesignError: As for `indices_of`.
        """
        return self.design_at(self.indices_of(values))

    def filled(self, values: Mapping[str, Any]) -> Design:
        """Return the default design with some of its values replaced, checked.

        Raises:
          InvalidDesignError: As for `indices_of`.
        """
        return self.design({**self.default, **values} if isinstance(values, Mapping) else values)

    @property
    def default(self) -> Design:
        """Default design."""
        return self.design_at(self.default_indices)

    def changes(self, design: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a design that differ from those of the default design."""
        default = self.default
        return {name: value for name, value in design.items() if value != default[name]}

    def design_at(self, indices: np.ndarray) -> Design:
        """Return design that has this index vector, (n_parameters,)."""
        self.check_indices(np.asarray(indices)[None, :])
        return Design(
            {p.name: p.value(int(i)) for p, i in zip(self.parameters, indices, strict=True)}
        )

    def designs(self, indices: np.ndarray) -> list[Design]:
        """Return designs that have these index vectors, (n, n_parameters)."""
        return [self.design_at(row) for row in indices]

    def with_defaults(self, values: Mapping[str, Any]) -> "DesignSpace":
        """Return the space with other values in its default design.

        Raises:
          UnknownNameError: There is no such parameter.
          InvalidSpaceError: The default design has no such value, or is infeasible.
        """
        for name in values:
            self.parameter(name)
        parameters: list[Any] = [
            replace(cast(Any, parameter), default=values.get(parameter.name, parameter.default))
            for parameter in self.parameters
        ]
        return DesignSpace(
            self.name,
            parameters,
            constraints=self.constraints,
            conditions=self.conditions,
            doc=self.doc,
            canonical_form=self.canonical_form,
        )

    def restricted(
        self,
        keep: Iterable[str] | None = None,
        values: Mapping[str, Iterable[Any]] | None = None,
        name: str = "",
        doc: str = "",
        default: Mapping[str, Any] | None = None,
    ) -> "DesignSpace":
        """Return a part of the space: fewer parameters, and fewer values of some.

        Constraints and conditions stay, with the default in place of a parameter that is left
        out. A canonical form does not stay: equal designs may then have several names.

        Args:
          keep: Parameters to keep, each in its place; by default all.
          values: Values to keep, by parameter. A default that is not among them becomes the
            nearest one that is.
          name: Name of the part; by default this space's.
          doc: One line; by default this space's.
          default: Default design of the part, with the values of parameters that are left out.

        Raises:
          UnknownNameError: There is no such parameter.
          InvalidDesignError: A parameter has no such value.
          InvalidSpaceError: The default design of the part is infeasible.

        Example:
          >>> from archgym.spaces.parameter import Categorical, PowerOfTwo
          >>> cache = DesignSpace(
          ...     "cache",
          ...     [PowerOfTwo("ways", 1, 16), Categorical("policy", ("lru", "random"))],
          ... )
          >>> cache.restricted(keep=["ways"], values={"ways": [2, 4]}).size
          2
        """
        values = values or {}
        kept = set(self.names if keep is None else keep)
        check_names([*kept, *values], self.names)
        defaults = self.default if default is None else default
        dropped = {n: value for n, value in defaults.items() if n not in kept}
        constant = with_inactive(dropped, defaults, self._ordered_conditions)
        constraints, conditions = without(constant, self.constraints, self.conditions)
        return DesignSpace(
            name or self.name,
            [
                _with_default(values_of(p, values[p.name]) if p.name in values else p, default)
                for p in self.parameters
                if p.name not in constant
            ],
            constraints,
            conditions,
            doc or self.doc,
        )

    def widened(self, names: Iterable[str]) -> "DesignSpace":
        """Return the space with every value of some parameters for which the model holds."""
        wide = set(names)
        return DesignSpace(
            self.name,
            [p.widened() if p.name in wide else p for p in self.parameters],
            self.constraints,
            self.conditions,
            self.doc,
            self.canonical_form,
        )

    def indices_of_many(self, designs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return index vectors of designs, (n, n_parameters); errors as for `indices_of`."""
        if not designs:
            return np.empty((0, self.n_parameters), dtype=np.int64)
        return np.stack([self.indices_of(design) for design in designs])

    # ---- many designs

    def check_indices(self, indices: np.ndarray) -> None:
        """Refuse anything but an integer array (n, n_parameters) within the sizes.

        Raises:
          InvalidDesignError: Names the parameter and its number of values.
        """
        if indices.ndim != 2 or indices.shape[1] != self.n_parameters:
            raise InvalidDesignError(
                f"Index vectors of space {self.name!r} must have shape (n, {self.n_parameters}); "
                f"got {indices.shape!r}."
            )
        if indices.dtype.kind not in "iu":
            raise InvalidDesignError(
                f"Index vectors must be whole numbers; got dtype {indices.dtype!s}."
            )
        # As unsigned numbers, negative ones are too large.
        wide = indices.astype(np.int64, copy=False).view(np.uint64)
        outside = wide >= self.sizes.view(np.uint64)
        if outside.any():
            row, column = (int(i) for i in np.argwhere(outside)[0])
            parameter = self.parameters[column]
            raise InvalidDesignError(
                f"Index of `{parameter.name}` must be 0 to {parameter.size - 1}; "
                f"got {int(indices[row, column])} in design {row}."
            )

    def columns(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return values by parameter name, each (n,)."""
        return {p.name: p.array(indices[:, i]) for i, p in enumerate(self.parameters)}

    def canonical(self, indices: np.ndarray) -> np.ndarray:
        """Return canonical forms, (n, n_parameters), the same for designs that are equivalent.

        Inactive parameters have their defaults, and `canonical_form` has renamed equal parts.
        """
        if not len(indices):
            return indices.astype(np.int64)
        if len(indices) > _REMEMBERED or indices.dtype != np.int64:
            return self._renamed(self._resolved(indices))
        # The agent, the journal and the simulator ask for the same designs one after the other.
        content = indices.tobytes()
        known, canonical = self._last_canonical
        if known != content:
            canonical = self._renamed(self._resolved(indices))
            self._last_canonical = content, canonical
        return canonical.copy()

    def _resolved(self, indices: np.ndarray) -> np.ndarray:
        """Return designs with defaults where a condition makes a parameter inactive."""
        if not self.conditions:
            return indices.astype(np.int64)
        canonical = self._resolution.resolve(indices)
        if self._slow_conditions:
            canonical, _ = self._resolve(canonical, self._slow_conditions)
        return canonical

    def _renamed(self, resolved: np.ndarray) -> np.ndarray:
        if self.canonical_form is None:
            return resolved
        return self.canonical_form.canonical(self, resolved)

    def active(self, indices: np.ndarray) -> np.ndarray:
        """Return True where a parameter is active, (n, n_parameters) bool."""
        active = self._resolution.active(indices)
        if self._slow_conditions:
            active &= self._resolve(indices, self._slow_conditions)[1]
        if self.canonical_form is not None:
            active &= self.canonical_form.active(self, self._resolved(indices))
        return active

    def conditioned(self, indices: np.ndarray) -> np.ndarray:
        """Return False where a condition makes a parameter inactive, (n, n_parameters) bool.

        Other than for `active`, parts that are alike count as different.
        """
        return self._resolve(indices, self._ordered_conditions)[1]

    def is_canonical(self, indices: np.ndarray) -> np.ndarray:
        """Return True if each design is its own canonical form, (n,) bool."""
        same: np.ndarray = (self.canonical(indices) == indices).all(axis=1)
        return same

    def violations(self, indices: np.ndarray) -> np.ndarray:
        """Return index of the first constraint that each design breaks, (n,) int64; -1 for none."""
        if not self.constraints:
            return np.full(len(indices), -1, dtype=np.int64)
        first = self._resolution.violations(indices)
        if self._slow_constraints:
            canonical = self.canonical(indices)
            first = earlier(first, self._first_broken(canonical, self._slow_constraints))
        return first

    def feasible(self, indices: np.ndarray) -> np.ndarray:
        """Return True if each design satisfies every constraint, (n,) bool."""
        return self.violations(indices) < 0

    def _holds(self, expression: Expression, indices: np.ndarray) -> np.ndarray:
        columns = {
            name: self.parameters[self._position[name]].array(indices[:, self._position[name]])
            for name in expression.names
        }
        with np.errstate(divide="ignore", invalid="ignore"):
            holds = np.asarray(expression.evaluate(columns), dtype=bool)
        return np.broadcast_to(holds, len(indices))

    def _first_broken(self, canonical: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
        """Return first constraint of these that each design breaks, (n,) int64; -1 for none."""
        first = np.full(len(canonical), -1, dtype=np.int64)
        for number in reversed(numbers):
            holds = self._holds(self.constraints[number].require, canonical)
            first[~holds] = number
        return first

    def _resolve(
        self, indices: np.ndarray, conditions: Sequence[Condition]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return canonical forms and active parameters, by these conditions."""
        canonical = indices.astype(np.int64, copy=True)
        active = np.ones(indices.shape, dtype=bool)
        for condition in conditions:
            place = self._position[condition.parameter]
            parents = [self._position[name] for name in condition.when.names]
            on = self._holds(condition.when, canonical) & active[:, parents].all(axis=1)
            active[:, place] = on
            canonical[~on, place] = self.default_indices[place]
        return canonical, active

    def _judge(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return canonical forms, active parameters and first broken constraints, by all rules."""
        canonical, active = self._resolve(indices, self._ordered_conditions)
        return canonical, active, self._first_broken(canonical, range(len(self.constraints)))

    @cached_property
    def _resolution(self) -> Resolution:
        small = [c.positions for c in self._components if not c.is_free and c.size <= TABLE_LIMIT]
        conditioned = [self._position[c.parameter] for c in self.conditions]
        return Resolution(small, self.default_indices, self.sizes, conditioned, self._judge)

    @cached_property
    def _slow_conditions(self) -> tuple[Condition, ...]:
        """Conditions of components that are too large to be tabulated."""
        known = self._resolution.places
        return tuple(
            c for c in self._ordered_conditions if self._position[c.parameter] not in known
        )

    @cached_property
    def _slow_constraints(self) -> tuple[int, ...]:
        known = self._resolution.places
        return tuple(
            number
            for number, constraint in enumerate(self.constraints)
            if not {self._position[name] for name in constraint.require.names} <= known
        )

    # ---- numbers of designs

    @cached_property
    def size(self) -> int:
        """Number of combinations, exact, before constraints and canonical form."""
        product = 1
        for parameter in self.parameters:
            product *= parameter.size
        return product

    def count(self) -> Count:
        """Return number of distinct feasible designs.

        Exact if no group of linked parameters has over 10^8 combinations; beyond,
        an estimate from 200,000 samples with a 95 % interval. With a `canonical_form` it is exact
        for up to 4 million designs before renaming.
        """
        total = self.count_before_renaming()
        if self.canonical_form is None:
            return total
        if total.exact and self.size <= _MAX_ENUMERATED:
            n = sum(len(indices) for indices in self.enumerate(canonical=True))
            return Count(n, n, n, True)

        def is_named(n: int, rng: np.random.Generator) -> np.ndarray:
            drawn = self._sample(n, rng)
            return np.asarray((self._renamed(drawn) == drawn).all(axis=1))

        return counted_share(total, is_named)

    def count_before_renaming(self) -> Count:
        """Return the number of feasible designs if `canonical_form` renamed nothing."""
        total = Count(1, 1, 1, True)
        for component in self._components:
            total *= component.count()
        return total

    def flat(self, indices: np.ndarray) -> np.ndarray:
        """Return number of each design in index order, (n,) int64; the last parameter runs fastest.

        Raises:
          InvalidSpaceError: The space has 2^62 designs or more.
        """
        numbers: np.ndarray = indices @ self._strides
        return numbers

    def unflat(self, numbers: np.ndarray) -> np.ndarray:
        """Return index vectors of the designs with these numbers, (n, n_parameters)."""
        wide = np.asarray(numbers, dtype=np.int64)[:, None]
        indices: np.ndarray = (wide // self._strides) % self.sizes
        return indices

    @cached_property
    def _strides(self) -> np.ndarray:
        if self.size >= 2**62:
            raise InvalidSpaceError(
                f"Space {self.name!r} must have fewer than 2^62 designs to be numbered; "
                f"it has {number_text(self.size)}. Work with index vectors instead."
            )
        return np.append(np.cumprod(self.sizes[:0:-1])[::-1], 1).astype(np.int64)

    def enumerate(
        self,
        start: int = 0,
        stop: int | None = None,
        chunk: int = 65536,
        canonical: bool = False,
    ) -> Iterator[np.ndarray]:
        """Yield designs in index order, (at most `chunk`, n_parameters) at a time.

        Args:
          start: Number of the first design.
          stop: Number after the last one; the end of the space if None.
          chunk: Designs looked at for each array.
          canonical: Leave out designs that are infeasible or not canonical.
        """
        end = self.size if stop is None else min(stop, self.size)
        for first in range(start, end, chunk):
            indices = self.unflat(np.arange(first, min(first + chunk, end)))
            if canonical:
                indices = indices[self.is_canonical(indices) & self.feasible(indices)]
            yield indices

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return `n` designs, (n, n_parameters), uniform over the feasible canonical ones.

        With a `canonical_form` they are uniform before renaming: a design that has many forms is
        drawn more often.

        Raises:
          InvalidSpaceError: No feasible design is found.
          InvalidArgumentError: `n` is not a whole number of 0 or more, or `rng` no generator.
        """
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
            raise InvalidArgumentError(f"`n` must be a whole number, 0 or more; got {n!r}.")
        if not isinstance(rng, np.random.Generator):
            raise InvalidArgumentError(
                f"`rng` must be a numpy Generator; got {rng!r}. Make one with "
                "numpy.random.default_rng(seed)."
            )
        return self._renamed(self._sample(n, rng))

    def _sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        indices = np.empty((n, self.n_parameters), dtype=np.int64)
        # Parameters that nothing is tied to are drawn together, with the same random numbers.
        for is_free, group in groupby(self._components, lambda component: component.is_free):
            if is_free:
                places = [component.positions[0] for component in group]
                size = len(places), n
                indices[:, places] = rng.integers(self.sizes[places, None], size=size).T
                continue
            for component in group:
                indices[:, component.positions] = component.sample(n, rng)
        return indices

    # ---- masks

    def masks(self, prefix: Sequence[int]) -> np.ndarray:
        """Return True if each value of the next parameter has a feasible completion.

        Args:
          prefix: Indices of the first parameters.

        Returns:
          (size of parameter len(prefix),) bool. Linked parameters in groups of more than 4
          million combinations are not judged: all true.
        """
        component = self._component_of[len(prefix)]
        known = tuple(int(prefix[p]) for p in component.positions if p < len(prefix))
        return component.allowed(known)

    def marginal_masks(self) -> list[np.ndarray]:
        """Return, for each parameter, whether each of its values occurs in a feasible design."""
        return [
            self._component_of[place].marginal(self._component_of[place].positions.index(place))
            for place in range(self.n_parameters)
        ]

    @cached_property
    def _components(self) -> tuple[Component, ...]:
        groups = [{place} for place in range(self.n_parameters)]
        ties = [c.require.names for c in self.constraints]
        ties += [c.when.names | {c.parameter} for c in self.conditions]
        for names in ties:
            places = {self._position[name] for name in names}
            touched = [group for group in groups if group & places]
            groups = [group for group in groups if not group & places]
            groups.append(set().union(*touched))
        tied = {self._position[name] for names in ties for name in names}
        return tuple(
            self._component(tuple(sorted(group)), not group & tied)
            for group in sorted(groups, key=min)
        )

    def _component(self, positions: tuple[int, ...], is_free: bool) -> Component:
        columns = list(positions)

        def judge(combinations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            # The rest stands at its default, which is feasible and so decides nothing here.
            indices = np.tile(self.default_indices, (len(combinations), 1))
            indices[:, columns] = combinations
            canonical, _, broken = self._judge(indices)
            return broken < 0, (broken < 0) & (canonical == indices).all(axis=1)

        def resolve(combinations: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            indices = np.tile(self.default_indices, (len(combinations), 1))
            indices[:, columns] = combinations
            canonical, active, broken = self._judge(indices)
            return canonical[:, columns], active[:, columns], broken < 0

        sizes = tuple(int(size) for size in self.sizes[columns])
        default = tuple(int(index) for index in self.default_indices[columns])
        named = set[str]().union(
            *(c.require.names for c in self.constraints), *(c.when.names for c in self.conditions)
        )
        loose = tuple(n for n, place in enumerate(positions) if self.names[place] not in named)
        return Component(positions, sizes, judge, is_free, Rules(resolve, default, loose))

    @cached_property
    def _component_of(self) -> dict[int, Component]:
        return {place: c for c in self._components for place in c.positions}


def _with_default(parameter: Any, default: Mapping[str, Any] | None) -> Any:
    return parameter if default is None else replace(parameter, default=default[parameter.name])


def _parameters(data: Sequence[Any]) -> list[Parameter]:
    """Return parameters from JSON of any origin, as long as their values fit into memory."""
    parameters: list[Parameter] = []
    listed = 0
    for declared in data:
        parameters.append(parameter_from_json(declared))
        if not isinstance(parameters[-1], Permutation | Factorisation):
            listed += parameters[-1].size
        if listed > _MAX_LISTED:
            raise InvalidSpaceError(
                f"Parameters of a space must have at most {_MAX_LISTED} values together to be read "
                "from a file. Use coarser ones."
            )
    return parameters


def design_keys(canonical: np.ndarray) -> list[bytes]:
    """Return one key per canonical design, (n, n_parameters), which equal designs share."""
    rows = np.ascontiguousarray(canonical, dtype=np.int64)
    width = rows.shape[1] * rows.itemsize
    content = rows.tobytes()
    return [content[place : place + width] for place in range(0, len(content), width)]
