"""Counts of one mapping: tiles, validity, accesses, cycles and energy; compiled.

The counts are those of Timeloop (mode `TIMELOOP`), which walks a loop nest with shortcuts: of each
loop in time only its first two iterations are run, the second one standing for all others, and a
tile that moves is taken to overlap the one before only while it moves as it did before. With mode
`IDEAL` every iteration counts as it is: a level keeps its last tile and fetches what the next one
has besides.

Walking takes time exponential in the number of loops; here it takes a few passes:

- How a tile moves from one visit to the next depends only on how many inner loops start again.
- A tensor without sliding axes is fetched whole whenever a loop that it depends on steps.
- A sliding one is walked loop by loop from the inside, with the last move as state: for every state
  in which the inner loops may be entered, what they cost and the state they are left in.
"""

import numpy as np

from archgym.kernels import compiled, inlined
from archgym.simulators.accelerator.work import Machine, Shape, Work

__all__ = [
    "FAN_OUT",
    "FAN_OUT_X",
    "FAN_OUT_Y",
    "IDEAL",
    "LEAST",
    "NOT_KEPT",
    "OVER_CAPACITY",
    "TIMELOOP",
    "VALID",
    "assess",
    "lay_out",
]

TIMELOOP, IDEAL, LEAST = 0, 1, 2
"""`LEAST` bounds the counts of both from below, whatever the order of the loops."""

# Why a mapping cannot run; a status is 16 x the level + the reason.
VALID, OVER_CAPACITY, FAN_OUT_X, FAN_OUT_Y, FAN_OUT, NOT_KEPT = range(6)

_OUTPUTS = 2


@inlined
def _volume(shape: Shape, tensor: int, extents: np.ndarray, level: int) -> int:
    """Words of a tensor's tile."""
    volume = 1
    for a in range(shape.n_axes[tensor]):
        volume *= (
            1
            + shape.axes[tensor, a, 1] * (extents[level, shape.axes[tensor, a, 0]] - 1)
            + shape.axes[tensor, a, 3] * (extents[level, shape.axes[tensor, a, 2]] - 1)
        )
    return volume


@inlined
def lay_out(
    shape: Shape, machine: Machine, factors: np.ndarray, orders: np.ndarray, keeps: np.ndarray,
    row: int, work: Work,
) -> int:  # fmt: skip
    """Lays the loops out, and says whether the mapping fits.

    Args:
      shape: The problem.
      machine: The architecture.
      factors: (n, n_levels, 3, n_dimensions): bounds in time, along X and along Y.
      orders: (n, n_levels, 2, n_dimensions): dimensions of loops in time and space, innermost
        first.
      keeps: (n, n_levels, 3): whether a level stores a tensor.
      row: Which of the n.
      work: Scratch.

    Returns:
      0 where it fits, else 16 x level + reason; the units' level is `n_levels`.
    """
    n_levels, n_dimensions = factors.shape[1], factors.shape[3]
    n_loops = 0
    for level in range(n_levels):
        work.starts[level] = n_loops
        along_x = along_y = 1
        for d in range(n_dimensions):
            x = factors[row, level, 1, d]
            y = factors[row, level, 2, d]
            along_x *= x
            along_y *= y
            below = work.extents[level - 1, d] if level > 0 else 1
            work.spatial[level, d] = x * y
            work.blocks[level, d] = below * x * y
            work.extents[level, d] = below * x * y * factors[row, level, 0, d]
        work.fans[level, 0] = along_x * along_y
        work.fans[level, 1] = along_x
        work.fans[level, 2] = along_y
        for place in range(n_dimensions):
            d = orders[row, level, 0, place]
            bound = factors[row, level, 0, d]
            if bound > 1:
                work.loops[n_loops, 0] = d
                work.loops[n_loops, 1] = bound
                work.loops[n_loops, 2] = work.blocks[level, d]
                n_loops += 1
    work.starts[n_levels] = n_loops
    return _fit(shape, machine, keeps, row, work, n_levels)


