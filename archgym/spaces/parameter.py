"""Finite parameters: what a design consists of.

Each kind of parameter has a finite number of values, numbered from 0. A design's machine form is
the vector of those numbers. The name comes first and the range after it; default, unit and
documentation are keywords: `Integer("banks", 4, 16, step=4, unit="banks", default=8)`.
"""

import difflib
import itertools
import math
import reprlib
import sys
from abc import ABCMeta, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, final

import numpy as np

from archgym.errors import InvalidDesignError, InvalidSpaceError

# Words that other libraries use, and ours.
_SYNONYMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("values", "options", "categories"), ("choices", "levels", "items")),
    **dict.fromkeys(("choices", "levels"), ("levels", "choices", "items")),
    **dict.fromkeys(("min", "minimum", "start", "lower"), ("low",)),
    **dict.fromkeys(("max", "maximum", "stop", "upper"), ("high",)),
    **dict.fromkeys(("points", "num", "n", "steps", "q"), ("count", "step")),
    **dict.fromkeys(("step",), ("count",)),
}
Value = str | int | float | tuple[Any, ...]
# Indices are int64; a permutation of 20 items is the last whose number fits.
_MAX_SIZE = 2**62
# Listable kinds are written out in tables and errors.
_MAX_LISTED = 10**6


@dataclass(frozen=True)
class _Described:
    name: str
    default: Value | None = field(default=None, kw_only=True)
    unit: str = field(default="", kw_only=True)
    doc: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class _Widening(_Described):
    widest: int | tuple[int | float, ...] | None = field(default=None, kw_only=True, compare=False)
    """Largest value, or further levels, for which the model holds; `widened` includes them."""


class _Kind(ABCMeta):
    """Class of the classes of parameters, whose constructors suggest the right keyword."""

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        known = [each.name for each in fields(cls)] if is_dataclass(cls) else list(keywords)
        for name in keywords:
            if name not in known:
                near = [other for other in _SYNONYMS.get(name, ()) if other in known]
                near = near or difflib.get_close_matches(name, known, 1)
                hint = f" Did you mean `{near[0]}`?" if near else ""
                raise InvalidSpaceError(
                    f"{cls.__name__} has no argument `{name}`.{hint} It takes {', '.join(known)}."
                )
        plain = {name: _plain(value) for name, value in keywords.items()}
        return super().__call__(*map(_plain, arguments), **plain)


