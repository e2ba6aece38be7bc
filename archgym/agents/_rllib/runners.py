"""Trains teams with env runners of Ray, in other processes and on other nodes.

RLlib's algorithm supervises them from a thread, while the caller's thread evaluates what they ask
about.
"""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, final

import numpy as np
import ray
from ray.rllib.algorithms.ppo import PPO

from archgym.agents._rllib.broker import Broker, RemoteRewards
from archgym.agents._rllib.modules import TEAM
from archgym.agents._rllib.team import Team
from archgym.agents._rllib.training import Keep, asking, configuration, plain
from archgym.errors import ArchGymError, BudgetExhausted
from archgym.evaluation.task import Task
from archgym.evaluation.trials import Evaluate
from archgym.runtime.ray_session import RAY, quiet

_TURN_S = 1.0
# chosen: runners import for some ten seconds, and much longer on a busy machine.
_START_PATIENCE_S = 300.0
# chosen: what it takes to find out that a node is gone and to start runners elsewhere, doubled.
_PATIENCE_S = 180.0
# chosen: each look costs those that live a second.
_LOOK_INTERVAL_S = 10.0
# chosen: a learner's update that has begun takes seconds.
_LAST_TURN_S = 60.0


def train_with_runners(
    team: Team,
    task: Task,
    hyperparameters: Mapping[str, Any],
    seed: int,
    evaluate: Evaluate,
    keep: Keep,
    patience_s: float = _PATIENCE_S,
) -> None:
    """Train with env runners of Ray, until `evaluate`, called in this thread, raises something.

    Runners that die are started again if there is room, and training continues with the others.

    Args:
      hyperparameters: The agent's, with `env_runners`, 1 or more.
      seed: Random seed of the first draws.
      evaluate: Function that evaluates designs; all that runners wait for at a time.
      keep: Given the weights at the end, and how many updates there were.
      patience_s: Longest time without a live runner, once they have started [s].

    Raises:
      ArchGymError: Ray does not start, or no runner lived for so long.
    """
    ask = asking(task, hyperparameters, evaluate)
    with quiet():
        RAY.enter(hyperparameters["env_runners"])
        try:
            broker = Broker()
            config = configuration(team, hyperparameters, seed, RemoteRewards(broker.actor))
            training = _Training(config, keep)
        except BaseException:
            RAY.leave()
            raise
        # Not in this thread: a signal must not cut it off.
        end = threading.Thread(target=_end, args=(broker, training), name="archgym-rllib-end")
        try:
            _serve(broker, training, ask, patience_s)
        except BudgetExhausted:
            end.start()
            end.join()
            raise
        except BaseException:
            # An interrupted study does not wait for Ray; the process does when it ends.
            training.is_hurried = True
            end.start()
            raise


def _end(broker: Broker, training: "_Training") -> None:
    is_hurried = training.is_hurried
    with quiet():
        training.is_over.set()
        with suppress(ray.exceptions.RayError):
            broker.end()
        training.join(_LAST_TURN_S)
        # A stuck runner would start Ray again by whatever it asks of it; then it goes with the
        # process.
        if not training.is_alive():
            RAY.leave(is_hurried)


def _serve(
    broker: Broker,
    training: "_Training",
    ask: Callable[[np.ndarray], np.ndarray],
    patience_s: float,
) -> None:
    """Answer runners, until `ask` raises something."""
    last = time.monotonic()
    while True:
        requests = broker.take(_TURN_S)
        if requests:
            rewards = ask(np.concatenate([picks for _, picks in requests]))
            ends = np.cumsum([len(picks) for _, picks in requests])
            parts = np.split(rewards, ends[:-1])
            numbers = [number for number, _ in requests]
            broker.answer(dict(zip(numbers, parts, strict=True)))
        training.check()
        if requests or training.n_healthy:
            last = time.monotonic()
            continue
        limit_s = patience_s if training.has_started else _START_PATIENCE_S
        if time.monotonic() > last + limit_s:
            raise ArchGymError(
                f"An environment runner must live; for {limit_s:g} s none has, and none could be "
                "started. What was evaluated is in the study: resume it where the cluster has room."
            )


@final
class _Training(threading.Thread):
    """RLlib's algorithm, which supervises its runners, in a thread."""

    def __init__(self, config: Any, keep: Keep) -> None:
        super().__init__(name="archgym-rllib", daemon=True)
        self.is_over = threading.Event()
        self.is_hurried = False
        """True if the end waits neither for an update nor for tidying up."""
        self._config = config
        self._keep = keep
        self._algorithm: Any = None
        self._error: Exception | None = None
        self.start()

    @property
    def has_started(self) -> bool:
        """True if no runner has died."""
        return self._algorithm is not None

    @property
    def n_healthy(self) -> int:
        """Runners that RLlib considers alive."""
        algorithm = self._algorithm
        return 0 if algorithm is None else algorithm.env_runner_group.num_healthy_remote_workers()

    def check(self) -> None:
        """Raise the exception that ended the thread.

        Raises:
          ArchGymError: In one line.
        """
        if self._error is not None:
            words = str(self._error).strip().split("\n")[-1]
            raise ArchGymError(
                f"RLlib must continue training; it broke with {type(self._error).__name__}: {words}"
            ) from self._error

    def _watch(self, learner: Any) -> None:
        """Make a learner stop its update if the end is hurried."""
        actor = learner.module[TEAM].unwrapped().network.actor
        actor.register_forward_pre_hook(self._break_off)

    def _break_off(self, *forward: Any) -> None:
        if self.is_over.is_set() and self.is_hurried:
            raise ArchGymError("An update was broken off, since its search has been interrupted.")

    def run(self) -> None:
        scratch: Path | None = None
        try:
            self._algorithm = _Ppo(config=self._config)
            scratch = Path(self._algorithm.logdir)
            self._algorithm.learner_group.foreach_learner(self._watch)
            while not self.is_over.is_set():
                self._algorithm.train()
            weights = self._algorithm.learner_group.get_weights()
            self._keep(plain(weights), int(self._algorithm.training_iteration))
            # Otherwise Ray's end is that of its runners, too.
            if not self.is_hurried:
                self._algorithm.stop()
        except Exception as error:
            # Handed to the thread that waits; what breaks after the end is of no interest.
            self._error = error
        finally:
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)


@final
class _Ppo(PPO):
    """RLlib's PPO with its log folder in a temporary place, not in the user's home.

    It looks for runners that have come back now and then only, since others wait meanwhile.
    """

    _looked_at = 0.0

    def restore_env_runners(self, env_runner_group: Any) -> Any:
        if time.monotonic() < self._looked_at + _LOOK_INTERVAL_S:
            return []
        restored = super().restore_env_runners(env_runner_group)
        self._looked_at = time.monotonic()
        return restored

    def _setup_logdir(self) -> None:
        self._logdir: Any = tempfile.mkdtemp(prefix="archgym-rllib-")
