"""Training of policies of the study `learned_policies.py`, on tables."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from contextual_env import Contexts, ContextualDesignEnv
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

__all__ = ["Settings", "TableVecEnv", "trained"]

ENVS = 128
"""Episodes side by side."""


@dataclass(frozen=True)
class Settings:
    """Settings of PPO; the defaults are those that `tune` found best for single proposals."""

    entropy: float = 0.04
    discount: float = 0.9
    total: int = 60_000
    learning_rate: float = 2e-3
    width: int = 64


@final
class TableVecEnv(VecEnv):
    """Episodes of `ContextualDesignEnv` side by side, whose designs are looked up together.

    Observations and rewards are the same, some fifty times as fast. `check` compares them.
    """

    def __init__(
        self, contexts: Contexts, designs: np.ndarray, steps: int, floor: float, seed: int
    ) -> None:
        """Simulate all designs on all tasks.

        Args:
          contexts: Training workloads.
          designs: (n_designs, n_parameters), all canonical designs of the space, by number.
          steps: Designs of an episode.
          floor: Least reward of a design.
          seed: Random seed of the tasks that are drawn.
        """
        env = ContextualDesignEnv(contexts, steps=steps, floor=floor)
        super().__init__(ENVS, env.observation_space, env.action_space)
        self._contexts, self._steps, self._floor = contexts, steps, floor
        self._space = contexts.tasks[0].space
        self._numbers = self._space.flat(designs)
        self._rng = np.random.default_rng(seed)
        shown, rewards = [], []
        for task, observation, start in zip(
            contexts.tasks, contexts.observations, contexts.starts, strict=True
        ):
            trials = task.trials(designs, task.evaluate(designs), np.zeros(len(designs), bool))
            made, position = np.ones(designs.shape, bool), np.zeros(len(designs), np.int64)
            rows = observation.encode(designs, made, position, trials.values, trials.feasible)
            # The last row is the start of an episode.
            shown.append(np.concatenate([rows, start[None]]))
            rewards.append(np.maximum(trials.reward, floor))
        self._shown, self._rewards = np.array(shown), np.array(rewards)
        self._task = np.zeros(ENVS, np.int64)
        self._left = np.zeros(ENVS, np.int64)
        self._best = np.zeros(ENVS)
        self._last_row = np.zeros(ENVS, np.int64)
        self._best_row = np.zeros(ENVS, np.int64)
        self._actions = np.zeros((ENVS, designs.shape[1]), np.int64)

    def _start(self, rows: np.ndarray) -> None:
        n = int(rows.sum())
        self._task[rows] = self._rng.integers(len(self._contexts), size=n)
        self._left[rows], self._best[rows] = self._steps, 0.0
        self._last_row[rows] = self._best_row[rows] = len(self._numbers)

    def _observations(self) -> np.ndarray:
        limit = float(self.observation_space.high[0])  # type: ignore[attr-defined]  # a box
        return np.concatenate(
            [
                self._contexts.features[self._task],
                self._shown[self._task, self._last_row],
                self._shown[self._task, self._best_row],
                np.clip(self._best, -limit, limit)[:, None],
                (self._left / self._steps)[:, None],
            ],
            axis=1,
            dtype=np.float32,
        )

    def reset(self) -> np.ndarray:
        self._start(np.ones(ENVS, bool))
        return self._observations()

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        designs = self._space.canonical(np.asarray(self._actions, np.int64))
        rows = np.searchsorted(self._numbers, self._space.flat(designs))
        own = self._rewards[self._task, rows]
        is_first = self._left == self._steps
        rewards = np.where(is_first, own, np.maximum(0.0, own - self._best))
        is_best = is_first | (own > self._best)
        self._best = np.where(is_best, own, self._best)
        self._best_row = np.where(is_best, rows, self._best_row)
        self._last_row = rows
        self._left -= 1
        ended = self._left == 0
        infos: list[dict[str, Any]] = [{} for _ in range(ENVS)]
        if ended.any():
            last = self._observations()
            for row in np.flatnonzero(ended).tolist():
                infos[row] = {"terminal_observation": last[row]}
            self._start(ended)
        return self._observations(), rewards.astype(np.float32), ended, infos

    def check(self, n_steps: int) -> None:
        """Compare steps with those of the environment that everybody uses."""
        observations: Any = self.reset()
        env = ContextualDesignEnv(self._contexts, steps=self._steps, floor=self._floor)
        same, _ = env.reset(options={"task": int(self._task[0])})
        for _ in range(n_steps):
            np.testing.assert_array_equal(observations[0], same)
            # The environment shows inactive parameters as chosen, not as in the canonical form.
            actions = np.array([self.action_space.sample() for _ in range(ENVS)])
            actions = self._space.canonical(actions)
            observations, rewards, ended, infos = self.step(actions)
            same, reward, is_over, _, _ = env.step(actions[0])
            np.testing.assert_allclose(rewards[0], reward, rtol=1e-6)
            assert is_over == ended[0]
            if is_over:
                np.testing.assert_array_equal(infos[0]["terminal_observation"], same)
                same, _ = env.reset(options={"task": int(self._task[0])})

    def close(self) -> None:
        pass

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [None] * ENVS

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * ENVS


def trained(env: TableVecEnv, seed: int, settings: Settings) -> PPO:
    """Return a policy that was trained on an environment."""
    import torch

    torch.set_num_threads(1)
    model = PPO(
        "MlpPolicy",
        env,
        learning_rate=lambda left: settings.learning_rate * left,
        n_steps=20,
        batch_size=640,
        n_epochs=5,
        gamma=settings.discount,
        ent_coef=settings.entropy,
        policy_kwargs={"net_arch": [settings.width, settings.width]},
        seed=seed,
        device="cpu",
    )
    return model.learn(settings.total)
