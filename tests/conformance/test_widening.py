"""Ranges that a search may widen, over all simulators that declare them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.evaluation.capabilities import fitted
from archgym.evaluation.options import make_simulator
from archgym.evaluation.restriction import RestrictedSimulator
from archgym.evaluation.simulator import (
    FEASIBLE,
    Simulator,
    default_workload,
    simulator_class,
    simulator_names,
)
from archgym.report.diagnostics import range_ends
from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.conformance.test_round_trips import own_file

# Options that make one evaluation short, or that a parameter needs.
_OPTIONS = {
    "cpu": {"instructions": "2000"},
    "translation": {"core": "window", "records": "1000"},
    "moe": {"requests": "16"},
}


# Workloads that are evaluated in less time than the default ones.
_WORKLOADS = {"dram": "stream", "cluster": "bert-large"}


@pytest.fixture
def workload_of(tmp_path: Path) -> Callable[[str], str | None]:
    """Return the quick workload of a simulator, None for its default one."""

    def workload(name: str) -> str | None:
        made = own_file(name, tmp_path / "own") if name == "accelerator" else None
        return _WORKLOADS.get(name) if made is None else str(made)

    return workload


def _wide() -> Iterator[tuple[str, str, str]]:
    for name in simulator_names():
        for space in simulator_class(name).spec.space_names:
            simulator = make_simulator(simulator_class(name), space, None, _OPTIONS.get(name, {}))
            for parameter in simulator.space.parameters:
                if parameter.widened().size > parameter.size:
                    yield name, space, parameter.name


WIDE = list(_wide())


def _whole(name: str, space: str) -> Simulator:
    return make_simulator(simulator_class(name), space, None, _OPTIONS.get(name, {}))


def test_six_simulators_declare_ranges_that_widen() -> None:
    # FARSI's library lists every level of a system on a chip, so its spaces end with their ranges.
    assert {name for name, _, _ in WIDE} >= {
        "accelerator", "cluster", "cpu", "dram", "moe", "translation",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "space", "parameter"), WIDE)
def test_wider_range_is_part_of_the_name_and_changes_no_narrow_design(
    name: str, space: str, parameter: str, workload_of: Callable[[str], str | None]
) -> None:
    whole = _whole(name, space)
    narrow, widest = whole.space.parameter(parameter), whole.space.parameter(parameter).widened()
    first, last = widest.value(0), widest.value(widest.size - 1)
    options: dict[str, Any] = dict(_OPTIONS.get(name, {}))
    task = Task.make(
        name,
        workload_of(name),
        space=space,
        values={parameter: f"{first}..{last}"},
        **options,
    )

    again = Task.make(task.id, workload_of(name))
    assert again.digest == task.digest
    assert f"{parameter}={first}..{last}" in task.id
    assert task.space.size == whole.space.size // narrow.size * widest.size
    assert task.space.design_at(task.space.default_indices) == whole.space.design_at(
        whole.space.default_indices
    )
    workload = task.workloads[0].workload
    assert isinstance(task.simulator, RestrictedSimulator)
    plain = fitted(whole, [workload])
    default = plain.evaluate_batch(plain.space.default_indices[None, :], workload)
    np.testing.assert_array_equal(task.reference[0], default.values[0])


@pytest.mark.parametrize(("name", "space", "parameter"), WIDE)
def test_largest_value_is_evaluated(
    name: str, space: str, parameter: str, workload_of: Callable[[str], str | None]
) -> None:
    widest = _whole(name, space).space.parameter(parameter).widened()
    last = widest.value(widest.size - 1)
    simulator = make_simulator(
        simulator_class(name), f"{space}{{{parameter}={last}}}", None, _OPTIONS.get(name, {})
    )
    workload = simulator.workload(workload_of(name) or default_workload(simulator))
    simulator = fitted(simulator, [workload])

    found = simulator.evaluate_batch(simulator.space.default_indices[None, :], workload)

    assert found.reason[0] == FEASIBLE
    assert simulator.space.design_at(simulator.space.default_indices)[parameter] == last


def test_range_beyond_the_model_is_refused_with_where_it_ends() -> None:
    with pytest.raises(InvalidArgumentError, match="from 1 to 1024, where the model ends"):
        Task.make("dram", values={"max_active_transactions": "1..2048"})


def test_hint_at_the_end_of_a_range_can_be_pasted(tmp_path: str) -> None:
    task = Task.make(
        "cluster",
        "bert-large",
        objective="throughput",
        space="parallel",
        fixed={"splits": 4},
        fidelity="short",
    )
    with Study.create(f"{tmp_path}/study", task, "hill_climbing", budget=60) as study:
        log = study.run().log
    hints = [text for text in range_ends(task, log) if "--values" in text]
    assert hints == ["`microbatch` is at the end of its range, 16; --values microbatch=1..256 "
                     "searches further"]  # fmt: skip
    name, _, values = hints[0].split("--values ")[1].split()[0].partition("=")

    wider = Task.make(
        "cluster", "bert-large", objective="throughput", space="parallel", fixed={"splits": 4},
        values={name: values}, fidelity="short",
    )  # fmt: skip

    assert wider.space.parameter(name).value(wider.space.parameter(name).size - 1) == 256
