"""Names of objectives that were given up, or that name another objective by now."""

import logging

import pytest

import archgym as ag
from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.evaluation.objective import Objective, Term, merged_objectives
from archgym.evaluation.task_choices import TaskChoices, revision_of_id
from archgym.sweep.plan import TaskPlan

STREAM = "dram/default/stream"


def metrics_of(task: ag.Task) -> list[str]:
    return [term.metric for term in task.objective.terms]


@pytest.mark.parametrize(
    ("task_id", "metric"),
    [
        (f"{STREAM}/low-latency-v0", "total_time_ns"),
        (f"{STREAM}/low-request-latency-v0", "mean_latency_ns"),
        (f"{STREAM}/low-latency-v0.1", "mean_latency_ns"),
        (f"{STREAM}/least-time-v0", "total_time_ns"),
        (f"{STREAM}/low-latency[power_mw<=2000]-v0", "total_time_ns"),
    ],
)
def test_id_of_a_task_means_what_it_meant_when_it_was_recorded(task_id: str, metric: str) -> None:
    task = ag.Task.make(task_id)

    assert metrics_of(task) == [metric]
    assert task.id == task_id


def test_plain_name_has_the_present_meaning() -> None:
    task = ag.Task.make("dram", "stream", "low-latency")

    assert metrics_of(task) == ["mean_latency_ns"]
    assert task.id == f"{STREAM}/low-latency-v0.1"


def test_former_name_is_accepted_with_a_note(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        task = ag.Task.make("dram", "random", "low-request-latency")

    assert task.digest == ag.Task.make("dram", "random", "low-latency").digest
    notes = {record.message for record in caplog.records}
    assert notes <= {
        "objective 'low-request-latency' is a former one of simulator 'dram': Least mean latency "
        "of a request. Its name is now 'low-latency'."
    }


def test_revision_that_never_was_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"has revision 1, .* got 7"):
        ag.Task.make(f"{STREAM}/low-latency-v0.7")
    with pytest.raises(UnknownNameError, match="least-tim"):
        ag.Task.make(f"{STREAM}/least-tim-v0")


def test_recorded_task_keeps_its_objective() -> None:
    recorded = ag.Task.make(f"{STREAM}/low-latency-v0")

    again = ag.Task.from_json(recorded.to_json())

    assert (again.id, again.digest) == (recorded.id, recorded.digest)


def test_recorded_sweep_keeps_its_objectives() -> None:
    plan = TaskPlan("stream", "dram", objective="low-latency", workloads={"stream": 1.0})
    old = TaskPlan(
        "stream",
        "dram",
        objective="low-latency",
        workloads={"stream": 1.0},
        id=f"{STREAM}/low-latency-v0",
    )

    assert metrics_of(plan.make()) == ["mean_latency_ns"]
    assert metrics_of(old.make()) == ["total_time_ns"]
    assert metrics_of(plan.decided(plan.make()).make()) == ["mean_latency_ns"]


def test_metrics_replace_the_objective_of_an_id() -> None:
    task = ag.Task.make(f"{STREAM}/low-latency-v0", minimise="power_mw")

    assert metrics_of(task) == ["power_mw"]


def test_latest_revision_counts_where_sources_are_merged() -> None:
    old = Objective("quick", (Term("a_ns", "minimise"),))
    new = Objective("quick", (Term("b_ns", "minimise"),), revision=1)

    assert merged_objectives({"quick": new}, {"quick": old}) == {"quick": new}
    assert merged_objectives({"quick": old}, {"quick": new}) == {"quick": new}


def test_objective_says_its_metrics_as_text() -> None:
    plain = Objective("x", (Term("a_ns", "minimise"), Term("ipc", "maximise")))
    targets = Objective("y", (Term("a_ns", "at-most", target=5.0), Term("b", "at-least", target=2)))
    mixed = Objective("z", (Term("a_ns", "minimise"), Term("b", "at-least", target=2)))
    weighted = Objective("w", (Term("a_ns", "minimise", 2.0), Term("b", "minimise")))

    other = Objective("v", (Term("ipc", "maximise"), Term("a_ns", "minimise")))

    assert plain.as_text() == "minimise:a_ns;maximise:ipc"
    assert targets.as_text() == "target:a_ns<=5,b>=2"
    assert mixed.as_text() == "minimise:a_ns;target:b>=2"
    assert weighted.as_text() == "minimise:2*a_ns+b"
    # A text has what is minimised first.
    assert other.as_text() is None


def test_revision_is_read_from_an_id() -> None:
    assert revision_of_id(f"{STREAM}/low-latency-v0.1") == 1
    assert revision_of_id(f"{STREAM}/low-latency-v0") == 0
    assert revision_of_id("dram") is None
    assert TaskChoices(simulator=f"{STREAM}/low-latency-v0").expanded().revision == 0
