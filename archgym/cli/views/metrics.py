"""Tables of metrics with units, beside those of the default design."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from archgym.cli.console.terminal import number, unit

if TYPE_CHECKING:
    import numpy as np

    from archgym.evaluation.metrics import MetricSpec

__all__ = ["judgement", "metric_rows"]

# chosen: a smaller share of the default design's value is neither better nor worse.
_ALIKE = 1e-3


def metric_rows(
    specs: Sequence["MetricSpec"],
    values: "np.ndarray",
    reference: "np.ndarray | None",
    name: str,
) -> tuple[tuple[str, ...], list[tuple[str | Text, ...]]]:
    """Return columns and rows of a table of metrics.

    Args:
      specs: The metrics.
      values: (n_metrics,).
      reference: The default design's, (n_metrics,); None to leave it out.
      name: Heading of the values' column.
    """
    if reference is None:
        plain: list[tuple[str | Text, ...]] = [
            (spec.name, number(float(value)), unit(spec.unit))
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
                unit(spec.unit),
                "–" if ratio != ratio else f"{ratio:.3f}",
                judgement(spec, float(value), float(default)),
            )
        )
    return ("metric", name, "default", "unit", "ratio", ""), rows


def judgement(spec: "MetricSpec", value: float, default: float) -> Text:
    """True if a value is better or worse than the default design's, where that can be said."""
    difference = value - default
    alike = max(spec.resolution / 2, _ALIKE * abs(default))
    if spec.goal == "none" or not abs(difference) >= alike:
        return Text("")
    is_better = (difference < 0) == (spec.goal == "minimise")
    return Text("better", style="green") if is_better else Text("worse", style="red")
