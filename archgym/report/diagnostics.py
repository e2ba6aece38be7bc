"""Diagnostics of a search: parameters that decide, health checks, and hints at its end."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, final

import numpy as np

from archgym.analysis.statistics import Interval
from archgym.evaluation.external import ExternalSimulator
from archgym.evaluation.function import FunctionSimulator, OutsideSimulator
from archgym.evaluation.metrics import growth
from archgym.evaluation.restriction import held_values, unrestricted
from archgym.evaluation.simulator import FEASIBLE
from archgym.report.evidence import TaskEvidence
from archgym.report.quantities import Table, change_text, grouped_number, quantity
from archgym.runtime.reductions import report_reduction
from archgym.studies.snapshot import StudyLog
from archgym.tasks.executor import Executor
from archgym.tasks.task import Task

# chosen: fewer leave a forest of such leaves too few to split.
_LEAST_DESIGNS = 50
# chosen: all tasks of a report together; the forest then takes seconds however many there are.
_MOST = 20_000
_LEAST = 4_000
_TREES = 64
# chosen: so few designs to a leaf follow an exact simulator and still smooth over single ones.
_LEAF = 3
# chosen: parameters with more values are judged in this many equal parts of their range.
_MAX_VALUES = 32
# chosen: pairs among more parameters would take longer than the forest.
_MAX_KNOBS = 24
# chosen: below it, most of what rewards vary by is not in the forest.
_POOR_FIT = 0.5
# chosen: the best quarter is what a user chooses among.
_GOOD = 0.75
# chosen: the table and the figure fit a screen.
_SHOWN_PAIRS = 10


@final
@dataclass(frozen=True)
class Importance:
    """Shares of the variance of the reward, larger ones first, 1 for all of it."""

    alone: tuple[tuple[str, Interval], ...]
    pairs: tuple[tuple[str, str, Interval], ...]
    fit: float
    """R² on designs that a tree was not fitted on."""
    n_designs: int

    @property
    def is_poor(self) -> bool:
        """True if the forest says too little of the rewards to be believed."""
        return self.fit < _POOR_FIT

    def total(self) -> dict[str, float]:
        """Return the share of each parameter, alone and in all pairs with others."""
        found = {name: share.value for name, share in self.alone}
        for a, b, share in self.pairs:
            found[a] += share.value
            found[b] += share.value
        return found

    @property
    def note(self) -> str:
        """Reliability of the shares, in words."""
        poor = "A poor fit, a hint at most: " if self.is_poor else ""
        return (
            f"{poor}R² {self.fit:.2f} on designs that trees were not fitted on, of "
            f"{self.n_designs:,} designs."
        )


def importance(
    task: TaskEvidence, *, n_tasks: int, level: float, seed: int, is_among_good: bool = False
) -> Importance | None:
    """Return shares by parameter and pair of parameters; None if there is too little to fit.

    Functional analysis of variance of a random forest that is fitted on the evaluations: unlike
    permutation it also splits effects of single parameters from those of pairs, and it covers the
    whole space evenly, not only where a search spent its evaluations. A tree is a sum of boxes, so
    that its shares are exact. Optuna has the same of single parameters alone.

    Args:
      task: Its designs that were built, each counted once.
      n_tasks: Tasks that share the time of a report.
      level: Share of trees between the ends of an interval. Each tree has its own bootstrap
        sample of the designs.
      seed: Random seed of the forest and of the evaluations that it is fitted on.
      is_among_good: True to count differences above the best quarter's least reward alone, as
        Hutter and others do; below it all designs are alike.

    Source:
      Hutter, Hoos & Leyton-Brown, *An Efficient Approach for Assessing Hyperparameter
      Importance*, ICML 2014; here in closed form over a tree's boxes.
    """
    reward = task.stacked("reward")
    built = np.flatnonzero(np.isfinite(reward))
    most = max(_LEAST, _MOST // n_tasks)
    chosen = built[np.linspace(0, len(built) - 1, min(most, len(built))).astype(np.int64)]
    report_reduction(
        f"evaluations of {task.label} for importances", len(chosen), len(built),
        "they are spread evenly over the runs",
    )  # fmt: skip
    indices, first = np.unique(task.stacked("indices")[chosen], axis=0, return_index=True)
    reward = reward[chosen][first]
    if is_among_good:
        reward = np.maximum(reward, np.quantile(reward, _GOOD))
    if len(reward) < _LEAST_DESIGNS or np.ptp(reward) == 0:
        return None
    parameters = [place for place, size in enumerate(task.space.sizes) if size > 1]
    sizes = np.array([min(int(task.space.sizes[place]), _MAX_VALUES) for place in parameters])
    columns = [
        indices[:, place].astype(np.int64) * size // int(task.space.sizes[place])
        for place, size in zip(parameters, sizes.tolist(), strict=True)
    ]
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(
        _TREES, min_samples_leaf=_LEAF, oob_score=True, random_state=seed
    ).fit(np.stack(columns, axis=1), reward)
    boxes = [_boxes(estimator.tree_, sizes) for estimator in forest.estimators_]
    alone = np.array([_alone(*each, sizes) for each in boxes])
    strongest = np.sort(np.argsort(-alone.mean(axis=0), kind="stable")[:_MAX_KNOBS])
    pairs = list(combinations(strongest.tolist(), 2))
    joint = np.array([_joint(*each, sizes, pairs) for each in boxes])
    together = joint - np.array([alone[:, a] + alone[:, b] for a, b in pairs]).T if pairs else joint
    names = [task.space.names[place] for place in parameters]
    single = [(name, _interval(alone[:, k], level)) for k, name in enumerate(names)]
    double = [
        (names[a], names[b], _interval(np.maximum(together[:, p], 0.0), level))
        for p, (a, b) in enumerate(pairs)
    ]
    return Importance(
        tuple(sorted(single, key=lambda entry: -entry[1].value)),
        tuple(sorted(double, key=lambda entry: -entry[2].value)),
        float(forest.oob_score_),
        len(reward),
    )


def _interval(shares: np.ndarray, level: float) -> Interval:
    low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(shares.mean()), float(low), float(high))


def _boxes(tree: Any, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a tree's leaves: predictions, and the range of each parameter as low and high."""
    low = np.zeros((tree.node_count, len(sizes)), dtype=np.int64)
    high = np.tile(sizes, (tree.node_count, 1))
    nodes = np.array([0])
    while len(nodes := nodes[tree.children_left[nodes] >= 0]):
        left, right = tree.children_left[nodes], tree.children_right[nodes]
        parameter = tree.feature[nodes]
        cut = np.floor(tree.threshold[nodes]).astype(np.int64) + 1
        for child in (left, right):
            low[child], high[child] = low[nodes], high[nodes]
        high[left, parameter] = cut
        low[right, parameter] = cut
        nodes = np.concatenate([left, right])
    is_leaf = tree.children_left < 0
    return tree.value[is_leaf, 0, 0], low[is_leaf], high[is_leaf]


