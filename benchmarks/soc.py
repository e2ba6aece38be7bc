"""Kernel time of the SoC simulator, against FARSI's recorded time.

python benchmarks/soc.py
"""

import time
from collections.abc import Callable

import numpy as np

from archgym.simulators.soc import SocSimulator
from archgym.simulators.soc.simulator import FIDELITIES, run
from archgym.simulators.soc.workloads import SHIPPED

# Processor time of FARSI for one design [ms], measured by the authors of the reference rows.
FARSI_MS = (26.0, 180.0)


def speed() -> None:
    """Print the time of one design for each graph, and the ratio to FARSI's."""
    print("| workload | tasks | us a design | with decoding | FARSI / kernel |")
    print("|---|---:|---:|---:|---:|")
    for name in SHIPPED:
        simulator = SocSimulator(fidelity="farsi", graph=name)
        indices = simulator.space.canonical(_drawn(simulator, 4000, 0))
        designs, _ = simulator._space.machine_of(indices)
        workload = simulator.workload(name)
        kernel = _best(run, simulator.graph, designs, FIDELITIES["farsi"]) / 4000
        whole = _best(simulator.evaluate_batch, indices, workload) / 4000
        low, high = (1e-3 * ms / kernel for ms in FARSI_MS)
        print(
            f"| {name} | {len(simulator.graph.tasks)} | {1e6 * kernel:.1f} | {1e6 * whole:.1f} | "
            f"{low:,.0f} to {high:,.0f} |"
        )


def _drawn(simulator: SocSimulator, n: int, seed: int) -> np.ndarray:
    """Return random index vectors; of distinct systems nearly all have accelerators alone."""
    sizes = simulator.space.sizes
    return np.random.default_rng(seed).integers(sizes, size=(n, len(sizes)), dtype=np.int64)


def _best(work: Callable[..., object], *arguments: object) -> float:
    """Return the least processor time of five calls [s], as FARSI's was recorded."""
    work(*arguments)
    times = []
    for _ in range(5):
        started = time.thread_time()
        work(*arguments)
        times.append(time.thread_time() - started)
    return min(times)


if __name__ == "__main__":
    speed()
