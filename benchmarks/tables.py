"""Measures tables: building, look-ups a second in batch, environment steps a second.

Run as ``python benchmarks/tables.py``; prints one line for each case, on one thread. The table has
the designs and metrics of the DRAM space `archgym-2023`, with numbers that are made up, since
simulating them takes minutes; ``python benchmarks/tables.py TABLE`` measures one that there is.
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from archgym.envs import DesignVectorEnv
from archgym.evaluation.simulator import BatchResult, Simulator, Workload, default_workload
from archgym.simulators.dram import DramSimulator
from archgym.tables import TableSimulator, build_table
from archgym.tasks.task import Task

N_LOOKUPS = 2**20
N_ENVS = 4096


class MadeUp(Simulator):
    """Designs and metrics of the DRAM simulator, with numbers at once."""

    def __init__(self) -> None:
        real = DramSimulator("archgym-2023")
        self.spec = replace(real.spec, version=0, default_workload="made-up", options={})
        self._weights = np.random.default_rng(0).random(
            (self.space.n_parameters, len(self.metrics))
        )

    def workload_names(self) -> tuple[str, ...]:
        """Return the name of the only workload."""
        return ("made-up",)

    def workload(self, name: str | Path) -> Workload:
        """Return the only workload, whatever the name."""
        return Workload("made-up", "0" * 64, None)

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return made-up numbers, a tenth of which differ."""
        values = 1.0 + np.floor(10 * (indices % 5) @ self._weights)
        return BatchResult(values, np.zeros(len(indices), dtype=np.int16))


def measure_build(out: Path) -> None:
    """Build the table of made-up numbers."""
    started = time.process_time()
    build_table(Task.make(MadeUp()), out, workers=1)
    seconds = time.process_time() - started
    rows = TableSimulator(out).rows
    print(
        f"build: {rows:,} designs in {seconds:.1f} s of CPU, {rows / seconds:,.0f} designs/s, "
        f"{out.stat().st_size / 1e6:.1f} MB"
    )


def measure_lookups(table: TableSimulator, batch: int) -> None:
    """Look designs up that are drawn from all combinations."""
    workload = table.workload(default_workload(table))
    rng = np.random.default_rng(0)
    drawn = rng.integers(table.space.sizes, size=(N_LOOKUPS, table.space.n_parameters))
    started = time.process_time()
    for start in range(0, N_LOOKUPS, batch):
        table.evaluate_batch(drawn[start : start + batch], workload)
    seconds = time.process_time() - started
    print(f"look-ups in batches of {batch:7,d}: {N_LOOKUPS / seconds:12,.0f}/s")


def measure_steps(path: Path, formulation: str, actions: str, n_envs: int) -> None:
    """Step a vector environment with random actions, which are drawn before."""
    env = DesignVectorEnv(
        Task.make(stand_in=path), n_envs, formulation=formulation, actions=actions
    )
    env.reset(seed=0)
    env.action_space.seed(0)
    drawn = [env.action_space.sample() for _ in range(8)]
    n_steps = max(8, 2**17 // n_envs)
    env.step(drawn[0])
    started = time.process_time()
    for number in range(n_steps):
        env.step(drawn[number % len(drawn)])
    seconds = time.process_time() - started
    print(
        f"{formulation:10s} {actions:13s} {n_envs:5d} environments: "
        f"{n_steps * n_envs / seconds:10,.0f} steps/s"
    )
    env.close()


def main() -> None:
    """Measures everything."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "table.parquet"
        if len(sys.argv) < 2:
            measure_build(path)
        started = time.process_time()
        table = TableSimulator(path)
        opened = time.process_time()
        table.evaluate_batch(
            table.space.default_indices[None, :], table.workload(default_workload(table))
        )
        read = time.process_time()
        print(f"open: {opened - started:.3f} s of CPU; first look-up: {read - opened:.3f} s")
        for batch in (1024, 16384, N_LOOKUPS):
            measure_lookups(table, batch)
        for formulation in ("whole", "sequential"):
            for actions in ("multidiscrete", "box"):
                for n_envs in (256, N_ENVS):
                    measure_steps(path, formulation, actions, n_envs)


if __name__ == "__main__":
    main()
