"""Compositions of any parts: names, limits, caching, costs and identity."""

import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import archgym as ag
from archgym.errors import InvalidArgumentError, SimulatorError, UnknownNameError
from archgym.evaluation.capabilities import bottlenecks_of, results_without
from archgym.evaluation.limits import Limit
from archgym.evaluation.simulator import BatchResult
from archgym.evaluation.spec import SimulatorSpec

Metrics = Mapping[str, float]


class CoreSimulator(ag.Simulator):
    """Core with a cache: misses fall with its ways, area grows."""

    spec = SimulatorSpec(
        name="core",
        version=3,
        space=ag.DesignSpace(
            "default",
            [ag.PowerOfTwo("ways", 1, 16), ag.Categorical("policy", ("lru", "random"))],
            constraints=[ag.Constraint("few", ag.P("ways") <= 8, "at most 8 ways")],
            conditions=[ag.Condition("policy", ag.P("ways") > 1)],
        ),
        metrics=(
            ag.MetricSpec("misses", "", "minimise", 1.0, "Misses."),
            ag.MetricSpec("area_mm2", "mm2", "minimise", 0.01, "Area."),
        ),
        physical_limits=(Limit("area_mm2", "<=", 7.0),),
        objectives={"few": ag.Objective("few", (ag.Term("misses", "minimise"),))},
        default_objective="few",
        default_workload="short",
        costs={"cold": "no miss is cold"},
        relief={"cold": ("ways",)},
    )
    n_designs = 0

    def workload_names(self) -> tuple[str, ...]:
        return ("short", "long")

    def workload(self, name: str | Path) -> ag.Workload:
        return ag.Workload(str(name), digest=f"core-{name}", content=len(str(name)))

    def simulate(self, indices: np.ndarray, workload: ag.Workload) -> BatchResult:
        return self._simulate(indices, workload, 10.0)

    def simulate_without(
        self, cost: str, indices: np.ndarray, workload: ag.Workload
    ) -> BatchResult:
        return self._simulate(indices, workload, 0.0)

    def _simulate(self, indices: np.ndarray, workload: ag.Workload, cold: float) -> BatchResult:
        CoreSimulator.n_designs += len(indices)
        ways = self.space.columns(indices)["ways"].astype(float)
        is_random = self.space.columns(indices)["policy"] == "random"
        misses = cold + workload.content * 100.0 / ways + 5.0 * is_random
        return BatchResult(np.stack([misses, ways], axis=1), np.zeros(len(indices), np.int16))


class MemorySimulator(CoreSimulator):
    """Memory whose workload is a number of requests."""

    spec = replace(
        CoreSimulator.spec,
        name="memory",
        space=ag.DesignSpace("default", [ag.PowerOfTwo("channels", 1, 4)]),
        metrics=(ag.MetricSpec("time_ns", "ns", "minimise", 1.0, "Time."),),
        model_reasons=("too many requests",),
        physical_limits=(),
        objectives={"fast": ag.Objective("fast", (ag.Term("time_ns", "minimise"),))},
        default_objective="fast",
        costs={},
        relief={},
    )

    def _simulate(self, indices: np.ndarray, workload: ag.Workload, cold: float) -> BatchResult:
        MemorySimulator.n_designs += len(indices)
        time = workload.content / self.space.columns(indices)["channels"]
        reason = np.where(time > 600.0, 1, 0).astype(np.int16)
        return BatchResult(np.where(reason > 0, np.nan, time)[:, None], reason)


def couple(parts: Mapping[str, ag.Part], workload: ag.Workload) -> Metrics | str:
    core = parts["core"].run(workload)
    if core["misses"] > 1000.0:
        return "it misses always"
    requests = ag.Workload("misses", f"{core['misses']:.6g}", content=core["misses"])
    memory = parts["memory"].run(requests)
    return {"total_ns": 2.0 * core["area_mm2"] + memory["time_ns"]}


