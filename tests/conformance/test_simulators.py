"""Every simulator that is found passes the suite, in every space and fidelity."""

import inspect
from typing import Any

import pytest

from archgym.evaluation.simulator import simulator_class, simulator_names
from archgym.testing import ProvingSimulator, check_simulator
from tests.toys import ToySimulator

VARIANTS = [
    (name, space, fidelity)
    for name in simulator_names()
    for space in simulator_class(name).space_names
    for fidelity in simulator_class(name).fidelity_names
]


# chosen: with a dozen spaces and two fidelities a minute or two, whatever simulators there are.
SECONDS = 3.0


@pytest.mark.slow
@pytest.mark.parametrize(("name", "space", "fidelity"), VARIANTS)
def test_simulator_conforms(name: str, space: str, fidelity: str) -> None:
    make: Any = simulator_class(name)

    check_simulator(make(space=space, fidelity=fidelity), n_designs=8, seconds=SECONDS)


@pytest.mark.parametrize("name", simulator_names())
def test_simulator_is_named_as_its_folder_and_made_without_arguments(name: str) -> None:
    make: Any = simulator_class(name)

    simulator = make()

    assert simulator.name == name
    assert simulator.fidelity == simulator_class(name).fidelity_names[0]
    assert {"space", "fidelity"} <= set(inspect.signature(make).parameters)


@pytest.mark.parametrize("name", simulator_names())
def test_simulator_declares_a_space_that_can_be_tabulated(name: str) -> None:
    kind: Any = simulator_class(name)

    counted = kind(space=kind.table_space).space.count()

    assert counted.exact
    assert counted.value <= 2_000_000


@pytest.mark.parametrize("space", ProvingSimulator.space_names)
def test_proving_simulator_conforms(space: str) -> None:
    check_simulator(ProvingSimulator(space))


def test_toy_simulator_conforms() -> None:
    check_simulator(ToySimulator())
