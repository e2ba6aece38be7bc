"""Wraps a command-line program as a simulator and searches its designs: see README.md."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import archgym as ag
from archgym.evaluation.external import Infeasible

PROGRAM = Path(__file__).with_name("cache_program.py")
TERMS = (ag.Term("latency_ns", "minimise", 2.0), ag.Term("area_mm2", "minimise", 1.0))


class CacheSimulator(ag.ExternalSimulator):
    """A cache, as `cache_program.py` models it."""

    spec = ag.SimulatorSpec(
        name="cache",
        space=ag.DesignSpace(
            "default",
            [
                ag.PowerOfTwo(name="capacity_kb", low=4, high=128, unit="kB", doc="What it holds."),
                ag.PowerOfTwo(name="ways", low=1, high=16, doc="Lines a set holds."),
                ag.PowerOfTwo(name="line_bytes", low=16, high=256, unit="B", doc="Size of a line."),
                ag.Categorical(name="policy", choices=("lru", "fifo", "mru"), doc="Eviction."),
            ],
        ),
        metrics=(
            ag.MetricSpec("latency_ns", "ns", "minimise", 0.01, "Mean time of an access."),
            ag.MetricSpec("area_mm2", "mm2", "minimise", 0.001, "Silicon area."),
        ),
        model_reasons=("The cache has fewer than eight sets.",),
        objectives={"balanced": ag.Objective("balanced", TERMS)},
        default_objective="balanced",
    )
    workloads: Mapping[str, str] = {"dense": "--stride=8", "sparse": "--stride=64"}

    def command(self, design: ag.Design, workload: ag.Workload) -> Sequence[str]:
        """One run of the program."""
        options = [f"--{name.replace('_', '-')}={value}" for name, value in design.items()]
        return [sys.executable, str(PROGRAM), *options, workload.content]

    def parse(self, output: str, design: ag.Design) -> Mapping[str, float] | Infeasible:
        """Return what the program printed."""
        if output.startswith("cannot build"):
            return Infeasible(self.spec.model_reasons[0])
        latency, area = re.findall(r": ([\d.]+)", output)
        return {"latency_ns": float(latency), "area_mm2": float(area)}


if __name__ == "__main__":
    task = ag.Task.make(CacheSimulator(), workload=["dense", "sparse"])
    folder, budget = Path(sys.argv[1]), int(sys.argv[2])
    if folder.exists():
        study = ag.Study.open(folder, task)
    else:
        study = ag.Study.create(folder, task, "genetic", seed=1, budget=budget)
    print(study.run(budget=budget).best)
