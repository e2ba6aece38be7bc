"""Runs that stop and continue: between two parts, settings may change and a run may be copied."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self, final

import numpy as np
import numpy.typing as npt

from archgym.errors import InvalidArgumentError, SimulatorError, check_known
from archgym.runtime.branches import branch_of
from archgym.spaces.parameter import Value
from archgym.spaces.space import DesignSpace

Floats = npt.NDArray[np.float64]


@final
@dataclass(frozen=True, kw_only=True)
class Counter:
    """Number that a policy sees after each part of a run.

    Attributes:
      name: Name, with a unit unless it is a share.
      low, high: Declared range; what lies outside is shown as its end.
      is_log: True if the range is covered on a logarithmic scale.
      doc: Description in one line.
    """

    name: str
    low: float
    high: float
    is_log: bool = False
    doc: str


@final
class Scale:
    """Map from counters to numbers from 0 to 1, for all counters at once."""

    def __init__(self, counters: tuple[Counter, ...]) -> None:
        """Take the declared ranges."""
        self._is_log = np.array([c.is_log for c in counters])
        ends = np.array([(c.low, c.high) for c in counters]).T
        ends[:, self._is_log] = np.log(ends[:, self._is_log])
        self._low, self._width = ends[0], ends[1] - ends[0]
        self._least = np.where(self._is_log, 1e-300, -np.inf)

    def __call__(self, values: Floats) -> Floats:
        """Return counters, (..., n_counters), as numbers from 0 to 1; NaN becomes 0."""
        found: Floats = np.maximum(values, self._least)
        np.log(found, out=found, where=self._is_log)
        found -= self._low
        found /= self._width
        # Of a number and NaN, `fmax` returns the number.
        np.fmax(found, 0.0, out=found)
        np.minimum(found, 1.0, out=found)
        return found


@final
@dataclass(frozen=True)
class Part:
    """Counts of a part of a run, for each of its controllers.

    Attributes:
      work: (n_agents,) work done: bursts answered, instructions retired.
      cost: (n_agents,) what it cost: sum of latencies [ns], cycles. Less is better.
      values: (n_agents, n_counters), by `Run.counters`.
      amounts: Costs that were asked for by `Run.count`, by name, each (n_agents,).
    """

    work: Floats
    cost: Floats
    values: Floats
    amounts: Mapping[str, Floats] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Choice:
    """Settings that a kind of run was asked about, as it takes them."""

    kind: type["Run"]
    settings: Any


class Run(ABC):
    """A design on a workload, in parts.

    Life cycle: a subclass's constructor begins the run; `advance` runs a part under settings;
    `copy` branches; `finish` returns the metrics once `is_over`. Parts with the settings of the
    design give the bits of one evaluation, however many there are.

    Attributes:
      switchable: Effect and cost of a change of each setting, by parameter.
      counters: Counters of a part.
      costs: Description of what a part may cost, by name; the first is that of `Part.cost`.
    """

    switchable: ClassVar[Mapping[str, str]]
    counters: ClassVar[tuple[Counter, ...]]
    costs: ClassVar[Mapping[str, str]] = {}
    counted: tuple[str, ...] = ()
    n_agents: int = 1
    _written: ClassVar[tuple[str, ...]] = ("_run",)
    """Attributes that parts write to, as of `branch_of`."""

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """True if nothing is left to run."""

    @final
    def choice(self, settings: Mapping[str, Value]) -> Choice:
        """Return settings, those of the design where none are given, as `advance` takes them.

        Raises:
          UnknownNameError: A setting may not change during a run.
          InvalidDesignError: The design with these settings does not exist.
        """
        check_known("setting that may change", settings, self.switchable)
        return Choice(type(self), self._choice(settings))

    @abstractmethod
    def _choice(self, settings: Mapping[str, Value]) -> Any:
        """Return settings that may change as `_advance` takes them."""

    @final
    def advance(self, choices: tuple[Choice, ...], until: int) -> Part:
        """Run a part.

        Args:
          choices: Settings of each agent, from `choice`.
          until: Progress to stop at, or just after; where the run is there, or over, no work is
            done.

        Raises:
          InvalidArgumentError: Choices are not of this kind of run, or not one for each agent.
        """
        kinds = [each.kind if isinstance(each, Choice) else None for each in choices]
        if kinds != [type(self)] * self.n_agents:
            raise InvalidArgumentError(
                f"`choices` must be a tuple of {self.n_agents} from `choice` of the run; got "
                f"{choices!r}."
            )
        if self.is_over:
            none = np.zeros(self.n_agents)
            values = np.zeros((self.n_agents, len(self.counters)))
            return Part(none, none, values, dict.fromkeys(self.counted, none))
        part = self._advance(tuple(each.settings for each in choices), until)
        if not self.counted:
            return part
        return replace(part, amounts={next(iter(self.costs)): part.cost, **self._amounts(part)})

    def count(self, names: tuple[str, ...]) -> None:
        """Fill in `Part.amounts` from now on.

        Raises:
          UnknownNameError: The run has no such cost.
          InvalidArgumentError: It cannot count one of them.
        """
        check_known("cost", names, self.costs)
        self.counted = names

    def _amounts(self, part: Part) -> Mapping[str, Floats]:
        """Return the costs of the last part that `counted` names, but for the first of `costs`."""
        return {}

    @abstractmethod
    def _advance(self, choices: tuple[Any, ...], until: int) -> Part:
        """Run a part under settings from `_choice`."""

    @final
    def copy(self, into: Self | None = None) -> Self:
        """Return an independent run that continues alike.

        Args:
          into: Earlier copy of the same run that is not needed any more, which is used again.
        """
        return branch_of(self, into, self._written)

    @final
    def finish(self) -> Mapping[str, float]:
        """Return the metrics of a run that is over.

        Raises:
          SimulatorError: Something is left to run.
        """
        if not self.is_over:
            raise SimulatorError("A run must be over to be finished.")
        return self._finish()

    @abstractmethod
    def _finish(self) -> Mapping[str, float]:
        """Return the metrics."""


def completed(space: DesignSpace, values: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return a design with the default's values where none is given."""
    return space.design({**space.design_at(space.default_indices), **values})
