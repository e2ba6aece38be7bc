"""Search that relieves what the simulator says limits a design."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, final

import numpy as np

from archgym.checks import check_number, check_whole
from archgym.evaluation.simulator import FEASIBLE, Bottleneck
from archgym.search.agent import Agent, Evaluate
from archgym.search.seen import AskedDesigns
from archgym.spaces.neighbours import step_designs
from archgym.spaces.parameter import Integer, Real
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    from archgym.evaluation.task import Task

__all__ = ["BottleneckAgent"]

# chosen: a target that is met is no reason to move; what is minimised counts little beside one
# that is missed, and fully once all are met.
_MINIMISED: Final = 0.05
# chosen: later moves of a bottleneck are less promising by its simulator's word.
_DECAY: Final = 0.8
# chosen: a reward that is lower by less is as good; equal branches must be relieved one by one.
_AS_GOOD: Final = 1e-9
_STEP: Final = 0.2
_LEAST_TRIES: Final = 16
_MAX_ROUNDS: Final = 8


@final
class BottleneckAgent(Agent):
    """Hill climbing whose steps relieve what limits the design, from the default design.

    After each design the simulator names its bottlenecks (`Simulator.bottlenecks`) with moves that
    may relieve them. The agent weighs them by how far their metric misses its target in the task's
    objective and by their share of the metric, and tries the most promising move. It keeps a design
    that is not worse. After `patience` moves in vain it returns to the best design, changed by some
    of its moves at once. Where a simulator names no bottlenecks it steps to random neighbours.

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
        ] = 12,
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
        pair: Annotated[
            float,
            Real(
                name="pair",
                low=0.0,
                high=1.0,
                count=101,
                doc="Probability that two moves are made at once.",
            ),
        ] = 0.1,
    ) -> None:
        """Set up a search from the default design.

        Args:
          space: Space to search.
          seed: Random seed.
        """
        self._patience = check_whole("patience", patience, 1)
        self._noise = check_number("noise", noise, 0.0)
        self._pair = check_number("pair", pair, 0.0, 1.0)
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._asked = AskedDesigns(space)

    def search(self, evaluate: Evaluate, task: "Task") -> None:
        """Search until `evaluate` raises `BudgetExhausted` or nothing is left to try."""
        start = self._space.canonical(self._space.default_indices[None, :])
        self._asked.add(start)
        here = best = _Place(start[0], evaluate(start), task)
        moves = self._moves(here, task)
        in_vain = 0
        while True:
            design = next(moves, None) if in_vain < self._patience else None
            is_kick = design is None
            if design is None:
                design = self._kicked(best, task)
            if design is None:
                return
            self._asked.add(design[None, :])
            found = _Place(design, evaluate(design[None, :]), task)
            in_vain = 0 if is_kick or found.reward > here.reward + _AS_GOOD else in_vain + 1
            if found.reward > best.reward + _AS_GOOD:
                best = found
            if found.is_built and (is_kick or found.reward >= here.reward - _AS_GOOD):
                here = found
                moves = self._moves(here, task)

    def _moves(self, place: "_Place", task: "Task") -> Iterator[np.ndarray]:
        """Yield designs that were not asked for, the most promising first."""
        scored = self._scored(place, task)
        for number, move in enumerate(scored):
            moves = [move]
            if self._rng.random() < self._pair and number + 1 < len(scored):
                moves.append(scored[int(self._rng.integers(number + 1, len(scored)))])
            design = self._changed(place.design, moves)
            if design is not None:
                yield design
        for _ in range(_MAX_ROUNDS):
            near = np.tile(place.design, (_LEAST_TRIES, 1))
            near = step_designs(self._space, near, 1.0, _STEP, self._rng)
            near = self._space.canonical(near)
            for row in np.flatnonzero(self._asked.new(near)):
                if self._asked.new(near[row : row + 1])[0]:
                    yield near[row]

    def _scored(self, place: "_Place", task: "Task") -> list[dict[str, Any]]:
        """Return the moves that relieve a design's bottlenecks, the most promising first."""
        if not place.is_built:
            return []
        urgency = place.urgency(task)
        scored: list[tuple[float, dict[str, Any]]] = []
        for weighted, share in zip(task.workloads, task.weights, strict=True):
            for bottleneck in task.simulator.bottlenecks(place.design, weighted.workload):
                weight = urgency.get(bottleneck.metric, 0.0) * bottleneck.share * share
                if weight <= 0.0:
                    continue
                for rank, move in enumerate(self._relieving(place.design, bottleneck)):
                    luck = math.exp(self._noise * self._rng.standard_normal())
                    scored.append((weight * _DECAY**rank * luck, move))
        scored.sort(key=lambda entry: -entry[0])
        return [move for _, move in scored]

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
        """Return a design with moves made; None where it was asked for or breaks a constraint."""
        changed = design.copy()
        for move in moves:
            for name, value in move.items():
                column = self._space.names.index(name)
                changed[column] = self._space.parameters[column].index(value)
        made = self._space.canonical(changed[None, :])
        return made[0] if self._asked.new(made)[0] else None

    def _kicked(self, best: "_Place", task: "Task") -> np.ndarray | None:
        """Return the best design with some changes, or any other; None where none is left."""
        scored = self._scored(best, task)
        for _ in range(_MAX_ROUNDS if scored else 0):
            n = 2 + int(self._rng.integers(2))
            places = self._rng.integers(len(scored), size=n).tolist()
            design = self._changed(best.design, [scored[i] for i in places])
            if design is not None:
                return design
        for _ in range(_MAX_ROUNDS if best.is_built else 0):
            near = np.tile(best.design, (_LEAST_TRIES, 1))
            near = self._space.canonical(step_designs(self._space, near, 2.0, _STEP, self._rng))
            fresh = np.flatnonzero(self._asked.new(near))
            if len(fresh):
                design = near[fresh[0]]
                return np.asarray(design)
        drawn = self._asked.draw(1, self._rng)
        return drawn[0] if len(drawn) else None


@final
class _Place:
    """A design that was evaluated."""

    def __init__(self, design: np.ndarray, trials: Any, task: "Task") -> None:
        self.design = design
        self.is_built = bool(trials.feasible[0]) and int(trials.reason[0]) == FEASIBLE
        self.reward = float(trials.reward[0]) if self.is_built else -math.inf
        self._terms = trials.terms[0]

    def urgency(self, task: "Task") -> dict[str, float]:
        """Return by metric how much the objective gains where it improves."""
        found: dict[str, float] = {}
        terms = task.objective.terms
        is_missed = [
            term.goal in ("at-most", "at-least") and worth < 0.0
            for term, worth in zip(terms, self._terms, strict=True)
        ]
        for term, worth, missed in zip(terms, self._terms, is_missed, strict=True):
            if missed:
                gain = -float(worth)
            elif term.goal in ("at-most", "at-least"):
                gain = 0.0
            else:
                gain = _MINIMISED if any(is_missed) else 1.0
            found[term.metric] = found.get(term.metric, 0.0) + term.weight * gain
        return found
