"""Compositions from Python: of registered simulators, or of any parts with a function.

together = archgym.compose(cpu="cpu", dram="dram")

def couple(parts, workload):
    cache = parts["cache"].run(workload)
    memory = parts["dram"].run("cloud-1", requests=str(int(cache["misses"])))
    return {"time_ns": cache["busy_ns"] + memory["total_time_ns"]}

own = archgym.compose(couple, {"time_ns": "minimise"}, cache=cache, dram="dram")
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from archgym.composition.composition import (
    Composition,
    Part,
    PartInfeasible,
    recorded_choices,
)
from archgym.composition.namespace import within
from archgym.errors import InvalidArgumentError, SimulatorError, error_text
from archgym.evaluation.function import MetricGoals, code_of, metric_specs, usual_objectives
from archgym.evaluation.restriction import held_values, hold, unrestricted
from archgym.evaluation.simulator import Simulator, Workload, simulator_class, simulator_names
from archgym.evaluation.spec import SimulatorSpec

Coupling = Callable[[Mapping[str, Part], Workload], Mapping[str, float] | str]
"""Function of a design's parts and a workload, which returns joint metrics or a reason."""


def compose(
    couple: Coupling | None = None,
    metrics: MetricGoals | None = None,
    /,
    *,
    links: Mapping[str, str] | None = None,
    reasons: Sequence[str] = (),
    version: int = 0,
    **parts: str | Simulator,
) -> Simulator:
    """Return a simulator of several parts, whose designs are chosen together.

    Without a function the composition must be one that ArchGym has, such as `cpu+dram`. With one
    the parts may be any simulators. The first part takes the workload.

    Args:
      couple: Function that runs the parts of a design and returns the joint metrics.
      metrics: Goals of the joint metrics by name, or full specifications.
      links: Results that parts give each other, in words: by "giver > taker".
      reasons: Reasons why `couple` may find that a design cannot be built.
      version: Number to raise when what the function calls changes its results.
      **parts: Simulators, or names of registered ones, by the name of the part.

    Raises:
      InvalidArgumentError: There is no such composition, or a part cannot be one.

    Example:
      >>> from archgym.testing import ProvingSimulator
      >>> def couple(parts, workload):
      ...     first = parts["first"].run(workload)
      ...     second = parts["second"].run(workload)
      ...     return {"sum_ns": first["cost_ns"] + second["cost_ns"]}
      >>> pair = compose(
      ...     couple,
      ...     {"sum_ns": "minimise"},
      ...     first=ProvingSimulator("tiny"),
      ...     second=ProvingSimulator("tiny"),
      ... )
      >>> pair.space.names
      ('first.mode', 'first.count', 'second.mode', 'second.count')
      >>> design = pair.space.design_at(pair.space.default_indices)
      >>> found = pair.evaluate(design, pair.workload("near"))
      >>> found["sum_ns"] == 2 * found["first.cost_ns"]
      True
    """
    made = {name: _instance(part) for name, part in parts.items()}
    if couple is None:
        return _registered(made)
    if metrics is None:
        raise InvalidArgumentError(
            "`metrics` must name the joint metrics that `couple` returns; got none. Write for "
            'instance {"time_ns": "minimise"}.'
        )
    return FunctionComposition(
        couple, metrics, made, links=links or {}, reasons=reasons, version=version
    )


