"""Run the searches of experiments/moe-searches.md; print what each finds, beats and lies next to.

    python -m experiments.moe_searches [REFERENCE]

REFERENCE is a folder of measured serving (`measured/serving.csv`); with it the script names the
measured row nearest to each design that was found. Each search starts from the default design, so
that what it beats is its first evaluation.
"""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from archgym.simulators.moe import MoeSimulator
from archgym.studies.study import Study
from archgym.tasks.task import Task
from evidence.moe.measured import Measured, read_serving


@dataclass(frozen=True)
class Search:
    """A search that people would run.

    Attributes:
      name: Heading.
      options: Options of the simulator.
      workload: Workload.
      objective: Named objective.
      budget: Evaluations.
      seed: Random seed of the agent.
      measured: Model, GPU and GPUs of the rows to compare with; empty for none.
    """

    name: str
    options: Mapping[str, str]
    workload: str
    objective: str
    budget: int
    seed: int = 0
    measured: tuple[str, str, int] | None = None


SEARCHES: Final = (
    Search(
        "Mixtral on a 24 GB card",
        {"space": "edge-offload", "model": "mixtral-8x7b", "hardware": "rtx-4090"},
        "chat", "latency", 100,
    ),
    Search(
        "gpt-oss-120b on one H100, TPOT at most 10 ms",
        {
            "space": "closed-loop", "model": "gpt-oss-120b", "hardware": "h100", "tpot_ms": "10",
        },
        "chat-1k", "throughput-as-promised", 60, measured=("gpt-oss-120b", "H100", 1),
    ),
    Search(
        "DeepSeek-R1 on 8 H200, TTFT at most 1 s and TPOT at most 25 ms",
        {
            "space": "closed-loop", "engine": "sglang", "ttft_ms": "1000", "tpot_ms": "25",
        },
        "chat-1k", "throughput-as-promised", 60, measured=("DeepSeek-R1", "H200", 8),
    ),
)  # fmt: skip
SHOWN: Final = (
    "tpot_mean_ms", "ttft_mean_ms", "output_per_s", "goodput_per_s", "promised_percent",
    "memory_gb", "degraded_percent",
)  # fmt: skip


def main() -> None:
    """Run all searches."""
    reference = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    rows: list[Measured] = []
    if reference is not None:
        inside = reference / "moe"
        rows, _ = read_serving(inside if inside.is_dir() else reference)
    for search in SEARCHES:
        simulator = MoeSimulator(**search.options)
        task = Task.make(simulator, search.workload, search.objective)
        default = simulator.space.design_at(simulator.space.default_indices)
        print(f"\n{search.name} ({search.budget} evaluations)")
        with TemporaryDirectory() as folder:
            study = Study.create(
                Path(folder) / "runs", task, "extra_trees",
                seed=search.seed, budget=search.budget, start=[default],
            )  # fmt: skip
            best = study.run().best
        if best is None:
            print("  no design is feasible")
            continue
        workload = simulator.workload(search.workload)
        before = simulator.evaluate(default, workload)
        changed = {k: v for k, v in dict(best.design).items() if default[k] != v}
        print("  design:", ", ".join(f"{name}={value}" for name, value in changed.items()))
        assert best.metrics is not None
        for name in SHOWN:
            print(f"  {name}: {best.metrics[name]:.4g} (default {before[name]:.4g})")
        if search.measured is not None and rows:
            print("  nearest:", nearest(rows, search.measured, dict(best.design)))


def nearest(rows: list[Measured], of: tuple[str, str, int], design: Mapping[str, Any]) -> str:
    """Return the measured row with 1,024 tokens and the clients nearest to a design's."""
    model, gpu, n_gpus = of
    same = [
        row
        for row in rows
        if (row.names[0], row.names[2], row.options["lengths"]) == (model, gpu, "1024+1024")
    ]
    if not same:
        return "no row of this model and GPU"

    def distance(row: Measured) -> tuple[int, float]:
        clients = math.log(row.clients / float(design["clients"]))
        return abs(row.n_gpus - n_gpus), abs(clients)

    row = min(same, key=distance)
    return (
        f"{' '.join(row.names)}, {row.options['release']}, tensor {row.design['tensor']}, data "
        f"{row.design['data']}, {row.clients} clients: TPOT {row.tpot_ms:.1f} ms, TTFT "
        f"{row.ttft_ms:.0f} ms, {row.output_per_s * row.n_gpus:,.0f} tokens/s"
    )


if __name__ == "__main__":
    main()
