"""What a plan leaves open, decided."""

from pathlib import Path

import pytest

from archgym.errors import FileFormatError
from archgym.evaluation.simulator import Simulator
from archgym.sweep.plan import SweepPlan
from archgym.sweep.reading import read_plan
from archgym.tasks.choices import TaskChoices
from archgym.tasks.pipeline import resolve_simulator
from tests.sweep.conftest import WritePlan


def test_what_the_plan_leaves_open_is_decided(plan: SweepPlan) -> None:
    (task,) = plan.tasks

    assert (task.space, task.fidelity, task.workloads) == ("default", "standard", {"light": 1.0})
    assert task.id == "plugin/default/light/low-latency-v0"
    assert task.digest == task.make().digest


def test_a_whole_number_is_a_real_one_where_the_agent_declares_it_so(plan: SweepPlan) -> None:
    assert plan.runs()[1].hyperparameters == {"population": 6, "crossover": 1.0}
    assert isinstance(plan.runs()[1].hyperparameters["crossover"], float)


def test_a_workload_file_beside_the_plan_is_found(write_plan: WritePlan) -> None:
    # The toy knows no files, so that a path reaches it and is refused by it.
    Path("own.trace").write_text("")

    with pytest.raises(FileFormatError, match=r"own\.trace"):
        read_plan(write_plan(("workload: light", "workload: own.trace")))


def test_tasks_with_one_simulator_and_workload_share_them(
    write_plan: WritePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []

    def resolve(choices: TaskChoices) -> tuple[Simulator, str]:
        made.append(choices)
        return resolve_simulator(choices)

    monkeypatch.setattr("archgym.tasks.pipeline.resolve_simulator", resolve)
    entry = "  t{0}: {{simulator: plugin, workload: light, subject_to: power_mw <= {0}}}\n"
    more = "".join(entry.format(100 + n) for n in range(30))

    plan = read_plan(write_plan(("agents:\n", more + "agents:\n")))

    assert len(made) == 1
    alone = plan.tasks[7].make()
    assert (plan.tasks[7].id, plan.tasks[7].digest) == (alone.id, alone.digest)
    assert len({each.digest for each in plan.tasks}) == 31


def test_tasks_that_hold_parameters_keep_their_spaces(write_plan: WritePlan) -> None:
    more = (
        "  a: {simulator: dram, workload: cloud-1}\n"
        "  b: {simulator: dram, workload: cloud-1, subject_to: request_buffer_size <= 4}\n"
        "  c: {simulator: dram, workload: cloud-2}\n"
    )

    spaces = {
        t.label: t.space for t in read_plan(write_plan(("agents:\n", more + "agents:\n"))).tasks
    }

    assert spaces["a"] == spaces["c"] != spaces["b"]
