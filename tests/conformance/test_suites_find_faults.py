"""A suite that lets a broken agent or simulator pass is worth nothing: these are broken."""

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from archgym.agent.agent import Agent, AskTellAgent
from archgym.agents.random import RandomAgent
from archgym.errors import BudgetExhausted, ConformanceError, InvalidArgumentError
from archgym.evaluation.limits import Limit
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, Term
from archgym.evaluation.simulator import BatchResult, Simulator, Workload
from archgym.evaluation.trials import Evaluate, Trials
from archgym.spaces.parameter import Integer, Parameter
from archgym.spaces.space import DesignSpace
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator, check_agent, check_simulator, proving_tasks


class Plain(AskTellAgent):
    """A sound agent, which the broken ones below break in one place each."""

    name = "plain"
    hyperparameters: ClassVar[tuple[Parameter, ...]] = (
        Integer(name="batch_size", low=1, high=4, default=2, doc="Designs an ask."),
    )

    def __init__(self, space: DesignSpace, *, seed: int, batch_size: int = 2) -> None:
        self.space = space
        self.rng = np.random.default_rng(seed)
        self.n = batch_size

    def ask(self) -> np.ndarray:
        return self.space.sample(self.n, self.rng)

    def tell(self, trials: Trials) -> None:
        pass


class OutOfBounds(Plain):
    def ask(self) -> np.ndarray:
        return super().ask() + 1


class FloatIndices(Plain):
    def ask(self) -> np.ndarray:
        return super().ask().astype(float)


class OneRow(Plain):
    def ask(self) -> np.ndarray:
        row: np.ndarray = super().ask()[0]
        return row


class Unseeded(Plain):
    def __init__(self, space: DesignSpace, *, seed: int, batch_size: int = 2) -> None:
        super().__init__(space, seed=seed, batch_size=batch_size)
        self.rng = np.random.default_rng()


class SeedIgnored(Plain):
    def __init__(self, space: DesignSpace, *, seed: int, batch_size: int = 2) -> None:
        super().__init__(space, seed=0, batch_size=batch_size)


class GlobalRandom(Plain):
    def ask(self) -> np.ndarray:
        return self.space.sample(self.n, np.random.default_rng(random.getrandbits(32)))


class DiesOfInfeasible(Plain):
    def tell(self, trials: Trials) -> None:
        if not trials.feasible.any():
            raise ValueError("no feasible design")


class DiesOfFailed(Plain):
    def tell(self, trials: Trials) -> None:
        assert not trials.failed.all()


class DiesOfRepeated(Plain):
    def tell(self, trials: Trials) -> None:
        assert not trials.repeated.all()


class DiesOfFlatRewards(Plain):
    def tell(self, trials: Trials) -> None:
        if len(trials) > 1 and np.ptp(trials.reward) == 0 and not trials.failed.any():
            raise ZeroDivisionError("no spread")


class ChangesResults(Plain):
    def tell(self, trials: Trials) -> None:
        trials.reward[:] = trials.reward - trials.reward.mean()


class SharedBetweenRuns(Plain):
    turn: ClassVar[list[int]] = []

    def ask(self) -> np.ndarray:
        self.turn.append(0)
        return self.space.sample(self.n, np.random.default_rng(len(self.turn)))


class SwallowsTheEnd(Agent):
    """Goes on after the budget."""

    name = "swallows"

    def __init__(self, space: DesignSpace, *, seed: int) -> None:
        self.space = space
        self.rng = np.random.default_rng(seed)

    def search(self, evaluate: Evaluate, task: Task) -> None:
        try:
            while True:
                evaluate(self.space.sample(1, self.rng))
        except BudgetExhausted:
            pass


class Hangs(Plain):
    """Looks for a new design for ever where there is none."""

    def __init__(self, space: DesignSpace, *, seed: int, batch_size: int = 2) -> None:
        super().__init__(space, seed=seed, batch_size=batch_size)
        self.known: set[bytes] = set()

    def ask(self) -> np.ndarray:
        while True:
            design = self.space.sample(1, self.rng)
            if design.tobytes() not in self.known:
                self.known.add(design.tobytes())
                return design


