"""Optuna's samplers as models of results that propose designs."""

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, final

import numpy as np

from archgym.agent.agent import AskTellAgent
from archgym.agent.prior import Prior
from archgym.agent.seen import AskedDesigns
from archgym.agents import _hyperparameters as shared
from archgym.agents._random_state import RandomState
from archgym.checks import check_choice, check_whole
from archgym.errors import MissingExtraError
from archgym.evaluation.trials import Trials
from archgym.spaces.features import Coordinates
from archgym.spaces.neighbours import step_designs
from archgym.spaces.parameter import Categorical, Integer
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

MODELS = ("tpe", "gp")
"""Names of the models: densities of good and bad designs, and a Gaussian process."""

Model = Annotated[
    str,
    Categorical(
        name="model",
        choices=MODELS,
        doc="Densities of good and bad designs, or, for small budgets, Gaussian processes, which "
        "need the extra `gp`.",
    ),
]
Candidates = Annotated[
    int,
    Integer(
        name="candidates",
        low=4,
        high=256,
        doc='Designs that "tpe" draws from the good density for each that it asks for.',
    ),
]

# chosen: suggestions that may be known or break a constraint before neighbours of the last are
# looked at, so many at three distances, before a random design is taken. A suggestion costs
# milliseconds, a neighbour microseconds.
_MAX_SUGGESTIONS = 2
_NEIGHBOURS = 16
# chosen: mean length of such a step along an ordered parameter, as a share of its values.
_STEP_LENGTH = 0.05
# chosen: results that a Gaussian process is fitted to, half of them the best and half the latest.
# Its time grows with their cube, and so stays below half a second.
_GP_RESULTS = 128
# Name of the constraint that what could not be built violates.
_BUILT = "built"


@final
class OptunaModel:
    """Sampler that takes designs with their scores and proposes the next ones.

    Ordered parameters are modelled along their scale, others by choice; permutations and
    factorisations by their sub-actions. The model sees canonical designs. A suggestion that breaks
    a constraint or was asked for before is drawn again, then moved to a neighbour. Designs of one
    batch keep away from each other. Designs that could not be built count as violations.
    """

    def __init__(
        self, space: DesignSpace, model: str, candidates: int, rng: np.random.Generator
    ) -> None:
        """Set up one of `MODELS` without results.

        Raises:
          MissingExtraError: "gp" needs torch.
        """
        check_choice("model", model, MODELS)
        self._space = space
        self._rng = rng
        self._coordinates = Coordinates(space)
        self._distributions = _distributions(self._coordinates)
        seed = int(rng.integers(2**32))
        self._memory: _AllResults | _BestAndLatestResults
        if model == "tpe":
            self._memory = _AllResults(self._distributions, candidates, seed)
        else:
            self._memory = _BestAndLatestResults(self._distributions, seed)

    def tell(self, designs: np.ndarray, scores: np.ndarray, are_built: np.ndarray) -> None:
        """Take results.

        Args:
          designs: (k, n_parameters) canonical indices.
          scores: (k, n_scores), larger is better, as many scores each time.
          are_built: (k,) bool, True for designs that were built and simulated.
        """
        self._memory.add(self._parameters(designs), scores, are_built)

    def new_designs(self, n: int, asked: AskedDesigns) -> np.ndarray:
        """Return the next designs, and mark them as asked for.

        Returns:
          (n, n_parameters) canonical indices; fewer rows if nothing new is found nearby.
        """
        from optuna.trial import TrialState

        found = np.empty((0, self._space.n_parameters), dtype=np.int64)
        if not self._distributions:
            return found
        with _quiet_optuna(), self._memory.study() as study:
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
        """Set up the model.

        Raises:
          MissingExtraError: torch is not installed and "gp" needs it.
        """
        self._startup = check_whole("startup", startup, 1)
        self._batch_size = check_whole("batch_size", batch_size, 1)
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._asked = AskedDesigns(space)
        self._model = OptunaModel(space, model, check_whole("candidates", candidates, 1), self._rng)

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


@final
class _AllResults:
    """One growing Optuna study, for a sampler that stays fast on large ones."""

    def __init__(
        self, distributions: Mapping[str, "BaseDistribution"], candidates: int, seed: int
    ) -> None:
        self._distributions = dict(distributions)
        self._candidates = candidates
        self._seed = seed
        self._study: optuna.Study | None = None

    def add(
        self, parameters: list[dict[str, Any]], scores: np.ndarray, are_built: np.ndarray
    ) -> None:
        if self._study is None:
            self._study = self._made(scores.shape[1])
        for row, score, is_built in zip(parameters, scores.tolist(), are_built, strict=True):
            # Designs without a constraint count as having kept them all.
            constraints = None if is_built else {_BUILT: 1.0}
            _add(self._study, row, self._distributions, values=score, constraints=constraints)

    @contextmanager
    def study(self) -> Iterator["optuna.Study"]:
        assert self._study is not None
        yield self._study

    def _made(self, n_scores: int) -> "optuna.Study":
        import optuna

        with _quiet_optuna():
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=1, n_ei_candidates=self._candidates, seed=self._seed
            )
            return optuna.create_study(sampler=sampler, directions=["maximize"] * n_scores)


