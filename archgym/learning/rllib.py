"""Trains teams by proximal policy optimisation, with RLlib's current API stack.

Without env runners of its own, all of it happens in the caller's thread and Ray is not started: a
runner and a learner are objects like others. With env runners, RLlib's algorithm supervises them
from a thread, while the caller's thread evaluates what they ask about.
"""

import logging
import os
import shutil
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.agent import Evaluate
from archgym.envs.choices import Choices
from archgym.errors import ArchGymError, BudgetExhausted, MissingExtraError
from archgym.learning.rllib_policy import network_settings
from archgym.learning.rllib_team import Team
from archgym.task import Task

try:
    # Asked for where Ray reports home unless told otherwise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import gymnasium
    import ray
    import ray._private.worker as ray_worker
    from ray.rllib.algorithms.ppo import PPO, PPOConfig
    from ray.rllib.core import COMPONENT_RL_MODULE
    from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec
    from ray.rllib.policy.policy import PolicySpec

    from archgym.learning.rllib_broker import Broker, RemoteRewards
    from archgym.learning.rllib_parts import TEAM, TeamBatch, TeamModule, TeamRunner
except ModuleNotFoundError as error:
    raise MissingExtraError((error.name or "ray").partition(".")[0], "marl") from error

__all__ = ["quiet", "train_here", "train_with_runners"]

Weights = dict[str, np.ndarray]
AskForRewards = Callable[[int, np.ndarray], np.ndarray | None]

# chosen: Ray gives up starting after 30 s, which a busy machine needs more than of.
_STARTS = 3
# chosen: the least that Ray allows is 75 MB; weights and episodes are a few.
_OBJECT_STORE_BYTES = 120 * 2**20
_TURN_S = 1.0
# chosen: runners import for some ten seconds, and much longer on a busy machine.
_START_PATIENCE_S = 300.0
# chosen: what it takes to find out that a node is gone and to start runners elsewhere, doubled.
_PATIENCE_S = 180.0
# chosen: each look costs those that live a second.
_LOOK_INTERVAL_S = 10.0
# chosen: a learner's update that has begun takes seconds.
_LAST_TURN_S = 60.0


def train_here(
    team: Team,
    task: Task,
    hyperparameters: Mapping[str, Any],
    seed: int,
    evaluate: Evaluate,
    keep: Callable[[Weights], None],
) -> None:
    """Trains in this thread, until `evaluate` raises something, which passes through.

    Args:
      team: Who chooses.
      task: What is searched.
      hyperparameters: The agent's.
      seed: What decides, with the global random numbers.
      evaluate: What designs are given to.
      keep: Given the weights after each iteration.
    """
    ask = _asking(task, hyperparameters, evaluate)
    with quiet():
        config = _configuration(team, hyperparameters, seed, lambda runner, picks: ask(picks))
        learners = config.build_learner_group(rl_module_spec=config.rl_module_spec)
        runner = TeamRunner(config=config, worker_index=0)
        while True:
            weights = learners.get_weights()
            runner.set_state({COMPONENT_RL_MODULE: weights})
            keep(_plain(weights))
            learners.update(
                episodes=runner.sample(),
                timesteps={},
                num_epochs=config.num_epochs,
                minibatch_size=config.minibatch_size,
                shuffle_batch_per_epoch=config.shuffle_batch_per_epoch,
            )


def train_with_runners(
    team: Team,
    task: Task,
    hyperparameters: Mapping[str, Any],
    seed: int,
    evaluate: Evaluate,
    keep: Callable[[Weights], None],
    patience_s: float = _PATIENCE_S,
) -> None:
    """Trains with env runners of Ray, until `evaluate`, called in this thread, raises something.

    Runners that die are started again where there is room, and training goes on with the others.

    Args:
      team: Who chooses.
      task: What is searched.
      hyperparameters: The agent's, with `env_runners`, 1 or more.
      seed: What decides first draws.
      evaluate: What designs are given to; all that runners wait for at a time.
      keep: Given the weights at the end.
      patience_s: How long no runner may live, once they have started.

    Raises:
      ArchGymError: Ray does not start, or no runner lived for so long.
    """
    ask = _asking(task, hyperparameters, evaluate)
    with quiet():
        RAY.enter(hyperparameters["env_runners"])
        try:
            broker = Broker()
            config = _configuration(team, hyperparameters, seed, RemoteRewards(broker.actor))
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
            # Whoever interrupts a study does not wait for Ray; the process does, when it ends.
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
        # One that is stuck would start Ray anew by whatever it asks of it; then it goes with the
        # process.
        if not training.is_alive():
            RAY.leave(is_hurried)


