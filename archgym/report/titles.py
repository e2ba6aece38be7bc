"""Titles of tasks as sentences, for headings; the id of a task is small print below."""

from collections.abc import Sequence
from typing import Final

from archgym.errors import ArchGymError
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, Term
from archgym.evaluation.simulator import simulator_class, simulator_names
from archgym.report.quantities import metric_title, quantity

_WORDS: Final = {"minimise": "least", "maximise": "most"}
_BOUNDS: Final = {"at-most": "at most", "at-least": "at least", "<=": "at most", ">=": "at least"}
# chosen: more metrics or workloads do not make a title.
_MOST: Final = 3


def task_title(
    simulator: str, workloads: Sequence[str], objective: Objective, specs: Sequence[MetricSpec]
) -> str:
    """Return a task in words: "Memory controller for sort: least mean latency, power at most 2 W".

    Args:
      simulator: Name of the simulator.
      workloads: Names of the workloads.
      objective: Objective of the task.
      specs: Metrics of the simulator.
    """
    known = {spec.name: spec for spec in specs}
    shown = ", ".join(workloads[:_MOST])
    if len(workloads) > _MOST:
        shown = f"{len(workloads)} workloads"
    limits = [
        f"{metric_title(known[limit.metric])} {_BOUNDS[limit.sign]} "
        f"{quantity(limit.bound, known[limit.metric].unit)}"
        for limit in objective.limits
        if limit.metric in known
    ]
    if len(limits) >= _MOST:
        limits = [*limits[: _MOST - 1], f"and {len(limits) - _MOST + 1} more"]
    # Functions that take no workload have one of this name.
    place = "" if list(workloads) == ["default"] else f" for {shown}"
    return ", ".join([f"{_noun(simulator)}{place}: {_aim(objective, known)}", *limits])


def _noun(simulator: str) -> str:
    try:
        return (simulator in simulator_names() and simulator_class(simulator).title) or simulator
    except ArchGymError:
        return simulator


def _aim(objective: Objective, known: dict[str, MetricSpec]) -> str:
    terms = objective.terms
    if objective.is_published_form or len(terms) > _MOST:
        return f"{objective.name.partition('[')[0]}, {len(terms)} metrics"
    return " and ".join(_sought(term, known[term.metric]) for term in terms)


def _sought(term: Term, spec: MetricSpec) -> str:
    if term.target is not None:
        return f"{metric_title(spec)} {_BOUNDS[term.goal]} {quantity(term.target, spec.unit)}"
    return f"{_WORDS[term.goal]} {metric_title(spec)}"
