"""Rankings of memory controllers on a program that waits: three ways to simulate the same program.

archgym trace record --instructions --max-instructions 60000 --from-function walk -- ./walk
python experiments/dram_waiting.py walk.champsimtrace.xz
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from archgym.simulators.dram.workloads.shipped import request_trace
from archgym.simulators.dram.workloads.trace import write_trace
from archgym.tasks.task import Task
from archgym.traces.caches import CacheSize
from archgym.traces.filtering import memory_requests
from archgym.traces.sources import program_or_parts

DEVICE = "ddr4"
N_DESIGNS = 40
# The default core has 512 KiB of L2 and 2 MiB of last-level cache, and 4 GHz.
L1, LLC, CLOCK_MHZ, IPC = "48K:12", "2M:16", 4000, 2.0
INSTRUCTIONS = 200_000
CAPACITY = 2**30


def times(task: Task, designs: list[dict[str, object]], metric: str) -> np.ndarray:
    """Return a metric of designs, (n,); what they leave out is the default's."""
    default = task.space.design_at(task.space.default_indices)
    indices = [task.space.indices_of(task.space.design({**default, **each})) for each in designs]
    place = [spec.name for spec in task.metrics].index(metric)
    return np.array([task.evaluate(np.array([one])).values[0, 0, place] for one in indices])


def main() -> None:
    """Draw controllers, run all three ways, and print how their orders agree."""
    source = sys.argv[1]
    instructions = 0 if Path(source).exists() else INSTRUCTIONS
    requests = memory_requests(
        lambda: program_or_parts(source, instructions),
        first=CacheSize.parse("first", L1),
        last=CacheSize.parse("last", LLC),
        capacity_bytes=CAPACITY,
    )
    waiting = request_trace(requests, "waiting", ipc=IPC, clock_mhz=CLOCK_MHZ)
    fixed = replace(waiting, name="fixed", waits_for=np.zeros(0, np.int64))
    share = (requests.waits_for >= 0).mean()
    print(f"{len(requests):,} requests, {share:.1%} wait for an earlier answer")
    with tempfile.TemporaryDirectory() as folder:
        tasks = {}
        for trace in (fixed, waiting):
            write_trace(trace, path := Path(folder) / f"{trace.name}.stl")
            tasks[trace.name] = Task.make("dram", workload=str(path), device=DEVICE)
        rng = np.random.default_rng(0)
        space = tasks["fixed"].space
        drawn = [space.design_at(one) for one in space.sample(N_DESIGNS, rng)]
        found = {
            "fixed, mean latency": times(tasks["fixed"], drawn, "mean_latency_ns"),
            "fixed, total time": times(tasks["fixed"], drawn, "total_time_ns"),
            "waiting, total time": times(tasks["waiting"], drawn, "total_time_ns"),
        }
    both = Task.make("cpu+dram", workload=source, **{"dram.device": DEVICE})
    joint = [{f"dram.{name}": value for name, value in each.items()} for each in drawn]
    found["cpu+dram, time"] = times(both, joint, "time_ns")
    built = np.all([np.isfinite(column) for column in found.values()], axis=0)
    truth = found["cpu+dram, time"][built]
    print(f"{built.sum()} designs")
    for name, column in found.items():
        kept = column[built]
        loss = truth[kept.argmin()] / truth.min() - 1
        tau = kendalltau(kept, truth)[0]
        print(
            f"{name}: {kept.min():,.0f} to {kept.max():,.0f} ns; tau {tau:.2f}; "
            f"its best takes {loss:.1%} longer with the core"
        )


if __name__ == "__main__":
    main()
