"""Policies that choose settings after each epoch: static, by rule, bandit, and learned ones."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from archgym.checks import check_choice, check_line, check_number
from archgym.control.runs import Floats
from archgym.control.tasks import ControlTask, Episode, hindsight, reference, risks, task_of
from archgym.errors import FileFormatError, InvalidArgumentError, UnknownNameError, unknown_name
from archgym.files.policy import Policy

logger = logging.getLogger(__name__)
_AGENT: Final = "control"
# chosen: a network of a few layers; larger files are not ours.
_MAX_LAYERS: Final = 8
_ACTIVATIONS: Final = ("tanh", "relu")
# chosen: as many as `guarded` keeps; distances between them take the square.
MAX_CENTRES: Final = 3000
# chosen, as those that follow, on training numbers and eight families that
# experiments/control.md names. Less is noise of one trial.
_LEAST_PROMISE: Final = 0.005
_NEAR: Final = 0.15
"""Distance of counters, from 0 to 1, at which a trial counts six tenths."""
_PRIOR: Final = 0.5
"""Weight of the last trials, where none is near."""
_ERRORS: Final = 3.0
"""Standard errors of the mean of trials by which an action has to be better."""
_SPREAD: Final = 0.05
"""Spread between trials, as if it were that of one trial more."""
_EVIDENCE: Final = 4.0
"""Epochs of a trial, each of which may show a loss."""
_RISK: Final = 0.5
"""Part of the loss by the worst known epoch that the budget has to pay for."""
_ALLOWANCE: Final = 0.4
"""Mean epochs that the budget has at first."""
# chosen: about five phases, so that another program is found; hardware holds as many rows.
_RECENT: Final = 16
_MOST_TRIALS: Final = 64


class ControlPolicy(ABC):
    """Choice of settings from what hardware can count.

    Life cycle: `start` before each episode, then `act` before each of its epochs. A policy sees the
    epochs that are over and nothing of what follows; only `LookAhead` looks ahead.
    """

    name: str

    def start(self, task: ControlTask, episode: str) -> None:  # noqa: B027 - optional
        """Forget earlier episodes."""

    @abstractmethod
    def act(self, episode: Episode) -> tuple[int, ...]:
        """Return the action of each agent for the next epoch."""


@final
class Static(ControlPolicy):
    """One action: the default's, the best of training (`best-static`) or of all (`hindsight`)."""

    def __init__(self, name: str) -> None:
        """Take the name."""
        self.name = name
        self._joint: tuple[int, ...] = ()

    def start(self, task: ControlTask, episode: str) -> None:
        """Find the action; `hindsight` runs the whole episode under every one first."""
        if self.name == "hindsight":
            self._joint = hindsight(task, episode)[0]
        else:
            action = task.default if self.name == "default" else reference(task)
            self._joint = (action,) * len(task.agents)

    def act(self, episode: Episode) -> tuple[int, ...]:
        """Return the same action again."""
        return self._joint


@final
class ByCounters(ControlPolicy):
    """A task's own function of the last epoch's counters, such as its hand rule."""

    def __init__(self, name: str) -> None:
        """Take the name of one of the task's functions."""
        self.name = name

    def act(self, episode: Episode) -> tuple[int, ...]:
        """Return the function's action; at first the best static one of training."""
        if episode.last is None:
            return (reference(episode.task),) * episode.run.n_agents
        choose = episode.task.by_counters[self.name]
        names = [counter.name for counter in episode.run.counters]
        return tuple(
            choose(dict(zip(names, row.tolist(), strict=True)), before)
            for row, before in zip(episode.last.values, episode.previous, strict=True)
        )


