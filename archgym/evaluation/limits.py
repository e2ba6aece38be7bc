"""Hard limits on metrics, such as ``area_mm2 <= 5``: parsing, violations and the order they give.

A design that meets all limits ranks above every design that misses one. Among designs that miss
limits, the smaller normalised violation ranks higher. A design that cannot be built ranks last.
Rewards encode this order, so that agents, tables, fronts and reports agree on it.
"""

import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import numpy as np

from archgym.errors import InvalidArgumentError, unknown_name
from archgym.evaluation.metrics import MetricSpec

LIMITED_REWARD = -20.0
"""Upper bound of the rewards of designs that miss a limit."""
# chosen: rewards of designs that miss a limit lie between -20 and -25, the unbuildable design's.
_SPAN = 5.0
_LIMIT = re.compile(
    r"\s*(?P<metric>[A-Za-z_][\w.]*)\s*(?P<sign><=|>=|==?|<|>)\s*(?P<bound>[-+.\deE]+|inf)"
    r"\s*(?P<unit>\S.*?)?\s*"
)
_PREFIXES: Final[Mapping[str, float]] = {
    "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3, "": 1.0,
    "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40,
}  # fmt: skip
_BASES: Final = ("Hz", "W", "J", "s", "B", "bit", "m2", "m")
_UNIT: Final = re.compile(rf"(?P<prefix>[pnumkKMGTµ]?i?)(?P<base>{'|'.join(_BASES)})")
_PLAIN: Final[Mapping[str, tuple[str, float]]] = {
    "min": ("s", 60.0), "h": ("s", 3600.0), "bytes": ("B", 1.0), "%": ("%", 1.0),
    "percent": ("%", 1.0), "$": ("$", 1.0), "dollars": ("$", 1.0),
    "k$": ("$", 1e3), "M$": ("$", 1e6),
}  # fmt: skip


@final
@dataclass(frozen=True)
class Limit:
    """A bound on one metric that a design must meet on every workload.

    Example:
      >>> str(Limit("area_mm2", "<=", 5.0))
      'area_mm2 <= 5'
    """

    metric: str
    sign: Literal["<=", ">="]
    bound: float

    def __post_init__(self) -> None:
        is_number = isinstance(self.bound, int | float | np.number) and math.isfinite(self.bound)
        if self.sign not in ("<=", ">=") or not isinstance(self.metric, str) or not is_number:
            raise InvalidArgumentError(
                "A limit must be a metric, a sign of <= or >=, and a finite number, such as "
                f'Limit("area_mm2", "<=", 5.0); got {self.metric!r}, {self.sign!r}, '
                f"{self.bound!r}."
            )

    def __str__(self) -> str:
        return f"{self.metric} {self.sign} {self.bound:.12g}"

    def holds_in(self, limits: "Iterable[Limit]") -> bool:
        """Return True if one of these limits is the same or tighter."""
        tighter = {"<=": operator.le, ">=": operator.ge}[self.sign]
        return any(
            (limit.metric, limit.sign) == (self.metric, self.sign)
            and tighter(limit.bound, self.bound)
            for limit in limits
        )

    def violation(self, values: np.ndarray, resolution: float) -> np.ndarray:
        """Return the violation of values, relative to the bound: 0 where the limit is met.

        Args:
          values: Values of the metric, any shape.
          resolution: Resolution of the metric, which keeps the result finite for a bound of 0.
        """
        excess = values - self.bound if self.sign == "<=" else self.bound - values
        return np.maximum(excess, 0.0) / (abs(self.bound) + resolution)


def parse_limits(
    texts: str | Iterable[str],
    specs: Sequence[MetricSpec],
    parameters: Sequence[str] = (),
    *,
    name: str = "limits",
) -> tuple[Limit, ...]:
    """Return limits from predicates such as ``"area_mm2 <= 5, p99_latency_ns <= 200"``.

    Args:
      texts: One or several texts; each may hold several predicates joined by commas. A predicate
        may end in the metric's unit.
      specs: Metrics of the simulator.
      parameters: Names of parameters, which are refused as such.
      name: Argument that the texts were given as.

    Raises:
      InvalidArgumentError: A predicate has another form or unit, cannot be met, or contradicts
        another one.
      UnknownNameError: A metric does not exist.
    """
    parts = listed_texts(name, texts, "area_mm2 <= 5")
    limits = [_parsed(part, specs, parameters) for text in parts for part in text.split(",")]
    found = tuple(dict.fromkeys(limits))
    check_limits(found, specs)
    return found


