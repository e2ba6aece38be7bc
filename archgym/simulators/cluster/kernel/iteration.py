"""Training iterations: a workload's layers, a parallelisation and a system, as graphs."""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.errors import InvalidArgumentError
from archgym.simulators.cluster.kernel import state
from archgym.simulators.cluster.kernel.graphs import Graphs, Standing, link
from archgym.simulators.cluster.kernel.system import System

Ints = npt.NDArray[np.int64]

# Columns of a table of layers, in the kernel's order.
LAYER_FIELDS: Final = (
    "flops", "params", "expert_params", "io", "act_in", "act_out", "tensor_parallel",
    "tp_bytes", "a2a_bytes", "act_seq", "act_tp", "table_params", "core_flops", "core_act",
    "cp_bytes", "is_block",
)  # fmt: skip
_COLUMN: Final = {name: place for place, name in enumerate(LAYER_FIELDS)}
RECOMPUTE: Final = ("none", "full", "selective")
ROLES: Final = ("tp", "ep", "dp", "pp", "cp")
_PLAN_WORDS: Final = 24
_ABSENT: Final = 1 << 40


@final
@dataclass(frozen=True, kw_only=True)
class Parallelism:
    """Spread of a model over NPUs, and its schedule.

    Attributes:
      tp: Tensor parallelism.
      ep: Expert parallelism, or of tables.
      dp: Data parallelism.
      pp: Pipeline stages.
      cp: Context parallelism.
      roles: Role of each dimension (`tp`, `ep`, `dp`, `pp`, `cp`); None numbers NPUs with tp
        first, then ep, dp, pp, and runs collectives in groups.
      microbatches: Microbatches of an iteration.
      microbatch: Samples of one on one replica.
      schedule: `gpipe` or `1f1b`.
      zero: ZeRO stage, 0 to 3.
      sp: True with sequence parallelism.
      recompute: `none`, `full` or `selective`.
      interleave: Parts of the layers on each stage in turn.
      exchanges: Parts in which experts' tokens are exchanged.
      split: Layers by stage: `blocks` spreads blocks evenly, `layers` all layers by number.
      efficiency: Part of the peak that products reach.
    """

    tp: int = 1
    ep: int = 1
    dp: int = 1
    pp: int = 1
    cp: int = 1
    roles: tuple[str, ...] | None = None
    microbatches: int = 1
    microbatch: int = 1
    schedule: str = "1f1b"
    zero: int = 0
    sp: bool = False
    recompute: str = "none"
    interleave: int = 1
    exchanges: int = 1
    split: str = "blocks"
    efficiency: float = 1.0

    @property
    def n_npus(self) -> int:
        """NPUs that the degrees multiply to."""
        return self.tp * self.ep * self.dp * self.pp * self.cp

    @property
    def global_batch(self) -> int:
        """Samples of an iteration."""
        return self.microbatches * self.microbatch * self.dp * self.ep

    def check(self, system: System, n_layers: int) -> None:
        """Refuse a parallelisation that does not fit its system or model.

        Raises:
          InvalidArgumentError: It does not.
        """
        if self.n_npus != system.n_npus:
            raise InvalidArgumentError(
                f"Degrees of parallelism must multiply to the {system.n_npus} NPUs; "
                f"{self.tp} x {self.ep} x {self.dp} x {self.pp} x {self.cp} are {self.n_npus}."
            )
        if self.pp * self.interleave > n_layers:
            raise InvalidArgumentError(
                f"Each of {self.pp} stages x {self.interleave} parts must have a layer; the model "
                f"has {n_layers}."
            )
        if self.interleave > 1 and self.microbatches % self.pp:
            raise InvalidArgumentError(
                f"`microbatches` must be a multiple of the {self.pp} stages with interleaving; "
                f"got {self.microbatches}."
            )
        if self.roles is None:
            return
        for role in ROLES:
            degree = 1
            for dim, n in zip(self.roles, system.npus, strict=True):
                degree *= n if dim == role else 1
            if degree != getattr(self, role):
                raise InvalidArgumentError(
                    f"`{role}` must be the product of its dimensions, {degree}; "
                    f"got {getattr(self, role)}."
                )