class OtherDefault(Plain):
    def __init__(self, space: DesignSpace, *, seed: int, batch_size: int = 3) -> None:
        super().__init__(space, seed=seed, batch_size=batch_size)


class UnpublishedArgument(Plain):
    def __init__(
        self, space: DesignSpace, *, seed: int, batch_size: int = 2, secret: int = 1
    ) -> None:
        super().__init__(space, seed=seed, batch_size=batch_size)


class ToldTheBudget(Plain):
    hyperparameters: ClassVar[tuple[Parameter, ...]] = (
        *Plain.hyperparameters,
        Integer(name="budget", low=1, high=4, default=2, doc="Evaluations."),
    )

    def __init__(
        self, space: DesignSpace, *, seed: int, batch_size: int = 2, budget: int = 2
    ) -> None:
        super().__init__(space, seed=seed, batch_size=batch_size)


class RefusesItsRange(Plain):
    def __init__(self, space: DesignSpace, *, seed: int, batch_size: int = 2) -> None:
        if batch_size == 3:
            raise ValueError("not three")
        super().__init__(space, seed=seed, batch_size=batch_size)


class DiesAtItsRangeEnd(Plain):
    def ask(self) -> np.ndarray:
        if self.n == 4:
            raise IndexError("one too many")
        return super().ask()


AGENTS: list[tuple[type[Agent], str]] = [
    (OutOfBounds, "must lie in the space"),
    (FloatIndices, "whole numbers"),
    (OneRow, "shape"),
    (Unseeded, "same seed and results"),
    (SeedIgnored, "another seed"),
    (GlobalRandom, "global random numbers"),
    (DiesOfInfeasible, "must not break"),
    (DiesOfFailed, "must not break"),
    (DiesOfRepeated, "must not break"),
    (DiesOfFlatRewards, "must not break"),
    (ChangesResults, "must not break"),
    (SharedBetweenRuns, "same seed and results"),
    (SwallowsTheEnd, "let pass"),
    (Hangs, "continue or end"),
    (OtherDefault, "default of `batch_size`"),
    (UnpublishedArgument, "range of each constructor argument"),
    (ToldTheBudget, "told its budget"),
    (RefusesItsRange, "must make an agent"),
    (DiesAtItsRangeEnd, "must not break"),
]


def test_sound_agent_passes() -> None:
    check_agent(Plain, n_designs=40)


@pytest.mark.parametrize(
    ("kind", "message"), AGENTS, ids=lambda value: getattr(value, "__name__", "")
)
def test_broken_agent_is_found(kind: type[Agent], message: str) -> None:
    with pytest.raises(ConformanceError, match=message) as caught:
        check_agent(kind, n_designs=40, time_limit_s=2.0)

    assert f"check_agent({kind.__qualname__}" in str(caught.value)


def test_check_of_a_sound_agent_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    check_agent(RandomAgent)

    assert caplog.messages == []


def test_agent_that_hangs_is_ended() -> None:
    # Before: its thread went on for ever, on half of what the process could do.
    before = set(threading.enumerate())

    with pytest.raises(ConformanceError, match="continue or end"):
        check_agent(Hangs, n_designs=40, time_limit_s=0.5)

    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(10.0)
    assert not any(thread.is_alive() for thread in left)


def test_agent_is_checked_on_the_tasks_given() -> None:
    check_agent(RandomAgent, tasks=proving_tasks()[1:2], n_designs=20)


# ---- simulators


class Sound(ProvingSimulator):
    """A sound simulator on a fixed space, which the broken ones below break in one place each."""

    def __init__(self) -> None:
        super().__init__("mixed", has_failures=False)


class Noisy(Sound):
    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        result = super().simulate(indices, workload)
        noise = np.random.default_rng().random(result.values.shape)
        return BatchResult(result.values + noise, result.reason)


class BoundsTooTight(Sound):
    def bounds(self, partial: np.ndarray, workload: Workload) -> np.ndarray:
        # Those of the default design, which others better.
        default = self.space.default_indices[None, :]
        values = self.evaluate_batch(default, workload).values
        return np.repeat(values, len(partial), axis=0)


