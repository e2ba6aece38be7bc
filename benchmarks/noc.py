"""CPU time of networks on chip, and of BookSim 2 on the same designs in the same run.

Run it as `python -m benchmarks.noc BOOKSIM [--designs N] [--load L]` from the checkout. `BOOKSIM`
is the program that `make` leaves in `src` of BookSim 2 (commit 28f4329). Designs are drawn from the
default space with a fixed seed, each with one of the loads that ship. Kernels are compiled before.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from archgym.simulators.noc import NocSimulator
from evidence.noc.booksim import drawn, run


def main() -> None:
    """Run each design here and there, and print the times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("booksim", type=Path, help="program of BookSim 2")
    parser.add_argument("--designs", type=int, default=60, help="designs of the default space")
    parser.add_argument("--load", default="0.1", help="flits of 128 bits a cycle and node")
    arguments = parser.parse_args()
    warm = NocSimulator("mesh")
    warm.evaluate_batch(warm.space.default_indices[None], warm.workload("uniform"))
    times = []
    for name, options, design in drawn(arguments.designs):
        simulator = NocSimulator(**options | {"load": arguments.load})
        workload, indices = simulator.workload(name), simulator.space.indices_of(design)
        start = time.process_time()
        found = simulator.evaluate_batch(indices[None], workload)
        ours = time.process_time() - start
        stats, theirs = run(arguments.booksim, simulator, indices, workload)
        assert np.isfinite(found.values[0, 0]) == bool(stats), (name, design)
        times.append((ours, theirs, bool(stats)))
    ours, theirs, stable = np.array(times).T
    print(f"load {arguments.load}, CPU time of a design [ms]: here, BookSim, ratio")
    for label, rows in (("all", stable >= 0), ("stable", stable > 0), ("saturated", stable == 0)):
        if rows.any():
            here, there = 1e3 * ours[rows].mean(), 1e3 * theirs[rows].mean()
            count = int(rows.sum())
            print(f"{label:10}{count:4} designs {here:8.1f} {there:8.1f} {there / here:6.1f}")


if __name__ == "__main__":
    main()
