"""Simulators made of a Python function, and of a declaration alone.

    @simulator(space=[PowerOfTwo(name="ways", low=1, high=16)], metrics={"amat_ns": "minimise"})
    def cache(design):
        return {"amat_ns": 2.0 + 0.1 * design["ways"] + 8.0 / design["ways"]}

`archgym.search(cache)` searches it.
"""

import ast
import hashlib
import inspect
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import update_wrapper
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.checks import check_whole
from archgym.errors import (
    InvalidArgumentError,
    SimulatorError,
    error_text,
    unknown_name,
)
from archgym.evaluation.external import Infeasible
from archgym.evaluation.metrics import (
    MetricSpec,
    given_names,
    mean_of_runs,
    undescribed,
    with_standard_errors,
)
from archgym.evaluation.objective import Objective, objective_of
from archgym.evaluation.simulator import (
    FAILED,
    BatchResult,
    Simulator,
    Workload,
    check_declared,
    simulator_names,
)
from archgym.evaluation.spec import SimulatorSpec
from archgym.spaces.parameter import Parameter
from archgym.spaces.space import DesignSpace

MetricGoals = Mapping[str, str] | Sequence[MetricSpec]
"""Goals by name of the metric ("minimise", "maximise" or "none"), or full specifications."""

_Result = Mapping[str, float] | Infeasible
# chosen: far below what any cost model tells apart; values of that size still get finite rewards.
_RESOLUTION = 1e-6
_WORKLOAD = "default"
# Units by the end of a metric's name.
_UNITS = {
    **{unit.lower(): unit for unit in ("ns", "us", "ms", "s", "mW", "W", "pJ", "nJ", "uJ", "mJ")},
    **{unit.lower(): unit for unit in ("J", "mm2", "um2", "MHz", "GHz", "KiB", "MiB", "GiB")},
    "percent": "%",
    "cycles": "cycles",
}
_MAX_SHOWN = 200


def simulator(
    *,
    space: DesignSpace | Sequence[Parameter],
    metrics: MetricGoals,
    reasons: Sequence[str] = (),
    version: int = 0,
    repeats: int = 1,
) -> Callable[[Callable[..., _Result]], "FunctionSimulator"]:
    """Return a decorator that makes a simulator of a function from a design to its metrics.

    The function gets a design, a mapping of parameters to values, and returns every metric by name.
    Metrics may be negative, such as a slack, a profit or a logarithm.
    It may return `Infeasible(reason)` for a design that cannot be built. An exception, a missing
    metric or a number that is not finite fails that design; the search continues.

    Args:
      space: Design space, or its parameters.
      metrics: Goals by name, or full specifications. The end of a name gives the unit.
      reasons: Reasons that the function may give for a design that cannot be built.
      version: Number to raise when what the function calls changes its results. A change of the
        function's own code is noticed.
      repeats: Calls for each design. Of several, metrics are means, and their standard errors,
        which `archgym decide` uses, are added as metrics.

    Raises:
      InvalidArgumentError: A metric's goal does not exist, or there is no metric.
      InvalidSpaceError: The parameters do not make a space.

    Example:
      >>> from archgym.spaces.parameter import PowerOfTwo
      >>> @simulator(space=[PowerOfTwo(name="ways", low=1, high=16)],
      ...            metrics={"amat_ns": "minimise", "area_mm2": "minimise"})
      ... def cache(design):
      ...     ways = design["ways"]
      ...     return {"amat_ns": 2.0 + 0.1 * ways + 8.0 / ways, "area_mm2": 0.5 * ways}
      >>> cache({"ways": 8})
      {'amat_ns': 3.8, 'area_mm2': 4.0}
      >>> [spec.unit for spec in cache.metrics]
      ['ns', 'mm2']
    """

    def decorate(function: Callable[..., _Result]) -> FunctionSimulator:
        return FunctionSimulator(
            function, space, metrics, reasons=reasons, version=version, repeats=repeats
        )

    return decorate


def is_of_function(recipe: Mapping[str, Any]) -> bool:
    """Return True if a recorded task is of a Python function, not of a registered simulator.

    Args:
      recipe: The task, as `Task.to_json` wrote it.
    """
    workloads = [workload.get("source") for workload in recipe.get("workloads", ())]
    is_declared = workloads == [_WORKLOAD] and not recipe.get("options")
    return is_declared and recipe.get("simulator") not in simulator_names()


