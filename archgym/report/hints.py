"""Hints at the end of a search: what got worse in exchange, and ranges that end too early."""

from typing import Final

import numpy as np

from archgym.evaluation.external import ExternalSimulator
from archgym.evaluation.function import FunctionSimulator, OutsideSimulator
from archgym.evaluation.metrics import growth
from archgym.evaluation.restriction import held_text
from archgym.evaluation.simulator import FEASIBLE
from archgym.evaluation.task import Task
from archgym.report.quantities import change_text, quantity
from archgym.studies.snapshot import StudyLog

WORSE: Final = 0.1
"""Change of a metric for the worse that a search reports, a share of the default's value."""
# chosen: a smaller difference of rewards is no reason to widen a range.
_STEP: Final = 1e-3
# Simulators whose evaluations may take long, or mean work for somebody.
_SLOW: Final = (FunctionSimulator, ExternalSimulator, OutsideSimulator)


def prices(log: StudyLog) -> list[str]:
    """Return metrics of the best design that are over a tenth worse than the default's, in words.

    The largest change comes first. Metrics that the objective is made of are left out.

    Args:
      log: A study.
    """
    best = log.best()
    if best is None:
        return []
    named = {term["metric"] for term in log.header.task["objective"]["terms"]}
    default = np.average(log.reference, axis=0, weights=log.weights)
    found = []
    for place, spec in enumerate(log.metrics):
        value, base = best.metrics[spec.name], float(default[place])
        is_worse = value > base if spec.goal == "minimise" else value < base
        is_far = abs(value - base) > max(WORSE * abs(base), spec.resolution)
        if spec.goal == "none" or spec.name in named or not (is_worse and is_far):
            continue
        share = change_text(value / base - 1) if base > 0 and value > 0 else ""
        text = f"{spec.name} {quantity(value, spec.unit)}, default {quantity(base, spec.unit)}"
        size = abs(float(growth(np.array([value]), base, spec.resolution)[0]))
        found.append((size, f"{text} ({share})" if share else text))
    return [text for _, text in sorted(found, key=lambda pair: -pair[0])]


def range_ends(task: Task, log: StudyLog) -> list[str]:
    """Return ordered parameters whose best value ends their range and improves on its neighbour.

    The neighbours are evaluated; no budget counts them. Simulators whose evaluations may take long
    are not asked.

    Args:
      task: The study's task.
      log: The study.
    """
    best = log.best()
    if best is None or isinstance(task.simulator.unrestricted, _SLOW):
        return []
    design = task.space.canonical(task.space.indices_of(best.design)[None, :])[0]
    active = task.space.active(design[None, :])[0]
    ends, neighbours = [], []
    for place, parameter in enumerate(task.space.parameters):
        at = int(design[place])
        if not (parameter.is_ordered and active[place] and parameter.size > 1):
            continue
        if at in (0, parameter.size - 1):
            inner = design.copy()
            inner[place] = at + (1 if at == 0 else -1)
            ends.append(place)
            neighbours.append(inner)
    if not ends:
        return []
    found = task.evaluate(np.stack(neighbours))
    built = (found.reason == FEASIBLE).all(axis=1)
    worse = built & (found.reward < best.reward - _STEP)
    return [_end_text(task, design, ends[row]) for row in np.flatnonzero(worse)]


def _end_text(task: Task, design: np.ndarray, place: int) -> str:
    """Return the value at the end of a range, and how to search further where there is more."""
    parameter = task.space.parameters[place]
    value = parameter.value(int(design[place]))
    text = f"`{parameter.name}` is at the end of its range, {value}"
    whole = task.simulator.unrestricted.space.parameter(parameter.name)
    index = whole.index(value)
    is_upper = int(design[place]) == parameter.size - 1 and parameter.size > 1
    further = range(index, whole.size) if is_upper else range(index + 1)
    if len(further) < 2:
        return f"{text}, where the model ends"
    low, high = (further[0], further[-1])
    kept = held_text(whole, [whole.value(i) for i in (*range(low, high + 1),)])
    return f"{text}; --values {parameter.name}={kept.replace('|', ',')} searches further"
