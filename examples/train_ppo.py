"""Trains Stable-Baselines3's PPO on DRAM controllers and says where the time went.

Run it with ``python examples/train_ppo.py``; it needs ``pip install 'archgym[rl]'``.
"""

import os
import time

import numpy as np
import torch
from stable_baselines3 import PPO

from archgym import Task, Trials
from archgym.envs import Sb3VecEnv, evaluator
from archgym.tasks.workers import executor_for

STEPS = 20_000


def main() -> None:
    """Trains for 20,000 steps, each a whole design, and prints the best design that was seen."""
    # Two small layers gain nothing from threads, which the simulator can use.
    torch.set_num_threads(1)
    task = Task.make("dram", workload="cloud-1", objective="least-time")
    best_reward, best_design = -np.inf, task.space.default_indices
    simulation_s = 0.0

    with executor_for(workers=os.cpu_count() or 1) as executor:
        simulate = evaluator(task, executor)

        def timed(indices: np.ndarray) -> Trials:
            nonlocal best_reward, best_design, simulation_s
            start = time.perf_counter()
            trials = simulate(indices)
            simulation_s += time.perf_counter() - start
            row = int(trials.reward.argmax())
            if trials.reward[row] > best_reward:
                best_reward, best_design = trials.reward[row], trials.indices[row]
            return trials

        env = Sb3VecEnv(task, n_envs=64, evaluate=timed)
        # Every episode is one step, so nothing is discounted; short rollouts give many updates.
        agent = PPO("MlpPolicy", env, n_steps=4, batch_size=256, gamma=0.0, seed=0, device="cpu")
        start = time.perf_counter()
        agent.learn(STEPS)
        wall_s = time.perf_counter() - start

    rewards = [episode["r"] for episode in agent.ep_info_buffer or ()]
    print(f"{agent.num_timesteps:,} steps in {wall_s:.1f} s; {simulation_s / wall_s:.0%} of it is")
    print(f"simulation, {agent.num_timesteps / simulation_s:,.0f} designs/s.")
    print(
        f"Mean reward of the last {len(rewards)} episodes {np.mean(rewards):.4f}, best ever ",
        end="",
    )
    print(f"{best_reward:.4f} (the default design has 0). The best design:")
    for name, value in task.space.design_at(best_design).items():
        print(f"  {name} = {value}")


if __name__ == "__main__":
    main()
