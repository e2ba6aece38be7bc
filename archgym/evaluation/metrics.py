"""What a simulator measures: names, units, which way is better, and the numbers."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, final

from archgym.errors import InvalidArgumentError

__all__ = ["Goal", "MetricSpec", "Metrics"]

Goal = Literal["minimise", "maximise", "none"]


@final
@dataclass(frozen=True)
class MetricSpec:
    """One metric of a simulator.

    `resolution` is the smallest difference that means anything, in the metric's unit, above 0: it
    keeps rewards finite where a value is 0. `goal` is "none" for a metric that explains but is
    neither good nor bad.
    """

    name: str
    unit: str
    goal: Goal
    resolution: float
    doc: str

    def __post_init__(self) -> None:
        if self.goal not in ("minimise", "maximise", "none") or not (
            0 < self.resolution < math.inf
        ):
            raise InvalidArgumentError(
                f"Metric `{self.name}` needs a goal of minimise, maximise or none and a "
                f"finite resolution above 0; got {self.goal!r}, {self.resolution!r}."
            )

    def to_json(self) -> dict[str, Any]:
        """Return the specification as JSON."""
        return asdict(self)


@final
class Metrics(Mapping[str, float]):
    """Results of one design, by metric name, in the units of the simulator's `metrics`.

    A design that cannot be built has no numbers but a reason, `infeasible`.
    """

    __slots__ = ("_values", "infeasible")

    def __init__(self, values: Mapping[str, float], infeasible: str | None = None) -> None:
        """Take the numbers, or the reason why there are none."""
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
