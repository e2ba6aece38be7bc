"""Search that relieves what the simulator says limits a design."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, final

import numpy as np

from archgym.agent.agent import Agent
from archgym.agent.neighbours import step_designs
from archgym.agent.seen import AskedDesigns
from archgym.checks import check_number, check_whole
from archgym.evaluation.capabilities import Bottleneck, bottlenecks_of
from archgym.evaluation.metrics import growth
from archgym.evaluation.simulator import FEASIBLE
from archgym.evaluation.trials import Evaluate, Trials
from archgym.spaces.parameter import Integer, Real
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    from archgym.tasks.task import Task

Move = tuple[tuple[str, Any], ...]

# chosen: a target that is met is not a reason to move; what is minimised counts little while one
# is missed, and fully once all are met.
_MINIMISED: Final = 0.05
# chosen: later moves of a bottleneck are less promising by its simulator's word.
_DECAY: Final = 0.8
# chosen: a reward that is lower by less is as good; equal branches must be relieved one by one.
_AS_GOOD: Final = 1e-9
# chosen: a move that was made in vain is half as promising, until the next restart.
_IN_VAIN: Final = 0.5
# chosen: repairs in a row that helped nothing, until a better design gives hope again.
_MAX_REPAIRS: Final = 2
_STEP: Final = 0.2
_LEAST_TRIES: Final = 16
# chosen: about as many moves as there are bottlenecks.
_FIRST: Final = 6
_MAX_ROUNDS: Final = 8


@final
class BottleneckAgent(Agent):
    """Hill climbing whose steps relieve what limits the design, from the default design.

    After each design the simulator names its bottlenecks (`bottlenecks_of`) with moves that
    may relieve them. The agent ranks moves by how far their metric misses its limit or
    target, and by their share of it. It makes the most promising ones, `most` of them at first. A
    success doubles the number of moves made at once, a failure halves it. Moves that were made in
    vain become less promising. A design that is not worse is kept. After `patience` moves in vain
    the search returns to the best design, with some moves made at random.
    Where a simulator names no bottlenecks it steps to random neighbours.

    Source:
      Boroujerdian et al., *FARSI: An Early-stage Design Space Exploration Framework to Tame the
      Domain-specific System-on-chip Complexity*, ACM TECS 22, 2023: moves by bottleneck analysis.
    """

    name = "bottleneck"

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        patience: Annotated[
            int,
            Integer(
                name="patience",
                low=1,
                high=200,
                doc="Moves tried in vain before the search restarts near its best design.",
            ),
        ] = 32,
        noise: Annotated[
            float,
            Real(
                name="noise",
                low=0.01,
                high=2.0,
                count=200,
                doc="Spread of the random factor on the worth of a move, in the logarithm.",
            ),
        ] = 0.3,
        most: Annotated[
            int,
            Integer(name="most", low=1, high=32, doc="Moves made at once, at most."),
        ] = 8,
    ) -> None:
        """Set up a search from the default design.

        Args:
          space: Space to search.
          seed: Random seed.
        """
        self._patience = check_whole("patience", patience, 1)
        self._noise = check_number("noise", noise, 0.0)
        self._most = check_whole("most", most, 1)
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._asked = AskedDesigns(space)
        self._at_once = self._most
        self._made: list[Move] = []
        self._trust: dict[Move, float] = {}

    def search(self, evaluate: Evaluate, task: "Task") -> None:
        """Search until `evaluate` raises `BudgetExhausted` or nothing is left to try."""
        start = self._space.canonical(self._space.default_indices[None, :])
        self._asked.add(start)
        here = best = _Place(start[0], evaluate(start), task)
        moves = self._moves(here, task)
        in_vain = repairs = 0
        while True:
            design = next(moves, None) if in_vain < self._patience else None
            is_kick = design is None
            if design is None:
                design = self._kicked(best, task)
                self._made = []
                self._trust.clear()
            if design is None:
                return
            found = self._tried(design, evaluate, task)
            is_worse = found.reward < here.reward - _AS_GOOD
            if not is_kick and is_worse and found.betters(here) and repairs < _MAX_REPAIRS:
                found = self._repaired(found, evaluate, task)
                repairs = 0 if found.reward > here.reward + _AS_GOOD else repairs + 1
            if is_kick or found.reward > here.reward + _AS_GOOD:
                in_vain = 0
                self._at_once = self._most if is_kick else min(2 * self._at_once, self._most)
                self._trust.update(dict.fromkeys(self._made, 1.0))
            else:
                in_vain += self._at_once == 1
                self._at_once = max(1, self._at_once // 2)
                for move in self._made:
                    self._trust[move] = _IN_VAIN * self._trust.get(move, 1.0)
            if found.reward > best.reward + _AS_GOOD:
                best = found
                repairs = 0
            if found.is_built and (is_kick or found.reward >= here.reward - _AS_GOOD):
                here = found
                moves = self._moves(here, task)

    def _tried(self, design: np.ndarray, evaluate: Evaluate, task: "Task") -> "_Place":
        """Return a design with its result."""
        self._asked.add(design[None, :])
        return _Place(design, evaluate(design[None, :]), task)

    def _repaired(self, failed: "_Place", evaluate: Evaluate, task: "Task") -> "_Place":
        """Return the better of a design and the same one with its own bottleneck relieved.

        A move that helps one metric may overload another block, which its own log names.
        """
        for move in self._scored(failed, task)[:1]:
            design = self._changed(failed.design, [move])
            if design is not None:
                tried = self._tried(design, evaluate, task)
                return tried if tried.reward > failed.reward else failed
        return failed

    def _moves(self, place: "_Place", task: "Task") -> Iterator[np.ndarray]:
        """Yield designs that were not asked for, the most promising first."""
        scored = self._scored(place, task)
        n_tried = 0
        while scored:
            # Once the first moves are tried in vain, steps to random neighbours take turns with
            # the others, which may all be about a block that cannot be relieved.
            if n_tried > _FIRST and n_tried % 2 == 0:
                near = self._near(place.design, 1.0)
                n_tried += 1
                self._made = []
                if near is not None:
                    yield near
                continue
            n = self._at_once
            together = _together(scored, n)
            self._made = [_key(move) for move in together]
            design = self._changed(place.design, together)
            if n == 1:
                scored.pop(0)
                n_tried += 1
            elif design is None:
                self._at_once = n // 2
            if design is not None:
                yield design
        self._made = []
        while (design := self._near(place.design, 1.0)) is not None:
            yield design

    def _near(self, design: np.ndarray, rate: float) -> np.ndarray | None:
        """Return a random neighbour that was not asked for; None if none is found."""
        for _ in range(_MAX_ROUNDS):
            near = np.tile(design, (_LEAST_TRIES, 1))
            near = self._space.canonical(step_designs(self._space, near, rate, _STEP, self._rng))
            fresh = np.flatnonzero(self._asked.new(near))
            if len(fresh):
                return np.asarray(near[fresh[0]])
        return None

    def _scored(self, place: "_Place", task: "Task") -> list[dict[str, Any]]:
        """Return the moves that relieve a design's bottlenecks, the most promising first."""
        if not place.is_built:
            return []
        urgency = place.urgency()
        worth: dict[Move, float] = {}
        for weighted, share in zip(task.workloads, task.weights, strict=True):
            for bottleneck in bottlenecks_of(task.simulator, place.design, weighted.workload):
                weight = urgency.get(bottleneck.metric, 0.0) * bottleneck.share * share
                if weight <= 0.0:
                    continue
                for rank, move in enumerate(self._relieving(place.design, bottleneck)):
                    # A move that relieves several bottlenecks is worth their sum.
                    key = _key(move)
                    gain = weight * _DECAY**rank * self._trust.get(key, 1.0)
                    worth[key] = worth.get(key, 0.0) + gain
        luck = np.exp(self._noise * self._rng.standard_normal(len(worth)))
        order = np.argsort(-np.array(list(worth.values())) * luck, kind="stable")
        moves = list(worth)
        return [dict(moves[n]) for n in order.tolist()]

    def _relieving(self, design: np.ndarray, bottleneck: Bottleneck) -> list[dict[str, Any]]:
        """Return a bottleneck's moves: its own, or steps of its parameters."""
        if bottleneck.moves:
            return [dict(move) for move in bottleneck.moves]
        found: list[dict[str, Any]] = []
        for name in bottleneck.parameters:
            column = self._space.names.index(name)
            parameter = self._space.parameters[column]
            at = int(design[column])
            if parameter.is_ordered:
                ends = (0, parameter.size - 1)
                near = [i for i in (at + 1, at - 1, *ends) if 0 <= i < parameter.size]
            else:
                near = self._rng.permutation(min(parameter.size, _LEAST_TRIES)).tolist()
            found += [{name: parameter.value(i)} for i in dict.fromkeys(near) if i != at]
        order = self._rng.permutation(len(found)).tolist()
        return [found[i] for i in order]

    def _changed(self, design: np.ndarray, moves: list[dict[str, Any]]) -> np.ndarray | None:
        """Return a design with moves made; None if it was asked for or breaks a constraint."""
        changed = design.copy()
        for move in moves:
            for name, value in move.items():
                column = self._space.names.index(name)
                changed[column] = self._space.parameters[column].index(value)
        made = self._space.canonical(changed[None, :])
        return made[0] if self._asked.new(made)[0] else None

    def _kicked(self, best: "_Place", task: "Task") -> np.ndarray | None:
        """Return the best design with some changes, or any other; None if none is left."""
        scored = self._scored(best, task)
        for _ in range(_MAX_ROUNDS if scored else 0):
            n = 2 + int(self._rng.integers(2))
            places = self._rng.integers(len(scored), size=n).tolist()
            design = self._changed(best.design, [scored[i] for i in places])
            if design is not None:
                return design
        near = self._near(best.design, 2.0) if best.is_built else None
        if near is not None:
            return near
        drawn = self._asked.draw(1, self._rng)
        return drawn[0] if len(drawn) else None


