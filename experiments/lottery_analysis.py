"""Share of an agent's scores that is luck with hyperparameters, and the value of tuning."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from archgym.analysis.statistics import Interval, scores
from archgym.checks import check_whole
from archgym.report.evidence import Evidence, RunEvidence, TaskEvidence, has_defaults
from archgym.report.findings import random_means
from archgym.report.quantities import Cell, Table
from archgym.report.verdict import Protocol

COLUMNS = (
    "agent", "draws", "tasks", "seeds", "P90 - P10", "by chance",
    "best draw", "median draw", "worst draw",
    "hyperparameters [%]", "task [%]", "draw x task [%]", "seed [%]",
    "best of 1", "best of 4", "best of 16",
)  # fmt: skip
_NOTE = (
    "Agents that were run with several hyperparameter settings and their defaults. A draw's "
    "score is the mean over tasks and seeds; by chance: what P90 - P10 of such means would be if "
    "draws differed by luck alone. The shares split the variance of all scores, with what chance "
    "makes of the means of few seeds taken off; best of k: the expected score of the best of k "
    "draws. Draws, tasks and seeds are those that every draw has."
)
# From the 10th to the 90th percentile of a normal distribution, in standard deviations.
_DECILES = 2.5631031310892007
KINDS = ("defaults", "tuned elsewhere", "tuned in place")


@final
@dataclass(frozen=True)
class Lots:
    """Runs of one agent on the tasks and seeds that all its settings share.

    Arrays are (n_settings, n_tasks, n_seeds): scores and logarithms of how many times better than
    an average random design, after the whole budget, after a draw's share of it when draws are
    compared, and where the one that leads then ends.
    """

    agent: str
    draws: tuple[int, ...]
    """Settings that are draws."""
    default: int | None
    """Setting with the agent's defaults."""
    workloads: tuple[str, ...]
    """Content of each task's workloads; tasks with the same content count once."""
    scores: np.ndarray
    ratios: np.ndarray
    compared: np.ndarray
    ends: np.ndarray
    end_ratios: np.ndarray

    @property
    def drawn(self) -> np.ndarray:
        """Scores of the draws, (n_draws, n_tasks, n_seeds)."""
        return np.asarray(self.scores[list(self.draws)])


@final
@dataclass(frozen=True)
class Tuned:
    """A score over all tasks, and how many times better than an average random design."""

    score: Interval
    ratio: float


