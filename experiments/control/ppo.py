"""Train PPO on a control task and write its network: one file for each training seed."""

import argparse
import time
from pathlib import Path

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from archgym.control.policies import Network
from archgym.envs.control import ControlEnv

torch.set_num_threads(1)


def main() -> None:
    """Train one network for each seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="dram-locality")
    parser.add_argument("--reward", default="saved")
    parser.add_argument("--steps", type=int, default=120_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--gamma", type=float, default=0.5)
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        started = time.process_time()
        env = DummyVecEnv(
            [lambda: ControlEnv(options.task, reward=options.reward) for _ in range(8)]
        )
        model = PPO(
            "MlpPolicy",
            VecMonitor(env),
            n_steps=256,
            batch_size=256,
            n_epochs=6,
            gamma=options.gamma,
            gae_lambda=0.9,
            ent_coef=0.01,
            learning_rate=1e-3,
            policy_kwargs={"net_arch": [64, 64]},
            seed=seed,
            device="cpu",
        )
        model.learn(options.steps)
        network = Network.from_sb3(options.task, model)
        network.write(options.out / f"ppo-{options.task}-{options.reward}-{seed}.npz")
        rewards = [info["r"] for info in model.ep_info_buffer]
        print(
            f"seed {seed}: {options.steps} epochs, {time.process_time() - started:.0f} s of "
            f"processor time, last episodes' reward {sum(rewards) / len(rewards):.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
