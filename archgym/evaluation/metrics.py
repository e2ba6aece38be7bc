"""Metrics of a simulator: names, units, directions that are better, and values."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np

from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    from archgym.spaces.expression import Expression

Goal = Literal["minimise", "maximise", "none"]


@final
@dataclass(frozen=True)
class MetricSpec:
    """One metric of a simulator.

    Attributes:
      name: Name of the metric; a bare number's name ends in its unit.
      unit: Unit, empty for a count.
      goal: Direction that is better; "none" for a metric that only explains.
      resolution: Smallest meaningful difference in the metric's unit, above 0. It keeps rewards
        finite where a value is 0.
      doc: One line of documentation.
      formula: Expression of other metrics that gives the values of a derived metric; the simulator
        does not return such a metric.
      identifies: True if the metric is part of a task's identity. By default a metric that only
        explains is not, so that adding one leaves recorded studies, tables and datasets valid.
      signed: True if values may be negative, such as a slack or a profit.
      highest: Largest possible value, such as 100 of a share in percent; intervals end there.
      below: Metric that is never smaller, such as an optimum; intervals end there too.
      tied: Metric that this one is proportional to in each design, or "-" and the metric that it is
        inversely proportional to, such as "-total_cycles" of a rate: both have the same error.
        That of a product, such as "power_kw * time_ms", is the sum of its factors' errors.
      exact: True if design and workload set the value, such as a size, a count of devices or a
        price at a fixed rent: it has no error.

    Example:
      >>> from archgym.spaces.expression import P
      >>> MetricSpec("edp_nj_s", "nJ s", "minimise", 1e-3, "Energy-delay product.",
      ...            formula=P("energy_nj") * P("time_s")).formula.text
      'energy_nj * time_s'
    """

    name: str
    unit: str
    goal: Goal
    resolution: float
    doc: str
    formula: "Expression | None" = field(default=None, compare=False)
    identifies: bool | None = None
    signed: bool = field(default=False, compare=False)
    highest: float = field(default=math.inf, compare=False)
    below: str = field(default="", compare=False)
    tied: str = field(default="", compare=False)
    exact: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if self.goal not in ("minimise", "maximise", "none") or not (
            0 < self.resolution < math.inf
        ):
            raise InvalidArgumentError(
                f"Metric `{self.name}` needs a goal of minimise, maximise or none and a "
                f"finite resolution above 0; got {self.goal!r}, {self.resolution!r}."
            )
        if self.identifies is None:
            object.__setattr__(self, "identifies", self.goal != "none")

    @property
    def label(self) -> str:
        """Name with the unit, as the heading of a column."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name

    @property
    def is_undeclared(self) -> bool:
        """True if only a goal was given, so that nobody said if values may be negative."""
        return self.signed and self.doc == undescribed(self.name)

    def to_json(self) -> dict[str, Any]:
        """Return the specification as JSON; `from_json` reads it."""
        data: dict[str, Any] = {
            "name": self.name,
            "unit": self.unit,
            "goal": self.goal,
            "resolution": self.resolution,
            "doc": self.doc,
        }
        if self.formula is not None:
            data["formula"] = self.formula.to_json()
        if not self.identifies:
            data["identifies"] = False
        if self.signed:
            data["signed"] = True
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "MetricSpec":
        """Return the specification from what `to_json` gave.

        Raises:
          InvalidArgumentError: `data` is not a specification.
          InvalidSpaceError: The formula is not an expression.
        """
        from archgym.spaces.expression import expression_from_json

        members = {"identifies": True, **data}
        if members.get("formula") is not None:
            members["formula"] = expression_from_json(members["formula"])
        try:
            return cls(**members)
        except TypeError as error:
            raise InvalidArgumentError(f"A metric must be what `to_json` wrote; {error}.") from None


STANDARD_ERROR = "_standard_error"
"""End of the name of a metric that is the standard error of another one."""


