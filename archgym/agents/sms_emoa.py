"""Multi-objective search for the largest hypervolume with SMS-EMOA, by pymoo."""

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

__all__ = ["SmsEmoaAgent"]


@final
class SmsEmoaAgent(Agent):
    """Breeds from non-dominated designs, and drops whose part in the hypervolume is least.

    Parents win tournaments by dominance. Survivors are the designs that are dominated by the
    fewest ranks of others; of the last rank that fits, the one that adds least to the volume goes,
    again and again. Made for two to four terms: with more, that volume takes long. The terms of the
    objective are maximised alike, whatever their weights; with one term it is a genetic algorithm.
    `PymooSearch` says how designs are bred.

    Source:
      Beume, Naujoks & Emmerich, *SMS-EMOA: Multiobjective Selection Based on Dominated
      Hypervolume*, European Journal of Operational Research 181, 2007.
    """

    name = "sms_emoa"
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
            _make_sms_emoa,
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


def _make_sms_emoa(**arguments: Any) -> Any:
    from pymoo.algorithms.moo.sms import SMSEMOA, LeastHypervolumeContributionSurvival

    return SMSEMOA(survival=LeastHypervolumeContributionSurvival(), **arguments)
