"""Words that an instance of a level fetches of a tensor whose tiles overlap; compiled.

The counts are those of Timeloop, which walks a loop nest with two shortcuts. Of each loop in time
it runs the first two iterations; the second one represents all others. A tile that moves overlaps
the previous one only if its move equals the previous move. In ideal counts every iteration counts
exactly: a level keeps its last tile and fetches the words that only the next one has.

Timeloop's walk is exponential in the number of loops; this one takes a few passes. The move of a
tile between two visits depends only on how many inner loops start again. So each loop is processed
once, from the innermost outwards, with the last move as state. For every state in which the inner
loops may be entered, their cost and the state in which they end are kept.
"""

from archgym.runtime.kernels import inlined
from archgym.simulators.accelerator.kernel.buffers import Work
from archgym.simulators.accelerator.kernel.layout import axis_size
from archgym.simulators.accelerator.kernel.problem import Shape


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
