"""A genetic algorithm for mixed parameters."""

from typing import Annotated, final

import numpy as np

from archgym.agent.agent import AskTellAgent, Prior
from archgym.agent.neighbours import step_designs
from archgym.agent.seen import AskedDesigns
from archgym.agents import _hyperparameters as shared
from archgym.checks import check_number, check_whole
from archgym.evaluation.trials import Trials
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace

# chosen: rounds of breeding before children that are new and feasible are given up for random
# designs, and children bred at least in each, since many cost little more than one.
_MAX_ROUNDS = 10
_LEAST_BRED = 8


@final
class GeneticAgent(AskTellAgent):
    """Genetic algorithm with tournaments, uniform crossover, local steps and elitism.

    The population is the best `population` designs ever seen. Parents win tournaments in it; a
    child takes each parameter from either parent with even odds, then some parameters step to a
    neighbouring value, or to any other where values have no order. A child that breaks a
    constraint or was asked for before is bred again, and in the end replaced by a random design;
    what the simulator finds infeasible or fails on has the lowest reward and so dies out. Where
    none of the first twelve can be built, the default design breeds as well.
    """

    name = "genetic"
    batch = "batch"
    uses_prior = True

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        population: shared.Population = 12,
        batch_size: shared.Children = 8,
        tournament: Annotated[
            int,
            Integer(
                name="tournament",
                low=1,
                high=8,
                doc="Designs drawn, the best of which is a parent.",
            ),
        ] = 3,
        crossover: shared.Crossover = 0.7,
        mutation: shared.Mutation = 1.0,
        step: shared.Step = 0.2,
    ) -> None:
        """Set up an empty population."""
        self._population = check_whole("population", population, 2)
        self._batch_size = check_whole("batch_size", batch_size, 1)
        self._tournament = check_whole("tournament", tournament, 1)
        self._crossover = check_number("crossover", crossover, 0, 1)
        self._mutation = check_number("mutation", mutation, 0.01)
        self._step = check_number("step", step, 0.001, 1)
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._asked = AskedDesigns(space)
        self._designs = np.empty((0, space.n_parameters), dtype=np.int64)
        self._rewards = np.empty(0)

    def ask(self) -> np.ndarray:
        default = self._asked.fallback()
        if len(default):
            return default
        missing = self._population - len(self._asked)
        if missing > 0 or not len(self._designs):
            return self._asked.draw(min(max(missing, 1), self._batch_size), self._rng)
        children = self._asked.new_among(self._batch_size, _MAX_ROUNDS, self._children)
        missing = self._batch_size - len(children)
        return np.concatenate([children, self._asked.draw(missing, self._rng)])

    def take_prior(self, prior: Prior) -> None:
        self._asked.take_prior(prior, prior.best(self._population // 2))
        if prior.start is not None:
            self.tell(prior.start)

    def avoid(self, designs: np.ndarray) -> None:
        """Take designs that another agent has asked for."""
        self._asked.add(designs)

    def tell(self, trials: Trials) -> None:
        self._asked.learn(trials)
        designs = np.concatenate([self._designs, self._space.canonical(trials.indices)])
        rewards = np.concatenate([self._rewards, trials.reward])
        best = np.argsort(-rewards, kind="stable")[: self._population]
        self._designs, self._rewards = designs[best], rewards[best]

    def _children(self, missing: int, _round: int) -> np.ndarray:
        n = max(missing, _LEAST_BRED)
        mothers, fathers = self._parents(n), self._parents(n)
        has_two = self._rng.random((n, 1)) < self._crossover
        is_fathers = has_two & (self._rng.random(mothers.shape) < 0.5)
        children = np.where(is_fathers, fathers, mothers)
        return step_designs(self._space, children, self._mutation, self._step, self._rng)

    def _parents(self, n: int) -> np.ndarray:
        # The population is sorted, so the best of a tournament is the smallest place drawn.
        places = self._rng.integers(len(self._designs), size=(n, self._tournament)).min(axis=1)
        return np.asarray(self._designs[places])
