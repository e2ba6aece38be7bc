"""Training with Stable-Baselines3, and its policies as plain arrays that make designs."""

from typing import Any, final

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from archgym.agents._policy_layout import fitting_weights
from archgym.envs.formulation import Observation
from archgym.envs.sb3 import Sb3VecEnv
from archgym.evaluation.trials import Evaluate, Trials
from archgym.files.policy import Policy
from archgym.spaces.choices import Choices
from archgym.tasks.task import Evaluation, Task

NO_END = 2**40
"""Steps after which learning would end: more than any study has, and a power of two, so that shares
of it are exact."""


@final
class LearningEnv(VecEnvWrapper):
    """Episodes whose rewards are learned from no lower than a floor.

    An infeasible design's reward lies so far below all others that it would be all that is seen.
    """

    def __init__(self, env: Sb3VecEnv, floor: float, longest_episode: int) -> None:
        super().__init__(env)
        self._floor = floor
        self.longest_episode = longest_episode
        """Steps of the longest episode."""

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, ended, infos = self.venv.step_wait()
        return observations, np.maximum(rewards, np.float32(self._floor)), ended, infos


def make_episodes(
    task: Task,
    n_envs: int,
    formulation: str,
    floor: float,
    evaluate: Evaluate,
    seed: int,
) -> LearningEnv:
    """Return episodes of a task for an algorithm to learn from."""
    env = Sb3VecEnv(task, n_envs, formulation=formulation, evaluate=evaluate)
    # Algorithms sample it for designs at random.
    env.action_space.seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    return LearningEnv(env, floor, 1 if formulation == "whole" else Choices(task.space).n)


def no_results(task: Task) -> Evaluate:
    """Return an `evaluate` under which every design fails, for learners that only propose."""

    def evaluate(indices: np.ndarray) -> Trials:
        n, n_workloads = len(indices), len(task.workloads)
        nothing = Evaluation(
            np.full((n, n_workloads, len(task.metrics)), np.nan),
            np.ones((n, n_workloads), dtype=np.int16),
            np.zeros(n),
        )
        return task.trials(indices, nothing, np.zeros(n, dtype=bool))

    return evaluate


def learn(algorithm: BaseAlgorithm) -> None:
    """Learn until the episodes raise something, which passes through."""
    # Without this the library makes a folder in the system's scratch space.
    algorithm.set_logger(Logger(folder=None, output_formats=[]))
    _guard(algorithm)
    algorithm.learn(NO_END, log_interval=None)  # type: ignore[arg-type]  # None is "never"


def _guard(algorithm: Any) -> None:
    """Undo every update after which a weight is not finite."""
    train = algorithm.train
    weights = list(algorithm.policy.parameters())
    last = _numbers(weights)

    def guarded(*arguments: Any, **keywords: Any) -> None:
        nonlocal last
        fault: ValueError | None = None
        try:
            train(*arguments, **keywords)
        except ValueError as error:
            # What torch says where a distribution is to be made from such numbers.
            fault = error
        now = _numbers(weights)
        if bool(torch.isfinite(now).all()):
            if fault is not None:
                raise fault
            last = now
            return
        torch.nn.utils.vector_to_parameters(last.clone(), weights)
        algorithm.policy.optimizer.state.clear()

    algorithm.train = guarded


def _numbers(weights: list[torch.Tensor]) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(weights).detach()


def describe(algorithm: BaseAlgorithm, task: Task, formulation: str) -> dict[str, Any]:
    """Return the description of a policy's weights as JSON."""
    return {
        "task": task.id,
        "network": type(algorithm.policy).__name__,
        # Of an algorithm that has never learned from anything, 0; the library counts in private.
        "updates": int(algorithm._n_updates),
        **layout(task, formulation),
    }


def layout(task: Task, formulation: str) -> dict[str, Any]:
    """Return the observations and choices of a policy on a task as JSON."""
    choices = Choices(task.space)
    return {
        "formulation": formulation,
        "actions": "multidiscrete",
        "choices": list(choices.names),
        "sizes": choices.sizes.tolist(),
        "observation": list(Observation(task, choices, formulation == "sequential").names),
    }


def weights_of(algorithm: BaseAlgorithm) -> dict[str, np.ndarray]:
    """Return the weights of the policy, by name."""
    return {
        name: weight.detach().numpy().copy()
        for name, weight in algorithm.policy.state_dict().items()
    }


def load_weights(algorithm: BaseAlgorithm, policy: Policy) -> None:
    """Give an algorithm the weights that another has learned.

    Raises:
      InvalidArgumentError: They do not fit.
    """
    shapes = {name: weight.shape for name, weight in weights_of(algorithm).items()}
    weights = fitting_weights(policy, shapes)
    tensors = {name: torch.from_numpy(weight) for name, weight in weights.items()}
    algorithm.policy.load_state_dict(tensors, strict=False)


def make_designs(
    algorithm: Any, env: LearningEnv, has_masks: bool, deterministic: bool
) -> np.ndarray:
    """Return first design of each of the episodes side by side, (n_envs, n_parameters) indices."""
    designs: list[np.ndarray | None] = [None] * env.num_envs
    observations = env.reset()
    while any(design is None for design in designs):
        masks = {"action_masks": np.stack(env.env_method("action_masks"))} if has_masks else {}
        actions, _ = algorithm.predict(observations, deterministic=deterministic, **masks)
        observations, _, ends, infos = env.step(actions)
        for row in np.flatnonzero(ends):
            if designs[row] is None:
                designs[row] = infos[row]["indices"]
    return np.stack([design for design in designs if design is not None])
