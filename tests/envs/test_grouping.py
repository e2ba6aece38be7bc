"""Dividing the parameters of a space among agents."""

from dataclasses import replace
from typing import Any

import pytest

from archgym.envs.multi_agent import agents_of
from archgym.errors import InvalidArgumentError
from archgym.evaluation.simulator import Simulator
from archgym.spaces.parameter import Categorical
from archgym.spaces.space import DesignSpace
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator
from tests.toys import toy_task


def test_each_parameter_gets_an_agent() -> None:
    agents = agents_of(toy_task(), "parameter")

    assert list(agents) == ["mode", "banks", "depth", "gain", "boost"]
    assert agents["gain"] == ("gain",)


def test_parameter_with_one_value_gets_no_agent() -> None:
    agents = agents_of(Task.make(ProvingSimulator("mapping")), "parameter")

    assert list(agents) == ["loops", "tiles"]


def test_each_subsystem_gets_an_agent() -> None:
    agents = agents_of(toy_task(), "subsystem")

    assert agents == {"core": ("mode", "gain", "boost"), "memory": ("banks", "depth")}


def test_mapping_names_agents_and_the_order_of_their_parameters() -> None:
    groups = {"b": ["depth", "mode"], "a": ["gain", "boost", "banks"]}

    agents = agents_of(toy_task(), groups)

    assert agents == {"b": ("depth", "mode"), "a": ("gain", "boost", "banks")}
    assert list(agents) == ["b", "a"]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({}, "must have a group or more"),
        ({"a": []}, "list of parameters for 'a'; got \\[\\]"),
        ({"a": "mode"}, "list of parameters for 'a'; got 'mode'"),
        ({"a": None}, "list of parameters for 'a'; got None"),
        ({"a": 5}, "list of parameters for 'a'; got 5"),
        ({"a": {"mode", "banks"}}, "list of parameters for 'a'; got {"),
        ({"a": iter(["mode"])}, "list of parameters for 'a'; got <list_iterator"),
        ({"": ["mode"]}, "texts as names; got ''"),
        ({1: ["mode"]}, "texts as names; got 1"),
        ({"a": ["mode", "mood"]}, "got 'mood' in 'a'. There is 'mode', 'banks'"),
        ({"a": ["mode"], "b": ["banks", "mode"]}, "'mode' is in 'a' and in 'b'"),
        ({"a": ["mode", "mode"]}, "'mode' is in 'a' and in 'a'"),
        ({"a": ["mode", "banks"]}, "'depth', 'gain', 'boost' is in none"),
        ("system", 'must be "parameter", "subsystem", or a mapping .* got \'system\''),
        (None, "got None"),
    ],
)
def test_groups_that_do_not_divide_the_space_are_refused(groups: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        agents_of(toy_task(), groups)


def test_simulator_without_subsystems_says_so() -> None:
    with pytest.raises(InvalidArgumentError, match=r"it declares none\. Give a mapping"):
        agents_of(Task.make(ProvingSimulator("tiny")), "subsystem")


class _HalfGrouped(ProvingSimulator):
    spec = replace(
        ProvingSimulator.spec,
        groups={"core": ("mode",)},
    )


def test_subsystems_that_leave_a_parameter_out_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="`groups` of 'proving' must have each"):
        agents_of(Task.make(_HalfGrouped("tiny")), "subsystem")


def test_space_with_nothing_to_choose_is_refused() -> None:
    class Fixed(ProvingSimulator):
        def __init__(self) -> None:
            super().__init__("tiny")
            only = Categorical(name="only", choices=("one",), doc="No choice.")
            space = DesignSpace("fixed", [only], doc="One design.")
            self.spec = self.spec.completed(space=space)

    simulator: Simulator = Fixed()

    with pytest.raises(InvalidArgumentError, match="more than one value"):
        agents_of(Task.make(simulator), "parameter")