@inlined
def _fit(
    shape: Shape, machine: Machine, keeps: np.ndarray, row: int, work: Work, n_levels: int
) -> int:
    """Whether instances and capacities suffice."""
    along_x = along_y = 1
    for number in range(n_levels + 1):
        # From the outermost level to the units below level 0, which come last.
        level = n_levels - 1 - number if number < n_levels else n_levels
        used = along_x * along_y
        work.used[level] = used
        if along_x > machine.sizes[level, 2]:
            return 16 * level + FAN_OUT_X
        if along_y > machine.sizes[level, 3]:
            return 16 * level + FAN_OUT_Y
        if used > machine.sizes[level, 1]:
            return 16 * level + FAN_OUT
        if level < n_levels:
            along_x *= work.fans[level, 1]
            along_y *= work.fans[level, 2]
    for level in range(n_levels):
        words = 0
        for tensor in range(3):
            if keeps[row, level, tensor]:
                volume = _volume(shape, tensor, work.extents, level)
                work.tiles[level, tensor] = volume
                words += volume
        if words > machine.sizes[level, 0]:
            return 16 * level + OVER_CAPACITY
    for tensor in range(3):
        kept = 0
        for level in range(n_levels):
            kept += keeps[row, level, tensor]
        if kept == 0:
            return 16 * (n_levels - 1) + NOT_KEPT
    return VALID


