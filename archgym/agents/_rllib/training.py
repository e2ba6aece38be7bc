"""Trains teams by proximal policy optimisation, with RLlib's current API stack.

All of it happens in the caller's thread and Ray is not started: a runner and a learner are objects
like others.
"""

import itertools
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from archgym.agents._rllib.policy import network_settings
from archgym.agents._rllib.team import Team
from archgym.errors import MissingExtraError
from archgym.evaluation.trials import Evaluate
from archgym.spaces.choices import Choices
from archgym.tasks.task import Task

try:
    # Asked for where Ray reports home unless told otherwise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import gymnasium
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core import COMPONENT_RL_MODULE
    from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec
    from ray.rllib.policy.policy import PolicySpec

    from archgym.agents._rllib.modules import TEAM, TeamBatch, TeamModule, TeamRunner
    from archgym.runtime.ray_session import quiet
except ModuleNotFoundError as error:
    raise MissingExtraError((error.name or "ray").partition(".")[0], "marl") from error

Weights = dict[str, np.ndarray]
Keep = Callable[[Weights, int], None]
"""Takes weights and how many updates have made them."""
AskForRewards = Callable[[np.ndarray], np.ndarray]


def train_here(
    team: Team,
    task: Task,
    hyperparameters: Mapping[str, Any],
    seed: int,
    evaluate: Evaluate,
    keep: Keep,
) -> None:
    """Train in this thread until `evaluate` raises an exception, which is not caught.

    Args:
      seed: Random seed, in addition to the global random numbers.
      keep: Given the weights before and after each update, and how many updates there were.
    """
    with quiet():
        config = configuration(team, hyperparameters, seed, asking(task, hyperparameters, evaluate))
        learners = config.build_learner_group(rl_module_spec=config.rl_module_spec)
        runner = TeamRunner(config=config, worker_index=0)
        for n_updates in itertools.count():
            weights = learners.get_weights()
            runner.set_state({COMPONENT_RL_MODULE: weights})
            keep(plain(weights), n_updates)
            learners.update(
                episodes=runner.sample(),
                timesteps={},
                num_epochs=config.num_epochs,
                minibatch_size=config.minibatch_size,
                shuffle_batch_per_epoch=config.shuffle_batch_per_epoch,
            )


def asking(task: Task, hyperparameters: Mapping[str, Any], evaluate: Evaluate) -> AskForRewards:
    """Return the function that asks for rewards of designs, by choices, (n, n_choices)."""
    choices = Choices(task.space)

    def ask(picks: np.ndarray) -> np.ndarray:
        rewards = evaluate(choices.compose(picks)).reward
        return np.asarray(np.maximum(rewards, hyperparameters["floor"]))

    return ask


def configuration(
    team: Team, hyperparameters: Mapping[str, Any], seed: int, rewards: AskForRewards
) -> Any:
    """Return RLlib's configuration of a team.

    Args:
      rewards: Function that returns rewards of choices.
    """
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
            "designs": rollout,
        },
        disable_env_checking=True,
    )
    config.env_runners(
        env_runner_cls=TeamRunner,
        num_env_runners=0,
        create_env_on_local_worker=False,
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
    config.debugging(log_level="ERROR")
    config.reporting(min_time_s_per_iteration=0)
    return config


def plain(weights: Mapping[str, Mapping[str, np.ndarray]]) -> Weights:
    """Return a team's weights by plain names."""
    return {
        name.removeprefix("network."): np.array(weight) for name, weight in weights[TEAM].items()
    }
