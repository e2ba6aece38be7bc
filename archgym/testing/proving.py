"""A small simulator with all difficulties of a search, to test agents on."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from archgym.errors import unknown_name
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, Term
from archgym.evaluation.simulator import FAILED, BatchResult, Simulator, Workload
from archgym.evaluation.spec import SimulatorSpec
from archgym.spaces.design import Condition, Constraint
from archgym.spaces.expression import P
from archgym.spaces.parameter import (
    Categorical,
    Factorisation,
    Integer,
    Ordinal,
    Permutation,
    PowerOfTwo,
    Real,
)
from archgym.spaces.space import DesignSpace
from archgym.tasks.task import Task

_SPACES = {
    "mixed": DesignSpace(
        "mixed",
        [
            Categorical(name="mode", choices=("off", "slow", "fast", "turbo"), doc="Drive."),
            PowerOfTwo(name="banks", low=1, high=32, doc="Banks."),
            Integer(name="depth", low=1, high=12, default=2, doc="Entries a bank."),
            Ordinal(name="width", levels=(8, 12, 32), unit="bits", doc="Width of an entry."),
            Real(name="gain", low=0.1, high=1.0, count=10, unit="V", doc="Amplification."),
            Integer(name="boost", low=0, high=3, default=1, doc="Extra drive."),
            Categorical(name="cooling", choices=("air", "water"), doc="For extra drive."),
        ],
        constraints=[Constraint("area", P("banks") * P("depth") <= 96, "It does not fit.")],
        conditions=[
            Condition("boost", P("mode").is_in("fast", "turbo")),
            Condition("cooling", P("boost") >= 2),
        ],
        doc="Every kind of listed parameter, a constraint, and conditions on conditions.",
    ),
    "mapping": DesignSpace(
        "mapping",
        [
            Permutation(name="loops", items=("x", "y", "z", "k"), doc="Order of loops."),
            Factorisation(name="tiles", total=24, parts=3, doc="Sizes of tiles."),
            Categorical(name="fixed", choices=("only",), doc="A parameter with one value."),
        ],
        doc="Parameters that are never listed, and one that cannot change.",
    ),
    "tiny": DesignSpace(
        "tiny",
        [
            Categorical(name="mode", choices=("a", "b"), doc="A choice."),
            Integer(name="count", low=0, high=3, doc="A number."),
        ],
        constraints=[
            Constraint("few", (P("mode") == "a") | (P("count") <= 1), "Mode b has at most one.")
        ],
        doc="Six feasible designs, which a search soon knows.",
    ),
}

ON_PURPOSE = "The proving simulator breaks here on purpose."


class ProvingSimulator(Simulator):
    """A smooth bowl with a hot corner that cannot be built and designs on which it breaks.

    It has no meaning. The workload moves the bowl.
    """

    spec = SimulatorSpec(
        name="proving",
        version=0,
        metrics=(
            MetricSpec("cost_ns", "ns", "minimise", 0.01, "What a search lessens."),
            MetricSpec("gain_gbs", "GB/s", "maximise", 0.01, "What a search raises."),
            MetricSpec("position", "1", "none", 1.0, "Sum of the indices."),
        ),
        model_reasons=("It overheats.",),
        objectives={
            "low-cost": Objective("low-cost", (Term("cost_ns", "minimise"),)),
            "balanced": Objective(
                "balanced", (Term("cost_ns", "minimise"), Term("gain_gbs", "maximise", 0.5))
            ),
        },
        default_objective="low-cost",
        default_workload="near",
        space_names=("mixed", "mapping", "tiny"),
    )

    def __init__(
        self, space: str = "mixed", fidelity: str = "standard", has_failures: bool = True
    ) -> None:
        """Choose the space.

        Args:
          space: One of `space_names`.
          has_failures: True if it breaks on some designs.
        """
        if space not in _SPACES:
            raise unknown_name("space", space, _SPACES)
        self.spec = replace(self.spec, space=_SPACES[space], fidelity=fidelity)
        self.has_failures = has_failures

    def workload_names(self) -> tuple[str, ...]:
        return ("near", "far")

    def workload(self, name: str | Path) -> Workload:
        centres = {"near": 0.3, "far": 0.8}
        if str(name) not in centres:
            raise unknown_name("workload", str(name), centres)
        digest = hashlib.sha256(str(name).encode()).hexdigest()
        return Workload(str(name), digest, centres[str(name)])

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        # Column by column, so that no sum depends on how many designs there are.
        cost = np.ones(len(indices))
        for column, size in zip(indices.T, self.space.sizes, strict=True):
            cost += (column / max(size - 1, 1) - workload.content) ** 2
        total = indices.sum(axis=1)
        values = np.stack([cost, 10.0 / cost, total.astype(np.float64)], axis=1)
        reason = np.zeros(len(indices), dtype=np.int16)
        is_default = (indices == self.space.default_indices).all(axis=1)
        reason[(total % 7 == 5) & ~is_default] = 1
        failures = {}
        if self.has_failures:
            for row in np.flatnonzero((total % 11 == 3) & ~is_default):
                reason[row] = FAILED
                failures[int(row)] = ON_PURPOSE
        values[reason != 0] = np.nan
        return BatchResult(values, reason, failures)


def proving_tasks() -> tuple[Task, ...]:
    """Return a task on each of its spaces, one of them with two workloads."""
    return (
        Task.make(ProvingSimulator("mixed"), {"near": 2.0, "far": 1.0}, "balanced"),
        Task.make(ProvingSimulator("mapping"), "near"),
        Task.make(ProvingSimulator("tiny"), "far"),
    )
