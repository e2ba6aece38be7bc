"""What a simulator may offer beyond results: small protocols, and functions that ask for them.

A simulator offers a capability by having its methods; no base class is needed. The functions give
what holds for every simulator where one is absent.
"""

import inspect
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self, final, runtime_checkable

import numpy as np

from archgym.errors import (
    ArchGymError,
    SimulatorError,
    UnknownNameError,
    error_text,
    unknown_name,
)
from archgym.evaluation.objective import Objective
from archgym.evaluation.simulator import (
    FEASIBLE,
    BatchResult,
    Simulator,
    Workload,
    built_values,
    with_derived,
)

Facts = Mapping[str, tuple[float | str, str]]
"""Characteristics of a workload: name to (value, unit)."""


@final
@dataclass(frozen=True)
class Bottleneck:
    """One cause of a metric's value, and changes of the design that may relieve it.

    Attributes:
      name: Limit of the design, in a few words.
      metric: Metric that it makes worse.
      share: Share of the metric that it causes, from 0 to 1.
      moves: Changes of the design, the most promising first: values by parameter.
      parameters: Parameters whose other values may relieve it, where there are no `moves`.
    """

    name: str
    metric: str
    share: float
    moves: tuple[Mapping[str, Any], ...] = ()
    parameters: tuple[str, ...] = ()


@runtime_checkable
class Bounded(Protocol):
    """Simulator that knows bounds of designs of which some parameters are chosen."""

    def bounds(self, partial: np.ndarray, workload: Workload) -> np.ndarray:
        """Return metrics that no design with some choices betters, for `archgym prove`.

        A proof leaves out all designs with choices whose bounds are worse than a design that is
        known. Bounds may be wide, but they hold in every digit: allow for rounding.

        Args:
          partial: (n, n_parameters) int64, indices; -1 where a parameter may have any value.
          workload: One that this simulator made.

        Returns:
          (n, n_metrics): at most the least value of a metric that is minimised, at least the
          largest of one that is maximised, infinite in the worse direction where no such design
          can be built, NaN where nothing is known.
        """


