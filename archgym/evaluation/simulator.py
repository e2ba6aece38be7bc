"""The interface of simulators: from designs and a workload to metrics."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final, final

import numpy as np

from archgym.checks import check_line
from archgym.errors import (
    ArchGymError,
    InvalidArgumentError,
    SimulatorError,
    error_text,
    unknown_name,
)
from archgym.evaluation.limits import Limit
from archgym.evaluation.metrics import Metrics, MetricSpec
from archgym.evaluation.objective import Objective
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
    not built; `reason` is (n,) int16: 0 built, above 0 an index into `Simulator.reasons`, -1 where
    the simulator itself broke, and `failures` says for those why, by row.

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


class Simulator(ABC):
    """A cost model with one design space, ready to evaluate.

    Life cycle:

    1. `make_simulator`, or the class itself, makes an instance for one space and one fidelity.
    2. `workload` reads a workload by name or path. Its digest identifies the content.
    3. `evaluate_batch` judges the constraints and gives canonical, feasible designs to `simulate`.
       `evaluate` does the same for one design that is written as a mapping.
    4. `check_simulator` in `archgym.testing` proves that an implementation keeps these promises.

    An instance is made for one space and one fidelity and does not change; it is deterministic,
    and results do not depend on batch size, order or thread. Instances can be pickled, so that
    other processes evaluate. Implementations give the attributes below and the abstract methods.

    Example:
      >>> import hashlib
      >>> from archgym.evaluation.objective import Term
      >>> from archgym.spaces.parameter import Integer
      >>> class AdderSimulator(Simulator):
      ...     name = "adder"
      ...     version = 0
      ...     space = DesignSpace("default", [Integer(name="blocks", low=1, high=16)])
      ...     metrics = (MetricSpec("delay_ns", "ns", "minimise", 0.001, "Time of an addition."),)
      ...     objectives = {"quick": Objective("quick", (Term("delay_ns", "minimise"),))}
      ...     default_objective = "quick"
      ...     default_workload = "64-bit"
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

    name: str
    """Registered name: the folder's."""
    version: int
    """Raised when any number that it returns changes."""
    bounded_by: tuple[str, ...] = ()
    """Parameters that must all be chosen before `bounds` knows anything; empty where each choice
    narrows them."""
    title: ClassVar[str] = ""
    """Kind of design in a few words, for headings, such as "Memory controller"."""
    compared: str = ""
    """Sources that its results were compared with, and those that they were not, in words."""
    space: DesignSpace
    metrics: tuple[MetricSpec, ...]
    model_reasons: tuple[str, ...] = ()
    """Reasons why the model may find that a design cannot be built."""
    objectives: Mapping[str, Objective] = {}
    physical_limits: tuple[Limit, ...] = ()
    """Conditions of a design's existence, such as a model that fits into memory. Tasks add these
    limits to every objective; objectives by name state them."""
    usual_limits: tuple[Limit, ...] = ()
    """Limits under `minimise` and `maximise`, each unless the caller limits the same metric. They
    keep what a metric alone would sacrifice, such as the quality of answers."""
    default_objective: str = ""
    default_workload: str
    fidelity: str = "standard"
    options: Mapping[str, str] = {}
    """Constructor arguments, other than space and fidelity, that change results."""
    groups: Mapping[str, tuple[str, ...]] = {}
    """Sub-systems: names of parameters that belong together."""
    costs: Mapping[str, str] = {}
    """Costs that `simulate_without` can take away, such as refresh: by a short name, what is free
    without it. What a design gains by that is what the cost causes."""
    relief: Mapping[str, tuple[str, ...]] = {}
    """Parameters that relieve each of `costs`, for `bottlenecks`."""
    exports: Mapping[str, str] = {}
    """Formats of other tools in which `export` writes a design: by name, a line on its files."""
    exports_of_options: ClassVar[Mapping[str, str]] = {}
    """Formats that need an option of the constructor: by name, the option as "name=value"."""
    partial_exports: ClassVar[tuple[str, ...]] = ()
    """Formats of `exports` that may lack parameters of a design; an export then lists them."""

    space_names: ClassVar[tuple[str, ...]] = ("default",)
    """Spaces that the constructor's `space` may name; the first is its default."""
    fidelity_names: ClassVar[tuple[str, ...]] = ("standard",)
    """Fidelities that the constructor's `fidelity` may name; the first is its default."""
    holds_interpreter: ClassVar[bool] = False
    """True for a simulator in plain Python, which threads do not speed up."""
    evaluation_s: float = 1.0
    """Rough time of one evaluation [s]. By it, not by a clock, an agent decides how long it thinks
    and how many designs it has in flight."""
    evaluation_s_of: ClassVar[Mapping[str, float]] = {}
    """By space, the rough time of an evaluation where it is another one [s]."""
    accuracy_percent: ClassVar[Mapping[str, float]] = {}
    """By fidelity, the largest error of any metric against the reference [%], where one is
    stated; `archgym validate` measures it again."""
    table_space: ClassVar[str | None] = None
    """The space that is small enough to be tabulated, where there is one: `archgym table build`."""

    @classmethod
    def variant(cls, options: Mapping[str, str]) -> "tuple[type[Simulator], Mapping[str, str]]":
        """Return the class that simulates with some options, and the options that it takes.

        By default this class and the same options. A simulator with several models under one name,
        such as one for each kind of device, chooses among their classes here.

        Args:
          options: Options as they were given or recorded, other than space and fidelity.
        """
        return cls, options

    @classmethod
    def option_names(cls) -> tuple[str, ...]:
        """Return the constructor's arguments other than space and fidelity."""
        names = inspect.signature(cls).parameters
        return tuple(name for name in names if name not in ("space", "fidelity"))

    @property
    def default_fidelity(self) -> str:
        """The fidelity that a task's name leaves out."""
        return self.fidelity_names[0]

    def widened(self, names: Sequence[str]) -> "Simulator":
        """Return the simulator over a space with the widest ranges of some parameters.

        A simulator that computes anything from its space when it is made replaces this.
        """
        made = copy(self)
        made.space = self.space.widened(names)
        return made

    @property
    def unrestricted(self) -> "Simulator":
        """The simulator of the whole space, where parameters are held; else itself."""
        return self

    @property
    def bare(self) -> "Simulator":
        """The simulator itself: not calibrated, over a space that has all that may be held."""
        return self

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

    def fitted_to(self, workloads: Sequence[Workload]) -> "Simulator":
        """Return a simulator whose default design runs on some workloads; by default itself.

        Rewards are relative to the default design, so that a task needs one that runs. Another
        default must stand in `options`, so that the simulator can be made again from them, and
        must leave the digests of workloads as they are.

        Args:
          workloads: Workloads of a task, which this simulator made.

        Raises:
          InvalidArgumentError: No design can run on them.
        """
        del workloads
        return self

    @abstractmethod
    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results of designs that are known to be canonical and feasible in the space.

        Args:
          indices: (n, n_parameters) int64.
          workload: One that this simulator made.
        """

    def simulate_without(self, cost: str, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results as `simulate`, for an ideal machine that does not pay one of `costs`.

        Such results explain a design; no search sees them, and `check` does not hold for them.
        Simulators with `costs` give it.

        Args:
          cost: One of `costs`.
          indices: As for `simulate`.
          workload: As for `simulate`.
        """
        raise NotImplementedError(f"{type(self).__name__} names costs, and must give this")

    def bottlenecks(self, indices: np.ndarray, workload: Workload) -> list[Bottleneck]:
        """Return what limits a design that was evaluated, for agents that relieve it.

        By default each cost that has parameters in `relief` is a bottleneck of the metrics that
        improve without it. A simulator with a log of the run can name more, and better moves.
        No other design is evaluated.

        Args:
          indices: (n_parameters,), a design that can be built.
          workload: One that this simulator made.
        """
        design = np.asarray(indices, dtype=np.int64)[None, :]
        relieved = {
            cost: tuple(name for name in names if name in self.space.names)
            for cost, names in self.relief.items()
        }
        if not any(relieved.values()):
            return []
        result = self.evaluate_batch(design, workload)
        if result.reason[0] != FEASIBLE:
            return []
        found = []
        for cost, names in relieved.items():
            if not names:
                continue
            ideal = self.evaluate_without(cost, design, workload)
            if ideal.reason[0] != FEASIBLE:
                continue
            pairs = zip(self.metrics, result.values[0], ideal.values[0], strict=True)
            for spec, paid, free in pairs:
                low, high = (free, paid) if spec.goal == "minimise" else (paid, free)
                if spec.goal != "none" and 0.0 <= low < high:
                    share = float(1.0 - low / high)
                    found.append(Bottleneck(cost, spec.name, share, parameters=names))
        return found

    def bounds(self, partial: np.ndarray, workload: Workload) -> np.ndarray:
        """Return metrics that no design with some choices betters, for `archgym prove`.

        By default nothing is known. A simulator that replaces this lets a proof leave out all
        designs with choices whose bounds are worse than a design that is known. Bounds may be
        wide, but they hold in every digit: allow for rounding.

        Args:
          partial: (n, n_parameters) int64, indices; -1 where a parameter may have any value.
          workload: One that this simulator made.

        Returns:
          (n, n_metrics): at most the least value of a metric that is minimised, at least the
          largest of one that is maximised, infinite in the worse direction where no such design
          can be built, NaN where nothing is known.
        """
        del workload
        return np.full((len(partial), len(self.metrics)), np.nan)

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
        del indices, workload
        return {}

    def check(self, values: np.ndarray, workload: Workload) -> None:  # noqa: B027 - optional
        """Refuse results that break the model's own invariants.

        Args:
          values: (n, n_metrics), designs that were built.
          workload: Workload that they ran.

        Raises:
          SimulatorError: Says which invariant, and by how much.
        """

    def not_compared(self, workload: Workload) -> str:
        """Return what of a workload no other tool was compared on, in words; "" for nothing."""
        return ""

    def describe_workload(self, workload: Workload) -> Mapping[str, tuple[float | str, str]]:
        """Return characteristics of a workload: name to (value, unit)."""
        return {}

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Mapping[str, str]:
        """Return a design in the format of another tool: the texts of files by their names.

        Simulators with `exports` give it. Names may have folders, separated by slashes.

        Args:
          form: One of `exports`.
          indices: (n_parameters,), a canonical design that can be built.
          workload: One that this simulator made.

        Raises:
          InvalidDesignError: The format cannot express the design; the message says why.
        """
        raise NotImplementedError(f"{type(self).__name__} names exports, and must give this")

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """Reasons why a design was not built, by `BatchResult.reason`; entry 0 is empty.

        Simulators declare `model_reasons`; these follow, and are not to be overridden.
        """
        return self._declared_reasons()

    def _declared_reasons(self) -> tuple[str, ...]:
        return ("", *self.model_reasons, *(c.reason for c in self.space.constraints))

    @cached_property
    def _has_declared_reasons(self) -> bool:
        """True if `reasons` are the declared ones, by which results are stored."""
        return tuple(self.reasons) == self._declared_reasons()

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
          SimulatorError: The model broke, its numbers break an invariant, or its `reasons` are
            not those of its `model_reasons` and constraints.
        """
        if not self._has_declared_reasons:
            raise SimulatorError(
                f"Simulator {self.name!r} must list why a design cannot be built in "
                "`model_reasons`; its `reasons` are overridden, and differ from an empty text, "
                "those and the constraints' reasons. Rename `reasons` to `model_reasons`, and "
                "leave the empty text out."
            )
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

    def _evaluate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results of designs whose indices were checked."""
        canonical = self.space.canonical(indices.astype(np.int64, copy=False))
        violated = self.space.violations(canonical)
        if len(indices) and (violated < 0).all():
            result = self._simulated(canonical, workload)
            self._check_result(result, len(indices), workload)
            return BatchResult(
                np.asarray(result.values, dtype=np.float64),
                np.asarray(result.reason, dtype=np.int16),
                dict(result.failures),
            )
        reason = np.where(violated < 0, 0, violated + 1 + len(self.model_reasons)).astype(np.int16)
        values = np.full((len(indices), len(self.metrics)), np.nan)
        failures: dict[int, str] = {}
        rows = np.flatnonzero(reason == FEASIBLE)
        if len(rows):
            result = self._simulated(canonical[rows], workload)
            self._check_result(result, len(rows), workload)
            values[rows] = result.values
            reason[rows] = result.reason
            failures = {int(rows[row]): why for row, why in result.failures.items()}
        return BatchResult(values, reason, failures)

    def _simulated(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return the results of the model with derived metrics filled in."""
        return self._with_derived(self.simulate(indices, workload))

    def _with_derived(self, result: BatchResult) -> BatchResult:
        if not self._has_derived or not isinstance(result, BatchResult):
            return result
        return replace(result, values=derived_values(np.asarray(result.values), self.metrics))

    @cached_property
    def _has_derived(self) -> bool:
        return len(self.simulated_metrics) < len(self.metrics)

    @cached_property
    def simulated_metrics(self) -> tuple[MetricSpec, ...]:
        """Metrics that `simulate` returns: those without a formula."""
        return tuple(spec for spec in self.metrics if spec.formula is None)

    @final
    def evaluate_without(self, cost: str, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results of designs that can be built on a machine that does not pay a cost.

        Args:
          cost: One of `costs`.
          indices: (n, n_parameters), feasible designs of the space.
          workload: One that this simulator made.

        Raises:
          UnknownNameError: There is no such cost.
          SimulatorError: The model broke, or its results are not what they must be.
        """
        if cost not in self.costs:
            raise unknown_name("cost", cost, tuple(self.costs))
        indices = self.space.canonical(np.asarray(indices, dtype=np.int64))
        try:
            result = self._with_derived(self.simulate_without(cost, indices.copy(), workload))
            if not isinstance(result, BatchResult):
                raise TypeError(f"its result must be a BatchResult; got {result!r}")
        except ArchGymError:
            raise
        except Exception as error:  # a simulator's own code may raise anything
            raise SimulatorError(
                f"Simulator {self.name!r} must answer without its cost {cost!r}; it broke: "
                f"{type(error).__name__}: {error_text(error)}."
            ) from error
        self._check_form(result, len(indices))
        return result

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
            return Metrics({}, infeasible=self.reasons[reason])
        values = result.values[0]
        return Metrics({spec.name: float(v) for spec, v in zip(self.metrics, values, strict=True)})

    def _check_result(self, result: BatchResult, n: int, workload: Workload) -> None:
        self.check(self._check_form(result, n), workload)

    def _check_form(self, result: BatchResult, n: int) -> np.ndarray:
        """Return the values of designs that were built, of a result that is as it must be."""
        if not isinstance(result, BatchResult) or not (
            isinstance(result.values, np.ndarray) and isinstance(result.reason, np.ndarray)
        ):
            raise SimulatorError(
                f"`simulate` of simulator {self.name!r} must return a BatchResult of two arrays; "
                f"got {_shown(result)}."
            )
        built = result.reason == FEASIBLE
        if result.values.shape != (n, len(self.metrics)) or result.reason.shape != (n,):
            raise SimulatorError(
                f"Simulator {self.name!r} must return values of shape {(n, len(self.metrics))} and "
                f"reasons of shape {(n,)}; got {result.values.shape}, {result.reason.shape}."
            )
        listed = (result.reason >= FAILED) & (result.reason < len(self.reasons))
        if not listed.all():
            raise SimulatorError(
                f"Simulator {self.name!r} must give each reason as a place in its `reasons`, or "
                f"{FAILED}; got {int(result.reason[~listed][0])}."
            )
        failed = np.flatnonzero(result.reason == FAILED).tolist()
        if failed != sorted(result.failures):
            raise SimulatorError(
                f"Simulator {self.name!r} must say in `failures` why it broke on rows {failed}; "
                f"got {sorted(result.failures)}."
            )
        if built.all():
            values = result.values
        elif np.isnan(result.values[~built]).all():
            values = result.values[built]
        else:
            raise SimulatorError(
                f"Simulator {self.name!r} must return NaN for a design that was not built; it "
                "returned numbers."
            )
        if not np.isfinite(values).all():
            column = int(np.argwhere(~np.isfinite(values))[0][1])
            raise SimulatorError(
                f"Simulator {self.name!r} must return finite numbers for a design that was built; "
                f"`{self.metrics[column].name}` is not."
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
    name = check_line("name", getattr(simulator, "name", None))
    if set("/[]") & set(name):
        raise InvalidArgumentError(
            f"A simulator's name must have no `/`, `[` or `]`; got {name!r}."
        )
    space, specs = getattr(simulator, "space", None), getattr(simulator, "metrics", None)
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


def option_names(kind: type[Simulator]) -> tuple[str, ...]:
    """Return the constructor arguments of a simulator other than space and fidelity."""
    return kind.option_names()


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
