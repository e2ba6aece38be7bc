"""Train policies of a control task, one for each training seed, by imitation, PPO or DQN."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import block_diag

from archgym.control.imitation import guarded, imitate
from archgym.control.policies import Network
from archgym.control.tasks import task_of

_NET = {"net_arch": [64, 64]}


def model_of(task: str, method: str, seed: int, options: argparse.Namespace) -> Any:
    """Return a model of Stable-Baselines3 before its training, two hidden layers of 64."""
    import torch

    from archgym.envs import Sb3VecEnv

    torch.set_num_threads(1)
    envs = Sb3VecEnv(task_of(task), n_envs=8, reward=options.reward)
    common: dict[str, Any] = {"gamma": options.gamma, "seed": seed, "device": "cpu"}
    if method == "dqn":
        from stable_baselines3 import DQN

        return DQN(
            "MlpPolicy", envs, learning_rate=1e-3, buffer_size=50_000, learning_starts=1_000,
            batch_size=128, train_freq=4, gradient_steps=8, target_update_interval=1_000,
            exploration_fraction=0.3, exploration_final_eps=0.02, policy_kwargs=_NET, **common,
        )  # fmt: skip
    on_policy: dict[str, Any] = {
        "n_epochs": 6,
        "gae_lambda": 0.9,
        "ent_coef": 0.01,
        "learning_rate": 1e-3,
    }
    if method == "recurrent":
        from sb3_contrib import RecurrentPPO

        # An update sees whole episodes of 80 epochs.
        kwargs = {"net_arch": [64], "lstm_hidden_size": 64, "enable_critic_lstm": True}
        return RecurrentPPO(
            "MlpLstmPolicy", envs, n_steps=160, batch_size=160, policy_kwargs=kwargs,
            **on_policy, **common,
        )  # fmt: skip
    from stable_baselines3 import PPO

    return PPO(
        "MlpPolicy", envs, n_steps=256, batch_size=256, policy_kwargs=_NET, **on_policy, **common
    )


def averaged(networks: Sequence[Network]) -> Network:
    """Return one network that computes the mean preferences of several, side by side."""
    first, *inner, last = zip(*(network.layers for network in networks), strict=True)
    weights, biases = zip(*first, strict=True)
    layers = [(np.concatenate(weights, axis=1), np.concatenate(biases))]
    for blocks in inner:
        weights, biases = zip(*blocks, strict=True)
        layers.append((block_diag(*weights), np.concatenate(biases)))
    weights, biases = zip(*last, strict=True)
    layers.append((np.concatenate(weights) / len(networks), np.mean(biases, axis=0)))
    return Network(networks[0].task, layers, "relu", "imitation")


def main() -> None:
    """Train one network for each seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="dram-locality")
    parser.add_argument(
        "--method", choices=("imitation", "ppo", "dqn", "recurrent"), default="imitation"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--rounds", type=int, default=3, help="of imitation")
    parser.add_argument("--episodes", type=int, default=24, help="of a round of imitation")
    parser.add_argument("--horizon", type=int, default=1, help="of look-ahead, as of imitation")
    parser.add_argument("--fast", action="store_true", help="labels of runs under each action")
    parser.add_argument("--members", type=int, default=1, help="networks that are averaged")
    parser.add_argument("--fallback", help="rule of a guard, such as hand, of imitation")
    parser.add_argument("--slope", type=float, default=4.0, help="of the guard")
    parser.add_argument("--steps", type=int, default=50_000, help="of reinforcement learning")
    parser.add_argument("--gamma", type=float, default=0.5, help="of reinforcement learning")
    parser.add_argument("--reward", default="saved", help="of reinforcement learning")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        started = time.process_time()
        # A task with options has the networks' names of the task without, as `measure.py` wants.
        path = options.out / f"{options.method}-{options.task.partition(':')[0]}-{seed}.npz"
        if options.method != "imitation":
            model = model_of(options.task, options.method, seed, options).learn(options.steps)
            if options.method == "recurrent":
                path = path.with_suffix(".zip")
                model.save(path)
            else:
                Network.from_sb3(options.task, model).write(path)
        else:
            members = [
                imitate(
                    task_of(options.task),
                    seed=options.members * seed + member,
                    rounds=options.rounds,
                    episodes=options.episodes,
                    horizon=options.horizon,
                    exact=not options.fast,
                )
                for member in range(options.members)
            ]
            network = averaged(members)
            if options.fallback:
                network = guarded(network, options.task, options.fallback, options.slope)
            network.write(path)
        print(f"{path}: {time.process_time() - started:.0f} s of processor time", flush=True)


if __name__ == "__main__":
    main()
