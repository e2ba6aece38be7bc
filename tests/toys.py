"""A small simulator and agents that tests share."""

import hashlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from archgym.agent.agent import Agent, AskTellAgent
from archgym.errors import unknown_name
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, Term
from archgym.evaluation.simulator import BatchResult, Simulator, Workload
from archgym.evaluation.spec import SimulatorSpec
from archgym.evaluation.trials import Evaluate, Trials
from archgym.spaces.design import Condition, Constraint
from archgym.spaces.expression import P
from archgym.spaces.parameter import Categorical, Integer, Parameter, PowerOfTwo, Real
from archgym.spaces.space import DesignSpace
from archgym.tasks.task import Task

Trouble = Literal["none", "raise", "die", "hang"]

SPACE = DesignSpace(
    "toy",
    [
        Categorical(name="mode", choices=("off", "slow", "fast"), doc="How hard it works."),
        PowerOfTwo(name="banks", low=1, high=16, doc="Banks."),
        Integer(name="depth", low=1, high=8, doc="Entries a bank."),
        Real(name="gain", low=0.0, high=1.0, count=11, unit="V", doc="Amplification."),
        Integer(name="boost", low=0, high=3, doc="Extra drive of the fast mode."),
    ],
    constraints=[Constraint("buffer", P("banks") * P("depth") <= 64, "The buffer is too large.")],
    conditions=[Condition("boost", P("mode") == "fast")],
    doc="A space to test with.",
)
"""3 x 5 x 8 x 11 x 4 designs, of which those with mode off or slow have boost 0."""

TROUBLED_DEPTH = 3
"""Designs of this depth (index 2) break a simulator that has trouble."""


class ToySimulator(Simulator):
    """Bowls in four dimensions; exact, instant and the same at any batch size."""

    spec = SimulatorSpec(
        name="toy",
        version=0,
        space=SPACE,
        metrics=(
            MetricSpec("latency_ns", "ns", "minimise", 0.1, "Time for a piece of work."),
            MetricSpec("power_mw", "mW", "minimise", 0.1, "Power."),
            MetricSpec("throughput_gbs", "GB/s", "maximise", 0.01, "Work done."),
            MetricSpec("entries", "1", "none", 1.0, "Banks times depth."),
        ),
        model_reasons=("The toy overheats.",),
        objectives={
            "low-latency": Objective("low-latency", (Term("latency_ns", "minimise"),)),
            "low-power": Objective("low-power", (Term("power_mw", "minimise"),)),
            "balanced": Objective(
                "balanced", (Term("latency_ns", "minimise"), Term("power_mw", "minimise"))
            ),
        },
        default_objective="low-latency",
        default_workload="light",
        costs={
            "mismatch": "entries and gain always fit the load",
            "standby": "standing by takes no power",
        },
        groups={
            "core": ("mode", "gain", "boost"),
            "memory": ("banks", "depth"),
        },
    )

    def __init__(self, trouble: Trouble = "none", pace_s: float = 0.0) -> None:
        self.trouble = trouble
        self.pace_s = pace_s

    def workload_names(self) -> tuple[str, ...]:
        return ("light", "heavy")

    def workload(self, name: str | Path) -> Workload:
        load = {"light": 1.0, "heavy": 3.0}
        if str(name) not in load:
            raise unknown_name("workload", str(name), load)
        digest = hashlib.sha256(str(name).encode()).hexdigest()
        return Workload(str(name), digest, load[str(name)])

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        return self._simulate(indices, workload)

    def simulate_without(self, cost: str, indices: np.ndarray, workload: Workload) -> BatchResult:
        return self._simulate(indices, workload, cost)

    def _simulate(
        self, indices: np.ndarray, workload: Workload, without: str | None = None
    ) -> BatchResult:
        if self.pace_s:
            time.sleep(self.pace_s * len(indices))
        if self.trouble != "none" and (indices[:, 2] == TROUBLED_DEPTH - 1).any():
            _make_trouble(self.trouble)
        column = self.space.columns(indices)
        load = float(workload.content)
        speed = 1.0 + indices[:, 0] + 0.5 * column["boost"]
        entries = (column["banks"] * column["depth"]).astype(np.float64)
        mismatch = np.abs(entries - 24.0 * load) / 8.0 + 4.0 * (column["gain"] - 0.3) ** 2
        if without == "mismatch":
            mismatch[:] = 0
        standby = 0.0 if without == "standby" else 10.0
        latency = load * 40.0 * (1.0 + mismatch) / speed
        power = standby + 2.0 * speed + 0.05 * entries + 3.0 * column["gain"]
        values = np.stack([latency, power, 64.0 * load / latency, entries], axis=1)
        hot = (column["boost"] == 3) & (column["gain"] > 0.75)
        values[hot] = np.nan
        return BatchResult(values, hot.astype(np.int16))


def _make_trouble(trouble: Trouble) -> None:
    if trouble == "raise":
        raise ZeroDivisionError("the toy broke")
    if trouble == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait(600)


def toy_task(
    workload: Any = "light",
    objective: str = "balanced",
    trouble: Trouble = "none",
    pace_s: float = 0.0,
) -> Task:
    """Task on the toy simulator."""
    return Task.make(ToySimulator(trouble, pace_s), workload, objective)


class ToyAgent(AskTellAgent):
    """Mutates the best design so far, in batches; asks for some designs again."""

    name = "toy"
    batch = "batch"
    hyperparameters: ClassVar[tuple[Parameter, ...]] = (
        Integer(name="batch_size", low=1, high=64, default=5, doc="Designs an ask."),
    )

    def __init__(self, space: DesignSpace, *, seed: int, batch_size: int = 5) -> None:
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._batch_size = batch_size
        self._best = space.default_indices.copy()
        self._reward = -np.inf

    def ask(self) -> np.ndarray:
        fresh = self._rng.integers(
            self._space.sizes, size=(self._batch_size, self._space.n_parameters)
        )
        kept = self._rng.random(fresh.shape) < 0.6
        return np.where(kept, self._best, fresh)

    def tell(self, trials: Trials) -> None:
        row = int(np.argmax(trials.reward))
        if trials.reward[row] > self._reward:
            self._reward = float(trials.reward[row])
            self._best = trials.indices[row].copy()


class UnreplayableAgent(AskTellAgent):
    """Says that it cannot be replayed, and could not."""

    name = "unreplayable"
    replayable = False

    def __init__(self, space: DesignSpace, *, seed: int) -> None:
        self._space = space
        self._rng = np.random.default_rng(seed)

    def ask(self) -> np.ndarray:
        return self._rng.integers(self._space.sizes, size=(3, self._space.n_parameters))

    def tell(self, trials: Trials) -> None:
        pass


class CountingAgent(Agent):
    """Asks for the first `n` designs of the space, one at a time, and ends."""

    name = "counting"
    n: ClassVar[int] = 12

    def __init__(self, space: DesignSpace, *, seed: int) -> None:
        self._space = space

    def search(self, evaluate: Evaluate, task: Task) -> None:
        for number in range(self.n):
            evaluate(self._space.unflat(np.array([number])))
