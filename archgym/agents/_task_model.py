"""Models of the metrics in a task's reward and limits, and the expected improvement of designs.

Rewards alone hide much: a design that misses a limit has a reward that says nothing of its
objective. Here each term of the objective and each limit has a Gaussian process of its own, which
learns from every design that could be built. Expected improvement is put together from them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

from archgym.agents._gaussian_process import GaussianProcess
from archgym.evaluation.limits import LIMITED_REWARD
from archgym.evaluation.trials import Trials
from archgym.runtime.importing import import_library
from archgym.spaces.features import parameter_features
from archgym.spaces.parameter import Parameter
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    from archgym.tasks.task import Task

# chosen: values of a parameter whose features are computed once, which takes some milliseconds.
_MAX_LISTED: Final = 4096
# chosen: rows that predictions rest on, so that they take the same time however long a search is:
# the best ones, those around the best one, and the last ones.
_MAX_ROWS: Final = 160
# chosen: new results, as a share of the known ones, after which processes adapt again.
_LEARNED_AFTER: Final = 0.1
# Tukey's fence. Source: Tukey, *Exploratory Data Analysis*, 1977.
_FENCE: Final = 1.5
# Violations are encoded in rewards as -20 - 5 v / (1 + v); see archgym.evaluation.limits.
_SPAN: Final = 5.0


@final
class DesignFeatures:
    """Features of a space's designs, with the parameter that each belongs to."""

    def __init__(self, space: DesignSpace) -> None:
        """List the features of every parameter that is small enough."""
        self._columns = [n for n, size in enumerate(space.sizes.tolist()) if size > 1]
        self._parameters = [space.parameters[n] for n in self._columns]
        self._tables = [_table(parameter) for parameter in self._parameters]
        widths = [
            (parameter_features(p, np.zeros(1, np.int64)) if t is None else t).shape[1]
            for p, t in zip(self._parameters, self._tables, strict=True)
        ]
        self.groups = np.repeat(np.arange(len(widths)), widths)
        """(n_features,), number of the parameter that each feature belongs to."""
        self._listed: np.ndarray | None = None
        if self._tables and all(table is not None for table in self._tables):
            tables = [table for table in self._tables if table is not None]
            self._listed = np.concatenate([table.T.ravel() for table in tables])
            lengths = [
                len(table) for table, w in zip(tables, widths, strict=True) for _ in range(w)
            ]
            self._starts = np.append(0, np.cumsum(lengths)[:-1])
            self._column_of = np.array(self._columns)[self.groups]

    def of(self, designs: np.ndarray) -> np.ndarray:
        """Return features, (n, n_features), of canonical designs."""
        if self._listed is not None:
            return np.asarray(self._listed[designs[:, self._column_of] + self._starts])
        parts = [np.zeros((len(designs), 0))]
        for column, parameter, table in zip(
            self._columns, self._parameters, self._tables, strict=True
        ):
            numbers = designs[:, column]
            parts.append(
                parameter_features(parameter, numbers) if table is None else table[numbers]
            )
        return np.concatenate(parts, axis=1)


def _table(parameter: Parameter) -> np.ndarray | None:
    if parameter.size > _MAX_LISTED:
        return None
    return parameter_features(parameter, np.arange(parameter.size))


@final
class History:
    """All results of a search, in order."""

    def __init__(self, n_parameters: int) -> None:
        self.designs = np.empty((0, n_parameters), dtype=np.int64)
        self.rewards = np.empty(0)
        self.is_built = np.empty(0, dtype=bool)
        self.values = np.empty((0, 0))
        self.terms = np.empty((0, 0))
        self.is_cheaper = np.empty(0, dtype=bool)

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def has_both(self) -> bool:
        """True if there are results at the task's own fidelity and at a cheaper one."""
        return bool(self.is_cheaper.any() and not self.is_cheaper.all())

    def add(self, designs: np.ndarray, trials: Trials, is_cheaper: bool = False) -> None:
        """Add canonical designs with their results, of the task or of a cheaper fidelity."""
        values, terms = trials.values, trials.terms
        if not len(self):
            self.values = self.values.reshape(0, values.shape[1])
            self.terms = self.terms.reshape(0, terms.shape[1])
        self.designs = np.concatenate([self.designs, designs])
        self.rewards = np.concatenate([self.rewards, trials.reward])
        self.is_built = np.concatenate([self.is_built, trials.feasible & ~trials.failed])
        self.values = np.concatenate([self.values, values])
        self.terms = np.concatenate([self.terms, terms])
        self.is_cheaper = np.append(self.is_cheaper, np.full(len(designs), is_cheaper))

    def order(self) -> np.ndarray:
        """Return the numbers of all results, best first."""
        return np.argsort(-self.rewards, kind="stable")


