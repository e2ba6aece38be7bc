"""Bayesian optimisation with densities, by Optuna."""

from typing import final

from archgym.agents._optuna import OptunaAgent


@final
class BayesianAgent(OptunaAgent):
    """Bayesian optimisation: densities of good and bad designs propose the most promising one.

    Starts with random designs. Then it models good and bad designs as densities and asks where
    their ratio is largest, in milliseconds. Ordered parameters are modelled along their scale,
    others by choice; permutations and factorisations by their sub-actions. A suggestion that breaks
    a constraint or was asked for before is drawn again, then moved to a neighbour. Designs that
    cannot be built, or on which the simulator broke, count as violations of a constraint.

    Source:
      Bergstra et al., *Algorithms for Hyper-Parameter Optimization*, NeurIPS 2011; Watanabe,
      *Tree-Structured Parzen Estimator*, arXiv:2304.11127, 2023.
    """

    name = "bayesian"
