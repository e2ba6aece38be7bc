"""A set that keeps what was used last: the host's memory; compiled.

Blocks are linked by recency round a sentinel, the last place of the arrays. A set is three rows of
`State.blocks`: whether a block is inside, what was used next after it, and what last before it.
"""

from archgym.runtime.kernels import helper
from archgym.simulators.moe.state import (
    State,
)

__all__ = ["touch"]


@helper
def touch(state: State, row: int, count: int, capacity: int, block: int) -> bool:
    """Use a block, which comes in where it is not and drives out what was used longest ago.

    Args:
      state: A `State`.
      row: The first of the set's rows.
      count: Where in `numbers` the set's size stands.
      capacity: Most blocks, 1 or more.
      block: What is used.

    Returns:
      Whether it was in the set.
    """
    blocks, numbers = state.blocks, state.numbers
    before, after = row + 1, row + 2
    sentinel = blocks.shape[1] - 1
    was_inside = blocks[row, block] == 1
    if was_inside:
        blocks[after, blocks[before, block]] = blocks[after, block]
        blocks[before, blocks[after, block]] = blocks[before, block]
    else:
        if numbers[count] >= capacity:
            oldest = blocks[before, sentinel]
            blocks[after, blocks[before, oldest]] = sentinel
            blocks[before, sentinel] = blocks[before, oldest]
            blocks[row, oldest] = 0
            numbers[count] -= 1
        blocks[row, block] = 1
        numbers[count] += 1
    newest = blocks[after, sentinel]
    blocks[after, sentinel] = block
    blocks[before, block] = sentinel
    blocks[after, block] = newest
    blocks[before, newest] = block
    return bool(was_inside)
