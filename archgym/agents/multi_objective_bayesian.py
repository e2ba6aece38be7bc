"""Bayesian optimisation of all terms of an objective at once, by Optuna."""

from typing import ClassVar, final

import numpy as np

from archgym.agent import AskTellAgent, Trials
from archgym.asked import AskedDesigns
from archgym.learning.optuna_model import MODELS, OptunaModel
from archgym.limits import check_whole
from archgym.parameter import Categorical, Integer, Parameter
from archgym.space import DesignSpace

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
    hyperparameters: ClassVar[tuple[Parameter, ...]] = (
        Categorical(
            name="model",
            choices=MODELS,
            default="tpe",
            doc="Densities of good and bad designs, or Gaussian processes for small budgets.",
        ),
        Integer(name="startup", low=2, high=100, default=10, doc="Random designs at the start."),
        Integer(
            name="candidates",
            low=4,
            high=256,
            default=24,
            doc='Designs that "tpe" draws from the good density, to ask for the most promising.',
        ),
        Integer(name="batch_size", low=1, high=32, default=1, doc="Designs an ask."),
    )

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        model: str = "tpe",
        startup: int = 10,
        candidates: int = 24,
        batch_size: int = 1,
    ) -> None:
        """Sets up the model.

        Args:
          space: Where to search.
          seed: What decides.
          model: "tpe", or "gp", which needs the extra `gp`.
          startup: Random designs at the start, 1 or more.
          candidates: Designs that "tpe" draws for each suggestion, 1 or more.
          batch_size: Designs an ask, 1 or more; later ones keep away from the earlier.

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
