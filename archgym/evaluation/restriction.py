"""Simulators whose designs hold some parameters, or choose among fewer of their values.

The name of such a space says what is held, so that tasks, tables, datasets and reports that record
the name of a space can make it again: `default{page_policy=Open,queue=4|8,ranks=1..4}`.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, islice, product
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from archgym.checks import as_number, check_mapping
from archgym.errors import (
    InvalidArgumentError,
    InvalidDesignError,
    InvalidSpaceError,
    check_known,
    error_text,
    sentence,
    unknown_name,
)
from archgym.evaluation.capabilities import (
    Bottleneck,
    Facts,
    Files,
    bottlenecks_of,
    bounds_of,
    breakdown_of,
    exported,
    expressible,
    facts_about,
    fitted,
    never_compared,
    option_names,
    simulated_without,
    stated_settings,
    widened,
)
from archgym.evaluation.conservation import Columns, Laws
from archgym.evaluation.simulator import (
    FEASIBLE,
    BatchResult,
    Simulator,
    Workload,
    check_values,
    laws_of,
)
from archgym.spaces.parameter import Categorical, Factorisation, Parameter, Permutation, Value
from archgym.spaces.space import DesignSpace
from archgym.spaces.texts import value_from_text

_NAME: Final = re.compile(r"(?P<space>[^{}]+)\{(?P<held>[^{}]*)\}")
_NOT_IN_NAMES: Final = re.compile(r"[{}=,|/]|\.\.")
# chosen: a pair of changes of the widest space has some ten thousand designs.
_MAX_CHANGED: Final = 2**16
_COUNTED: Final = 1000
"""chosen: drawn designs of which the share that a format can express is stated."""
_DRAWN: Final = 512
"""chosen: designs among which a default is looked for that differs in more than two parameters."""


def split_space(name: str | None) -> tuple[str | None, Mapping[str, str]]:
    """Return the name of the whole space, and the text of what is held, by parameter.

    Raises:
      InvalidArgumentError: The braces do not hold `parameter=values`, each parameter once.
    """
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if name is None or match is None:
        return name, {}
    held: dict[str, str] = {}
    for part in match["held"].split(","):
        parameter, sign, text = part.partition("=")
        if not parameter or not sign or not text or parameter in held:
            raise InvalidArgumentError(
                f"A restricted space must read space{{parameter=value|value,…}}, each parameter "
                f"once; got {name!r}."
            )
        held[parameter] = text
    return match["space"], held


def with_held(space: str, held: Mapping[str, str]) -> str:
    """Return a space's name followed by what is held, in braces."""
    return f"{space}{{{','.join(f'{name}={text}' for name, text in held.items())}}}"


def values_in(parameter: Parameter, text: str) -> tuple[Value, ...]:
    """Return the values that a text such as ``4|8``, ``1..4`` or ``2x4|4x2`` leaves of a parameter.

    Raises:
      InvalidArgumentError: It leaves none, or names a value that the parameter lacks.
    """
    if not is_listed(parameter):
        parts = (value_from_text(parameter, part) for part in text.split("|"))
        return tuple(parameter.value(parameter.index(part)) for part in parts)
    listed: list[Any] = [parameter.value(index) for index in range(parameter.size)]
    low, dots, high = text.partition("..")
    least, most = _number(low), _number(high)
    if dots and least is not None and most is not None:
        found = _range(parameter, listed, least, most)
        if max(most - max(listed), min(listed) - least) > 0:
            raise InvalidArgumentError(
                f"`{parameter.name}` must lie from {listed[0]} to {listed[-1]}, where the model "
                f"ends; got {text}."
            )
        return found
    by_text = {_text(value): value for value in listed}
    several: list[Value] = []
    for part in text.split("|"):
        if part not in by_text and (number := _number(part)) is not None and number in listed:
            # Such as 4 for 4.0.
            part = _text(listed[listed.index(number)])
        if part not in by_text:
            raise InvalidArgumentError(
                f"`{parameter.name}` must be {parameter.allowed()}; got {part!r}."
            )
        several.append(by_text[part])
    return tuple(several)


