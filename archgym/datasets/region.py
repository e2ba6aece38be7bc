"""Regions of a design space that are held out, so that models must extrapolate to them."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from archgym.checks import as_number
from archgym.datasets.columns import Columns, is_listed, numbers, whole_numbers
from archgym.datasets.metadata import About
from archgym.datasets.sources import RowSource
from archgym.errors import InvalidArgumentError, InvalidDesignError, unknown_name
from archgym.spaces.parameter import Categorical, Parameter, Permutation

if TYPE_CHECKING:
    import pyarrow as pa

_FORM = re.compile(r"\s*(?P<name>[^<>=]+?)\s*(?P<sign><=|>=|<|>|=)\s*(?P<value>\S.*?)\s*", re.S)
_COMPARISONS = {
    "<=": np.less_equal,
    ">=": np.greater_equal,
    "<": np.less,
    ">": np.greater,
}
_ELLIPSIS = "..."
_MUST_READ = (
    "A region must read name>=value, name<=value, name>value, name<value or name=value,value, with "
    'double quotes around a value that holds a comma, such as name="a,b",c'
)


@final
@dataclass(frozen=True)
class Beginning:
    """Beginning of a list: an order of items, or factors."""

    items: tuple[str | int, ...]
    is_whole: bool = False
    """True if the list ends there."""

    def __str__(self) -> str:
        if any(
            isinstance(item, str) and not re.fullmatch(r"[^\s\"\[\],.]+", item)
            for item in self.items
        ):
            text = json.dumps(list(self.items), ensure_ascii=False)
        else:
            text = " ".join(map(str, self.items))
        return text if self.is_whole else f"{text} {_ELLIPSIS}"

    def fits(self, value: Sequence[Any] | None) -> bool:
        """Return True if a list has this beginning, or equals it if the condition is exact."""
        if value is None or (self.is_whole and len(value) != len(self.items)):
            return False
        return tuple(value[: len(self.items)]) == self.items


@final
@dataclass(frozen=True)
class Condition:
    """Condition on a parameter's value for a design to lie in the region."""

    parameter: str
    sign: str
    values: tuple[str | float | Beginning, ...]
    """One, or for ``=`` any number of them."""

    def __str__(self) -> str:
        return f"{self.parameter}{self.sign}{','.join(map(_shown, self.values))}"

    def holds(self, batch: "pa.RecordBatch", columns: Columns) -> np.ndarray:
        """Return True for rows in the region, (n,) bool; False where the parameter is missing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = batch.column(columns.of_parameter[self.parameter])
        if pa.types.is_list(column.type):
            beginnings = [value for value in self.values if isinstance(value, Beginning)]
            values = column.to_pylist()
            return np.array([any(b.fits(v) for b in beginnings) for v in values], dtype=bool)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if self.sign == "=":
            wanted = pa.array(list(self.values)).cast(column.type)
            return np.asarray(pc.is_in(column, wanted).to_numpy(zero_copy_only=False))
        return self.holds_of(column.to_numpy(zero_copy_only=False))

    def holds_of(self, column: np.ndarray) -> np.ndarray:
        """Return True for values, (n,), of a parameter without lists that lie in the region."""
        if self.sign == "=":
            return np.isin(column, np.array(self.values))
        limit = self.values[0]
        assert isinstance(limit, float | int)
        with np.errstate(invalid="ignore"):
            compared: np.ndarray = _COMPARISONS[self.sign](column.astype(np.float64), limit)
        return compared


def _shown(value: str | float | Beginning) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    if isinstance(value, float) or re.fullmatch(r'[^\s",]([^",]*[^\s",])?', text):
        return text
    return '"' + text.replace('"', '""') + '"'


def parse_condition(text: str, about: About) -> Condition:
    """Return condition from text such as ``banks>=8``, ``mode=slow,"a,b"`` or ``order=K C ...``.

    Raises:
      InvalidArgumentError: It has another form, or does not fit the parameter.
      UnknownNameError: There is no such parameter.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise InvalidArgumentError(f"{_MUST_READ}; got {text!r}.")
    known = parameters_of(about)
    if match["name"] not in known:
        raise unknown_name("parameter", match["name"], known)
    parameters, sign = known[match["name"]], match["sign"]
    if sign != "=" and any(isinstance(p, Categorical) or is_listed(p) for p in parameters):
        raise InvalidArgumentError(
            f"`{match['name']}` must be a number to be compared with {sign}; it is a "
            f"{parameters[0].kind}. Choose another parameter, or =."
        )
    parts = _parts(match["value"], parameters) if sign == "=" else [match["value"]]
    if parts is None:
        raise InvalidArgumentError(f"{_MUST_READ}; got {text!r}.")
    return Condition(match["name"], sign, tuple(_any_value(part, parameters) for part in parts))


