"""Advice from a model of a study's results: designs worth evaluating, and what is known of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

from archgym.spaces.design import Design


@final
@dataclass(frozen=True)
class Prediction:
    """A metric as a model predicts it, with the interval that holds it with 90 %."""

    value: float
    low: float
    high: float


@final
@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A design with what a model expects of it."""

    design: Design
    is_own: bool
    """True for a design that the user asked about."""
    metrics: Mapping[str, Prediction]
    """By name: metrics of the objective and of the limits, as means over the workloads."""
    limits: Mapping[str, float]
    """Probability of meeting each limit."""
    built: float
    """Probability that the design can be built."""
    better: float
    """Probability that it meets all limits and beats the best design so far."""
    extrapolated: bool
    """True if it is so far from all results that its intervals could not be tried on them."""
    novelty: float
    """Uncertainty of the objective, as a share of the spread of results: near 1 the model knows
    nothing of such designs."""


@final
@dataclass(frozen=True, kw_only=True)
class Advice:
    """Designs worth evaluating next, the most promising one first."""

    suggestions: tuple[Suggestion, ...]
    importance: Mapping[str, float]
    """By parameter, the range of the predicted objective when it alone changes from the best
    design, the largest first; in logarithms, so that 0.1 is some 10 %."""
    unseen: Mapping[str, tuple[Any, ...]]
    """Values that no evaluated design has, for parameters of few values."""
    evaluations: int
    """Results that the model learned from."""

    def to_json(self) -> dict[str, Any]:
        """Return the advice as data."""
        return {
            "evaluations": self.evaluations,
            "suggestions": [
                {
                    **{k: v for k, v in vars(each).items() if k not in ("design", "metrics")},
                    "limits": dict(each.limits),
                    "design": dict(each.design),
                    "metrics": {name: asdict(found) for name, found in each.metrics.items()},
                }
                for each in self.suggestions
            ],
            "importance": dict(self.importance),
            "unseen": {name: list(values) for name, values in self.unseen.items()},
        }
