"""Bayesian optimisation with densities or a Gaussian process, by Optuna."""

from typing import final

import numpy as np

from archgym.agents._optuna import BatchSize, Candidates, Model, OptunaModel, Startup
from archgym.checks import check_whole
from archgym.evaluation.trials import Trials
from archgym.search.agent import AskTellAgent
from archgym.search.seen import AskedDesigns
from archgym.spaces.space import DesignSpace

__all__ = ["BayesianAgent"]


@final
class BayesianAgent(AskTellAgent):
    """Models what was found and asks for the design that promises most.

    Starts with random designs. Then "tpe" models good and bad designs as densities and asks where
    their ratio is largest, in milliseconds; "gp" models the reward as a Gaussian process and asks
    for the largest expected improvement, which finds more with few evaluations and takes some
    tenths of a second a design, so it suits simulators that take seconds. Ordered parameters are
    modelled along their scale, others by choice; permutations and factorisations by their
    sub-actions. A suggestion that breaks a constraint or was asked for before is drawn again, then
    moved to a neighbour. Designs that cannot be built, or on which the simulator broke, count as
    violations of a constraint.

    Source:
      Bergstra et al., *Algorithms for Hyper-Parameter Optimization*, NeurIPS 2011; Watanabe,
      *Tree-Structured Parzen Estimator*, arXiv:2304.11127, 2023; Jones et al., *Efficient Global
      Optimization of Expensive Black-Box Functions*, Journal of Global Optimization 13, 1998;
      Ament et al., *Unexpected Improvements to Expected Improvement*, arXiv:2310.20708, 2023.
    """

    name = "bayesian"
    library = "optuna"
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
        self._model.tell(designs, trials.reward[:, None], trials.feasible)
