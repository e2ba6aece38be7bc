"""Accesses, cycles and energy of mappings; compiled.

With mode `TIMELOOP` the counts are Timeloop's, shortcuts included; with `IDEAL` every iteration
counts exactly; see `neighbours` for both. A tensor without sliding axes is fetched whole whenever a
loop that it depends on steps, which needs no walk.
"""

import numpy as np

from archgym.simulators.accelerator.kernel.buffers import Work
from archgym.simulators.accelerator.kernel.layout import VALID, lay_out, tile_words
from archgym.simulators.accelerator.kernel.neighbours import (
    count_sent,
    fetched_as_timeloop,
    fetched_ideally,
    find_links,
    may_link,
)
from archgym.simulators.accelerator.machine.architecture import Machine
from archgym.simulators.accelerator.machine.mapping import MappingArrays
from archgym.simulators.accelerator.problem import OUTPUTS, Shape
from archgym.simulators.kit.kernels import entry_point, inlined

TIMELOOP, IDEAL, LEAST = 0, 1, 2
"""`LEAST` bounds the counts of both from below for any order of the loops."""


@inlined
def _common_divisor(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a


@inlined
def _groups(shape: Shape, tensor: int, level: int, work: Work) -> int:
    """Return the distinct tiles among the instances below a level; equal ones are sent once."""
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
def _rounded(x: float) -> float:
    """Return the nearest whole number, half away from 0."""
    rounded: float = np.floor(x + 0.5) if x >= 0.0 else -np.floor(0.5 - x)
    return rounded


@inlined
def _count_repeats(shape: Shape, work: Work, mode: int, n_levels: int) -> None:
    """Set `repeats` to the number of times each level fetches a tensor that does not slide.

    This is the product of the bounds of all loops outside and including the innermost loop that the
    tensor depends on. The lower bound is the product over the loops that it depends on.
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
    shape: Shape, machine: Machine, mapping: MappingArrays, row: int, mode: int, work: Work
) -> None:
    """Set `counts` to the accesses of every level and tensor, per instance."""
    keeps = mapping.keeps
    n_levels = keeps.shape[1]
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
                and may_link(shape, tensor, level, work)
                and find_links(shape, machine, mapping, row, tensor, level, groups, work)
            ):  # fmt: skip
                count_sent(shape, tensor, level, groups, work)
                content = work.state_costs[0, 0, 0]
                arrived = work.state_costs[0, 0, 1]
                if keeps[row, level - 1, tensor]:
                    linked = work.state_costs[0, 0, 2]
                else:
                    content *= delivered * fan / arrived
            elif (
                mode == LEAST and is_sliding and fan > 1
                and may_link(shape, tensor, level, work)
            ):  # fmt: skip
                # Neighbours may serve one another.
                content = arrived = 0.0
            if level > 0 and keeps[row, level - 1, tensor]:
                # The share of the level below, which was not known yet, and words from neighbours.
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
                    fetched = fetched_ideally(shape, tensor, level, work)
                else:
                    fetched = fetched_as_timeloop(shape, tensor, level, work)
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
    """Convert moved words to reads, fills and updates; the first partial sums are not read."""
    part = 0
    if tensor == OUTPUTS:
        part = tile_words(shape, tensor, work.extents, n_levels - 1)
    for level in range(n_levels - 1, -1, -1):
        if tensor == OUTPUTS and level < n_levels - 1 and work.fans[level + 1, 0] > 1:
            # The share of the parent's words that an instance is responsible for.
            part = (
                part
                * tile_words(shape, tensor, work.extents, level)
                // tile_words(shape, tensor, work.blocks, level + 1)
            )
        if not keeps[row, level, tensor]:
            continue
        content = work.counts[level, tensor, 0]
        share = work.counts[level, tensor, 1]
        linked = work.counts[level, tensor, 4]
        if tensor == OUTPUTS:
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
    shape: Shape, machine: Machine, mapping: MappingArrays, row: int, mode: int, work: Work
) -> None:
    """Evaluate a row of the mappings into `work`, in which `lay_out` found it to fit."""
    _count(shape, machine, mapping, row, mode, work)
    keeps = mapping.keeps
    n_levels = keeps.shape[1]
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


@entry_point(seconds=25)
def evaluate_many(
    shape: Shape, machine: Machine, mappings: MappingArrays, mode: int, work: Work,
    status: np.ndarray, totals: np.ndarray, counts: np.ndarray, energies: np.ndarray,
) -> None:  # fmt: skip
    """Evaluate n mappings.

    Args:
      shape, machine, mappings: The problem, the architecture and the mappings.
      mode: `TIMELOOP` or `IDEAL`.
      work: Scratch memory.
      status: (n,) int64, set to what `lay_out` returns.
      totals: (n, 4), set to energy, cycles, utilisation and cycles of computing.
      counts: (n, n_levels, 3, 6), set to each mapping's counts; (0, …) if they are not needed.
      energies: (n, n_levels, 3) or (0, …), set to the energy of each level and tensor [pJ].
    """
    n_levels = mappings.keeps.shape[1]
    for row in range(mappings.keeps.shape[0]):
        status[row] = lay_out(shape, machine, mappings, row, work)
        if status[row] != VALID:
            for c in range(4):
                totals[row, c] = np.nan
            continue
        assess(shape, machine, mappings, row, mode, work)
        for c in range(4):
            totals[row, c] = work.totals[c]
        if row < counts.shape[0]:
            for level in range(n_levels):
                for tensor in range(3):
                    energies[row, level, tensor] = work.costs[level, tensor]
                    for c in range(6):
                        counts[row, level, tensor, c] = work.counts[level, tensor, c]
