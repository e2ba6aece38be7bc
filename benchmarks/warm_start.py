"""Evaluations until a search is within 1 % of the best known, with and without a warm start.

    python benchmarks/warm_start.py --out warm_start.md

Each case has a task and an earlier task of the same simulator with another workload. A genetic
search of the earlier task is the study to start from. Ten seeds of each agent then search the
task, cold and warm. The best known design is the best of all runs of the case. All runs share a
cache, so that no design is simulated twice.
"""

import argparse
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import archgym as ag

WITHIN = math.log(1.01)
"""Reward that 1 % of the objective's metrics is worth, in their weighted geometric mean."""


@dataclass(frozen=True)
class Case:
    """A task, and the earlier workload whose study it starts from."""

    simulator: str
    space: str | None
    objective: str
    workload: str
    earlier: str

    def task(self, workload: str) -> ag.Task:
        """Return the task on a workload."""
        return ag.Task.make(self.simulator, workload, space=self.space, objective=self.objective)


CASES = (
    Case("translation", "hardware", "speed-per-area", "graph-search", "kmer-count"),
    Case("dram", None, "balanced", "bursty-rw", "mixed-rw"),
)
AGENTS = ("genetic", "extra_trees")


def curves(
    case: Case, agent: str, seeds: int, budget: int, folder: Path, **options: Any
) -> list[np.ndarray]:
    """Return the best reward so far of each seed, (budget,) each."""
    task = case.task(case.workload)
    found = []
    for seed in range(seeds):
        kind = "warm" if options else "cold"
        result = ag.search(
            task,
            agent=agent,
            seed=seed,
            budget=budget,
            cache=folder / "cache",
            folder=folder / f"{kind}-{agent}-{seed}",
            **options,
        )
        found.append(result.log.curve())
    return found


def evaluations_to(curves: list[np.ndarray], goal: float) -> list[int | None]:
    """Return by seed the evaluations until the goal is reached; None where it is not."""
    return [int(np.argmax(c >= goal)) + 1 if (c >= goal).any() else None for c in curves]


def row(label: str, counts: list[int | None], budget: int) -> str:
    """Return a line of the table: median, range and how many seeds reached the goal."""
    reached = [count for count in counts if count is not None]
    median = float(np.median([budget + 1 if count is None else count for count in counts]))
    shown = f"over {budget}" if median > budget else f"{median:g}"
    spread = f"{min(reached)} to {max(reached)}" if reached else "–"
    return f"| {label} | {shown} | {spread} | {len(reached)} of {len(counts)} |"


def main() -> None:
    """Run all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="Seeds of each agent.")
    parser.add_argument("--budget", type=int, default=150, help="Evaluations of each search.")
    parser.add_argument("--earlier", type=int, default=300, help="Evaluations of the study before.")
    parser.add_argument("--out", type=Path, help="File of the table (default: print it).")
    given = parser.parse_args()
    lines = [
        "| task, agent | median evaluations | range | seeds within 1 % |",
        "|---|---|---|---|",
    ]
    for case in CASES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            earlier = ag.search(
                case.task(case.earlier), budget=given.earlier, seed=100, folder=folder / "earlier"
            )
            runs = {}
            for agent in AGENTS:
                for kind, options in (("cold", {}), ("warm", {"warm_start": [earlier.folder]})):
                    runs[agent, kind] = curves(
                        case, agent, given.seeds, given.budget, folder, **options
                    )
            best = max(float(curve[-1]) for each in runs.values() for curve in each)
            label = f"{case.simulator}, {case.workload} after {case.earlier}"
            for (agent, kind), each in runs.items():
                counts = evaluations_to(each, best - WITHIN)
                lines.append(row(f"{label}, {agent}, {kind}", counts, given.budget))
                print(lines[-1], f"best {best:.4f}", flush=True)
    if given.out is not None:
        given.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
