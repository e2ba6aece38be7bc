"""Regions of a design space that are held out, so that the rest must be extrapolated to them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from archgym.datasets.columns import Columns, is_listed
from archgym.datasets.decoding import numbers, whole_numbers
from archgym.datasets.metadata import About
from archgym.datasets.sources import RowSource
from archgym.errors import InvalidArgumentError, InvalidDesignError, unknown_name
from archgym.parameter import Categorical, Parameter

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Condition",
    "Sums",
    "add_to_sums",
    "chosen_region",
    "influential",
    "parse_condition",
]

_FORM = re.compile(r"\s*(?P<name>[^<>=]+?)\s*(?P<sign><=|>=|<|>|=)\s*(?P<value>[^<>=]+?)\s*")
_COMPARISONS = {
    "<=": np.less_equal,
    ">=": np.greater_equal,
    "<": np.less,
    ">": np.greater,
}
# chosen: within a factor of two of what was asked for, influence counts more than size.
_SIZE_FACTOR = 2.0

Sums = dict[object, np.ndarray]
"""Rows, and sum and sum of squares of the logarithm of a metric, by a parameter's value."""


@final
@dataclass(frozen=True)
class Condition:
    """What a parameter's value must be for a design to lie in the region."""

    parameter: str
    sign: str
    values: tuple[str | float, ...]
    """One, or for ``=`` any number of them."""

    def __str__(self) -> str:
        return f"{self.parameter}{self.sign}{','.join(map(_shown, self.values))}"

    def holds(self, batch: "pa.RecordBatch", columns: Columns) -> np.ndarray:
        """Whether each row lies in the region, (n,) bool; not where it lacks the parameter."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = batch.column(columns.of_parameter[self.parameter])
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if self.sign == "=":
            wanted = pa.array(list(self.values)).cast(column.type)
            held: np.ndarray = pc.is_in(column, wanted).to_numpy(zero_copy_only=False)
            return held
        return self.holds_of(column.to_numpy(zero_copy_only=False))

    def holds_of(self, column: np.ndarray) -> np.ndarray:
        """Whether each value, (n,), of the parameter lies in the region, (n,) bool."""
        if self.sign == "=":
            return np.isin(column, self.values)
        values = column.astype(np.float64)
        with np.errstate(invalid="ignore"):
            compared: np.ndarray = _COMPARISONS[self.sign](values, float(self.values[0]))
        return compared


def _shown(value: str | float) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def parse_condition(text: str, about: About) -> Condition:
    """Condition from text such as ``banks>=8`` or ``mode=slow,fast``.

    Raises:
      InvalidArgumentError: It has another form, or does not fit the parameter.
      UnknownNameError: There is no such parameter.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise InvalidArgumentError(
            "A region must read name>=value, name<=value, name>value, name<value or "
            f"name=value,value; got {text!r}."
        )
    known = _known(about)
    if match["name"] not in known:
        raise unknown_name("parameter", match["name"], known)
    parameter = known[match["name"]]
    sign = match["sign"]
    parts = match["value"].split(",") if sign == "=" else [match["value"]]
    is_word = isinstance(parameter, Categorical)
    if is_listed(parameter) or (is_word and sign != "="):
        kind = parameter.kind
        raise InvalidArgumentError(
            f"`{parameter.name}` must be a number to be compared with {sign}; it is a {kind}. "
            "Choose another parameter, or = for names."
        )
    values: list[str | float] = []
    for part in (part.strip() for part in parts):
        try:
            values.append(part if is_word else float(part))
            if is_word:
                parameter.index(part)
        except InvalidDesignError as error:
            raise InvalidArgumentError(str(error)) from None
        except ValueError:
            raise InvalidArgumentError(
                f"`{parameter.name}` must be compared with numbers; got {part!r}."
            ) from None
    return Condition(parameter.name, sign, tuple(values))


def _known(about: About) -> dict[str, Parameter]:
    return {p.name: p for d in about.declarations for p in d.space.parameters}


# ---- a region that is chosen


def chosen_region(source: RowSource, share: float) -> tuple[Condition, str]:
    """A region of about this share of the rows, and why it was chosen.

    Of each parameter the tail or the value is taken whose share is nearest. Of those that come
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
    return found[0], f"chosen as it explains {100 * found[1]:.0f} % of `{metric.name}`"


def influential(tallies: Mapping[str, Sums], share: float) -> tuple[Condition, float] | None:
    """The region that `chosen_region` takes, and the share of variance its parameter explains.

    None where no parameter takes several values.
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
    names = [name for name, p in _known(source.about).items() if not is_listed(p)]
    tallies: dict[str, Sums] = {name: {} for name in names}
    for batch in source.batches():
        built = whole_numbers(path, batch, "feasible")
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.log(np.abs(numbers(batch, metric)) + resolution)
        logs = np.where(built & np.isfinite(logs), logs, np.nan)
        for name in names:
            column = batch.column(source.columns.of_parameter[name])
            if pa.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            given = column.is_valid().to_numpy(zero_copy_only=False)
            if given.any():
                values = column.drop_null().to_numpy(zero_copy_only=False)
                add_to_sums(tallies[name], values, logs[given])
    return tallies


def add_to_sums(tally: Sums, values: np.ndarray, logs: np.ndarray) -> None:
    """Adds rows with these values of a parameter; unknown logarithms, (n,), are NaN."""
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
    """Share of the variance of the logarithms that lies between values, from 0 to 1."""
    rows = np.array(list(tally.values()))
    n, sums, squares = rows[:, 1], rows[:, 2], rows[:, 3]
    if not n.sum():
        return 0.0
    mean = sums.sum() / n.sum()
    variance = squares.sum() - n.sum() * mean**2
    between = float((sums**2 / np.maximum(n, 1)).sum() - n.sum() * mean**2)
    return between / variance if variance > 0 else 0.0
