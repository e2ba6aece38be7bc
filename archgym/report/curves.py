"""Best-so-far curves of studies."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from archgym.evaluation.metrics import MetricSpec
    from archgym.studies.snapshot import StudyLog

__all__ = ["BestCurve", "best_label", "best_so_far", "span"]

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
    """Return curve of the metric that is searched for, or of the reward where there are several."""
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
    """Return least and largest value that a picture of a curve shows: those after its first 5 %."""
    import numpy as np

    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    settled = finite[min(len(finite) - 1, math.ceil(_SETTLED_SHARE * len(values))) :]
    return float(settled.min()), float(settled.max())
