"""Base classes of simulators, which fill in the routine methods."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from archgym.errors import SimulatorError
from archgym.evaluation.simulator import BatchResult, Simulator, Workload


class KitSimulator(Simulator):
    """Base of simulators whose constructor is marked with `declared`.

    A class states its options in the signature of the constructor, which fills in the space with
    `self.spec.completed`. It gets options, fidelity and pickling.

    Example:
      >>> from typing import Annotated
      >>> from archgym.evaluation.spec import SimulatorSpec
      >>> from archgym.simulators.kit import Option, declared
      >>> class TimerSimulator(KitSimulator):
      ...     spec = SimulatorSpec(name="timer")
      ...
      ...     @declared
      ...     def __init__(
      ...         self,
      ...         space: str = "default",
      ...         ticks: Annotated[int, Option("Ticks to run.", low=1, high=99)] = 8,
      ...     ) -> None:
      ...         self.ticks = ticks
      >>> TimerSimulator.__abstractmethods__ = frozenset()
      >>> timer = TimerSimulator(ticks="12")
      >>> timer.ticks, timer.options
      (12, {'ticks': '12'})
    """

    arguments: Mapping[str, str] = {}
    """Arguments that make an equal simulator; `declared` sets them."""

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **self.arguments), ()


class RowSimulator(KitSimulator):
    """Base of simulators that run a design at a time.

    A class gives `measure`, for one design on an opened workload, with or without one of `costs`.
    """

    def opened(self, workload: Workload) -> Any:
        """Return what `measure` takes for a workload, made once for a batch of designs."""
        return workload.content

    @abstractmethod
    def measure(self, indices: np.ndarray, opened: Any, cost: str | None) -> np.ndarray | str:
        """Return the metrics of one design, or the entry of `model_reasons` why it has none.

        Args:
          indices: (n_parameters,), a canonical design that breaks no constraint.
          opened: The workload, as `opened` returns it.
          cost: One of `costs` that an ideal machine does not pay; None for the real one.

        Returns:
          (n_metrics,) float64 in the units of `metrics`, those with a formula left out.
        """

    def order(self, indices: np.ndarray, opened: Any, cost: str | None) -> Iterable[int]:
        """Return the rows of a batch in the order in which `measure` is called.

        A class whose runs have parts in common puts designs that share them next to each other.
        """
        del opened, cost
        return range(len(indices))

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results of designs that are known to be canonical and feasible in the space."""
        return self._rows(indices, workload, None)

    def simulate_without(self, cost: str, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results as `simulate`, of an ideal machine that does not pay one of `costs`."""
        return self._rows(indices, workload, cost)

    def _rows(self, indices: np.ndarray, workload: Workload, cost: str | None) -> BatchResult:
        values = np.full((len(indices), len(self.spec.simulated_metrics)), np.nan)
        reason = np.zeros(len(indices), dtype=np.int16)
        opened = self.opened(workload)
        for row in self.order(indices, opened, cost):
            found = self.measure(indices[row], opened, cost)
            if isinstance(found, str) and found in self.spec.model_reasons:
                reason[row] = 1 + self.spec.model_reasons.index(found)
            elif isinstance(found, str) or np.shape(found) != values.shape[1:]:
                names = ", ".join(spec.name for spec in self.spec.simulated_metrics)
                raise SimulatorError(
                    f"`measure` of simulator {self.name!r} must return {values.shape[1]} numbers "
                    f"({names}), or one of its `model_reasons`; got {found!r}."
                )
            else:
                values[row] = found
        return BatchResult(values, reason)