def _weights(
    said: np.ndarray, low: np.ndarray, high: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return parameters' shares of boxes, boxes' parts of the mean, and the variance."""
    shares = (high - low) / sizes
    volume = shares.prod(axis=1)
    said = said - said @ volume
    return shares, said * volume, float((said**2) @ volume)


def _alone(said: np.ndarray, low: np.ndarray, high: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return share of a tree's variance that each parameter decides alone, (n_parameters,)."""
    shares, parts, total = _weights(said, low, high, sizes)
    found = np.zeros(len(sizes))
    for parameter, size in enumerate(sizes.tolist()):
        part = parts / shares[:, parameter]
        steps = np.bincount(low[:, parameter], part, size + 1)
        steps -= np.bincount(high[:, parameter], part, size + 1)
        found[parameter] = np.mean(np.cumsum(steps[:-1]) ** 2)
    return found / total if total > 0 else found


def _joint(
    said: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    sizes: np.ndarray,
    pairs: list[tuple[int, int]],
) -> np.ndarray:
    """Return the share of a tree's variance that pairs of parameters decide, (n_pairs,)."""
    shares, parts, total = _weights(said, low, high, sizes)
    found = np.zeros(len(pairs))
    for number, (a, b) in enumerate(pairs):
        part, width = parts / (shares[:, a] * shares[:, b]), int(sizes[b]) + 1
        corners = np.concatenate(
            [x * width + y for x in (low[:, a], high[:, a]) for y in (low[:, b], high[:, b])]
        )
        signed = np.concatenate([part, -part, -part, part])
        steps = np.bincount(corners, signed, (int(sizes[a]) + 1) * width).reshape(-1, width)
        found[number] = np.mean(steps.cumsum(axis=0).cumsum(axis=1)[:-1, :-1] ** 2)
    return found / total if total > 0 else found


def good_table(label: str, found: Importance) -> Table:
    """Return the shares of parameters among good designs."""
    note = (
        "As above, but of the reward above the best quarter's least: what decides between good "
        f"designs, where others decide over the whole space. {found.note}"
    )
    rows = tuple(
        (name, 100 * share.value, 100 * share.low, 100 * share.high) for name, share in found.alone
    )
    columns = ("parameter", "share of variance [%]", "low", "high")
    return Table(f"good {label}", "Importance among good designs", columns, rows, note, 2)


def importance_tables(label: str, found: Importance, level: float) -> list[Table]:
    """Return the shares of parameters, and those of the pairs that act together most."""

    def percent(share: Interval) -> tuple[float, float, float]:
        return 100 * share.value, 100 * share.low, 100 * share.high

    columns = ("share of variance [%]", "low", "high")
    note = (
        "Functional analysis of variance of the reward over the whole space, as if every "
        f"combination could be built, by {_TREES} trees; low and high hold {100 * level:g} % of "
        f"them. {found.note}"
    )
    shares = [share for _, share in found.alone] + [share for _, _, share in found.pairs]
    rest = 1 - sum(share.value for share in shares)
    pairs = (
        "Joint effect of two parameters, beyond each alone. All parameters alone and all pairs "
        f"leave {100 * max(0.0, rest):.1f} % to three or more together. {found.note}"
    )
    tables = [
        Table(
            f"importance {label}",
            "Importance of parameters",
            ("parameter", *columns),
            tuple((name, *percent(share)) for name, share in found.alone),
            note,
            2,
        ),
        Table(
            f"interactions {label}",
            "Parameters that act together",
            ("parameter", "and parameter", *columns),
            tuple((a, b, *percent(share)) for a, b, share in found.pairs[:_SHOWN_PAIRS]),
            pairs,
            2,
        ),
    ]
    return [table for table in tables if table.rows]


# chosen: a parameter with a larger share of the rewards' variance, pairs included, has an effect.
_IDLE = 0.01
# As is usual: effects that chance reaches more often are not told apart from it.
_CHANCE = 0.05
# chosen: the least p-value is then 1 %.
_PERMUTATIONS = 99
# chosen: a permutation test of more designs takes longer and finds no more.
_MAX_DESIGNS = 4000
# chosen: failures of other kinds are in the JSON of `show` and in data frames.
_MOST_FAILURES = 5
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
        for problem in dict.fromkeys((run.problem, run.damage, *run.failures[:_MOST_FAILURES])):
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
    evaluations may take long are not asked. Parameters that number things are left out.

    Args:
      task: The study's task.
      log: The study.
      executor: Evaluates them; by default one after the other.
    """
    best = log.best()
    if best is None or isinstance(unrestricted(task.simulator), _SLOW):
        return []
    design = task.space.canonical(task.space.indices_of(best.design)[None, :])[0]
    active = task.space.active(design[None, :])[0]
    ends, neighbours = [], []
    for place, parameter in enumerate(task.space.parameters):
        at = int(design[place])
        if not (parameter.is_ordered and active[place] and parameter.size > 1):
            continue
        # Numbers of things, such as of buses, from 0, or from -1 for none; more is not further.
        is_number = parameter.kind == "integer" and parameter.value(0) in (-1, 0)
        if is_number and not parameter.unit:
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
    widest = unrestricted(task.simulator).space.parameter(parameter.name).widened()
    first, last = widest.value(0), widest.value(widest.size - 1)
    end = first if design[place] == 0 else last
    if value == end:
        return f"{text}, where the space ends"
    if parameter.name in held_values(task.simulator):
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
            found.append(f"{limit.metric}: best {grouped_number(best)}, limit {bound}")
    return found
