"""Imitation of look-ahead: a network learns the cost of each action where it goes itself."""

from typing import Final

import numpy as np

from archgym.control.policies import ControlPolicy, Network, Oracle
from archgym.control.tasks import ControlTask, Episode, roll
from archgym.errors import InvalidArgumentError

# chosen: two hidden layers of 64, as the trial of PPO; a minute to fit.
_HIDDEN: Final = (64, 64)
# chosen: actions that cost twice the best are all alike bad.
_WORST: Final = 1.0


def imitate(
    task: ControlTask, *, seed: int = 0, rounds: int = 3, episodes: int = 6, horizon: int = 2
) -> Network:
    """Return a network that imitates look-ahead, trained by DAgger with costs.

    In each round a policy acts on training episodes: the oracle in the first round, then the
    network itself. Every state is labelled with the cost of each action, relative to the best, on
    exact branches. The network is fitted to all labels and takes the least cost.

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
      No-Regret Online Learning*, 2011; with costs as in Ross and Bagnell, 2014 (AggreVaTe).
    """
    from sklearn.neural_network import MLPRegressor

    names = task.episodes("train")
    if rounds < 1 or episodes < 1 or rounds * episodes > len(names):
        raise InvalidArgumentError(
            f"`rounds` times `episodes` must be 1 to {len(names)}; got {rounds} times {episodes}."
        )
    seen: list[np.ndarray] = []
    costs: list[np.ndarray] = []
    oracle = Oracle(horizon)
    learner: ControlPolicy = Oracle(horizon)

    def act(episode: Episode) -> tuple[int, ...]:
        if joint := episode.previous:
            found = [oracle.costs(episode, agent, joint) for agent in range(len(joint))]
            relative = [each / max(each.min(), 1e-9) - 1.0 for each in found]
            seen.append(episode.observation)
            costs.append(np.minimum(relative, _WORST))
        return learner.act(episode)

    for turn in range(rounds):
        for name in names[turn * episodes : (turn + 1) * episodes]:
            for policy in (oracle, learner):
                policy.start(task, name)
            roll(task, name, act)
        # A set that is held back stops the fit early.
        fitted = MLPRegressor(
            hidden_layer_sizes=_HIDDEN, early_stopping=True, max_iter=400, random_state=seed
        )
        fitted.fit(np.concatenate(seen), np.concatenate(costs))
        *inner, (weights, bias) = zip(fitted.coefs_, fitted.intercepts_, strict=True)
        learner = Network(task.name, [*inner, (-weights, -bias)], "relu", "imitation")
    assert isinstance(learner, Network)
    return learner