class _Declared(Simulator):
    """A simulator of one space and one workload, declared by arguments."""

    def __init__(
        self,
        name: str,
        space: DesignSpace | Sequence[Parameter],
        metrics: MetricGoals,
        code: str,
        **further: Any,
    ) -> None:
        self.spec = SimulatorSpec(
            name=name,
            space=space if isinstance(space, DesignSpace) else _space(space),
            metrics=metric_specs(metrics),
            default_workload=_WORKLOAD,
            **further,
        )
        check_declared(self)
        aims = usual_objectives(self.metrics)
        self.spec = replace(self.spec, objectives=aims, default_objective=next(iter(aims)))
        self._digest = hashlib.sha256(code.encode()).hexdigest()

    def workload_names(self) -> tuple[str, ...]:
        """Return the name of the only workload."""
        return (_WORKLOAD,)

    def workload(self, name: str | Path) -> Workload:
        """Return the only workload, whose digest is that of the code.

        Raises:
          UnknownNameError: The name is another.
        """
        if str(name) != _WORKLOAD:
            raise unknown_name("workload", str(name), (_WORKLOAD,))
        return Workload(_WORKLOAD, self._digest, None)


@final
class FunctionSimulator(_Declared):
    """A simulator that calls a Python function for each design.

    `simulator` makes it as a decorator. It can be called as the function can. Tasks of it are
    bound to the function's code without comments and documentation, so that a study of other code
    is not continued by mistake.

    Example:
      >>> from archgym.spaces.parameter import PowerOfTwo
      >>> def latency(design):
      ...     return {"latency_ns": 2.0 + 8.0 / design["ways"]}
      >>> cache = FunctionSimulator(
      ...     latency, [PowerOfTwo(name="ways", low=1, high=16)], {"latency_ns": "minimise"}
      ... )
      >>> cache.evaluate({"ways": 4}, cache.workload("default"))
      Metrics(latency_ns=4)
    """

    def __init__(
        self,
        function: Callable[..., _Result],
        space: DesignSpace | Sequence[Parameter],
        metrics: MetricGoals,
        *,
        reasons: Sequence[str] = (),
        version: int = 0,
        repeats: int = 1,
    ) -> None:
        """Take a function and declare what it takes and returns.

        Args:
          function: Function of a design that returns every metric by name.
          space: Design space, or its parameters.
          metrics: Goals by name, or full specifications.
          reasons: Reasons that the function may give for a design that cannot be built.
          version: Number to raise when what the function calls changes its results.
          repeats: Calls for each design; see `simulator`.

        Raises:
          InvalidArgumentError: The function cannot be called with a design, or a goal is unknown.
        """
        if not callable(function):
            raise InvalidArgumentError(
                f"A simulator needs a function of a design; got {function!r}."
            )
        if isinstance(reasons, str):
            raise InvalidArgumentError(f"`reasons` must be a list of texts; got {reasons!r}.")
        self.repeats = check_whole("repeats", repeats, 1)
        super().__init__(
            str(getattr(function, "__name__", type(function).__name__)).strip("<>"),
            space,
            with_standard_errors(metric_specs(metrics), repeats),
            code_of(function) + (f"\n{repeats} calls" if repeats > 1 else ""),
            version=check_whole("version", version, 0),
            model_reasons=tuple(reasons),
            holds_interpreter=True,
            is_measured=True,
        )
        self._function = function
        update_wrapper(self, function)

    def __call__(self, design: Mapping[str, Any]) -> _Result:
        """Return what the function returns for a design."""
        return self._function(design)

    def __repr__(self) -> str:
        return f"FunctionSimulator({self.name!r}, {self.space!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Also functions of a notebook's cell and lambdas, which pickle refuses.
        import cloudpickle

        # The source may not be there where it is unpickled, so the digest goes with it.
        content = cloudpickle.dumps((self._function, self._digest))
        told = (self.space, self.metrics, self.spec.model_reasons, self.version, self.repeats)
        return _unpickled, (content, *told)

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Call the function for one design after the other."""
        values = np.full((len(indices), len(self.spec.simulated_metrics)), np.nan)
        reason = np.zeros(len(indices), dtype=np.int16)
        failures: dict[int, str] = {}
        for row, design in enumerate(self.space.designs(indices)):
            try:
                runs: list[np.ndarray] = []
                while len(runs) < self.repeats and not reason[row]:
                    result = self._called(design)
                    if isinstance(result, Infeasible):
                        reason[row] = self._reason(result)
                    else:
                        runs.append(self._numbers(result))
                if not reason[row]:
                    values[row] = mean_of_runs(runs, self.spec.simulated_metrics)
            except SimulatorError as error:
                reason[row] = FAILED
                failures[row] = str(error)
        return BatchResult(values, reason, failures)

    def _called(self, design: Mapping[str, Any]) -> Any:
        try:
            return self._function(design)
        except SimulatorError:
            raise
        # A function is its author's and may raise anything; that design has failed.
        except Exception as error:
            if "must derive from BaseException" in str(error):
                raise SimulatorError(
                    f"`{self.name}` must return `Infeasible(reason)`, not raise it."
                ) from error
            raise SimulatorError(
                f"`{self.name}` raised {type(error).__name__}: {error_text(error)}"
            ) from error

    def _reason(self, result: Infeasible) -> int:
        if result.reason not in self.spec.model_reasons:
            raise SimulatorError(
                f"`{self.name}` must give one of its `reasons`, {list(self.spec.model_reasons)!r}; "
                f"got {result.reason!r}. Add it to the decorator's `reasons`."
            )
        return self.spec.reasons.index(result.reason, 1)

    def _numbers(self, result: Any) -> np.ndarray:
        if not isinstance(result, Mapping):
            shown = "None; is a `return` missing?" if result is None else f"{_shown(result)}."
            raise SimulatorError(
                f"`{self.name}` must return its metrics as a mapping of names to numbers; got "
                f"{shown}"
            )
        names = given_names(self.spec.simulated_metrics, self.repeats)
        missing = [name for name in names if name not in result]
        extra = [str(name) for name in result if name not in names]
        if missing or extra:
            parts = [("missing", missing), ("not declared", extra)]
            text = "; ".join(f"{', '.join(found)} {what}" for what, found in parts if found)
            raise SimulatorError(
                f"`{self.name}` must return exactly its metrics, {', '.join(names)}; {text}."
            )
        specs = {spec.name: spec for spec in self.spec.simulated_metrics}
        return np.array([self._number(specs[name], result[name]) for name in names])

    def _number(self, spec: MetricSpec, value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number) or isinstance(value, str):
            raise SimulatorError(
                f"`{spec.name}` of `{self.name}` must be a finite number; got {_shown(value)}."
            )
        if number < 0 and spec.goal != "none" and not spec.signed:
            raise SimulatorError(
                f"`{spec.name}` of `{self.name}` must be 0 or more, as its MetricSpec says; got "
                f"{number!r}. Declare it with signed=True."
            )
        return number


@final
class OutsideSimulator(_Declared):
    """A simulator whose designs are evaluated elsewhere: on a cluster, a board, by hand.

    It knows the default design's metrics, to which rewards are relative, and nothing else. Studies
    of it are asked and told: `Study.ask`, `Study.tell`.

    Example:
      >>> from archgym.tasks.task import Task
      >>> from archgym.spaces.parameter import PowerOfTwo
      >>> board = OutsideSimulator(
      ...     "fpga", [PowerOfTwo(name="lanes", low=1, high=8)], {"time_ms": "minimise"},
      ...     default={"time_ms": 12.5},
      ... )
      >>> Task.make(board).id
      'fpga/default/default/minimise:time_ms-v0'
    """

    def __init__(
        self,
        name: str,
        space: DesignSpace | Sequence[Parameter],
        metrics: MetricGoals,
        *,
        default: Mapping[str, float],
        reasons: Sequence[str] = (),
    ) -> None:
        """Declare what is evaluated elsewhere.

        Args:
          name: Name for people.
          space: Design space, or its parameters.
          metrics: Goals by name, or full specifications.
          default: Metrics of the default design.
          reasons: Reasons why a design may not be built.

        Raises:
          InvalidArgumentError: A metric of the default design is missing or not finite.
        """
        code = repr(sorted(default.items()))
        super().__init__(name, space, metrics, code, model_reasons=tuple(reasons))
        names = [spec.name for spec in self.spec.simulated_metrics]
        if sorted(default) != sorted(names) or not all(map(_is_finite, default.values())):
            raise InvalidArgumentError(
                f"`default` must give the default design's {', '.join(names)} as finite numbers; "
                f"got {dict(default)!r}."
            )
        self._default = [float(default[name]) for name in names]

    def __repr__(self) -> str:
        return f"OutsideSimulator({self.name!r}, {self.space!r})"

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return the default design's metrics; fail for others."""
        values = np.full((len(indices), len(self._default)), np.nan)
        is_default = (indices == self.space.default_indices).all(axis=1)
        values[is_default] = self._default
        failure = (
            f"Designs of {self.name!r} are evaluated elsewhere. Use `ask` and `tell` of the study."
        )
        failures = dict.fromkeys(np.flatnonzero(~is_default).tolist(), failure)
        return BatchResult(values, np.where(is_default, 0, FAILED).astype(np.int16), failures)