def composed(**choices: Any) -> Any:
    return ag.compose(
        couple,
        {"total_ns": "minimise"},
        links={"core > memory": "one request a miss"},
        reasons=("it misses always",),
        core=CoreSimulator(),
        memory=MemorySimulator(),
        **choices,
    )


def design(**values: Any) -> dict[str, Any]:
    usual = {"core.ways": 1, "core.policy": "lru", "memory.channels": 1}
    return {**usual, **{name.replace("_", ".", 1): value for name, value in values.items()}}


def test_names_of_parts_are_their_own_behind_the_name_of_the_part() -> None:
    both = composed()

    assert both.space.names == ("core.ways", "core.policy", "memory.channels")
    assert [spec.name for spec in both.metrics] == [
        "total_ns", "core.misses", "core.area_mm2", "memory.time_ns",
    ]  # fmt: skip
    assert both.spec.groups == {
        "core": ("core.ways", "core.policy"),
        "memory": ("memory.channels",),
    }
    assert both.spec.costs == {"core.cold": "no miss is cold"}
    assert both.links == {"core > memory": "one request a miss"}


def test_a_part_gets_the_result_of_another() -> None:
    both = composed()

    found = both.evaluate(design(core_ways=4, memory_channels=2), both.workload("short"))

    # 10 + 5 * 100 / 4 = 135 misses, 67.5 ns on two channels, and 2 * 4 for the core.
    assert dict(found) == {
        "total_ns": 75.5, "core.misses": 135.0, "core.area_mm2": 4.0, "memory.time_ns": 67.5,
    }  # fmt: skip


def test_constraints_and_conditions_of_parts_hold() -> None:
    both = composed()

    broken = both.evaluate(design(core_ways=16), both.workload("short"))
    indices = both.space.indices_of(design(core_policy="random"))

    assert broken.infeasible == "core: at most 8 ways"
    assert both.space.design_at(both.space.canonical(indices[None, :])[0])["core.policy"] == "lru"


def test_reason_of_a_part_names_the_part() -> None:
    both = composed()

    found = both.evaluate(design(), both.workload("a-name-of-9"))

    # 10 + 11 * 100 requests are refused by `couple`; 10 + 6 * 100 by the memory.
    assert found.infeasible == "it misses always"
    assert both.evaluate(design(), both.workload("middle")).infeasible == (
        "memory: too many requests"
    )


def test_joint_design_simulates_only_the_part_that_changed() -> None:
    both = composed()
    workload = both.workload("short")
    both.evaluate(design(core_ways=2), workload)
    core, memory = CoreSimulator.n_designs, MemorySimulator.n_designs

    both.evaluate(design(core_ways=2, memory_channels=4), workload)

    assert (CoreSimulator.n_designs - core, MemorySimulator.n_designs - memory) == (0, 1)
    assert both.n_part_runs == 3


def test_limits_of_parts_and_users_limits_over_parts_hold() -> None:
    task = ag.Task.make(composed(), subject_to="memory.time_ns <= 50 ns, memory.channels <= 2")

    assert [str(limit) for limit in task.limits] == [
        "memory.time_ns <= 50",
        "core.area_mm2 <= 7",
    ]
    assert task.space.parameter("memory.channels").size == 2


def test_metrics_of_parts_can_be_targets_and_objectives() -> None:
    both = composed()

    task = ag.Task.make(both, objective="target:memory.time_ns<=50,core.misses<=60")
    other = ag.Task.make(both, minimise=["total_ns", "core.area_mm2"])

    assert [term.metric for term in task.objective.terms] == ["memory.time_ns", "core.misses"]
    assert other.objective.name == "minimise:total_ns+core.area_mm2[core.area_mm2<=7]"


def test_costs_of_a_part_pass_through() -> None:
    both = composed()
    workload = both.workload("short")
    indices = both.space.indices_of(design(core_ways=4))[None, :]

    ideal = results_without(both, "core.cold", indices, workload)

    assert ideal.values[0].tolist() == [133.0, 125.0, 4.0, 125.0]
    named = {(b.name, b.metric) for b in bottlenecks_of(both, indices[0], workload)}
    assert ("core.cold", "core.misses") in named


