"""A genetic algorithm that breeds on a learned proxy of the simulator."""

from typing import Annotated, final

import numpy as np

from archgym.agent.agent import AskTellAgent
from archgym.agent.hyperparameters import Within
from archgym.agent.prior import Prior
from archgym.agent.seen import AskedDesigns
from archgym.agents import _hyperparameters as shared
from archgym.agents._trees import BoostedTrees, RandomisedTrees
from archgym.agents.genetic import GeneticAgent
from archgym.analysis.statistics import normal_scores
from archgym.checks import check_choice, check_number, check_whole
from archgym.evaluation.trials import Trials
from archgym.spaces.features import Coordinates
from archgym.spaces.parameter import Categorical, Integer
from archgym.spaces.space import DesignSpace

_MODELS = ("extra-trees", "gradient-boosting")
# chosen: new results that are waited for before the proxy is refitted, as a share of known ones.
# Learning takes time in proportion to what is known, so time per result stays as it is.
_RELEARNED_AFTER = 1 / 50
# chosen: size of either proxy; twice as many trees predict hardly better.
_TREES = 50
_MEMBERS = 5
_TREES_A_MEMBER = 30
# chosen: weight of the proxy's spread relative to its mean, averaged over asks. Half of it found as
# much on ten seeds of three DRAM tasks.
_APPETITE = 3.0
# chosen: the inner search's population and children an ask; predictions cost less in large batches.
_POPULATION = 24
_CHILDREN = 50


_Proxy = RandomisedTrees | BoostedTrees


@final
class SurrogateGeneticAgent(AskTellAgent):
    """Genetic algorithm on a proxy, of which only the most promising designs are simulated.

    Starts with random designs. Before each ask, a regressor learns all results; the agent
    `genetic` then starts from the best designs found and breeds on what the regressor predicts.
    The best new ones that it met are asked for, and some random ones, which keep the proxy honest
    elsewhere. The proxy learns rewards by rank, so designs that cannot be built do no harm.

    Source:
      Jin, *Surrogate-Assisted Evolutionary Computation: Recent Advances and Future Challenges*,
      Swarm and Evolutionary Computation 1, 2011.
    """

    name = "surrogate_genetic"
    library = "scikit-learn"
    batch = "batch"
    uses_prior = True

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        model: Annotated[
            str, Categorical(name="model", choices=_MODELS, doc="What learns the rewards.")
        ] = "extra-trees",
        startup: Annotated[
            int,
            Integer(name="startup", low=4, high=100, doc="Random designs at the start."),
            Within(2, 10_000),
        ] = 16,
        inner_designs: Annotated[
            int,
            Integer(
                name="inner_designs",
                low=50,
                high=2000,
                step=50,
                doc="Designs that are bred on the proxy before each ask.",
            ),
        ] = 400,
        batch_size: Annotated[
            int, Integer(name="batch_size", low=1, high=64, doc="Designs an ask.")
        ] = 4,
        random_share: Annotated[shared.RandomShare, Within(0.0, 1.0)] = 0.1,
    ) -> None:
        """Set up a proxy that knows nothing."""
        self._model = check_choice("model", model, _MODELS)
        self._startup = check_whole("startup", startup, 2)
        self._inner_designs = check_whole("inner_designs", inner_designs, 1)
        self._batch_size = check_whole("batch_size", batch_size, 1)
        self._random_share = check_number("random_share", random_share, 0, 1)
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._asked = AskedDesigns(space)
        self._coordinates = Coordinates(space)
        self._designs = np.empty((0, space.n_parameters), dtype=np.int64)
        self._rewards = np.empty(0)
        self._proxy: _Proxy | None = None
        self._n_learned = 0

    def ask(self) -> np.ndarray:
        missing = self._startup - len(self._asked)
        if missing > 0:
            return self._asked.draw(min(missing, self._batch_size), self._rng)
        n_bred = int((self._rng.random(self._batch_size) >= self._random_share).sum())
        designs = self._designs[:0]
        if n_bred and self._coordinates.labels:
            designs = self._bred(n_bred)
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

    def _bred(self, n: int) -> np.ndarray:
        """Return the best new designs of a search on the proxy, (at most n, n_parameters)."""
        scores = normal_scores(self._rewards)
        proxy = self._learned(scores)
        appetite = float(self._rng.exponential(_APPETITE))
        inner = GeneticAgent(
            self._space,
            seed=int(self._rng.integers(2**32)),
            population=_POPULATION,
            batch_size=min(_CHILDREN, self._inner_designs),
        )
        best = np.argsort(-scores, kind="stable")[:_POPULATION]
        inner.tell(_trials(self._designs[best], scores[best]))
        met, predicted = [self._designs[:0]], [np.empty(0)]
        n_met = 0
        while n_met < self._inner_designs and len(designs := inner.ask()):
            met.append(self._space.canonical(designs))
            expected = proxy.expected(self._coordinates.features(met[-1]))
            predicted.append(expected.mean(axis=1) + appetite * expected.std(axis=1))
            inner.tell(_trials(met[-1], predicted[-1]))
            n_met += len(designs)
        order = np.argsort(-np.concatenate(predicted), kind="stable")
        promising = np.concatenate(met)[order]
        return np.asarray(promising[self._asked.new(promising)][:n])

    def _learned(self, scores: np.ndarray) -> _Proxy:
        n = len(scores)
        if self._proxy is None or n - self._n_learned >= n * _RELEARNED_AFTER:
            self._proxy = self._new_proxy()
            self._proxy.fit(self._coordinates.features(self._designs), scores)
            self._n_learned = n
        return self._proxy

    def _new_proxy(self) -> _Proxy:
        if self._model == "extra-trees":
            return RandomisedTrees(_TREES, self._rng)
        return BoostedTrees(_MEMBERS, _TREES_A_MEMBER, self._rng)


def _trials(designs: np.ndarray, rewards: np.ndarray) -> Trials:
    """Return trials of which only the reward is known."""
    n = len(designs)
    return Trials(
        indices=designs,
        reward=rewards,
        terms=rewards[:, None],
        values=np.empty((n, 0)),
        reason=np.zeros(n, dtype=np.int16),
        feasible=np.ones(n, dtype=bool),
        failed=np.zeros(n, dtype=bool),
        repeated=np.zeros(n, dtype=bool),
        specs=(),
    )
