"""Proof that no design of a task is better than one that is known, or how much better one may be.

Where the simulator bounds the metrics of partial designs, the search branches over parameters and
leaves out what cannot be better; elsewhere it evaluates every design. Both stop after a time.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, final

import numpy as np

from archgym.checks import check_number
from archgym.evaluation.capabilities import bounds_of
from archgym.evaluation.limits import LIMITED_REWARD, Limit, violations
from archgym.evaluation.objective import INFEASIBLE_REWARD, Objective
from archgym.evaluation.simulator import FAILED
from archgym.runtime.progress import StageProgress
from archgym.tables.simulation import Pace
from archgym.tasks.executor import within
from archgym.tasks.task import Task

# chosen: partial designs that are bounded at once.
_WIDTH: Final = 2**13
_NARROW: Final = 2**6
# chosen: values of a parameter that are tried when the order of parameters is chosen.
_TRIED: Final = 64
# chosen: partial designs that are bounded at the start, a few hundred megabytes.
_MOST_AT_START: Final = 2**20
# chosen: what a batch may take beyond the time before it is left alone [s].
_GRACE_S: Final = 1.0
# chosen: designs that show how long one takes.
_FEW: Final = 8
# chosen: no machine evaluates as many.
_MOST_COMBINATIONS: Final = 2**62
_WAYS: Final = {"at-most": "minimise", "at-least": "maximise"}


@final
@dataclass(frozen=True)
class Proof:
    """Result of a proof: the best design that is known, and how good any design may be."""

    method: Literal["bounds", "enumeration"]
    reward: float
    """Reward of the best design that is known; -infinity if none is."""
    indices: np.ndarray | None
    """That design, (n_parameters,)."""
    bound: float
    """No design has a larger reward; infinite if nothing is known."""
    n_bounded: int
    """Partial designs whose metrics were bounded."""
    n_evaluated: int
    seconds: float
    n_failed: int = 0
    """Designs on which the simulator broke: any of them may be better, so nothing is proven."""

    @property
    def is_optimal(self) -> bool:
        """True if no design is better than the best that is known."""
        return self.bound <= self.reward

    @property
    def gap_percent(self) -> float | None:
        """Gain that an unknown design may bring [%], as `exp` of the difference in reward.

        It is the ratio of the metric where the objective has one; None if nothing is known, or the
        best design that is known misses a limit.
        """
        gap = self.bound - self.reward if self.reward > LIMITED_REWARD else math.inf
        return 100.0 * math.expm1(max(0.0, gap)) if math.isfinite(gap) and gap < 20.0 else None

    def gave_up(self, task: Task) -> bool:
        """Return True if the space is too large to be enumerated, so that no time is enough."""
        return self.method == "enumeration" and task.space.size >= _MOST_COMBINATIONS

    def digest(self, task: Task) -> str:
        """Return the SHA-256 of the task's digest, the best design, its reward, and the bound."""
        best = None if self.indices is None else self.indices.tolist()
        text = json.dumps([task.digest, best, self.reward.hex(), self.bound.hex()])
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self, task: Task) -> dict[str, Any]:
        """Return the result as JSON."""
        design = None if self.indices is None else dict(task.space.design_at(self.indices))
        return {
            "task": task.id,
            "task_digest": task.digest,
            "optimal": self.is_optimal,
            "reward": self.reward if math.isfinite(self.reward) else None,
            "design": design,
            "bound": self.bound if math.isfinite(self.bound) else None,
            "gap_percent": self.gap_percent,
            "method": self.method,
            "bounded": self.n_bounded,
            "evaluated": self.n_evaluated,
            "failed": self.n_failed,
            "seconds": round(self.seconds, 3),
            "digest": self.digest(task),
        }


def prove(
    task: Task,
    known: np.ndarray | None = None,
    seconds: float = 60.0,
    progress: StageProgress | None = None,
) -> Proof:
    """Prove that a design is a task's best, or find a better one, within a time.

    Args:
      task: The task.
      known: (n_parameters,), indices of the best design so far; it makes the proof shorter.
      seconds: Time after which the search stops [s].
      progress: Called with the combinations that are settled, where they are enumerated.

    Raises:
      InvalidArgumentError: `seconds` is not above 0.
      SimulatorError: The simulator broke.
    """
    search = _Search(task, check_number("seconds", seconds, 1e-9))
    try:
        return within(seconds + _GRACE_S, lambda: search.run(known, progress))
    except TimeoutError:
        # A kernel compiles, or one design takes long.
        return search.proof()


@final
@dataclass(frozen=True)
class Rest:
    """Designs that an unfinished proof has left, and values to hold for one that ends."""

    n_left: int
    """Designs that were not evaluated; some may be left out by bounds."""
    seconds: float
    """Time to evaluate them all, at the pace of the proof [s]."""
    held: dict[str, Any]
    """Values of the best known design, held so that the others can be evaluated in the time."""


