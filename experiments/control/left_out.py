"""Choose the slope of a guard on training numbers and programs that a network was not trained on.

Prints what a network saves over the best static settings in hindsight on episodes of its own
programs that no network was trained on, from `train-100` on, and on those of other programs. None
of these is a held-out episode or a held-out program.
"""

import argparse
from pathlib import Path

import numpy as np

from archgym.control.imitation import guarded
from archgym.control.policies import Network
from archgym.control.tasks import ControlTask, hindsight, roll, task_of


def saved(task: ControlTask, network: Network, first: int, n: int) -> float:
    """Return the mean share of the best static cost that a network saves, in percent."""
    found = []
    for name in (f"train-{number}" for number in range(first, first + n)):
        network.start(task, name)
        found.append(1.0 - roll(task, name, network.act).score / hindsight(task, name)[1])
    return 100.0 * float(np.mean(found))


def main() -> None:
    """Print a line for each slope."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", type=Path)
    parser.add_argument("--task", required=True)
    parser.add_argument("--others", required=True, help="task of other programs")
    parser.add_argument("--fallback", default="hand")
    parser.add_argument("--slopes", type=float, nargs="+", default=[0.0, 1.0, 4.0])
    parser.add_argument("--episodes", type=int, default=6)
    options = parser.parse_args()
    task, others = task_of(options.task), task_of(options.others)
    network = Network.read(options.network)
    for slope in options.slopes:
        chosen = guarded(network, task, options.fallback, slope) if slope else network
        own = saved(task, chosen, 100, options.episodes)
        print(
            f"{slope:g}: own {own:.2f} %, other {saved(others, chosen, 0, options.episodes):.2f} %"
        )


if __name__ == "__main__":
    main()
