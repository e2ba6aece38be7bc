"""What the simulator asks of either model of a memory controller."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from archgym.physics.thermal import ThermalWindow, package_peaks, power_course
from archgym.simulators.dram.kernel.records import COUNTERS
from archgym.simulators.dram.metrics import ENERGY_CAUSES
from archgym.simulators.dram.workloads.trace import Trace
from archgym.simulators.kit import (
    BatchResult,
    Columns,
    DesignSpace,
    Files,
    Laws,
    Metrics,
    SimulatorSpec,
    Workload,
    require_kept,
)

require = partial(require_kept, "DRAM")


class Controller(ABC):
    """Model of a memory controller with one device.

    The device decides which of the two it is. Designs are rows of the simulator's space, which
    every method gets, since a search may widen it.

    Attributes:
      cited: Options as a task's id states them: files with their digests.
      has_energy: True if the device's currents are public.
      capacity_bytes: Bytes that the default design holds.
    """

    cited: Mapping[str, str]
    has_energy: bool
    capacity_bytes: int

    @abstractmethod
    def declared(self, spec: SimulatorSpec, space: str) -> SimulatorSpec:
        """Return the simulator's declaration for the device.

        Args:
          spec: Declaration of the simulator, with its options.
          space: Name of a space.

        Raises:
          UnknownNameError: There is no such space.
        """

    @abstractmethod
    def require_room(self, trace: Trace) -> None:
        """Refuse a trace that no design can hold.

        Raises:
          InvalidArgumentError: It reaches beyond the capacity.
        """

    @abstractmethod
    def simulate(
        self, spec: SimulatorSpec, indices: np.ndarray, trace: Trace, without: str | None
    ) -> BatchResult:
        """Return results of designs on a trace, of a memory without one of `costs` or of all."""

    @abstractmethod
    def check(self, column: Columns, trace: Trace) -> None:
        """Refuse results in which bursts, energy or times do not add up.

        Raises:
          SimulatorError: An invariant is broken; the message says which one and by how much.
        """

    @abstractmethod
    def laws(self, space: DesignSpace, indices: np.ndarray, column: Columns, trace: Trace) -> Laws:
        """Return laws of conservation for evaluated designs; see `Simulator.laws`."""

    @abstractmethod
    def facts(self, trace: Trace) -> Mapping[str, tuple[float | str, str]]:
        """Return characteristics of a trace on the device: name to (value, unit)."""

    @abstractmethod
    def expressible(self, space: DesignSpace) -> Mapping[str, Sequence[Any]]:
        """Return the values that its tool can express, by parameter that it lacks some of."""

    @abstractmethod
    def files(
        self, space: DesignSpace, indices: np.ndarray, workload: Workload, metrics: Metrics
    ) -> Files:
        """Return a design as files of its tool, with the metrics that it stated.

        Raises:
          InvalidDesignError: The tool cannot express the design or the workload.
        """

    @abstractmethod
    def settings(self, space: DesignSpace, indices: np.ndarray) -> Mapping[str, Any]:
        """Return what files of its tool say of a design, nested as there.

        Raises:
          InvalidDesignError: The tool cannot express the design.
        """


def worst_window(
    run: Any, settings: Any, packages: int, window: ThermalWindow
) -> tuple[float, float]:
    """Return power and temperature of the worst window of a run in parts."""
    watts, seconds = power_course(run, settings, COUNTERS, window.window_us)
    return package_peaks(watts, seconds, packages, window.sink_k_per_w)


def check_order(column: Columns, low: str, high: str) -> None:
    """Refuse times of which the first is above the second."""
    require(f"{low} is at most {high}", column[low], np.minimum(column[low], column[high]))


def check_causes(column: Columns) -> None:
    """Refuse energies by cause that do not add up to the total."""
    causes = np.sum([column[f"{cause}_energy_pj"] for cause in ENERGY_CAUSES], axis=0)
    require("energies by cause add up to the total", causes, column["total_energy_pj"])
