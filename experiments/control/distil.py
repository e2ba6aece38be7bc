"""Distil a network into a rule without state: a small tree over seven counters of eight bits."""

import argparse
from pathlib import Path

from archgym.control.policies import Network
from archgym.control.price import priced
from archgym.control.tasks import task_of


def main() -> None:
    """Write the rule of one network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", type=Path)
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--leaves", type=int, default=8)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    network = Network.read(options.network)
    task = task_of(network.task)
    names = task.episodes("train")[: options.episodes]
    table = priced(task, network, names, options.leaves)[1]
    if not table.source:
        parser.error(f"rules see nothing of {task.name}")
    options.out.write_text(table.source)
    agrees = f"agrees with the network in {100 * table.agreement:.1f} % of epochs"
    print(f"{options.out}: {agrees}, {table.bits} bits, {table.operations} comparisons an epoch")


if __name__ == "__main__":
    main()