@inlined
def _common_divisor(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a


@inlined
def _groups(shape: Shape, tensor: int, level: int, work: Work) -> int:
    """Different tiles among the instances below one of a level; equal ones are sent once."""
    groups = 1
    for a in range(shape.n_axes[tensor]):
        d = shape.axes[tensor, a, 0]
        e = shape.axes[tensor, a, 2]
        m = work.spatial[level, d]
        n = work.spatial[level, e]
        groups *= m * n
        if m > 1 and n > 1:
            step_d = shape.axes[tensor, a, 1]
            step_e = shape.axes[tensor, a, 3]
            if level > 0:
                step_d *= work.extents[level - 1, d]
                step_e *= work.extents[level - 1, e]
            # i x step_d + j x step_e repeats every step_e / g in i and step_d / g in j.
            g = _common_divisor(step_d, step_e)
            again = max(0, m - step_e // g) * max(0, n - step_d // g)
            groups = groups // (m * n) * (m * n - again)
    return groups


@inlined
def _measure_tile(shape: Shape, tensor: int, level: int, work: Work) -> None:
    """Sizes of a level's tile along each axis."""
    for a in range(shape.n_axes[tensor]):
        work.axis_sizes[a] = (
            1
            + shape.axes[tensor, a, 1] * (work.extents[level, shape.axes[tensor, a, 0]] - 1)
            + shape.axes[tensor, a, 3] * (work.extents[level, shape.axes[tensor, a, 2]] - 1)
        )
        work.moved[a] = 0


@inlined
def _overlap(n_axes: int, axis: int, move: int, work: Work) -> int:
    """Words that a tile has in common with the one before it."""
    overlap = 1
    for a in range(n_axes):
        distance = move - work.moved[a] if a == axis else work.moved[a]
        overlap *= max(0, work.axis_sizes[a] - abs(distance))
    return overlap


@inlined
def _fetched_ideally(shape: Shape, tensor: int, level: int, work: Work) -> float:
    """Words fetched into an instance of a level where each visit brings what is new."""
    _measure_tile(shape, tensor, level, work)
    n_axes = shape.n_axes[tensor]
    volume = float(work.tiles[level, tensor])
    total: float = volume
    rest: float
    for z in range(work.starts[level + 1], work.starts[work.starts.shape[0] - 1]):
        d = work.loops[z, 0]
        others = work.loops[z, 1] - 1
        axis = shape.axis_of[tensor, d]
        move = shape.step[tensor, d] * work.loops[z, 2]
        overlap = _overlap(n_axes, axis, move, work)
        total += others * work.outside[z + 1] * (volume - overlap)
        if axis >= 0:
            work.moved[axis] += others * move
            gone = 0
            for a in range(n_axes):
                if work.moved[a] >= work.axis_sizes[a]:
                    gone += 1
            if gone > 1:
                # No outer loop brings the tile back in both axes.
                rest = work.outside[z + 1] - 1.0
                return total + rest * volume
    return total


@inlined
def _fetched(shape: Shape, tensor: int, level: int, work: Work) -> float:
    """Words fetched into an instance of a level as Timeloop counts them.

    States: 0 no move is remembered, 1 one that does not occur in the loops so far, 2 and above the
    moves in `work.keys`.
    """
    _measure_tile(shape, tensor, level, work)
    volume = float(work.tiles[level, tensor])
    n_axes = shape.n_axes[tensor]
    n_keys = 0
    moved_key = 0
    old = 0
    for z in range(work.starts[level + 1], work.starts[work.starts.shape[0] - 1]):
        d = work.loops[z, 0]
        others = work.loops[z, 1] - 1
        axis = shape.axis_of[tensor, d]
        move = move_key = 0
        if axis >= 0:
            move = shape.step[tensor, d] * work.loops[z, 2]
            move_key = move * shape.radix[tensor, axis]
        key = move_key - moved_key
        new = 1 - old
        if n_keys == 0:
            if key != 0:
                partial = volume - _overlap(n_axes, axis, move, work)
                work.keys[0] = key
                n_keys = 1
                work.state_costs[new, 0, 0] = others * partial
                work.state_exits[new, 0] = 2
                work.state_costs[new, 1, 0] = others * volume
                work.state_exits[new, 1] = 0
                work.state_costs[new, 2, 0] = others * partial
                work.state_exits[new, 2] = 2
                old = new
        elif key == 0:
            for s in range(n_keys + 2):
                left = work.state_exits[old, s]
                work.state_costs[new, s, 0] = (
                    work.state_costs[old, s, 0] + others * work.state_costs[old, left, 0]
                )
                work.state_exits[new, s] = work.state_exits[old, left]
            old = new
        else:
            partial = volume - _overlap(n_axes, axis, move, work)
            state = 0
            for k in range(n_keys):
                if work.keys[k] == key:
                    state = k + 2
                    break
            if state == 0:
                work.keys[n_keys] = key
                state = n_keys + 2
                n_keys += 1
                work.state_costs[old, state, 0] = work.state_costs[old, 1, 0]
                work.state_exits[old, state] = work.state_exits[old, 1]
            again = partial + work.state_costs[old, state, 0]
            again_exit = work.state_exits[old, state]
            afresh = volume + work.state_costs[old, 0, 0]
            afresh_exit = work.state_exits[old, 0]
            for s in range(n_keys + 2):
                left = work.state_exits[old, s]
                if left == 0 or left == state:
                    work.state_costs[new, s, 0] = work.state_costs[old, s, 0] + others * again
                    work.state_exits[new, s] = again_exit
                else:
                    work.state_costs[new, s, 0] = work.state_costs[old, s, 0] + others * afresh
                    work.state_exits[new, s] = afresh_exit
            old = new
        if axis >= 0:
            work.moved[axis] += move
            moved_key += move_key
    if n_keys == 0:
        return volume
    walked: float = work.state_costs[old, 0, 0]
    return volume + walked


@inlined
def _may_link(shape: Shape, tensor: int, level: int, work: Work) -> bool:
    """Whether instances below one of a level may find their tile at a neighbour's."""
    for a in range(shape.n_axes[tensor]):
        d = shape.axes[tensor, a, 0]
        e = shape.axes[tensor, a, 2]
        is_spread = work.spatial[level, d] * work.spatial[level, e] > 1
        has_both = e < shape.bounds.shape[0] and shape.bounds[d] > 1 and shape.bounds[e] > 1
        if is_spread and has_both:
            return True
    return False


@compiled
def _place_instances(
    shape: Shape, factors: np.ndarray, orders: np.ndarray, row: int, tensor: int, level: int,
    work: Work,
) -> None:  # fmt: skip
    """Where each instance's tile begins, as one number; X runs inside Y."""
    n_dimensions = factors.shape[3]
    n = 1
    work.offsets[0] = 0
    for kind in range(1, 3):
        for place in range(n_dimensions):
            d = orders[row, level, 1, place]
            bound = factors[row, level, kind, d]
            axis = shape.axis_of[tensor, d]
            key = 0
            if axis >= 0:
                key = shape.step[tensor, d] * work.extents[level - 1, d]
                key *= shape.radix[tensor, axis]
                if kind == 2:
                    key *= factors[row, level, 1, d]
            for index in range(1, bound):
                for inner in range(n):
                    work.offsets[index * n + inner] = work.offsets[inner] + index * key
            n *= bound


@inlined
def _is_neighbours(e: int, key: int, n: int, width: int, height: int, work: Work) -> bool:
    """Whether instance `e` gets the tile that a neighbour just had."""
    x = e % width
    y = e // width
    wanted = work.offsets[e] + key
    if x > 0 and work.offsets[e - 1] == wanted:
        return True
    if x + 1 < width and e + 1 < n and work.offsets[e + 1] == wanted:
        return True
    if y > 0 and work.offsets[e - width] == wanted:
        return True
    return y + 1 < height and e + width < n and work.offsets[e + width] == wanted


@compiled
def _link(machine: Machine, level: int, key: int, z: int, work: Work) -> None:
    """Into `links`: groups that the level still serves after a move, and instances it need not."""
    n = work.fans[level, 0]
    width = max(machine.sizes[level, 4], work.fans[level, 1])
    height = max(machine.sizes[level, 5], work.fans[level, 2])
    mask = 1
    while mask < 2 * n:
        mask *= 2
    for slot in range(mask):
        work.table[slot] = -1
    mask -= 1
    groups = hits = 0
    for e in range(n):
        if _is_neighbours(e, key, n, width, height, work):
            hits += 1
            continue
        offset = work.offsets[e]
        # Fibonacci hashing: Knuth, The Art of Computer Programming 3, section 6.4.
        slot = ((offset * 0x9E3779B97F4A7C1) >> 20) & mask
        while work.table[slot] != -1 and work.table[slot] != offset:
            slot = (slot + 1) & mask
        if work.table[slot] == -1:
            work.table[slot] = offset
            groups += 1
    work.links[z, 0] = groups
    work.links[z, 1] = hits


@compiled
def _find_links(
    shape: Shape, machine: Machine, factors: np.ndarray, orders: np.ndarray, row: int,
    tensor: int, level: int, groups: int, work: Work,
) -> bool:  # fmt: skip
    """Whether after some move neighbours have what instances below a level need; see `links`."""
    _measure_tile(shape, tensor, level - 1, work)
    first = work.starts[level]
    last = work.starts[work.starts.shape[0] - 1]
    found = is_placed = False
    for z in range(first, last):
        d = work.loops[z, 0]
        axis = shape.axis_of[tensor, d]
        move = shape.step[tensor, d] * work.loops[z, 2] if axis >= 0 else 0
        inside = True
        key = 0
        for a in range(shape.n_axes[tensor]):
            distance = (move if a == axis else 0) - work.moved[a]
            f = shape.axes[tensor, a, 0]
            g = shape.axes[tensor, a, 2]
            span = shape.axes[tensor, a, 1] * (
                work.blocks[level, f] - work.extents[level - 1, f]
            ) + shape.axes[tensor, a, 3] * (work.blocks[level, g] - work.extents[level - 1, g])
            inside = inside and abs(distance) <= span
            key += distance * shape.radix[tensor, a]
        work.links[z, 0] = groups
        work.links[z, 1] = 0
        if inside and key != 0:
            if not is_placed:
                _place_instances(shape, factors, orders, row, tensor, level, work)
                is_placed = True
            _link(machine, level, key, z, work)
            if work.links[z, 0] < groups:
                found = True
            else:
                work.links[z, 0] = groups
                work.links[z, 1] = 0
        if axis >= 0:
            work.moved[axis] += move
    return found


@compiled
def _sent(shape: Shape, tensor: int, level: int, groups: int, work: Work) -> None:
    """Words sent below an instance of a level where neighbours help, into `state_costs[0, 0]`.

    In this order: words read of the level, words that arrive from it, words from neighbours.
    A state is 2 x the remembered move (0: none) + whether the last visit brought nothing.
    """
    _measure_tile(shape, tensor, level - 1, work)
    volume = float(_volume(shape, tensor, work.extents, level - 1))
    n_axes = shape.n_axes[tensor]
    fan = work.fans[level, 0]
    n_loops = work.starts[work.starts.shape[0] - 1]
    # With all moves known beforehand no state stands for several.
    n_states = 2 * (n_loops - work.starts[level] + 1)
    for s in range(n_states):
        work.state_exits[0, s] = s
        for c in range(3):
            work.state_costs[0, s, c] = 0.0
    n_keys = old = moved_key = 0
    for z in range(work.starts[level], n_loops):
        d = work.loops[z, 0]
        others = work.loops[z, 1] - 1
        axis = shape.axis_of[tensor, d]
        move = move_key = 0
        if axis >= 0:
            move = shape.step[tensor, d] * work.loops[z, 2]
            move_key = move * shape.radix[tensor, axis]
        key = move_key - moved_key
        state = 0
        overlap = _overlap(n_axes, axis, move, work)
        if key != 0:
            for k in range(n_keys):
                if work.keys[k] == key:
                    state = k + 1
                    break
            if state == 0:
                work.keys[n_keys] = key
                work.overlaps[n_keys] = overlap
                n_keys += 1
                state = n_keys
        new = 1 - old
        for s in range(n_states):
            left = work.state_exits[old, s]
            remembered = left // 2
            words = 0.0
            is_linked = False
            after = 2 * remembered + 1
            if key != 0:
                had_all = remembered == 0 or work.overlaps[remembered - 1] == 0
                if remembered == 0 or remembered == state:
                    words = volume - overlap
                    is_linked = had_all == (overlap == 0)
                    after = 2 * state
                else:
                    words = volume
                    is_linked = had_all
                    after = 0
                is_linked = is_linked and left % 2 == 0
            read = groups * words
            arrived = fan * words
            linked = 0.0
            if is_linked:
                read = work.links[z, 0] * words
                arrived = (fan - work.links[z, 1]) * words
                linked = work.links[z, 1] * words
            work.state_costs[new, s, 0] = work.state_costs[old, s, 0] + others * (
                read + work.state_costs[old, after, 0]
            )
            work.state_costs[new, s, 1] = work.state_costs[old, s, 1] + others * (
                arrived + work.state_costs[old, after, 1]
            )
            work.state_costs[new, s, 2] = work.state_costs[old, s, 2] + others * (
                linked + work.state_costs[old, after, 2]
            )
            work.state_exits[new, s] = work.state_exits[old, after]
        old = new
        if axis >= 0:
            work.moved[axis] += move
            moved_key += move_key
    for c in range(3):
        work.state_costs[0, 0, c] = work.state_costs[old, 0, c]
    work.state_costs[0, 0, 0] += groups * volume
    work.state_costs[0, 0, 1] += fan * volume


@inlined
def _rounded(x: float) -> float:
    """The nearest whole number, half away from 0."""
    rounded: float = np.floor(x + 0.5) if x >= 0.0 else -np.floor(0.5 - x)
    return rounded


@inlined
def _count_repeats(shape: Shape, work: Work, mode: int, n_levels: int) -> None:
    """How often each level fetches a tensor that does not slide, into `repeats`.

    From the outside inwards: bounds of the loops from the innermost one on which it depends; at
    least of those on which it depends.
    """
    weights = inputs = outputs = outside = 1.0
    n_loops = work.starts[n_levels]
    work.outside[n_loops] = 1.0
    for level in range(n_levels - 1, -1, -1):
        work.repeats[level, 0] = weights
        work.repeats[level, 1] = inputs
        work.repeats[level, 2] = outputs
        for z in range(work.starts[level + 1] - 1, work.starts[level] - 1, -1):
            bound = work.loops[z, 1]
            outside *= bound
            work.outside[z] = outside
            d = work.loops[z, 0]
            if mode == LEAST:
                weights *= bound if shape.is_plain[0, d] else 1
                inputs *= bound if shape.is_plain[1, d] else 1
                outputs *= bound if shape.is_plain[2, d] else 1
            else:
                weights = outside if shape.axis_of[0, d] >= 0 else weights
                inputs = outside if shape.axis_of[1, d] >= 0 else inputs
                outputs = outside if shape.axis_of[2, d] >= 0 else outputs


@inlined
def _count(
    shape: Shape, machine: Machine, factors: np.ndarray, orders: np.ndarray, keeps: np.ndarray,
    row: int, mode: int, work: Work,
) -> None:  # fmt: skip
    """Accesses of every level and tensor, per instance, into `counts`."""
    n_levels = factors.shape[1]
    _count_repeats(shape, work, mode, n_levels)
    for tensor in range(3):
        outermost = n_levels - 1
        while not keeps[row, outermost, tensor]:
            outermost -= 1
        is_sliding = shape.is_sliding[tensor] != 0
        delivered = work.outside[0]
        for level in range(outermost + 1, n_levels):
            for c in range(6):
                work.counts[level, tensor, c] = 0.0
        for level in range(outermost + 1):
            groups = fan = 1
            if work.fans[level, 0] > 1:
                groups = _groups(shape, tensor, level, work)
                fan = work.fans[level, 0]
            content = delivered * groups
            linked = 0.0
            arrived = -1.0
            if (
                is_sliding and mode == TIMELOOP and level > 0 and fan > 1
                and _may_link(shape, tensor, level, work)
                and _find_links(
                    shape, machine, factors, orders, row, tensor, level, groups, work
                )
            ):  # fmt: skip
                _sent(shape, tensor, level, groups, work)
                content = work.state_costs[0, 0, 0]
                arrived = work.state_costs[0, 0, 1]
                if keeps[row, level - 1, tensor]:
                    linked = work.state_costs[0, 0, 2]
                else:
                    content *= delivered * fan / arrived
            elif (
                mode == LEAST and is_sliding and fan > 1
                and _may_link(shape, tensor, level, work)
            ):  # fmt: skip
                # Neighbours may serve each other.
                content = arrived = 0.0
            if level > 0 and keeps[row, level - 1, tensor]:
                # The share of the level below, which was left open; words from neighbours too.
                if arrived >= 0.0:
                    work.counts[level - 1, tensor, 1] = arrived / fan
                work.counts[level - 1, tensor, 4] = linked / work.used[level - 1]
            if keeps[row, level, tensor]:
                volume = work.tiles[level, tensor]
                work.counts[level, tensor, 3] = volume
                if level == outermost:
                    fetched = 0.0
                elif not is_sliding or mode == LEAST:
                    fetched = volume * work.repeats[level, tensor]
                elif mode == IDEAL:
                    fetched = _fetched_ideally(shape, tensor, level, work)
                else:
                    fetched = _fetched(shape, tensor, level, work)
                work.counts[level, tensor, 0] = content
                work.counts[level, tensor, 1] = fetched
                work.counts[level, tensor, 4] = 0.0
                work.counts[level, tensor, 5] = content
                delivered = fetched
            else:
                for c in range(6):
                    work.counts[level, tensor, c] = 0.0
                delivered = content
        _finish(shape, keeps, row, tensor, outermost, work, n_levels)


@inlined
def _finish(
    shape: Shape, keeps: np.ndarray, row: int, tensor: int, outermost: int, work: Work,
    n_levels: int,
) -> None:  # fmt: skip
    """From what moves to reads, fills and updates: sums that are begun need not be read first."""
    part = 0
    if tensor == _OUTPUTS:
        part = _volume(shape, tensor, work.extents, n_levels - 1)
    for level in range(n_levels - 1, -1, -1):
        if tensor == _OUTPUTS and level < n_levels - 1 and work.fans[level + 1, 0] > 1:
            # What an instance is responsible for of what its parent is.
            part = (
                part
                * _volume(shape, tensor, work.extents, level)
                // _volume(shape, tensor, work.blocks, level + 1)
            )
        if not keeps[row, level, tensor]:
            continue
        content = work.counts[level, tensor, 0]
        share = work.counts[level, tensor, 1]
        linked = work.counts[level, tensor, 4]
        if tensor == _OUTPUTS:
            work.counts[level, tensor, 2] = _rounded(content)
            work.counts[level, tensor, 0] = _rounded(content + linked - part)
            drained = 0 if level == outermost else part
            work.counts[level, tensor, 1] = _rounded(share + linked - drained)
        else:
            work.counts[level, tensor, 2] = 0.0
            work.counts[level, tensor, 0] = _rounded(content + linked)
            work.counts[level, tensor, 1] = np.floor(share + linked)


@inlined
def assess(
    shape: Shape, machine: Machine, factors: np.ndarray, orders: np.ndarray, keeps: np.ndarray,
    row: int, mode: int, work: Work,
) -> None:  # fmt: skip
    """Counts and costs of a mapping that `lay_out` found to fit, into `work`.

    Args:
      shape: As for `lay_out`, as are the others.
      machine: The architecture.
      factors: Bounds.
      orders: Dimensions of loops.
      keeps: What levels store.
      row: Which mapping.
      mode: `TIMELOOP` or `IDEAL`.
      work: Where `lay_out` laid it out.
    """
    _count(shape, machine, factors, orders, keeps, row, mode, work)
    n_levels = factors.shape[1]
    cycles = work.outside[0]
    operations = 1.0
    for d in range(shape.bounds.shape[0]):
        operations *= shape.bounds[d]
    energy = operations * machine.costs[n_levels, 1]
    slowest = cycles
    for level in range(n_levels):
        block = machine.costs[level, 0]
        level_energy = read = written = 0.0
        is_limited = machine.costs[level, 7] > 0.0
        for tensor in range(3):
            if not keeps[row, level, tensor]:
                work.costs[level, tensor] = 0.0
                continue
            reads = work.counts[level, tensor, 0]
            fills = work.counts[level, tensor, 1]
            updates = work.counts[level, tensor, 2]
            if is_limited:
                read += reads / cycles
                written += (fills + updates) / cycles
            if block > 1.0:
                reads = np.ceil(reads / block)
                fills = np.ceil(fills / block)
                updates = np.ceil(updates / block)
            words = (
                reads * machine.costs[level, 1]
                + fills * machine.costs[level, 2]
                + updates * machine.costs[level, 3]
            )
            work.costs[level, tensor] = words * work.used[level]
            level_energy += words * work.used[level]
        energy += level_energy
        # Timeloop's order of divisions, which decides where a quotient is rounded up.
        speed = 1.0
        if read > machine.costs[level, 4]:
            speed = min(speed, machine.costs[level, 4] / read)
        if written > machine.costs[level, 5]:
            speed = min(speed, machine.costs[level, 5] / written)
        if read + written > machine.costs[level, 6]:
            speed = min(speed, machine.costs[level, 6] / (read + written))
        if speed < 1.0:
            slowest = max(slowest, np.ceil(cycles / speed))
    work.totals[0] = energy
    work.totals[1] = slowest
    work.totals[2] = operations / machine.sizes[n_levels, 1] / slowest
    work.totals[3] = cycles