def held_text(parameter: Parameter, values: Sequence[Any]) -> str:
    """Return values as the name of a space states them; `values_in` reads it.

    Raises:
      InvalidDesignError: The parameter lacks a value.
      InvalidArgumentError: A value's text would be taken for something else.
    """
    indices = sorted({parameter.index(value) for value in values})
    texts = [_text(parameter.value(index)) for index in indices]
    for text in texts:
        if _NOT_IN_NAMES.search(text):
            raise InvalidArgumentError(
                f"`{parameter.name}` must be held at values without any of {{ }} = , | /; "
                f"got {text!r}."
            )
    is_run = len(indices) > 2 and indices[-1] - indices[0] == len(indices) - 1
    return f"{texts[0]}..{texts[-1]}" if is_run and parameter.is_ordered else "|".join(texts)


def restrict(simulator: Simulator, held: Mapping[str, str]) -> Simulator:
    """Return a simulator whose designs keep to what is held; itself where nothing is.

    Args:
      simulator: The whole one.
      held: Values by parameter, as texts; see `values_in`.

    Raises:
      UnknownNameError: The space has no such parameter.
      InvalidArgumentError: A parameter has no such value, or no design is left.
    """
    if not held:
        return simulator
    check_known("parameter", held, simulator.space.names)
    values = {
        p.name: values_in(p.widened(), held[p.name])
        for p in simulator.space.parameters
        if p.name in held
    }
    return RestrictedSimulator(simulator, values)


def hold(
    simulator: Simulator,
    fixed: Mapping[str, Any],
    values: Mapping[str, Any],
    limits: Mapping[str, Sequence[str]],
) -> Simulator:
    """Return a simulator whose designs keep to given values; itself where nothing is given.

    Args:
      simulator: The whole one, or one that holds other parameters.
      fixed: Value by parameter.
      values: Values by parameter: several, or a text such as ``4|8``, ``1..4`` or ``!4``, which
        is all but 4.
      limits: Limits on parameters, such as ``<=8``, by parameter.

    Raises:
      UnknownNameError: The space has no such parameter.
      InvalidDesignError: A parameter has no such value.
      InvalidArgumentError: A parameter is held twice, or no design is left.
    """
    if not (fixed or values or limits):
        return simulator
    whole, held = unrestricted(simulator), dict(held_values(simulator))
    fixed, values = check_mapping("fixed", fixed), check_mapping("values", values)
    for name in (*fixed, *values, *limits):
        if name not in whole.space.names:
            raise unknown_name("parameter", name, whole.space.names)
        if (name in fixed) + (name in values) + (name in limits) + (name in held) > 1:
            raise InvalidArgumentError(
                f"`{name}` must be held once, by --set, --values or a limit; it came twice. "
                "Remove one."
            )
    wanted = {**{name: [value] for name, value in fixed.items()}, **values}
    for name, several in wanted.items():
        try:
            held[name] = _given(whole.space.parameter(name).widened(), several)
        except InvalidDesignError as error:
            if is_listed(whole.space.parameter(name)) or name not in option_names(type(whole)):
                raise
            raise InvalidDesignError(f"{error} Its total is --option {name}=N.") from None
        if name in fixed and len(held[name]) > 1:
            came = f"got {fixed[name]!r}. Several are `values`."
            raise InvalidArgumentError(f"`{name}` must be held at one value; {came}")
    for name, texts in limits.items():
        held[name] = _within(whole.space.parameter(name), texts)
    # In the order of the space, so that one task has one name.
    ordered = {name: held[name] for name in whole.space.names if name in held}
    return RestrictedSimulator(whole, ordered)