def test_a_cost_keeps_its_own_results() -> None:
    both = composed()
    workload = both.workload("short")
    indices = both.space.indices_of(design(core_ways=4))[None, :]

    results_without(both, "core.cold", indices, workload)

    assert both.evaluate_batch(indices, workload).values[0, 1] == 135.0


def test_composition_can_be_pickled() -> None:
    both = composed()
    copied = pickle.loads(pickle.dumps(both))
    workload = copied.workload("short")

    assert workload.digest == both.workload("short").digest
    assert copied.evaluate(design(), workload) == both.evaluate(design(), both.workload("short"))


def test_digest_follows_the_code_and_the_parts() -> None:
    def other(parts: Any, workload: Any) -> Metrics:
        return {"total_ns": 1.0 + parts["core"].run(workload)["misses"]}

    changed = ag.compose(
        other, {"total_ns": "minimise"}, core=CoreSimulator(), memory=MemorySimulator()
    )

    assert changed.workload("short").digest != composed().workload("short").digest


def test_part_that_was_not_run_is_reported() -> None:
    def forgets(parts: Any, workload: Any) -> Metrics:
        return {"total_ns": parts["core"].run(workload)["misses"]}

    both = ag.compose(
        forgets, {"total_ns": "minimise"}, core=CoreSimulator(), memory=MemorySimulator()
    )

    with pytest.raises(SimulatorError, match="must run part 'memory'"):
        both.evaluate(design(), both.workload("short"))


def test_function_that_raises_fails_its_design_alone() -> None:
    def breaks(parts: Any, workload: Any) -> Metrics:
        core = parts["core"].run(workload)
        parts["memory"].run(ag.Workload("w", "w", content=1.0))
        return {"total_ns": 1.0 / (core["area_mm2"] - 2.0)}

    both = ag.compose(
        breaks, {"total_ns": "minimise"}, core=CoreSimulator(), memory=MemorySimulator()
    )
    indices = both.space.indices_of_many([design(core_ways=2), design(core_ways=4)])

    result = both.evaluate_batch(indices, both.workload("short"))

    assert result.reason.tolist() == [-1, 0]
    assert result.failures[0] == "`couple` raised ZeroDivisionError: float division by zero"


def test_unknown_composition_names_those_that_there_are() -> None:
    with pytest.raises(InvalidArgumentError, match=r"cpu\+dram.*core\+memory"):
        ag.compose(core=CoreSimulator(), memory=MemorySimulator())


def test_unknown_part_of_a_link_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="`links` must be between parts"):
        ag.compose(
            couple, {"total_ns": "minimise"}, links={"core > disk": "misses"},
            core=CoreSimulator(), memory=MemorySimulator(),
        )  # fmt: skip


@pytest.mark.parametrize("name", ["a.b", "a-b"])
def test_name_of_a_part_must_be_an_identifier(name: str) -> None:
    parts: dict[str, Any] = {name: CoreSimulator(), "m": MemorySimulator()}
    with pytest.raises(InvalidArgumentError, match="A part's name"):
        ag.compose(couple, {"total_ns": "minimise"}, **parts)


def test_journals_of_one_and_two_workers_are_equal(tmp_path: Path) -> None:
    for workers in (1, 2):
        ag.search(
            composed(), agent="genetic", budget=12, seed=5, workers=workers,
            hyperparameters={"population": 4}, folder=tmp_path / str(workers),
        )  # fmt: skip

    journals = [next((tmp_path / w).rglob("journal.jsonl")).read_bytes() for w in ("1", "2")]
    assert journals[0] == journals[1]


def test_study_of_a_composition_continues(tmp_path: Path) -> None:
    for budget in (4, 9):
        ag.search(composed(), agent="random", budget=budget, folder=tmp_path / "study")

    assert ag.read_study(tmp_path / "study").evaluations == 9


