"""Which designs of the published space numbers from -1 to 1 reach: in the published code, and here.

Source of the published mapping: `action_mapper` and `action_decoder_rl` in
arch_gym/envs/envHelpers.py of srivatsankrishnan/oss-arch-gym, commit 53f745af of 2025-04-13. The
forms "sa", of the single agents PPO and SAC, and "macme_continuous" take their numbers through it;
the form "macme", of the multi-agent learner with discrete actions, does not.
"""

import itertools
import math

import numpy as np
import pytest

from archgym.envs.formulation import binned
from archgym.simulators.dram import DramSimulator
from archgym.spaces.choices import Choices

SPACE = DramSimulator(space="archgym-2023-rl").space
# A multiple of each number of options, so that each has as many of the parts as every other.
N_PARTS = 24
MIDDLES = (np.arange(N_PARTS) + 0.5) / N_PARTS * 2.0 - 1.0


def published_option(number: float, size: int) -> int:
    """The option that the published code takes for a number from -1 to 1.

    The interval is cut into `size` equal parts, but the number is rounded to a whole one before its
    part is looked up.
    """
    lower_ends = [-1.0 + part * 2.0 / size for part in range(size)]
    return max(part for part in range(size) if lower_ends[part] <= round(number))


def published_options(size: int) -> list[int]:
    return sorted({published_option(number, size) for number in np.linspace(-1.0, 1.0, 2001)})


@pytest.mark.parametrize(
    ("size", "options"), [(2, [0, 1]), (3, [0, 1, 2]), (4, [0, 2, 3]), (8, [0, 4, 7])]
)
def test_published_rounding_leaves_three_options_of_four_and_of_eight(
    size: int, options: list[int]
) -> None:
    assert published_options(size) == options


def test_published_rounding_reaches_one_design_in_seventeen() -> None:
    options = [published_options(size) for size in SPACE.sizes.tolist()]
    designs = np.array(list(itertools.product(*options)))

    assert (len(designs), SPACE.size) == (26_244, 442_368)
    assert round(100 * len(designs) / SPACE.size, 1) == 5.9
    # Of designs that differ in what is built, too, it is one in nineteen.
    distinct = np.unique(SPACE.canonical(designs), axis=0)
    assert (len(distinct), SPACE.count().value) == (7_770, 146_812)


def test_published_rounding_makes_the_option_in_the_middle_likelier() -> None:
    taken = [published_option(number, 8) for number in MIDDLES]

    assert [taken.count(option) for option in (0, 4, 7)] == [6, 12, 6]


def test_here_each_design_of_the_space_is_one_box_and_all_boxes_are_alike() -> None:
    sizes = SPACE.sizes
    middles = [(np.arange(size) + 0.5) / size * 2.0 - 1.0 for size in sizes]
    boxes = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1).reshape(-1, len(sizes))

    designs = Choices(SPACE).compose(binned(boxes, sizes))

    numbers = np.ravel_multi_index(tuple(designs.T), tuple(sizes.tolist()))
    assert len(np.unique(numbers)) == len(boxes) == SPACE.size == math.prod(sizes.tolist())


def test_here_each_option_has_an_equal_part_of_the_interval() -> None:
    for size in SPACE.sizes.tolist():
        # Just above a part's lower end, in its middle, just below its upper end.
        for shift in (1e-9, 1.0 / size, 2.0 / size - 1e-9):
            numbers = np.arange(size) * 2.0 / size - 1.0 + shift

            assert binned(numbers, np.array(size)).tolist() == list(range(size))