@final
class Ducb(ControlPolicy):
    """Discounted upper confidence bound, the bandit of Micro-Armed Bandit, one for each agent.

    Source:
      Gerogiannis and Torrellas, *Micro-Armed Bandit: Lightweight and Reusable Reinforcement
      Learning for Microarchitecture Decision-Making*, MICRO 2023: each arm once in turn, then the
      largest mean reward plus `c * sqrt(ln(sum of counts) / count)`; counts and rewards are
      discounted by `gamma`. Rewards are divided by their mean over the first turns.
    """

    def __init__(self, name: str = "ducb", gamma: float = 0.999, c: float = 0.04) -> None:
        """Take `ducb`, as published, or `ducb-phase`, whose rewards are relative to the phase.

        The latter divides each reward by the mean of the last eight epochs (chosen).
        """
        self.name = name
        self._gamma, self._c = gamma, c
        self._n = self._r = np.zeros((0, 0))
        self._rewards: list[np.ndarray] = []

    def start(self, task: ControlTask, episode: str) -> None:
        """Forget all arms."""
        self._n = self._r = np.zeros((0, 0))
        self._rewards = []

    def act(self, episode: Episode) -> tuple[int, ...]:
        """Learn from the last epoch, and return the arm with the largest bound."""
        n_arms = len(episode.task.actions)
        shape = (episode.run.n_agents, n_arms)
        if not self._n.size:
            self._n, self._r = np.zeros(shape), np.zeros(shape)
        if episode.last is not None:
            self._learn(episode)
        if episode.number < n_arms:
            return (episode.number,) * shape[0]
        first = np.mean(self._rewards[:n_arms], axis=0)[:, None]
        scale = np.ones_like(first) if self.name == "ducb-phase" else first
        with np.errstate(divide="ignore", invalid="ignore"):
            bonus = self._c * np.sqrt(np.log(self._n.sum(axis=1))[:, None] / self._n)
            value = self._r / self._n / scale + bonus
        return tuple(np.argmax(np.nan_to_num(value, nan=np.inf), axis=1).tolist())

    def _learn(self, episode: Episode) -> None:
        assert episode.last is not None
        reward = episode.last.work / np.maximum(episode.last.cost, 1e-9)
        self._rewards.append(reward)
        if self.name == "ducb-phase":
            reward = reward / np.mean(self._rewards[-8:], axis=0)
        self._n *= self._gamma
        self._r *= self._gamma
        rows = np.arange(len(reward))
        self._n[rows, list(episode.previous)] += 1.0
        self._r[rows, list(episode.previous)] += reward


