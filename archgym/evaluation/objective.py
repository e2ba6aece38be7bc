"""Objectives: from metrics to a reward that is larger-is-better, one-sided and finite."""

import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, cast, final

import numpy as np

from archgym.errors import InvalidArgumentError, unknown_name
from archgym.evaluation.limits import Limit, check_limits, limited, parse_limits, violations
from archgym.evaluation.metrics import MetricSpec, growth
from archgym.runtime.reductions import report_loss

REWARD_LIMIT = 20.0
INFEASIBLE_REWARD = -25.0

TermGoal = Literal["minimise", "maximise", "at-most", "at-least", "archgym-2023"]
_TERM_GOALS = ("minimise", "maximise", "at-most", "at-least", "archgym-2023")


@final
@dataclass(frozen=True)
class Term:
    """One metric's part in an objective.

    With `ref` the default design's value and `r` the metric's resolution, a term is worth

    - minimise: ``log((ref + r) / (x + r))``; maximise: its negative;
    - at-most `target` T: ``min(0, log((T + r) / (x + r)))``; at-least: ``min(0, log((x + r) /
      (T + r)))``; both 0 where the target is met;
    - archgym-2023: ``T / |x - T|``, with its pole at x = T cut off at e^20.

    Each logarithm is clipped to ±20. Values or references below 0 count as `growth` says, and a
    value below 0 that is minimised is worth up to 40.

    Example:
      >>> Term("power_mw", "at-most", target=50.0).reward(
      ...     np.array([40.0, 100.0]), reference=80.0, resolution=0.1
      ... ).round(3).tolist()
      [0.0, -0.692]
    """

    metric: str
    goal: TermGoal
    weight: float = 1.0
    target: float | None = None

    def __post_init__(self) -> None:
        needs_target = self.goal not in ("minimise", "maximise")
        if self.goal not in _TERM_GOALS or not (_is_finite(self.weight) and self.weight > 0):
            raise InvalidArgumentError(
                f"A term on `{self.metric}` needs a goal of {', '.join(_TERM_GOALS)} and a weight "
                f"above 0; got {self.goal!r}, {self.weight!r}."
            )
        if needs_target != (self.target is not None and _is_finite(self.target)):
            raise InvalidArgumentError(
                f"A term on `{self.metric}` takes a finite `target` exactly with the goals "
                f"at-most, at-least and archgym-2023; got {self.goal!r}, {self.target!r}."
            )

    def reward(self, x: np.ndarray, reference: float, resolution: float) -> np.ndarray:
        """Return worth of values `x`, (n,), NaN where `x` is."""
        worth: np.ndarray
        highest: float | np.ndarray = REWARD_LIMIT
        target = 0.0 if self.target is None else self.target
        with np.errstate(divide="ignore", invalid="ignore"):
            match self.goal:
                case "minimise":
                    worth = np.log((reference + resolution) / (x + resolution))
                case "maximise":
                    worth = np.log((x + resolution) / (reference + resolution))
                case "at-most":
                    worth = np.minimum(0.0, np.log((target + resolution) / (x + resolution)))
                case "at-least":
                    worth = np.minimum(0.0, np.log((x + resolution) / (target + resolution)))
                case _:
                    pole = math.exp(REWARD_LIMIT)
                    return np.asarray(np.minimum(np.abs(target) / np.abs(x - target), pole))
        base = reference if self.target is None else self.target
        is_signed = x < 0 if base >= 0 else np.isfinite(x)
        if is_signed.any():
            grown = growth(x, base, resolution)
            signed = grown if self.goal in ("maximise", "at-least") else -grown
            worth = np.where(
                is_signed, signed if self.target is None else np.minimum(0.0, signed), worth
            )
            highest = np.where(is_signed, 2 * REWARD_LIMIT, REWARD_LIMIT)
        is_beyond = (worth > highest) | (worth < -REWARD_LIMIT)
        if is_beyond.any():
            # Without the number of designs, so that a search reports it once for each metric.
            report_loss(
                f"Rewards of `{self.metric}` beyond {REWARD_LIMIT:g} (a factor of e^20 to the "
                f"default or target) count as {REWARD_LIMIT:g}: such designs are not told apart."
            )
        return np.asarray(np.clip(worth, -REWARD_LIMIT, highest))


