"""Training iterations: a workload's layers, a parallelisation and a system, as graphs."""

from typing import Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.cluster.kernel import state
from archgym.simulators.cluster.kernel.graphs import Graphs, Standing, link
from archgym.simulators.cluster.machine.parallelism import RECOMPUTE, Parallelism, stage_firsts
from archgym.simulators.cluster.machine.system import System

Ints = npt.NDArray[np.int64]

_PLAN_WORDS: Final = 24
_ABSENT: Final = 1 << 40


def _standing(system: System, parallelism: Parallelism) -> Standing:
    """Return one NPU for each stage and place in dimensions with trees."""
    roles = parallelism.roles or ()
    steps = []
    step = 1
    for dim, (n, role) in enumerate(zip(system.npus, roles, strict=True)):
        has_tree = any(a[dim] == "doubleBinaryTree" for a in system.algorithms.values())
        if role == "pp" or has_tree:
            steps.append(step)
            step *= n
        else:
            steps.append(0)
    number = np.arange(step, dtype=np.int64)
    coordinates = np.zeros((step, state.MAX_DIMS), dtype=np.int64)
    for dim, (n, own) in enumerate(zip(system.npus, steps, strict=True)):
        if own:
            coordinates[:, dim] = number // own % n
    return Standing(coordinates, tuple(steps))