def hold_expressible(simulator: Simulator, form: str) -> Simulator:
    """Return a simulator whose designs a format can express, as far as single parameters decide.

    Args:
      simulator: The whole one, or one that holds parameters.
      form: One of its `exports`.

    Raises:
      UnknownNameError: There is no such format.
      InvalidArgumentError: The format has none of the values at which a parameter is held.
    """
    whole, held = unrestricted(simulator), dict(held_values(simulator))
    for name, able in expressible(whole, form).items():
        kept = tuple(value for value in held.get(name, able) if value in able)
        if not kept:
            values = ", ".join(map(_text, able)) or "no value of it"
            raise InvalidArgumentError(
                f"`{name}` must be one that {form} can express, which has {values}; got "
                f"{', '.join(map(_text, held.get(name, ('any',))))}."
            )
        held[name] = kept
    ordered = {name: held[name] for name in whole.space.names if name in held}
    return RestrictedSimulator(whole, ordered) if ordered != held_values(simulator) else simulator


def expressible_share(simulator: Simulator, form: str) -> float:
    """Return the share of a space that a format can express, among 1,000 drawn designs.

    Values of single parameters count, and not what the format refuses of a workload.

    Args:
      simulator: The simulator.
      form: One of its `exports`.
    """
    space, able = simulator.space, expressible(simulator, form)
    if not able:
        return 1.0
    drawn = space.sample(_COUNTED, np.random.default_rng(0))
    designs = (space.design_at(row) for row in space.canonical(drawn))
    return sum(all(d[n] in values for n, values in able.items()) for d in designs) / _COUNTED


class WrappedSimulator(Simulator):
    """Base of simulators that change the designs or the results of another one."""

    def __init__(self, inner: Simulator) -> None:
        """Take the other simulator and its declaration, of which a class replaces a part."""
        self.inner = inner
        self.spec = inner.spec

    def workload_names(self) -> tuple[str, ...]:
        """Return workloads that ship with the simulator."""
        return self.inner.workload_names()

    def workload(self, name: str | Path) -> Workload:
        """Return the workload of the inner simulator."""
        return self.inner.workload(name)

    def not_compared(self, workload: Workload) -> str:
        """Return what the inner simulator says of a workload."""
        return never_compared(self.inner, workload)

    def describe_workload(self, workload: Workload) -> Facts:
        """Return characteristics of a workload: name to (value, unit)."""
        return facts_about(self.inner, workload)

    def bottlenecks(self, indices: np.ndarray, workload: Workload) -> list[Bottleneck]:
        """Return what limits a design, as the inner simulator says."""
        return bottlenecks_of(self.inner, self._of_inner(indices[None, :])[0], workload)

    def expressible(self, form: str) -> Mapping[str, Sequence[Any]]:
        """Return the values that a format can express, by parameter that it lacks some of."""
        return expressible(self.inner, form)

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Files:
        """Return a design in the format of another tool: the texts of files by their names."""
        return exported(self.inner, form, self._of_inner(indices[None, :])[0], workload)

    def file_settings(
        self, form: str, indices: np.ndarray, workload: Workload
    ) -> Mapping[str, Any]:
        """Return what files of a format say of a design; see `Stating.file_settings`."""
        return stated_settings(self.inner, form, self._of_inner(indices[None, :])[0], workload)

    def _of_inner(self, indices: np.ndarray) -> np.ndarray:
        """Return designs as canonical index vectors of the inner simulator's space."""
        return indices