class Parameter(metaclass=_Kind):
    """One parameter of a design: name, unit, one line of documentation and its finite values.

    Example:
      >>> depth: Parameter = PowerOfTwo(name="depth", low=4, high=64, unit="entries")
      >>> depth.size, depth.value(2), depth.index(64)
      (5, 16, 4)
    """

    kind: ClassVar[str]
    is_ordered: ClassVar[bool]
    """True if neighbouring values are alike, so that a local step is meaningful."""

    name: str
    default: Any
    unit: str
    doc: str

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of values."""

    @abstractmethod
    def value(self, index: int) -> Value:
        """Return the value with this number, 0 <= `index` < size."""

    @abstractmethod
    def index(self, value: Any) -> int:
        """Return the number of this value.

        Raises:
          InvalidDesignError: The parameter does not have this value.
        """

    @abstractmethod
    def array(self, indices: np.ndarray) -> np.ndarray:
        """Return values of many numbers at once, shape as `indices`."""

    @abstractmethod
    def allowed(self) -> str:
        """Return the allowed values in words."""

    def widened(self) -> "Parameter":
        """Return the parameter with all values for which the model holds; itself by default."""
        return self

    @property
    def default_index(self) -> int:
        """The number of the default value."""
        return 0 if self.default is None else self.index(self.default)

    def to_json(self) -> dict[str, Any]:
        """Return the declaration as JSON; `parameter_from_json` reads it."""
        fields = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
            if not name.startswith("_") and name not in ("values", "widest")
        }
        return {"kind": self.kind, **{k: v for k, v in fields.items() if v not in (None, "", [])}}

    def _check_described(self) -> None:
        words = (self.name, self.unit, self.doc)
        self._require(all(isinstance(word, str) for word in words), "words as strings", words)
        self._require(bool(self.name), "a name", self.name)

    def _check_default(self) -> None:
        try:
            _ = self.default_index
        except InvalidDesignError:
            self._require(False, f"a default that is {self.allowed()}", self.default)

    def _refuse(self, value: Any) -> InvalidDesignError:
        return InvalidDesignError(f"`{self.name}` must be {self.allowed()}; got {value!r}.")

    def _require(self, holds: bool, what: str, came: Any) -> None:
        if not holds:
            raise InvalidSpaceError(f"Parameter `{self.name}` needs {what}; got {came!r}.")


class _Listed(Parameter):
    """Base of the parameter classes whose values are listed in a tuple."""

    values: tuple[Value, ...]

    @property
    def size(self) -> int:
        return len(self.values)

    def value(self, index: int) -> Value:
        return self.values[index]

    def index(self, value: Any) -> int:
        # True == 1 in Python, and a design file's `true` is not the number 1.
        if isinstance(value, bool):
            raise self._refuse(value)
        try:
            return self._numbers[value]
        except (KeyError, TypeError):
            raise self._refuse(value) from None

    def array(self, indices: np.ndarray) -> np.ndarray:
        values: np.ndarray = self._array[indices]
        return values

    @cached_property
    def _array(self) -> np.ndarray:
        return np.asarray(self.values)

    @cached_property
    def _numbers(self) -> Mapping[Value, int]:
        return {value: number for number, value in enumerate(self.values)}

    def allowed(self) -> str:
        if self.size <= 16:
            return "one of " + ", ".join(str(v) for v in self.values)
        first = ", ".join(str(v) for v in self.values[:3])
        return f"one of the {self.size} values {first}, …, {self.values[-1]}"

    def _check_listed(self) -> None:
        self._check_described()
        self._require(self.size >= 1, "at least one value", self.size)
        self._require(len(self._numbers) == self.size, "values that differ", self.values)
        self._check_default()


@final
@dataclass(frozen=True)
class Categorical(_Described, _Listed):
    """A choice among names, or among numbers, that have no order.

    Example:
      >>> Categorical(name="policy", choices=("fifo", "lru")).allowed()
      'one of fifo, lru'
    """

    kind: ClassVar[str] = "categorical"
    is_ordered: ClassVar[bool] = False
    choices: tuple[str, ...] | tuple[int | float, ...]

    def __post_init__(self) -> None:
        self._require(not isinstance(self.choices, str), "a list of choices", self.choices)
        object.__setattr__(self, "choices", tuple(self.choices))
        is_plain = all(map(_fits, self.choices)) or all(isinstance(c, str) for c in self.choices)
        self._require(is_plain, "choices that are all strings or all numbers", self.choices)
        self._check_listed()

    @property
    def is_text(self) -> bool:
        """True if the choices are names, False if they are numbers."""
        return isinstance(self.choices[0], str)

    @property
    def values(self) -> tuple[str | int | float, ...]:  # type: ignore[override]  # same name, read-only
        """The choices, in their order."""
        return self.choices


@final
@dataclass(frozen=True)
class Ordinal(_Widening, _Listed):
    """A choice among numbers that are written out, in increasing order.

    `widest` may hold further, larger levels for which the model holds; a search includes them
    only where it is asked to.

    Example:
      >>> Ordinal(name="clock_mhz", levels=(800, 1200, 1600)).value(1)
      1200
    """

    kind: ClassVar[str] = "ordinal"
    is_ordered: ClassVar[bool] = True
    levels: tuple[int | float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        self._require(all(map(_fits, self.levels)), "finite numbers", self.levels)
        self._require(list(self.levels) == sorted(self.levels), "increasing levels", self.levels)
        self._check_listed()

    @property
    def values(self) -> tuple[int | float, ...]:  # type: ignore[override]  # same name, read-only
        """The levels, in increasing order."""
        return self.levels

    def widened(self) -> "Parameter":
        """Return the parameter with all levels for which the model holds."""
        if not isinstance(self.widest, tuple):
            return self
        return replace(self, levels=(*self.levels, *self.widest), widest=None)


@final
@dataclass(frozen=True)
class Integer(_Widening, _Listed):
    """Whole numbers from `low` to `high`, `step` apart; `widest` may be a larger `high`.

    Example:
      >>> Integer(name="banks", low=4, high=16, step=4).values
      (4, 8, 12, 16)
    """

    kind: ClassVar[str] = "integer"
    is_ordered: ClassVar[bool] = True
    low: int
    high: int
    step: int = 1

    def __post_init__(self) -> None:
        came = (self.low, self.high, self.step)
        self._require(all(type(n) is int and _fits(n) for n in came), "whole numbers", came)
        self._require(self.step >= 1 and self.low <= self.high, "low <= high, step >= 1", came)
        count = (self.high - self.low) // self.step + 1
        self._require(count <= _MAX_LISTED, f"at most {_MAX_LISTED} values", count)
        self._check_listed()

    @cached_property
    def values(self) -> tuple[int, ...]:  # type: ignore[override]  # same name, read-only
        """The numbers, in increasing order."""
        return tuple(range(self.low, self.high + 1, self.step))

    def widened(self) -> "Parameter":
        """Return the parameter with all numbers for which the model holds."""
        high = self.widest if isinstance(self.widest, int) else self.high
        return replace(self, high=high, widest=None)


@final
@dataclass(frozen=True)
class PowerOfTwo(_Widening, _Listed):
    """Powers of two from `low` to `high`; `widest` may be a larger `high`.

    Example:
      >>> PowerOfTwo(name="ways", low=1, high=16).values
      (1, 2, 4, 8, 16)
    """

    kind: ClassVar[str] = "power_of_two"
    is_ordered: ClassVar[bool] = True
    low: int
    high: int

    def __post_init__(self) -> None:
        came = (self.low, self.high)
        powers = all(type(n) is int and 0 < n < 2**62 and n & (n - 1) == 0 for n in came)
        self._require(powers and self.low <= self.high, "powers of two, low <= high", came)
        self._check_listed()

    @cached_property
    def values(self) -> tuple[int, ...]:  # type: ignore[override]  # same name, read-only
        """The powers, in increasing order."""
        return tuple(2**e for e in range(self.low.bit_length() - 1, self.high.bit_length()))

    def widened(self) -> "Parameter":
        """Return the parameter with all powers for which the model holds."""
        high = self.widest if isinstance(self.widest, int) else self.high
        return replace(self, high=high, widest=None)


@final
@dataclass(frozen=True)
class Real(_Described, _Listed):
    """`count` numbers from `low` to `high`, evenly spaced, or in ratio where `log`.

    Example:
      >>> Real(name="voltage_v", low=0.8, high=1.2, count=3).values
      (0.8, 1.0, 1.2)
      >>> Real(name="share", low=0.01, high=1.0, count=3, log=True).values
      (0.01, 0.1, 1.0)
    """

    kind: ClassVar[str] = "real"
    is_ordered: ClassVar[bool] = True
    low: float
    high: float
    count: int
    log: bool = False

    def __post_init__(self) -> None:
        came = (self.low, self.high, self.count)
        fine = all(_fits(n) for n in came) and type(self.count) is int
        self._require(fine and self.low < self.high, "finite low < high and a whole count", came)
        self._require(_fits(float(self.high) - float(self.low)), "a finite range", came)
        self._require(2 <= self.count <= _MAX_LISTED, f"a count from 2 to {_MAX_LISTED}", came)
        self._require(not self.log or self.low > 0, "low > 0 on a log grid", self.low)
        self._check_listed()

    @cached_property
    def values(self) -> tuple[float, ...]:  # type: ignore[override]  # same name, read-only
        """The grid, in increasing order, rounded to 12 significant digits."""
        space = np.geomspace if self.log else np.linspace
        return tuple(float(f"{v:.12g}") for v in space(self.low, self.high, self.count))


@dataclass(frozen=True)
class _Composite(_Described, Parameter):
    """Base of the parameter classes whose values are tuples, which are numbered and never listed.

    A part of a space may keep some values; they are then numbered in the order of the whole.
    """

    is_ordered: ClassVar[bool] = False
    kept: tuple[int, ...] = field(default=(), kw_only=True)
    """Numbers of the values that are left; empty for all."""

    @property
    @abstractmethod
    def whole_sub_sizes(self) -> tuple[int, ...]:
        """Number of choices at each sub-action, where all values are left."""

    @property
    def sub_sizes(self) -> tuple[int, ...]:
        """Number of choices at each sub-action; a single one where some values are left."""
        return (len(self.kept),) if self.kept else self.whole_sub_sizes

    @property
    def size(self) -> int:
        return math.prod(self.sub_sizes)

    def value(self, index: int) -> tuple[Any, ...]:
        return self._whole_value(self.kept[index] if self.kept else index)

    def index(self, value: Any) -> int:
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise self._refuse(value)
        number = self._whole_index(value)
        if not self.kept:
            return number
        if number not in self.kept:
            raise self._refuse(value)
        return self.kept.index(number)

    def array(self, indices: np.ndarray) -> np.ndarray:
        return _objects([self.value(int(i)) for i in indices.ravel()], indices.shape)

    def allowed(self) -> str:
        if not self.kept:
            return self._allowed_of_whole()
        shown = [str(self.value(number)) for number in range(min(self.size, 3))]
        more = f", … ({self.size} in all)" if self.size > 3 else ""
        return f"one of {', '.join(shown)}{more}"

    def keeping(self, indices: Iterable[int], default: Value) -> "Parameter":
        """Return the parameter with only the values of these numbers."""
        numbers = [self.kept[index] if self.kept else index for index in indices]
        return replace(self, kept=tuple(numbers), default=default)

    @abstractmethod
    def _whole_value(self, number: int) -> tuple[Any, ...]: ...

    @abstractmethod
    def _whole_index(self, value: Iterable[Any]) -> int: ...

    @abstractmethod
    def _allowed_of_whole(self) -> str: ...

    def _check_kept(self) -> None:
        most = math.prod(self.whole_sub_sizes)
        fine = all(type(n) is int and 0 <= n < most for n in self.kept)
        increase = all(a < b for a, b in itertools.pairwise(self.kept))
        self._require(fine and increase, f"increasing numbers below {most} to keep", self.kept)
        self._check_default()


@final
@dataclass(frozen=True)
class Permutation(_Composite):
    """An order of `items`, numbered as in a dictionary of all orders; never listed.

    Its sub-actions are the picks among the items that are left, so that an agent may build it one
    item at a time.

    Example:
      >>> loops = Permutation(name="loops", items=("m", "n", "k"))
      >>> loops.size, loops.value(0), loops.value(5)
      (6, ('m', 'n', 'k'), ('k', 'n', 'm'))
    """

    kind: ClassVar[str] = "permutation"
    items: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", tuple(self.items))
        self._check_described()
        self._require(all(isinstance(i, str) for i in self.items), "strings", self.items)
        self._require(1 <= len(self.items) <= 20, "1 to 20 items", len(self.items))
        self._require(len(set(self.items)) == len(self.items), "items that differ", self.items)
        self._check_kept()

    @property
    def whole_sub_sizes(self) -> tuple[int, ...]:
        """Number of choices at each pick: n, n - 1, …, 1."""
        return tuple(range(len(self.items), 0, -1))

    def _whole_value(self, number: int) -> tuple[str, ...]:
        left = list(self.items)
        order = []
        for remaining in range(len(left) - 1, -1, -1):
            pick, number = divmod(number, math.factorial(remaining))
            order.append(left.pop(pick))
        return tuple(order)

    def _whole_index(self, value: Iterable[Any]) -> int:
        order = list(value)
        if sorted(order, key=str) != sorted(self.items):
            raise self._refuse(value)
        left = list(self.items)
        number = 0
        for item in order:
            pick = left.index(item)
            left.pop(pick)
            number += pick * math.factorial(len(left))
        return number

    def _allowed_of_whole(self) -> str:
        return "an order of " + ", ".join(self.items)


@final
@dataclass(frozen=True)
class Factorisation(_Composite):
    """`parts` whole factors in order whose product is `total`; never listed.

    Each prime's exponent is shared out among the parts independently; a number is the mixed-radix
    number of those shares, and a sub-action is the share of one prime.

    Example:
      >>> tiles = Factorisation(name="tiles", total=12, parts=2)
      >>> [tiles.value(number) for number in range(tiles.size)]
      [(1, 12), (3, 4), (2, 6), (6, 2), (4, 3), (12, 1)]
    """

    kind: ClassVar[str] = "factorisation"
    total: int
    parts: int

    def __post_init__(self) -> None:
        came = (self.total, self.parts)
        self._check_described()
        self._require(all(type(n) is int for n in came), "whole numbers", came)
        self._require(
            1 <= self.total <= 10**9 and 1 <= self.parts <= 16,
            "a total of 1 to 1e9 and 1 to 16 parts",
            came,
        )
        size = math.prod(self.whole_sub_sizes)
        self._require(size < _MAX_SIZE, f"fewer than {_MAX_SIZE} values", size)
        self._check_kept()

    @cached_property
    def _primes(self) -> tuple[tuple[int, int], ...]:
        left, prime, found = self.total, 2, []
        while left > 1:
            if prime * prime > left:
                prime = left
            exponent = 0
            while left % prime == 0:
                left //= prime
                exponent += 1
            if exponent:
                found.append((prime, exponent))
            prime += 1
        return tuple(found)

    @property
    def whole_sub_sizes(self) -> tuple[int, ...]:
        """Number of ways to share each prime's exponent among the parts."""
        return tuple(math.comb(e + self.parts - 1, e) for _, e in self._primes)

    def _whole_value(self, number: int) -> tuple[int, ...]:
        factors = [1] * self.parts
        for (prime, exponent), ways in zip(
            reversed(self._primes), reversed(self.whole_sub_sizes), strict=True
        ):
            number, shares = divmod(number, ways)
            for part, share in enumerate(_shares(exponent, self.parts, shares)):
                factors[part] *= prime**share
        return tuple(factors)

    def _whole_index(self, value: Iterable[Any]) -> int:
        factors = [int(f) if isinstance(f, np.integer) else f for f in value]
        fine = len(factors) == self.parts and all(type(f) is int and f >= 1 for f in factors)
        if not fine or math.prod(factors) != self.total:
            raise self._refuse(value)
        number = 0
        for (prime, _), ways in zip(self._primes, self.whole_sub_sizes, strict=True):
            shares = []
            for factor in factors:
                share = 0
                while factor % prime == 0:
                    factor //= prime
                    share += 1
                shares.append(share)
            number = number * ways + _shares_number(shares)
        return number

    def _allowed_of_whole(self) -> str:
        return f"{self.parts} whole factors whose product is {self.total}"


