"""Multi-objective search with NSGA-II, by pymoo."""

from typing import Any, final

from archgym.agents._pymoo import PymooAgent


@final
class Nsga2Agent(PymooAgent):
    """NSGA-II: non-dominated sorting and crowding distance.

    The population is what is dominated by the fewest ranks of others, and of the last rank that
    fits what is least crowded. Parents win tournaments by dominance, then by distance. The terms of
    the objective are maximised alike, whatever their weights; with one term it is a genetic
    algorithm. `PymooAgent` says how designs are bred.

    Source:
      Deb, Pratap, Agarwal & Meyarivan, *A Fast and Elitist Multiobjective Genetic Algorithm:
      NSGA-II*, IEEE Transactions on Evolutionary Computation 6, 2002.
    """

    name = "nsga2"

    def _make(self, **arguments: Any) -> Any:
        from pymoo.algorithms.moo.nsga2 import NSGA2, RankAndCrowdingSurvival

        return NSGA2(survival=RankAndCrowdingSurvival(), **arguments)