def rest_of(task: Task, proof: Proof, seconds: float) -> Rest:
    """Return what is left to prove, and the fewest values to hold so that a time is enough.

    Args:
      task: The task.
      proof: A proof of it that did not end.
      seconds: Time for the proof of the part [s].
    """
    space = task.space
    known = space.default_indices if proof.indices is None else proof.indices
    pace = proof.seconds / max(1, proof.n_evaluated)
    if proof.n_evaluated < _FEW:
        began = time.monotonic()
        task.evaluate(space.sample(_FEW, np.random.default_rng(0)))
        pace = (time.monotonic() - began) / _FEW
    n_left = max(
        1, (space.size if proof.gave_up(task) else space.count().value) - proof.n_evaluated
    )
    design, held, size = space.design_at(known), {}, space.size
    for parameter in sorted(space.parameters, key=lambda each: -each.size):
        if size * pace > seconds:
            held[parameter.name] = design[parameter.name]
            size //= parameter.size
    return Rest(n_left, n_left * pace, held)


def reward_bounds(task: Task, partial: np.ndarray) -> np.ndarray:
    """Return rewards that no completion of partial designs exceeds, (n,).

    Args:
      task: The task.
      partial: (n, n_parameters), indices; -1 where a parameter is free.
    """
    values = np.stack(
        [bounds_of(task.simulator, partial, w.workload) for w in task.workloads], axis=1
    )[:, :, task._columns]
    chosen = _bounded(task)
    if chosen is None:
        return np.full(len(partial), math.inf)
    objective, directions = chosen
    finite = np.isfinite(values).all(axis=(0, 1)).tolist()
    known = {spec.name for spec, is_finite in zip(task.metrics, finite, strict=True) if is_finite}
    sound = [limit for limit in objective.limits if limit.metric in known]
    is_missed = violations(sound, values, task.metrics) > 0.0
    cannot_be = np.zeros(len(partial), dtype=bool)
    is_unknown = np.zeros(len(partial), dtype=bool)
    for column, spec in enumerate(task.metrics):
        if spec.name not in directions:
            values[:, :, column] = task.reference[:, column]
            continue
        of_metric = values[:, :, column]
        sign = 1.0 if directions[spec.name] == "minimise" else -1.0
        cannot_be |= (of_metric == sign * math.inf).any(axis=1)
        unknown = np.isnan(of_metric)
        if spec.goal != directions[spec.name]:
            unknown[:] = True
        if sign > 0 and not spec.signed:
            # No value is below 0.
            of_metric[unknown] = 0.0
        else:
            is_unknown |= unknown.any(axis=1)
            # What is unknown misses no limit.
            ends = [limit.bound for limit in objective.limits if limit.metric == spec.name]
            usual = [*ends, float(task.reference[:, column].mean())]
            of_metric[unknown] = min(usual) if sign > 0 else max(usual)
        of_metric[np.isinf(of_metric)] = 0.0
    built = np.zeros(values.shape[:2], dtype=np.int16)
    rewards = objective.rewards(values, built, task.reference, task.metrics, task.weights)
    # A limit that is missed by what is known is missed, whatever else is unknown.
    rewards[is_unknown & ~is_missed] = math.inf
    rewards[cannot_be] = INFEASIBLE_REWARD
    return rewards


def _bounded(task: Task) -> tuple[Objective, dict[str, str]] | None:
    """Return the objective with the limits that can be bounded, and directions by metric.

    None if a metric is sought in both directions, or the reward does not grow with its metrics.
    """
    objective = task.objective
    directions: dict[str, str] = {}
    for term in objective.terms:
        way = _WAYS.get(term.goal, term.goal)
        if way not in _WAYS.values() or directions.setdefault(term.metric, way) != way:
            return None
    kept: list[Limit] = []
    goals = {spec.name: spec.goal for spec in task.metrics}
    for limit in objective.limits:
        way = "minimise" if limit.sign == "<=" else "maximise"
        # Leaving a limit out makes the bound wider, and no less right.
        if directions.get(limit.metric, way) == way == goals[limit.metric]:
            directions[limit.metric] = way
            kept.append(limit)
    return replace(objective, limits=tuple(kept)), directions


def _is_bounded(task: Task, root: np.ndarray, with_limits: bool = True) -> bool:
    """Return True if the simulator knows a bound of a metric that the objective has."""
    chosen = _bounded(task)
    if chosen is None:
        return False
    names = [spec.name for spec in task.simulator.metrics]
    sought = chosen[1] if with_limits else {term.metric for term in task.objective.terms}
    columns = [names.index(name) for name in sought]
    known = [bounds_of(task.simulator, root, w.workload)[:, columns] for w in task.workloads]
    return bool(np.isfinite(known).any())


