"""Tests of simulators that hold parameters, over everything that is registered."""

import math
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from archgym.errors import (
    InvalidArgumentError,
    InvalidDesignError,
    SimulatorError,
    UnknownNameError,
)
from archgym.evaluation.external import Infeasible
from archgym.evaluation.function import simulator
from archgym.evaluation.options import make_simulator
from archgym.evaluation.restriction import RestrictedSimulator, hold, split_space, values_in
from archgym.evaluation.simulator import Simulator, simulator_class, simulator_names
from archgym.spaces.design import Design
from archgym.spaces.parameter import (
    Categorical,
    Factorisation,
    Ordinal,
    Parameter,
    Permutation,
    PowerOfTwo,
    Real,
)
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator


def every_space() -> Iterator[tuple[str, str]]:
    for name in simulator_names():
        for space in simulator_class(name).spec.space_names:
            yield name, space


def listed(parameter: Parameter) -> bool:
    return not isinstance(parameter, Permutation | Factorisation) and parameter.size > 1


@simulator(
    space=[
        Ordinal("wanted", (1, 64, 512), default=1, unit="GB", doc="Memory that is wanted."),
        *(PowerOfTwo(name=name, low=1, high=8, doc="A factor of it.") for name in "abc"),
        PowerOfTwo(name="other", low=1, high=64, doc="No part of it."),
    ],
    metrics={"cost": "minimise"},
    reasons=("the memory is too small",),
)
def memory(design: Design) -> Any:
    size = math.prod(int(design[name]) for name in "abc")
    is_enough = size >= int(design["wanted"])
    return {"cost": size} if is_enough else Infeasible("the memory is too small")


def test_default_runs_where_a_held_value_needs_three_other_changes() -> None:
    # Before, changes of one or two parameters were tried, and the rest was refused.
    task = Task.make(memory, fixed={"wanted": 512})
    default = task.space.design_at(task.space.default_indices)

    assert task.reference.tolist() == [[512.0]]
    # What does not help stays as it was.
    assert dict(default) == {"wanted": 512, "a": 8, "b": 8, "c": 8, "other": 1}
    with pytest.raises(SimulatorError, match="Choose other values of wanted, a, a workload"):
        Task.make(memory, fixed={"wanted": 512, "a": 1})


@pytest.fixture
def task() -> Task:
    return Task.make(ProvingSimulator("tiny"), "near")


@pytest.mark.parametrize(("name", "space"), list(every_space()))
def test_a_parameter_is_held_in_every_space(name: str, space: str) -> None:
    whole = make_simulator(simulator_class(name), space, None, {})
    rng = np.random.default_rng(7)
    names = [p.name for p in whole.space.parameters if listed(p)]
    for parameter in (whole.space.parameter(n) for n in rng.choice(names, min(3, len(names)))):
        values = [parameter.value(int(i)) for i in rng.permutation(parameter.size)[:2]]
        part = hold(whole, {}, {parameter.name: values}, {})
        again = make_simulator(simulator_class(name), part.space.name, None, {})
        drawn = part.space.sample(20, rng)

        assert again.space == part.space
        assert again.space.name == part.space.name
        assert pickle.loads(pickle.dumps(part)).space == part.space
        assert set(part.space.columns(drawn)[parameter.name].tolist()) <= set(values)
        for design in part.space.designs(drawn):
            row = whole.space.canonical(whole.space.indices_of(design)[None, :])
            assert whole.space.feasible(row)[0]


def test_held_designs_have_the_results_of_the_whole(task: Task) -> None:
    first = task.space.parameters[0]
    held = Task.make(
        ProvingSimulator("tiny"), "near", values={first.name: [first.value(1), first.value(0)]}
    )
    designs = held.space.sample(16, np.random.default_rng(0))
    whole = task.space.indices_of_many(held.space.designs(designs))

    mine, theirs = held.evaluate(designs), task.evaluate(whole)
    np.testing.assert_array_equal(mine.values, theirs.values)
    assert mine.reason.tolist() == theirs.reason.tolist()


def test_id_and_record_of_a_held_task_read_back(task: Task) -> None:
    held = Task.make("dram", fixed={"page_policy": "Closed"}, values={"response_queue": "Reorder"})

    again = Task.make(held.id)
    recorded = Task.from_json(held.to_json())
    assert (again.id, again.digest) == (held.id, held.digest)
    assert (recorded.id, recorded.digest) == (held.id, held.digest)
    assert held.space_name == "default{page_policy=Closed,response_queue=Reorder}"


def test_unit_of_a_limit_on_a_parameter_is_converted() -> None:
    task = Task.make("accelerator", subject_to="buffer_kib <= 0.0625 MiB", space="default")

    assert task.space_name == "default{buffer_kib=8..64}"
    with pytest.raises(InvalidArgumentError, match="`buffer_kib` must be in KiB"):
        Task.make("accelerator", subject_to="buffer_kib <= 64 bananas")


def test_order_in_which_parameters_are_held_does_not_matter() -> None:
    one = Task.make("dram", fixed={"response_queue": "Reorder", "page_policy": "Closed"})
    other = Task.make("dram", fixed={"page_policy": "Closed"}, values={"response_queue": "Reorder"})

    assert (one.id, one.digest) == (other.id, other.digest)
    assert Task.make(one.id).digest == one.digest
    assert Task.from_json(one.to_json()).digest == one.digest