def _serve(
    broker: Broker,
    training: "_Training",
    ask: Callable[[np.ndarray], np.ndarray],
    patience_s: float,
) -> None:
    """Answers runners, until `ask` raises something."""
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

    def __init__(self, config: Any, keep: Callable[[Weights], None]) -> None:
        super().__init__(name="archgym-rllib", daemon=True)
        self.is_over = threading.Event()
        self.is_hurried = False
        """Whether the end is to wait neither for an update nor for what only tidies up."""
        self._config = config
        self._keep = keep
        self._algorithm: Any = None
        self._error: Exception | None = None
        self.start()

    @property
    def has_started(self) -> bool:
        """Whether all runners have lived."""
        return self._algorithm is not None

    @property
    def n_healthy(self) -> int:
        """Runners that RLlib thinks alive."""
        algorithm = self._algorithm
        return 0 if algorithm is None else algorithm.env_runner_group.num_healthy_remote_workers()

    def check(self) -> None:
        """Raises what broke the thread.

        Raises:
          ArchGymError: In one line.
        """
        if self._error is not None:
            words = str(self._error).strip().split("\n")[-1]
            raise ArchGymError(
                f"RLlib must go on training; it broke with {type(self._error).__name__}: {words}"
            ) from self._error

    def _watch(self, learner: Any) -> None:
        """Has a learner break its update off where the end is hurried."""
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
            self._keep(_plain(self._algorithm.learner_group.get_weights()))
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
    """RLlib's, with its scratch files elsewhere than in the user's home.

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


def _asking(
    task: Task, hyperparameters: Mapping[str, Any], evaluate: Evaluate
) -> Callable[[np.ndarray], np.ndarray]:
    choices = Choices(task.space)

    def ask(picks: np.ndarray) -> np.ndarray:
        rewards = evaluate(choices.compose(picks)).reward
        floored: np.ndarray = np.maximum(rewards, hyperparameters["floor"])
        return floored

    return ask


def _configuration(
    team: Team, hyperparameters: Mapping[str, Any], seed: int, rewards: AskForRewards
) -> Any:
    n_runners = hyperparameters["env_runners"]
    rollout = hyperparameters["rollout"]
    spec = RLModuleSpec(
        module_class=TeamModule,
        observation_space=gymnasium.spaces.Box(
            -np.inf, np.inf, team.actor_inputs.shape, dtype=np.float32
        ),
        action_space=gymnasium.spaces.MultiDiscrete(team.sizes),
        model_config={"network": network_settings(team, hyperparameters)},
    )
    # Neither is annotated in the library.
    make_config: Any = PPOConfig
    make_policy: Any = PolicySpec
    config = make_config()
    config.environment(
        env_config={
            "team": team,
            "rewards": rewards,
            "seed": seed,
            "designs": -(-rollout // max(1, n_runners)),
        },
        disable_env_checking=True,
    )
    config.env_runners(
        env_runner_cls=TeamRunner,
        num_env_runners=n_runners,
        create_env_on_local_worker=False,
        # However long a design takes: who asks is answered, or dies.
        sample_timeout_s=None,
    )
    config.learners(
        num_learners=0,
        add_default_connectors_to_learner_pipeline=False,
        learner_connector=lambda *spaces: TeamBatch(team.actor_inputs),
    )
    config.training(
        gamma=0.0,
        lr=hyperparameters["learning_rate"],
        train_batch_size_per_learner=rollout,
        minibatch_size=max(1, rollout // hyperparameters["minibatches"]),
        num_epochs=hyperparameters["epochs"],
        entropy_coeff=hyperparameters["entropy"],
        clip_param=hyperparameters["clip"],
        vf_clip_param=float("inf"),
        use_kl_loss=False,
    )
    config.multi_agent(
        policies={TEAM: make_policy(None, spec.observation_space, spec.action_space, {})},
        policy_mapping_fn=lambda agent, *others, **more: TEAM,
    )
    config.rl_module(rl_module_spec=MultiRLModuleSpec(rl_module_specs={TEAM: spec}))
    config.fault_tolerance(
        restart_failed_env_runners=True,
        num_consecutive_env_runner_failures_tolerance=10**9,
        delay_between_env_runner_restarts_s=0.0,
        # Short, since those that live wait for it; who needs longer is found the next time.
        env_runner_health_probe_timeout_s=1.0,
        env_runner_restore_timeout_s=60.0,
    )
    config.debugging(log_level="ERROR")
    config.reporting(min_time_s_per_iteration=0)
    return config


def _plain(weights: Mapping[str, Mapping[str, np.ndarray]]) -> Weights:
    return {
        name.removeprefix("network."): np.array(weight) for name, weight in weights[TEAM].items()
    }


# ---- Ray


@final
class _Quiet:
    """Keeps RLlib's and Ray's remarks on themselves to themselves while anyone wants so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n = 0
        self._handlers: list[tuple[logging.Logger, list[logging.Handler], bool]] = []
        self._printed: Any = None

    def enter(self) -> None:
        worker: Any = ray_worker
        with self._lock:
            self._n += 1
            if self._n > 1:
                return
            # Not by levels, which RLlib sets itself.
            for name, logger in logging.root.manager.loggerDict.items():
                if name.partition(".")[0] != "ray" or not isinstance(logger, logging.Logger):
                    continue
                # Those with neither go by their parent.
                if name == "ray" or logger.handlers or not logger.propagate:
                    self._handlers.append((logger, logger.handlers, logger.propagate))
                    logger.handlers, logger.propagate = [logging.NullHandler()], False
            # Ray prints on standard output what happens to nodes, whatever it is told about logs.
            self._printed = worker.print_to_stdstream
            worker.print_to_stdstream = lambda *args, **kwargs: None

    def leave(self) -> None:
        worker: Any = ray_worker
        with self._lock:
            self._n -= 1
            if self._n:
                return
            for logger, handlers, propagates in self._handlers:
                logger.handlers, logger.propagate = handlers, propagates
            self._handlers = []
            worker.print_to_stdstream = self._printed