@final
@dataclass(frozen=True)
class _Targets:
    """Targets of the models, (n_rows, n) each, of the designs that were built."""

    worths: np.ndarray
    """Rewards by term, before those of targets are cut off at 0."""
    weights: np.ndarray
    """Weight of each term."""
    are_cut: np.ndarray
    """True for terms that are never above 0."""
    excesses: np.ndarray
    """By limit; met where it is not above 0."""


@final
@dataclass(frozen=True)
class Odds:
    """Expectations of n designs."""

    limits: np.ndarray
    """(n, n_limits), probability of meeting each."""
    built: np.ndarray
    """(n,), probability of being built."""
    better: np.ndarray
    """(n,), probability of meeting all limits and beating the best design."""
    mean: np.ndarray
    """(n,), expected objective."""
    spread: np.ndarray
    """(n,), its standard deviation."""


@final
class TaskModel:
    """Gaussian processes of a task's terms and limits, and of what can be built."""

    def __init__(self, features: DesignFeatures, task: "Task | None") -> None:
        """Set up processes that have learned nothing.

        Args:
          features: Features of the task's space.
          task: None to model the rewards alone.
        """
        self._features = features
        self._task = task
        self._worths: list[GaussianProcess] = []
        self._excesses: list[GaussianProcess] = []
        self._rooms: dict[int, np.ndarray] = {}
        self._builds = GaussianProcess(features.groups, self._rooms)
        self._has_both = False
        self._n_learned = 0
        self._known: np.ndarray | None = None

    def fit(self, history: History, in_flight: Sequence[np.ndarray] = ()) -> None:
        """Learn from all results; there must be a design that was built.

        Designs in flight, canonical ones, are believed to have the metrics that are predicted. The
        best of them is the one to improve on, if believed to meet the limits.

        Results at two fidelities have one process, in which the fidelity is a parameter. So it
        learns for each metric how much a cheaper result says about one of the task.
        """
        if history.has_both and not self._has_both:
            self._has_both = True
            self._worths, self._excesses, self._n_learned = [], [], 0
            self._known = None
            self._builds = GaussianProcess(self._groups(), self._rooms)
        targets = _targets(history, self._task)
        built = np.flatnonzero(history.is_built)
        rewards = history.rewards[built]
        meets = rewards > LIMITED_REWARD
        worths, excesses = _compressed(targets.worths), _shrunk(targets.excesses)
        self._weights, self._are_cut = targets.weights, targets.are_cut
        cut = np.where(self._are_cut, np.minimum(worths, 0.0), worths)
        total = cut @ self._weights
        self.spread_of_results = float(total.std())
        self._has_best = bool(meets.any())
        is_own = ~history.is_cheaper[built] if self._has_both else np.ones_like(meets)
        if (meets & is_own).any():
            self._best = float(total[meets & is_own].max())
        elif self._has_best:
            # No result of the task meets the limits yet: half of the cheaper ones are a goal.
            self._best = float(np.median(total[meets]))
        else:
            self._best = float(np.minimum(-excesses, 0.0).sum(axis=1).max())
        features = self._known_features(history)
        rows = _kept(history, features)
        is_due = len(history) - self._n_learned >= max(1.0, _LEARNED_AFTER * len(history))
        self._n_learned = len(history) if is_due else self._n_learned
        place = np.full(len(history), -1)
        place[built] = np.arange(len(built))
        kept = place[rows[history.is_built[rows]]]
        known = features[built]
        # Processes adapt to the last rows above all, which are those of the task here.
        order = np.argsort(is_own, kind="stable")
        ordered, conditioned = known[order], known[kept]
        for processes, quantities in ((self._worths, worths), (self._excesses, excesses)):
            n = quantities.shape[1]
            is_new = len(processes) != n
            if is_new:
                processes[:] = [GaussianProcess(self._groups(), self._rooms) for _ in range(n)]
            for process, column in zip(processes, quantities.T, strict=True):
                if is_due or is_new:
                    process.learn(ordered, column[order])
                process.condition(conditioned, column[kept])
        self._has_unbuilt = not history.is_built.all()
        if self._has_unbuilt:
            labels = np.where(history.is_built, 1.0, -1.0)
            if is_due:
                self._builds.learn(features, labels)
            self._builds.condition(features[rows], labels[rows])
        if len(in_flight):
            designs = np.array(in_flight)
            self.believe(designs)
            self._best = max(self._best, self._believed_best(designs))

    def believe(self, designs: np.ndarray) -> None:
        """Take canonical designs as if they had the metrics that are predicted."""
        features = self._features_of(designs, np.zeros(len(designs), dtype=bool))
        for process in [*self._worths, *self._excesses, *[self._builds] * self._has_unbuilt]:
            process.believe(features)

    def _believed_best(self, designs: np.ndarray) -> float:
        """Return the largest objective of designs that are believed to meet all limits."""
        features = self._features_of(designs, np.zeros(len(designs), dtype=bool))
        means = np.stack([process.predict(features)[0] for process in self._worths], axis=1)
        total = np.where(self._are_cut, np.minimum(means, 0.0), means) @ self._weights
        for process in self._excesses:
            total[process.predict(features)[0] > 0.0] = -np.inf
        if self._has_unbuilt:
            total[self._builds.predict(features)[0] < 0.0] = -np.inf
        return float(total.max()) if self._has_best else -np.inf

    def promise(self, designs: np.ndarray) -> np.ndarray:
        """Return the logarithm of the expected improvement of canonical designs, (n,).

        Where no design meets all limits, it is that of the sum of the excesses.
        """
        features = self._features_of(designs, np.zeros(len(designs), dtype=bool))
        special = import_library("scipy.special")
        promise = np.zeros(len(designs))
        total = np.zeros(len(designs))
        variance = np.full(len(designs), 1e-18)
        for process in self._excesses:
            mean, spread = process.predict(features)
            if self._has_best:
                promise += special.log_ndtr(-mean / spread)
            else:
                mean, spread = _cut_moments(-mean, spread)
                total += mean
                variance += spread**2
        if self._has_unbuilt:
            mean, spread = self._builds.predict(features)
            promise += special.log_ndtr(mean / spread)
        if self._has_best:
            for process, weight, is_cut in zip(
                self._worths, self._weights, self._are_cut, strict=True
            ):
                mean, spread = process.predict(features)
                if is_cut:
                    mean, spread = _cut_moments(mean, spread)
                total += weight * mean
                variance += (weight * spread) ** 2
        spread = np.sqrt(variance)
        return np.asarray(promise + _log_h((total - self._best) / spread) + np.log(spread))

    def _known_features(self, history: History) -> np.ndarray:
        """Return the features of all results, of which those of earlier fits are kept."""
        n = 0 if self._known is None else len(self._known)
        new = self._features_of(history.designs[n:], history.is_cheaper[n:])
        self._known = new if self._known is None else np.concatenate([self._known, new])
        return self._known

    def odds(self, designs: np.ndarray) -> Odds:
        """Return what is expected of canonical designs."""
        features = self._features_of(designs, np.zeros(len(designs), dtype=bool))
        special = import_library("scipy.special")
        limits = np.ones((len(designs), len(self._excesses)))
        for column, process in enumerate(self._excesses):
            mean, spread = process.predict(features)
            limits[:, column] = special.ndtr(-mean / spread)
        built = np.ones(len(designs))
        if self._has_unbuilt:
            mean, spread = self._builds.predict(features)
            built = special.ndtr(mean / spread)
        total, variance = np.zeros(len(designs)), np.full(len(designs), 1e-18)
        for process, weight in zip(self._worths, self._weights, strict=True):
            mean, spread = process.predict(features)
            total += weight * mean
            variance += (weight * spread) ** 2
        spread = np.sqrt(variance)
        beats = special.ndtr((total - self._best) / spread) if self._has_best else 1.0
        return Odds(limits, built, limits.prod(axis=1) * built * beats, total, spread)

    def _groups(self) -> np.ndarray:
        """Return the number of the parameter of each feature; the fidelity's is the last."""
        groups = self._features.groups
        return np.append(groups, groups.max(initial=-1) + 1) if self._has_both else groups

    def _features_of(self, designs: np.ndarray, is_cheaper: np.ndarray) -> np.ndarray:
        features = self._features.of(designs)
        return np.column_stack([features, is_cheaper]) if self._has_both else features


