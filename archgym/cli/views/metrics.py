"""Tables of metrics with units, next to those of the default design."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from archgym.cli.console.terminal import number

if TYPE_CHECKING:
    import numpy as np

    from archgym.evaluation.metrics import MetricSpec

# chosen: a smaller relative difference is neither better nor worse.
_ALIKE = 1e-3


def metric_rows(
    specs: Sequence["MetricSpec"],
    values: "np.ndarray",
    reference: "np.ndarray | None",
    name: str,
) -> tuple[tuple[str, ...], list[tuple[str | Text, ...]]]:
    """Return the columns and rows of a table of metrics.

    Args:
      specs: Metrics of the table.
      values: (n_metrics,), values of the design.
      reference: (n_metrics,), values of the default design; None to omit them.
      name: Heading of the column of values.
    """
    if reference is None:
        plain: list[tuple[str | Text, ...]] = [
            (spec.name, number(float(value)), spec.unit)
            for spec, value in zip(specs, values, strict=True)
        ]
        return ("metric", name, "unit"), plain
    rows: list[tuple[str | Text, ...]] = []
    for spec, value, default in zip(specs, values, reference, strict=True):
        ratio = float(value) / float(default) if default else float("nan")
        rows.append(
            (
                spec.name,
                number(float(value)),
                number(float(default)),
                spec.unit,
                "–" if ratio != ratio else f"{ratio:.3f}",
                verdict(spec, float(value), float(default)),
            )
        )
    return ("metric", name, "default", "unit", "ratio", ""), rows


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
