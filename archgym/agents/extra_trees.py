"""Bayesian optimisation with an ensemble of randomised trees, by scikit-learn."""

from typing import Annotated, Any, Self, final

import numpy as np

from archgym.agent.agent import AskTellAgent, Prior
from archgym.agent.neighbours import step_designs
from archgym.agent.seen import AskedDesigns
from archgym.agents import _hyperparameters as shared
from archgym.analysis.statistics import normal_scores
from archgym.checks import check_whole
from archgym.evaluation.trials import Trials
from archgym.runtime.importing import import_library
from archgym.spaces.features import Coordinates
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace

# chosen: new results that are waited for before the trees are grown again, as a share of the known
# ones. Growing takes time in proportion to what is known, so time per result stays as it is.
_REGROWN_AFTER = 1 / 50
# chosen: designs whose neighbours are looked at, which differ in so many parameters in the mean, by
# steps of this mean length along an ordered one, as a share of its values; and how often the most
# promising ones take their place. With fewer parameters or rounds, more searches end early.
_CENTRES = 10
_STEP_RATE = 3.0
_STEP_LENGTH = 0.1
_ROUNDS = 8
# chosen: mean weight of the spread against the mean. By expected improvement, more searches
# end round a design that is not the best.
_APPETITE = 1.5
# chosen: share of later designs that are random, and how many of the last results are looked at for
# a plateau. Many designs may be exactly as good as the best found, of which trees are sure, while
# all better ones lie among what they think bad.
_RANDOM_SHARE = 0.1
_LAST_RESULTS = 16
# chosen: share of the features that a split is drawn from.
_FEATURE_SHARE = 0.5