@final
class FunctionComposition(Composition):
    """A composition whose parts are coupled by a Python function; `compose` makes it.

    Example:
      >>> from archgym.testing import ProvingSimulator
      >>> parts = {"first": ProvingSimulator("tiny"), "second": ProvingSimulator("tiny")}
      >>> def later(parts, workload):
      ...     return {"ns": max(part.run(workload)["cost_ns"] for part in parts.values())}
      >>> made = FunctionComposition(later, {"ns": "minimise"}, parts, links={})
      >>> [spec.name for spec in made.metrics][0]
      'ns'
    """

    def __init__(
        self,
        couple: Coupling,
        metrics: MetricGoals,
        parts: Mapping[str, Simulator],
        *,
        links: Mapping[str, str],
        reasons: Sequence[str] = (),
        version: int = 0,
    ) -> None:
        """Take a function and the parts that it runs; arguments are those of `compose`."""
        if not callable(couple) or len(inspect.signature(couple).parameters) != 2:
            raise InvalidArgumentError(
                f"`couple` must be a function of the parts and the workload; got {couple!r}."
            )
        self.joint_metrics = metric_specs(metrics)
        aims = usual_objectives(self.joint_metrics)
        self.spec = SimulatorSpec(
            name="+".join(parts),
            version=version,
            objectives=aims,
            default_objective=next(iter(aims)),
            evaluation_s=sum(part.spec.evaluation_s for part in parts.values()),
            holds_interpreter=True,
            is_measured=True,
        )
        self.own_reasons, self.links = tuple(reasons), dict(links)
        self._couple, self._code = couple, code_of(couple)
        self.join(parts)
        for link in links:
            for name in (each.strip() for each in link.split(">")):
                if name not in parts:
                    raise InvalidArgumentError(
                        f"`links` must be between parts, {', '.join(parts)}; got {link!r}."
                    )

    def __reduce__(self) -> tuple[Any, ...]:
        # Also functions of a notebook's cell, which pickle refuses.
        import cloudpickle

        content = cloudpickle.dumps((self._couple, self._code))
        rest = self.joint_metrics, self.parts, self.links, self.own_reasons, self.version
        return _unpickled, (content, *rest)

    def workload(self, name: str | Path) -> Workload:
        """Return a workload of the first part, bound to the function's code and the parts."""
        lead = self.parts[self.lead].workload(name)
        parts = [[n, p.name, p.version, recorded_choices(p)] for n, p in self.parts.items()]
        text = json.dumps([self._code, parts, lead.digest], sort_keys=True)
        return Workload(lead.name, hashlib.sha256(text.encode()).hexdigest(), lead)

    def describe_workload(self, workload: Workload) -> Mapping[str, tuple[float | str, str]]:
        """Return characteristics of a workload: name to (value, unit)."""
        return super().describe_workload(_innermost(workload))

    def couple(self, parts: Mapping[str, Part], workload: Workload) -> Mapping[str, float] | str:
        """Return what the function returns for a design; see `Composition.couple`."""
        try:
            found: Any = self._couple(parts, _innermost(workload))
        except (SimulatorError, PartInfeasible):
            raise
        # A function is its author's and may raise anything; that design has failed.
        except Exception as error:
            raise SimulatorError(
                f"`couple` raised {type(error).__name__}: {error_text(error)}"
            ) from error
        if not isinstance(found, Mapping | str):
            raise SimulatorError(
                f"`couple` must return the joint metrics by name, or a reason; got {found!r:.200}."
            )
        return found


def _innermost(workload: Workload) -> Workload:
    """Return the workload of the first part, through compositions within compositions."""
    while isinstance(workload.content, Workload):
        workload = workload.content
    return workload


def _unpickled(
    content: bytes,
    metrics: MetricGoals,
    parts: Mapping[str, Simulator],
    links: Mapping[str, str],
    reasons: tuple[str, ...],
    version: int,
) -> FunctionComposition:
    import cloudpickle

    couple, code = cloudpickle.loads(content)
    made = FunctionComposition(
        couple, metrics, parts, links=links, reasons=reasons, version=version
    )
    made._code = code
    return made


def _instance(part: str | Simulator) -> Simulator:
    """Return a part as a simulator."""
    if isinstance(part, Simulator):
        return part
    kind = simulator_class(part)
    made: Any = kind
    found: Simulator = made()
    return found


def _registered(parts: Mapping[str, Simulator]) -> Simulator:
    """Return the registered composition of some parts, which hold what the parts hold.

    Raises:
      InvalidArgumentError: There is no such composition.
    """
    name = "+".join(parts)
    if name not in simulator_names():
        known = ", ".join(each for each in simulator_names() if "+" in each)
        raise InvalidArgumentError(
            f"A composition without a function must be one of {known}; got {name!r}. Give a "
            "function that runs the parts: compose(couple, metrics, …)."
        )
    kind: Any = simulator_class(name)
    options: dict[str, str] = {}
    for part, made in parts.items():
        if made.name != kind.kinds[part]:
            raise InvalidArgumentError(
                f"Part `{part}` of {name!r} must be simulator {kind.kinds[part]!r}; got "
                f"{made.name!r}."
            )
        own = recorded_choices(unrestricted(made))
        options |= {within(part, option): text for option, text in own.items()}
    known_options = kind.option_names()
    whole: Simulator = kind(**{n: text for n, text in options.items() if n in known_options})
    held = {
        within(part, parameter): values
        for part, made in parts.items()
        for parameter, values in held_values(made).items()
    }
    return hold(whole, {}, held, {})
