"""Proofs of optima, compared with tables and with every design."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.evaluation.function import FunctionSimulator
from archgym.evaluation.limits import LIMITED_REWARD, Limit
from archgym.evaluation.objective import Objective, Term
from archgym.evaluation.simulator import Workload
from archgym.spaces.parameter import Integer
from archgym.tables import build_table, prove
from archgym.tables.proof import reward_bounds
from archgym.tasks.task import Task
from tests.toys import ToySimulator, toy_task

FC = {"layer": "resnet-18/fc", "architecture": "ws-systolic-16"}
TASKS: list[dict[str, Any]] = [
    *(
        {"simulator": "soc", "space": space, "objective": objective}
        for space in ("table", "small", "default")
        for objective in ("budget", "latency", "energy", "farsi-budget", "pareto")
    ),
    {"simulator": "soc", "space": "small", "fidelity": "farsi", "objective": "edp"},
    {"simulator": "soc", "space": "small", "graph": "audio-decoder+cava", "objective": "budget"},
    *(
        {"simulator": "accelerator", "space": "mapping", "objective": objective, **options}
        for objective in ("edp", "low-energy", "low-latency")
        for options in ({}, FC, {**FC, "counts": "ideal"})
    ),
    {"simulator": "accelerator", "space": "mapping-table", "objective": "edp"},
    {"simulator": "soc", "space": "small", "objective": "edp", "fixed": {"memory0_kind": "sram"}},
]


@pytest.mark.parametrize("choices", TASKS, ids=lambda c: "-".join(map(str, c.values()))[:60])
def test_no_design_is_better_than_the_bound_of_its_choices(choices: dict[str, Any]) -> None:
    task = Task.make(**choices)
    rng = np.random.default_rng(3)
    designs = task.space.canonical(task.space.sample(150, rng))
    rewards = task.evaluate(designs).reward
    for share in (0.0, 0.3, 0.7, 1.0):
        partial = np.where(rng.random(designs.shape) < share, designs, -1)

        bounds = reward_bounds(task, partial)

        assert np.isfinite(bounds).all()
        assert (bounds >= rewards).all(), share


@pytest.mark.parametrize("objective", ["budget", "latency", "energy", "edp", "farsi-budget"])
def test_proof_of_a_system_finds_the_optimum_of_all_designs(objective: str) -> None:
    default = Task.make("soc", space="table").space
    design = dict(default.design_at(default.default_indices))
    unrolls = [name for name in default.names if name.endswith("_unroll")]
    held = {name: design[name] for name in unrolls[2:]}
    task = Task.make("soc", space="table", objective=objective, fixed=held)
    rewards = np.concatenate(
        [task.evaluate(d).reward for d in task.space.enumerate(canonical=True)]
    )

    proof = prove(task, seconds=60)

    assert proof.method == "bounds"
    assert proof.is_optimal
    assert proof.reward == rewards.max()
    assert proof.n_evaluated < len(rewards) / (4 if objective == "budget" else 1)


@pytest.mark.parametrize("objective", ["edp", "low-energy", "low-latency"])
def test_proof_of_a_mapping_finds_the_optimum_of_its_table(tmp_path: Path, objective: str) -> None:
    task = Task.make("accelerator", space="mapping-table", objective=objective)
    table = Task.make(stand_in=build_table(task, tmp_path / "t.parquet"), objective=objective)

    proof, looked_up = prove(task, seconds=60), prove(table, seconds=60)

    assert (proof.method, looked_up.method) == ("bounds", "enumeration")
    assert proof.is_optimal
    assert looked_up.is_optimal
    assert looked_up.n_evaluated == 100_352
    assert proof.n_evaluated < 50_000
    assert proof.reward == looked_up.reward
    assert task.evaluate(proof.indices[None, :]).reward[0] == proof.reward  # type: ignore[index]


def test_proof_without_bounds_evaluates_every_design() -> None:
    task = toy_task(["light", "heavy"])
    rewards = np.concatenate(
        [task.evaluate(d).reward for d in task.space.enumerate(canonical=True)]
    )

    proof = prove(task)

    assert (proof.method, proof.is_optimal) == ("enumeration", True)
    assert proof.n_evaluated == len(rewards) == 2376
    assert proof.reward == rewards.max()


def test_proof_that_stops_says_how_much_better_a_design_may_be() -> None:
    task = Task.make("soc", space="small", objective="energy")

    proof = prove(task, task.space.default_indices, seconds=0.5)

    assert not proof.is_optimal
    assert proof.bound > proof.reward
    assert proof.gap_percent is not None
    assert proof.gap_percent == pytest.approx(100 * np.expm1(proof.bound - proof.reward))


def test_enumeration_that_stops_knows_nothing() -> None:
    proof = prove(toy_task(pace_s=0.01), seconds=0.3)

    assert (proof.is_optimal, proof.bound, proof.gap_percent) == (False, np.inf, None)


class BoundedToy(ToySimulator):
    """The toy with a bound of its latency, and none of its power."""

    def bounds(self, partial: np.ndarray, workload: Workload) -> np.ndarray:
        found = np.full((len(partial), len(self.metrics)), np.nan)
        mode = np.where(partial[:, 0] < 0, self.space.sizes[0] - 1, partial[:, 0])
        found[:, 0] = 0.999 * 40.0 * float(workload.content) / (1.0 + mode + 1.5)
        return found


@pytest.mark.parametrize(
    ("terms", "method"),
    [
        ((Term("latency_ns", "minimise"),), "bounds"),
        ((Term("latency_ns", "minimise"), Term("power_mw", "minimise")), "bounds"),
        ((Term("latency_ns", "at-most", target=30.0),), "bounds"),
        ((Term("power_mw", "minimise"),), "enumeration"),
        ((Term("latency_ns", "archgym-2023", target=30.0),), "enumeration"),
    ],
)
def test_bounds_are_used_where_the_reward_grows_with_a_bounded_metric(
    terms: tuple[Term, ...], method: str
) -> None:
    task = Task.make(BoundedToy(), ["light", "heavy"], Objective("own", terms))
    rewards = np.concatenate(
        [task.evaluate(d).reward for d in task.space.enumerate(canonical=True)]
    )

    proof = prove(task)

    assert (proof.method, proof.is_optimal, proof.reward) == (method, True, rewards.max())


def test_limit_that_no_design_meets_is_known_although_the_objective_has_no_bound() -> None:
    objective = Objective("own", (Term("power_mw", "minimise"),))
    task = Task.make(BoundedToy(), "heavy", objective, subject_to="latency_ns <= 0.001")
    best = max(task.evaluate(d).reward.max() for d in task.space.enumerate(canonical=True))

    # Before: nothing was known.
    assert best <= prove(task, seconds=1e-6).bound <= LIMITED_REWARD


class SlowToy(BoundedToy):
    """The toy with bounds that take two milliseconds each, known for whole designs alone."""

    bounded_by = ToySimulator().space.names

    def bounds(self, partial: np.ndarray, workload: Workload) -> np.ndarray:
        time.sleep(0.002 * len(partial))
        return super().bounds(partial, workload)


def test_proof_with_slow_bounds_stops_in_time() -> None:
    task = Task.make(SlowToy(), "light", Objective("own", (Term("latency_ns", "minimise"),)))

    proof = prove(task, seconds=0.3)

    assert not proof.is_optimal
    assert 0 < proof.n_bounded < 1000
    assert prove(task, seconds=60).is_optimal


def test_proof_ends_in_time_where_one_design_takes_long() -> None:
    task, is_over = toy_task(), threading.Event()
    simulated = task.simulator.simulate

    def slow(*arguments: Any) -> Any:
        # As a kernel that compiles first; until the test ends.
        is_over.wait(60.0)
        return simulated(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task.simulator, "simulate", slow)
        started = time.monotonic()
        proof = prove(task, task.space.default_indices, seconds=0.1)
        took = time.monotonic() - started
        is_over.set()

    assert (proof.is_optimal, proof.bound, proof.indices) == (False, np.inf, None)
    assert took < 30.0


def test_metric_sought_in_the_other_direction_has_no_bound() -> None:
    task = Task.make(BoundedToy(), "light", Objective("slow", (Term("latency_ns", "maximise"),)))

    assert np.isinf(reward_bounds(task, np.full((1, len(task.space.parameters)), -1)))[0]


def test_time_without_end_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="`seconds` must be a number of 1e-09"):
        prove(toy_task(), seconds=0.0)


def test_nothing_is_proven_where_the_simulator_breaks() -> None:
    def own(design: Any) -> dict[str, float]:
        if design["a"] >= 4:
            raise ValueError("no")
        return {"t": 1.0 / design["a"]}

    task = Task.make(
        FunctionSimulator(own, [Integer(name="a", low=1, high=6)], {"t": "minimise"}),
        minimise="t",
    )

    proof = prove(task, task.space.indices_of({"a": 3}))

    assert (proof.is_optimal, proof.gap_percent) == (False, None)
    assert (proof.n_failed, proof.n_evaluated) == (3, 6)
    assert proof.to_json(task)["failed"] == 3


class LimitedToy(ToySimulator):
    """The toy with a bound of its power, which only a limit uses."""

    def bounds(self, partial: np.ndarray, workload: Workload) -> np.ndarray:
        found = np.full((len(partial), len(self.metrics)), np.nan)
        found[:, [spec.name for spec in self.metrics].index("power_mw")] = 1e-3
        return found


def test_bound_of_a_limit_alone_says_nothing_of_what_is_minimised() -> None:
    objective = Objective(
        "own", (Term("latency_ns", "minimise"),), limits=(Limit("power_mw", "<=", 1e6),)
    )

    proof = prove(Task.make(LimitedToy(pace_s=0.01), "light", objective), seconds=0.05)

    assert (proof.method, proof.bound, proof.gap_percent) == ("bounds", np.inf, None)