def training_graphs(
    system: System, layers: Ints, parallelism: Parallelism, *, shortcut: bool
) -> Graphs:
    """Return the graphs of an iteration.

    Args:
      system: System.
      layers: (n, `LAYER_FIELDS`) int64.
      parallelism: Parallelisation, which fits both.
      shortcut: True for graphs of NPUs that stand for others.
    """
    stage_of, offsets = _stages(system, parallelism)
    members, slots = _members(system, parallelism)
    standing = None
    if shortcut:
        standing = _standing(system, parallelism)
        stride, number = 1, np.zeros(len(standing.coordinates), dtype=np.int64)
        for dim, n in enumerate(system.npus):
            number += standing.coordinates[:, dim] * stride
            stride *= n
        stage_of = stage_of[number]
        offsets = np.array(
            [int(np.argmax(stage_of == stage)) for stage in range(parallelism.pp)], dtype=np.int64
        )
    firsts = stage_firsts(layers, parallelism)
    stages = [
        _stage(system, layers, parallelism, firsts, offsets, members, stage)
        for stage in range(parallelism.pp)
    ]
    sizes = np.array([len(nodes) for nodes, _ in stages], dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    nodes = np.concatenate([nodes for nodes, _ in stages])
    edges = np.concatenate([e + s for (_, e), s in zip(stages, starts, strict=True)])
    ranges = np.stack((starts, sizes), axis=1)
    following = link(nodes, edges, ranges)
    if not slots:
        return Graphs(nodes, following, ranges, stage_of, is_shared=True, standing=standing)
    groups, table = _number_groups(nodes, ranges, stage_of, slots)
    return Graphs(nodes, following, ranges, stage_of, groups, table, True, standing)


def _stage(
    system: System,
    layers: Ints,
    parallelism: Parallelism,
    firsts: Ints,
    offsets: Ints,
    members: dict[str, int],
    stage: int,
) -> tuple[Ints, Ints]:
    """Return nodes and edges of one stage's graph."""
    from archgym.simulators.cluster.kernel.training import build_stage

    p = parallelism
    plan = np.zeros(_PLAN_WORDS, dtype=np.int64)
    plan[:19] = (
        p.tp, p.ep, p.dp, p.pp, p.cp, p.microbatches, p.microbatch, p.schedule == "1f1b",
        p.zero, p.sp, RECOMPUTE.index(p.recompute), p.interleave, p.exchanges, stage,
        *(members[name] for name in ("tp", "ep", "dp", "edp", "cp")),
    )  # fmt: skip
    rates = np.array([system.mem_gb_per_s * 1e9, system.peak_tflops * 1e12, p.efficiency])
    n_own = sum(
        int(firsts[part * p.pp + stage + 1] - firsts[part * p.pp + stage])
        for part in range(p.interleave)
    )
    n_nodes = p.microbatches * (n_own * (14 + 6 * p.exchanges) + 4 * p.interleave) + 64
    while True:
        nodes = np.empty((n_nodes, state.NODE_WORDS), dtype=np.int64)
        edges = np.empty((3 * n_nodes, 2), dtype=np.int64)
        grads = np.empty(n_nodes + 1, dtype=np.int64)
        if build_stage(plan, rates, layers, firsts, offsets, nodes, edges, grads):
            # Counts that the kernel leaves behind the parallelisation.
            return nodes[: plan[19]].copy(), edges[: plan[20]]
        n_nodes *= 2


def _stages(system: System, parallelism: Parallelism) -> tuple[Ints, Ints]:
    """Return the stage of each NPU, and the number of each stage's first NPU."""
    npu = np.arange(system.n_npus, dtype=np.int64)
    if parallelism.roles is None:
        per_stage = system.n_npus // parallelism.pp
        return npu // per_stage, np.arange(parallelism.pp, dtype=np.int64) * per_stage
    stage = np.zeros(system.n_npus, dtype=np.int64)
    stride = place = 1
    for role, n in zip(parallelism.roles, system.npus, strict=True):
        if role == "pp":
            stage += npu // stride % n * place
            place *= n
        stride *= n
    return stage, np.array([int(np.argmax(stage == s)) for s in range(parallelism.pp)])


def _members(system: System, parallelism: Parallelism) -> tuple[dict[str, int], list[Ints]]:
    """Return what names the members of each kind of collective, and the groups behind it.

    Returns:
      By kind, a mask of dimensions, -1 - slot, or `_ABSENT`; and by slot, (n_npus,) a number for
      each NPU that the members of its group share.
    """
    p = parallelism
    kinds = {
        "tp": ("tp",),
        "ep": ("ep",),
        "dp": ("dp", "cp"),
        "edp": ("ep", "dp", "cp"),
        "cp": ("cp",),
    }
    members: dict[str, int] = {}
    slots: list[Ints] = []
    if p.roles is not None:
        for kind, roles in kinds.items():
            mask = sum(
                1 << dim
                for dim, (role, n) in enumerate(zip(p.roles, system.npus, strict=True))
                if role in roles and n > 1
            )
            members[kind] = mask or _ABSENT
        return members, slots
    npu = np.arange(system.n_npus, dtype=np.int64)
    # Degrees in the order of numbering.
    order = (("tp", p.tp), ("cp", p.cp), ("ep", p.ep), ("dp", p.dp), ("pp", p.pp))
    known: dict[tuple[str, ...], int] = {}
    for kind, roles in kinds.items():
        present = tuple(role for role in roles if getattr(p, role) > 1)
        if not present:
            members[kind] = _ABSENT
            continue
        if present not in known:
            key = np.zeros(system.n_npus, dtype=np.int64)
            stride = 1
            for role, degree in order:
                if role not in present:
                    key += npu // stride % degree * stride
                stride *= degree
            known[present] = len(slots)
            slots.append(key)
        members[kind] = -1 - known[present]
    return members, slots


def _number_groups(
    nodes: Ints, ranges: Ints, stage_of: Ints, slots: list[Ints]
) -> tuple[tuple[tuple[int, ...], ...], Ints]:
    """Give groups numbers from 1 as they are first needed, NPU by NPU."""
    used: list[list[int]] = []
    for first, n in ranges:
        own = nodes[first : first + n]
        masks = own[own[:, state.KIND] == state.COLLECTIVE, state.MEMBERS]
        _, at = np.unique(masks, return_index=True)
        used.append([int(-1 - masks[i]) for i in sorted(at)])
    table = np.zeros((len(stage_of), len(slots)), dtype=np.int64)
    numbers: dict[tuple[int, int], int] = {}
    groups: list[tuple[int, ...]] = []
    members = [{int(key): np.flatnonzero(keys == key) for key in np.unique(keys)} for keys in slots]
    for npu, stage in enumerate(stage_of):
        for slot in used[stage]:
            key = int(slots[slot][npu])
            if (slot, key) not in numbers:
                numbers[slot, key] = len(groups) + 1
                groups.append(tuple(int(i) for i in members[slot][key]))
            table[npu, slot] = numbers[slot, key]
    return tuple(groups), table
