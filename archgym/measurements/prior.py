"""Prior of a simulator's error: which designs share how much of it, in `data/error.json`."""

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, final

import numpy as np

from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.simulator import simulator_class, simulator_names
from archgym.files.json_types import typed
from archgym.measurements.points import SPACE, WORKLOAD, Points, Sides

PRIOR_FILE: Final = Path("data") / "error.json"
"""File of a simulator's folder that holds its prior."""
FORMAT: Final = 1
# chosen: errors of simulators without measured rows. Published models of processors, accelerators
# and memories claim 5 to 20 % against machines; half of that is shared by all designs of a
# workload, a part by designs that are nearly equal, and a measurement repeats within 2 %.
_SHARED, _OF_DESIGN, _OF_NEAREST, _NOISE = 0.10, 0.07, 0.04, 0.02
_NEAREST: Final = 0.3
_CHOSEN_TAIL: Final = 6.0
# chosen: an error beyond any that a bound of a metric could end [log].
_FREE: Final = 1e4
Origin = Literal["learned", "exact", "chosen"]


@final
@dataclass(frozen=True)
class Component:
    """Part of an error that points share.

    Two points share it if the facts `same` are equal; it fades with the distance of the numbers
    `near`, each in doublings over its length, and of the designs.

    Attributes:
      name: Short name.
      same: Facts that must be equal.
      near: Length scale by fact [doublings].
      design: Length scale of the distance of designs; None where it does not matter.
      spread: Standard deviation by quantity.
      news: Facts whose unknown values make `spread_new` count instead.
      spread_new: Standard deviation by quantity where a fact of `news` has an unknown value.
    """

    name: str
    same: tuple[str, ...] = ()
    near: Mapping[str, float] | None = None
    design: float | None = None
    spread: tuple[float, ...] = ()
    news: tuple[str, ...] = ()
    spread_new: tuple[float, ...] = ()

    def shares(self, one: Points, other: Points) -> np.ndarray:
        """Return how much of the component points share, (n, m) from 0 to 1."""
        shared = np.ones((len(one), len(other)))
        if self.same:
            codes = _codes(self.same, one, other)
            shared *= codes[0][:, None] == codes[1][None, :]
        squares = np.zeros_like(shared)
        for name, length in (self.near or {}).items():
            apart = np.log2(one.number(name))[:, None] - np.log2(other.number(name))[None, :]
            # A fact that is not known keeps nothing apart.
            squares += np.nan_to_num(apart / length) ** 2
        if self.design is not None:
            # Feature by feature: small, and the same digits for any number of designs. Points of
            # another space have none, and differ in the fact `space`.
            for mine, theirs in zip(one.position.T, other.position.T, strict=False):
                squares += ((mine[:, None] - theirs[None, :]) / self.design) ** 2
        if self.near or self.design is not None:
            root = np.sqrt(3.0 * squares)
            shared *= (1.0 + root) * np.exp(-root)
        return np.asarray(shared)

    def spreads(self, points: Points, known: Mapping[str, frozenset[str]]) -> np.ndarray:
        """Return standard deviations of points by quantity, (n, n_quantities)."""
        found = np.tile(np.array(self.spread), (len(points), 1))
        if self.spread_new:
            found[is_new(points, self.news, known)] = self.spread_new
        return found

    def covariance(
        self, one: Sides, other: Sides, known: Mapping[str, frozenset[str]]
    ) -> np.ndarray:
        """Return the covariance of the component in errors, (n, m)."""
        found = self.shares(one.points, other.points)[np.ix_(one.row, other.row)]
        found *= self.spreads(one.points, known)[one.row, one.quantity][:, None]
        found *= self.spreads(other.points, known)[other.row, other.quantity][None, :]
        return np.asarray(found)


