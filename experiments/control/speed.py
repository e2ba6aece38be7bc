"""Measure epochs a second of environments of control, observations and rewards included."""

import argparse
import statistics
import time

import numpy as np

from archgym.control.tasks import Episode, reference, task_of
from archgym.envs import ControlEnv


def speeds(name: str, repeats: int) -> tuple[list[float], list[float]]:
    """Return epochs a second of processor time, of the environment and of its runs alone."""
    task = task_of(name)
    episode = task.episodes("train")[0]
    env = ControlEnv(task)
    fixed = np.int64(reference(task))
    choice = (Episode(task, episode).run.choice(task.actions[fixed]),)
    whole, alone = [], []
    for _ in range(repeats):
        env.reset(options={"episode": episode})
        started, n, is_over = time.thread_time(), 0, False
        while not is_over:
            is_over, n = env.step(fixed)[2], n + 1
        whole.append(n / (time.thread_time() - started))
        run = task.begin(episode)
        started = time.thread_time()
        for number in range(n):
            run.advance(choice, (number + 1) * task.epoch)
        alone.append(n / (time.thread_time() - started))
    return whole, alone


def main() -> None:
    """Print a line for each task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", default=["dram-locality", "cpu-mixture", "moe-bursts"])
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    for name in options.tasks:
        whole, alone = speeds(name, options.repeats)
        print(
            f"{name}: {statistics.median(whole):,.0f} epochs/s (best {max(whole):,.0f}), "
            f"runs alone {statistics.median(alone):,.0f} (best {max(alone):,.0f})"
        )


if __name__ == "__main__":
    main()
