"""Every format can express each design of the spaces that are held for it."""

from typing import Any

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError, InvalidDesignError, UnknownNameError
from archgym.evaluation.capabilities import exported, expressible
from archgym.evaluation.options import make_simulator
from archgym.evaluation.restriction import expressible_share, hold_expressible
from archgym.evaluation.simulator import (
    Simulator,
    default_workload,
    simulator_class,
    simulator_names,
)
from archgym.tasks.task import Task
from tests.conformance.test_round_trips import in_place_of_models

# Layers are mapped for each design; Timeloop's format refuses arrays by three parameters at once.
UNDECIDED = {("accelerator", "timeloop"), ("accelerator", "traffic")}
# What an engine refuses since memory is too small follows from many parameters.
TOO_LARGE = ("cannot serve the design", "composition of many models", "has no accelerator")
# What cannot be built, or ASTRA-sim refuses by two parameters at once.
TOGETHER = ("cannot be built", "it cannot run", "messages to itself", "may have 4,000,000 nodes")
# Traces that are exported with each design.
SHORT = {"cpu": {"instructions": "2000"}}
CASES: list[tuple[str, str, dict[str, str]]] = [
    (name, space, SHORT.get(name, {}))
    for name in simulator_names()
    if "+" not in name
    for space in simulator_class(name).spec.space_names
    if simulator_class(name).spec.exports
]
CASES += [("dram", "default", {"device": family}) for family in ("ddr5", "lpddr5", "hbm3", "gddr6")]


@pytest.mark.parametrize(("name", "space", "options"), CASES)
def test_no_design_of_a_held_space_is_refused_by_its_format(
    name: str, space: str, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whether a format has a place for a design does not depend on results.
    monkeypatch.setattr(Simulator, "_simulated", in_place_of_models)
    simulator = make_simulator(simulator_class(name), space, None, options)
    monkeypatch.setattr(type(simulator), "check", lambda *_: None, raising=False)
    monkeypatch.setattr(type(simulator), "laws", lambda *_: {}, raising=False)
    workload = simulator.workload(default_workload(simulator))
    for form in simulator.spec.exports:
        if (name, form) in UNDECIDED:
            continue
        try:
            held: Simulator | None = hold_expressible(simulator, form)
        except InvalidArgumentError:
            held = None
        if held is None:
            assert expressible_share(simulator, form) == 0.0
            continue
        assert expressible_share(held, form) == 1.0
        refused = []
        for indices in held.space.sample(30, np.random.default_rng(3)):
            try:
                exported(held, form, held.space.canonical(indices[None, :])[0], workload)
            except InvalidDesignError as error:
                if not any(text in str(error) for text in (*TOO_LARGE, *TOGETHER)):
                    refused.append(str(error))
        assert refused == [], form


def test_id_of_a_task_for_a_tool_makes_the_same_task() -> None:
    choices: dict[str, Any] = {"device": "lpddr5", "requests": "20"}
    task = Task.make("dram", tool="ramulator", **choices)

    assert "{speed_bin=LPDDR5_6400}" in task.id
    assert Task.make(task.id).digest == task.digest
    assert Task.from_json(task.to_json()).digest == task.digest
    assert Task.make("dram", **choices).digest != task.digest


def test_held_values_that_a_tool_lacks_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"`speed_bin` must be .*LPDDR5_6400; got LPDDR"):
        Task.make("dram", device="lpddr5", tool="ramulator", fixed={"speed_bin": "LPDDR5X_8533"})


def test_tool_of_another_option_is_named_with_it() -> None:
    with pytest.raises(UnknownNameError, match=r"needs `--option device=ddr5`"):
        Task.make("dram", tool="ramulator")


def test_part_of_a_composition_is_held_under_its_own_name() -> None:
    simulator = make_simulator(simulator_class("cpu+dram"), None, None, {})

    assert dict(expressible(simulator, "cpu.champsim")) == {}
