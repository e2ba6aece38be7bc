"""Metrics that a design sets have no error, on every simulator; others have one."""

import numpy as np
import pytest

from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import default_workload, simulator_class, simulator_names
from archgym.measurements.prior import chosen_prior
from archgym.tasks.task import Task

# The first space of each simulator, and further ones with metrics of their own.
SPACES = [
    *((n, simulator_class(n).spec.space_names[0]) for n in simulator_names() if "+" not in n),
    *((n, simulator_class(n).spec.space_names[-1]) for n in ("accelerator", "dram", "kv")),
]
# Models of silicon and power, equal for all workloads and still uncertain; a share that routing
# decides.
ESTIMATED = (
    *("area_mm2", "area_no_dram_mm2", "dram_area_mm2", "translation_area_mm2"),
    *("degraded_percent", "power_kw"),
)


@pytest.mark.usefixtures("quick_simulators")
@pytest.mark.parametrize(("name", "space"), SPACES)
def test_metrics_that_do_not_depend_on_the_run_have_no_error(name: str, space: str) -> None:
    simulator = make_simulator(simulator_class(name), space, None, {})
    with_error = chosen_prior(simulator.metrics, "test").metrics
    workloads = dict.fromkeys([default_workload(simulator), *simulator.workload_names()])
    task = Task.make(simulator, list(workloads)[:2])
    more = task.space.sample(3, np.random.default_rng(1))
    found = task.evaluate(np.vstack([task.space.default_indices, more]))
    values = found.values[(found.reason == 0).all(axis=1)]

    for place, spec in enumerate(task.metrics):
        one, other = values[:, :, place].T[[0, -1]]
        if spec.exact:
            assert spec.name not in with_error
            assert (one == other).all()
        elif spec.name in with_error and len(task.workloads) > 1 and one.any():
            assert (one != other).any() or spec.name in ESTIMATED


def test_parts_of_a_composition_keep_what_is_exact() -> None:
    simulator = make_simulator(simulator_class("cpu+dram"), "default", None, {})

    exact = [spec.name for spec in simulator.metrics if spec.exact]

    assert exact == ["dram.data_pins", "dram.capacity_mib"]
    assert not set(exact) & set(chosen_prior(simulator.metrics, "test").metrics)
