"""Diagnostics of a search: bounds, idle parameters, untried values, an early plateau."""

from collections.abc import Iterator

import numpy as np

from archgym.report.evidence import TaskEvidence

__all__ = ["health"]

# chosen: a parameter that explains less of the rewards' variance is said to have no effect.
_IDLE = 1e-3
# chosen: nothing better in so large a last part of a run.
_PLATEAU = 0.5
# chosen: fewer designs say little about a parameter.
_MIN_DESIGNS = 30
_SHOWN = 8


def health(task: TaskEvidence) -> Iterator[tuple[str, str]]:
    """Check and what each found, in words."""
    yield "optimum on a bound", _bounds(task)
    yield "parameter without effect", _idle(task)
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


def shares(task: TaskEvidence) -> np.ndarray | None:
    """Return each parameter's own share of the rewards' variance, (n_parameters,)."""
    reward = task.stacked("reward")
    built = np.isfinite(reward)
    if built.sum() < _MIN_DESIGNS or np.ptp(reward[built]) == 0:
        return None
    reward = reward[built] - reward[built].mean()
    indices, total = task.stacked("indices")[built], float((reward**2).sum())
    found = []
    for place, parameter in enumerate(task.space.parameters):
        column = indices[:, place]
        counts = np.bincount(column, minlength=parameter.size if parameter.size < 10**6 else 0)
        sums = np.bincount(column, reward, minlength=len(counts))
        found.append(float((sums[counts > 0] ** 2 / counts[counts > 0]).sum()) / total)
    return np.array(found)


def _idle(task: TaskEvidence) -> str:
    found = shares(task)
    if found is None:
        return f"not judged: fewer than {_MIN_DESIGNS} designs were built, or all are alike"
    idle = [
        parameter.name
        for parameter, share in zip(task.space.parameters, found, strict=True)
        if share < _IDLE and parameter.size > 1
    ]
    if not idle:
        return f"every parameter alone explains at least {100 * _IDLE:g} % of the rewards' variance"
    return (
        f"{', '.join(idle)}: alone, each explains less than {100 * _IDLE:g} % of the rewards' "
        "variance (it may still act together with others)"
    )


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
