"""Bayesian optimisation with a random forest, by SMAC3."""

import importlib.util
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, final

import numpy as np

from archgym.agent.agent import AskTellAgent
from archgym.agent.seen import AskedDesigns
from archgym.agents import _hyperparameters as shared
from archgym.checks import check_number, check_whole
from archgym.errors import MissingExtraError
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.evaluation.trials import Trials
from archgym.runtime.importing import import_library
from archgym.spaces.features import Coordinates
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    from ConfigSpace import Configuration, ConfigurationSpace
    from smac import HyperparameterOptimizationFacade
    from smac.runhistory import TrialInfo

# chosen: suggestions that may be known or break a constraint before a random design is taken. Each
# costs as much as a design, and is told to SMAC at no charge, so it looks elsewhere next.
_MAX_SUGGESTIONS = 4
# chosen: scikit-learn sets room aside for so many, a second of work for the million of SMAC.
_MOST_LEAVES = 2**12


@final
class SmacAgent(AskTellAgent):
    """SMAC: a random forest models the reward; the largest expected improvement is next.

    Starts with random designs; later too some are random. Ordered parameters are modelled along
    their scale, others by choice; permutations and factorisations by their sub-actions. SMAC
    learns the logarithm of how far a reward is from the best, so a few very bad ones, such as of
    designs that cannot be built, do no harm.

    Source:
      Lindauer et al., *SMAC3: A Versatile Bayesian Optimization Package for Hyperparameter
      Optimization*, Journal of Machine Learning Research 23, 2022.
    """

    name = "smac"
    library = "smac"
    batch = "batch"

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        startup: shared.Startup = 10,
        trees: Annotated[
            int, Integer(name="trees", low=5, high=100, doc="Trees of the forest.")
        ] = 10,
        challengers: Annotated[
            int,
            Integer(
                name="challengers",
                low=100,
                high=10_000,
                step=100,
                doc="Designs drawn for each suggestion, besides a local search round the best.",
            ),
        ] = 1000,
        random_share: shared.RandomShare = 0.2,
        batch_size: shared.FewDesigns = 1,
    ) -> None:
        """Set up the model.

        Raises:
          MissingExtraError: SMAC3 is not installed.
        """
        self._startup = check_whole("startup", startup, 1)
        self._batch_size = check_whole("batch_size", batch_size, 1)
        check_whole("trees", trees, 1)
        check_whole("challengers", challengers, 1)
        check_number("random_share", random_share, 0, 1)
        if importlib.util.find_spec("smac") is None:
            raise MissingExtraError("smac", "smac")
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._asked = AskedDesigns(space)
        self._coordinates = Coordinates(space)
        self._costs: dict[bytes, float] = {}
        self._pending: list[tuple[TrialInfo, bytes]] = []
        self._facade: HyperparameterOptimizationFacade | None = None
        if self._coordinates.labels:
            self._facade = _facade(
                _config_space(self._coordinates),
                trees,
                challengers,
                random_share,
                int(self._rng.integers(2**31)),
            )

    def ask(self) -> np.ndarray:
        missing = self._startup - len(self._asked)
        if missing > 0:
            return self._asked.draw(min(missing, self._batch_size), self._rng)
        designs = np.empty((0, self._space.n_parameters), dtype=np.int64)
        with _quiet_smac():
            for _ in range(self._batch_size):
                design = self._suggested()
                if not len(design):
                    design = self._asked.draw(1, self._rng)
                self._asked.add(design)
                designs = np.concatenate([designs, design])
        return designs

    def tell(self, trials: Trials) -> None:
        from smac.runhistory import TrialInfo

        if self._facade is None:
            return
        suggested = {key for _, key in self._pending}
        designs = self._space.canonical(trials.indices)
        with _quiet_smac():
            for design, reward in zip(designs, trials.reward.tolist(), strict=True):
                key = design.tobytes()
                self._costs[key] = -reward
                if key not in suggested:
                    self._tell(TrialInfo(self._configuration(design), seed=0), -reward)
            for info, key in self._pending:
                self._tell(info, self._costs[key])
        self._pending.clear()

    def _suggested(self) -> np.ndarray:
        """Return a new design, (1, n_parameters), or no row where SMAC knows none."""
        from smac.main.exceptions import ConfigurationSpaceExhaustedException

        for _ in range(_MAX_SUGGESTIONS if self._facade is not None else 0):
            assert self._facade is not None
            try:
                info = self._facade.ask()
            except (StopIteration, ConfigurationSpaceExhaustedException):
                break
            digits = [int(info.config[label]) for label in self._coordinates.labels]
            design = self._space.canonical(self._coordinates.indices(np.array([digits])))
            key = design.tobytes()
            if self._asked.new(design)[0]:
                self._pending.append((info, key))
                return design
            if key in self._costs or not self._space.feasible(design)[0]:
                self._tell(info, self._costs.get(key, -INFEASIBLE_REWARD))
            else:
                # Asked for in this very batch.
                self._pending.append((info, key))
        return np.empty((0, self._space.n_parameters), dtype=np.int64)

    def _tell(self, info: "TrialInfo", cost: float) -> None:
        from smac.runhistory import TrialValue

        assert self._facade is not None
        self._facade.tell(info, TrialValue(cost=cost), save=False)

    def _configuration(self, design: np.ndarray) -> "Configuration":
        from ConfigSpace import Configuration

        assert self._facade is not None
        digits = self._coordinates.digits(design[None, :])[0].tolist()
        values = dict(zip(self._coordinates.labels, digits, strict=True))
        return Configuration(self._facade.scenario.configspace, values=values)


def _config_space(coordinates: Coordinates) -> "ConfigurationSpace":
    from ConfigSpace import (
        CategoricalHyperparameter,
        ConfigurationSpace,
        UniformIntegerHyperparameter,
    )

    space = ConfigurationSpace()
    space.add(
        UniformIntegerHyperparameter(label, 0, size - 1)
        if ordered
        else CategoricalHyperparameter(label, list(range(size)))
        for label, size, ordered in zip(
            coordinates.labels, coordinates.sizes, coordinates.are_ordered, strict=True
        )
    )
    return space


def _facade(
    space: "ConfigurationSpace", trees: int, challengers: int, random_share: float, seed: int
) -> "HyperparameterOptimizationFacade":
    import_library("smac")
    from smac import HyperparameterOptimizationFacade as Facade
    from smac import Scenario
    from smac.model.random_forest import RandomForest

    # What SMAC writes when it is made is not read again, and it writes no more without `save`.
    with _quiet_smac(), tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            space, name="search", output_directory=Path(folder), deterministic=True, seed=seed
        )
        return Facade(
            scenario,
            # As the facade's own, which would take all cores.
            model=RandomForest(
                space,
                n_trees=trees,
                ratio_features=1.0,
                min_samples_split=2,
                min_samples_leaf=1,
                max_leaf_nodes=_MOST_LEAVES,
                log_y=True,
                n_jobs=1,
                seed=seed,
            ),
            acquisition_maximizer=Facade.get_acquisition_maximizer(
                scenario, challengers=challengers
            ),
            initial_design=Facade.get_initial_design(scenario, n_configs=0),
            random_design=Facade.get_random_design(scenario, probability=random_share),
            config_selector=Facade.get_config_selector(scenario, retrain_after=1),
            logging_level=False,
            overwrite=True,
        )


@contextmanager
def _quiet_smac() -> Iterator[None]:
    """Suppress SMAC's log messages about its internal search."""
    logger = logging.getLogger("smac")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
