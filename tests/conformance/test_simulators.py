"""Every simulator that is found passes the suite, in every space and fidelity."""

from typing import Any

import pytest

from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import default_workload, simulator_class, simulator_names
from archgym.testing import ProvingSimulator, check_simulator
from tests.conformance.small import declared
from tests.toys import ToySimulator

# Each link of hundreds of NPUs takes a minute; other spaces are tried with 16 in tests/simulators.
OF_TABLES_ONLY = ("every-link", "store-and-forward")
# The suite evaluates each design some ten times, which takes half a minute with these.
NIGHTLY = (*OF_TABLES_ONLY, "long")
VARIANTS = [
    (name, space, fidelity)
    for name in simulator_names()
    for space in simulator_class(name).spec.space_names
    for fidelity in simulator_class(name).spec.fidelity_names
    if fidelity not in OF_TABLES_ONLY or space == simulator_class(name).spec.table_space
]


# chosen: with a hundred spaces and fidelities a few minutes, whatever simulators there are.
SECONDS = 1.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "space", "fidelity"),
    [
        pytest.param(*variant, marks=[pytest.mark.nightly] * (variant[2] in NIGHTLY))
        for variant in VARIANTS
    ],
)
def test_simulator_conforms(name: str, space: str, fidelity: str) -> None:
    quick = declared("QUICK").get(name, {})
    simulator = make_simulator(simulator_class(name), space, fidelity, quick)
    # Each workload is run in some variant, and each variant runs its share and the default one.
    variants = [variant for variant in VARIANTS if variant[0] == name]
    names = simulator.workload_names()
    share = names[variants.index((name, space, fidelity)) :: len(variants)]

    check_simulator(
        simulator,
        n_designs=8,
        seconds=SECONDS,
        workloads=list(dict.fromkeys([default_workload(simulator), *share])),
    )


@pytest.mark.parametrize("name", simulator_names())
def test_simulator_is_named_as_its_folder_and_made_without_arguments(name: str) -> None:
    make: Any = simulator_class(name)

    simulator = make()

    assert simulator.name == name
    assert simulator.fidelity == simulator_class(name).spec.fidelity_names[0]


@pytest.mark.parametrize("name", simulator_names())
def test_table_space_of_a_simulator_is_small_enough(name: str) -> None:
    kind = simulator_class(name)
    if kind.spec.table_space is None:
        pytest.skip(f"simulator {name} declares no space for tables")

    counted = make_simulator(kind, kind.spec.table_space, None, {}).space.count()

    assert counted.exact
    assert counted.value <= 2_000_000


@pytest.mark.parametrize("space", ProvingSimulator.spec.space_names)
def test_proving_simulator_conforms(space: str) -> None:
    check_simulator(ProvingSimulator(space))


def test_toy_simulator_conforms() -> None:
    check_simulator(ToySimulator())
