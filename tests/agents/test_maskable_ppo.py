"""Tests of proximal policy optimisation with action masks."""

import pytest

pytest.importorskip("sb3_contrib")

from archgym.agents.maskable_ppo import MaskablePpoAgent
from archgym.agents.ppo import PpoAgent
from archgym.testing import proving_tasks
from tests.agents.recorder import search

MIXED, MAPPING, TINY = proving_tasks()


def test_no_design_breaks_a_constraint_where_one_choice_is_made_at_a_time() -> None:
    masked = search(MaskablePpoAgent, MIXED, 200, n_envs=32, epochs=2).designs
    unmasked = search(PpoAgent, MIXED, 200, n_envs=32, epochs=2, formulation="sequential").designs

    assert MIXED.space.feasible(masked).all()
    assert not MIXED.space.feasible(unmasked).all()