def tuning_share(protocol: Protocol, n_draws: int) -> tuple[int, int, int]:
    """Return the draws that are compared, evaluations of each, and those of their leader."""
    k = min(protocol.tuning_draws, n_draws)
    each = max(1, protocol.budget // (2 * max(1, k)))
    return k, each, min(protocol.budget, protocol.budget // 2 + each)


def lots(evidence: Evidence, protocol: Protocol) -> list[Lots]:
    """Return every agent with the runs that all its settings share."""
    found: dict[str, dict[str, dict[tuple[str, int], RunEvidence]]] = {}
    tasks = {}
    for task in evidence.tasks:
        digest = task.recipe["digest"]
        if not protocol.tasks[digest]["best"] > protocol.tasks[digest]["average"]:
            continue
        tasks[digest] = task
        for run in task.runs:
            if run.seed is not None and not math.isnan(run.at(protocol.budget)):
                own = found.setdefault(run.agent, {}).setdefault(run.hyperparameters, {})
                own.setdefault((digest, run.seed), run)
    made = (_lots(agent, settings, tasks, protocol) for agent, settings in found.items())
    return [own for own in made if own is not None]


def _lots(
    agent: str,
    settings: Mapping[str, Mapping[tuple[str, int], RunEvidence]],
    tasks: Mapping[str, TaskEvidence],
    protocol: Protocol,
) -> Lots | None:
    shared = set.intersection(*(set(runs) for runs in settings.values()))
    names = sorted({task for task, _ in shared})
    seeds = sorted({seed for _, seed in shared})
    seeds = [s for s in seeds if all((task, s) in shared for task in names)]
    if not seeds:
        return None
    means = {name: random_means(tasks[name]) for name in names}
    defaults = [p for p, text in enumerate(settings) if has_defaults(agent, text)]
    draws = tuple(p for p in range(len(settings)) if p not in defaults)
    _, each, end = tuning_share(protocol, len(draws))

    def table(measure: Callable[[str, RunEvidence], float]) -> np.ndarray:
        return np.array(
            [
                [[measure(name, runs[name, seed]) for seed in seeds] for name in names]
                for runs in settings.values()
            ]
        )

    def score(budget: int) -> np.ndarray:
        rewards = table(lambda _, run: run.at(budget))
        scales = [protocol.tasks[name] for name in names]
        rows = [
            scores(rewards[:, place], scale["average"], scale["best"])
            for place, scale in enumerate(scales)
        ]
        return np.stack(rows, axis=1)

    def ratio(budget: int) -> np.ndarray:
        return table(lambda name, run: log_ratio(tasks[name], run, budget, means[name]))

    return Lots(
        agent,
        draws,
        defaults[0] if defaults else None,
        tuple(_workload(tasks[name].recipe) for name in names),
        score(protocol.budget),
        ratio(protocol.budget),
        score(each),
        score(end),
        ratio(end),
    )


def _workload(recipe: Mapping[str, object]) -> str:
    return json.dumps([recipe["simulator"], recipe["workloads"]], sort_keys=True)


def tuned_columns(own: Lots, protocol: Protocol) -> dict[str, Tuned]:
    """Return an agent's scores by its defaults, tuned on other workloads, and tuned in place.

    Intervals resample seeds within tasks, and draws where there are any.
    """
    n_tasks, n_seeds = own.scores.shape[1:]
    rng = np.random.default_rng(protocol.seed)
    seeds = rng.integers(0, n_seeds, (protocol.resamples, n_tasks, n_seeds))
    found = {}
    if own.default is not None:
        table = own.scores[own.default]
        resampled = np.take_along_axis(table[None], seeds, axis=2).mean(axis=(1, 2))
        ratio = _times(own.ratios[own.default])
        found["defaults"] = Tuned(
            _interval(float(table.mean()), resampled, n_seeds, protocol), ratio
        )
    rows = list(own.draws)
    if len(rows) < 2:
        return found
    draws = rng.integers(0, len(rows), (protocol.resamples, len(rows)))
    elsewhere = _elsewhere(own, draws, seeds, protocol)
    if elsewhere is not None:
        found["tuned elsewhere"] = elsewhere
    k, _, _ = tuning_share(protocol, len(rows))
    ends, ratios = (
        expected_leader(own.compared[rows], after[rows], k) for after in (own.ends, own.end_ratios)
    )
    chances = leading_chances(len(rows), k)
    resampled = np.array(
        [
            leaders(own.compared[rows][drawn], own.ends[rows][drawn], chances, picked)
            for drawn, picked in zip(draws, seeds, strict=True)
        ]
    )
    found["tuned in place"] = Tuned(
        _interval(float(ends.mean()), resampled, n_seeds, protocol), _times(ratios)
    )
    return found


def leaders(first: np.ndarray, after: np.ndarray, chances: np.ndarray, picked: np.ndarray) -> float:
    """Return the mean final value of the leader of some draws over tasks and picked seeds.

    As `expected_leader`, but that of draws that lead alike one stands for all: resampled draws come
    in any order, so that on average each does.

    Args:
      first: (n, n_tasks, n_seeds), by which one is chosen.
      after: (n, n_tasks, n_seeds), what it comes to.
      chances: (n,), of `leading_chances`.
      picked: (n_tasks, n_seeds), which seeds count, as often as they come.
    """
    ordered = np.take_along_axis(after, np.argsort(first, axis=0, kind="stable"), axis=0)
    ends = np.tensordot(chances, ordered, axes=1)
    return float(np.take_along_axis(ends, picked, axis=1).mean())


def _interval(value: float, drawn: np.ndarray, n_seeds: int, protocol: Protocol) -> Interval:
    if n_seeds < 2:
        # One seed does not show the effect of seeds.
        return Interval(value, math.nan, math.nan)
    tail = (1 - protocol.level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def _times(logs: np.ndarray) -> float:
    return math.exp(float(logs.mean())) if np.isfinite(logs).all() else math.nan


def _elsewhere(own: Lots, draws: np.ndarray, seeds: np.ndarray, protocol: Protocol) -> Tuned | None:
    """Return each task by the draw that is best on the tasks with other workloads."""
    rows = list(own.draws)
    table, ratios = own.scores[rows], own.ratios[rows]
    n_tasks = table.shape[1]
    others = [[p for p, name in enumerate(own.workloads) if name != w] for w in own.workloads]
    if not all(others):
        return None
    cells = table.mean(axis=2)
    places = np.arange(n_tasks)
    best = np.array([int(np.argmax(cells[:, rest].mean(axis=1))) for rest in others])
    # (resamples, n_draws, n_tasks): scores of the draws with other seeds.
    drawn = np.stack([table[:, p][:, seeds[:, p]].mean(axis=2).T for p in places], axis=2)
    drawn = np.take_along_axis(drawn, draws[:, :, None], axis=1)
    chosen = np.stack([drawn[:, :, rest].mean(axis=2).argmax(axis=1) for rest in others], axis=1)
    resampled = np.take_along_axis(drawn, chosen[:, None, :], axis=1).mean(axis=(1, 2))
    mean = float(cells[best, places].mean())
    score = _interval(mean, resampled, table.shape[2], protocol)
    return Tuned(score, _times(ratios[best, places]))


# ---- tables


def lottery_tables(found: list[Lots], protocol: Protocol) -> Iterator[Table]:
    """Yield the lottery's own table and the three columns; none if no agent has two draws."""
    drawn = [own for own in found if len(own.draws) > 1]
    if not drawn:
        return
    yield Table(
        "lottery", "Hyperparameter lottery", COLUMNS, tuple(_row(own) for own in drawn), _NOTE, 3
    )
    columns = ["agent", "tasks", "seeds", "draws"]
    for kind in KINDS:
        columns += [kind, *(f"{kind}, {what}" for what in ("low", "high", "x random"))]
    rows: list[tuple[Cell, ...]] = []
    for own in found:
        by_kind = tuned_columns(own, protocol)
        row: list[Cell] = [own.agent, *own.scores.shape[1:], len(own.draws)]
        for kind in KINDS:
            if kind not in by_kind:
                row += [None] * 4
                continue
            tuned = by_kind[kind]
            numbers = (tuned.score.value, tuned.score.low, tuned.score.high, tuned.ratio)
            row += [each if math.isfinite(each) else None for each in numbers]
        rows.append(tuple(row))
    k, each, end = tuning_share(protocol, max(len(own.draws) for own in drawn))
    note = (
        "Mean score over tasks and seeds. Tuned elsewhere: on each task the draw that is best on "
        "the tasks with other workloads, whose evaluations are not counted. Tuned in place: of "
        f"{k} draws each is run for {each:,} evaluations, and the one that leads continues to "
        f"{end:,}, so that all cost {protocol.budget:,} together (fewer draws are given more "
        "each); the mean over all choices of draws. Low and high: "
        f"{100 * protocol.level:g} % interval, draws resampled, and seeds within tasks. x random: "
        "how many times better the metrics that are sought are than their mean over random "
        "designs, the geometric mean over terms, tasks and seeds."
    )
    yield Table(
        "tuning", "Defaults, tuned elsewhere, tuned in place", tuple(columns), tuple(rows), note, 3
    )


def _row(own: Lots) -> tuple[Cell, ...]:
    table = own.drawn
    means = table.mean(axis=(1, 2))
    high, low = np.quantile(means, [0.9, 0.1])
    split = variance_split(table)
    shares = (split.hyperparameters, split.task, split.interaction, split.seed)
    return (
        own.agent,
        *table.shape,
        float(high - low),
        _spread_by_chance(table),
        float(means.max()),
        float(np.median(means)),
        float(means.min()),
        *(None if math.isnan(share) else 100 * share for share in shares),
        *(expected_best_of(means, k) if k <= len(means) else None for k in (1, 4, 16)),
    )


def _spread_by_chance(table: np.ndarray) -> float | None:
    """Return P90 - P10 of means over tasks and seeds if all draws were alike (normal law)."""
    _, n_tasks, n_seeds = table.shape
    if n_seeds < 2:
        return None
    # An effect of a seed on all draws does not distinguish them.
    return _DECILES * math.sqrt(unshared_variance(table) / (n_tasks * n_seeds))


# ---- statistics of settings


def expected_best_of(values: Sequence[float] | np.ndarray, k: int) -> float:
    """Return mean of the best of k values drawn without replacement from these.

    >>> expected_best_of([1.0, 2.0, 3.0], 2)
    2.6666666666666665

    Source:
      Dodge et al., *Show Your Work*, EMNLP 2019, section 3, in its form without replacement: the
      i-th smallest of n is the best of k with chance C(i - 1, k - 1) / C(n, k).
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    chances = leading_chances(len(ordered), k)
    # The worst are never the best, whatever they are worth.
    return math.fsum((ordered[k - 1 :] * chances[k - 1 :]).tolist())


def leading_chances(n: int, k: int) -> np.ndarray:
    """Chance of each of n, the worst first, to be the best of k drawn without replacement, (n,).

    Source:
      As for `expected_best_of`.
    """
    k = check_whole("k", k, 1, n)
    total = math.comb(n, k)
    # Divided as whole numbers, which may be too large for floats.
    return np.array([math.comb(place, k - 1) / total for place in range(n)])


def expected_leader(first: np.ndarray, after: np.ndarray, k: int) -> np.ndarray:
    """Return the expected later value of the first leader among k of n without replacement.

    >>> expected_leader(np.array([1.0, 2.0, 3.0]), np.array([0.0, 6.0, 3.0]), 2).item()
    4.0

    Args:
      first: (n, ...), by which one is chosen; of equals each with the same chance.
      after: (n, ...), what it comes to.
      k: Number that is drawn, 1 to n.

    Source:
      As for `expected_best_of`.
    """
    n = len(first)
    weights = leading_chances(n, k)
    flat, later = first.reshape(n, -1), after.reshape(n, -1)
    found = np.empty(flat.shape[1])
    for column in range(flat.shape[1]):
        values, places, counts = np.unique(flat[:, column], return_inverse=True, return_counts=True)
        chances = np.add.reduceat(weights, np.cumsum(counts) - counts)
        means = np.bincount(places, later[:, column], len(values)) / counts
        found[column] = chances @ means
    return found.reshape(first.shape[1:])


@final
@dataclass(frozen=True)
class VarianceSplit:
    """Shares of the variance of scores, summing to 1; all NaN where they cannot be told."""

    hyperparameters: float
    task: float
    interaction: float
    seed: float


def variance_split(table: np.ndarray) -> VarianceSplit:
    """Split the variance of scores between hyperparameters, tasks and seeds.

    Shares are those of the components of variance: what chance alone would make of the means of few
    seeds is taken off, so that agents whose settings do nothing have a share of about 0. The
    interaction is how much hyperparameters that suit one task differ from those that suit another;
    with one seed it cannot be told from the seeds, and is counted as theirs. A seed's share is what
    it does to all draws alike, as by the same first designs, and what it does to each. With one
    seed on one task nothing can be told.

    Args:
      table: (n_draws, n_tasks, n_seeds), all draws with the same seeds.

    Source:
      Searle, Casella & McCulloch, *Variance Components*, 1992, section 4.4: mean squares of the
      balanced classification, draws crossed with seeds within tasks, set equal to what is expected
      of them; those below 0 are 0.
    """
    values = np.asarray(table, dtype=np.float64)
    n_draws, n_tasks, n_seeds = values.shape
    mean = values.mean()
    cells = values.mean(axis=2)
    by_draw, by_task = cells.mean(axis=1), cells.mean(axis=0)
    rest = cells - by_draw[:, None] - by_task[None, :] + mean
    interaction = _mean_square(n_seeds * rest**2, (n_draws - 1) * (n_tasks - 1))
    noise = unshared_variance(values) if n_seeds > 1 and n_draws > 1 else interaction
    shared = values.mean(axis=0) - by_task[:, None]
    common = _mean_square(n_draws * shared**2, n_tasks * (n_seeds - 1)) if n_seeds > 1 else noise
    # Without degrees of freedom of its own, a part is judged by the one below it.
    residual = interaction if n_draws > 1 and n_tasks > 1 else noise
    draw = _mean_square(n_tasks * n_seeds * (by_draw - mean) ** 2, n_draws - 1)
    task = _mean_square(n_draws * n_seeds * (by_task - mean) ** 2, n_tasks - 1)
    parts = np.array(
        [
            (draw - residual) / (n_tasks * n_seeds),
            (task - residual - common + noise) / (n_draws * n_seeds),
            (residual - noise) / n_seeds,
            max(common - noise, 0.0) / n_draws + noise,
        ]
    )
    parts = np.maximum(parts, 0.0)
    if not parts.sum() > 0 or n_seeds == n_tasks == 1:
        return VarianceSplit(math.nan, math.nan, math.nan, math.nan)
    return VarianceSplit(*(parts / parts.sum()).tolist())


def unshared_variance(table: np.ndarray) -> float:
    """Variance of scores within a draw on a task, but for what a seed does to all draws alike.

    Args:
      table: (n_draws, n_tasks, n_seeds), two or more draws and seeds.
    """
    n_draws, n_tasks, n_seeds = table.shape
    own = table - table.mean(axis=2, keepdims=True)
    own = own - own.mean(axis=0, keepdims=True)
    return _mean_square(own**2, n_tasks * (n_draws - 1) * (n_seeds - 1))


def _mean_square(squares: np.ndarray, freedom: int) -> float:
    return float(squares.sum() / freedom) if freedom else 0.0


def log_ratio(
    task: TaskEvidence, run: RunEvidence, budget: int, means: dict[str, tuple[float, int]]
) -> float:
    """Return logarithm of how many times better a run's best design is than an average random one.

    The mean over the terms that `means` has, by weight; NaN where nothing was built in time, or a
    metric is not above 0.
    """
    row = run.best_row(budget)
    if row is None or not means:
        return math.nan
    names = [spec.name for spec in task.metrics]
    total = weights = 0.0
    for term in task.objective.terms:
        if term.metric not in means:
            continue
        value, (average, _) = float(run.values[row, names.index(term.metric)]), means[term.metric]
        if not (value > 0 and average > 0):
            return math.nan
        gain = math.log(average / value)
        total += term.weight * (gain if term.goal == "minimise" else -gain)
        weights += term.weight
    return total / weights
