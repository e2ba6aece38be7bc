"""Imitation of look-ahead: a network learns the cost of each action where it goes itself."""

from typing import Final

import numpy as np

from archgym.checks import check_choice, check_whole
from archgym.control.policies import (
    MAX_CENTRES,
    ControlPolicy,
    Guard,
    LookAhead,
    Network,
    cheapest,
    fallbacks,
    policy_of,
)
from archgym.control.runs import Floats
from archgym.control.tasks import ControlTask, Episode, reference, roll, static, task_of
from archgym.errors import InvalidArgumentError

# chosen: two hidden layers of 64, as the trial of PPO; a minute to fit.
_HIDDEN: Final = (64, 64)
# chosen: actions that cost twice the best are all alike bad.
_WORST: Final = 1.0
# chosen: a tenth of them, which is held back, has to be two.
_LEAST: Final = 20


def imitate(
    task: str | ControlTask,
    *,
    seed: int = 0,
    rounds: int = 3,
    episodes: int = 6,
    horizon: int = 2,
    exact: bool = True,
) -> Network:
    """Return a network that imitates look-ahead, trained by DAgger with costs.

    In each round a policy acts on training episodes: look-ahead in the first round, then the
    network itself. Every state is labelled with the cost of each action, relative to the best. The
    network is fitted to all labels and takes the least cost.

    Args:
      task: Task, or its name, of one agent, or of several that share one network.
      seed: Random seed of the network.
      rounds: Rounds of collecting and fitting.
      episodes: Training episodes of a round; they are used again once all were used.
      horizon: Epochs that labels look ahead.
      exact: True for labels on exact branches. False for those of the same epochs in runs under
        each action throughout: less exact, and several times faster where a round uses episodes
        again. It needs one agent, and epochs of equal work.

    Raises:
      InvalidArgumentError: A number does not fit.

    Source:
      Ross, Gordon and Bagnell, *A Reduction of Imitation Learning and Structured Prediction to
      No-Regret Online Learning*, 2011; with costs as in Ross and Bagnell, 2014 (AggreVaTe).
    """
    task = task_of(task)
    names = task.episodes("train")
    check_whole("seed", seed, 0, 2**32 - 1)
    for what, number in (("rounds", rounds), ("episodes", episodes), ("horizon", horizon)):
        check_whole(what, number, 1)
    if not exact and (len(task.agents) > 1 or not _is_of_work(task, names[0])):
        raise InvalidArgumentError(
            f"`exact` must be true for {task.name!r}: several agents, or epochs of unequal work."
        )
    seen: list[np.ndarray] = []
    costs: list[np.ndarray] = []
    learner: ControlPolicy | None = None

    def act(episode: Episode) -> tuple[int, ...]:
        if not (joint := episode.previous):
            return (reference(task),) * episode.run.n_agents
        if exact:
            found = [ahead.costs(episode, agent, joint) for agent in range(len(joint))]
        else:
            found = [_costs_of_statics(task, name, episode.number, horizon)]
        relative = [each / max(each.min(), 1e-9) - 1.0 for each in found]
        seen.append(episode.observation)
        # Less than 0 where the best costs nothing.
        costs.append(np.clip(relative, 0.0, _WORST))
        if learner is None:
            return tuple(map(cheapest, found, joint))
        return learner.act(episode)

    for turn in range(rounds):
        for number in range(turn * episodes, (turn + 1) * episodes):
            name = names[number % len(names)]
            # A branch is used again, but only for one episode.
            ahead = LookAhead(horizon, in_epochs=True)
            roll(task, name, act)
        if sum(map(len, seen)) < _LEAST:
            raise InvalidArgumentError(
                f"Imitation must see {_LEAST} epochs or more after the first of each episode; got "
                f"{sum(map(len, seen))}. Raise `episodes`, or shorten the task's epochs."
            )
        learner = fitted(task.name, np.concatenate(seen), np.concatenate(costs), seed)
    assert isinstance(learner, Network)
    return learner


def fitted(task: str, seen: np.ndarray, costs: np.ndarray, seed: int) -> Network:
    """Return a network that prefers what costs least.

    Args:
      task: Name of the task.
      seen: (n, n_inputs), what is seen.
      costs: (n, n_actions), what each action costs then.
      seed: Random seed.
    """
    from sklearn.neural_network import MLPRegressor

    # A set that is held back stops the fit early.
    model = MLPRegressor(
        hidden_layer_sizes=_HIDDEN, early_stopping=True, max_iter=400, random_state=seed
    )
    model.fit(seen, costs)
    *inner, (weights, bias) = zip(model.coefs_, model.intercepts_, strict=True)
    return Network(task, [*inner, (-weights, -bias)], "relu", "imitation")


def guarded(
    network: Network, task: str | ControlTask, fallback: str = "dueling", slope: float = 4.0
) -> Network:
    """Return a network with a guard around what it sees in training, where it acts in turns.

    Args:
      task: Task that it was trained on, or its name.
      fallback: `dueling`, or a rule of the task, chosen on programs left out of training.
      slope: Slope of the guard.
    """
    task = task_of(task)
    rule = policy_of(check_choice("fallback", fallback, fallbacks(task)), task)
    seen: list[np.ndarray] = []

    def act(episode: Episode) -> tuple[int, ...]:
        if episode.previous:
            seen.append(episode.observation)
        # chosen: the rule in a third of 24 episodes.
        # Both see every epoch, since dueling follows the run.
        other, own = rule.act(episode), network.act(episode)
        return other if (episode.number // 4 + turn) % 3 == 0 else own

    for turn, name in enumerate(task.episodes("train")[:24]):  # noqa: B007 - of `act`
        network.start(task, name)
        roll(task, name, act)
    centres = (
        np.random.default_rng(0).permutation(np.concatenate(seen))[:MAX_CENTRES].astype(np.float32)
    )
    guard = Guard(fallback, centres, slope)
    return Network(network.task, network.layers, network.activation, network.name, guard)


def _is_of_work(task: ControlTask, name: str) -> bool:
    """Return True if epochs count work, so that those of all actions are about as long."""
    work = static(task, name, task.default).work
    return bool(0.5 * task.epoch <= work.sum() / len(work) <= 2.0 * task.epoch)


def _costs_of_statics(task: ControlTask, name: str, first: int, horizon: int) -> Floats:
    """Return the cost over work of epochs under each action throughout, (n_actions,)."""
    epochs = slice(first, first + horizon)
    runs = [static(task, name, action) for action in range(len(task.actions))]
    return np.array([run.cost[epochs].sum() / max(1e-9, run.work[epochs].sum()) for run in runs])