def with_standard_errors(specs: Sequence[MetricSpec], repeats: int) -> tuple[MetricSpec, ...]:
    """Return metrics with the standard errors that several runs of a design add."""
    names = {spec.name for spec in specs}
    plain = {"goal": "none", "identifies": False, "highest": math.inf, "below": "", "tied": ""}
    added = [
        replace(spec, name=name, doc=f"Standard error of {spec.name} over {repeats} runs.", **plain)  # type: ignore[arg-type]  # one value of each kind
        for spec in specs
        for name in [spec.name + STANDARD_ERROR]
        if repeats > 1 and spec.formula is None and not spec.exact and name not in names
        if not spec.name.endswith(STANDARD_ERROR)
    ]
    return (*specs, *added)


def given_names(specs: Sequence[MetricSpec], repeats: int) -> list[str]:
    """Return the names of the metrics that each run of a design gives."""
    return [s.name for s in specs if repeats == 1 or not s.name.endswith(STANDARD_ERROR)]


def mean_of_runs(runs: Sequence[np.ndarray], specs: Sequence[MetricSpec]) -> np.ndarray:
    """Return the means of runs, and of several runs their standard errors, (n_metrics,)."""
    values, names = np.asarray(runs), given_names(specs, len(runs))
    found = dict(zip(names, values.mean(axis=0) if len(runs) > 1 else values[0], strict=True))
    if len(runs) > 1:
        errors = values.std(axis=0, ddof=1) / math.sqrt(len(runs))
        found |= {n + STANDARD_ERROR: error for n, error in zip(names, errors, strict=True)}
    return np.array([found[spec.name] for spec in specs])


def undescribed(name: str) -> str:
    """Return the documentation of a metric of which only a goal was given."""
    return f"Metric {name}."


def growth(values: np.ndarray, base: float, resolution: float) -> np.ndarray:
    """Return by how much values exceed a base, in a measure that also orders negative ones.

    With `r` the resolution, it is ``log((x + r) / (base + r))`` where both are 0 or more. Below 0
    it continues with ``-log((base + r) / r) - log1p(-x / (base + r))``. From a negative base it is
    the difference in units of ``|base| + r``, as ``sign(d) * log1p(|d|)``. It grows with `x`.

    Args:
      values: Values of a metric, of any shape.
      base: Value that they are compared with.
      resolution: Resolution of the metric, above 0.

    Returns:
      Float64 of the shape of `values`; NaN where they are.

    Example:
      >>> growth(np.array([20.0, 5.0, -5.0]), 10.0, 1e-6).round(2).tolist()
      [0.69, -0.69, -16.52]
    """
    scale = abs(base) + resolution
    if base < 0:
        difference = (values - base) / scale
        return np.asarray(np.sign(difference) * np.log1p(np.abs(difference)))
    positive = np.log((np.maximum(values, 0.0) + resolution) / scale)
    return np.asarray(
        np.where(values < 0, positive - np.log1p(np.maximum(-values, 0.0) / scale), positive)
    )


@final
class Metrics(Mapping[str, float]):
    """Results of one design, by metric name, in the units of the simulator's `metrics`.

    A design that cannot be built has no numbers but a reason, `infeasible`.

    Example:
      >>> metrics = Metrics({"time_ns": 12.5, "power_mw": 80.0})
      >>> metrics["time_ns"], metrics.infeasible
      (12.5, None)
      >>> Metrics({}, infeasible="the cache has more ways than lines")
      Metrics(infeasible='the cache has more ways than lines')
    """

    __slots__ = ("_values", "infeasible")

    def __init__(self, values: Mapping[str, float], infeasible: str | None = None) -> None:
        """Take the numbers, or the reason why the design cannot be built."""
        self._values = dict(values)
        self.infeasible = infeasible

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        if self.infeasible is not None:
            return f"Metrics(infeasible={self.infeasible!r})"
        return f"Metrics({', '.join(f'{n}={v:g}' for n, v in self._values.items())})"
