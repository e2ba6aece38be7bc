"""Sets that keep what was used last: the host's memory and a TLB; compiled.

Blocks are linked by recency round a sentinel, the last place of the arrays.
"""

from archgym.kernels import compiled

__all__ = ["touch"]


@compiled
def touch(inside, before, after, numbers, count, capacity, block):  # type: ignore[no-untyped-def]  # compiled
    """Uses a block, which comes in where it is not and drives out what was used longest ago.

    Args:
      inside: (n_blocks + 1,) uint8, whether a block is in the set.
      before: (n_blocks + 1,) int32, what was used next after it.
      after: (n_blocks + 1,) int32, what was used last before it.
      numbers: Where the set's size stands.
      count: Its place there.
      capacity: Most blocks, 1 or more.
      block: What is used.

    Returns:
      Whether it was in the set.
    """
    sentinel = inside.shape[0] - 1
    was_inside = inside[block] == 1
    if was_inside:
        after[before[block]] = after[block]
        before[after[block]] = before[block]
    else:
        if numbers[count] >= capacity:
            oldest = before[sentinel]
            after[before[oldest]] = sentinel
            before[sentinel] = before[oldest]
            inside[oldest] = 0
            numbers[count] -= 1
        inside[block] = 1
        numbers[count] += 1
    newest = after[sentinel]
    after[sentinel] = block
    before[block] = sentinel
    after[block] = newest
    before[newest] = block
    return was_inside