def may_stand(system: System, parallelism: Parallelism) -> bool:
    """Return true if NPUs stand for others along all dimensions without trees and stages.

    With trees, several queues or another order of dimensions it is not exact: events of equal
    time may come in another order than in the whole cluster.
    """
    return system.backend == "unaware" and parallelism.roles is not None


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


def stage_firsts(layers: Ints, parallelism: Parallelism) -> Ints:
    """Return the first layer of each virtual stage, and the number of layers.

    Args:
      layers: (n, `LAYER_FIELDS`).
      parallelism: Parallelisation.
    """
    n, n_virtual = len(layers), parallelism.pp * parallelism.interleave
    if parallelism.split == "layers":
        stage = np.arange(n) * n_virtual // n
    else:
        is_block = layers[:, _COLUMN["is_block"]] > 0
        n_blocks = int(is_block.sum())
        if n_blocks < n_virtual:
            stage = np.arange(n) * n_virtual // n
        else:
            # What is not a block goes with the one before it, an embedding with the first.
            blocks = np.maximum(np.cumsum(is_block) - 1, 0)
            stage = blocks * n_virtual // n_blocks
    firsts = np.searchsorted(stage, np.arange(n_virtual + 1))
    return np.asarray(firsts, dtype=np.int64)


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


def memory_bytes(layers: Ints, parallelism: Parallelism) -> int:
    """Return the bytes that an NPU of the fullest stage holds.

    Args:
      layers: (n, `LAYER_FIELDS`) int64.
      parallelism: Parallelisation.

    Source:
      Weights and gradients of 2 bytes, 12 bytes of optimiser's state a parameter; activations as
      `activation_bytes`.
    """
    p = parallelism
    column = {name: layers[:, place] for name, place in _COLUMN.items()}
    t = np.where(column["tensor_parallel"] > 0, p.tp, 1)
    dense = column["params"] // t
    experts = column["expert_params"] // (t * p.ep)
    replicas, copies = p.dp * p.ep * p.cp, p.dp * p.cp
    held = activation_bytes(layers, parallelism)
    largest = 0
    for stage, own in enumerate(_layers_of_stages(layers, p)):
        pd, pe = int(dense[own].sum()), int(experts[own].sum())
        whole, shard = pd + pe, pd // replicas + pe // copies
        w = shard if p.zero == 3 else whole
        r = shard if p.zero >= 2 else whole
        o = shard if p.zero >= 1 else whole
        tables = 4 * (int(column["table_params"][own].sum()) // p.ep)
        largest = max(largest, 2 * w + 4 * r + 12 * o + tables + held[stage])
    return largest


def _layers_of_stages(layers: Ints, p: Parallelism) -> list[Ints]:
    """Return the numbers of each stage's layers."""
    firsts = stage_firsts(layers, p)
    return [
        np.concatenate(
            [
                np.arange(firsts[part * p.pp + stage], firsts[part * p.pp + stage + 1])
                for part in range(p.interleave)
            ]
        )
        for stage in range(p.pp)
    ]


def activation_bytes(layers: Ints, parallelism: Parallelism) -> list[int]:
    """Return the bytes of activations that an NPU of each stage keeps for the backward pass.

    Args:
      layers: (n, `LAYER_FIELDS`) int64.
      parallelism: Parallelisation.

    Source:
      Korthikanti et al., *Reducing Activation Recomputation in Large Transformer Models*, 2022,
      equations 1 to 5; the term of interleaving from their section 4.2.3.
    """
    p = parallelism
    column = {name: layers[:, place] for name, place in _COLUMN.items()}
    t = np.where(column["tensor_parallel"] > 0, p.tp, 1)
    across = t if p.sp else np.ones_like(t)
    kept_tp = column["act_tp"] - (column["core_act"] if p.recompute == "selective" else 0)
    kept = (column["act_seq"] // across + kept_tp // t) * p.microbatch // p.cp
    inputs = column["act_in"] // across * p.microbatch // p.cp
    found = []
    for stage, own in enumerate(_layers_of_stages(layers, p)):
        live = p.microbatches if p.schedule == "gpipe" else min(p.microbatches, p.pp - stage)
        held = live * int((inputs if p.recompute == "full" else kept)[own].sum())
        if p.interleave > 1:
            held = int(held * (1 + (p.pp - 1) / (p.pp * p.interleave)))
        if p.recompute == "full":
            held += int(kept[own].max())
        found.append(held)
    return found
