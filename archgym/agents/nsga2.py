"""Multi-objective search with NSGA-II: designs are bred here, and pymoo selects the parents."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import numpy as np

from archgym.agent.agent import Agent, Prior
from archgym.agent.neighbours import step_designs
from archgym.agent.seen import AskedDesigns
from archgym.agents import _hyperparameters as shared
from archgym.checks import check_number, check_whole
from archgym.errors import MissingExtraError
from archgym.evaluation.objective import reference_point
from archgym.evaluation.trials import Evaluate, Trials
from archgym.spaces.choices import Choices
from archgym.spaces.space import DesignSpace
from archgym.tasks.task import Task

# chosen: as for the genetic agent: rounds of breeding before random designs are taken, and children
# bred at least in each.
_MAX_ROUNDS = 10
_LEAST_BRED = 8
# chosen: more than any sum of terms can lie behind the reference point.
_NOT_BUILT = 1e12


@final
class Nsga2Agent(Agent):
    """NSGA-II: non-dominated sorting and crowding distance.

    The population is what is dominated by the fewest ranks of others, and of the last rank that
    fits what is least crowded. Parents win tournaments by dominance, then by distance. The terms of
    the objective are maximised alike, whatever their weights; with one term it is a genetic
    algorithm.

    A child takes each choice from either parent with even
    odds: a parameter's value, or one sub-action of a permutation or factorisation. Then some
    parameters step to a neighbouring value, or to any other where values have no order. A child
    that breaks a constraint or was asked for before is bred again, and in the end replaced by a
    random design. Where none of the first twelve can be built, the default design breeds as well.

    To the algorithm, a design violates a constraint by what its terms lack to the reference point
    of the hypervolume: what is twice as bad as the default design in any metric is bred from only
    until there is better. What was not built violates it most.

    Source:
      Deb, Pratap, Agarwal & Meyarivan, *A Fast and Elitist Multiobjective Genetic Algorithm:
      NSGA-II*, IEEE Transactions on Evolutionary Computation 6, 2002.
    """

    name = "nsga2"
    library = "pymoo"
    kind = "multi-objective"
    batch = "batch"
    uses_prior = True

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        population: shared.Population = 20,
        batch_size: shared.Children = 8,
        crossover: shared.Crossover = 0.7,
        mutation: shared.Mutation = 1.0,
        step: shared.Step = 0.2,
    ) -> None:
        """Set up an empty population.

        Raises:
          MissingExtraError: pymoo is not installed.
        """
        if importlib.util.find_spec("pymoo") is None:
            raise MissingExtraError("pymoo", "evolution")
        self._population = check_whole("population", population, 2)
        self._batch_size = check_whole("batch_size", batch_size, 1)
        self._crossover = check_number("crossover", crossover, 0, 1)
        self._mutation = check_number("mutation", mutation, 0.01)
        self._step = check_number("step", step, 0.001, 1)
        self._space = space
        self._choices = Choices(space)
        self._rng = np.random.default_rng(seed)
        self._asked = AskedDesigns(space)
        self._told: list[Any] = []
        self._start_trials: Trials | None = None
        self._corner = np.zeros(1)
        with _quiet_pymoo():
            from pymoo.algorithms.moo.nsga2 import NSGA2, RankAndCrowdingSurvival

            self._algorithm = NSGA2(
                survival=RankAndCrowdingSurvival(),
                pop_size=self._population,
                n_offsprings=self._batch_size,
                seed=int(self._rng.integers(2**32)),
                output=None,
            )
        self._selection = self._algorithm.mating.selection
        # Of pymoo's parts only breeding is replaced: its operators know no such parameters.
        self._algorithm.mating = self
        self._has_started = False

    def search(self, evaluate: Evaluate, task: Task) -> None:
        self._corner = reference_point(task.objective, task.reference, task.metrics, task.weights)
        if self._start_trials is not None:
            self._tell(self._start_trials)
        while len(designs := self._ask()):
            self._tell(evaluate(designs))

    def take_prior(self, prior: Prior) -> None:
        self._asked.take_prior(prior, prior.best_fronts(self._population // 2))
        self._start_trials = prior.start

    def _ask(self) -> np.ndarray:
        default = self._asked.fallback()
        if len(default):
            return default
        if not self._has_started:
            missing = self._population - len(self._asked)
            return self._asked.draw(min(missing, self._batch_size), self._rng)
        bred = self._algorithm.ask()
        nothing = np.empty((0, self._space.n_parameters), dtype=np.int64)
        return nothing if bred is None else np.array(bred.get("X"), dtype=np.int64)

    def _tell(self, trials: Trials) -> None:
        from pymoo.core.population import Population

        self._asked.learn(trials)
        losses = -trials.terms
        if losses.shape[1] == 1:
            # Two columns that are alike order designs as one does.
            losses = np.repeat(losses, 2, axis=1)
        behind = np.maximum(self._corner - trials.terms, 0.0).sum(axis=1)
        violations = np.where(trials.feasible, behind, _NOT_BUILT)[:, None]
        told = Population.new(
            "X",
            self._space.canonical(trials.indices),
            "F",
            losses,
            "G",
            violations,
            "H",
            np.empty((len(trials), 0)),
        )
        if self._has_started:
            self._advance(told)
            return
        self._told.append(told)
        if sum(map(len, self._told)) >= self._population:
            self._start(losses.shape[1])

    def _start(self, n_terms: int) -> None:
        from pymoo.core.population import Population
        from pymoo.core.problem import Problem
        from pymoo.core.termination import NoTermination

        problem = Problem(
            n_var=self._space.n_parameters,
            n_obj=n_terms,
            n_ieq_constr=1,
            xl=0,
            xu=self._space.sizes - 1,
            vtype=int,
        )
        self._algorithm.setup(problem, termination=NoTermination())
        self._has_started = True
        self._advance(np.concatenate(self._told).view(Population))
        self._told.clear()

    def _advance(self, told: Any) -> None:
        from pymoo.core.population import Population

        # Losses of violators are never compared, but they would stretch what losses are scaled by.
        known: Any = told
        if self._algorithm.pop is not None:
            known = Population.merge(self._algorithm.pop, told)
        is_valid = known.get("FEAS").ravel()
        losses = known.get("F")
        stand_in = losses[is_valid][0] if is_valid.any() else np.zeros(losses.shape[1])
        for individual in known[~is_valid]:
            individual.set("F", stand_in)
        self._algorithm.tell(infills=told)

    def do(
        self,
        problem: Any,
        pop: Any,
        n_offsprings: int,
        random_state: np.random.Generator,
        **others: Any,
    ) -> Any:
        """Return children of a population; pymoo calls this to produce a generation.

        Returns:
          Children that are new and feasible; fewer where the space holds no more.
        """
        from pymoo.core.population import Population

        def bred(missing: int, _round: int) -> np.ndarray:
            n = max(missing, _LEAST_BRED)
            parents = self._selection(
                problem, pop, n, n_parents=2, random_state=random_state, **others
            )
            designs = np.array([[one.X for one in pair] for pair in parents], dtype=np.int64)
            return self._children(designs, random_state)

        children = self._asked.new_among(n_offsprings, _MAX_ROUNDS, bred)
        drawn = self._asked.draw(n_offsprings - len(children), random_state)
        return Population.new("X", np.concatenate([children, drawn]))

    def _children(self, parents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return children, (n, n_parameters), of parents, (n, 2, n_parameters)."""
        mothers, fathers = (self._choices.split(parents[:, place]) for place in (0, 1))
        has_two = rng.random((len(parents), 1)) < self._crossover
        is_fathers = has_two & (rng.random(mothers.shape) < 0.5)
        children = self._choices.compose(np.where(is_fathers, fathers, mothers))
        return step_designs(self._space, children, self._mutation, self._step, rng)


@contextmanager
def _quiet_pymoo() -> Iterator[None]:
    """Keep pymoo from printing that its compiled modules are missing."""
    from pymoo.config import Config

    before = Config.warnings["not_compiled"]
    Config.warnings["not_compiled"] = False
    try:
        yield
    finally:
        Config.warnings["not_compiled"] = before
