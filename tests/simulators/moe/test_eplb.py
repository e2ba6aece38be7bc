"""Placement of copies of experts."""

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.moe.machine.eplb import balance
from evidence.moe.caches import balancedness

# The example of the balancer's README: two layers, twelve experts, four groups on two servers.
WEIGHT = np.array(
    [
        [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
        [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
    ]
)
SLOTS = [
    [5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1],
    [7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1],
]


def test_example_of_the_readme_is_placed_as_there() -> None:
    assert balance(WEIGHT, 16, 4, 2, 8).slots.tolist() == SLOTS


def test_every_expert_has_a_slot_and_loads_add_up() -> None:
    rng = np.random.default_rng(0)
    weight = rng.pareto(1.0, (5, 32))

    placed = balance(weight, 48, 8, 2, 16)

    for slots, copies in zip(placed.slots, placed.copies, strict=True):
        assert np.bincount(slots, minlength=32).tolist() == copies.tolist()
    assert placed.copies.min() == 1
    assert placed.loads(weight).sum(axis=1) == pytest.approx(weight.sum(axis=1))


def test_copies_make_loads_more_even() -> None:
    weight = np.random.default_rng(0).pareto(1.0, (5, 32)) + 0.1
    plain = balancedness(weight.reshape(5, 8, 4).sum(axis=2))

    assert (balancedness(balance(weight, 64, 1, 1, 8).loads(weight)) > plain).all()


def test_groups_stay_on_their_server() -> None:
    placed = balance(WEIGHT, 16, 4, 2, 8)

    for slots in placed.slots:
        servers = [set(half // 3) for half in slots.reshape(2, 8)]
        assert not servers[0] & servers[1]


def test_layer_without_load_is_even() -> None:
    assert balancedness(np.zeros((1, 4))).tolist() == [1.0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((16, 5, 2, 8), "n_groups"),
        ((16, 4, 3, 8), "n_nodes"),
        ((15, 4, 2, 8), "n_gpus"),
        ((8, 4, 2, 8), "n_slots"),
        ((16, 4, 2, 0), "n_gpus"),
    ],
)
def test_numbers_that_do_not_divide_are_refused(
    arguments: tuple[int, int, int, int], words: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        balance(WEIGHT, *arguments)


def test_load_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="finite"):
        balance(np.array([[1.0, np.nan]]), 2, 1, 1, 1)