class BoundsOfOneRow(Sound):
    def bounds(self, partial: np.ndarray, workload: Workload) -> np.ndarray:
        return np.full((1, len(self.metrics)), np.nan)


class DependsOnBatch(Sound):
    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        result = super().simulate(indices, workload)
        return BatchResult(result.values / len(indices), result.reason)


class DependsOnOrder(Sound):
    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        result = super().simulate(indices, workload)
        result.values[1:] += 1e-12 * (result.reason[:-1, None] == 0)
        return result


class Remembers(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        self.calls += 1
        result = super().simulate(indices, workload)
        return BatchResult(result.values + self.calls, result.reason)


class NumbersForInfeasible(Sound):
    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        result = super().simulate(indices, workload)
        result.values[result.reason != 0] = 0.0
        return result


class UnlistedReason(Sound):
    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        result = super().simulate(indices, workload)
        return BatchResult(result.values, np.where(result.reason == 1, 9, 0).astype(np.int16))


class SilentFailure(Sound):
    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        result = super().simulate(indices, workload)
        return BatchResult(result.values, np.where(result.reason == 1, -1, 0).astype(np.int16))


class NanForBuilt(Sound):
    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        result = super().simulate(indices, workload)
        return BatchResult(np.full_like(result.values, np.nan), result.reason)


class DefaultInfeasible(Sound):
    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        result = super().simulate(indices, workload)
        reason = result.reason.copy()
        reason[(indices == self.space.default_indices).all(axis=1)] = 1
        result.values[reason == 1] = np.nan
        return BatchResult(result.values, reason)


class Unpicklable(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.hook: Callable[[], None] = lambda: None


class WrongUnit(Sound):
    spec = replace(
        Sound.spec,
        metrics=(
            MetricSpec("cost_ns", "ms", "minimise", 0.01, "What a search lessens."),
            *ProvingSimulator.spec.metrics[1:],
        ),
    )


class Undocumented(Sound):
    spec = replace(
        Sound.spec,
        metrics=(
            MetricSpec("cost_ns", "ns", "minimise", 0.01, ""),
            *ProvingSimulator.spec.metrics[1:],
        ),
    )


class StrangeObjective(Sound):
    spec = replace(
        Sound.spec,
        objectives={"low-cost": Objective("low-cost", (Term("price", "minimise"),))},
    )


class DropsAPhysicalLimit(Sound):
    spec = replace(
        Sound.spec,
        physical_limits=(Limit("cost_ns", "<=", 5.0),),
    )


class TextForALimit(Sound):
    spec = replace(
        Sound.spec,
        usual_limits=("cost_ns <= 5",),
    )


class LimitOnAnotherMetric(Sound):
    spec = replace(
        Sound.spec,
        usual_limits=(Limit("price", "<=", 5.0),),
    )


class ReliefByAnotherParameter(Sound):
    spec = replace(
        Sound.spec,
        costs={"wait": "waiting"},
        relief={"wait": ("mood",)},
    )


class ReliefOfAnotherCost(Sound):
    spec = replace(
        Sound.spec,
        relief={"wait": ("mode",)},
    )


class IgnoredCost(Sound):
    spec = replace(
        Sound.spec,
        costs={"wait": "waiting"},
    )

    def simulate_without(self, cost: str, indices: np.ndarray, workload: Workload) -> BatchResult:
        return self.simulate(indices, workload)


class WorseWithoutACost(IgnoredCost):
    def simulate_without(self, cost: str, indices: np.ndarray, workload: Workload) -> BatchResult:
        result = self.simulate(indices, workload)
        result.values[:, 0] *= 2
        return result


class ExportMissing(Sound):
    spec = replace(
        Sound.spec,
        exports={"verilog": "A module."},
    )


class ExportOfNumbers(ExportMissing):
    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Any:
        return {"design.v": 1}


class StrangeGroup(Sound):
    spec = replace(
        Sound.spec,
        groups={"core": ("mode", "mood")},
    )


class TwiceGrouped(Sound):
    spec = replace(
        Sound.spec,
        groups={"core": ("mode",), "memory": ("mode", "banks")},
    )


class EmptyGroup(Sound):
    spec = replace(
        Sound.spec,
        groups={"core": ("mode",), "memory": ()},
    )


class HalfGrouped(Sound):
    spec = replace(
        Sound.spec,
        groups={"core": ("mode",), "memory": ("banks", "depth")},
    )


class ShortDigest(Sound):
    def workload(self, name: str | Path) -> Workload:
        return Workload(str(name), "abc", 0.5)


class ChangingDigest(Sound):
    turn: ClassVar[list[int]] = []

    def workload(self, name: str | Path) -> Workload:
        self.turn.append(0)
        return Workload(str(name), f"{len(self.turn):064x}", 0.5)


class SameWorkloads(Sound):
    def workload(self, name: str | Path) -> Workload:
        return Workload(str(name), "0" * 64, 0.5)


class StrangeFidelity(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.spec = replace(self.spec, fidelity="divine")


class StrangeTable(Sound):
    spec = replace(
        Sound.spec,
        table_space="giant",
    )


SIMULATORS: list[tuple[type[Simulator], str]] = [
    (Noisy, "evaluated twice"),
    (BoundsTooTight, r"may better their bound of .*; got [\d.e+]+ \w+, bound [\d.e+]+, of"),
    (BoundsOfOneRow, "`bounds` must have a row for each design"),
    (DependsOnBatch, "one by one"),
    (DependsOnOrder, "one by one"),
    (Remembers, "evaluated twice"),
    (NumbersForInfeasible, "must return NaN"),
    (UnlistedReason, "place in its `reasons`"),
    (SilentFailure, "must say in `failures`"),
    (NanForBuilt, "default design must run"),
    (DefaultInfeasible, "default design must be feasible"),
    (Unpicklable, "must pickle"),
    (WrongUnit, "must be in ns"),
    (Undocumented, "needs a `doc`"),
    (StrangeObjective, "known metrics"),
    (DropsAPhysicalLimit, "must keep `physical_limits`"),
    (TextForALimit, "must hold a Limit on a known metric"),
    (LimitOnAnotherMetric, "must hold a Limit on a known metric"),
    (ReliefByAnotherParameter, "must name parameters"),
    (ReliefOfAnotherCost, "must name `costs`"),
    (
        IgnoredCost,
        "one of `costs` must change the design; got the same metrics without each of wait",
    ),
    (WorseWithoutACost, r"twice as bad without cost 'wait'; got \w+ [\d.]+ with the cost and"),
    (ExportMissing, "'verilog' must export"),
    (ExportOfNumbers, "must return contents of files"),
    (StrangeGroup, "name parameters"),
    (TwiceGrouped, "one group at most"),
    (EmptyGroup, "'memory' must list parameters"),
    (HalfGrouped, "must be in a group"),
    (ShortDigest, "SHA-256"),
    (ChangingDigest, "must not change"),
    (SameWorkloads, "workloads must differ"),
    (StrangeFidelity, "`fidelity` must be one of"),
    (StrangeTable, "`table_space` must be one of"),
]


def test_sound_simulator_passes() -> None:
    check_simulator(Sound())


@pytest.mark.parametrize(
    ("kind", "message"), SIMULATORS, ids=lambda value: getattr(value, "__name__", "")
)
def test_broken_simulator_is_found(kind: Any, message: str) -> None:
    with pytest.raises(ConformanceError, match=message) as caught:
        check_simulator(kind())

    assert ".. See it again" not in str(caught.value)
    assert f"check_simulator({kind.__qualname__}" in str(caught.value)


def test_what_is_no_agent_and_no_simulator_is_refused() -> None:
    wrong: Any = "coordinates"

    with pytest.raises(InvalidArgumentError, match="`kind` must be a class below Agent"):
        check_agent(wrong)
    with pytest.raises(InvalidArgumentError, match="`simulator` must be a Simulator"):
        check_simulator(wrong)
