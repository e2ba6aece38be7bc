"""Regions of a design space that are held out, so that the rest must be extrapolated to them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from archgym.datasets.columns import is_listed
from archgym.datasets.condition import Beginning, Condition, parameters_of
from archgym.datasets.decoding import numbers, whole_numbers
from archgym.datasets.sources import RowSource
from archgym.errors import InvalidArgumentError
from archgym.parameter import Permutation

__all__ = ["Sums", "add_to_sums", "chosen_region", "influential"]

# chosen: within a factor of two of what was asked for, influence counts more than size.
_SIZE_FACTOR = 2.0

Sums = dict[object, np.ndarray]
"""Rows, and sum and sum of squares of the logarithm of a metric, by a parameter's value."""


def chosen_region(source: RowSource, share: float) -> tuple[Condition, str]:
    """A region of about this share of the rows, and why it was chosen.

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
    """A condition on what lists begin with, of one on the words for it."""
    parameter = parameters_of(source.about)[condition.parameter][0]
    if not is_listed(parameter):
        return condition
    first = str(condition.values[0])
    item = first if isinstance(parameter, Permutation) else int(first)
    return Condition(parameter.name, "=", (Beginning((item,)),))


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
