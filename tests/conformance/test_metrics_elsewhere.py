"""A metric that only another space or option has is asked for in vain, with the way to it."""

import re

import numpy as np
import pytest

import archgym as ag
from archgym.errors import ArchGymError, UnknownNameError
from archgym.evaluation.options import declared_options, make_simulator
from archgym.evaluation.simulator import simulator_class, simulator_names
from archgym.evaluation.spec import SimulatorSpec
from archgym.simulators.kit import RowSimulator
from archgym.tasks.task import Task


def elsewhere(name: str) -> dict[str, dict[str, str]]:
    """Return the metrics that the default task lacks, with one choice that brings each."""
    kind = simulator_class(name)
    here = {spec.name for spec in kind().metrics}
    choices = [{"space": space} for space in kind.spec.space_names]
    for option in declared_options(kind):
        choices += [{option.name: str(value)} for value in option.samples]
    found: dict[str, dict[str, str]] = {}
    for choice in choices:
        try:
            metrics = kind(**choice).metrics
        except ArchGymError:
            continue
        for spec in metrics:
            if spec.name not in here:
                found.setdefault(spec.name, choice)
    return found


def test_some_metrics_need_a_choice() -> None:
    assert {"peak_temperature_c", "dollars"} <= set(elsewhere("soc"))
    assert "ttft_p90_ms" in elsewhere("kv")


@pytest.mark.parametrize("name", simulator_names())
def test_error_names_a_choice_that_has_the_metric(name: str) -> None:
    for metric in elsewhere(name):
        with pytest.raises(UnknownNameError, match="such as --") as caught:
            Task.make(name, minimise=metric)
        found = re.search(r"such as --(space|option) (?:([\w.]+)=)?(.+)\.$", str(caught.value))
        assert found is not None
        _kind, option, value = found.groups()
        space, options = (None, {option: value}) if option else (value, {})
        made = make_simulator(simulator_class(name), space, None, options)
        assert metric in {spec.name for spec in made.metrics}


@pytest.mark.parametrize("name", ["cpu", "dram"])
def test_limits_name_it_too_and_unknown_metrics_stay_unknown(name: str) -> None:
    with pytest.raises(UnknownNameError, match="--option window_us=1"):
        Task.make(name, subject_to="peak_temperature_c <= 80")
    with pytest.raises(UnknownNameError, match="Unknown metric 'no_such'"):
        Task.make(name, minimise="no_such")


class Bare(RowSimulator):
    """A simulator without options, and without a constructor of its own."""

    spec = SimulatorSpec(
        name="bare",
        version=0,
        space=ag.DesignSpace("default", [ag.Integer("lanes", 1, 4)]),
        metrics=(ag.MetricSpec("time_us", "us", "minimise", 0.001, "Time."),),
        objectives={"quick": ag.Objective("quick", (ag.Term("time_us", "minimise"),))},
        default_objective="quick",
        default_workload="one",
    )

    def workload_names(self) -> tuple[str, ...]:
        return ("one",)

    def workload(self, name: object) -> ag.Workload:
        return ag.Workload("one", "0" * 64, 1)

    def measure(self, indices: np.ndarray, opened: int, cost: str | None) -> np.ndarray:
        return np.array([1.0])


@pytest.mark.parametrize("choice", [{"minimise": "tine_us"}, {"subject_to": "tine_us <= 3"}])
def test_simulator_without_a_constructor_suggests_its_metric(choice: dict[str, str]) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'time_us'"):
        Task.make(Bare(), **choice)  # type: ignore[arg-type]