@final
class RestrictedSimulator(WrappedSimulator):
    """A simulator whose designs hold some parameters, or choose among fewer of their values.

    Designs, metrics and reasons are those of the whole simulator. `restrict` makes one.
    """

    def __init__(
        self, whole: Simulator, values: Mapping[str, Sequence[Value]], default: Any = None
    ) -> None:
        """Hold parameters of a simulator.

        Args:
          whole: The simulator.
          values: Values that are left, by parameter. Those beyond the range of the space must be
            values for which the model holds.
          default: (n_parameters,), default design as indices of the whole space, with the widest
            ranges where values go beyond; by default the feasible one nearest to the whole
            space's.

        Raises:
          InvalidArgumentError: No design is left.
        """
        self.whole, self.held = whole, {name: tuple(v) for name, v in values.items()}
        super().__init__(_widened(whole, self.held))
        part, self._indices = _part(self.inner.space, self.held, default)
        self.spec = replace(self.spec, space=part)

    def __reduce__(self) -> tuple[Any, ...]:
        default = self.in_whole(self.space.default_indices[None, :])[0]
        return RestrictedSimulator, (self.whole, self.held, default)

    def fitted_to(self, workloads: Sequence[Workload]) -> Simulator:
        """Return a simulator whose default design runs on the workloads, near that of the whole.

        Raises:
          InvalidArgumentError: No design near the default runs on them.
        """
        narrow = fitted(self.whole, workloads)
        made = self if narrow is self.whole else RestrictedSimulator(narrow, self.held)

        def runs(indices: np.ndarray) -> np.ndarray:
            results = (made.inner.evaluate_batch(indices, workload) for workload in workloads)
            built = [result.reason == FEASIBLE for result in results]
            return np.asarray(np.logical_and.reduce(built))

        default = made.in_whole(made.space.default_indices[None, :])
        if runs(default)[0]:
            return made
        found = _nearest(default[0], made._indices, runs)
        if found is None:
            drawn = made.in_whole(made.space.sample(_DRAWN, np.random.default_rng(0)))
            found = _brought_near(default[0], drawn, runs)
        # Without one, the task says why the default design does not run.
        return made if found is None else RestrictedSimulator(narrow, self.held, found)

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results of designs that are known to be canonical and feasible in the space."""
        return self.inner.simulate(self._of_inner(indices), workload)

    def simulate_without(self, cost: str, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results as `simulate`, of an ideal machine that does not pay one of `costs`."""
        return simulated_without(self.inner, cost, self._of_inner(indices), workload)

    def bottlenecks(self, indices: np.ndarray, workload: Workload) -> list[Bottleneck]:
        """Return what limits a design, with moves that keep to what is held."""
        found, held = super().bottlenecks(indices, workload), self.held
        return [
            Bottleneck(
                b.name,
                b.metric,
                b.share,
                tuple(m for m in b.moves if all(v in held.get(n, (v,)) for n, v in m.items())),
                tuple(name for name in b.parameters if len(held.get(name, ("", ""))) > 1),
            )
            for b in found
        ]

    def bounds(self, partial: np.ndarray, workload: Workload) -> np.ndarray:
        """Return metrics that no design with some choices betters."""
        columns = []
        for place, known in enumerate(self._indices):
            # A parameter that is held at one value is chosen; one of several is free.
            free = known[0] if len(known) == 1 else -1
            chosen = partial[:, place]
            columns.append(np.where(chosen < 0, free, known[np.maximum(chosen, 0)]))
        return bounds_of(self.inner, np.stack(columns, axis=1), workload)

    def breakdown(
        self, indices: np.ndarray, workload: Workload | None
    ) -> Mapping[str, Mapping[str, float]]:
        """Return what parts of a design contribute to metrics."""
        return breakdown_of(self.inner, self._of_inner(indices[None, :])[0], workload)

    def check(self, values: np.ndarray, workload: Workload) -> None:
        """Refuse results that break the model's own invariants."""
        check_values(self.inner, values, workload)

    def laws(self, indices: np.ndarray, column: Columns, workload: Workload) -> Laws:
        """Return the whole simulator's laws of conservation."""
        return laws_of(self.inner, self._of_inner(indices), column, workload)

    def _of_inner(self, indices: np.ndarray) -> np.ndarray:
        """Return designs as canonical index vectors of the whole space."""
        return self.inner.space.canonical(self.in_whole(indices))

    def in_whole(self, indices: np.ndarray) -> np.ndarray:
        """Return designs as index vectors of the whole space, perhaps not canonical."""
        columns = [known[indices[:, place]] for place, known in enumerate(self._indices)]
        return np.stack(columns, axis=1)


def _widened(simulator: Simulator, values: Mapping[str, Sequence[Value]]) -> Simulator:
    """Return a simulator over a space that has the values, which may lie beyond its ranges."""
    wide = []
    for name, kept in values.items():
        parameter = simulator.space.parameter(name)
        if parameter.widened() is parameter:
            continue
        within = {parameter.value(index) for index in range(parameter.size)}
        if not within.issuperset(kept):
            wide.append(name)
    return widened(simulator, wide) if wide else simulator


