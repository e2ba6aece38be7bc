"""Bayesian optimisation with densities or a Gaussian process, by Optuna."""

from typing import final

from archgym.agents._optuna import OptunaAgent


@final
class BayesianAgent(OptunaAgent):
    """Bayesian optimisation: a Gaussian process proposes the most promising design.

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
