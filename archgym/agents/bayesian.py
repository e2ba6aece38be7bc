"""Bayesian optimisation with a tree-structured Parzen estimator, by Optuna."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from archgym.agent import AskTellAgent, Trials
from archgym.asked import AskedDesigns
from archgym.limits import check_whole
from archgym.neighbourhood import step_designs
from archgym.parameter import Factorisation, Integer, Parameter, Permutation
from archgym.space import DesignSpace

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

__all__ = ["BayesianAgent"]

# chosen: suggestions that may be known or break a constraint before neighbours of the last are
# looked at, so many at three distances, before a random design is taken. A suggestion costs
# milliseconds, a neighbour microseconds.
_MAX_SUGGESTIONS = 2
_NEIGHBOURS = 16
# chosen: mean length of such a step along an ordered parameter, as a share of its values.
_STEP_LENGTH = 0.05
# chosen: a categorical coordinate costs a column a choice; longer lists are modelled as a scale.
_MOST_CHOICES = 256


@final
class BayesianAgent(AskTellAgent):
    """Models good and bad designs as densities and asks where their ratio is largest.

    Starts with random designs. Ordered parameters are modelled along their scale, others by
    choice; permutations and factorisations by their sub-actions. The model sees canonical
    designs. A suggestion that breaks a constraint or was asked for before is drawn again, then
    moved to a neighbour. Designs that cannot be built, or on which the simulator broke, count as
    bad ones.

    Source:
      Bergstra et al., *Algorithms for Hyper-Parameter Optimization*, NeurIPS 2011; Watanabe,
      *Tree-Structured Parzen Estimator*, arXiv:2304.11127, 2023.
    """

    name = "bayesian"
    library = "optuna"
    batch = "batch"
    hyperparameters: ClassVar[tuple[Parameter, ...]] = (
        Integer(name="startup", low=2, high=100, default=10, doc="Random designs at the start."),
        Integer(
            name="candidates",
            low=4,
            high=256,
            default=24,
            doc="Designs drawn from the good density, the most promising of which is asked for.",
        ),
        Integer(name="batch_size", low=1, high=32, default=1, doc="Designs an ask."),
    )

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        startup: int = 10,
        candidates: int = 24,
        batch_size: int = 1,
    ) -> None:
        """Sets up the model.

        Args:
          space: Where to search.
          seed: What decides.
          startup: Random designs at the start, 1 or more.
          candidates: Designs drawn for each suggestion, 1 or more.
          batch_size: Designs an ask, 1 or more; later ones keep away from the earlier.
        """
        self._startup = check_whole("startup", startup, 1)
        self._batch_size = check_whole("batch_size", batch_size, 1)
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._asked = AskedDesigns(space)
        self._radices = [_radices(parameter) for parameter in space.parameters]
        self._distributions = _distributions(space, self._radices)
        sampler_seed = int(self._rng.integers(2**32))
        self._study = _make_study(check_whole("candidates", candidates, 1), sampler_seed)
        self._pending: list[optuna.Trial] = []

    def ask(self) -> np.ndarray:
        missing = self._startup - len(self._asked)
        if missing > 0:
            return self._asked.draw(min(missing, self._batch_size), self._rng)
        return np.concatenate([self._next_design() for _ in range(self._batch_size)])

    def tell(self, trials: Trials) -> None:
        from optuna.trial import TrialState, create_trial

        for suggestion in self._pending:
            self._study.tell(suggestion, state=TrialState.FAIL)
        self._pending.clear()
        # What is learned of is the canonical design, which the suggestion need not have been.
        for design, reward in zip(
            self._space.canonical(trials.indices), trials.reward, strict=True
        ):
            self._study.add_trial(
                create_trial(
                    params=self._coordinates(design),
                    distributions=self._distributions,
                    value=float(reward),
                )
            )

    def _next_design(self) -> np.ndarray:
        """A design that was not asked for, (1, n_parameters); no row where there is none."""
        design = self._suggested() if self._distributions else None
        if design is None:
            return self._asked.draw(1, self._rng)
        self._asked.add(design)
        return design

    def _suggested(self) -> np.ndarray | None:
        from optuna.trial import TrialState

        design = self._space.default_indices[None, :]
        for _ in range(_MAX_SUGGESTIONS):
            suggestion = self._study.ask(self._distributions)
            design = self._space.canonical(self._indices(suggestion.params)[None, :])
            if self._asked.new(design)[0]:
                self._pending.append(suggestion)
                return design
            self._study.tell(suggestion, state=TrialState.FAIL)
        for rate in (1.0, 2.0, 4.0):
            # Further and further away, one parameter at first.
            near = np.repeat(design, _NEIGHBOURS, axis=0)
            near = step_designs(self._space, near, rate, _STEP_LENGTH, self._rng)
            near = self._space.canonical(near)
            is_new = self._asked.new(near)
            if is_new.any():
                first: np.ndarray = near[is_new][:1]
                return first
        return None

    def _indices(self, coordinates: dict[str, Any]) -> np.ndarray:
        indices = np.zeros(self._space.n_parameters, dtype=np.int64)
        for place, (name, radices) in enumerate(zip(self._space.names, self._radices, strict=True)):
            for part, radix in enumerate(radices):
                digit = coordinates.get(_label(name, part), 0)
                indices[place] = indices[place] * radix + digit
        return indices

    def _coordinates(self, design: np.ndarray) -> dict[str, Any]:
        coordinates = {}
        for name, radices, number in zip(
            self._space.names, self._radices, design.tolist(), strict=True
        ):
            for part in reversed(range(len(radices))):
                number, digit = divmod(number, radices[part])
                if radices[part] > 1:
                    coordinates[_label(name, part)] = digit
        return coordinates


def _radices(parameter: Parameter) -> tuple[int, ...]:
    """How a parameter's number splits into the coordinates that the model sees."""
    if isinstance(parameter, Permutation | Factorisation):
        return parameter.sub_sizes or (1,)
    return (parameter.size,)


def _label(name: str, part: int) -> str:
    return f"{name}/{part}"


def _distributions(
    space: DesignSpace, all_radices: list[tuple[int, ...]]
) -> dict[str, "BaseDistribution"]:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for parameter, radices in zip(space.parameters, all_radices, strict=True):
        for part, radix in enumerate(radices):
            if radix == 1:
                continue
            ordered = parameter.is_ordered or radix > _MOST_CHOICES
            found[_label(parameter.name, part)] = (
                IntDistribution(0, radix - 1) if ordered else CategoricalDistribution(range(radix))
            )
    return found


def _make_study(candidates: int, seed: int) -> "optuna.Study":
    import optuna

    with _quiet_optuna():
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=1, n_ei_candidates=candidates, seed=seed
        )
        return optuna.create_study(sampler=sampler, direction="maximize")


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Keeps Optuna from announcing a study that is nobody's but ours."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
