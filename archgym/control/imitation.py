"""Imitation of look-ahead: a network learns the cost of each action where it goes itself."""

import logging
from typing import Final, final

import numpy as np

from archgym.control.policies import ControlPolicy, Network, Oracle
from archgym.control.tasks import ControlTask, Episode, roll
from archgym.errors import InvalidArgumentError

_log = logging.getLogger(__name__)
# chosen: two hidden layers of 64, as the trial of PPO; a minute to fit.
_HIDDEN: Final = (64, 64)
# Actions that cost more than this over the best are all alike bad.
_WORST: Final = 1.0


def imitate(
    task: ControlTask, *, seed: int = 0, rounds: int = 3, episodes: int = 6, horizon: int = 2
) -> Network:
    """Return a network that imitates look-ahead, trained by DAgger with costs.

    In each round a policy acts on training episodes, the oracle's in the first round and the
    network's own in the others. Every state is labelled with the cost of each action, relative to
    the best, on exact branches. The network is fitted to all labels and takes the least cost.

    Args:
      task: Task of one agent, or of several that share one network.
      seed: Random seed of the network.
      rounds: Rounds of collecting and fitting.
      episodes: Training episodes of a round, each used once.
      horizon: Epochs that the oracle looks ahead.

    Raises:
      InvalidArgumentError: There are too few training episodes.

    Source:
      Ross, Gordon and Bagnell, *A Reduction of Imitation Learning and Structured Prediction to
      No-Regret Online Learning*, 2011; costs instead of labels as in AggreVaTe (Ross and Bagnell,
      2014).
    """
    from sklearn.neural_network import MLPRegressor

    names = task.episodes("train")
    if rounds < 1 or episodes < 1 or rounds * episodes > len(names):
        raise InvalidArgumentError(
            f"`rounds` times `episodes` must be at most the {len(names)} training episodes; got "
            f"{rounds} times {episodes}."
        )
    seen: list[np.ndarray] = []
    costs: list[np.ndarray] = []
    learner: ControlPolicy = Oracle(horizon)
    found: Network | None = None
    for turn in range(rounds):
        for name in names[turn * episodes : (turn + 1) * episodes]:
            _collect(task, name, learner, horizon, seen, costs)
        # A set that is held back stops the fit early.
        fitted = MLPRegressor(_HIDDEN, early_stopping=True, max_iter=400, random_state=seed)
        fitted.fit(np.concatenate(seen), np.concatenate(costs))
        weights = list(zip(fitted.coefs_, fitted.intercepts_, strict=True))
        weights[-1] = (-weights[-1][0], -weights[-1][1])
        learner = found = Network(task.name, weights, "relu", "imitation")
        _log.info("Round %d of %d: %d states.", turn + 1, rounds, sum(len(each) for each in seen))
    assert found is not None
    return found


@final
class _Collector:
    """Labels of the states that a policy visits."""

    def __init__(self, policy: ControlPolicy, oracle: Oracle) -> None:
        self.policy, self.oracle = policy, oracle
        self.seen: list[np.ndarray] = []
        self.costs: list[np.ndarray] = []

    def act(self, episode: Episode) -> tuple[int, ...]:
        """Label the state, and let the policy act."""
        chosen = self.policy.act(episode)
        if episode.number:
            joint = episode.previous
            found = [self.oracle.costs(episode, a, joint) for a in range(len(joint))]
            relative = np.array([each / max(each.min(), 1e-9) - 1.0 for each in found])
            self.seen.append(episode.observation)
            self.costs.append(np.minimum(relative, _WORST))
        return chosen


def _collect(
    task: ControlTask,
    name: str,
    policy: ControlPolicy,
    horizon: int,
    seen: list[np.ndarray],
    costs: list[np.ndarray],
) -> None:
    oracle = Oracle(horizon)
    oracle.start(task, name)
    policy.start(task, name)
    collector = _Collector(policy, oracle)
    roll(task, name, collector.act)
    seen += collector.seen
    costs += collector.costs