def test_option_of_no_part_suggests_one() -> None:
    options: dict[str, Any] = {"cpu.instruction": "20000"}
    with pytest.raises(UnknownNameError, match=r"cpu\.instructions"):
        ag.Task.make("cpu+dram", **options)


@pytest.mark.parametrize(
    ("name", "own", "parts"),
    [
        ("cpu+dram", 0, {"cpu": 2, "dram": 1}),
        ("accelerator+dram", 0, {"accelerator": 1, "dram": 1}),
        ("accelerator+cluster", 1, {"accelerator": 1, "cluster": 1}),
        ("kv+dram", 2, {"kv": 2, "dram": 1}),
    ],
)
def test_version_is_raised_with_those_of_the_parts(
    name: str, own: int, parts: Mapping[str, int]
) -> None:
    """Raise the version of the composition, and write it here, when a part's version is raised."""
    whole: Any = ag.Task.make(name).simulator

    assert whole.version == own
    assert {part: made.version for part, made in whole.parts.items()} == parts


@pytest.mark.parametrize("value", ["fast", (1, 2), None])
def test_joint_metric_that_is_no_number_is_named(value: Any) -> None:
    both = ag.compose(
        lambda parts, workload: {
            "total_ns": [part.run(workload) for part in parts.values()] and value
        },
        {"total_ns": "minimise"},
        core=CoreSimulator(),
        memory=MemorySimulator(),
    )

    with pytest.raises(SimulatorError, match="total_ns is"):
        both.evaluate_batch(both.space.default_indices[None, :], both.workload("short"))


def test_composition_is_a_part_of_another() -> None:
    def pair(parts: Mapping[str, Any], workload: ag.Workload) -> Metrics:
        return {"sum": sum(part.run(workload)["misses"] for part in parts.values())}

    def whole(parts: Mapping[str, Any], workload: ag.Workload) -> Metrics:
        return {"all": parts["pair"].run(workload)["sum"] + parts["last"].run(workload)["misses"]}

    inner = ag.compose(pair, {"sum": "minimise"}, a=CoreSimulator(), b=CoreSimulator())
    outer = ag.compose(whole, {"all": "minimise"}, pair=inner, last=CoreSimulator())
    task = ag.Task.make(outer, "long", subject_to="pair.a.misses <= 1000", fixed={"last.ways": 2})

    found = task.evaluate(task.space.default_indices[None, :]).values[0, 0]

    assert found[0] == (10 + 400) + (10 + 400) + (10 + 200)
    assert outer.describe_workload(outer.workload("long")) == {}


def test_stated_time_is_that_of_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CoreSimulator, "spec", replace(CoreSimulator.spec, evaluation_s=0.25))
    monkeypatch.setattr(MemorySimulator, "spec", replace(MemorySimulator.spec, evaluation_s=0.5))

    assert composed().spec.evaluation_s == 0.75


def test_unknown_metric_of_own_parts_is_refused_with_the_near_ones() -> None:
    def couple(parts: Mapping[str, Any], workload: ag.Workload) -> Metrics:
        return {"sum": sum(part.run(workload)["misses"] for part in parts.values())}

    whole = ag.compose(couple, {"sum": "minimise"}, a=CoreSimulator(), b=CoreSimulator())

    with pytest.raises(UnknownNameError, match="Did you mean 'sum'"):
        ag.Task.make(whole, "long", minimise="sumn")


def test_option_of_a_part_that_has_none_is_told() -> None:
    @ag.simulator(space=[ag.Integer(name="n", low=1, high=4)], metrics={"t": "minimise"})
    def own(design: Any) -> dict[str, float]:
        return {"t": 1.0 / design["n"]}

    def odd(parts: Any, workload: ag.Workload) -> Metrics:
        found: Metrics = parts["own"].run(workload, foo="3")
        return found

    made = ag.compose(odd, {"u": "minimise"}, own=own, core=CoreSimulator())

    # Before: "Unknown simulator 'own'".
    with pytest.raises(SimulatorError, match="Unknown option 'foo' of part 'own'"):
        made.evaluate(made.space.design_at(made.space.default_indices), made.workload("default"))
