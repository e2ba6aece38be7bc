"""Portfolio of search methods that shares the budget out by evidence."""

import math
from typing import TYPE_CHECKING, Annotated, Final, final

import numpy as np

from archgym.agents.extra_trees import ExtraTreesAgent
from archgym.agents.few import FewAgent
from archgym.agents.genetic import GeneticAgent
from archgym.checks import check_whole
from archgym.evaluation.trials import Evaluate, Trials
from archgym.search.agent import Agent
from archgym.search.prior import Prior
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    from archgym.evaluation.task import Task

__all__ = ["AutoAgent"]

# chosen: evidence fades, since methods that are good early may not be good late: half of it is
# gone after some 20 evaluations of the method.
_FADING: Final = 0.97
# chosen: worth of trying a method that had few evaluations.
_CURIOSITY: Final = 0.05
# chosen: a result that is not a new best counts by the share of results that it beats, to this
# power, so that only results near the best count; and at most as this part of a new best.
_RANK_POWER: Final = 8
_RANK_WORTH: Final = 0.3


@final
class AutoAgent(Agent):
    """Starts with `few`, then gives evaluations to the method that earned them.

    The first `opening` evaluations belong to `few`: the default design, first designs and moves
    by models. Then `few`, `genetic` and `extra_trees` take turns of `turn` evaluations. All learn
    from all results. Each has one turn; later ones go to the method whose results were best of
    late, with some curiosity for methods that had few. A result is worth 1 where it is a new
    best, and less by rank else.

    Decisions depend on results alone, never on clocks, so that a search can be replayed. The cost
    of thinking is bounded instead: models learn from a bounded number of results.

    Source:
      Auer et al., *Finite-time Analysis of the Multiarmed Bandit Problem*, Machine Learning 47,
      2002, for the index; Fialho et al., *Analyzing Bandit-based Adaptive Operator Selection
      Mechanisms*, 2010, for credit by rank.
    """

    name = "auto"
    library = "scikit-learn"
    uses_prior = True

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        opening: Annotated[
            int,
            Integer(name="opening", low=1, high=400, doc="Evaluations that `few` has at first."),
        ] = 100,
        turn: Annotated[
            int, Integer(name="turn", low=1, high=32, doc="Evaluations in one turn of a method.")
        ] = 4,
    ) -> None:
        """Set up the methods."""
        self._opening = check_whole("opening", opening, 1)
        self._turn = check_whole("turn", turn, 1)
        self._few = FewAgent(space, seed=seed)
        genetic = GeneticAgent(space, seed=seed + 1, batch_size=1)
        trees = ExtraTreesAgent(space, seed=seed + 2, trees=20, pool=300)
        self._members: list[FewAgent | GeneticAgent | ExtraTreesAgent] = [self._few, genetic, trees]
        self._credit = [0.0] * len(self._members)
        self._weight = [0.0] * len(self._members)
        self._rewards = np.empty(0)

    def search(self, evaluate: Evaluate, task: "Task") -> None:
        self._few.begin(task)
        now, left = 0, self._opening
        while self._members:
            designs = self._members[now].ask()
            if not len(designs):
                for of_all in (self._members, self._credit, self._weight):
                    del of_all[now]
                now, left = self._best_index(), self._turn
                continue
            trials = evaluate(designs)
            self._learn(now, trials)
            left -= len(designs)
            if left <= 0:
                now, left = self._best_index(), self._turn

    def take_prior(self, prior: Prior) -> None:
        for member in self._members:
            member.take_prior(prior)
        if prior.start is not None:
            self._rewards = np.concatenate([self._rewards, prior.start.reward])

    def _learn(self, now: int, trials: Trials) -> None:
        """Tell all members, and credit the one that asked."""
        for place, member in enumerate(self._members):
            if place == now:
                member.tell(trials)
            elif isinstance(member, FewAgent):
                member.take(trials)
            else:
                member.take_prior(_known(trials))
        for reward in trials.reward.tolist():
            worth = self._worth(reward)
            self._credit[now] = _FADING * self._credit[now] + worth
            self._weight[now] = _FADING * self._weight[now] + 1.0
            self._rewards = np.append(self._rewards, reward)

    def _worth(self, reward: float) -> float:
        if not len(self._rewards) or reward > self._rewards.max():
            return 1.0
        share = float((self._rewards < reward).mean())
        return float(_RANK_WORTH * share**_RANK_POWER)

    def _best_index(self) -> int:
        """Return a member that had no turn, else that of the largest upper confidence index."""
        if not self._members:
            return 0
        if 0.0 in self._weight:
            return self._weight.index(0.0)
        total = math.log(2.0 + sum(self._weight))
        indices = [
            credit / max(weight, 1.0) + _CURIOSITY * math.sqrt(total / (1.0 + weight))
            for credit, weight in zip(self._credit, self._weight, strict=True)
        ]
        return indices.index(max(indices))


def _known(trials: Trials) -> Prior:
    """Return results of others as start designs."""
    nothing = trials.indices[:0]
    return Prior(trials, nothing, np.empty(0), trials.terms[:0])
