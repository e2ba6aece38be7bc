"""Tests of tasks."""

import json
import math
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archgym.errors import ArchGymError, InvalidArgumentError, SimulatorError, UnknownNameError
from archgym.evaluation.objective import Objective, Term
from archgym.evaluation.simulator import BatchResult, Workload
from archgym.tasks.task import Evaluation, Task
from archgym.testing import ProvingSimulator
from tests.toys import SPACE, ToySimulator, toy_task


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the proving simulator one that has a name."""
    monkeypatch.setattr("archgym.tasks.pipeline.simulator_class", lambda name: ProvingSimulator)


def test_task_takes_the_simulators_defaults() -> None:
    task = Task.make(ToySimulator())

    assert task.id == "toy/toy/light/low-latency-v0"
    assert task.space is SPACE
    assert [w.weight for w in task.workloads] == [1.0]
    assert task.version == 0


def test_reference_is_the_default_design_on_each_workload() -> None:
    task = toy_task(["light", "heavy"])

    expected = task.evaluate(SPACE.default_indices[None, :])

    assert np.array_equal(task.reference, expected.values[0])
    assert expected.reward.tolist() == [0.0]
    with pytest.raises(ValueError, match="read-only"):
        task.reference[0, 0] = 1.0


def test_reward_and_metrics_are_averaged_by_weight() -> None:
    both = toy_task({"light": 3.0, "heavy": 1.0})
    rows = SPACE.sample(30, np.random.default_rng(0))

    light, heavy = toy_task("light").evaluate(rows), toy_task("heavy").evaluate(rows)
    result = both.evaluate(rows)

    assert result.values.shape == (30, 2, 4)
    assert both.weights.tolist() == [0.75, 0.25]
    assert np.allclose(result.reward, 0.75 * light.reward + 0.25 * heavy.reward)
    mean = 0.75 * light.values[:, 0] + 0.25 * heavy.values[:, 0]
    assert np.allclose(both.average(result.values), mean, equal_nan=True)


def test_results_do_not_depend_on_the_batch_in_any_bit() -> None:
    task = toy_task({"light": 3.0, "heavy": 1.0})
    rng = np.random.default_rng(0)
    rows = rng.integers(SPACE.sizes, size=(257, 5))

    batch = task.evaluate(rows)
    alone = [task.evaluate(row[None, :]) for row in rows]

    assert batch.reward.tobytes() == np.concatenate([one.reward for one in alone]).tobytes()
    assert batch.values.tobytes() == np.concatenate([one.values for one in alone]).tobytes()
    averages = np.concatenate([task.average(one.values) for one in alone])
    assert task.average(batch.values).tobytes() == averages.tobytes()


def test_infeasible_on_one_workload_costs_its_share() -> None:
    hot = np.array([[2, 0, 0, 10, 3]])

    result = toy_task(["light", "heavy"]).evaluate(hot)

    assert result.reason.tolist() == [[1, 1]]
    assert result.reward.tolist() == [-25.0]


def test_failures_are_told_by_row() -> None:
    task = Task.make(ProvingSimulator("mixed"), ["near", "far"])
    rows = task.space.sample(100, np.random.default_rng(0))

    result = task.evaluate(rows)

    failed = np.flatnonzero((result.reason == -1).any(axis=1)).tolist()
    assert failed
    assert sorted(result.failures) == failed
    assert set(result.failures.values()) == {"The proving simulator breaks here on purpose."}


# ---- choosing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workload": "lite"}, "'light'"),
        ({"objective": "low-lateny"}, "'low-latency'"),
        ({"objective": "target:latency<=5"}, "'latency_ns'"),
    ],
)
def test_unknown_name_offers_near_names(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        Task.make(ToySimulator(), **arguments)


@pytest.mark.parametrize(
    "workload",
    [
        [],
        {},
        ["light", "light"],
        {"light": 0.0},
        {"light": -1.0},
        {"light": math.nan},
        {"light": math.inf},
        {"light": "heavy"},
        {"light": None},
        7,
    ],
)
def test_workloads_that_do_not_fit_are_refused(workload: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        toy_task(workload)


def test_objective_on_unknown_metric_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="latency_ns"):
        Task.make(ToySimulator(), objective=Objective("o", (Term("latency", "minimise"),)))


@pytest.mark.parametrize("objective", [[Term("latency_ns", "minimise")], 5, {"latency_ns": 1}])
def test_objective_of_another_kind_is_refused(objective: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"`objective` must be .* Objective\(name"):
        Task.make(ToySimulator(), objective=objective)


@pytest.mark.parametrize("simulator", [5, ToySimulator])
def test_simulator_of_another_kind_is_refused(simulator: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="`simulator` must be a registered name or"):
        Task.make(simulator)


def test_options_beside_an_instance_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="`device` is no argument here"):
        Task.make(ToySimulator(), device="x")


@pytest.mark.usefixtures("registered")
def test_space_fidelity_and_options_go_to_a_named_simulator() -> None:
    task = Task.make("proving", space="tiny", workload="far")

    assert task.id == "proving/tiny/far/low-cost-v0"
    with pytest.raises(UnknownNameError, match="'tiny'"):
        Task.make("proving", space="tinny")
    with pytest.raises(UnknownNameError, match="fidelity"):
        Task.make("proving", fidelity="divine", space="tiny")
    with pytest.raises(UnknownNameError, match="option 'devize' of simulator"):
        Task.make("proving", devize="x")


def test_default_design_that_does_not_run_is_refused_with_its_reason() -> None:
    class Broken(ToySimulator):
        def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
            n = len(indices)
            return BatchResult(np.full((n, 4), np.nan), np.ones(n, dtype=np.int16))

    with pytest.raises(SimulatorError, match="The toy overheats"):
        Task.make(Broken())


# ---- identity


def test_json_round_trip_gives_the_same_task() -> None:
    task = toy_task({"light": 2.0, "heavy": 1.0}, "low-power")

    data = json.loads(json.dumps(task.to_json()))
    back = Task.from_json(data, ToySimulator())

    assert back.digest == task.digest
    assert back.to_json() == task.to_json()
    assert back.id == "toy/toy/2*light+1*heavy/low-power-v0"


@pytest.mark.usefixtures("registered")
def test_json_of_a_registered_simulator_is_enough() -> None:
    task = Task.make("proving", ["near", "far"], "target:cost_ns<=1.5", "tiny")

    back = Task.from_json(json.loads(json.dumps(task.to_json())))

    assert back.digest == task.digest


@pytest.mark.parametrize(
    "other",
    [
        toy_task("heavy"),
        toy_task(["light", "heavy"]),
        toy_task("light", "low-power"),
        toy_task("light", "target:latency_ns<=5"),
    ],
    ids=["workload", "workloads", "objective", "target"],
)
def test_whatever_decides_a_reward_changes_the_digest(other: Task) -> None:
    assert other.digest != toy_task().digest


def test_another_version_of_the_simulator_changes_the_digest_and_is_refused() -> None:
    class Newer(ToySimulator):
        spec = replace(
            ToySimulator.spec,
            version=1,
        )

    data = toy_task().to_json()

    assert Task.make(Newer(), "light", "balanced").digest != data["digest"]
    with pytest.raises(InvalidArgumentError, match="`version` differs now"):
        Task.from_json(data, Newer())


def test_changed_workload_is_named_in_the_refusal() -> None:
    class Changed(ToySimulator):
        def workload(self, name: str | Path) -> Workload:
            return replace(super().workload(name), digest="0" * 64)

    with pytest.raises(InvalidArgumentError, match="`workloads` differs now"):
        Task.from_json(toy_task().to_json(), Changed())


def test_documentation_of_a_space_does_not_change_the_task() -> None:
    data = toy_task().to_json()
    data["space"]["doc"] = "Another word."

    assert Task.from_json(data, ToySimulator()).digest == data["digest"]


anything = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just("light")
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["source", "weight", "name", "terms", "goal", "metric"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(toy_task().to_json())), anything, st.booleans())
@pytest.mark.usefixtures("registered")
def test_hostile_json_is_refused_with_our_error_only(key: str, value: Any, is_named: bool) -> None:
    data = Task.make(ProvingSimulator("tiny")).to_json() if is_named else toy_task().to_json()
    data[key] = value
    try:
        task = Task.from_json(data, None if is_named else ToySimulator())
    except ArchGymError:
        return
    assert task.digest == data["digest"]


@pytest.mark.parametrize("data", [None, 5, "x", [], {}, {"workloads": []}])
def test_json_that_is_no_task_is_refused(data: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        Task.from_json(data, ToySimulator())


def test_task_of_a_file_and_of_another_fidelity_has_a_name_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "cloud-1.stl").write_text("0: read 0x0\n9: write 0x40\n")

    shipped = Task.make("dram", workload="cloud-1")
    own = Task.make("dram", workload=tmp_path / "cloud-1.stl")
    as_farsi = Task.make("soc", fidelity="farsi")

    assert shipped.id == "dram/default/cloud-1/balanced-v1"
    assert own.id.startswith("dram/default/cloud-1@")
    assert as_farsi.id.startswith("soc[fidelity=farsi]/default/")


def test_workloads_of_equal_name_or_content_are_refused(tmp_path: Path) -> None:
    for folder, text in (("a", "0: read 0x0\n"), ("b", "0: read 0x40\n"), ("c", "0: read 0x0\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / ("t.stl" if folder != "c" else "u.stl")).write_text(text)

    with pytest.raises(InvalidArgumentError, match="names that differ"):
        Task.make("dram", workload=[tmp_path / "a" / "t.stl", tmp_path / "b" / "t.stl"])
    with pytest.raises(InvalidArgumentError, match="contents that differ"):
        Task.make("dram", workload=[tmp_path / "a" / "t.stl", tmp_path / "c" / "u.stl"])


def test_weight_that_would_overflow_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="at most 1e"):
        Task.make("dram", workload={"cloud-1": 1e308, "cloud-2": 1e308})


def test_negative_target_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="0 or more"):
        Task.make("dram", objective="target:total_time_ns<=-1000")


def test_objective_that_a_device_lacks_is_refused_with_the_device_named() -> None:
    with pytest.raises(UnknownNameError, match="device=hbm2"):
        Task.make("dram", objective="low-energy", device="hbm2")


def test_trials_give_each_terms_own_reward() -> None:
    task = toy_task("light", "balanced")
    rows = SPACE.sample(40, np.random.default_rng(0))
    result = task.evaluate(rows)

    trials = task.trials(rows, result, np.zeros(40, dtype=bool))

    assert trials.terms.shape == (40, 2)
    assert np.allclose(trials.terms.mean(axis=1), trials.reward)
    for place, name in enumerate(("low-latency", "low-power")):
        alone = Objective(name, (task.objective.terms[place],))
        expected = Task.make(ToySimulator(), "light", alone).evaluate(rows).reward
        assert trials.terms[:, place].tolist() == expected.tolist()


def test_trials_say_why_a_design_was_not_built() -> None:
    task = toy_task(["light", "heavy"])
    rows = np.zeros((4, 5), dtype=np.int64)
    reason = np.array([[0, 0], [0, 1], [-1, 1], [2, 2]], dtype=np.int16)
    result = Evaluation(np.ones((4, 2, 4)), reason, np.zeros(4))

    trials = task.trials(rows, result, np.zeros(4, dtype=bool))

    assert trials.reason.tolist() == [0, 1, -1, 2]
    assert trials.feasible.tolist() == [True, False, False, False]
    assert trials.failed.tolist() == [False, False, True, False]
    assert (trials.terms[2:] == -25.0).all()
    assert (trials.terms[:2] > -25.0).all()


def test_label_of_a_file_is_refused_with_a_request_for_its_path() -> None:
    with pytest.raises(
        InvalidArgumentError, match="`workload` must name a file; got 'own@01234567'"
    ):
        Task.make(ProvingSimulator("tiny"), "own@01234567")


def test_changed_file_of_a_workload_is_named_in_the_refusal(tmp_path: Path) -> None:
    path = tmp_path / "trace.stl"
    path.write_text("0: read 0x40\n31: read 0x400140\n")
    data = Task.make("dram", str(path)).to_json()
    path.write_text("0: read 0x40\n31: read 0x400180\n")

    with pytest.raises(InvalidArgumentError, match=r"changed is the file of .*trace\.stl\. Use"):
        Task.from_json(data)


def test_slow_files_of_a_task_hold_up_no_other_task(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def checksums(named: Iterable[str]) -> dict[str, str]:
        if threading.current_thread() is slow:
            begun.set()
            assert go_on.wait(20)
        return {}

    monkeypatch.setattr("archgym.tasks.task.file_checksums", checksums)
    slow = threading.Thread(target=toy_task().to_json)
    other = threading.Thread(target=toy_task().to_json)
    slow.start()
    assert begun.wait(20)
    other.start()
    other.join(20)
    waits = other.is_alive()
    go_on.set()
    slow.join()
    other.join()

    assert not waits


def test_file_that_changed_since_a_task_was_named_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.stl"
    path.write_text("0: read 0x0\n")
    named = Task.make("dram", path).id
    assert Task.make(named, path).id == named
    path.write_text("0: read 0x40\n")
    with pytest.raises(InvalidArgumentError, match="must be the file as it was"):
        Task.make(named, path)
    assert Task.make(named, "bursty-rw").id == "dram/default/bursty-rw/balanced-v1"


def test_metrics_replace_the_objective_of_an_id() -> None:
    task = Task.make("dram/default/stream/low-latency-v1", minimise="power_mw")

    assert [term.metric for term in task.objective.terms] == ["power_mw"]
