"""Tests of random search."""

import numpy as np
import pytest
from scipy.stats import chisquare

from archgym.agents.random import RandomAgent
from archgym.errors import InvalidArgumentError
from archgym.testing import ProvingSimulator, proving_tasks
from tests.agents.recorder import search
from tests.toys import toy_task

MIXED, MAPPING, TINY = proving_tasks()


def test_no_design_is_asked_for_twice() -> None:
    found = search(RandomAgent, MIXED, 3000)

    assert len(np.unique(found.designs, axis=0)) == len(found.designs) == 3008
    assert found.n_repeated == 0


def test_designs_are_canonical_and_feasible() -> None:
    designs = search(RandomAgent, MIXED, 500).designs

    assert MIXED.space.is_canonical(designs).all()
    assert MIXED.space.feasible(designs).all()


def test_batch_size_changes_no_designs_turn() -> None:
    one, many = (
        search(RandomAgent, MIXED, 700, batch_size=size).designs[:700] for size in (1, 128)
    )

    assert np.array_equal(one, many)


def test_first_design_is_uniform() -> None:
    space = ProvingSimulator("tiny").space
    hits = np.zeros(6)
    for seed in range(600):
        hits[space.flat(RandomAgent(space, seed=seed, batch_size=1).ask())[0]] += 1

    assert chisquare(hits).pvalue > 0.001


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True, "8"])
def test_batch_size_that_cannot_be_is_refused(batch_size: int) -> None:
    with pytest.raises(InvalidArgumentError, match="`batch_size`"):
        RandomAgent(toy_task().space, seed=0, batch_size=batch_size)