def _is_finite(number: object) -> bool:
    if isinstance(number, bool) or not isinstance(number, int | float):
        return False
    return -sys.float_info.max <= number <= sys.float_info.max


@final
@dataclass(frozen=True)
class Objective:
    """A named sum of terms whose weights are scaled to sum to 1.

    Terms of the published form "archgym-2023" multiply instead, as that code does, and stand
    alone: they have a pole at their target and are symmetric round it, so a design that beats the
    target by as much as another misses it is worth the same. They are here for comparison.

    Simulators declare objectives by name, and `objective_from_text` makes others. A task holds
    one and calls `reward` for every batch, with the default design's metrics as the reference.

    Example:
      >>> from archgym.evaluation.metrics import MetricSpec
      >>> metrics = (
      ...     MetricSpec("time_ns", "ns", "minimise", 0.1, "Time."),
      ...     MetricSpec("power_mw", "mW", "minimise", 0.1, "Power."),
      ... )
      >>> fast = Objective("fast", (Term("time_ns", "minimise", 3.0), Term("power_mw", "minimise")))
      >>> values = np.array([[100.0, 50.0], [50.0, 100.0]])
      >>> fast.reward(values, values[0], metrics, np.zeros(2, dtype=np.int16)).round(3).tolist()
      [0.0, 0.346]
    """

    name: str
    terms: tuple[Term, ...]
    doc: str = ""
    limits: tuple[Limit, ...] = ()
    """Hard limits: a design that meets all of them ranks above every one that does not."""

    def __post_init__(self) -> None:
        published = {term.goal == "archgym-2023" for term in self.terms}
        if not isinstance(self.name, str) or not self.terms or len(published) > 1:
            raise InvalidArgumentError(
                f"Objective {self.name!r} needs a text as its name and terms, all or none of them "
                f"archgym-2023; got {self.terms!r}."
            )

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics of its terms, then of its limits, each once."""
        named = [*(term.metric for term in self.terms), *(limit.metric for limit in self.limits)]
        return tuple(dict.fromkeys(named))

    @property
    def is_published_form(self) -> bool:
        """True if its terms are of the form of the published ArchGym."""
        return self.terms[0].goal == "archgym-2023"

    def reward(
        self,
        values: np.ndarray,
        reference: np.ndarray,
        specs: Sequence[MetricSpec],
        reason: np.ndarray,
    ) -> np.ndarray:
        """Return the rewards of many designs.

        Args:
          values: (n, n_metrics), in the units of `specs`.
          reference: (n_metrics,), the default design's.
          specs: The metrics.
          reason: (n,), 0 where the design was built.

        Returns:
          (n,) float64, finite; -25 where `reason` is not 0.
        """
        weights = np.array([term.weight for term in self.terms])
        worth = self._worth(values, reference, specs)
        if self.is_published_form:
            total = np.minimum(worth.prod(axis=0), math.exp(REWARD_LIMIT))
        else:
            # Weight by weight in a fixed order, so that a row's sum never depends on the batch.
            total = np.zeros(len(values))
            for row, weight in enumerate(weights / weights.sum()):
                total += weight * worth[row]
        return np.where((reason == 0) & np.isfinite(total), total, INFEASIBLE_REWARD)

    def term_rewards(
        self,
        values: np.ndarray,
        reference: np.ndarray,
        specs: Sequence[MetricSpec],
        reason: np.ndarray,
    ) -> np.ndarray:
        """Return the rewards of many designs, term by term and without weights.

        Args:
          values: As for `reward`; so are the others.
          reference: (n_metrics,).
          specs: The metrics.
          reason: (n,).

        Returns:
          (n, n_terms) float64, finite; -25 where `reason` is not 0.
        """
        worth = self._worth(values, reference, specs).T
        return np.where((reason == 0)[:, None] & np.isfinite(worth), worth, INFEASIBLE_REWARD)

    def rewards(
        self,
        values: np.ndarray,
        reason: np.ndarray,
        reference: np.ndarray,
        specs: Sequence[MetricSpec],
        weights: np.ndarray,
    ) -> np.ndarray:
        """Return rewards of designs over several workloads, limits included, (n,).

        Args:
          values: (n, n_workloads, n_metrics), NaN where a design was not built.
          reason: (n, n_workloads), 0 where the design was built.
          reference: (n_workloads, n_metrics), the default design's.
          specs: Metrics of the columns.
          weights: (n_workloads,), summing to 1.
        """
        total = np.zeros(len(values))
        for place, weight in enumerate(weights):
            total += weight * self.reward(
                values[:, place], reference[place], specs, reason[:, place]
            )
        return self._limited(total, values, reason, specs)

    def weighted_terms(
        self,
        values: np.ndarray,
        reason: np.ndarray,
        reference: np.ndarray,
        specs: Sequence[MetricSpec],
        weights: np.ndarray,
    ) -> np.ndarray:
        """Return rewards term by term over several workloads, limits included, (n, n_terms).

        Args:
          values: As for `rewards`; so are the others.
          reason: (n, n_workloads).
          reference: (n_workloads, n_metrics).
          specs: Metrics of the columns.
          weights: (n_workloads,).
        """
        total = np.zeros((len(values), len(self.terms)))
        for place, weight in enumerate(weights):
            total += weight * self.term_rewards(
                values[:, place], reference[place], specs, reason[:, place]
            )
        return self._limited(total, values, reason, specs)

    def _limited(
        self,
        rewards: np.ndarray,
        values: np.ndarray,
        reason: np.ndarray,
        specs: Sequence[MetricSpec],
    ) -> np.ndarray:
        if self.limits:
            rewards = limited(rewards, violations(self.limits, values, specs), INFEASIBLE_REWARD)
        # Weights that sum to 1 but for rounding must not blur the reward of a failure.
        rewards[(reason != 0).all(axis=1)] = INFEASIBLE_REWARD
        return rewards

    def _worth(
        self, values: np.ndarray, reference: np.ndarray, specs: Sequence[MetricSpec]
    ) -> np.ndarray:
        """Return the reward of each term, (n_terms, n), NaN where a value is NaN."""
        place = {spec.name: number for number, spec in enumerate(specs)}
        worth = np.empty((len(self.terms), len(values)))
        for row, term in enumerate(self.terms):
            if term.metric not in place:
                raise unknown_name("metric", term.metric, place)
            column = place[term.metric]
            # Strided and contiguous logarithms may differ in the last bit, and a single row counts
            # as contiguous: copy, so that a reward never depends on the batch.
            x = np.ascontiguousarray(values[:, column])
            worth[row] = term.reward(x, float(reference[column]), specs[column].resolution)
        return worth

    def to_json(self) -> dict[str, Any]:
        """Return the objective as JSON; `objective_from_json` reads it."""
        data: dict[str, Any] = {"name": self.name, "doc": self.doc}
        data["terms"] = [asdict(term) for term in self.terms]
        if self.limits:
            data["limits"] = [asdict(limit) for limit in self.limits]
        return data

    def as_text(self) -> str | None:
        """Return the text of the terms, such as ``minimise:2*latency_ns+area_mm2;target:ipc>=2``.

        `parse_objective` reads it. None for terms in another order, or of the published form.
        """
        groups: dict[str, list[str]] = {goal: [] for goal in _JOINED}
        order = []
        for term in self.terms:
            goal = "target" if term.goal in _SIGNS else term.goal
            if goal not in groups:
                return None
            order.append(list(groups).index(goal))
            weight = "" if term.weight == 1.0 else f"{weight_text(term.weight)}*"
            bound = "" if term.target is None else _SIGNS[term.goal] + weight_text(term.target)
            groups[goal].append(f"{weight}{term.metric}{bound}")
        if order != sorted(order):
            return None
        text = ";".join(f"{goal}:{_JOINED[goal].join(m)}" for goal, m in groups.items() if m)
        limits = ",".join(str(limit).replace(" ", "") for limit in self.limits)
        return f"{text}[{limits}]" if limits else text

    def has_same_meaning(self, other: "Objective") -> bool:
        """Return True if another objective has the same terms and limits, whatever its name."""
        return self.terms == other.terms and set(self.limits) == set(other.limits)


def objective_from_json(data: Mapping[str, Any]) -> Objective:
    """Return objective from what `Objective.to_json` gave.

    Raises:
      InvalidArgumentError: `data` is not such an object.
    """
    try:
        terms = tuple(Term(**term) for term in data["terms"])
        limits = tuple(Limit(**limit) for limit in data.get("limits", ()))
        return Objective(str(data["name"]), terms, str(data.get("doc", "")), limits)
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidArgumentError(
            f"An objective must have a name and terms; {type(error).__name__}: {error}. "
            "Write it with `Objective.to_json`."
        ) from None


_SIGNS: Final = {"at-most": "<=", "at-least": ">="}
# What separates the terms of each goal in a text.
_JOINED: Final = {"minimise": "+", "maximise": "+", "target": ","}
_TERM: Final = re.compile(
    r"\s*(?:(?P<weight>[\d.e-]+)\s*\*)?\s*(?P<metric>.+?)\s*"
    r"(?:(?P<sign><=|>=)\s*(?P<value>[-+.\deE]+)\s*)?"
)


def weight_text(weight: float) -> str:
    """Return a weight as short as it can be read back, without a plus, which separates names."""
    short = f"{weight:g}"
    return (short if float(short) == weight else repr(weight)).replace("e+", "e")


def _term(goal: str, text: str, specs: Sequence[MetricSpec]) -> Term:
    """Return the term of a text such as ``latency_ns``, ``2*latency_ns`` or ``power_mw<=1500``."""
    is_signed = {spec.name: spec.signed for spec in specs}
    match, is_target = _TERM.fullmatch(text), goal == "target"
    given = {"metric": text} if match is None else match.groupdict()
    name, sign = str(given["metric"]), given.get("sign")
    if name not in is_signed and (sign is not None or not is_target):
        raise unknown_name("metric", name, is_signed)
    low = -math.inf if is_signed.get(name) else 0.0
    weight, value = math.nan, None
    with suppress(ValueError):
        weight = float(given.get("weight") or 1.0)
        value = None if sign is None else float(given["value"])
    is_bound = value is not None and low <= value < math.inf
    if not (is_bound if is_target else sign is None) or not 0 < weight < math.inf:
        form = (
            "`metric<=number` or `metric>=number`, the number 0 or more where the metric is, such "
            "as target:total_time_ns<=90000,power_mw<=1500"
            if is_target
            else "`metric` or `2*metric`, with a weight above 0; limits belong in `subject_to`"
        )
        raise InvalidArgumentError(f"A {goal} term must read {form}; got {text!r}.")
    if is_target:
        goal = "at-most" if sign == "<=" else "at-least"
    return Term(name, cast("TermGoal", goal), weight, value)


def subject_to(
    objective: Objective, texts: str | Iterable[str], specs: Sequence[MetricSpec]
) -> Objective:
    """Return an objective with further limits, which its name shows.

    Args:
      objective: Objective with or without limits.
      texts: Predicates such as ``"area_mm2 <= 5"``; see `parse_limits`.
      specs: Metrics of the simulator.

    Raises:
      InvalidArgumentError: A predicate does not fit, or limits contradict each other.
      UnknownNameError: A metric does not exist.
    """
    return with_limits(objective, (*objective.limits, *parse_limits(texts, specs)), specs)


def with_limits(
    objective: Objective, limits: Iterable[Limit], specs: Sequence[MetricSpec]
) -> Objective:
    """Return an objective with other limits, each once, which its name shows.

    Raises:
      InvalidArgumentError: Limits contradict each other.
    """
    # By their texts, which names of tasks have: a bound of the simulator may have more digits.
    merged: dict[str, Limit] = {}
    for limit in limits:
        merged.setdefault(str(limit), limit)
    kept = tuple(merged.values())
    check_limits(kept, specs)
    base = objective.name.partition("[")[0]
    shown = ",".join(str(limit).replace(" ", "") for limit in kept)
    return replace(objective, name=f"{base}[{shown}]", limits=kept)


def objective_of(
    minimise: Sequence[str], maximise: Sequence[str], specs: Sequence[MetricSpec]
) -> Objective:
    """Return the objective that minimises and maximises metrics, of equal weight unless given.

    Raises:
      InvalidArgumentError: No metric is named, or one is named twice.
      UnknownNameError: A metric does not exist.
    """
    texts = {"minimise": list(minimise), "maximise": list(maximise)}
    terms = [_term(goal, text, specs) for goal, several in texts.items() for text in several]
    if not terms or len({term.metric for term in terms}) != len(terms):
        raise InvalidArgumentError(
            "`minimise` and `maximise` must name one or more metrics, each once; got "
            f"{[*minimise, *maximise]!r}."
        )
    name = ";".join(f"{goal}:{'+'.join(several)}" for goal, several in texts.items() if several)
    doc = "Metrics of equal weight." if {term.weight for term in terms} == {1.0} else ""
    return Objective(name, tuple(terms), doc)


def parse_objective(text: str, specs: Sequence[MetricSpec]) -> Objective:
    """Return the objective of a text such as ``minimise:latency_ns+2*area_mm2;target:ipc>=1``.

    Raises:
      InvalidArgumentError: The text has another form.
      UnknownNameError: A metric does not exist.
    """
    found: dict[str, list[str]] = {goal: [] for goal in _JOINED}
    for part in text.split(";"):
        goal, colon, names = part.partition(":")
        if goal not in found or not colon:
            raise InvalidArgumentError(
                "An objective must read minimise:METRIC+…;maximise:METRIC+…;target:METRIC<=…,…; "
                f"got {text!r}."
            )
        found[goal] += names.split(_JOINED[goal])
    targets = tuple(_term("target", each, specs) for each in found["target"])
    if targets and not (found["minimise"] or found["maximise"]):
        return Objective(text, targets, "Targets met are worth 0, missed ones less.")
    others = objective_of(found["minimise"], found["maximise"], specs)
    return replace(others, name=text, terms=(*others.terms, *targets)) if targets else others


# chosen: nobody gives twice the time, or twice the power, for a gain elsewhere; a larger margin
# would let a front's ends outweigh its middle.
_MARGIN = math.log(2.0)


def reference_point(
    objective: Objective, reference: np.ndarray, specs: Sequence[MetricSpec], weights: np.ndarray
) -> np.ndarray:
    """Return the worst corner of a task's hypervolume, which follows from the task alone.

    It is what a design has that is twice as bad as the default design in every metric: the default
    design's terms less log 2. A front's part beyond it, worse in any metric, does not count.
    In the published form, whose terms are not logarithms, it is 0, which no term goes below.

    Args:
      objective: The task's.
      reference: (n_workloads, n_metrics), the default design's metrics: `Task.reference`.
      specs: The metrics.
      weights: (n_workloads,), summing to 1: `Task.weights`.

    Returns:
      (n_terms,).
    """
    if objective.is_published_form:
        return np.zeros(len(objective.terms))
    built = np.zeros(1, dtype=np.int16)
    terms = [objective.term_rewards(row[None, :], row, specs, built)[0] for row in reference]
    corner: np.ndarray = np.asarray(weights) @ np.array(terms) - _MARGIN
    return corner