@runtime_checkable
class Idealised(Protocol):
    """Simulator of an ideal machine, which does not pay one of the declared `costs`."""

    def simulate_without(self, cost: str, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results as `simulate`, for an ideal machine that does not pay one of `costs`.

        Such results explain a design; no search sees them, and `check` does not hold for them.

        Args:
          cost: One of `costs`.
          indices: As for `simulate`.
          workload: As for `simulate`.
        """


@runtime_checkable
class Diagnosed(Protocol):
    """Simulator that names what limits a design, with moves that relieve it."""

    def bottlenecks(self, indices: np.ndarray, workload: Workload) -> list[Bottleneck]:
        """Return what limits a design that was evaluated; no other design is evaluated.

        Args:
          indices: (n_parameters,), a design that can be built.
          workload: One that this simulator made.
        """


@runtime_checkable
class Itemised(Protocol):
    """Simulator that knows what parts of a design contribute to metrics."""

    def breakdown(
        self, indices: np.ndarray, workload: Workload | None
    ) -> Mapping[str, Mapping[str, float]]:
        """Return what parts of a design contribute to metrics, such as structures to its area.

        Args:
          indices: (n_parameters,), a design that can be built.
          workload: One that this simulator made; None for metrics that depend on none.

        Returns:
          By metric, values of parts by name, which sum to the metric.
        """


Files = Mapping[str, str | bytes]
"""Contents of an export's files by name; text is written as UTF-8."""


@runtime_checkable
class Exporting(Protocol):
    """Simulator that writes designs in the declared `exports`."""

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Files:
        """Return a design in the format of another tool: the contents of files by their names.

        Names may have folders, separated by slashes.

        Args:
          form: One of `exports`.
          indices: (n_parameters,), a canonical design that can be built.
          workload: One that this simulator made.

        Raises:
          InvalidDesignError: The format cannot express the design; the message says why.
        """


@runtime_checkable
class Stating(Protocol):
    """Simulator whose designs can be read from the files of its `exports`."""

    def file_settings(
        self, form: str, indices: np.ndarray, workload: Workload
    ) -> Mapping[str, Any]:
        """Return what files of a format say of a design, nested as there, without simulating it.

        Options of a command line are members of `--`.

        Args:
          form: One of `exports`.
          indices: (n_parameters,), a canonical design.
          workload: One that this simulator made.

        Raises:
          InvalidDesignError: The format cannot express the design.
        """


@runtime_checkable
class Expressing(Protocol):
    """Simulator with formats that lack some values of parameters."""

    def expressible(self, form: str) -> Mapping[str, Sequence[Any]]:
        """Return the values that a format can express, by parameter that it lacks some of."""


@runtime_checkable
class Described(Protocol):
    """Simulator that describes its workloads."""

    def describe_workload(self, workload: Workload) -> Facts:
        """Return characteristics of a workload: name to (value, unit)."""


@runtime_checkable
class PartlyCompared(Protocol):
    """Simulator with workloads, parts of which no other tool was compared on."""

    def not_compared(self, workload: Workload) -> str:
        """Return what of a workload no other tool was compared on, in words; "" for nothing."""


@runtime_checkable
class Fitting(Protocol):
    """Simulator whose default design follows from the workloads."""

    def fitted_to(self, workloads: Sequence[Workload]) -> Simulator:
        """Return a simulator whose default design runs on some workloads.

        Rewards are relative to the default design, so that a task needs one that runs. Another
        default must stand in `options`, so that the simulator can be made again from them, and
        must leave the digests of workloads as they are.

        Args:
          workloads: Workloads of a task, which this simulator made.

        Raises:
          InvalidArgumentError: No design can run on them.
        """


@runtime_checkable
class Widening(Protocol):
    """Simulator that computes something from its space when it is made."""

    def widened(self, names: Sequence[str]) -> Self:
        """Return the simulator over a space with the widest ranges of some parameters."""


@runtime_checkable
class Confident(Protocol):
    """Simulator that knows its error, so that limits are met with a probability."""

    @property
    def path(self) -> Path | None:
        """File of the measurements from which the error was learned, if any."""

    def with_confidence(self, objective: Objective) -> Objective:
        """Return an objective whose limits are met with the confidence."""


@runtime_checkable
class OptionsOfParts(Protocol):
    """Simulator class whose options are those of its parts."""

    @classmethod
    def option_names(cls) -> tuple[str, ...]:
        """Return the constructor's arguments other than space and fidelity."""


def option_names(kind: type[Simulator]) -> tuple[str, ...]:
    """Return the constructor arguments of a simulator other than space and fidelity."""
    if issubclass(kind, OptionsOfParts):
        return kind.option_names()
    names = inspect.signature(kind).parameters
    return tuple(name for name in names if name not in ("space", "fidelity"))


def bounds_of(simulator: Simulator, partial: np.ndarray, workload: Workload) -> np.ndarray:
    """Return bounds as `Bounded` does; NaN, nothing known, for other simulators."""
    if isinstance(simulator, Bounded):
        return simulator.bounds(partial, workload)
    return np.full((len(partial), len(simulator.metrics)), np.nan)


def breakdown_of(
    simulator: Simulator, indices: np.ndarray, workload: Workload | None
) -> Mapping[str, Mapping[str, float]]:
    """Return what parts of a design contribute to metrics; empty if that is not known."""
    return simulator.breakdown(indices, workload) if isinstance(simulator, Itemised) else {}


def facts_about(simulator: Simulator, workload: Workload) -> Facts:
    """Return characteristics of a workload; empty if the simulator describes none."""
    return simulator.describe_workload(workload) if isinstance(simulator, Described) else {}


def never_compared(simulator: Simulator, workload: Workload) -> str:
    """Return what of a workload no other tool was compared on, in words; "" for nothing."""
    return simulator.not_compared(workload) if isinstance(simulator, PartlyCompared) else ""


def fitted(simulator: Simulator, workloads: Sequence[Workload]) -> Simulator:
    """Return a simulator whose default design runs on some workloads; see `Fitting`."""
    return simulator.fitted_to(workloads) if isinstance(simulator, Fitting) else simulator


def widened(simulator: Simulator, names: Sequence[str]) -> Simulator:
    """Return the simulator over a space with the widest ranges of some parameters."""
    if isinstance(simulator, Widening):
        return simulator.widened(names)
    made = copy(simulator)
    made.spec = replace(simulator.spec, space=simulator.space.widened(names))
    return made


def stated_settings(
    simulator: Simulator, form: str, indices: np.ndarray, workload: Workload
) -> Mapping[str, Any]:
    """Return what the files of an export say of a design, if the simulator reads them at all."""
    return (
        simulator.file_settings(form, indices, workload) if isinstance(simulator, Stating) else {}
    )


def exported(simulator: Simulator, form: str, indices: np.ndarray, workload: Workload) -> Files:
    """Return a design in one of the simulator's `exports`; see `Exporting`."""
    if not isinstance(simulator, Exporting):
        raise NotImplementedError(f"{type(simulator).__name__} names exports, and needs `export`")
    return simulator.export(form, indices, workload)


def expressible(simulator: Simulator, form: str) -> Mapping[str, tuple[Any, ...]]:
    """Return the values of the space that a format can express, where it lacks some.

    Args:
      simulator: The simulator.
      form: One of its `exports`.

    Raises:
      UnknownNameError: There is no such format; the message lists those there are.
    """
    if form not in simulator.spec.exports:
        option = simulator.spec.exports_of_options.get(form)
        if option is not None:
            raise UnknownNameError(
                f"Format {form!r} of simulator {simulator.name!r} needs `--option {option}`."
            )
        raise unknown_name(f"format of {simulator.name!r}", form, simulator.spec.exports)
    if not isinstance(simulator, Expressing):
        return {}
    found = {}
    for name, values in simulator.expressible(form).items():
        if name in simulator.space.names:
            parameter = simulator.space.parameter(name)
            all_values = [parameter.value(index) for index in range(parameter.size)]
            found[name] = tuple(value for value in all_values if value in values)
            if len(found[name]) == len(all_values):
                del found[name]
    return found


def simulated_without(
    simulator: Simulator, cost: str, indices: np.ndarray, workload: Workload
) -> BatchResult:
    """Return results as `Idealised` does, without derived metrics and not checked."""
    if not isinstance(simulator, Idealised):
        raise NotImplementedError(
            f"{type(simulator).__name__} names costs, and needs `simulate_without`"
        )
    return simulator.simulate_without(cost, indices, workload)


def results_without(
    simulator: Simulator, cost: str, indices: np.ndarray, workload: Workload
) -> BatchResult:
    """Return results of designs that can be built on a machine that does not pay a cost.

    Args:
      simulator: The simulator.
      cost: One of its `costs`.
      indices: (n, n_parameters), feasible designs of the space.
      workload: One that the simulator made.

    Raises:
      UnknownNameError: There is no such cost.
      SimulatorError: The model broke, or its results are not what they must be.
    """
    if cost not in simulator.spec.costs:
        raise unknown_name("cost", cost, tuple(simulator.spec.costs))
    indices = simulator.space.canonical(np.asarray(indices, dtype=np.int64))
    try:
        result = simulated_without(simulator, cost, indices.copy(), workload)
        result = with_derived(simulator.spec, result)
        if not isinstance(result, BatchResult):
            raise TypeError(f"its result must be a BatchResult; got {result!r}")
    except ArchGymError:
        raise
    except Exception as error:  # a simulator's own code may raise anything
        raise SimulatorError(
            f"Simulator {simulator.name!r} must answer without its cost {cost!r}; it broke: "
            f"{type(error).__name__}: {error_text(error)}."
        ) from error
    built_values(simulator.spec, result, len(indices))
    return result


def bottlenecks_of(
    simulator: Simulator, indices: np.ndarray, workload: Workload
) -> list[Bottleneck]:
    """Return what limits a design that was evaluated, for agents that relieve it.

    Where the simulator does not say it, each cost that has parameters in `relief` is a bottleneck
    of the metrics that improve without it. No other design is evaluated.

    Args:
      simulator: The simulator.
      indices: (n_parameters,), a design that can be built.
      workload: One that the simulator made.
    """
    if isinstance(simulator, Diagnosed):
        return simulator.bottlenecks(indices, workload)
    design = np.asarray(indices, dtype=np.int64)[None, :]
    relieved = {
        cost: tuple(name for name in names if name in simulator.space.names)
        for cost, names in simulator.spec.relief.items()
    }
    if not any(relieved.values()):
        return []
    result = simulator.evaluate_batch(design, workload)
    if result.reason[0] != FEASIBLE:
        return []
    found = []
    for cost, names in relieved.items():
        if not names:
            continue
        ideal = results_without(simulator, cost, design, workload)
        if ideal.reason[0] != FEASIBLE:
            continue
        pairs = zip(simulator.metrics, result.values[0], ideal.values[0], strict=True)
        for spec, paid, free in pairs:
            low, high = (free, paid) if spec.goal == "minimise" else (paid, free)
            if spec.goal != "none" and 0.0 <= low < high:
                share = float(1.0 - low / high)
                found.append(Bottleneck(cost, spec.name, share, parameters=names))
    return found
