"""Words of overlapping tiles that a level fetches, or that neighbours pass on; compiled.

The counts are those of Timeloop, which walks a loop nest with two shortcuts. Of each loop in time
it runs the first two iterations; the second one represents all others. A tile that moves overlaps
the previous one only if its move equals the previous move. In ideal counts every iteration counts
exactly: a level keeps its last tile and fetches the words that only the next one has.

Timeloop's walk is exponential in the number of loops; this one takes a few passes. The move of a
tile between two visits depends only on how many inner loops start again. So each loop is processed
once, from the innermost outwards, with the last move as state. For every state in which the inner
loops may be entered, their cost and the state in which they end are kept.

After a move, the next tile of an instance may be the last one of a neighbour. Timeloop counts the
same.
"""

from archgym.simulators.accelerator.kernel.buffers import Work
from archgym.simulators.accelerator.kernel.layout import axis_size, tile_words
from archgym.simulators.accelerator.machine.architecture import Machine
from archgym.simulators.accelerator.machine.mapping import MappingArrays
from archgym.simulators.accelerator.problem import Shape
from archgym.simulators.kit.kernels import compiled, inlined


@inlined
def measure_tile(shape: Shape, tensor: int, level: int, work: Work) -> None:
    """Set `axis_sizes` to the sizes of a level's tile along each axis, and `moved` to 0."""
    for a in range(shape.n_axes[tensor]):
        work.axis_sizes[a] = axis_size(shape, tensor, a, work.extents, level)
        work.moved[a] = 0


@inlined
def common_words(n_axes: int, axis: int, move: int, work: Work) -> int:
    """Return words that a tile has in common with the one before it."""
    overlap = 1
    for a in range(n_axes):
        distance = move - work.moved[a] if a == axis else work.moved[a]
        overlap *= max(0, work.axis_sizes[a] - abs(distance))
    return overlap


@inlined
def fetched_ideally(shape: Shape, tensor: int, level: int, work: Work) -> float:
    """Return words fetched into an instance of a level if each visit fetches only new words."""
    measure_tile(shape, tensor, level, work)
    n_axes = shape.n_axes[tensor]
    volume = float(work.tiles[level, tensor])
    total: float = volume
    rest: float
    for z in range(work.starts[level + 1], work.starts[work.starts.shape[0] - 1]):
        d = work.loops[z, 0]
        others = work.loops[z, 1] - 1
        axis = shape.axis_of[tensor, d]
        move = shape.step[tensor, d] * work.loops[z, 2]
        overlap = common_words(n_axes, axis, move, work)
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
def fetched_as_timeloop(shape: Shape, tensor: int, level: int, work: Work) -> float:
    """Return words fetched into an instance of a level as Timeloop counts them.

    States: 0 no move is remembered; 1 a move that does not occur in the loops so far; 2 and above
    the moves in `work.keys`.
    """
    measure_tile(shape, tensor, level, work)
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
                partial = volume - common_words(n_axes, axis, move, work)
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
            partial = volume - common_words(n_axes, axis, move, work)
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
            restart = volume + work.state_costs[old, 0, 0]
            restart_exit = work.state_exits[old, 0]
            for s in range(n_keys + 2):
                left = work.state_exits[old, s]
                if left == 0 or left == state:
                    work.state_costs[new, s, 0] = work.state_costs[old, s, 0] + others * again
                    work.state_exits[new, s] = again_exit
                else:
                    work.state_costs[new, s, 0] = work.state_costs[old, s, 0] + others * restart
                    work.state_exits[new, s] = restart_exit
            old = new
        if axis >= 0:
            work.moved[axis] += move
            moved_key += move_key
    if n_keys == 0:
        return volume
    walked: float = work.state_costs[old, 0, 0]
    return volume + walked


@inlined
def may_link(shape: Shape, tensor: int, level: int, work: Work) -> bool:
    """Return True if instances below a level may get their tile from a neighbour."""
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
    shape: Shape, mapping: MappingArrays, row: int, tensor: int, level: int, work: Work
) -> None:
    """Set `offsets` to the start of each instance's tile, as one number; X runs inside Y."""
    factors, orders = mapping.factors, mapping.orders
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
    """Return True if instance `e` gets the previous tile of a neighbour."""
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
    """Set `links` to the groups that a level serves after a move and the instances it need not."""
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
def find_links(
    shape: Shape, machine: Machine, mapping: MappingArrays, row: int, tensor: int, level: int,
    groups: int, work: Work,
) -> bool:  # fmt: skip
    """Set `links` for each loop; return True if neighbours serve instances after some move."""
    measure_tile(shape, tensor, level - 1, work)
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
                _place_instances(shape, mapping, row, tensor, level, work)
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
def count_sent(shape: Shape, tensor: int, level: int, groups: int, work: Work) -> None:
    """Set `state_costs[0, 0]` to the words sent below an instance of a level with neighbours.

    The order is: words read from the level, words that arrive from it, words from neighbours.
    A state is 2 x the remembered move (0: none) + 1 if the last visit fetched nothing.
    """
    measure_tile(shape, tensor, level - 1, work)
    volume = float(tile_words(shape, tensor, work.extents, level - 1))
    n_axes = shape.n_axes[tensor]
    fan = work.fans[level, 0]
    n_loops = work.starts[work.starts.shape[0] - 1]
    # All moves are known in advance, so no state represents several.
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
        overlap = common_words(n_axes, axis, move, work)
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