@final
class _BestAndLatestResults:
    """Small Optuna study rebuilt for each batch, for a sampler that gets slow on large ones."""

    def __init__(self, distributions: Mapping[str, "BaseDistribution"], seed: int) -> None:
        if importlib.util.find_spec("torch") is None:
            raise MissingExtraError("torch", "gp")
        self._distributions = dict(distributions)
        self._sampler = _gaussian_sampler(self._distributions, seed)
        self._random_state = RandomState(seed)
        self._parameters: list[dict[str, Any]] = []
        self._scores: np.ndarray | None = None
        self._are_built = np.zeros(0, dtype=bool)

    def add(
        self, parameters: list[dict[str, Any]], scores: np.ndarray, are_built: np.ndarray
    ) -> None:
        known = scores[:0] if self._scores is None else self._scores
        scores = np.concatenate([known, scores])
        are_built = np.concatenate([self._are_built, are_built])
        parameters = self._parameters + parameters
        kept = _best_and_latest(scores, are_built, _GP_RESULTS)
        self._scores, self._are_built = scores[kept], are_built[kept]
        self._parameters = [parameters[place] for place in kept]

    @contextmanager
    def study(self) -> Iterator["optuna.Study"]:
        import optuna

        assert self._scores is not None
        built = self._are_built[:, None]
        # What was not built has no score; the worst of the others leaves their scale as it is.
        worst = np.min(self._scores, axis=0, where=built, initial=np.inf)
        worst = np.where(np.isfinite(worst), worst, 0.0)
        scores = np.where(built, self._scores, worst)
        study = optuna.create_study(
            sampler=self._sampler, directions=["maximize"] * scores.shape[1]
        )
        for row, score, is_built in zip(
            self._parameters, scores.tolist(), self._are_built, strict=True
        ):
            # A second model, of what can be built, is fitted only where something could not.
            constraints = {_BUILT: -1.0 if is_built else 1.0} if not built.all() else None
            _add(study, row, self._distributions, values=score, constraints=constraints)
        with self._random_state:
            yield study


def _best_and_latest(scores: np.ndarray, are_built: np.ndarray, limit: int) -> np.ndarray:
    """Return indices of `limit` results to keep, in order: half are the latest, half the best.

    Best is what the fewest others beat in one score without being beaten in another; what was not
    built comes last.
    """
    n = len(scores)
    if n <= limit:
        return np.arange(n)
    older = n - limit // 2
    at_least = (scores[:, None] >= scores[None, :]).all(axis=2)
    n_better = (at_least & ~at_least.T).sum(axis=0)[:older] + n * ~are_built[:older]
    best = np.argsort(n_better, kind="stable")[: limit - limit // 2]
    return np.concatenate([np.sort(best), np.arange(older, n)])


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


def _gaussian_sampler(distributions: dict[str, "BaseDistribution"], seed: int) -> "BaseSampler":
    """Optuna's sampler, which otherwise takes its search space from the one study it serves."""
    import optuna

    class OfOneSpace(optuna.samplers.BaseSampler):
        """Description of the search, so that each batch may have a study of its own."""

        def __init__(self, sampler: optuna.samplers.BaseSampler) -> None:
            self._sampler = sampler

        def infer_relative_search_space(
            self, study: optuna.Study, trial: optuna.trial.FrozenTrial
        ) -> dict[str, "BaseDistribution"]:
            return distributions

        def sample_relative(
            self,
            study: optuna.Study,
            trial: optuna.trial.FrozenTrial,
            search_space: dict[str, "BaseDistribution"],
        ) -> dict[str, Any]:
            return self._sampler.sample_relative(study, trial, search_space)

        def sample_independent(
            self,
            study: optuna.Study,
            trial: optuna.trial.FrozenTrial,
            param_name: str,
            param_distribution: "BaseDistribution",
        ) -> Any:
            return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    with _quiet_optuna():
        return OfOneSpace(
            optuna.samplers.GPSampler(seed=seed, n_startup_trials=1, deterministic_objective=True)
        )


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
