"""Optuna's samplers as models of results that propose designs."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, final

import numpy as np

from archgym.agent.agent import AskTellAgent, Prior
from archgym.agent.neighbours import step_designs
from archgym.agent.seen import AskedDesigns
from archgym.agents import _hyperparameters as shared
from archgym.checks import check_choice, check_whole
from archgym.evaluation.trials import Trials
from archgym.spaces.features import Coordinates
from archgym.spaces.parameter import Categorical, Integer
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

Model = Annotated[
    str,
    Categorical(
        name="model",
        choices=("tpe",),
        doc="Densities of good and bad designs, the only model since 0.3.",
    ),
]
Candidates = Annotated[
    int,
    Integer(
        name="candidates",
        low=4,
        high=256,
        doc="Designs that are drawn from the good density for each that is asked for.",
    ),
]

# chosen: suggestions that may be known or break a constraint before neighbours of the last are
# looked at, so many at three distances, before a random design is taken. A suggestion costs
# milliseconds, a neighbour microseconds.
_MAX_SUGGESTIONS = 2
_NEIGHBOURS = 16
# chosen: mean length of such a step along an ordered parameter, as a share of its values.
_STEP_LENGTH = 0.05
# Name of the constraint that what could not be built violates.
_BUILT = "built"


@final
class OptunaModel:
    """Optuna's sampler of densities, which takes designs with scores and proposes the next ones.

    Ordered parameters are modelled along their scale, others by choice; permutations and
    factorisations by their sub-actions. The model sees canonical designs. A suggestion that breaks
    a constraint or was asked for before is drawn again, then moved to a neighbour. Designs of one
    batch keep away from each other. Designs that could not be built count as violations.
    """

    def __init__(self, space: DesignSpace, candidates: int, rng: np.random.Generator) -> None:
        """Set up the model without results."""
        self._space = space
        self._rng = rng
        self._coordinates = Coordinates(space)
        self._distributions = _distributions(self._coordinates)
        self._candidates = candidates
        self._seed = int(rng.integers(2**32))
        self._study: optuna.Study | None = None

    def tell(self, designs: np.ndarray, scores: np.ndarray, are_built: np.ndarray) -> None:
        """Take results.

        Args:
          designs: (k, n_parameters) canonical indices.
          scores: (k, n_scores), larger is better, as many scores each time.
          are_built: (k,) bool, True for designs that were built and simulated.
        """
        if self._study is None:
            self._study = self._new_study(scores.shape[1])
        rows = self._parameters(designs)
        for row, score, is_built in zip(rows, scores.tolist(), are_built, strict=True):
            # Designs without a constraint count as having kept them all.
            constraints = None if is_built else {_BUILT: 1.0}
            _add(self._study, row, self._distributions, values=score, constraints=constraints)

    def new_designs(self, n: int, asked: AskedDesigns) -> np.ndarray:
        """Return the next designs, and mark them as asked for.

        Returns:
          (n, n_parameters) canonical indices; fewer rows if nothing new is found nearby.
        """
        from optuna.trial import TrialState

        found = np.empty((0, self._space.n_parameters), dtype=np.int64)
        if not self._distributions:
            return found
        study = self._study
        assert study is not None
        with _quiet_optuna():
            running: list[int] = []
            for _ in range(n):
                design = self._new_design(study, asked)
                if design is None:
                    break
                asked.add(design)
                found = np.concatenate([found, design])
                if len(found) < n:
                    row = self._parameters(design)[0]
                    _add(study, row, self._distributions, state=TrialState.RUNNING)
                    running.append(len(study.get_trials(deepcopy=False)) - 1)
            for number in running:
                study.tell(number, state=TrialState.FAIL)
        return found

    def _new_study(self, n_scores: int) -> "optuna.Study":
        import optuna

        with _quiet_optuna():
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=1, n_ei_candidates=self._candidates, seed=self._seed
            )
            return optuna.create_study(sampler=sampler, directions=["maximize"] * n_scores)

    def _new_design(self, study: "optuna.Study", asked: AskedDesigns) -> np.ndarray | None:
        from optuna.trial import TrialState

        design = self._space.default_indices[None, :]
        for _ in range(_MAX_SUGGESTIONS):
            suggestion = study.ask(self._distributions)
            digits = [suggestion.params[label] for label in self._coordinates.labels]
            design = self._space.canonical(self._coordinates.indices(np.array([digits])))
            # The canonical design is learned, which may differ from the suggestion.
            study.tell(suggestion, state=TrialState.FAIL)
            if asked.new(design)[0]:
                return design
        for rate in (1.0, 2.0, 4.0):
            # At growing distances, first in one parameter.
            near = np.repeat(design, _NEIGHBOURS, axis=0)
            near = step_designs(self._space, near, rate, _STEP_LENGTH, self._rng)
            near = self._space.canonical(near)
            is_new = asked.new(near)
            if is_new.any():
                return np.asarray(near[is_new][:1])
        return None

    def _parameters(self, designs: np.ndarray) -> list[dict[str, Any]]:
        labels = self._coordinates.labels
        rows = self._coordinates.digits(designs).tolist()
        return [dict(zip(labels, row, strict=True)) for row in rows]


class OptunaAgent(AskTellAgent):
    """Bayesian optimisation by Optuna: random designs, then those that a model suggests.

    Single-objective agents learn the reward, multi-objective ones each term of the objective.
    """

    library = "optuna"
    batch = "batch"
    uses_prior = True

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        model: Model = "tpe",
        startup: shared.Startup = 10,
        candidates: Candidates = 24,
        batch_size: shared.FewDesigns = 1,
    ) -> None:
        """Set up the model."""
        check_choice("model", model, ("tpe",))
        self._startup = check_whole("startup", startup, 1)
        self._batch_size = check_whole("batch_size", batch_size, 1)
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._asked = AskedDesigns(space)
        self._model = OptunaModel(space, check_whole("candidates", candidates, 1), self._rng)

    @final
    def ask(self) -> np.ndarray:
        missing = self._startup - len(self._asked)
        if missing > 0:
            return self._asked.draw(min(missing, self._batch_size), self._rng)
        designs = self._model.new_designs(self._batch_size, self._asked)
        missing = self._batch_size - len(designs)
        return np.concatenate([designs, self._asked.draw(missing, self._rng)])

    @final
    def take_prior(self, prior: Prior) -> None:
        n = self._startup // 2
        is_single = self.kind == "single-objective"
        self._asked.take_prior(prior, prior.best(n) if is_single else prior.best_fronts(n))
        if prior.start is not None:
            self.tell(prior.start)

    @final
    def tell(self, trials: Trials) -> None:
        scores = trials.reward[:, None] if self.kind == "single-objective" else trials.terms
        self._model.tell(self._space.canonical(trials.indices), scores, trials.feasible)


def _add(
    study: "optuna.Study",
    parameters: dict[str, Any],
    distributions: dict[str, "BaseDistribution"],
    **result: Any,
) -> None:
    """Add a trial, with what `optuna.trial.create_trial` takes of its state and result."""
    from optuna.trial import create_trial

    study.add_trial(create_trial(params=parameters, distributions=distributions, **result))


def _distributions(coordinates: Coordinates) -> dict[str, "BaseDistribution"]:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    return {
        label: IntDistribution(0, size - 1) if ordered else CategoricalDistribution(range(size))
        for label, size, ordered in zip(
            coordinates.labels, coordinates.sizes, coordinates.are_ordered, strict=True
        )
    }


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Suppress Optuna's log message about its internal study."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
