"""A metric that only another space or option has is asked for in vain, with the way to it."""

import re

import pytest

from archgym.errors import ArchGymError, UnknownNameError
from archgym.evaluation.options import declared_options
from archgym.evaluation.simulator import simulator_class, simulator_names
from archgym.evaluation.task import Task


def elsewhere(name: str) -> dict[str, dict[str, str]]:
    """Return the metrics that the default task lacks, with one choice that brings each."""
    kind = simulator_class(name)
    here = {spec.name for spec in kind().metrics}
    choices = [{"space": space} for space in kind.space_names]
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
        made = simulator_class(name)(**{option or "space": value})
        assert metric in {spec.name for spec in made.metrics}


@pytest.mark.parametrize("name", ["cpu", "dram"])
def test_limits_name_it_too_and_unknown_metrics_stay_unknown(name: str) -> None:
    with pytest.raises(UnknownNameError, match="--option window_us=1"):
        Task.make(name, subject_to="peak_temperature_c <= 80")
    with pytest.raises(UnknownNameError, match="Unknown metric 'no_such'"):
        Task.make(name, minimise="no_such")