def listed_texts(name: str, texts: Any, example: str) -> list[str]:
    """Return one text or several as a list, none for None, and refuse all else."""
    if texts is None:
        return []
    parts = [texts] if isinstance(texts, str) or not isinstance(texts, Iterable) else list(texts)
    if not all(isinstance(part, str) for part in parts):
        raise InvalidArgumentError(
            f"`{name}` must be texts such as {example!r}, one or a list; got {texts!r}."
        )
    return parts


def split_limits(
    texts: str | Sequence[str] | None, units: Mapping[str, str]
) -> tuple[list[str], dict[str, list[str]]]:
    """Return the limits on metrics, and those on parameters by the parameter.

    Args:
      texts: As for `parse_limits`; None for no limits.
      units: Units by parameter; none has the name of a metric.

    Raises:
      InvalidArgumentError: A limit on a parameter has another form or unit.
    """
    has_none = isinstance(texts, str) and not texts
    parts = listed_texts("subject_to", () if has_none else texts, "area_mm2 <= 5")
    on_metrics: list[str] = []
    on_parameters: dict[str, list[str]] = {}
    for text in (piece for part in parts for piece in part.split(",")):
        match = _LIMIT.fullmatch(text)
        if match is None or match["metric"] not in units:
            on_metrics.append(text)
        elif match["sign"] in ("<=", ">=", "==", "="):
            bound = match["bound"]
            if match["unit"]:
                bound = repr(_converted(match, units[match["metric"]]))
            on_parameters.setdefault(match["metric"], []).append(match["sign"] + bound)
        else:
            raise InvalidArgumentError(
                f"A limit on parameter `{match['metric']}` must be `<= number`, `>= number` or "
                f"`= number`; got {text.strip()!r}."
            )
    return on_metrics, on_parameters


def _converted(match: "re.Match[str]", unit: str) -> float:
    """Return the bound of a limit in another unit than it is stated in.

    Raises:
      InvalidArgumentError: The units measure different things, or several limits were joined.
    """
    if re.search(r"[<>=;&]", match["unit"]):
        raise InvalidArgumentError(
            f"Several limits must be separated by commas, as in 'area_mm2 <= 5, power_mw <= 900'; "
            f"got {match.string.strip()!r}."
        )
    factor = 1.0 if match["unit"] == unit else unit_factor(match["unit"], unit)
    try:
        bound = float(match["bound"])
    except ValueError:
        bound = math.nan
    if factor is None or not math.isfinite(bound):
        raise InvalidArgumentError(
            f"A limit on `{match['metric']}` must be in {unit or 'no unit'}; got "
            f"{match.string.strip()!r}. Convert the number and leave the unit out."
        )
    # Twelve digits, so that 171 us are 171,000 ns and not a little less.
    return float(f"{bound * factor:.12g}")


def _parsed(text: str, specs: Sequence[MetricSpec], parameters: Sequence[str]) -> Limit:
    match = _LIMIT.fullmatch(text)
    try:
        bound = float(match["bound"]) if match else math.nan
    except ValueError:
        bound = math.nan
    if match is None or not math.isfinite(bound) or match["sign"] not in ("<=", ">="):
        raise InvalidArgumentError(
            f"A limit must read `metric <= number` or `metric >= number`; got {text.strip()!r}. "
            "Write for instance area_mm2 <= 5."
        )
    known = {spec.name: spec for spec in specs}
    if match["metric"] in parameters:
        raise InvalidArgumentError(
            f"This limit must be on a metric; `{match['metric']}` is a parameter. Only "
            "`subject_to` takes those."
        )
    if match["metric"] not in known:
        raise unknown_name("metric", match["metric"], known)
    unit = known[match["metric"]].unit
    if match["unit"]:
        bound = _converted(match, unit)
    spec = known[match["metric"]]
    if match["sign"] == "<=" and bound < 0 and spec.goal != "none" and not spec.signed:
        raise InvalidArgumentError(
            f"A limit must be one that a design can meet; got {text.strip()!r}, and "
            f"`{match['metric']}` is 0 or more."
        )
    return Limit(match["metric"], "<=" if match["sign"] == "<=" else ">=", bound)


