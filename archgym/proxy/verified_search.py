"""Searches on a proxy whose best designs are simulated at the end."""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.evaluation.simulator import FEASIBLE, Simulator
from archgym.proxy.proxy import ProxySimulator
from archgym.studies.study import Study
from archgym.tasks.task import Task

# Sums in another order differ by some 1e-16 of a reward of about 1.
_REWARD_DIGITS = 12

Progress = Callable[[int, int, float | None], None]


@final
@dataclass(frozen=True)
class VerifiedDesign:
    """A design with the reward that the proxy expects and the one that the simulator gives.

    `metrics` are the simulator's, None if it could not build the design; `missed_limits` are the
    limits of the task that it then misses, in words.
    """

    design: dict[str, Any]
    predicted: float
    simulated: float
    metrics: dict[str, float] | None
    missed_limits: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class VerifiedSearch:
    """Result of a search on a proxy; `rows` are by predicted reward, best first."""

    task_id: str
    learned: int
    """Evaluations that the proxy was trained on, which cost simulations before."""
    asked: int
    """Designs that were predicted, each of which the same search would simulate."""
    rows: tuple[VerifiedDesign, ...]
    has_limits: bool = False
    """True if the task has limits."""
    learned_best: tuple[tuple[str, float], ...] = ()
    """Metrics of the objective, each with the best value among the evaluations learned from."""

    @property
    def best(self) -> VerifiedDesign:
        """The design with the best simulated reward."""
        return max(self.rows, key=lambda row: row.simulated)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {
            "task": self.task_id,
            "learned_from": self.learned,
            "best_learned_from": dict(self.learned_best),
            "predicted": self.asked,
            "simulated": len(self.rows),
            "simulations_saved": self.asked - len(self.rows),
            "best": asdict(self.best),
            "designs": [asdict(row) for row in self.rows],
        }


def search_on_proxy(
    proxy: ProxySimulator,
    workload: str | None = None,
    objective: str | None = None,
    agent: str = "genetic",
    budget: int = 5000,
    n_verified: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
    simulator: Simulator | None = None,
) -> VerifiedSearch:
    """Search with an agent on a proxy, then simulate the best designs it found.

    Of designs with the same predicted reward one is simulated, since they most likely are the same
    to the simulator too; more of them only where too few others are left.

    Args:
      workload: Its default if None; so for the objective.
      objective: A name, or text as for `Task.make`.
      simulator: Simulator that the proxy stands for; None for the registered one.

    Raises:
      UnknownNameError: A name does not exist.
    """
    real = proxy.simulator() if simulator is None else simulator
    task = Task.make(proxy, workload, objective)
    with tempfile.TemporaryDirectory(prefix="archgym-proxy-") as folder:
        with Study.create(Path(folder) / "study", task, agent, seed=seed, budget=budget) as study:
            log = study.run(progress=progress).log
        evaluated = log.is_evaluation
        indices = task.space.canonical(log.records.indices[evaluated])
        reward = log.records.reward[evaluated]
    best = picked(indices, reward, n_verified)
    # A proxy ships no workload that it did not learn, so that its source would be a file.
    shipped = real.workload_names()
    names = [w.workload.name for w in task.workloads]
    sources = [w.source for w in task.workloads]
    given = [n if n in shipped else source for n, source in zip(names, sources, strict=True)]
    exact = Task.make(real, given, task.objective)
    results = exact.evaluate(indices[best])
    rows = []
    for place, row in enumerate(best.tolist()):
        is_built = (results.reason[place] == FEASIBLE).all()
        average = exact.average(results.values[place : place + 1])[0]
        names = [spec.name for spec in exact.metrics]
        rows.append(
            VerifiedDesign(
                dict(task.space.design_at(indices[row])),
                float(reward[row]),
                float(results.reward[place]),
                dict(zip(names, average.tolist(), strict=True)) if is_built else None,
                tuple(exact.missed(results.values[place])) if is_built else (),
            )
        )
    learned = int(proxy.proxy.about.get("distinct_rows", 0))
    known = proxy.proxy.about.get("best", {}).get(task.workloads[0].workload.name, {})
    sought = [term.metric for term in task.objective.terms]
    learned_best = tuple((name, float(known[name])) for name in sought if name in known)
    return VerifiedSearch(
        task.id, learned, len(reward), tuple(rows), bool(exact.limits), learned_best
    )


def picked(indices: np.ndarray, reward: np.ndarray, n: int) -> np.ndarray:
    """Return rows of the designs to simulate, best first, with distinct rewards if possible."""
    order = np.argsort(-reward, kind="stable")
    _, once = np.unique(indices[order], axis=0, return_index=True)
    order = order[np.sort(once)]
    _, first = np.unique(np.round(reward[order], _REWARD_DIGITS), return_index=True)
    is_first = np.zeros(len(order), dtype=bool)
    is_first[first] = True
    chosen = np.concatenate([order[is_first], order[~is_first]])[:n]
    return chosen[np.argsort(-reward[chosen], kind="stable")]