def test_limit_on_a_parameter_leaves_its_other_values_out() -> None:
    limited = Task.make(
        "dram", subject_to="request_buffer_size <= 4, mean_latency_ns <= 1e6", space="default"
    )

    assert (
        limited.space.columns(limited.space.sample(50, np.random.default_rng(1)))[
            "request_buffer_size"
        ].max()
        <= 4
    )
    assert [limit.metric for limit in limited.limits] == ["mean_latency_ns"]


@simulator(
    space=[
        PowerOfTwo("ways", 1, 16),
        Real("scale", 0.0, 1.0, 5),
        Ordinal("levels", (1, 2, 7)),
        Categorical("policy", ("lru", "random")),
        Factorisation("split", 12, 2),
    ],
    metrics={"delay_ns": "minimise"},
)
def cache(design: dict) -> dict:
    return {"delay_ns": 1.0 + design["ways"]}


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ("2..8", (2, 4, 8)),
        ("2|16", (2, 16)),
        ("16,2", (2, 16)),
        ([8, 1], (1, 8)),
        (["4", 2], (2, 4)),
        (4, (4,)),
    ],
)
def test_values_may_be_texts_ranges_and_lists(values: object, kept: tuple) -> None:
    task = Task.make(cache, values={"ways": values})

    assert task.space.parameter("ways").values == kept  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ("3x4|12x1", [(3, 4), (12, 1)]),
        ("3,4", [(3, 4)]),
        ("(3, 4)", [(3, 4)]),
        ((3, 4), [(3, 4)]),
        (["4x3"], [(4, 3)]),
    ],
)
def test_factors_are_held_by_texts_and_tuples(values: object, kept: list) -> None:
    task = Task.make(cache, values={"split": values})
    split = task.space.parameter("split")

    assert [split.value(number) for number in range(split.size)] == kept


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"fixed": {"way": 1}}, UnknownNameError, "'ways'"),
        ({"fixed": {"ways": 3}}, InvalidDesignError, "`ways` must be one of 1, 2, 4, 8, 16"),
        ({"values": {"ways": "5..7"}}, InvalidArgumentError, "no value lies from 5 to 7"),
        ({"values": {"ways": []}}, InvalidArgumentError, "`ways` must keep a value"),
        ({"values": {"policy": "a..b"}}, InvalidArgumentError, "`policy` must be one of"),
        ({"fixed": {"ways": "2..8"}}, InvalidArgumentError, "at one value; got '2..8'"),
        ({"fixed": {"split": "3x4|12x1"}}, InvalidArgumentError, "at one value; got '3x4"),
        ({"fixed": {"split": (3, 3)}}, InvalidDesignError, "whole factors whose product is 12"),
        ({"values": {"split": "3x4|3x3"}}, InvalidDesignError, "whole factors whose product is 12"),
        ({"subject_to": "split <= 3"}, InvalidArgumentError, "such names have no range"),
        ({"subject_to": "policy <= 3"}, InvalidArgumentError, "such names have no range"),
        ({"subject_to": "ways <= 3 ns"}, InvalidArgumentError, "must be in no unit"),
        ({"subject_to": "ways < 3"}, InvalidArgumentError, "A limit on parameter `ways`"),
        ({"fixed": {"ways": 1}, "subject_to": "ways <= 3"}, InvalidArgumentError, "held once"),
    ],
)
def test_what_cannot_be_held_is_refused(given: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        Task.make(cache, **given)


def test_default_that_the_held_value_forbids_moves_to_a_near_design() -> None:
    whole = Task.make("translation", space="default").simulator
    held = hold(whole, {"mechanism": "hash"}, {}, {})

    # `hash` needs native execution, the default's; its table must have whole sets.
    default = held.space.design_at(held.space.default_indices)
    assert default["mechanism"] == "hash"
    assert held.space.feasible(held.space.default_indices[None, :])[0]


def test_values_that_contradict_a_constraint_are_named() -> None:
    whole: Simulator = Task.make("translation").simulator

    with pytest.raises(InvalidArgumentError, match="needs native execution") as refused:
        hold(whole, {"mechanism": "hash", "execution": "virtualised"}, {}, {})
    assert str(refused.value).startswith("`mechanism=hash`, `execution=virtualised` must leave")


def test_a_held_simulator_is_held_further() -> None:
    once = hold(Task.make(cache).simulator, {"ways": 4}, {}, {})
    twice = hold(once, {"policy": "random"}, {}, {})

    assert isinstance(twice, RestrictedSimulator)
    assert twice.space.name == "default{ways=4,policy=random}"
    with pytest.raises(InvalidArgumentError, match="held once"):
        hold(twice, {"ways": 8}, {}, {})


def test_names_of_spaces_are_taken_apart() -> None:
    assert split_space("default") == ("default", {})
    assert split_space("small{a=1|2,b=x}") == ("small", {"a": "1|2", "b": "x"})
    for name in ("small{}", "small{a}", "small{a=1,a=2}", "small{=1}"):
        with pytest.raises(InvalidArgumentError, match="restricted space"):
            split_space(name)
    assert values_in(Real("scale", 0.0, 1.0, 5), "0|1") == (0.0, 1.0)
