"""The interface of simulators: from designs and a workload to metrics."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol, final, runtime_checkable

import numpy as np

from archgym.checks import check_line
from archgym.errors import InvalidArgumentError, SimulatorError
from archgym.evaluation.conservation import Columns, Laws, hold_to
from archgym.evaluation.metrics import Metrics, MetricSpec
from archgym.evaluation.spec import SimulatorSpec
from archgym.runtime.plugins import load, registered
from archgym.spaces.space import DesignSpace

FEASIBLE = 0
FAILED = -1
"""Reasons in `BatchResult.reason` that no simulator needs to list."""
_COLUMNS = (
    "agent design error feasible fidelity hyperparameters is_duplicate options reason reward seed"
    " seq simulator simulator_version space split step study study_id task task_digest"
    " workload"
)
RESERVED_NAMES: Final = frozenset(_COLUMNS.split())
"""Names that no metric may have: columns of data frames and datasets."""
# chosen: this many designs and their metrics fit a processor's cache; more at once is slower.
_PIECE = 2**14


@final
@dataclass(frozen=True)
class Workload:
    """Workload that designs are evaluated on.

    `digest` is the SHA-256 of all that decides the result; `content` is the simulator's own.

    Example:
      >>> Workload("64-bit", digest="9f86d081", content=64)
      Workload(name='64-bit', digest='9f86d081')
    """

    name: str
    digest: str
    content: Any = field(repr=False, compare=False)


@final
@dataclass(frozen=True)
class BatchResult:
    """Results of many designs on one workload.

    `values` is (n, n_metrics) float64 in the units of `Simulator.metrics`, NaN where a design was
    not built; `reason` is (n,) int16: 0 built, above 0 an index into `SimulatorSpec.reasons`, -1
    where the simulator itself broke, and `failures` says for those why, by row.

    Example:
      >>> result = BatchResult(
      ...     values=np.array([[3.8], [np.nan]]),
      ...     reason=np.array([0, FAILED], dtype=np.int16),
      ...     failures={1: "The program ended with exit code 1."},
      ... )
      >>> (result.reason == FEASIBLE).tolist()
      [True, False]
    """

    values: np.ndarray
    reason: np.ndarray
    failures: Mapping[int, str] = field(default_factory=dict)


class Simulator(ABC):
    """A cost model with one design space, ready to evaluate.

    `spec` declares what it is; three methods say what it does. What else it offers, such as bounds
    or exports, are capabilities of `archgym.evaluation.capabilities`.

    Life cycle:

    1. `make_simulator`, or the class itself, makes an instance for one space and one fidelity.
    2. `workload` reads a workload by name or path. Its digest identifies the content.
    3. `evaluate_batch` judges the constraints and gives canonical, feasible designs to `simulate`.
       `evaluate` does the same for one design that is written as a mapping.
    4. `check_simulator` in `archgym.testing` proves that an implementation keeps these promises.

    An instance is made for one space and one fidelity and does not change; it is deterministic,
    and results do not depend on batch size, order or thread. Instances can be pickled, so that
    other processes evaluate.

    Example:
      >>> import hashlib
      >>> from archgym.evaluation.objective import Objective, Term
      >>> from archgym.spaces.parameter import Integer
      >>> class AdderSimulator(Simulator):
      ...     spec = SimulatorSpec(
      ...         name="adder",
      ...         space=DesignSpace("default", [Integer(name="blocks", low=1, high=16)]),
      ...         metrics=(MetricSpec("delay_ns", "ns", "minimise", 0.001, "Time of a sum."),),
      ...         objectives={"quick": Objective("quick", (Term("delay_ns", "minimise"),))},
      ...         default_objective="quick",
      ...         default_workload="64-bit",
      ...     )
      ...
      ...     def workload_names(self):
      ...         return ("64-bit",)
      ...
      ...     def workload(self, name):
      ...         return Workload("64-bit", hashlib.sha256(b"64-bit").hexdigest(), content=64)
      ...
      ...     def simulate(self, indices, workload):
      ...         blocks = self.space.columns(indices)["blocks"]
      ...         delay = 0.1 * workload.content / blocks + 0.05 * blocks
      ...         return BatchResult(delay[:, None], np.zeros(len(indices), dtype=np.int16))
      >>> adder = AdderSimulator()
      >>> round(adder.evaluate({"blocks": 8}, adder.workload("64-bit"))["delay_ns"], 3)
      1.2
    """

    spec: SimulatorSpec = SimulatorSpec(name="")
    """Declaration: of the class, and completed by a constructor that takes a space or options."""

    @property
    def name(self) -> str:
        """Registered name."""
        return self.spec.name

    @property
    def version(self) -> int:
        """Raised when any number that it returns changes."""
        return self.spec.version

    @property
    def space(self) -> DesignSpace:
        """Design space."""
        return self.spec.space

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """Metrics, in the order of their columns."""
        return self.spec.metrics

    @property
    def fidelity(self) -> str:
        """Model fidelity."""
        return self.spec.fidelity

    @property
    def options(self) -> Mapping[str, str]:
        """Constructor arguments, other than space and fidelity, that change results."""
        return self.spec.options

    @abstractmethod
    def workload_names(self) -> tuple[str, ...]:
        """Return workloads that ship with the simulator."""

    @abstractmethod
    def workload(self, name: str | Path) -> Workload:
        """Return the workload with this name, or read from the file at this path.

        Raises:
          UnknownNameError: Neither a shipped workload nor a file.
          FileFormatError: The file cannot be read.
        """

    @abstractmethod
    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results of designs that are known to be canonical and feasible in the space.

        Args:
          indices: (n, n_parameters) int64.
          workload: One that this simulator made.
        """

    @final
    def evaluate_batch(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results of any designs of the space, each judged in its canonical form.

        Args:
          indices: (n, n_parameters), whole numbers within the space.
          workload: One that this simulator made.

        Returns:
          One row a design; designs that break a constraint are infeasible with its reason.

        Raises:
          InvalidDesignError: An index lies outside the space.
          SimulatorError: The model broke, or its numbers break an invariant.
        """
        indices = np.asarray(indices)
        self.space.check_indices(indices)
        n = len(indices)
        if n <= _PIECE:
            return self._evaluate(indices, workload)
        values, reason = np.empty((n, len(self.metrics))), np.empty(n, dtype=np.int16)
        failures: dict[int, str] = {}
        for start in range(0, n, _PIECE):
            part = self._evaluate(indices[start : start + _PIECE], workload)
            values[start : start + _PIECE] = part.values
            reason[start : start + _PIECE] = part.reason
            failures |= {start + row: why for row, why in part.failures.items()}
        return BatchResult(values, reason, failures)

    @final
    def evaluate(self, design: Mapping[str, Any], workload: Workload) -> Metrics:
        """Return metrics of one design: the batch of one.

        Raises:
          InvalidDesignError: The design does not lie in the space.
          SimulatorError: The simulator broke.
        """
        result = self.evaluate_batch(self.space.indices_of(design)[None, :], workload)
        reason = int(result.reason[0])
        if reason == FAILED:
            raise SimulatorError(result.failures[0])
        if reason != FEASIBLE:
            return Metrics({}, infeasible=self.spec.reasons[reason])
        values = result.values[0]
        return Metrics({spec.name: float(v) for spec, v in zip(self.metrics, values, strict=True)})

    def _evaluate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results of designs whose indices were checked."""
        canonical = self.space.canonical(indices.astype(np.int64, copy=False))
        violated = self.space.violations(canonical)
        if len(indices) and (violated < 0).all():
            result = held_to_laws(self, canonical, self._simulated(canonical, workload), workload)
            return BatchResult(
                np.asarray(result.values, dtype=np.float64),
                np.asarray(result.reason, dtype=np.int16),
                dict(result.failures),
            )
        n_own = 1 + len(self.spec.model_reasons)
        reason = np.where(violated < 0, 0, violated + n_own).astype(np.int16)
        values = np.full((len(indices), len(self.metrics)), np.nan)
        failures: dict[int, str] = {}
        rows = np.flatnonzero(reason == FEASIBLE)
        if len(rows):
            chosen = canonical[rows]
            result = held_to_laws(self, chosen, self._simulated(chosen, workload), workload)
            values[rows] = result.values
            reason[rows] = result.reason
            failures = {int(rows[row]): why for row, why in result.failures.items()}
        return BatchResult(values, reason, failures)

    def _simulated(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return the results of the model with derived metrics filled in."""
        return with_derived(self.spec, self.simulate(indices, workload))


@runtime_checkable
class Checked(Protocol):
    """Simulator that checks its results against invariants of its model."""

    def check(self, values: np.ndarray, workload: Workload) -> None:
        """Refuse results that break the model's own invariants.

        Args:
          values: (n, n_metrics), designs that were built.
          workload: Workload that they ran.

        Raises:
          SimulatorError: Says which invariant, and by how much.
        """


@runtime_checkable
class Lawful(Protocol):
    """Simulator that states laws of conservation, which its results obey."""

    def laws(self, indices: np.ndarray, column: Columns, workload: Workload) -> Laws:
        """Return laws of conservation with the least values that they allow designs.

        `evaluate_batch` holds every result to them, in every space and fidelity.

        Args:
          indices: (n, n_parameters), designs that were built.
          column: (n,) results by metric.
          workload: Workload that they ran.
        """


def laws_of(simulator: Simulator, indices: np.ndarray, column: Columns, workload: Workload) -> Laws:
    """Return laws of conservation as `Lawful` does; none for other simulators."""
    return simulator.laws(indices, column, workload) if isinstance(simulator, Lawful) else {}


def held_to_laws(
    simulator: Simulator, indices: np.ndarray, result: BatchResult, workload: Workload
) -> BatchResult:
    """Return a checked result of all metrics, without designs that break laws of conservation.

    Args:
      simulator: The simulator.
      indices: (n, n_parameters), canonical designs.
      result: Their result, with derived metrics.
      workload: Workload that they ran.

    Raises:
      SimulatorError: The result has another form, or breaks an invariant of the model.
    """
    values = built_values(simulator.spec, result, len(indices))
    check_values(simulator, values, workload)
    rows = np.flatnonzero(result.reason == FEASIBLE)
    if not len(rows):
        return result
    column = dict(zip((spec.name for spec in simulator.metrics), values.T, strict=True))
    designs = indices if len(rows) == len(indices) else indices[rows]
    return hold_to(simulator.name, laws_of(simulator, designs, column, workload), rows, result)


def check_values(simulator: Simulator, values: np.ndarray, workload: Workload) -> None:
    """Refuse results that break invariants of a model, where the simulator checks them."""
    if isinstance(simulator, Checked):
        simulator.check(values, workload)


def default_workload(simulator: Simulator) -> str:
    """Return the workload that a task has by default: the declared one, or the first."""
    return simulator.spec.default_workload or simulator.workload_names()[0]


def with_derived(spec: SimulatorSpec, result: BatchResult) -> BatchResult:
    """Return results with the columns of derived metrics filled in."""
    if len(spec.simulated_metrics) == len(spec.metrics) or not isinstance(result, BatchResult):
        return result
    return replace(result, values=derived_values(np.asarray(result.values), spec.metrics))


def built_values(spec: SimulatorSpec, result: BatchResult, n: int) -> np.ndarray:
    """Return the values of designs that were built, of a result that is as it must be.

    Raises:
      SimulatorError: The result has another form, or numbers that are not finite.
    """
    if not isinstance(result, BatchResult) or not (
        isinstance(result.values, np.ndarray) and isinstance(result.reason, np.ndarray)
    ):
        raise SimulatorError(
            f"`simulate` of simulator {spec.name!r} must return a BatchResult of two arrays; "
            f"got {_shown(result)}."
        )
    built = result.reason == FEASIBLE
    if result.values.shape != (n, len(spec.metrics)) or result.reason.shape != (n,):
        raise SimulatorError(
            f"Simulator {spec.name!r} must return values of shape {(n, len(spec.metrics))} and "
            f"reasons of shape {(n,)}; got {result.values.shape}, {result.reason.shape}."
        )
    listed = (result.reason >= FAILED) & (result.reason < len(spec.reasons))
    if not listed.all():
        raise SimulatorError(
            f"Simulator {spec.name!r} must give each reason as a place in its `reasons`, or "
            f"{FAILED}; got {int(result.reason[~listed][0])}."
        )
    failed = np.flatnonzero(result.reason == FAILED).tolist()
    if failed != sorted(result.failures):
        raise SimulatorError(
            f"Simulator {spec.name!r} must say in `failures` why it broke on rows {failed}; "
            f"got {sorted(result.failures)}."
        )
    if built.all():
        values = result.values
    elif np.isnan(result.values[~built]).all():
        values = result.values[built]
    else:
        raise SimulatorError(
            f"Simulator {spec.name!r} must return NaN for a design that was not built; it "
            "returned numbers."
        )
    if not np.isfinite(values).all():
        column = int(np.argwhere(~np.isfinite(values))[0][1])
        raise SimulatorError(
            f"Simulator {spec.name!r} must return finite numbers for a design that was built; "
            f"`{spec.metrics[column].name}` is not."
        )
    return values


def _shown(result: object) -> str:
    """Return a short description of a simulator's result, for error messages."""
    if not isinstance(result, BatchResult):
        return f"a value of type {type(result).__name__}"
    kinds = type(result.values).__name__, type(result.reason).__name__
    return f"one with values of type {kinds[0]} and reasons of type {kinds[1]}"


def check_declared(simulator: Simulator) -> None:
    """Refuse a simulator whose name, space or metrics tasks and tables cannot use.

    Raises:
      InvalidArgumentError: Says which of them, and what it must be.
    """
    spec = simulator.spec
    name = check_line("name", spec.name)
    if set("/[]") & set(name):
        raise InvalidArgumentError(
            f"A simulator's name must have no `/`, `[` or `]`; got {name!r}."
        )
    space, specs = spec.space, spec.metrics
    if not isinstance(space, DesignSpace):
        raise InvalidArgumentError(
            f"`space` of simulator {name!r} must be a DesignSpace; got {space!r}."
        )
    if not (
        isinstance(specs, Sequence) and specs and all(isinstance(s, MetricSpec) for s in specs)
    ):
        raise InvalidArgumentError(
            f"`metrics` of simulator {name!r} must list MetricSpecs; got {specs!r}."
        )
    metrics = [spec.name for spec in specs]
    for metric in metrics:
        if metric in RESERVED_NAMES or metric in space.names or metrics.count(metric) > 1:
            raise InvalidArgumentError(
                "A metric needs a name of its own, which no parameter, other metric or column of "
                f"results has; got {metric!r}. Rename it, for instance to `{metric}_value`."
            )


def require_kept(
    model: str,
    what: str,
    came: np.ndarray,
    expected: np.ndarray | float,
    *,
    rounding: float = 1e-9,
) -> None:
    """Refuse results that break an invariant of their model.

    Args:
      model: Name of the model in a sentence, such as "DRAM".
      what: The invariant, as words after "must keep that".
      came: (n,), one number a design.
      expected: Expected values, (n,), or one for all designs.
      rounding: Tolerance, relative to the expected value, or absolute below 1. Sums and
        quotients of a few doubles differ from each other by some 1e-16 of the whole.

    Raises:
      SimulatorError: Names the invariant, the first design that breaks it and by how much.
    """
    off = np.abs(came - expected) > rounding * np.maximum(1.0, np.abs(expected))
    if off.any():
        row = int(np.flatnonzero(off)[0])
        wanted = np.broadcast_to(np.asarray(expected), came.shape)[row].item()
        raise SimulatorError(
            f"The {model} model must keep that {what}; got {came[row].item()!r} instead of "
            f"{wanted!r} in design {row} of {len(came)}. Please report the design and workload."
        )


def simulator_names() -> tuple[str, ...]:
    """Return the names of all simulators, sorted."""
    return tuple(sorted(registered("archgym.simulators")))


def simulator_class(name: str) -> type[Simulator]:
    """Return the simulator with this name, imported now.

    Raises:
      UnknownNameError: The name is unknown; the message lists similar names.
      InvalidArgumentError: Another package registers it, and it cannot be used.
    """
    return load("archgym.simulators", "simulator", name, Simulator)


def derived_values(values: np.ndarray, specs: Sequence[MetricSpec]) -> np.ndarray:
    """Return values with the columns of derived metrics filled in.

    Args:
      values: (n, n_simulated) in the order of the metrics without a formula, or all of them.
      specs: All metrics, of which some have a formula.

    Returns:
      (n, n_metrics), in the units of `specs`.
    """
    simulated = [spec.name for spec in specs if spec.formula is None]
    if values.ndim != 2 or len(simulated) == len(specs) or values.shape[1] != len(simulated):
        return values
    columns = dict(zip(simulated, values.T, strict=True))
    for spec in specs:
        if spec.formula is not None:
            columns[spec.name] = np.broadcast_to(spec.formula.evaluate(columns), len(values))
    return np.stack([columns[spec.name] for spec in specs], axis=1)
