"""Diagnostics of a search, and hints at its end: ranges that end early, metrics that got worse."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from archgym.evaluation.executor import Executor
from archgym.evaluation.external import ExternalSimulator
from archgym.evaluation.function import FunctionSimulator, OutsideSimulator
from archgym.evaluation.metrics import growth
from archgym.evaluation.simulator import FEASIBLE
from archgym.evaluation.task import Task
from archgym.report.evidence import TaskEvidence
from archgym.report.importance import Importance
from archgym.report.quantities import change_text, grouped_number, quantity
from archgym.studies.snapshot import StudyLog

# chosen: a parameter with a larger share of the rewards' variance, pairs included, has an effect.
_IDLE = 0.01
# As is usual: effects that chance reaches more often are not told apart from it.
_CHANCE = 0.05
# chosen: the least p-value is then 1 %.
_PERMUTATIONS = 99
# chosen: a permutation test of more designs takes longer and finds no more.
_MAX_DESIGNS = 4000
# chosen: nothing better in so large a last part of a run.
_PLATEAU = 0.5
# chosen: fewer designs say little about a parameter.
_MIN_DESIGNS = 30
_SHOWN = 8
WORSE: Final = 0.1
"""Change of a metric for the worse that a search reports, a share of the default's value."""
# chosen: a smaller difference of rewards is no reason to widen a range.
_STEP: Final = 1e-3
# Simulators whose evaluations may take long, or mean work for somebody.
_SLOW: Final = (FunctionSimulator, ExternalSimulator, OutsideSimulator)


def health(task: TaskEvidence, shares: Importance | None) -> Iterator[tuple[str, str]]:
    """Yield each check and its finding, in words.

    Args:
      task: Evaluations of the task.
      shares: Importance of its parameters, which the finding must not contradict; None if unknown.
    """
    yield "optimum on a bound", _bounds(task)
    yield "parameter without effect", _idle(task, shares)
    yield "values never tried", _untried(task)
    total = sum(len(run.reward) for run in task.runs)
    refused = sum(int(np.isneginf(run.reward).sum()) for run in task.runs)
    failed = sum(run.failed for run in task.runs)
    text = f"{100 * refused / max(1, total):.1f} % of {total:,} evaluations were not built"
    yield "infeasible share", text + (f"; the simulator broke on {failed:,}" if failed else "")
    yield "early plateau", _plateau(task)
    for run in task.runs:
        for problem in dict.fromkeys((run.problem, run.damage)):
            if problem is not None:
                yield f"run {run.label}, seed {run.seed}", " ".join(problem.split())


def _bounds(task: TaskEvidence) -> str:
    best = task.best
    if best is None:
        return "there is no best design"
    run, row = best
    on = []
    for place, parameter in enumerate(task.space.parameters):
        index = int(run.indices[row, place])
        if parameter.is_ordered and parameter.size > 2 and index in (0, parameter.size - 1):
            on.append(f"{parameter.name} at its {'least' if index == 0 else 'largest'} value")
    if not on:
        return "no parameter of the best design is at the end of its range"
    return "; ".join(on) + ": a wider range may hold better designs"


def _idle(task: TaskEvidence, shares: Importance | None) -> str:
    reward = task.stacked("reward")
    rows = np.flatnonzero(np.isfinite(reward))
    if len(rows) < _MIN_DESIGNS or np.ptp(reward[rows]) == 0:
        return f"not judged: fewer than {_MIN_DESIGNS} designs were built, or all are alike"
    rows = rows[np.linspace(0, len(rows) - 1, min(_MAX_DESIGNS, len(rows))).astype(np.int64)]
    indices, reward = task.stacked("indices")[rows], reward[rows]
    known = {} if shares is None else shares.total()
    idle = [
        parameter.name
        for place, parameter in enumerate(task.space.parameters)
        if parameter.size > 1
        and known.get(parameter.name, 0.0) < _IDLE
        and _p_value(indices[:, place], reward) > _CHANCE
    ]
    if not idle:
        return "every parameter has an effect beyond chance"
    return f"{', '.join(idle)}: no effect beyond chance (permutation test, p above {_CHANCE:g})" + (
        "" if shares is None else f", and with all pairs below {100 * _IDLE:g} % of variance"
    )


