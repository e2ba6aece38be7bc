"""Renaming of interchangeable blocks of systems; compiled."""

from typing import Any

from archgym.simulators.kit.kernels import compiled, entry_point


@compiled
def _value(indices: Any, row: Any, column: Any) -> int:
    return indices[row, column] if column >= 0 else 0


@compiled
def _move(
    indices: Any, row: Any, columns: Any, old: Any, new: Any, canonical: Any, active: Any
) -> None:
    """Move a block's own parameters to its new number; one below 0 is of an unused block."""
    for k in range(columns.shape[1]):
        column, target = columns[old, k], columns[new, k]
        if column >= 0 and new < 0:
            active[row, column] = False
        elif column >= 0 and target >= 0:
            canonical[row, target] = indices[row, column]


@compiled
def _put(canonical: Any, row: Any, column: Any, value: Any) -> None:
    if column >= 0:
        canonical[row, column] = value


@compiled
def _hang(
    indices: Any, row: Any, columns: Any, old: Any, new: Any, bus: Any, canonical: Any, active: Any
) -> None:
    """Put a block on its bus under the new numbers; one below 0 is of an unused block."""
    if new >= 0:
        _put(canonical, row, columns[new], bus[_value(indices, row, columns[old])])
    else:
        _put(active, row, columns[old], False)


@entry_point(seconds=8.0)
def rename(
    c: Any, ends: Any, indices: Any, work: Any, maps: Any, canonical: Any, active: Any
) -> None:
    """Fill canonical forms and active parameters of designs.

    Args:
      c: `Columns`.
      ends: (E, 2) parent and child of each edge.
      indices: (n, n_parameters), inactive parameters at their defaults.
      work: (7, max blocks) working memory.
      maps: (2, B, B) working memory: next hops and used links.
      canonical: (n, n_parameters), filled; it holds the default design before.
      active: (n, n_parameters), filled; it is True before.
    """
    n_buses = c.buses.shape[0]
    n_memories = c.memories.shape[0]
    n_processors = c.processor_bus.shape[0]
    n_tasks = c.on.shape[0]
    new_processor, new_memory, new_bus, met = work[0], work[1], work[2], work[3]
    queue, rank, parent_of = work[4], work[5], work[6]
    hop, used = maps[0], maps[1]
    for row in range(indices.shape[0]):
        work[:] = -1
        used[:] = 0
        # 1, 2: processors and memories by first use. Every parent of an edge writes.
        found = 0
        for t in range(n_tasks):
            on = _value(indices, row, c.on[t])
            if on < n_processors and new_processor[on] < 0:
                new_processor[on] = found
                found += 1
        found = 0
        for t in range(n_tasks):
            if c.memory[t] < 0:
                continue
            m = indices[row, c.memory[t]]
            if new_memory[m] < 0:
                new_memory[m] = found
                found += 1
        if found == 0:
            # The space has one memory, to which everything is written.
            new_memory[0] = 0
        # 3: buses and links in the order in which edges meet them.
        _hops(indices, row, c, hop)
        n_met = 0
        for e in range(ends.shape[0]):
            m = _value(indices, row, c.memory[ends[e, 0]])
            target = _value(indices, row, c.memory_bus[m])
            for end in range(2):
                t = ends[e, end]
                on = _value(indices, row, c.on[t])
                if on < n_processors:
                    b = _value(indices, row, c.processor_bus[on])
                else:
                    b = _value(indices, row, c.bus[t])
                while True:
                    if rank[b] < 0:
                        rank[b] = n_met
                        met[n_met] = b
                        n_met += 1
                    if b == target:
                        break
                    following = hop[b, target]
                    used[b, following] = 1
                    used[following, b] = 1
                    b = following
        # 4: breadth first from the first bus, neighbours in the order in which they were met.
        queue[0] = met[0]
        new_bus[met[0]] = 0
        parent_of[met[0]] = 0
        n_named = 1
        head = 0
        while head < n_named:
            b = queue[head]
            head += 1
            for k in range(n_met):
                near = met[k]
                if used[b, near] and new_bus[near] < 0:
                    new_bus[near] = n_named
                    parent_of[near] = new_bus[b]
                    queue[n_named] = near
                    n_named += 1
        # 5: everything under its new name.
        for b in range(n_buses):
            to = new_bus[b]
            _move(indices, row, c.buses, b, to, canonical, active)
            if to >= 0:
                _put(canonical, row, c.bus_parent[to], parent_of[b])
            if c.bus_parent[b] >= 0 and not used[b, indices[row, c.bus_parent[b]]]:
                active[row, c.bus_parent[b]] = False
        for m in range(n_memories):
            _move(indices, row, c.memories, m, new_memory[m], canonical, active)
            _hang(indices, row, c.memory_bus, m, new_memory[m], new_bus, canonical, active)
        for p in range(n_processors):
            _hang(indices, row, c.processor_bus, p, new_processor[p], new_bus, canonical, active)
        for t in range(n_tasks):
            on = _value(indices, row, c.on[t])
            if on < n_processors:
                _put(canonical, row, c.on[t], new_processor[on])
            else:
                _put(canonical, row, c.on[t], on)
                _move(indices, row, c.accelerators, t, t, canonical, active)
                _put(canonical, row, c.bus[t], new_bus[_value(indices, row, c.bus[t])])
            if c.memory[t] >= 0:
                canonical[row, c.memory[t]] = new_memory[indices[row, c.memory[t]]]


@compiled
def _hops(indices: Any, row: Any, c: Any, hop: Any) -> None:
    """Fill `hop`: the bus after b on the way to another, in the tree of parents."""
    n = hop.shape[0]
    for target in range(n):
        for b in range(n):
            # Upwards, unless the target hangs below.
            hop[b, target] = _value(indices, row, c.bus_parent[b])
        # From the target up, each ancestor leads down again.
        below = target
        b = target
        while b > 0:
            b = _value(indices, row, c.bus_parent[b])
            hop[b, target] = below
            below = b
        hop[target, target] = target
