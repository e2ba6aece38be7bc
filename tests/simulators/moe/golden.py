"""Writes `data/golden.csv` again: the default design and random ones of every space.

Run `python -m tests.simulators.moe.golden` where a change of the model is meant to change numbers,
and raise the simulator's version.
"""

import csv
from pathlib import Path

import numpy as np

import archgym.simulators.moe as package
from archgym.simulators.moe.metrics import METRICS
from archgym.simulators.moe.simulator import MoeSimulator
from archgym.simulators.moe.space import SPACE_NAMES

_RANDOM = 3
_INFEASIBLE = {"edge-offload": {"cache_percent": 100, "expert_bits": 16}}


def main() -> None:
    """Writes the file."""
    path = Path(package.__file__).parent / "data" / "golden.csv"
    with path.open("w", encoding="utf-8", newline="") as handle:
        names = [spec.name for spec in METRICS if spec.formula is None]
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["space", "workload", "number", "indices", "reason", *names])
        for space in SPACE_NAMES:
            simulator = MoeSimulator(space)
            default = simulator.space.default_indices
            drawn = simulator.space.sample(_RANDOM, np.random.default_rng(11))
            indices = np.concatenate([default[None, :], drawn])
            if space in _INFEASIBLE:
                changed = {**simulator.space.design_at(default), **_INFEASIBLE[space]}
                indices = np.concatenate([indices, simulator.space.indices_of(changed)[None, :]])
            # A closed loop's longer workloads take seconds a design.
            n_workloads = 1 if space == "closed-loop" else None
            for workload in simulator.workload_names()[:n_workloads]:
                result = simulator.evaluate_batch(indices, simulator.workload(workload))
                for number, row in enumerate(indices):
                    values = ["" if np.isnan(v) else repr(float(v)) for v in result.values[number]]
                    where = " ".join(str(i) for i in row)
                    reason = int(result.reason[number])
                    writer.writerow([space, workload, number, where, reason, *values])


if __name__ == "__main__":
    main()