def _p_value(column: np.ndarray, reward: np.ndarray) -> float:
    """Return the chance that permuted rewards differ as much between values of a parameter."""
    _, groups = np.unique(column, return_inverse=True)
    counts = np.bincount(groups)
    centred = reward - reward.mean()
    rng = np.random.default_rng(0)

    def between(rewards: np.ndarray) -> float:
        return float((np.bincount(groups, rewards) ** 2 / counts).sum())

    own = between(centred) * (1 - 1e-12)
    reached = sum(between(rng.permutation(centred)) >= own for _ in range(_PERMUTATIONS))
    return (1 + reached) / (1 + _PERMUTATIONS)


def _untried(task: TaskEvidence) -> str:
    indices = task.stacked("indices")
    missing = []
    for place, parameter in enumerate(task.space.parameters):
        tried = len(np.unique(indices[:, place]))
        if tried < parameter.size:
            missing.append(f"{parameter.name} {parameter.size - tried:,} of {parameter.size:,}")
    if not missing:
        return "every value of every parameter was tried"
    more = f"; and {len(missing) - _SHOWN} more parameters" if len(missing) > _SHOWN else ""
    return "; ".join(missing[:_SHOWN]) + more


def _plateau(task: TaskEvidence) -> str:
    stood = begun = 0
    for run in task.runs:
        if len(run.reward) >= 20 and np.isfinite(run.curve[-1]):
            begun += 1
            last = int(np.argmax(run.curve == run.curve[-1])) + 1
            stood += last <= (1 - _PLATEAU) * len(run.reward)
    if not begun:
        return "not judged: no run has 20 evaluations"
    return f"{stood} of {begun} runs found nothing better in their second half"


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


def range_ends(task: Task, log: StudyLog, executor: Executor | None = None) -> list[str]:
    """Return ordered parameters whose best value ends their range and improves on its neighbour.

    Neighbours that the study does not know are evaluated; no budget counts them. Simulators whose
    evaluations may take long are not asked.

    Args:
      task: The study's task.
      log: The study.
      executor: Evaluates them; by default one after the other.
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
    asked, enough = log.records.indices, best.reward - _STEP
    rows = np.flatnonzero(log.is_evaluation & ((asked != design).sum(axis=1) == 1)).tolist()
    is_worse = {
        asked[row].tobytes(): bool(log.is_feasible[row] and log.records.reward[row] < enough)
        for row in rows
    }
    new = [each for each in neighbours if each.tobytes() not in is_worse]
    if new:
        indices = np.stack(new)
        found = task.evaluate(indices) if executor is None else executor.evaluate(task, indices)
        built = (found.reason == FEASIBLE).all(axis=1) & (found.reward < enough)
        is_worse |= {each.tobytes(): bool(b) for each, b in zip(new, built, strict=True)}
    pairs = zip(ends, neighbours, strict=True)
    return [_end_text(task, design, place) for place, each in pairs if is_worse[each.tobytes()]]


def _end_text(task: Task, design: np.ndarray, place: int) -> str:
    """Return the value at the end of a range, and how to search further where there is more."""
    parameter = task.space.parameters[place]
    value = parameter.value(int(design[place]))
    text = f"`{parameter.name}` is at the end of its range, {value}"
    widest = task.simulator.unrestricted.space.parameter(parameter.name).widened()
    first, last = widest.value(0), widest.value(widest.size - 1)
    end = first if design[place] == 0 else last
    if value == end:
        return f"{text}, where the model ends"
    if parameter.name in getattr(task.simulator, "held", ()):
        # A limit of the user's own, such as what his board has.
        return f"{text}, which this task sets; the model holds up to {end}"
    return f"{text}; --values {parameter.name}={first}..{last} searches further"


def unreached_limits(log: StudyLog) -> list[str]:
    """Return in words each limit that no evaluated design meets, with the best value found."""
    names = [spec.name for spec in log.metrics]
    built = log.records.values[log.is_evaluation]
    built = built[~np.isnan(built).any(axis=(1, 2))]
    found = []
    for limit in log.limits if len(built) else ():
        values = built[:, :, names.index(limit.metric)]
        is_upper = limit.sign == "<="
        best = float(values.max(axis=1).min() if is_upper else values.min(axis=1).max())
        if best > limit.bound if is_upper else best < limit.bound:
            bound = grouped_number(limit.bound)
            found.append(f"{limit.metric}: best {grouped_number(best)}; the limit asks for {bound}")
    return found
