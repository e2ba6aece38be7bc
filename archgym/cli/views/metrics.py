"""Tables of metrics with units, next to those of the default design."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from archgym.cli.console.terminal import prose, say, table
from archgym.report.quantities import quantity

if TYPE_CHECKING:
    import numpy as np

    from archgym.evaluation.metrics import MetricSpec
    from archgym.evaluation.objective import Objective

# chosen: a smaller relative difference is neither better nor worse.
_ALIKE = 1e-3
# chosen: six digits tell designs of an exact simulator apart.
_DIGITS = 6


def write_metrics(
    specs: Sequence["MetricSpec"],
    values: "np.ndarray",
    reference: "np.ndarray | None",
    name: str,
    objective: "Objective",
) -> None:
    """Write a table of metrics, those of the objective first, and fold what says nothing.

    Folded are metrics that are 0, and those that equal the default design's, unless the objective
    or a limit names them.

    Args:
      specs: Metrics of the table.
      values: (n_metrics,), values of the design.
      reference: (n_metrics,), values of the default design; None to omit them.
      name: Heading of the column of values.
      objective: Objective of the task.
    """
    named = [term.metric for term in objective.terms]
    named += [limit.metric for limit in objective.limits]
    ranks = {metric: place for place, metric in enumerate(dict.fromkeys(named))}
    order = sorted(range(len(specs)), key=lambda place: ranks.get(specs[place].name, len(ranks)))
    rows: list[tuple[str | Text, ...]] = []
    zero, alike = [], []
    for place in order:
        spec, value = specs[place], float(values[place])
        base = None if reference is None else float(reference[place])
        if spec.name not in ranks and value == 0 and base in (None, 0):
            zero.append(spec.name)
        elif spec.name not in ranks and value == base:
            alike.append(f"{spec.name} {quantity(value, spec.unit, _DIGITS)}")
        elif base is None:
            rows.append((spec.name, quantity(value, spec.unit, _DIGITS)))
        else:
            # Of numbers below 0 a ratio says nothing.
            ratio = f"{value / base:.3f}" if base > 0 and value >= 0 else "–"
            texts = [quantity(each, spec.unit, _DIGITS) for each in (value, base)]
            rows.append((spec.name, *texts, ratio, verdict(spec, value, base)))
    columns = ("metric", name, "default", "ratio", "")
    table(columns if reference is not None else columns[:2], rows, right=columns[1:4])
    if alike:
        prose(f"As in the default design: {', '.join(alike)}.", indent="  ")
    if zero:
        prose(f"Zero: {', '.join(zero)}.", indent="  ")
    if alike or zero:
        say()


def verdict(spec: "MetricSpec", value: float, default: float) -> Text:
    """Return "better", "worse" or nothing for a value relative to the default design's."""
    difference = value - default
    alike = max(spec.resolution / 2, _ALIKE * abs(default))
    if spec.goal == "none" or not abs(difference) >= alike:
        return Text("")
    is_better = (difference < 0) == (spec.goal == "minimise")
    return Text("better", style="green") if is_better else Text("worse", style="red")


def with_unit(spec: "MetricSpec") -> str:
    """Return the name of a metric with its unit, as the heading of a column."""
    return f"{spec.name} [{spec.unit}]" if spec.unit else spec.name