def parameters_of(about: About) -> dict[str, list[Parameter]]:
    """Return parameters by name, those of all spaces that have the name."""
    found: dict[str, list[Parameter]] = {}
    for declaration in about.declarations:
        for parameter in declaration.space.parameters:
            found.setdefault(parameter.name, []).append(parameter)
    return found


def _parts(text: str, parameters: Sequence[Parameter]) -> list[str] | None:
    """Return values between commas, but for those in quotes; None if a quote has no end."""
    if any(isinstance(p, Categorical) and text in p.choices for p in parameters):
        return [text]
    if is_listed(parameters[0]) and text.startswith("["):
        return [text]
    try:
        (parts,) = csv.reader([text], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        return None
    return [part.strip() for part in parts]


def _any_value(text: str, parameters: Sequence[Parameter]) -> str | float | Beginning:
    """Return the value as any of the parameters has it; the error is that of the last one."""
    for parameter in parameters[:-1]:
        try:
            return _value(text, parameter)
        except InvalidArgumentError:
            continue
    return _value(text, parameters[-1])


def _value(text: str, parameter: Parameter) -> str | float | Beginning:
    if is_listed(parameter):
        return _beginning(text, parameter)
    if isinstance(parameter, Categorical) and parameter.is_text:
        try:
            parameter.index(text)
        except InvalidDesignError as error:
            raise InvalidArgumentError(str(error)) from None
        return text
    number = as_number(text)
    if isinstance(number, str) or not np.isfinite(number):
        raise InvalidArgumentError(
            f"`{parameter.name}` must be compared with numbers; got {text!r}."
        )
    return float(number)


def _beginning(text: str, parameter: Parameter) -> Beginning:
    body = text.removesuffix("…").removesuffix(_ELLIPSIS).strip()
    is_whole = body == text
    items: list[Any]
    try:
        items = json.loads(body) if body.startswith("[") else body.split()
        if not isinstance(parameter, Permutation):
            items = [int(item) for item in items]
    except (ValueError, TypeError, RecursionError):
        items = []
    if is_whole:
        try:
            parameter.index(items)
        except (InvalidDesignError, TypeError) as error:
            raise InvalidArgumentError(
                f"{error} Write them apart by spaces, and {_ELLIPSIS} after a beginning."
            ) from None
    elif not items or not _can_begin(items, parameter):
        raise InvalidArgumentError(
            f"`{parameter.name}` must begin as {parameter.allowed()} can; got {text!r}."
        )
    return Beginning(tuple(items), is_whole)


def _can_begin(items: Sequence[Any], parameter: Parameter) -> bool:
    if isinstance(parameter, Permutation):
        return set(items) <= set(parameter.items) and len(set(items)) == len(items)
    left = getattr(parameter, "total", 0)
    for item in items:
        if item < 1 or left % item:
            return False
        left //= item
    return len(items) <= getattr(parameter, "parts", 0)


# chosen: within a factor of two of what was asked for, influence counts more than size.
_SIZE_FACTOR = 2.0

Sums = dict[object, np.ndarray]
"""Rows, and sum and sum of squares of the logarithm of a metric, by a parameter's value."""


def chosen_region(source: RowSource, share: float) -> tuple[Condition, str]:
    """Return a region of about this share of the rows, and why it was chosen.

    Of each parameter the tail or the value is taken whose share is nearest; of one with lists, what
    they begin with. Of those that come
    within a factor of two, the parameter wins that explains most of the variance of the first
    metric's logarithm: where it does nothing, there would be nothing to extrapolate.

    Raises:
      InvalidArgumentError: No parameter takes several values.
    """
    metric = next(
        (s for s in source.columns.metrics.values() if s.goal != "none"),
        next(iter(source.columns.metrics.values())),
    )
    tallies = _tallied(source, metric.name, metric.resolution)
    found = influential(tallies, share)
    if found is None:
        raise InvalidArgumentError(
            "A region needs a parameter that takes several values; none does in this dataset. "
            "Split by design."
        )
    condition, explained = found
    why = f"chosen as it explains {100 * explained:.0f} % of `{metric.name}`"
    return _of_lists(condition, source), why


def _of_lists(condition: Condition, source: RowSource) -> Condition:
    """Return a condition on what lists begin with, of one on the words for it."""
    parameter = parameters_of(source.about)[condition.parameter][0]
    if not is_listed(parameter):
        return condition
    first = str(condition.values[0])
    item = first if isinstance(parameter, Permutation) else int(first)
    return Condition(parameter.name, "=", (Beginning((item,)),))


def influential(tallies: Mapping[str, Sums], share: float) -> tuple[Condition, float] | None:
    """Return the region whose parameter explains most of the variance, and that share.

    None if no parameter takes several values.
    """
    candidates = []
    for name, tally in tallies.items():
        if len(tally) > 1:
            condition, actual = _nearest(name, tally, share)
            ratio = max(actual / share, share / actual)
            candidates.append((ratio > _SIZE_FACTOR, -_explained(tally), ratio, name, condition))
    if not candidates:
        return None
    best = min(candidates, key=lambda candidate: candidate[:4])
    return best[4], -best[1]


def _tallied(source: RowSource, metric: str, resolution: float) -> dict[str, Sums]:
    import pyarrow as pa

    path = Path(source.about.name)
    parameters = parameters_of(source.about)
    tallies: dict[str, Sums] = {name: {} for name in parameters}
    for batch in source.batches():
        built = whole_numbers(path, batch, "feasible")
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.log(np.abs(numbers(batch, metric)) + resolution)
        logs = np.where(built & np.isfinite(logs), logs, np.nan)
        for name in parameters:
            column = batch.column(source.columns.of_parameter[name])
            if pa.types.is_list(column.type):
                firsts = [str(value[0]) if value else None for value in column.to_pylist()]
                column = pa.array(firsts, pa.string())
            if pa.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            given = column.is_valid().to_numpy(zero_copy_only=False)
            if given.any():
                values = column.drop_null().to_numpy(zero_copy_only=False)
                add_to_sums(tallies[name], values, logs[given])
    return tallies


def add_to_sums(tally: Sums, values: np.ndarray, logs: np.ndarray) -> None:
    """Add rows with these values of a parameter; unknown logarithms, (n,), are NaN."""
    distinct, place = np.unique(values, return_inverse=True)
    is_known = np.isfinite(logs)
    z = np.where(is_known, logs, 0.0)
    sums = np.stack(
        [np.bincount(place, weight, len(distinct)) for weight in (None, is_known, z, z * z)], axis=1
    )
    for value, row in zip(distinct.tolist(), sums, strict=True):
        tally[value] = tally[value] + row if value in tally else row


def _nearest(name: str, tally: Sums, share: float) -> tuple[Condition, float]:
    total = sum(row[0] for row in tally.values())
    if any(isinstance(value, str) for value in tally):
        of_value = {str(value): row[0] / total for value, row in tally.items()}
        word = min(sorted(of_value), key=lambda v: abs(of_value[v] - share))
        return Condition(name, "=", (word,)), of_value[word]
    order = sorted(float(value) for value in tally)  # type: ignore[arg-type]  # numbers here
    counts = np.array([tally[value][0] for value in order]) / total
    upper = np.cumsum(counts[::-1])[::-1]
    lower = np.cumsum(counts)
    # Never the whole.
    tails = [(abs(upper[i] - share), ">=", order[i], upper[i]) for i in range(1, len(order))]
    tails += [(abs(lower[i] - share), "<=", order[i], lower[i]) for i in range(len(order) - 1)]
    _, sign, value, actual = min(tails, key=lambda tail: tail[0])
    return Condition(name, sign, (value,)), float(actual)


def _explained(tally: Sums) -> float:
    """Return share of the variance of the logarithms that lies between values, from 0 to 1."""
    rows = np.array(list(tally.values()))
    n, sums, squares = rows[:, 1], rows[:, 2], rows[:, 3]
    if not n.sum():
        return 0.0
    mean = sums.sum() / n.sum()
    variance = squares.sum() - n.sum() * mean**2
    between = float((sums**2 / np.maximum(n, 1)).sum() - n.sum() * mean**2)
    return between / variance if variance > 0 else 0.0
