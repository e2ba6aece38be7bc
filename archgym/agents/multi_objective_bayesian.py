"""Bayesian optimisation of all terms of an objective at once, by Optuna."""

from typing import final

from archgym.agents._optuna import OptunaAgent


@final
class MultiObjectiveBayesianAgent(OptunaAgent):
    """Bayesian optimisation of the Pareto front, with a model of each term.

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
    kind = "multi-objective"