@final
class ExtraTreesAgent(AskTellAgent):
    """Extremely randomised trees that model the reward and propose its likely maximum.

    Starts with random designs. Then it looks at a pool of designs, random ones and neighbours of
    the best found and of the most promising, and asks for those of the largest mean over the trees
    plus a multiple of their spread; the multiple is drawn again for each, so that some asks dare
    more than others. Those of one batch differ in the leaves that they fall into. Some later ones
    are random, up to half of them on a plateau: where many designs are just as good as the best,
    trees are sure of more like them. The trees learn rewards by rank, so designs that cannot be
    built do no harm, and they need no scale, order or smoothness.

    Source:
      Hutter et al., *Sequential Model-Based Optimization for General Algorithm Configuration*,
      LION 2011; Hutter et al., *Parallel Algorithm Configuration*, LION 2012, which draws such a
      multiple from an exponential distribution.
    """

    name = "extra_trees"
    library = "scikit-learn"
    batch = "batch"
    uses_prior = True

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        startup: shared.Startup = 10,
        trees: Annotated[
            int, Integer(name="trees", low=10, high=200, step=10, doc="Trees of the ensemble.")
        ] = 50,
        pool: Annotated[
            int,
            Integer(
                name="pool", low=100, high=2000, step=100, doc="Designs looked at before each ask."
            ),
        ] = 800,
        batch_size: shared.FewDesigns = 1,
    ) -> None:
        """Set up the ensemble."""
        self._startup = check_whole("startup", startup, 1)
        self._n_pool = check_whole("pool", pool, 16)
        self._batch_size = check_whole("batch_size", batch_size, 1)
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._asked = AskedDesigns(space)
        self._coordinates = Coordinates(space)
        self._designs = np.empty((0, space.n_parameters), dtype=np.int64)
        self._rewards = np.empty(0)
        self._trees = RandomisedTrees(check_whole("trees", trees, 2), self._rng)
        self._n_learned = 0

    def ask(self) -> np.ndarray:
        missing = self._startup - len(self._asked)
        if missing > 0:
            return self._asked.draw(min(missing, self._batch_size), self._rng)
        designs = self._designs[:0]
        n_promising = int((self._rng.random(self._batch_size) >= self._random_share()).sum())
        if n_promising and self._coordinates.labels:
            self._learn()
            designs = self._promising(n_promising)
            self._asked.add(designs)
        missing = self._batch_size - len(designs)
        return np.concatenate([designs, self._asked.draw(missing, self._rng)])

    def take_prior(self, prior: Prior) -> None:
        self._asked.take_prior(prior, prior.best(self._startup // 2))
        if prior.start is not None:
            self.tell(prior.start)

    def tell(self, trials: Trials) -> None:
        self._designs = np.concatenate([self._designs, self._space.canonical(trials.indices)])
        self._rewards = np.concatenate([self._rewards, trials.reward])

    def _random_share(self) -> float:
        """Return the odds of a random design: half the share of last results equal to the best."""
        last = self._rewards[-_LAST_RESULTS:]
        return max(_RANDOM_SHARE, float((last == self._rewards.max()).mean()) / 2)

    def _learn(self) -> None:
        n = len(self._rewards)
        if n - self._n_learned < max(1, n * _REGROWN_AFTER):
            return
        scores = normal_scores(self._rewards)
        self._trees.fit(self._coordinates.features(self._designs), scores)
        self._n_learned = n

    def _promising(self, n: int) -> np.ndarray:
        """Return new designs, (at most n, n_parameters)."""
        appetites = self._rng.exponential(_APPETITE, size=n)
        part = self._n_pool // 4
        best = self._designs[np.argsort(-self._rewards, kind="stable")[:_CENTRES]]
        pool = np.concatenate([self._near(best, part), self._space.sample(part, self._rng)])
        pool = pool[self._asked.new(pool)]
        leaves = self._leaves(pool)
        for _ in range(_ROUNDS if len(pool) else 0):
            mean, spread = self._expected(leaves)
            top = np.argsort(-(mean + appetites[0] * spread), kind="stable")[:_CENTRES]
            more = self._near(pool[top], 2 * part // _ROUNDS)
            is_new = self._asked.new(np.concatenate([pool, more]))[len(pool) :]
            pool = np.concatenate([pool, more[is_new]])
            leaves = np.concatenate([leaves, self._leaves(more[is_new])])
        mean, spread = self._expected(leaves)
        chosen: list[int] = []
        for appetite in appetites[: len(pool)]:
            promise = mean + appetite * spread
            promise[chosen] = -np.inf
            chosen.append(int(np.argmax(promise)))
            # The more trees cannot tell two designs apart, the less the second one teaches.
            spread *= 1.0 - (leaves == leaves[chosen[-1]]).mean(axis=1)
        return np.asarray(pool[chosen])

    def _near(self, designs: np.ndarray, n: int) -> np.ndarray:
        """Return `n` neighbours of these designs."""
        centres = designs[self._rng.integers(len(designs), size=n)]
        return self._space.canonical(
            step_designs(self._space, centres, _STEP_RATE, _STEP_LENGTH, self._rng)
        )

    def _leaves(self, designs: np.ndarray) -> np.ndarray:
        return self._trees.leaves(self._coordinates.features(designs))

    def _expected(self, leaves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and spread over the trees, (n,) each."""
        scores = self._trees.scores(leaves)
        return scores.mean(axis=1), scores.std(axis=1)


@final
class RandomisedTrees:
    """Trees that are each fitted to all data, with splits drawn at random.

    scikit-learn's own ensemble spends most of the time of a small one on starting its trees as
    parallel jobs.

    Source:
      Geurts et al., *Extremely Randomized Trees*, Machine Learning 63, 2006.
    """

    def __init__(self, n_trees: int, rng: np.random.Generator) -> None:
        """Set up `n_trees` trees that have learned nothing; `rng` decides."""
        self._n_trees = n_trees
        self._rng = rng
        self._trees: list[Any] = []

    def fit(self, features: np.ndarray, scores: np.ndarray) -> Self:
        """Learn scores, (n,), of features, (n, n_features)."""
        import sklearn

        tree = import_library("sklearn.tree")
        narrow = np.ascontiguousarray(features, dtype=np.float32)
        # One stream for all trees, since seeding one takes longer than growing a small tree.
        random_state = np.random.RandomState(int(self._rng.integers(2**32)))
        # Its checks of what cannot be wrong here take longer than growing a small tree.
        with sklearn.config_context(skip_parameter_validation=True):
            self._trees = [
                tree.ExtraTreeRegressor(max_features=_FEATURE_SHARE, random_state=random_state)
                .fit(narrow, scores, check_input=False)
                .tree_
                for _ in range(self._n_trees)
            ]
        return self

    def leaves(self, features: np.ndarray) -> np.ndarray:
        """Return the leaf of each tree that each row of features falls into, (n, n_trees)."""
        narrow = np.ascontiguousarray(features, dtype=np.float32)
        return np.stack([tree.apply(narrow) for tree in self._trees], axis=1)

    def scores(self, leaves: np.ndarray) -> np.ndarray:
        """Return each tree's prediction in these leaves, (n, n_trees)."""
        columns = zip(self._trees, leaves.T, strict=True)
        return np.stack([tree.value[column, 0, 0] for tree, column in columns], axis=1)

    def expected(self, features: np.ndarray) -> np.ndarray:
        """Return each tree's prediction for each row of features, (n, n_trees)."""
        return self.scores(self.leaves(features))
