"""Bayesian optimisation of all terms of an objective at once, by Optuna."""

from typing import final

from archgym.agents._optuna import OptunaAgent


@final
class MultiObjectiveBayesianAgent(OptunaAgent):
    """Bayesian optimisation of the Pareto front, with densities.

    Starts with random designs. Then it models designs near the front and the others as densities
    and asks where their ratio is largest, in milliseconds. Designs that cannot be built, or on
    which the simulator broke, count as violations of a constraint. With an objective of one term
    it searches as `bayesian` does.

    Source:
      Ozaki et al., *Multiobjective Tree-Structured Parzen Estimator*, Journal of Artificial
      Intelligence Research 73, 2022.
    """

    name = "multi_objective_bayesian"
    kind = "multi-objective"