def _targets(history: History, task: "Task | None") -> _Targets:
    """Return the modelled quantities of the designs that were built."""
    built = history.is_built
    rewards = history.rewards[built]
    fails = rewards <= LIMITED_REWARD
    violation = _violation(rewards)
    if task is None or task.objective.is_published_form:
        return _reward_targets(rewards, fails, violation)
    values = history.values[built]
    place = {spec.name: number for number, spec in enumerate(task.metrics)}
    needed = {term.metric for term in task.objective.terms}
    needed |= {limit.metric for limit in task.limits}
    columns = [place[name] for name in sorted(needed)]
    if values.shape[1] != len(task.metrics) or not np.isfinite(values[:, columns]).all():
        return _reward_targets(rewards, fails, violation)
    reference = task.average(task.reference[None])[0]
    terms = task.objective.terms
    worths = np.empty((len(rewards), len(terms)))
    for column, term in enumerate(terms):
        number = place[term.metric]
        r = task.metrics[number].resolution
        base = float(reference[number]) if term.target is None else term.target
        is_larger_better = term.goal in ("maximise", "at-least")
        ratio = _scaled(values[:, number], base, r) * (1.0 if is_larger_better else -1.0)
        exact = history.terms[built][:, column]
        # Over several workloads the mean of logarithms is not the logarithm of the mean.
        shown = ~fails & ((exact < 0.0) if term.target is not None else True)
        shift = float((exact - ratio)[shown].mean()) if shown.any() else 0.0
        is_exact = shown if len(task.workloads) > 1 else np.zeros_like(shown)
        worths[:, column] = np.where(is_exact, exact, ratio + (shift if is_exact.any() else 0.0))
    weights = np.array([term.weight for term in terms])
    are_cut = np.array([term.target is not None for term in terms])
    excesses = _excesses(values, fails, violation, task, place)
    return _Targets(worths, weights / weights.sum(), are_cut, excesses)


