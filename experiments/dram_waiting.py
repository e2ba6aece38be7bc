"""Rankings of memory controllers on a walk along a list, with and without waiting for memory.

archgym trace filter pointer-chase-4gb --ipc 2 --max-requests 2000 --capacity 16GiB -o walk.stl.gz
python experiments/dram_waiting.py walk.stl.gz
"""

import sys
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from archgym.evaluation.task import Task

VARIED = (
    "page_policy", "scheduler", "request_buffer_size", "address_mapping", "command_mux",
    "scheduler_buffer",
)  # fmt: skip
WAITING = {"arbiter": "Fifo", "max_active_transactions": 1}
N_DESIGNS = 150


def task(path: str, fixed: dict[str, Any]) -> Task:
    """Return the task of least latency with some parameters held."""
    return Task.make(
        "dram", workload=path, minimise="mean_latency_ns", fixed=fixed, addresses="wrap"
    )


def evaluated(one: Task, drawn: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Return metrics of designs, (n,) by name; what the task holds is as it holds it."""
    default = one.space.design_at(one.space.default_indices)
    designs = [one.space.indices_of(one.space.design({**default, **each})) for each in drawn]
    values = one.evaluate(np.array(designs)).values[:, 0]
    return {spec.name: values[:, place] for place, spec in enumerate(one.metrics)}


def main() -> None:
    """Draw designs, and print how both orders agree."""
    fixed, waiting = task(sys.argv[1], {"arbiter": "Simple"}), task(sys.argv[1], WAITING)
    rng = np.random.default_rng(0)
    varied = [p for p in fixed.space.parameters if p.name in VARIED]
    drawn = [{p.name: p.value(int(rng.integers(p.size))) for p in varied} for _ in range(N_DESIGNS)]
    free, chained = evaluated(fixed, drawn), evaluated(waiting, drawn)
    built = np.isfinite(free["total_time_ns"]) & np.isfinite(chained["total_time_ns"])
    latency, time = free["mean_latency_ns"][built], chained["total_time_ns"][built] / 1e3
    print(f"{built.sum()} designs; rank correlation {spearmanr(latency, time)[0]:.2f}")
    print(f"fixed times: mean latency {latency.min():.0f} to {latency.max():,.0f} ns")
    print(f"waiting: total time {time.min():.1f} to {time.max():.1f} us")
    print(f"best by fixed times takes {time[latency.argmin()] / time.min() - 1:.1%} longer")


if __name__ == "__main__":
    main()