def _unpickled(
    content: bytes,
    space: DesignSpace,
    metrics: tuple[MetricSpec, ...],
    reasons: tuple[str, ...],
    version: int,
    repeats: int,
) -> FunctionSimulator:
    import cloudpickle

    function, digest = cloudpickle.loads(content)
    made = FunctionSimulator(
        function, space, metrics, reasons=reasons, version=version, repeats=repeats
    )
    made._digest = digest
    return made


def _space(parameters: Any) -> DesignSpace:
    given = list(parameters) if isinstance(parameters, Iterable) else [parameters]
    if isinstance(parameters, Mapping) or not all(isinstance(each, Parameter) for each in given):
        raise InvalidArgumentError(
            f"`space` must be a DesignSpace or list parameters; got {parameters!r:.200}. Write for "
            'instance space=[Integer(name="ways", low=1, high=16)].'
        )
    return DesignSpace("default", given)


def metric_specs(metrics: Any) -> tuple[MetricSpec, ...]:
    """Return the specifications of metrics that a caller gave, perhaps as goals by name.

    Raises:
      InvalidArgumentError: A name or a goal cannot be used, or there is no metric.
    """
    if not isinstance(metrics, Mapping):
        given = tuple(metrics) if isinstance(metrics, Iterable) else ()
        if not given or not all(isinstance(spec, MetricSpec) for spec in given):
            raise InvalidArgumentError(
                "`metrics` must map names to goals or list MetricSpecs; got "
                f'{metrics!r}. Write for instance metrics={{"amat_ns": "minimise"}}.'
            )
        return given
    specs: list[MetricSpec] = []
    for name, goal in metrics.items():
        if not (isinstance(name, str) and name.isidentifier()):
            raise InvalidArgumentError(
                f"A metric's name must be letters, digits and underscores; got {name!r}."
            )
        if goal not in ("minimise", "maximise", "none"):
            raise InvalidArgumentError(
                f"The goal of `{name}` must be minimise, maximise or none; got {goal!r}."
            )
        unit = _UNITS.get(name.rpartition("_")[2].lower(), "") if "_" in name else ""
        specs.append(MetricSpec(name, unit, goal, _RESOLUTION, undescribed(name), signed=True))
    if not specs:
        raise InvalidArgumentError("`metrics` must name one metric or more; it names none.")
    return tuple(specs)