def _scaled(x: np.ndarray, base: float, r: float) -> np.ndarray:
    """Return a metric's values relative to a base: logarithms, or differences by their spread.

    Args:
      x: (n,), of which some may be negative.
      base: Value of the default design, or a target.
      r: Resolution of the metric.
    """
    if base >= 0.0 and (x >= 0.0).all():
        return np.asarray(np.log(np.maximum(x + r, 1e-300) / max(base + r, 1e-300)))
    return np.asarray((x - base) / max(float(np.std(x)), r))


def _reward_targets(rewards: np.ndarray, fails: np.ndarray, violation: np.ndarray) -> _Targets:
    """Return targets from rewards alone."""
    met = rewards[~fails]
    worths = np.where(fails, met.mean() if len(met) else 0.0, rewards)[:, None]
    slack = -float(violation[fails].mean()) if fails.any() else -1.0
    excesses = (
        np.where(fails, violation, slack)[:, None] if fails.any() else np.empty((len(rewards), 0))
    )
    return _Targets(worths, np.ones(1), np.zeros(1, dtype=bool), excesses)


def _violation(rewards: np.ndarray) -> np.ndarray:
    """Return the violation that rewards encode, 0 where limits are met."""
    share = np.clip((LIMITED_REWARD - rewards) / _SPAN, 0.0, 0.999)
    return np.asarray(share / (1.0 - share))


