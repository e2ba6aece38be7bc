"""Train policies of a control task, one network for each training seed, by imitation or PPO."""

import argparse
import time
from pathlib import Path

from archgym.control.imitation import imitate
from archgym.control.policies import Network
from archgym.control.tasks import task_of


def by_ppo(task: str, seed: int, options: argparse.Namespace) -> Network:
    """Return the network of PPO, two hidden layers of 64."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    from archgym.envs.control import ControlEnv

    torch.set_num_threads(1)
    model = PPO(
        "MlpPolicy",
        DummyVecEnv([lambda: ControlEnv(task, reward=options.reward) for _ in range(8)]),
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
    return Network.from_sb3(task, model.learn(options.steps))


def main() -> None:
    """Train one network for each seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="dram-locality")
    parser.add_argument("--method", choices=("imitation", "ppo"), default="imitation")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--rounds", type=int, default=3, help="of imitation")
    parser.add_argument("--episodes", type=int, default=24, help="of a round of imitation")
    parser.add_argument("--horizon", type=int, default=1, help="of look-ahead, as of imitation")
    parser.add_argument("--fast", action="store_true", help="labels of runs under each action")
    parser.add_argument("--steps", type=int, default=50_000, help="of PPO")
    parser.add_argument("--gamma", type=float, default=0.5, help="of PPO")
    parser.add_argument("--reward", default="saved", help="of PPO")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        started = time.process_time()
        if options.method == "ppo":
            network = by_ppo(options.task, seed, options)
        else:
            network = imitate(
                task_of(options.task),
                seed=seed,
                rounds=options.rounds,
                episodes=options.episodes,
                horizon=options.horizon,
                exact=not options.fast,
            )
        path = options.out / f"{options.method}-{options.task}-{seed}.npz"
        network.write(path)
        print(f"{path}: {time.process_time() - started:.0f} s of processor time", flush=True)


if __name__ == "__main__":
    main()