def usual_objectives(specs: Sequence[MetricSpec]) -> dict[str, Objective]:
    """Return an objective of all metrics that have a goal, and one of each alone."""
    low = [spec.name for spec in specs if spec.goal == "minimise"]
    high = [spec.name for spec in specs if spec.goal == "maximise"]
    if not low and not high:
        raise InvalidArgumentError(
            "One metric or more must be minimised or maximised; every goal is `none`."
        )
    found = [objective_of(low, high, specs)]
    if len(low) + len(high) > 1:
        found += [objective_of([name], [], specs) for name in low]
        found += [objective_of([], [name], specs) for name in high]
    return {objective.name: objective for objective in found}


def code_of(function: Callable[..., Any]) -> str:
    """Return what a function does as text: its source without comments, else its byte code."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        code = getattr(function, "__code__", None)
        if code is None:
            return repr(type(function))
        return f"{code.co_code.hex()} {code.co_consts!r} {code.co_names!r}"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
            return f"{ast.unparse(node)}\n{function.__defaults__!r}"
    return ast.unparse(tree)


def _is_finite(value: Any) -> bool:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return bool(is_number and math.isfinite(value))


def _shown(value: Any) -> str:
    text = repr(value)
    text = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
    return f"{text} of type {type(value).__name__}"
