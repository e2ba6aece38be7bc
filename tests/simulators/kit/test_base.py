"""The bases refuse what a class returns by mistake."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import ConformanceError, SimulatorError
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, Term
from archgym.evaluation.simulator import Workload
from archgym.evaluation.spec import SimulatorSpec
from archgym.simulators.kit import RowSimulator
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace
from archgym.testing import check_simulator


class Sorter(RowSimulator):
    """A sorter, which returns what its attribute `found` holds."""

    spec = SimulatorSpec(
        name="sorter",
        version=0,
        space=DesignSpace("default", [Integer(name="width", low=1, high=4, doc="Lanes.")]),
        metrics=(
            MetricSpec("time_ns", "ns", "minimise", 0.1, "Time."),
            MetricSpec("area_um2", "um2", "minimise", 0.1, "Area."),
        ),
        model_reasons=("It does not fit.",),
        objectives={"quick": Objective("quick", (Term("time_ns", "minimise"),))},
        default_objective="quick",
        default_workload="few",
    )
    found: Any = (1.0, 2.0)

    def workload_names(self) -> tuple[str, ...]:
        return ("few",)

    def workload(self, name: str | Path) -> Workload:
        return Workload("few", "0" * 64, None)

    def measure(self, indices: np.ndarray, opened: Any, cost: str | None) -> Any:
        return 1 / self.found if self.found == 0 else self.found


def test_two_numbers_are_two_metrics() -> None:
    check_simulator(Sorter())


@pytest.mark.parametrize("found", [np.array([7.0]), 7.0, [[1.0, 2.0]], None, "It is not listed."])
def test_what_is_not_a_number_for_each_metric_is_refused(found: Any) -> None:
    sorter = type("Broken", (Sorter,), {"found": found, "__doc__": "Broken."})()

    with pytest.raises(SimulatorError, match=r"must return 2 numbers \(time_ns, area_um2\), or"):
        sorter.evaluate({"width": 1}, sorter.workload("few"))


@pytest.mark.parametrize("found", [np.array([7.0]), "It is not listed.", 0])
def test_suite_finds_a_measure_that_breaks(found: Any) -> None:
    Sorter.found, before = found, Sorter.found
    try:
        with pytest.raises(ConformanceError, match="the default design must run on 'few'"):
            check_simulator(Sorter())
    finally:
        Sorter.found = before