def unrestricted(simulator: Simulator) -> Simulator:
    """Return the simulator of the whole space, where parameters are held; else the same."""
    return simulator.whole if isinstance(simulator, RestrictedSimulator) else simulator


def held_values(simulator: Simulator) -> Mapping[str, tuple[Value, ...]]:
    """Return the values that are left of parameters that are held, by parameter."""
    return simulator.held if isinstance(simulator, RestrictedSimulator) else {}


def bare(simulator: Simulator) -> Simulator:
    """Return the innermost simulator: not calibrated, with ranges that have what may be held."""
    while isinstance(simulator, WrappedSimulator):
        simulator = simulator.inner
    return simulator


def _given(parameter: Parameter, values: Any) -> tuple[Value, ...]:
    """Return the values that a caller gave, as texts or as they are."""
    if isinstance(values, str) and values.startswith("!"):
        if not is_listed(parameter):
            raise InvalidArgumentError(f"`{parameter.name}` has too many values for all but some.")
        left_out = _given(parameter, values[1:])
        values = [v for v in map(parameter.value, range(parameter.size)) if v not in left_out]
    elif isinstance(values, str):
        # Of a comma list or one that a space's name states; an order may have commas itself.
        return values_in(parameter, values.replace(",", "|") if is_listed(parameter) else values)
    if not isinstance(values, Iterable):
        values = [values]
    values = list(values)
    if not is_listed(parameter) and values and not isinstance(values[0], Sequence):
        # One value, given as a tuple.
        values = [values]
    found: list[Value] = []
    for value in values:
        if isinstance(value, str) and not isinstance(parameter, Categorical):
            found += values_in(parameter, value)
        else:
            found.append(parameter.value(parameter.index(value)))
    if not found:
        raise InvalidArgumentError(f"`{parameter.name}` must keep a value; got none.")
    return tuple(found)


def _within(parameter: Parameter, texts: Sequence[str]) -> tuple[Value, ...]:
    """Return the values of a parameter that meet limits such as ``<=8``."""
    low, high = -math.inf, math.inf
    for text in texts:
        sign = text.rstrip("+-.0123456789eE")
        bound = _number(text.removeprefix(sign))
        if bound is None:
            raise InvalidArgumentError(
                f"A limit on parameter `{parameter.name}` must end in a number; got {text!r}."
            )
        low = max(low, bound) if sign != "<=" else low
        high = min(high, bound) if sign != ">=" else high
    listed = [parameter.value(i) for i in range(parameter.size if is_listed(parameter) else 0)]
    return _range(parameter, listed, low, high)


def _part(
    space: DesignSpace, values: Mapping[str, Sequence[Value]], default: np.ndarray | None
) -> tuple[DesignSpace, list[np.ndarray]]:
    """Return the part of a space, and by parameter the index in the whole of each value."""
    held = {name: held_text(space.parameter(name), kept) for name, kept in values.items()}
    indices = [
        np.array(sorted({p.index(value) for value in values[p.name]}), dtype=np.int64)
        if p.name in values
        else np.arange(p.size, dtype=np.int64)
        for p in space.parameters
    ]
    if default is None:
        near = zip(indices, space.default_indices, strict=True)
        default = np.array([known[np.abs(known - usual).argmin()] for known, usual in near])
        if not space.feasible(default[None, :])[0]:
            default = _feasible(space, default, indices, held)
    try:
        part = space.restricted(
            values=values, name=with_held(space.name, held), default=space.design_at(default)
        )
    except InvalidSpaceError as error:
        raise InvalidArgumentError(
            f"{_braces(held)} must leave a design; {error_text(error)}"
        ) from None
    return part, indices