def check_limits(
    limits: Sequence[Limit], specs: Sequence[MetricSpec], *, once: bool = False
) -> None:
    """Refuse limits on unknown metrics and limits that contradict each other.

    With `once`, two of one metric and sign are refused too; recorded tasks may have them.

    Raises:
      InvalidArgumentError: No value can meet two of the limits.
      UnknownNameError: A metric does not exist.
    """
    known = [spec.name for spec in specs]
    for limit in limits:
        if limit.metric not in known:
            raise unknown_name("metric", limit.metric, known)
        for other in limits:
            is_same = (limit.metric, limit.sign) == (other.metric, other.sign)
            if once and is_same and limit != other:
                raise InvalidArgumentError(
                    f"Limits must be one of a kind; got {limit} and {other}. Remove one."
                )
            is_pair = limit.metric == other.metric and (limit.sign, other.sign) == ("<=", ">=")
            if is_pair and limit.bound < other.bound:
                raise InvalidArgumentError(
                    f"Limits must not contradict each other; got {limit} and {other}. Remove one."
                )


def violations(
    limits: Sequence[Limit], values: np.ndarray, specs: Sequence[MetricSpec]
) -> np.ndarray:
    """Return the normalised violation of designs, 0 where all limits are met.

    Violations of several limits add up; over several workloads the largest counts.

    Args:
      limits: The limits.
      values: (n, n_workloads, n_metrics), in the units of `specs`.
      specs: Metrics of the columns.

    Returns:
      (n,) float64; NaN for designs that were not built on some workload.
    """
    columns = {spec.name: column for column, spec in enumerate(specs)}
    total = np.zeros(len(values))
    for limit in limits:
        column = columns[limit.metric]
        found = limit.violation(values[:, :, column], specs[column].resolution)
        total += found.max(axis=1)
    return total


def limited(rewards: np.ndarray, violation: np.ndarray, worst: float) -> np.ndarray:
    """Return rewards in which designs that miss limits rank below all others.

    Args:
      rewards: (n,) or (n, n_terms), at least -20 for designs that were built.
      violation: (n,), as from `violations`.
      worst: Reward of a design that was not built on some workload.
    """
    below = LIMITED_REWARD - _SPAN * violation / (1.0 + violation)
    if rewards.ndim == 2:
        violation, below = violation[:, None], below[:, None]
    return np.where(np.isnan(violation), worst, np.where(violation > 0, below, rewards))


def missed_limits(
    limits: Sequence[Limit], metrics: Mapping[str, float] | Iterable[Mapping[str, float]]
) -> list[str]:
    """Return the limits that a design misses in words, such as ``mean_latency_ns 79.6 > 60``.

    Args:
      limits: The limits.
      metrics: Metrics of the design by name, on one workload or on each of several.
    """
    each = [metrics] if isinstance(metrics, Mapping) else list(metrics)
    found = []
    for limit in limits:
        values = [float(one[limit.metric]) for one in each]
        worst = max(values) if limit.sign == "<=" else min(values)
        is_missed = worst > limit.bound if limit.sign == "<=" else worst < limit.bound
        if is_missed:
            sign = ">" if limit.sign == "<=" else "<"
            found.append(f"{limit.metric} {worst:.6g} {sign} {limit.bound:.12g}")
    return found


def unit_factor(given: str, wanted: str) -> float | None:
    """Return the factor from one unit to another, or None if they measure different things.

    Prefixes of ten and of two are known, squares of lengths, and quotients such as GB/s.

    Args:
      given: Unit of a number.
      wanted: Unit to convert it to.

    Example:
      >>> unit_factor("us", "ns"), unit_factor("GiB", "MiB"), unit_factor("W", "ns")
      (1000.0, 1024.0, None)
    """
    parts = given.replace("²", "2").split("/"), wanted.replace("²", "2").split("/")
    if len(parts[0]) != len(parts[1]):
        return None
    factor = 1.0
    for place, (one, other) in enumerate(zip(*parts, strict=True)):
        if one == other:
            continue
        mine, theirs = _in_base(one), _in_base(other)
        if mine is None or theirs is None or mine[0] != theirs[0]:
            return None
        ratio = mine[1] / theirs[1]
        factor = factor * ratio if place == 0 else factor / ratio
    # Without the rounding of powers of ten.
    return float(f"{factor:.12g}")


def _in_base(unit: str) -> tuple[str, float] | None:
    """Return the base of a unit and the factor to it, or None for an unknown one."""
    unit = unit.strip()
    if unit in _PLAIN:
        return _PLAIN[unit]
    match = _UNIT.fullmatch(unit)
    if match is None or match["prefix"] not in _PREFIXES:
        return None
    power = 2 if match["base"] == "m2" else 1
    return match["base"], _PREFIXES[match["prefix"]] ** power
