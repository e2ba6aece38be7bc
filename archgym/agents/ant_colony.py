"""Ant colony optimisation."""

from typing import Annotated, final

import numpy as np

from archgym.agent.agent import AskTellAgent
from archgym.agent.seen import AskedDesigns
from archgym.checks import check_number, check_whole
from archgym.evaluation.trials import Trials
from archgym.spaces.choices import Choices
from archgym.spaces.parameter import Integer, Permutation, Real
from archgym.spaces.space import DesignSpace

# chosen: rounds of walks before ants that found nothing new are given up for random designs, each
# less led by pheromone than the one before; and ants at least in each, since many cost little more
# than one.
_MAX_ROUNDS = 8
_LEAST_ANTS = 8


@final
class AntColonyAgent(AskTellAgent):
    """Ant colony: values are drawn with the pheromone that good designs left on them.

    Each value of a parameter carries pheromone; in a permutation each item at each position does,
    in a factorisation each share of a prime. A choice's pheromone sums to 1 at the start. An ant
    takes the option with the most, or draws one in proportion. After each ask what ants took loses
    some pheromone, so that others differ (local decay); then all evaporates by a share, and the
    best designs so far deposit as much, the better ones more. Limits keep every option possible.
    What a condition makes meaningless takes no part. Ants walk round what constraints forbid; one
    that ends at a known design walks again, led less.

    Source:
      Dorigo and Gambardella, *Ant Colony System*, IEEE Transactions on Evolutionary Computation 1,
      1997, for greediness and local decay, which the published ArchGym sweeps with the number of
      ants and evaporation; Stützle and Hoos, *MAX-MIN Ant System*, 2000, for limits; Blum and
      Dorigo, *The Hyper-Cube Framework*, 2004, for deposits that do not depend on rewards' scale;
      Guntsch and Middendorf, *A Population Based Approach for ACO*, 2002, for the best so far.
    """

    name = "ant_colony"
    batch = "batch"

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        ants: Annotated[int, Integer(name="ants", low=1, high=64, doc="Designs an ask.")] = 16,
        evaporation: Annotated[
            float,
            Real(
                name="evaporation",
                low=0.01,
                high=0.9,
                count=90,
                doc="Share of the pheromone that evaporates after an ask.",
            ),
        ] = 0.2,
        greediness: Annotated[
            float,
            Real(
                name="greediness",
                low=0.0,
                high=0.95,
                count=20,
                doc="Share of choices that take the option with the most pheromone.",
            ),
        ] = 0.5,
        decay: Annotated[
            float,
            Real(
                name="decay",
                low=0.0,
                high=0.5,
                count=51,
                doc="Share of the way back to the start that an ant sets what it takes.",
            ),
        ] = 0.1,
        depositing: Annotated[
            int,
            Integer(
                name="depositing", low=1, high=32, doc="Best designs so far that deposit pheromone."
            ),
        ] = 2,
        spread: Annotated[
            float,
            Real(
                name="spread",
                low=0.0,
                high=0.9,
                count=19,
                doc="Share of a deposit that goes to neighbouring values, where there is an order.",
            ),
        ] = 0.2,
        least: Annotated[
            float,
            Real(
                name="least",
                low=0.0,
                high=0.5,
                count=51,
                doc="Least pheromone of an option, as a share of what it has at the start.",
            ),
        ] = 0.1,
    ) -> None:
        """Set up a colony with equal pheromone everywhere."""
        self._n_ants = check_whole("ants", ants, 1)
        self._evaporation = check_number("evaporation", evaporation, 0, 1)
        self._greediness = check_number("greediness", greediness, 0, 1)
        self._decay = check_number("decay", decay, 0, 1)
        self._n_depositing = check_whole("depositing", depositing, 1)
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._asked = AskedDesigns(space)
        self._choices = Choices(space)
        # One row for the pheromone of all choices, in which each has its part.
        self._origins, widths = _parts(self._choices)
        self._firsts = np.cumsum(widths) - widths
        self._widths = widths
        self._start: np.ndarray = np.repeat(1.0 / widths, widths)
        self._least = check_number("least", least, 0, 1) * self._start
        self._most = 1.0 - self._least * np.repeat(widths - 1, widths)
        self._pheromone: np.ndarray = self._start
        # Share of a deposit that goes up to the next option; as much comes down from there.
        spread = check_number("spread", spread, 0, 1)
        self._up = np.repeat(np.where(self._choices.is_ordered, spread / 2, 0.0), widths)
        self._up[self._firsts + widths - 1] = 0.0
        self._is_tied = np.isin(space.names, sorted(_tied_names(space)))[self._choices.places]
        self._best = np.empty((0, self._choices.n), dtype=np.int64)
        self._best_rewards = np.empty(0)

    def ask(self) -> np.ndarray:
        def walked(missing: int, number: int) -> np.ndarray:
            lead = 1.0 - number / (_MAX_ROUNDS - 1)
            return self._choices.compose(self._walk(max(missing, _LEAST_ANTS), lead))

        found = self._asked.new_among(self._n_ants, _MAX_ROUNDS, walked)
        drawn = self._asked.draw(self._n_ants - len(found), self._rng)
        return np.concatenate([found, drawn])

    def tell(self, trials: Trials) -> None:
        taken = self._taken(trials.indices)
        self._decay_locally(taken[taken >= 0])
        found = np.concatenate([self._best, taken[trials.feasible]])
        rewards = np.concatenate([self._best_rewards, trials.reward[trials.feasible]])
        best = np.argsort(-rewards, kind="stable")[: self._n_depositing]
        self._best, self._best_rewards = found[best], rewards[best]
        self._deposit(self._best)

    # ---- walking

    def _walk(self, n: int, lead: float) -> np.ndarray:
        """Return choices of `n` ants, (n, n_choices).

        Args:
          lead: Influence of pheromone, from 0 (all options are equal) to 1.
        """
        pheromone = self._start + lead * (self._pheromone - self._start)
        picks = np.zeros((n, self._choices.n), dtype=np.int64)
        for choice in range(self._choices.n):
            options = pheromone[self._numbers(picks, choice)]
            if self._is_tied[choice]:
                # Choices that constraints do not touch decide nothing; as 0 they make masks few.
                rows = picks * self._is_tied
                options = options * [self._choices.mask(row, choice) for row in rows]
            drawn = self._draw(options, n)
            greedy = self._draw(options == options.max(axis=1, keepdims=True), n)
            is_greedy = self._rng.random(n) < lead * self._greediness
            picks[:, choice] = np.where(is_greedy, greedy, drawn)
        return picks

    def _draw(self, weights: np.ndarray, n: int) -> np.ndarray:
        """Return (n,) options drawn in proportion to weights, (n or 1, n_options)."""
        sums = np.cumsum(weights, axis=1)
        passed = (sums <= sums[:, -1:] * self._rng.random((n, 1))).sum(axis=1)
        # The product may be rounded up to the last sum.
        return np.asarray(np.minimum(passed, weights.shape[1] - 1))

    # ---- pheromone

    def _numbers(self, picks: np.ndarray, choice: int) -> np.ndarray:
        """Return indices of the pheromone of a choice's options, (n or 1, n_options)."""
        items = np.arange(self._widths[choice])[None, :]
        for earlier in range(self._origins[choice], choice):
            is_left = np.arange(items.shape[1]) != picks[:, earlier, None]
            items = np.broadcast_to(items, is_left.shape)[is_left].reshape(len(picks), -1)
        return np.asarray(self._firsts[choice] + items)

    def _taken(self, designs: np.ndarray) -> np.ndarray:
        """Return indices of the options that designs took, (n, n_choices); -1 if inactive."""
        picks = self._choices.split(designs)
        numbers = np.empty_like(picks)
        for choice in range(self._choices.n):
            options = np.broadcast_to(
                self._numbers(picks, choice), (len(picks), self._choices.sizes[choice])
            )
            numbers[:, choice] = options[np.arange(len(picks)), picks[:, choice]]
        return np.where(self._space.active(designs)[:, self._choices.places], numbers, -1)

    def _decay_locally(self, taken: np.ndarray) -> None:
        """Move pheromone of chosen options back towards its start value, once for each ant."""
        times = np.bincount(taken, minlength=len(self._start))
        kept = (1.0 - self._decay) ** times
        self._pheromone = self._start + kept * (self._pheromone - self._start)

    def _deposit(self, taken: np.ndarray) -> None:
        """Evaporate pheromone, then add it to choices, (n, n_choices), of designs, best first."""
        ranks = np.arange(len(taken), 0, -1, dtype=np.float64)
        weights = np.broadcast_to(ranks[:, None], taken.shape)[taken >= 0]
        left = np.bincount(taken[taken >= 0], weights, minlength=len(self._start))
        up = left * self._up
        down = left * np.roll(self._up, 1)
        deposit = left - up - down + np.roll(up, 1) + np.roll(down, -1)
        # A choice that is inactive in all of the designs keeps its pheromone.
        total = np.repeat(np.add.reduceat(deposit, self._firsts), self._widths)
        share = np.where(total > 0, self._evaporation, 0.0)
        pheromone = (1.0 - share) * self._pheromone + share * deposit / np.maximum(total, 1.0)
        self._pheromone = np.clip(pheromone, self._least, self._most)


def _parts(choices: Choices) -> tuple[np.ndarray, np.ndarray]:
    """Return the first choice that each choice's meaning depends on, (n,), and its width, (n,).

    What a pick of a permutation means depends on the picks before it, so it has pheromone for each
    item at its position, and the first pick is its origin. Other choices are their own.
    """
    origins = np.arange(choices.n)
    widths = choices.sizes.copy()
    for choice, place in enumerate(choices.places):
        if isinstance(choices.space.parameters[place], Permutation):
            origins[choice] = np.flatnonzero(choices.places == place)[0]
            widths[choice] = choices.sizes[origins[choice]]
    return origins, widths


def _tied_names(space: DesignSpace) -> set[str]:
    """Return parameters whose values may make a value of another parameter infeasible."""
    if not space.constraints:
        return set()
    tied = set().union(*(constraint.require.names for constraint in space.constraints))
    for condition in space.conditions:
        tied |= condition.when.names | {condition.parameter}
    return tied