def _feasible(
    space: DesignSpace, start: np.ndarray, indices: Sequence[np.ndarray], held: Mapping[str, str]
) -> np.ndarray:
    """Return the feasible design that differs from another in the fewest parameters.

    Raises:
      InvalidArgumentError: No change of one or two parameters gives a feasible design.
    """
    found = _nearest(start, indices, space.feasible)
    if found is not None:
        return found
    constraint = space.constraints[int(space.violations(start[None, :])[0])]
    among = [name for name in held if name in constraint.require.names] or list(held)
    raise InvalidArgumentError(
        f"{_braces({name: held[name] for name in among})} must leave a design of space "
        f"{space.name!r}; got one that breaks its constraint: {sentence(constraint.reason)} "
        "Hold other values, or leave a parameter free."
    )


def _nearest(
    start: np.ndarray,
    indices: Sequence[np.ndarray],
    holds: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray | None:
    """Return the first design that passes a test among changes of one, then of two parameters.

    Args:
      start: (n_parameters,), indices of the design that is changed.
      indices: By parameter, the indices that it may have.
      holds: Test of designs, (n, n_parameters) to (n,) bool.
    """
    for n_changed in (1, 2):
        found = _first(_changed(start, indices, n_changed), holds)
        if found is not None:
            return found
    return None


def _first(
    designs: Iterator[np.ndarray], holds: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray | None:
    """Return the first design that passes a test."""
    for batch in _batches(designs):
        passed = np.flatnonzero(holds(batch))
        if len(passed):
            return np.asarray(batch[passed[0]])
    return None


def _brought_near(
    start: np.ndarray, designs: np.ndarray, holds: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray | None:
    """Return a design that passes a test, with as many values of another one as the test allows.

    Args:
      start: (n_parameters,), indices of the other design.
      designs: (n, n_parameters), designs of which the first one that passes is taken.
      holds: Test of designs, (n, n_parameters) to (n,) bool.
    """
    found = _first(iter(designs), holds)
    if found is None:
        return None
    for place in np.flatnonzero(found != start):
        tried = found.copy()
        tried[place] = start[place]
        found = tried if holds(tried[None, :])[0] else found
    return found


def _changed(
    start: np.ndarray, indices: Sequence[np.ndarray], n_changed: int
) -> Iterator[np.ndarray]:
    """Yield designs that differ from another in some parameters, near values first."""
    near = [
        known[np.argsort(np.abs(known - s), kind="stable")]
        for known, s in zip(indices, start, strict=True)
    ]
    for places in combinations(range(len(start)), n_changed):
        for chosen in product(*(near[place] for place in places)):
            if all(value != start[place] for place, value in zip(places, chosen, strict=True)):
                changed = start.copy()
                changed[list(places)] = chosen
                yield changed


def _batches(designs: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield designs in arrays, first few, then more, up to a limit."""
    left, size = _MAX_CHANGED, 64
    while left > 0 and (batch := list(islice(designs, size))):
        yield np.stack(batch)
        left, size = left - size, min(4 * size, 4096)


def is_listed(parameter: Parameter) -> bool:
    """Return True if a parameter has listed values, False if it has orders or factors."""
    return not isinstance(parameter, Permutation | Factorisation)


def _range(
    parameter: Parameter, listed: Sequence[Any], low: float, high: float
) -> tuple[Value, ...]:
    if not parameter.is_ordered:
        raise InvalidArgumentError(
            f"`{parameter.name}` must be {parameter.allowed()}; such names have no range."
        )
    kept = tuple(value for value in listed if low <= value <= high)
    if not kept:
        raise InvalidArgumentError(
            f"`{parameter.name}` must be {parameter.allowed()}; no value lies from {low:g} to "
            f"{high:g}."
        )
    return kept


def _text(value: Value) -> str:
    if isinstance(value, tuple):
        return ("x" if isinstance(value[0], int) else ":").join(map(str, value))
    return repr(value) if isinstance(value, float) else str(value)


def _number(text: str) -> float | None:
    number = as_number(text)
    return number if isinstance(number, float) and math.isfinite(number) else None


def _braces(held: Mapping[str, str]) -> str:
    return ", ".join(f"`{name}={text}`" for name, text in held.items())
