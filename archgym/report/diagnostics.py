"""Diagnostics of a search: bounds, idle parameters, untried values, an early plateau."""

from collections.abc import Iterator

import numpy as np

from archgym.report.evidence import TaskEvidence
from archgym.report.importance import Importance

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
