"""CPU time of the DRAM simulator on a fixed set of random designs and workloads.

Run it as `python benchmarks/dram_exact.py [--designs N] [--repeats R]`. Each
device runs N random designs of the default space on each workload, R times over; the least CPU time
of a workload counts. The checksum covers every output of every run: an optimisation must keep it.
With `--requests N` it runs the default design on one trace of N random requests instead.
"""

import argparse
import resource
import statistics
import time
import zlib

import numpy as np

from archgym.evaluation.capabilities import facts_about
from archgym.evaluation.simulator import Workload
from archgym.simulators.dram import DramSimulator
from archgym.simulators.dram.controllers.dramsys import dramsys_of
from archgym.simulators.dram.workloads.trace import Trace

DEVICES = ("ddr3-1600", "ddr4-2400", "hbm2", "lpddr4-3200")


def main() -> None:
    """Measure each device and print its row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--designs", type=int, default=8, help="random designs of each workload")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the fastest counts")
    parser.add_argument("--devices", nargs="+", default=DEVICES, help="devices")
    parser.add_argument("--requests", type=int, default=0, help="requests of one long trace")
    arguments = parser.parse_args()
    if arguments.requests:
        run_long(arguments.requests)
        return
    print("CPU time of 10,000 requests [ms], over the workloads; checksum of all outputs")
    print(f"{'device':14}{'median':>8}{'mean':>8}{'least':>8}{'most':>8}  checksum")
    everything = []
    for device in arguments.devices:
        simulator = DramSimulator(device=device)
        times, checksum = measure(simulator, arguments.designs, arguments.repeats)
        everything += times
        print(row(device, times) + f"  {checksum:08x}", flush=True)
    print(row("all", everything))


def run_long(n: int) -> None:
    """Run the default design on one trace of random requests; print time, memory and counts."""
    rng = np.random.default_rng(1)
    trace = Trace(
        f"random-{n}",
        np.cumsum(rng.integers(1, 8, n)),
        rng.random(n) < 0.3,
        64 * rng.integers(0, 2**24, n),
    )
    simulator = DramSimulator()
    simulator.evaluate_batch(simulator.space.default_indices[None], simulator.workload("stream"))
    workload = Workload(trace.name, trace.digest, trace)
    start = time.process_time()
    found = simulator.evaluate_batch(simulator.space.default_indices[None], workload)
    seconds = time.process_time() - start
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    column = {m.name: found.values[0, i] for i, m in enumerate(simulator.metrics)}
    served = sum(column[name] for name in ("row_hits", "row_misses", "row_conflicts"))
    print(
        f"{n:,} requests: {seconds:.1f} s of CPU time, peak memory {peak_gb:.2f} GB, "
        f"{served:,.0f} served in {column['total_time_ns'] / 1e6:.3f} ms"
    )


def measure(simulator: DramSimulator, n_designs: int, repeats: int) -> tuple[list[float], int]:
    """Return CPU times of 10,000 requests by workload [ms], and a checksum of the outputs."""
    rng = np.random.default_rng(17)
    times, checksum, controller = [], 0, dramsys_of(simulator)
    for name in simulator.workload_names():
        workload = simulator.workload(name)
        indices = simulator.space.sample(n_designs, rng)
        # Compiles the kernel and decodes the trace.
        controller.outputs(simulator.space, indices[:1], workload.content)
        seconds = float("inf")
        for _ in range(repeats):
            start = time.process_time()
            outputs = controller.outputs(simulator.space, indices, workload.content)
            seconds = min(seconds, time.process_time() - start)
        checksum = zlib.crc32(np.ascontiguousarray(outputs).tobytes(), checksum)
        n_bursts = int(facts_about(simulator, workload)["bursts"][0])
        times.append(1e3 * seconds / n_designs / n_bursts * 1e4)
    return times, checksum


def row(name: str, times: list[float]) -> str:
    """Return one row of the table."""
    return (
        f"{name:14}{statistics.median(times):8.2f}{statistics.mean(times):8.2f}"
        f"{min(times):8.2f}{max(times):8.2f}"
    )


if __name__ == "__main__":
    main()
