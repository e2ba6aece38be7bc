"""Tests of steps to neighbours."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archgym.agent import neighbours
from archgym.agent.neighbours import step, step_designs
from archgym.spaces.parameter import Categorical, Factorisation, Integer, Parameter, Permutation
from archgym.spaces.space import DesignSpace
from archgym.testing import ProvingSimulator
from tests.spaces.test_parameter import parameters


@given(parameters, st.data(), st.integers(0, 2**32), st.floats(0.001, 1.0))
def test_step_gives_another_value(
    parameter: Parameter, data: st.DataObject, seed: int, length: float
) -> None:
    index = data.draw(st.integers(0, parameter.size - 1))

    neighbour = step(parameter, index, length, np.random.default_rng(seed))

    assert 0 <= neighbour < parameter.size
    assert neighbour != index or parameter.size == 1
    assert type(neighbour) is int


@pytest.mark.parametrize(
    "parameter",
    [
        Categorical(name="c", choices=("a", "b", "c")),
        Integer(name="i", low=0, high=9),
        Permutation(name="p", items=("a", "b", "c", "d")),
        Factorisation(name="f", total=24, parts=3),
    ],
    ids=lambda parameter: str(parameter.kind),
)
def test_steps_lead_from_any_value_to_any_other(parameter: Parameter) -> None:
    rng = np.random.default_rng(0)
    reached = {0}
    for _ in range(200):
        reached |= {step(parameter, index, 0.01, rng) for index in reached}

    assert reached == set(range(parameter.size))


def test_short_steps_along_a_scale_are_to_the_next_value() -> None:
    parameter = Integer(name="i", low=0, high=99)
    rng = np.random.default_rng(0)

    steps = {step(parameter, 50, 0.001, rng) for _ in range(100)}

    assert steps == {49, 51}


def test_long_steps_have_their_mean_length() -> None:
    parameter = Integer(name="i", low=0, high=9999)
    rng = np.random.default_rng(0)

    lengths = [abs(step(parameter, 5000, 0.01, rng) - 5000) for _ in range(5000)]

    assert 95 < np.mean(lengths) < 105


def test_permutation_steps_by_a_swap_and_factorisation_by_a_prime() -> None:
    order = Permutation(name="p", items=tuple("abcdef"))
    tiles = Factorisation(name="f", total=360, parts=3)
    rng = np.random.default_rng(0)

    for _ in range(50):
        before, after = order.value(7), order.value(step(order, 7, 0.1, rng))
        assert sum(x != y for x, y in zip(before, after, strict=True)) == 2
        was, now = tiles.value(7), tiles.value(step(tiles, 7, 0.1, rng))
        assert sum(x != y for x, y in zip(was, now, strict=True)) == 2


def test_design_steps_in_active_parameters_only() -> None:
    space = ProvingSimulator("mixed").space
    rng = np.random.default_rng(0)

    for _ in range(100):
        changed = step_designs(space, space.default_indices[None, :], 7.0, 0.1, rng)[0]
        assert changed[5:].tolist() == space.default_indices[5:].tolist()
        assert (changed != space.default_indices).any()


def test_design_that_cannot_step_stays() -> None:
    space = DesignSpace("one", [Categorical(name="c", choices=("a",))])

    stayed = step_designs(space, np.array([[0]]), 1.0, 0.1, np.random.default_rng(0))

    assert stayed.tolist() == [[0]]


@pytest.mark.parametrize("rate", [0.1, 1.0, 2.5])
def test_rate_is_the_mean_number_of_parameters_that_step(rate: float) -> None:
    space = DesignSpace("free", [Integer(name=f"p{i}", low=0, high=9) for i in range(10)])
    rng = np.random.default_rng(0)

    designs = np.full((4000, 10), 5)
    stepped = (step_designs(space, designs, rate, 0.1, rng) != designs).sum(axis=1)

    assert stepped.min() == 1
    # One more steps where none would have: with odds (1 - rate / 10) ^ 10.
    assert np.mean(stepped) == pytest.approx(rate + (1 - rate / 10) ** 10, abs=0.06)


def test_given_design_is_not_changed() -> None:
    space = ProvingSimulator("mixed").space
    design = space.default_indices[None, :].copy()

    step_designs(space, design, 5.0, 0.5, np.random.default_rng(0))

    assert np.array_equal(design[0], space.default_indices)


@pytest.mark.parametrize("length", [0.001, 0.15, 1.0])
def test_compiled_steps_are_those_of_python(length: float, monkeypatch: pytest.MonkeyPatch) -> None:
    ordered = [Integer(name=f"p{high}", low=0, high=high) for high in (0, 1, 2, 9, 999)]
    listed = [Categorical(name=f"c{n}", choices=tuple("abcdefgh"[:n])) for n in (1, 2, 3, 8)]
    space = DesignSpace("both", [*ordered, *listed])
    designs = space.sample(100, np.random.default_rng(0))
    import archgym.runtime.kernels  # noqa: F401

    one, other = np.random.default_rng(1), np.random.default_rng(1)
    monkeypatch.setattr(neighbours, "_LOADED_AFTER", 0)
    compiled = step_designs(space, designs, 3.0, length, one)
    monkeypatch.setattr(neighbours, "_LOADED_AFTER", 2**62)
    plain = step_designs(space, designs, 3.0, length, other)

    assert np.array_equal(compiled, plain)
    assert (compiled != designs).any(axis=1).all()
    assert one.bit_generator.state == other.bit_generator.state


LOADED = """
import numpy as np
import archgym.runtime.kernels
from archgym.agent import neighbours
from archgym.agent.neighbours import step_designs
neighbours._LOADED_AFTER = 0
from archgym.spaces.parameter import Categorical
from archgym.spaces.space import DesignSpace

space = DesignSpace("c", [Categorical(name="c", choices=("a", "b", "c"))])
rng = np.random.default_rng(0)
print(step_designs(space, np.zeros((9, 1), dtype=np.int64), 1.0, 0.1, rng).ravel().tolist())
"""


@pytest.mark.slow
def test_compiled_steps_are_loaded_from_the_cache_by_another_process() -> None:
    # Drawing a whole number allocates, for which a process has to be prepared.
    run = [sys.executable, "-c", LOADED]
    texts = [subprocess.run(run, check=True, capture_output=True).stdout for _ in range(2)]

    assert texts[0] == texts[1]
    assert set(texts[0].decode().strip("[]\n").split(", ")) == {"1", "2"}