def _plain(value: Any) -> Any:
    """Return an argument with NumPy's numbers as Python's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


def _fits(number: Any) -> bool:
    """Return True if it is a finite number that a numpy array of its kind holds."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        return False
    limit = _MAX_SIZE if isinstance(number, int) else sys.float_info.max
    return -limit <= number <= limit


def _shares(total: int, parts: int, number: int) -> list[int]:
    """Return `number`-th way, in dictionary order, to write `total` as a sum of `parts` shares."""
    shares = []
    for left in range(parts - 1, 0, -1):
        share = 0
        while number >= (ways := math.comb(total - share + left - 1, left - 1)):
            number -= ways
            share += 1
        shares.append(share)
        total -= share
    return [*shares, total]


def _shares_number(shares: list[int]) -> int:
    total = sum(shares)
    number = 0
    for place, share in enumerate(shares[:-1]):
        left = len(shares) - 1 - place
        number += sum(math.comb(total - s + left - 1, left - 1) for s in range(share))
        total -= share
    return number


def _objects(values: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array.reshape(shape)


_CLASSES: tuple[type[Any], ...] = (
    Categorical,
    Ordinal,
    Integer,
    PowerOfTwo,
    Real,
    Permutation,
    Factorisation,
)
_KINDS: dict[str, type[Any]] = {str(cls.kind): cls for cls in _CLASSES}


def parameter_from_json(data: Any) -> Parameter:
    """Return parameter from what `Parameter.to_json` gave.

    Raises:
      InvalidSpaceError: `data` is not such a declaration.
    """
    if not isinstance(data, dict) or str(data.get("kind")) not in _KINDS:
        raise InvalidSpaceError(
            f"A parameter must be an object with a `kind` of {', '.join(_KINDS)}; "
            f"got {reprlib.repr(data)}. Write it with `Parameter.to_json`."
        )
    fields = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in data.items()
        if key != "kind"
    }
    kind = _KINDS[str(data["kind"])]
    try:
        parameter: Parameter = kind(**fields)
    except TypeError as error:
        raise InvalidSpaceError(
            f"Parameter {reprlib.repr(data.get('name'))} cannot be read: {error}. "
            "Write it with `Parameter.to_json`."
        ) from None
    return parameter