def is_new(points: Points, names: Sequence[str], known: Mapping[str, frozenset[str]]) -> np.ndarray:
    """Return True for points with a value of these facts that is not known, (n,) bool."""
    found = np.zeros(len(points), dtype=bool)
    for name in names:
        values = known.get(name, frozenset())
        found |= np.array([text not in values for text in points.text(name)], dtype=bool)
    return found


def _codes(names: Sequence[str], *parts: Points) -> list[np.ndarray]:
    """Return a number for each point, equal where all facts are."""
    numbers: dict[tuple[str, ...], int] = {}
    found = []
    for points in parts:
        rows = zip(*(points.text(name).tolist() for name in names), strict=True)
        found.append(np.array([numbers.setdefault(row, len(numbers)) for row in rows], dtype=int))
    return found


@final
@dataclass(frozen=True)
class ErrorPrior:
    """Model of ``log(measured / simulated)`` before anything is measured.

    Attributes:
      origin: "learned" from measured rows, "exact" where these equal the simulator's numbers, or
        "chosen" by the author.
      source: Rows that it was learned from, or why it was chosen.
      quantities: Names of quantities that have errors of their own.
      metrics: Quantity of each metric, after "-" where the metric goes down as it goes up, or
        several with " * " between; others have no known error.
      components: Parts of the error.
      noise: Standard deviation of a measurement by quantity.
      correlation: (n_quantities, n_quantities), between errors of quantities.
      tail: Degrees of freedom of Student's t; small for errors with outliers.
      known: Values of facts that the simulator was calibrated with.
    """

    origin: Origin
    source: str
    quantities: tuple[str, ...]
    metrics: Mapping[str, str]
    components: tuple[Component, ...]
    noise: tuple[float, ...]
    correlation: tuple[tuple[float, ...], ...]
    tail: float
    known: Mapping[str, frozenset[str]]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ErrorPrior":
        """Return the prior in a JSON object, as `to_json` gave it."""
        return typed({k: v for k, v in data.items() if k != "format"}, cls)

    def to_json(self) -> dict[str, Any]:
        """Return the prior as JSON; `from_json` reads it."""
        parts = [{k: v for k, v in asdict(part).items() if v} for part in self.components]
        known = {name: sorted(values) for name, values in self.known.items()}
        return {"format": FORMAT, **asdict(self), "components": parts, "known": known}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides its numbers."""
        numbers = {k: v for k, v in self.to_json().items() if k != "source"}
        return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()

    def error_of(self, metric: str) -> np.ndarray | None:
        """Return how often each quantity's error is in that of a metric; None without one."""
        if metric not in self.metrics:
            return None
        found = np.zeros(len(self.quantities))
        for text in self.metrics[metric].split(" * "):
            name, sign = text.removeprefix("-"), -1.0 if text[0] == "-" else 1.0
            if name in self.quantities:
                found[self.quantities.index(name)] += sign
            else:
                found += sign * np.asarray(self.error_of(name))
        return found


def error_between(real: float, simulated: float, spec: MetricSpec) -> float | None:
    """Return the error of a simulated value, None without one: the logarithm of a factor.

    Where values may be negative, it is the difference in units of the simulated size. A measured 0
    has no logarithm: its relative difference counts, -1.
    """
    if spec.signed:
        return (real - simulated) / (abs(simulated) + spec.resolution)
    if real < 0 or simulated <= 0:
        return None
    return float(np.log(real / simulated)) if real else -1.0


def corrected(values: np.ndarray, errors: np.ndarray, spec: MetricSpec) -> np.ndarray:
    """Return what simulated values really are, given errors as `error_between` has them."""
    sizes = np.abs(values) + spec.resolution
    found = values + sizes * errors if spec.signed else values * np.exp(errors)
    return np.asarray(np.minimum(found, spec.highest))