@final
class Dueling(ControlPolicy):
    """All settings, tried beside the run on what it did last, and remembered by what was seen.

    A trial begins as exact branches, one for each action of each agent, which follow the run: they
    repeat its epochs under their own settings once these are over, so that nothing is known in
    advance. What actions cost, relative to the best static one of training, is remembered with the
    counters before the trial. An action is chosen by trials that began alike, or, where there are
    none, by the last trials: the best static action of the program so far. It has to be better by
    three standard errors of these trials, since single epochs are noisy.

    That static action is run beside from the beginning too. What the run has cost more may be a
    share of its cost, `budget`, and four tenths of an epoch. Of what is left, half of the worst
    epoch has to be paid that the action had here; else the policy stays static. The same is true of
    the worst epoch in training, which counts less by the rule of succession as trials that began
    alike did not show it.

    Hardware cannot branch: it would run other settings in a few sets or banks, and see more noise.

    Attributes:
      n_beside: Epochs that were run beside so far.
      can_pay: Actions that the budget pays for, (n_agents, n_actions), after the first epoch.
      is_spent: (n_agents,), True where nothing is left of it.

    Source:
      Qureshi et al., *Adaptive Insertion Policies for High Performance Caching*, ISCA 2007, for
      dueling; Wu et al., *Conservative Bandits*, ICML 2016, for the budget. Memory by counters, and
      trials on branches, are our own.
    """

    name = "dueling"

    def __init__(self, share: float = 0.5, budget: float = 0.002) -> None:
        """Take the share of epochs in which trials run, and the share of cost that may be lost."""
        self._share = check_number("share", share, 0.0, 1.0)
        self._budget = check_number("budget", budget, 0.0)
        self._forget()

    def _forget(self) -> None:
        self.n_beside = self._n_tried = self._begun = 0
        self._trial: list[tuple[tuple[int, ...], Episode, Floats]] = []
        self._spare: list[Episode] = []
        self._fixed: Episode | None = None
        self._own = self._least = np.zeros((2, 1))
        self._seen: list[np.ndarray] = []
        self._found: list[np.ndarray] = []

    def act(self, episode: Episode) -> tuple[int, ...]:
        """Return the action of each agent that trials promise most of."""
        task, n = episode.task, episode.run.n_agents
        fixed = (reference(task),) * n
        if episode.last is None:
            self._forget()
            self._fixed = episode.copy()
            self._begin(episode, fixed)
            return fixed
        assert self._fixed is not None
        part = self._fixed.step(fixed)
        self._least = self._least + np.array((part.cost, part.work))
        self._own = self._own + np.array((episode.last.cost, episode.last.work))
        self.n_beside += 1
        self._follow(task)
        seen = episode.observation[:, : len(episode.run.counters)]
        promised, worst, n_alike = self._promised(seen, fixed[0])
        if not self._trial and (
            n_alike.min() < 1.0 or self._n_tried <= self._share * episode.number
        ):
            self._begin(episode, episode.previous)
        # What is left of the budget has to pay for an epoch in which the program has changed.
        least, work = self._least
        left = least * (1.0 + self._budget + _ALLOWANCE / episode.number) - self._own[0]
        usual = least / np.maximum(work, 1e-9)
        # Trials without such a loss make it less probable, by the rule of succession.
        known = usual[:, None] * risks(task) * (2.0 / (2.0 + _EVIDENCE * n_alike[:, None]))
        risk = np.maximum(worst, known) * episode.last.work[:, None]
        self.is_spent = left < 0.0
        self.can_pay = _RISK * risk <= left[:, None]
        can = self.can_pay & (promised < -_LEAST_PROMISE)
        chosen = np.where(can, promised, 0.0).argmin(axis=1)
        return tuple(np.where(can.any(axis=1), chosen, fixed).tolist())

    def _begin(self, episode: Episode, joint: tuple[int, ...]) -> None:
        """Begin a trial of each agent's actions, those of others held."""
        places = range(len(episode.task.actions))
        pairs = [(agent, place) for agent in range(len(joint)) for place in places]
        others = {(*joint[:agent], place, *joint[agent + 1 :]): None for agent, place in pairs}
        # In the order of actions, so that a branch is the same one again.
        for actions in others:
            branch = episode.copy(self._spare.pop() if self._spare else None)
            self._trial.append((actions, branch, np.zeros((2, len(joint)))))
        self._joint, self._begun = joint, episode.number
        self._seen.append(episode.observation[:, : len(episode.run.counters)])
        self._found.append(np.zeros((len(joint), len(episode.task.actions))))

    def _follow(self, task: ControlTask) -> None:
        """Run the last epoch under the settings of a trial."""
        if not self._trial:
            return
        self._n_tried += 1
        self.n_beside += len(self._trial)
        costs = {}
        for actions, branch, sums in self._trial:
            part = branch.step(actions)
            sums += np.array((part.cost, part.work))
            each = sums[0] / np.maximum(sums[1], 1e-9)
            costs[actions] = each if not task.is_shared else np.full(len(each), each.mean())
        joint = self._joint
        for agent, row in enumerate(self._found[-1]):
            own = [(*joint[:agent], action, *joint[agent + 1 :]) for action in range(len(row))]
            row[:] = [costs[actions][agent] for actions in own]
        epochs = (task.horizons[-1] if task.horizons else 4 * task.epoch) / task.epoch
        if self._trial[0][1].number - self._begun >= max(1, round(epochs)):
            self._spare += [branch for _, branch, _ in self._trial]
            self._trial = []
            del self._seen[:-_MOST_TRIALS], self._found[:-_MOST_TRIALS]

    def _promised(self, seen: np.ndarray, fixed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what actions cost relative to the static one, at most, by trials so far.

        Returns:
          Upper limits of relative cost, (n_agents, n_actions), the most that was lost, and how many
          trials began alike, (n_agents,).
        """
        before, found = np.array(self._seen), np.array(self._found)
        near = np.exp(-np.square(before - seen).sum(axis=2) / (2.0 * _NEAR**2))
        weights = near.copy()
        # The last trials count as long as less than one is near.
        few = np.maximum(0.0, 1.0 - near.sum(axis=0))
        weights[-_RECENT:] += _PRIOR * few / len(found[-_RECENT:])
        total = weights.sum(axis=0)[:, None]
        own = np.maximum((weights * found[:, :, fixed]).sum(axis=0), 1e-9)[:, None]
        mean = (weights[:, :, None] * found).sum(axis=0) / own
        apart = (found - mean * found[:, :, fixed, None]) * total / own
        n_trials = np.square(total) / np.square(weights).sum(axis=0)[:, None]
        spread = (weights[:, :, None] * np.square(apart)).sum(axis=0) / total
        error = np.sqrt((n_trials * spread + _SPREAD**2) / (n_trials + 1.0) / n_trials)
        worst = (found - found[:, :, fixed, None]).max(axis=0)
        return mean - 1.0 + _ERRORS * error, worst, near.sum(axis=0)


@final
class Guard:
    """Preference for another policy's action, which grows with the distance from training.

    Another action has to promise a saving of `slope` for each unit that recent observations lie
    farther from those of training than 90 % of these lie from each other.
    """

    def __init__(self, fallback: str, centres: np.ndarray, slope: float) -> None:
        """Take the policy's name, observations of training (n, n_inputs), and the slope."""
        if np.ndim(centres) != 2 or not 3 <= len(centres) <= MAX_CENTRES:
            raise InvalidArgumentError(
                f"`centres` must be an array of 3 to {MAX_CENTRES:,} observations; got one of "
                f"shape {np.shape(centres)}."
            )
        if not (np.abs(centres) <= 1.0).all():
            raise InvalidArgumentError("`centres` must be observations, from 0 to 1.")
        self.fallback, self.centres = check_line("fallback", fallback), centres
        self.slope = check_number("slope", slope, 0.0)
        self._radius = float(np.quantile(self.distances(centres[::10]), 0.9))

    def bonus(self, recent: Sequence[np.ndarray]) -> np.ndarray:
        """Return what the other policy is preferred by, from distances of recent epochs, (n,)."""
        return np.asarray(np.maximum(0.0, self.slope * (np.mean(recent, axis=0) - self._radius)))

    def distances(self, observations: np.ndarray) -> np.ndarray:
        """Return distances to the third nearest centre; the nearest may be an outlier."""
        squares = [np.square(self.centres - each).sum(axis=1) for each in observations]
        return np.sqrt(np.partition(squares, 2, axis=1)[:, 2])


@final
class Network(ControlPolicy):
    """A small network from an observation to a preference for each action, as data only.

    `write` and `read` use a file of NumPy arrays, from which no code is loaded.
    """

    def __init__(
        self,
        task: str,
        layers: Sequence[tuple[np.ndarray, np.ndarray]],
        activation: str = "tanh",
        name: str = "network",
        guard: Guard | None = None,
    ) -> None:
        """Take the layers.

        Args:
          task: Name of the task it was trained for.
          layers: Weights (n_in, n_out) and biases (n_out,), first to last.
          activation: `tanh` or `relu`, after all but the last layer.
          name: Name for tables.
          guard: Preference for another policy outside what was seen in training.

        `dueling` is that of the episode that runs, if the guard falls back to one.
        """
        self.name, self.task, self.activation, self.guard = name, task, activation, guard
        self._recent: list[np.ndarray] = []
        self.dueling: Dueling | None = None
        self.layers = [(np.asarray(w, np.float64), np.asarray(b, np.float64)) for w, b in layers]
        sizes = [(w.shape, b.shape) for w, b in self.layers]
        fits = all(len(w) == 2 and b == w[1:] for w, b in sizes) and all(
            before[0][1] == after[0][0] for before, after in pairwise(sizes)
        )
        if not fits or not 1 <= len(layers) <= _MAX_LAYERS:
            raise InvalidArgumentError(f"Layers must follow each other; got shapes {sizes!r}.")
        if guard is not None and guard.centres.shape[1] != sizes[0][0][0]:
            raise InvalidArgumentError(
                f"`guard` must have observations of {sizes[0][0][0]} numbers, as the first layer "
                f"has; got {guard.centres.shape[1]}."
            )
        check_choice("activation", activation, _ACTIVATIONS)

    def start(self, task: ControlTask, episode: str) -> None:
        """Check that the network belongs to the task's observations and actions."""
        n_actions = len(task.actions)
        if self.layers[-1][1].shape != (n_actions,):
            raise InvalidArgumentError(
                f"The policy must have one output for each of the {n_actions} actions of task "
                f"{task.name!r}; it was trained for {self.task!r} and has "
                f"{len(self.layers[-1][1])}."
            )
        _check_actions(self.task, task)
        if self.guard is not None:
            check_choice("fallback", self.guard.fallback, fallbacks(task))

    def preferences(self, observations: np.ndarray) -> np.ndarray:
        """Return the last layer's values, (n, n_actions)."""
        n_seen, n_inputs = observations.shape[1], len(self.layers[0][0])
        if n_seen != n_inputs:
            raise InvalidArgumentError(f"The policy must have {n_seen} inputs; got {n_inputs}.")
        values = observations.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            for number, (weights, bias) in enumerate(self.layers):
                values = values @ weights + bias
                if number + 1 < len(self.layers):
                    is_tanh = self.activation == "tanh"
                    values = np.tanh(values) if is_tanh else np.maximum(values, 0.0)
        if not np.isfinite(values).all():
            raise InvalidArgumentError(
                f"The policy {self.name!r} must have finite outputs; its weights are too large."
            )
        return np.asarray(values)

    def act(self, episode: Episode) -> tuple[int, ...]:
        """Return the preferred action of each agent; at first the best static one of training."""
        if episode.last is None:
            self._recent, self.dueling = [], None
            if self.guard is not None and self.guard.fallback == Dueling.name:
                self.dueling = Dueling()
                return self.dueling.act(episode)
            return (reference(episode.task),) * episode.run.n_agents
        values = self.preferences(episode.observation)
        if self.guard is not None:
            # chosen: half of the shortest phases.
            self._recent = [*self._recent[-5:], self.guard.distances(episode.observation)]
            other = self.dueling or policy_of(self.guard.fallback, episode.task)
            others, bonus = other.act(episode), self.guard.bonus(self._recent)
            values[range(len(values)), others] += bonus
            if isinstance(other, Dueling):
                # Where training says nothing, the budget has to pay for what may go wrong.
                is_free = other.can_pay | (bonus <= 0.0)[:, None]
                is_free &= ~other.is_spent[:, None]
                is_free[range(len(values)), others] = True
                values[~is_free] = -np.inf
        return tuple(np.argmax(values, axis=1).tolist())

    def write(self, path: str | Path) -> None:
        """Write the network to a file that ends in .npz."""
        about: dict[str, Any] = {"task": self.task, "activation": self.activation}
        arrays = {f"weights_{number}": weights for number, (weights, _) in enumerate(self.layers)}
        arrays |= {f"bias_{number}": bias for number, (_, bias) in enumerate(self.layers)}
        if self.guard is not None:
            about |= {"fallback": self.guard.fallback, "slope": self.guard.slope}
            arrays["centres"] = self.guard.centres
        Policy(_AGENT, {}, about, arrays).save(path)

    @staticmethod
    def read(path: str | Path) -> "Network":
        """Return the network in a file.

        Raises:
          FileFormatError: The file holds none.
        """
        held = Policy.load(path)
        names = [(f"weights_{n}", f"bias_{n}") for n in range(len(held.weights) // 2)]
        try:
            layers = [(held.weights[weights], held.weights[bias]) for weights, bias in names]
            task, activation = str(held.description["task"]), str(held.description["activation"])
            about, guard = held.description, None
            if "fallback" in about:
                guard = Guard(about["fallback"], held.weights["centres"], about["slope"])
            return Network(task, layers, activation, Path(path).stem, guard)
        except KeyError as error:
            raise FileFormatError(path, None, f"is not a policy of control: no {error}") from None
        except InvalidArgumentError as error:
            problem = str(error).removesuffix(".")
            raise FileFormatError(path, None, f"is not a policy of control: {problem}") from None

    @staticmethod
    def from_sb3(task: str, model: Any) -> "Network":
        """Return the deterministic policy of a model of Stable-Baselines3: actor-critic or DQN.

        Raises:
          InvalidArgumentError: Its network has memory or other layers.
        """
        policy = model.policy
        if hasattr(policy, "q_net"):
            actor = [*policy.q_net.q_net]
        else:
            actor = [*policy.mlp_extractor.policy_net, policy.action_net]
        layers = [
            (each.weight.detach().cpu().numpy().T, each.bias.detach().cpu().numpy())
            for each in actor
            if hasattr(each, "weight")
        ]
        kinds = [type(each).__name__ for each in actor]
        between = set(kinds[1::2]) or {"ReLU"}
        is_known = {*kinds[::2]} == {"Linear"} and between in ({"Tanh"}, {"ReLU"})
        if hasattr(policy, "lstm_actor") or not is_known:
            raise InvalidArgumentError(
                "The model must have linear layers with `Tanh` or `ReLU` between them, and no "
                f"memory; got {type(policy).__name__} of {', '.join(kinds)}."
            )
        activation = between.pop().lower()
        return Network(task, layers, activation)


@cache
def _check_actions(trained_for: str, task: ControlTask) -> None:
    """Refuse a task whose actions are other settings than in training; name another epoch once."""
    try:
        trained = task_of(trained_for)
    except UnknownNameError:
        return  # a task of the user's own
    if trained.actions != task.actions:
        raise InvalidArgumentError(
            f"The policy must choose from the actions of task {task.name!r}, such as "
            f"{task.labels()[-1]}; it was trained for {trained_for!r}, whose actions are others, "
            f"such as {trained.labels()[-1]}."
        )
    if trained.epoch != task.epoch:
        logger.warning(
            "The policy was trained with epochs of %d; those of %s are %d.",
            trained.epoch, task.name, task.epoch,
        )  # fmt: skip


POLICY_NAMES: Final = ("default", "best-static", "hindsight", "ducb", "ducb-phase", "dueling")
"""Policies of every task; a task's functions of counters have further names."""


def fallbacks(task: ControlTask) -> tuple[str, ...]:
    """Return the policies that a guard may prefer."""
    return (*task.by_counters, Dueling.name)


def policy_of(name: str, task: ControlTask) -> ControlPolicy:
    """Return the policy with this name, or the one in a file that ends in .npz.

    Raises:
      UnknownNameError: The task has no such policy.
      FileFormatError: The file cannot be used.
    """
    if name.endswith(".npz"):
        network = Network.read(name)
        network.start(task, "")
        return network
    if name in ("default", "best-static", "hindsight"):
        return Static(name)
    if name in ("ducb", "ducb-phase"):
        return Ducb(name)
    if name == "dueling":
        return Dueling()
    if name in task.by_counters:
        return ByCounters(name)
    raise unknown_name("policy", name, (*POLICY_NAMES, *task.by_counters, "FILE.npz"))


@final
class LookAhead(ControlPolicy):
    """Look-ahead on exact branches of the run, which no hardware can do.

    Each epoch it tries every action on a branch, held until some work is done, and takes the best.
    With several agents it improves one agent's action after the other, from the last joint one. It
    is no bound: what pays later than its horizon is not seen.
    """

    def __init__(self, horizon: int, selfish: bool = False, in_epochs: bool = False) -> None:
        """Take the horizon.

        Args:
          horizon: Work to look ahead, as of `Part.work`, to the end of the nearest epoch.
          selfish: True if agents count their own cost alone.
          in_epochs: True if the horizon counts epochs.
        """
        if horizon < 1:
            raise InvalidArgumentError(f"`horizon` must be 1 or more; got {horizon}.")
        self.name = f"look-ahead-{horizon}" if not selfish else f"selfish-{horizon}"
        self._horizon, self._selfish, self._in_epochs = horizon, selfish, in_epochs
        self._branch: Episode | None = None
        self._known: dict[tuple[int, ...], np.ndarray] = {}
        self._first: tuple[int, ...] = ()

    def start(self, task: ControlTask, episode: str) -> None:
        """Begin with the best static action in hindsight."""
        self._branch, self._known = None, {}
        self._first = hindsight(task, episode)[0]

    def costs(self, episode: Episode, agent: int, joint: tuple[int, ...]) -> np.ndarray:
        """Return the cost over work of each action of an agent, the others' held, (n_actions,)."""
        found = []
        for action in range(len(episode.task.actions)):
            actions = (*joint[:agent], action, *joint[agent + 1 :])
            # Agents that take turns meet the same joint actions again.
            each = self._known.get((episode.number, *actions))
            if each is None:
                each = self._known[(episode.number, *actions)] = self._ahead(episode, actions)
            found.append(each[agent] if self._selfish else each.mean())
        return np.array(found)

    def _ahead(self, episode: Episode, actions: tuple[int, ...]) -> np.ndarray:
        """Return the cost over work of each agent on a branch under these actions."""
        self._branch = branch = episode.copy(self._branch)
        cost = work = np.zeros(len(actions))
        before = done = 0.0
        # To the end of the epoch that is nearest to the horizon.
        while not branch.is_over and 1.5 * done - 0.5 * before < self._horizon:
            part = branch.step(actions)
            cost, work = cost + part.cost, work + part.work
            before, done = done, done + 1.0 if self._in_epochs else float(work.mean())
        return np.asarray(cost / np.maximum(work, 1e-9))

    def act(self, episode: Episode) -> tuple[int, ...]:
        """Return the best action of each agent."""
        n = episode.run.n_agents
        joint = episode.previous or self._first or (0,) * n
        for _ in range(1 if n == 1 or self._selfish else 2):
            before = joint
            for agent in range(n):
                costs = self.costs(episode, agent, before if self._selfish else joint)
                joint = (*joint[:agent], cheapest(costs, joint[agent]), *joint[agent + 1 :])
            if joint == before:
                break
        return joint


def beam(task: ControlTask, name: str, width: int) -> float:
    """Return the best score of a search that keeps the `width` cheapest prefixes, one agent."""
    kept = [(0.0, 0.0, Episode(task, name))]
    while not all(episode.is_over for _, _, episode in kept):
        # Where epochs are times, runs may end at different ones.
        found = [each for each in kept if each[2].is_over]
        for cost, work, episode in kept:
            if episode.is_over:
                continue
            found += _branches(cost, work, episode)
            # Branches are large; only the best of all live on.
            found.sort(key=lambda each: each[0] / max(each[1], 1e-9))
            del found[width:]
        kept = found
    return min(cost / work for cost, work, _ in kept)


def proven_bound(task: ControlTask, name: str, n_epochs: int) -> float:
    """Return the least cost over work of the first epochs, of all sequences of actions."""
    best = np.inf
    open_: list[tuple[float, float, Episode]] = [(0.0, 0.0, Episode(task, name))]
    while open_:
        cost, work, episode = open_.pop()
        if episode.number == n_epochs or episode.is_over:
            best = min(best, cost / max(work, 1e-9))
            continue
        open_ += _branches(cost, work, episode)
    return float(best)


def _branches(cost: float, work: float, episode: Episode) -> Iterator[tuple[float, float, Episode]]:
    """Yield cost, work and episode after a further epoch under each action."""
    for action in range(len(episode.task.actions)):
        branch = episode.copy()
        part = branch.step((action,) * branch.run.n_agents)
        yield cost + float(part.cost.sum()), work + float(part.work.sum()), branch


def cheapest(costs: np.ndarray, last: int) -> int:
    """Return the action of least cost: `last`, the one before, if among them, else the first."""
    return last if costs[last] <= costs.min() else int(np.argmin(costs))
