"""Searches of MoE serving at each fidelity, whose best designs the other fidelity evaluates.

python -m experiments.moe_fidelities [BUDGET] [SEED]
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from archgym.simulators.moe import MoeSimulator
from archgym.studies.study import Study
from archgym.tasks.task import Task

OPTIONS: Final = {
    "space": "closed-loop", "model": "gpt-oss-120b", "hardware": "hgx-h200", "tpot_ms": "10",
}  # fmt: skip
FIDELITIES: Final = ("steps", "full")
_BUDGET: Final = 200


def main() -> None:
    """Search at each fidelity, and print processor time, best design and both rewards."""
    budget = int(sys.argv[1]) if len(sys.argv) > 1 else _BUDGET
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    tasks = {
        fidelity: Task.make(MoeSimulator(**OPTIONS, fidelity=fidelity), "chat-128")
        for fidelity in FIDELITIES
    }
    for fidelity, task in tasks.items():
        # Kernels are compiled, and routing drawn, before the clock starts.
        task.evaluate(task.space.default_indices[None, :])
        started = time.process_time()
        with TemporaryDirectory() as folder:
            study = Study.create(Path(folder) / "runs", task, "genetic", seed=seed, budget=budget)
            best = study.run().best
        took_s = time.process_time() - started
        assert best is not None
        indices = task.space.indices_of(best.design)[None, :]
        rewards = {name: float(each.evaluate(indices).reward[0]) for name, each in tasks.items()}
        print(
            f"{fidelity}: {budget} evaluations in {took_s:.1f} s of processor time, "
            f"{took_s / budget * 1e3:.0f} ms each"
        )
        print("  best:", ", ".join(f"{name}={value}" for name, value in best.design.items()))
        print("  reward:", ", ".join(f"{name} {value:.4f}" for name, value in rewards.items()))


if __name__ == "__main__":
    main()
