"""Multi-objective search with NSGA-II, by pymoo."""

from typing import Any, final

from archgym.agents._pymoo import (
    BatchSize,
    Crossover,
    Mutation,
    Population,
    PymooSearch,
    Step,
)
from archgym.evaluation.task import Task
from archgym.evaluation.trials import Evaluate
from archgym.search.agent import Agent
from archgym.spaces.space import DesignSpace

__all__ = ["Nsga2Agent"]


@final
class Nsga2Agent(Agent):
    """Breeds from the non-dominated designs, and keeps those that lie far from their neighbours.

    The population is what is dominated by the fewest ranks of others, and of the last rank that
    fits what is least crowded. Parents win tournaments by dominance, then by distance. The terms of
    the objective are maximised alike, whatever their weights; with one term it is a genetic
    algorithm. `PymooSearch` says how designs are bred.

    Source:
      Deb, Pratap, Agarwal & Meyarivan, *A Fast and Elitist Multiobjective Genetic Algorithm:
      NSGA-II*, IEEE Transactions on Evolutionary Computation 6, 2002.
    """

    name = "nsga2"
    library = "pymoo"
    kind = "multi-objective"
    batch = "batch"

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        population: Population = 20,
        batch_size: BatchSize = 8,
        crossover: Crossover = 0.7,
        mutation: Mutation = 1.0,
        step: Step = 0.2,
    ) -> None:
        """Set up an empty population.

        Args:
          space: Where to search.
          seed: What decides.

        Raises:
          MissingExtraError: pymoo is not installed.
        """
        self._search = PymooSearch(
            _make_nsga2,
            space,
            seed=seed,
            population=population,
            batch_size=batch_size,
            crossover=crossover,
            mutation=mutation,
            step=step,
        )

    def search(self, evaluate: Evaluate, task: Task) -> None:
        self._search.run(evaluate, task)


def _make_nsga2(**arguments: Any) -> Any:
    from pymoo.algorithms.moo.nsga2 import NSGA2, RankAndCrowdingSurvival

    return NSGA2(survival=RankAndCrowdingSurvival(), **arguments)
