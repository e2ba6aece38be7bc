"""Bayesian optimisation of all terms of an objective at once, by Optuna."""

from typing import final

import numpy as np

from archgym.agents._optuna import BatchSize, Candidates, Model, OptunaModel, Startup
from archgym.checks import check_whole
from archgym.evaluation.trials import Trials
from archgym.search.agent import AskTellAgent
from archgym.search.seen import AskedDesigns
from archgym.spaces.space import DesignSpace

__all__ = ["MultiObjectiveBayesianAgent"]


@final
class MultiObjectiveBayesianAgent(AskTellAgent):
    """Models what was found term by term and widens the Pareto front where that promises most.

    Starts with random designs. Then "tpe" models designs near the front and the others as
    densities and asks where their ratio is largest, in milliseconds; "gp" models each term as a
    Gaussian process and asks for the largest expected gain in hypervolume, which takes about a
    second a design. Designs that cannot be built, or on which the simulator broke, count as
    violations of a constraint. With an objective of one term it searches as `bayesian` does.

    Source:
      Ozaki et al., *Multiobjective Tree-Structured Parzen Estimator*, Journal of Artificial
      Intelligence Research 73, 2022; Daulton et al., *Differentiable Expected Hypervolume
      Improvement for Parallel Multi-Objective Bayesian Optimization*, arXiv:2006.05078, 2020.
    """

    name = "multi_objective_bayesian"
    library = "optuna"
    kind = "multi-objective"
    batch = "batch"

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        model: Model = "tpe",
        startup: Startup = 10,
        candidates: Candidates = 24,
        batch_size: BatchSize = 1,
    ) -> None:
        """Set up the model.

        Args:
          space: Where to search.
          seed: What decides.

        Raises:
          MissingExtraError: torch is not installed and "gp" needs it.
        """
        self._startup = check_whole("startup", startup, 1)
        self._batch_size = check_whole("batch_size", batch_size, 1)
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._asked = AskedDesigns(space)
        self._model = OptunaModel(space, model, check_whole("candidates", candidates, 1), self._rng)

    def ask(self) -> np.ndarray:
        missing = self._startup - len(self._asked)
        if missing > 0:
            return self._asked.draw(min(missing, self._batch_size), self._rng)
        designs = self._model.new_designs(self._batch_size, self._asked)
        missing = self._batch_size - len(designs)
        return np.concatenate([designs, self._asked.draw(missing, self._rng)])

    def tell(self, trials: Trials) -> None:
        designs = self._space.canonical(trials.indices)
        self._model.tell(designs, trials.terms, trials.feasible)