_QUIET = _Quiet()


@contextmanager
def quiet() -> Iterator[None]:
    """Within it, RLlib and Ray say nothing of themselves; what goes wrong is raised anyway."""
    _QUIET.enter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _QUIET.leave()


@final
class _SharedRay:
    """Ray as this process runs it already, or the cluster of RAY_ADDRESS, or one of our own.

    All searches of a process share it; the last one shuts down what was started here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n = 0
        self._is_ours = False

    def enter(self, n_runners: int) -> None:
        """Starts it where it does not run.

        Raises:
          ArchGymError: It does not start, or has too few processors.
        """
        with self._lock:
            if not ray.is_initialized():
                self._is_ours = True
                _start_ray(n_runners)
            self._n += 1
        resources: Any = ray.cluster_resources
        n_cpus = resources().get("CPU", 0)
        if n_cpus < n_runners:
            self.leave()
            raise ArchGymError(
                f"A cluster must have a processor for each of {n_runners} environment runners; it "
                f"has {n_cpus:g}. Lower `env_runners` or add a node."
            )

    def leave(self, is_hurried: bool = False) -> None:
        """Shuts down what was started here, where nobody else needs it.

        Args:
          is_hurried: Whether to kill Ray's processes; it asks one after the other to end, and waits
            up to a second for each.
        """
        with self._lock:
            self._n -= 1
            if not self._n and self._is_ours:
                self._is_ours = False
                if is_hurried:
                    _hurry_shutdown()
                ray.shutdown()


def _hurry_shutdown() -> None:
    """Has Ray, when it shuts down next, kill its processes, which have nothing to save."""
    node: Any = ray_worker._global_node
    if node is None:
        return
    kill = node.kill_all_processes

    def kill_at_once(**options: Any) -> None:
        # What a process of Ray started outlives it for some seconds.
        own = [info.process.pid for infos in node.all_processes.values() for info in infos]
        started = [child for pid in own for child in _children(pid)]
        kill(**{**options, "allow_graceful": False})
        for child in started:
            with suppress(OSError):
                os.kill(child, signal.SIGKILL)

    node.kill_all_processes = kill_at_once


def _children(pid: int) -> list[int]:
    """Processes that this one has started; none where the system does not tell."""
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, listed.read_text().split())
    return found


RAY = _SharedRay()


def _start_ray(n_runners: int) -> None:
    address = os.environ.get("RAY_ADDRESS", "")
    options: dict[str, Any] = {"log_to_driver": False}
    if not address:
        # Nobody else is to use it: without a token, and attached to no other that runs here.
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        address = "local"
        options |= {
            "num_cpus": max(n_runners, os.cpu_count() or 1),
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
        }
    for start in range(1, _STARTS + 1):
        try:
            with _core_quiet():
                ray.init(address=address, **options)
        except Exception as error:
            with suppress(Exception):
                ray.shutdown()
            if start == _STARTS or address != "local":
                words = str(error).strip().split("\n")[0]
                raise ArchGymError(
                    f"Ray must start at {address!r} for `env_runners`; {words}"
                ) from error
        else:
            return


@contextmanager
def _core_quiet() -> Iterator[None]:
    """Within it, Ray's core starts and is told to keep its remarks from this process's terminal.

    The core is no Python: it writes to the file descriptor itself, and remarks on being told.
    """
    name = "RAY_BACKEND_LOG_LEVEL"
    is_told = name in os.environ
    os.environ.setdefault(name, "fatal")
    terminal, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)
        if not is_told:
            del os.environ[name]
