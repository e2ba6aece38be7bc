"""Best-so-far curves of studies."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from archgym.evaluation.metrics import MetricSpec
    from archgym.studies.snapshot import StudyLog

# chosen: the first evaluations are often so bad that they would hide the rest of a curve.
_SETTLED_SHARE = 0.05


@dataclass(frozen=True)
class BestCurve:
    """Best value after each evaluation.

    `values` is (evaluations,), NaN before the first design that meets all limits. `default` is the
    value of the default design; None for a reward that is not relative to it.
    """

    label: str
    values: "np.ndarray"
    default: float | None
    missed: "np.ndarray"
    """(evaluations,), True for designs that cannot be built, failed, or miss a limit."""

    @property
    def first_met(self) -> int | None:
        """Number of the first evaluation whose design meets all limits; None if none does."""
        met = (~self.missed).nonzero()[0]
        return int(met[0]) + 1 if len(met) else None


def best_label(sought: "MetricSpec | None") -> str:
    """Return the label of a best-so-far axis: the metric of the objective, or the reward."""
    if sought is None:
        return "Best reward so far"
    return f"{sought.name} of the best design so far" + (f" [{sought.unit}]" if sought.unit else "")


def best_so_far(log: "StudyLog") -> BestCurve:
    """Return the best-so-far curve of the objective's metric, or of the reward for several."""
    import numpy as np

    evaluated = log.is_evaluation
    meets = (log.is_feasible & log.meets_limits)[evaluated]
    reward = np.where(meets, log.records.reward[evaluated], -np.inf)
    if not len(reward):
        return BestCurve(best_label(None), np.empty(0), None, ~meets)
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
        values = np.where(np.isfinite(best), values, np.nan)
        return BestCurve(best_label(spec), values, default, ~meets)
    relative = all(term["target"] is None for term in terms)
    values = np.where(np.isfinite(best), best, np.nan)
    return BestCurve(best_label(None), values, 0.0 if relative else None, ~meets)


def span(values: "np.ndarray") -> tuple[float, float]:
    """Return the smallest and largest value of a curve after its first 5 %."""
    import numpy as np

    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    settled = finite[min(len(finite) - 1, math.ceil(_SETTLED_SHARE * len(values))) :]
    return float(settled.min()), float(settled.max())