def bounds(
    specs: Iterable[MetricSpec], values: Mapping[str, np.ndarray], prior: ErrorPrior
) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and largest error of each quantity that its metrics allow.

    A share ends at 100 %, and so do the counts and times that have its error.

    Args:
      specs: Metrics.
      values: (n,) each, simulated values by metric.
      prior: Prior of their errors.

    Returns:
      (n, n_quantities) each.
    """
    n, width = len(next(iter(values.values()))), len(prior.quantities)
    low, high = np.full((n, width), -_FREE), np.full((n, width), _FREE)
    for spec in specs:
        parts = prior.error_of(spec.name)
        if parts is None or spec.signed or np.abs(parts).sum() != 1 or spec.name not in values:
            continue
        most = np.minimum(spec.highest, values.get(spec.below, np.inf))
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(values[spec.name] > 0, np.log(most / values[spec.name]), np.inf)
        at = int(np.flatnonzero(parts)[0])
        if parts[at] > 0:
            high[:, at] = np.fmin(high[:, at], np.maximum(room, 0.0))
        else:
            low[:, at] = np.fmax(low[:, at], -np.maximum(room, 0.0))
    return low, high


def with_signs(
    specs: Sequence[MetricSpec], values: Mapping[str, Sequence[float]]
) -> tuple[MetricSpec, ...]:
    """Return metrics, positive where nobody declared a sign and no known value is 0 or below.

    Args:
      specs: Metrics.
      values: Known values by metric, simulated and measured.
    """
    return tuple(
        replace(s, signed=False)
        if s.is_undeclared and min(values.get(s.name, ()), default=1.0) > 0
        else s
        for s in specs
    )


def may_be_wrong(spec: MetricSpec, values: np.ndarray) -> bool:
    """Return True for values that have an error, known or not; costs of 0 have none."""
    is_free = spec.goal == "minimise" and not values.any()
    return spec.formula is None and not spec.exact and not is_free


def chosen_prior(metrics: Sequence[MetricSpec], why: str) -> ErrorPrior:
    """Return the prior of a simulator whose error nobody has measured.

    Args:
      metrics: Metrics of the simulator. Each that matters and is neither exact, derived nor tied
        to another has an own error.
      why: Reason, in words.
    """
    modelled = [s for s in metrics if s.goal != "none" and s.formula is None and not s.exact]
    present = {spec.name for spec in modelled}
    tied: dict[str, str] = {}
    for spec in modelled:
        factors = [text for text in spec.tied.split(" * ") if text.removeprefix("-") in present]
        tied |= {spec.name: " * ".join(factors)} if factors else {}
    names = [spec.name for spec in modelled if spec.name not in tied]
    n = len(names)
    return ErrorPrior(
        "chosen",
        why,
        tuple(names),
        # Products last: they say what their factors leave open.
        {name: name for name in names} | dict(sorted(tied.items(), key=lambda e: "*" in e[1])),
        (
            Component("workload", (SPACE, WORKLOAD), spread=(_SHARED,) * n),
            Component("design", (SPACE, WORKLOAD), design=1.0, spread=(_OF_DESIGN,) * n),
            Component("nearest", (SPACE, WORKLOAD), design=_NEAREST, spread=(_OF_NEAREST,) * n),
        ),
        (_NOISE,) * n,
        tuple(tuple(float(i == j) for j in range(n)) for i in range(n)),
        _CHOSEN_TAIL,
        {},
    )


def shipped_prior(name: str, specs: Sequence[MetricSpec]) -> ErrorPrior | None:
    """Return the prior that ships with a simulator; None where it has none for its metrics."""
    if name not in simulator_names():
        return None
    module = sys.modules[simulator_class(name).__module__]
    path = Path(module.__file__ or "").parent / PRIOR_FILE
    if not path.is_file():
        return None
    shipped = ErrorPrior.from_json(json.loads(path.read_text("utf-8")))
    if not set(shipped.metrics) & {spec.name for spec in specs}:
        return None
    if shipped.origin == "exact":
        return shipped
    tied = {s.name: s.tied for s in specs if s.tied.removeprefix("-") in shipped.metrics}
    return replace(shipped, metrics={**shipped.metrics, **tied, **shipped.metrics})
