"""The best-so-far curve of a study, and its picture in text."""

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archgym.cli.terminal import number

if TYPE_CHECKING:
    import numpy as np

    from archgym.metrics import MetricSpec
    from archgym.studylog import StudyLog

__all__ = ["BestCurve", "best_label", "best_so_far", "span", "text_curve"]

# chosen: what the first evaluations have is often so bad that nothing else would be seen.
_SETTLED_SHARE = 0.05


@dataclass(frozen=True)
class BestCurve:
    """What is best after each evaluation.

    `values` is (evaluations,), NaN before the first design that can be built; `default` is what
    the default design has, None where the curve is a reward that does not count from it.
    """

    label: str
    values: "np.ndarray"
    default: float | None


def best_label(sought: "MetricSpec | None") -> str:
    """What an axis says of the best so far: the metric that is sought, or the reward."""
    if sought is None:
        return "Best reward so far"
    return f"{sought.name} of the best design so far [{sought.unit}]"


def best_so_far(log: "StudyLog") -> BestCurve:
    """The curve of the metric that is searched for, or of the reward where there are several."""
    import numpy as np

    evaluated = log.is_evaluation
    reward = np.where(log.is_feasible, log.records.reward, -np.inf)[evaluated]
    if not len(reward):
        return BestCurve(best_label(None), np.empty(0), None)
    best = np.maximum.accumulate(reward)
    # The row where each running best was first reached.
    rises = np.append(True, best[1:] > best[:-1])
    rows = np.maximum.accumulate(np.where(rises, np.arange(len(reward)), 0))
    terms: list[dict[str, Any]] = log.header.task["objective"]["terms"]
    if len(terms) == 1 and terms[0]["goal"] in ("minimise", "maximise"):
        names = [spec.name for spec in log.metrics]
        column = names.index(terms[0]["metric"])
        spec = log.metrics[column]
        values = log.average()[evaluated][rows, column]
        default = float((log.weights @ log.reference)[column])
        return BestCurve(best_label(spec), np.where(np.isfinite(best), values, np.nan), default)
    relative = all(term["target"] is None for term in terms)
    values = np.where(np.isfinite(best), best, np.nan)
    return BestCurve(best_label(None), values, 0.0 if relative else None)


def span(values: "np.ndarray") -> tuple[float, float]:
    """Least and largest value that a picture of a curve shows: those after its first 5 %."""
    import numpy as np

    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    settled = finite[min(len(finite) - 1, math.ceil(_SETTLED_SHARE * len(values))) :]
    return float(settled.min()), float(settled.max())


def text_curve(values: "np.ndarray", width: int, height: int) -> list[str]:
    """A curve as lines of text, filled below; empty where there is nothing to draw.

    Args:
      values: (n,), NaN where there is no value yet.
      width: Columns of the curve, without its axis.
      height: Lines of the curve, without its axis.
    """
    import numpy as np

    if not np.isfinite(values).any() or width < 8:
        return []
    width = min(width, max(8, len(values)))
    shown = values[np.linspace(0, len(values) - 1, width).round().astype(int)]
    low, high = span(values)
    label_high = number(high) if np.nanmax(values) <= high else f"≥ {number(high)}"
    label_low = number(low) if np.nanmin(values) >= low else f"≤ {number(low)}"
    reach = high - low if high > low else 1.0
    shown = np.clip(shown, low, high)
    steps = " ▁▂▃▄▅▆▇█" if _is_unicode() else " #"
    fine = len(steps) - 1
    # One eighth at least, so that the lowest value is seen.
    filled = np.where(np.isfinite(shown), 1 + (shown - low) / reach * (height * fine - 1), 0)
    lines = []
    for row in reversed(range(height)):
        parts = np.clip(np.nan_to_num(filled) - row * fine, 0, fine).round().astype(int)
        label = label_high if row == height - 1 else label_low if row == 0 else ""
        lines.append(f"{label:>12} |" + "".join(steps[part] for part in parts).rstrip())
    lines.append(f"{'':>12} 1{len(values):>{width - 1}}")
    return lines


def _is_unicode() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
