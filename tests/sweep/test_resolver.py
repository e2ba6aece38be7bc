"""What a plan leaves open, decided."""

from pathlib import Path

import pytest

from archgym.errors import FileFormatError
from archgym.sweep.plan import SweepPlan
from archgym.sweep.reading import read_plan
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
