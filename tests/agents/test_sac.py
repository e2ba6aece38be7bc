"""Tests of soft actor-critic: every design is as easy to reach as every other."""

import itertools
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

from archgym.agents._random_state import RandomState
from archgym.agents._sb3.policy import make_designs
from archgym.agents._sb3.training import make_episodes, no_results
from archgym.agents.sac import SacAgent
from archgym.evaluation.task import Task
from archgym.spaces.choices import Choices
from archgym.spaces.parameter import Categorical, Integer
from archgym.spaces.space import DesignSpace
from archgym.testing import ProvingSimulator, proving_tasks
from tests.agents.recorder import search

MIXED, MAPPING, TINY = proving_tasks()

# Sizes for whose parts a float32 has to be cut exactly: primes, powers, one.
SIZES = (1, 2, 3, 5, 7, 14, 64, 100)


class _Odd(ProvingSimulator):
    """Parameters of odd sizes, each of which always means something."""

    def __init__(self) -> None:
        super().__init__("tiny")
        self.space = DesignSpace(
            "odd",
            [
                Integer(name=f"p{size}", low=1, high=size)
                if size % 2
                else Categorical(name=f"p{size}", choices=tuple(map(str, range(size))))
                for size in SIZES
            ],
        )


ODD = Task.make(_Odd(), "near")


def designs_of(actions: np.ndarray, task: Task, formulation: str) -> np.ndarray:
    """Designs that rows of numbers from -1 to 1, one a choice, make in the agent's episodes."""
    n = len(actions)
    env = make_episodes(task, n, formulation, "box", -2.0, no_results(task), 0)
    env.reset()
    if formulation == "whole":
        infos = env.step(actions.astype(np.float32))[3]
    else:
        for column in actions.T:
            infos = env.step(column[:, None].astype(np.float32))[3]
    return np.stack([info["indices"] for info in infos])


@pytest.mark.parametrize("formulation", ["whole", "sequential"])
def test_even_actions_give_every_option_of_every_choice_equally_often(formulation: str) -> None:
    # The middles of so many equal parts: as many fall to each option of each size exactly.
    n = int(np.lcm.reduce(SIZES)) // 8
    middles = (np.arange(n) + 0.5) / n * 2.0 - 1.0
    picks = designs_of(np.tile(middles[:, None], (1, len(SIZES))), ODD, formulation)

    for column, size in zip(picks.T, SIZES, strict=True):
        counts = np.bincount(column, minlength=size)

        assert counts.max() - counts.min() <= 1, size


@pytest.mark.parametrize("formulation", ["whole", "sequential"])
def test_ends_of_the_interval_are_the_first_and_the_last_option(formulation: str) -> None:
    ends = np.array([[-1.0] * len(SIZES), [1.0] * len(SIZES)])

    assert designs_of(ends, ODD, formulation).tolist() == [[0] * 8, [size - 1 for size in SIZES]]


@pytest.mark.parametrize("formulation", ["whole", "sequential"])
@pytest.mark.parametrize("task", [MAPPING, TINY], ids=["mapping", "tiny"])
def test_every_design_is_one_box_of_the_same_volume(task: Task, formulation: str) -> None:
    # With the test above: a design is a product of equal parts, and each has one.
    sizes = Choices(task.space).sizes
    boxes = itertools.product(*((np.arange(size) + 0.5) / size * 2.0 - 1.0 for size in sizes))

    designs = designs_of(np.array(list(boxes)), task, formulation)

    assert len(np.unique(designs, axis=0)) == len(designs) == task.space.size


@pytest.mark.parametrize("formulation", ["whole", "sequential"])
def test_new_policy_is_even_and_keeps_out_of_the_corners(formulation: str) -> None:
    n = 10_000
    agent: Any = SacAgent(ODD.space, seed=0, formulation=formulation)
    with RandomState(0):
        env = make_episodes(ODD, n, formulation, "box", -2.0, no_results(ODD), 0)
        algorithm = agent._make(env, env.longest_episode)
        actions, _ = algorithm.predict(env.reset(), deterministic=False)
        designs = make_designs(algorithm, env, has_masks=False, deterministic=False)

    # An even number has 10 % beyond 0.9 and 1 % beyond 0.99.
    assert 0.06 < float((np.abs(actions) > 0.9).mean()) < 0.10
    assert float((np.abs(actions) > 0.99).mean()) < 0.01
    for column, size in zip(designs.T, SIZES, strict=True):
        if size <= 14:
            share = np.bincount(column, minlength=size) / n * size
            # 13 % by design, and four deviations of what is drawn.
            assert np.abs(share - 1.0).max() < 0.13 + 4.0 * np.sqrt(size / n)


def test_random_start_is_even() -> None:
    designs = search(SacAgent, ODD, 512, start=1024, n_envs=64).designs

    for column, size in zip(designs.T, SIZES, strict=True):
        if size <= 7:
            share = np.bincount(column, minlength=size) / len(designs) * size
            assert np.abs(share - 1.0).max() < 4.5 * np.sqrt(size / len(designs))