def _excesses(
    values: np.ndarray,
    fails: np.ndarray,
    violation: np.ndarray,
    task: "Task",
    place: dict[str, int],
) -> np.ndarray:
    """Return by how much designs miss limits, in logarithms, (n, n_limits)."""
    columns = []
    for limit in task.limits:
        number = place[limit.metric]
        r = task.metrics[number].resolution
        sign = 1.0 if limit.sign == "<=" else -1.0
        if limit.bound + r > 0.0 and (values[:, number] + r > 0.0).all():
            columns.append(sign * np.log((values[:, number] + r) / (limit.bound + r)))
        else:
            columns.append(sign * (values[:, number] - limit.bound) / (abs(limit.bound) + r))
    if not columns:
        return np.empty((len(values), 0))
    found = np.stack(columns, axis=1)
    if len(task.workloads) == 1:
        return found
    # Limits hold on every workload, and means hide the worst one: what is known is their sum.
    slack = np.minimum(found.max(axis=1), -1e-3)
    return np.asarray(np.where(fails, np.log1p(violation), slack)[:, None])


def _compressed(worths: np.ndarray) -> np.ndarray:
    """Return worths, (n, n_terms), in which outliers on the bad side lie closer to the others."""
    low, high = np.quantile(worths, [0.25, 0.75], axis=0)
    scale = np.maximum(high - low, 1e-12)
    fence = low - _FENCE * scale
    beyond = np.maximum(fence - worths, 0.0)
    return np.where(worths < fence, fence - scale * np.log1p(beyond / scale), worths)


def _shrunk(excesses: np.ndarray) -> np.ndarray:
    """Return excesses, (n, n_limits), whose large values lie closer together; signs stay."""
    if not excesses.shape[1]:
        return excesses
    sizes = np.abs(excesses)
    scale = np.maximum(np.median(sizes, axis=0), 1e-12)
    return np.asarray(np.sign(excesses) * scale * np.log1p(sizes / scale))


def _kept(history: History, features: np.ndarray) -> np.ndarray:
    """Return the numbers of the designs that predictions rest on, in order."""
    n = len(history)
    if n <= _MAX_ROWS:
        return np.arange(n)
    third = _MAX_ROWS // 3
    order = history.order()
    distance = np.abs(features - features[order[0]]).sum(axis=1)
    near = np.argsort(distance, kind="stable")[:third]
    own = np.flatnonzero(~history.is_cheaper) if history.has_both else order[:0]
    chosen = dict.fromkeys([*own[-third:].tolist(), *order[:third].tolist(), *near.tolist()])
    for number in range(n - 1, -1, -1):
        if len(chosen) >= _MAX_ROWS:
            break
        chosen.setdefault(number)
    return np.array(sorted(chosen), dtype=np.int64)


def _cut_moments(mean: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of normal variables that are cut off at 0 from above."""
    special = import_library("scipy.special")
    ratio = mean / spread
    below = special.ndtr(-ratio)
    density = np.exp(-0.5 * ratio * ratio) / math.sqrt(2.0 * math.pi)
    first = mean * below - spread * density
    second = (mean * mean + spread * spread) * below - mean * spread * density
    return first, np.sqrt(np.maximum(second - first * first, 1e-18))


def _log_h(z: np.ndarray) -> np.ndarray:
    """Return the logarithm of `pdf(z) + z cdf(z)`, accurate far below 0 too.

    Source:
      Ament et al., *Unexpected Improvements to Expected Improvement for Bayesian Optimization*,
      NeurIPS 2023, equation 9.
    """
    special = import_library("scipy.special")
    z = np.asarray(np.clip(z, -1e6, 1e6))
    log_density = -0.5 * z * z - 0.5 * math.log(2.0 * math.pi)
    near = np.maximum(z, -5.0)
    plain = np.log(
        np.exp(-0.5 * near * near) / math.sqrt(2.0 * math.pi) + near * special.ndtr(near)
    )
    far = np.minimum(z, -5.0)
    mills = np.exp(special.log_ndtr(far) - (-0.5 * far * far - 0.5 * math.log(2.0 * math.pi)))
    # 1 + z cdf / pdf tends to 1 / z^2.
    rest = np.where(far > -1e3, np.maximum(1.0 + far * mills, 1e-300), 1.0 / (far * far))
    return np.asarray(np.where(z > -5.0, plain, log_density + np.log(rest)))