@final
class _Search:
    """Search for a better design, which keeps the best one and counts what it took."""

    def __init__(self, task: Task, seconds: float) -> None:
        self._task, self._space = task, task.space
        self._started = time.monotonic()
        self._seconds = seconds
        self._reward, self._best = -math.inf, None
        self._n_bounded = self._n_evaluated = self._n_failed = 0
        self._paces = {"bounds": Pace(), "designs": Pace()}
        self._method, self._bound = "bounds", math.inf

    _best: np.ndarray | None
    _method: Literal["bounds", "enumeration"]

    def run(self, known: np.ndarray | None, progress: StageProgress | None) -> Proof:
        """Search from a known design until the end or the time is over."""
        task, space = self._task, self._space
        if known is not None:
            self.take(np.asarray(known, dtype=np.int64)[None, :])
        first = [space.names.index(n) for n in task.simulator.spec.bounded_by if n in space.names]
        root = np.full((1, len(space.parameters)), -1, dtype=np.int64)
        chosen = root.copy()
        chosen[:, first] = space.default_indices[first]
        if _is_bounded(task, chosen):
            return self.branch(root, first)
        self._method = "enumeration"
        return self.enumerate(progress)

    def take(self, designs: np.ndarray) -> None:
        """Evaluate designs."""
        evaluation = self._task.evaluate(designs)
        self._n_evaluated += len(designs)
        self._n_failed += int((evaluation.reason == FAILED).any(axis=1).sum())
        place = int(np.argmax(evaluation.reward))
        reward = float(evaluation.reward[place])
        if reward > max(self._reward, INFEASIBLE_REWARD):
            self._reward, self._best = reward, designs[place].copy()

    @property
    def _is_late(self) -> bool:
        return time.monotonic() > self._started + self._seconds

    def _pieces(self, work: Literal["bounds", "designs"], n: int) -> Iterator[slice]:
        """Yield rows to work on at once, until all are done or the time is over; the first always.

        Of each kind of work, the first rows come also after the time.
        """
        start, done = 0, self._n_bounded if work == "bounds" else self._n_evaluated
        while start < n and not ((start or done) and self._is_late):
            began, end = time.monotonic(), min(n, start + self._paces[work].batch)
            yield slice(start, end)
            self._paces[work].take(end - start, time.monotonic() - began)
            start = end

    def _take_all(self, designs: np.ndarray) -> bool:
        """Evaluate designs; return False if the time was over before."""
        rows = slice(0, 0)
        for rows in self._pieces("designs", len(designs)):
            self.take(designs[rows])
        return rows.stop >= len(designs)

    def proof(self, is_over: bool = False) -> Proof:
        """Return what is known so far, or at the end of the search."""
        bound = -math.inf if is_over else self._bound
        bound = math.inf if self._n_failed else max(bound, self._reward)
        took = time.monotonic() - self._started
        counts = self._n_bounded, self._n_evaluated, took, self._n_failed
        return Proof(self._method, self._reward, self._best, bound, *counts)

    # ---- every design

    def enumerate(self, progress: StageProgress | None) -> Proof:
        """Evaluate every design of the space, in index order."""
        space = self._space
        if space.size >= _MOST_COMBINATIONS:
            return self.proof()
        looked, n_known = 0, self._n_evaluated
        for designs in space.enumerate(chunk=_WIDTH, canonical=True):
            is_done = self._take_all(designs)
            looked += _WIDTH
            if not is_done or (self._is_late and looked < space.size):
                return self.proof()
            if progress is not None:
                progress("combinations", min(looked, space.size), space.size)
        # What was known came once more among all.
        self._n_evaluated -= n_known
        return self.proof(is_over=True)

    # ---- branch and bound

    def branch(self, root: np.ndarray, first: list[int]) -> Proof:
        """Choose parameters one after another, deepest and best bound first.

        Args:
          root: (1, n_parameters), the design without a choice.
          first: Columns that must be chosen before anything is known.
        """
        others = [column for column in range(root.shape[1]) if column not in first]
        whole = float(self._bounds(root)[0])
        order = first + others if first else self._order(root, whole)
        start, depth, n = root, 0, 1
        for column in first:
            n *= self._space.parameters[column].size
            if n > _MOST_AT_START or self._is_late:
                break
            start = np.concatenate([root[:0], *self._children(start, order, depth)])
            depth += 1
        found = self._bounds(start, whole)
        # Where only limits are bounded, a design may have all that is minimised at 0.
        is_known = _is_bounded(self._task, root, with_limits=False)
        place = np.argsort(-found, kind="stable")
        blocks = [(depth, start[place], found[place])]
        # The first steps are narrow, so that a good design is known soon.
        widths = {False: _NARROW, True: _NARROW}
        while blocks:
            depth, partial, bounds = blocks.pop()
            # Bounds are sorted, the best first.
            n = int(np.searchsorted(-bounds, -self._reward))
            partial, bounds = partial[:n], bounds[:n]
            if not n:
                continue
            bound = float(max(bounds[0], *(b[2][0] for b in blocks), -math.inf))
            # That a limit is missed is known whatever else is not.
            is_sound = bound < whole or is_known or bound <= LIMITED_REWARD
            self._bound = bound if is_sound else math.inf
            if self._is_late:
                return self.proof()
            is_leaf = depth == len(order)
            n_each = 1 if is_leaf else self._space.parameters[order[depth]].size
            taken = max(1, widths[is_leaf] // n_each)
            widths[is_leaf] = min(2 * widths[is_leaf], _WIDTH)
            if n > taken:
                blocks.append((depth, partial[taken:], bounds[taken:]))
            if is_leaf:
                if not self._take_all(np.unique(self._space.canonical(partial[:taken]), axis=0)):
                    blocks.append((depth, partial, bounds))
                continue
            for children in self._children(partial[:taken], order, depth):
                found = self._bounds(children, bounds[0])
                kept = np.flatnonzero(found > self._reward)
                sorted_ = kept[np.argsort(-found[kept], kind="stable")]
                if len(sorted_):
                    blocks.append((depth + 1, children[sorted_], found[sorted_]))
        return self.proof(is_over=True)

    def _bounds(self, partial: np.ndarray, late: float = math.inf) -> np.ndarray:
        """Return rewards that no completion exceeds, (n,); `late` for those after the time."""
        found = np.full(len(partial), late)
        for rows in self._pieces("bounds", len(partial)):
            found[rows] = reward_bounds(self._task, partial[rows])
            self._n_bounded += rows.stop - rows.start
        return found

    def _children(self, partial: np.ndarray, order: list[int], depth: int) -> Iterator[np.ndarray]:
        """Yield partial designs with one more parameter, those that break no constraint."""
        column = order[depth]
        size = self._space.parameters[column].size
        filled = np.where(partial < 0, self._space.default_indices, partial)
        is_active = self._space.conditioned(filled)[:, column]
        inactive = partial[~is_active].copy()
        inactive[:, column] = self._space.default_indices[column]
        active = partial[is_active]
        for start in range(0, size, _WIDTH):
            values = np.arange(start, min(size, start + _WIDTH))
            children = np.repeat(active, len(values), axis=0)
            children[:, column] = np.tile(values, len(active))
            if start == 0:
                children = np.concatenate([children, inactive])
            children = children[self._is_allowed(children, order[: depth + 1])]
            if len(children):
                yield children

    def _is_allowed(self, children: np.ndarray, chosen: list[int]) -> np.ndarray:
        """Return True where no constraint is broken whose parameters are all chosen, (n,)."""
        names = [self._space.parameters[place].name for place in chosen]
        holds = np.ones(len(children), dtype=bool)
        for constraint in self._space.constraints:
            used = constraint.require.names
            # With the last parameter, so that each is judged once.
            if names[-1] in used and set(used) <= set(names):
                filled = np.where(children < 0, self._space.default_indices, children)
                columns = self._space.columns(filled)
                with np.errstate(divide="ignore", invalid="ignore"):
                    judged = constraint.require.evaluate({name: columns[name] for name in used})
                holds &= np.broadcast_to(np.asarray(judged, dtype=bool), len(children))
        return holds

    def _order(self, root: np.ndarray, whole: float) -> list[int]:
        """Return columns in the order of branching: those that lower the bound the most first.

        A parameter follows those that decide if it is active, next to them.
        """
        space = self._space
        place = {p.name: k for k, p in enumerate(space.parameters)}
        parents = {place[c.parameter]: [place[n] for n in c.when.names] for c in space.conditions}
        lowers = []
        for column, parameter in enumerate(space.parameters):
            tried = np.unique(np.linspace(0, parameter.size - 1, _TRIED).astype(np.int64))
            partial = np.repeat(root, len(tried), axis=0)
            partial[:, column] = tried
            bounds = np.maximum(self._bounds(partial, whole), INFEASIBLE_REWARD)
            lowers.append(float(np.mean(np.where(np.isfinite(bounds), whole - bounds, 0.0))))
        order: list[int] = []

        def add(column: int) -> None:
            if column in order:
                return
            for parent in parents.get(column, ()):
                add(parent)
            order.append(column)
            for child in [c for c, of in parents.items() if set(of) <= set(order)]:
                add(child)

        for column in sorted(range(len(lowers)), key=lambda c: -lowers[c]):
            add(column)
        return order