def _key(move: dict[str, Any]) -> Move:
    return tuple(sorted(move.items()))


def _together(scored: list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """Return the first move and the next ones that change other parameters, at most `n`."""
    chosen: list[dict[str, Any]] = []
    changed: set[str] = set()
    for move in scored:
        if len(chosen) == n:
            break
        if changed.isdisjoint(move):
            chosen.append(move)
            changed |= move.keys()
    return chosen


@final
class _Place:
    """An evaluated design, and by how much it violates limits and targets."""

    def __init__(self, design: np.ndarray, trials: Trials, task: "Task") -> None:
        self.design = design
        self.is_built = bool(trials.feasible[0]) and int(trials.reason[0]) == FEASIBLE
        self.reward = float(trials.reward[0]) if self.is_built else -math.inf
        self._objective = task.objective
        self._missed: dict[str, float] = {}
        values = dict(zip([s.name for s in trials.specs], trials.values[0].tolist(), strict=True))
        resolution = {spec.name: spec.resolution for spec in trials.specs}
        for metric, sign, bound, weight in self._bounds() if self.is_built else ():
            r = resolution[metric]
            excess = float(growth(np.array([values[metric]]), bound, r)[0])
            excess = excess if sign == "<=" else -excess
            self._missed[metric] = self._missed.get(metric, 0.0) + weight * max(0.0, excess)

    def _bounds(self) -> Iterator[tuple[str, str, float, float]]:
        """Yield metric, sign, bound and weight of limits and targets."""
        for limit in self._objective.limits:
            yield limit.metric, limit.sign, limit.bound, 1.0
        for term in self._objective.terms:
            if term.target is not None and term.goal in ("at-most", "at-least"):
                sign = "<=" if term.goal == "at-most" else ">="
                yield term.metric, sign, term.target, term.weight

    def betters(self, other: "_Place") -> bool:
        """Return True if a limit or target is missed by less than another design misses it."""
        return self.is_built and any(
            missed < other._missed.get(metric, 0.0) - _AS_GOOD
            for metric, missed in self._missed.items()
        )

    def urgency(self) -> dict[str, float]:
        """Return by metric how much the objective gains where it improves."""
        found = {metric: missed for metric, missed in self._missed.items() if missed > 0.0}
        gain = _MINIMISED if found else 1.0
        for term in self._objective.terms:
            if term.target is None:
                found[term.metric] = found.get(term.metric, 0.0) + term.weight * gain
        return found
