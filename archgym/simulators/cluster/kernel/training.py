"""From layers and a parallelisation to the graph of one pipeline stage; compiled.

Rules of section 10 of the reference's specification, with what ASTRA-sim's users ask for: parts of
layers in turn on each stage (interleaving), context parallelism, selective recomputation, and an
exchange of experts in chunks that overlaps with their computing.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from archgym.simulators.cluster.kernel import state as st
from archgym.simulators.kit.kernels import entry_point, helper, kept_apart

Array = npt.NDArray[Any]

# Helpers build with `b`: the plan, the rates, the nodes and the edges; see `build_stage`.

# Columns of layers.
FLOPS, PARAMS, EXPERT_PARAMS, IO, ACT_IN, ACT_OUT, IS_TENSOR, TP_BYTES, A2A_BYTES = range(9)
ACT_SEQ, ACT_TP, TABLE_PARAMS, CORE_FLOPS, CORE_ACT, CP_BYTES, IS_BLOCK = range(9, 16)
LAYER_COLUMNS = 16

# The parallelisation.
T, X, G, P, C, MICROBATCHES, MICROBATCH, IS_1F1B, ZERO_STAGE, SP, RECOMPUTE = range(11)
PARTS, EXCHANGES, STAGE, TP_GROUP, EP_GROUP, DP_GROUP, EDP_GROUP, CP_GROUP = range(11, 19)
# Work space: what was made, and the last two compute nodes.
N_NODES, N_EDGES, LAST, BEFORE_LAST = range(19, 23)
PLAN_WORDS = 24
# No member but the NPU itself: the collective is left out.
ABSENT = np.int64(1 << 40)
_LEAST_BYTES = 4096
_FULL, _SELECTIVE = 1, 2
_I = np.int64
_COMP, _COLL = np.int64(st.COMPUTE), np.int64(st.COLLECTIVE)
_SEND, _RECEIVE = np.int64(st.SEND), np.int64(st.RECEIVE)
_CAUSES = (np.int64(st.TENSOR), np.int64(st.EXPERT), np.int64(st.DATA), np.int64(st.PIPELINE))
_TENSOR, _EXPERT, _DATA, _PIPELINE = _CAUSES


@helper
def _node(b: Any, kind: Any, amount: Any, cause: Any) -> Any:
    kept_apart()
    q, nodes = b[0], b[2]
    number = q[N_NODES]
    q[N_NODES] = number + 1
    if number < len(nodes):
        nodes[number, st.KIND] = kind
        nodes[number, st.AMOUNT] = amount
        nodes[number, st.TYPE] = nodes[number, st.MEMBERS] = nodes[number, st.PEER] = 0
        nodes[number, st.TAG] = 0
        nodes[number, st.CAUSE] = cause
    return number


@helper
def _edge(b: Any, before: Any, after: Any) -> None:
    kept_apart()
    q, edges = b[0], b[3]
    if before < 0:
        return
    number = q[N_EDGES]
    q[N_EDGES] = number + 1
    if number < len(edges):
        edges[number, 0] = before
        edges[number, 1] = after


@helper
def _compute(b: Any, flops: Any, n_bytes: Any) -> Any:
    """Add a compute node after the previous one; f has memory bytes/s, peak, part of it in use."""
    kept_apart()
    q, f = b[0], b[1]
    flops, n_bytes = max(flops, 1), max(n_bytes, _LEAST_BYTES)
    power = min(f[0] * (flops / n_bytes), f[1])
    if f[2] != 1.0:
        power = min(f[0] * (flops / n_bytes), f[1] * f[2])
    number = _node(b, _COMP, math.floor(flops / power * 1e9), st.NONE)
    if number < len(b[2]):
        b[2][number, st.FLOPS] = flops
        b[2][number, st.MOVED] = n_bytes
    _edge(b, q[LAST], number)
    q[BEFORE_LAST] = q[LAST]
    q[LAST] = number
    return number


@helper
def _collective(
    b: Any, collective: Any, members: Any, n_bytes: Any, before: Any, cause: Any
) -> Any:
    """Add a collective after a node; `before` is returned without members."""
    kept_apart()
    nodes = b[2]
    if members == ABSENT:
        return before
    number = _node(b, _COLL, max(n_bytes, _LEAST_BYTES), cause)
    if number < len(nodes):
        nodes[number, st.TYPE] = collective
        nodes[number, st.MEMBERS] = members
    _edge(b, before, number)
    return number


@helper
def _shares(q: Any, layer: Any) -> tuple[Any, Any, Any]:
    """Return the tensor degree of a layer, and its dense and expert parameters on one NPU."""
    t = q[T] if layer[IS_TENSOR] else 1
    return t, layer[PARAMS] // t, layer[EXPERT_PARAMS] // (t * q[X])


@helper
def _fetch(b: Any, layer: Any) -> tuple[Any, Any]:
    """Gather the sharded parameters of a layer (ZeRO 3)."""
    kept_apart()
    q = b[0]
    dense = experts = st.NONE
    if q[ZERO_STAGE] == 3:
        _, pd, pe = _shares(q, layer)
        replicas = q[G] * q[X] * q[C]
        before = q[BEFORE_LAST]
        if pd > 0 and q[EDP_GROUP] != ABSENT:
            n_bytes = 2 * pd // replicas
            dense = _collective(b, st.ALL_GATHER, q[EDP_GROUP], n_bytes, before, _DATA)
        if pe > 0 and q[DP_GROUP] != ABSENT:
            n_bytes = 2 * pe // (q[G] * q[C])
            experts = _collective(b, st.ALL_GATHER, q[DP_GROUP], n_bytes, before, _DATA)
    return dense, experts


@helper
def _swap(b: Any, layer: Any, before: Any, parts: Any) -> Any:
    """Exchange tokens between experts, one of `parts` parts of them."""
    kept_apart()
    q = b[0]
    if layer[A2A_BYTES] == 0:
        return before
    t, _, _ = _shares(q, layer)
    n_bytes = layer[A2A_BYTES] * q[MICROBATCH] // (t * q[C] * parts)
    return _collective(b, st.ALL_TO_ALL, q[EP_GROUP], n_bytes, before, _EXPERT)


@helper
def _around(b: Any, layer: Any, before: Any, is_backward: Any) -> Any:
    """Add a layer's compute node with its communication before and after; return the last node."""
    kept_apart()
    q = b[0]
    t, pd, pe = _shares(q, layer)
    size = q[MICROBATCH]
    share = t * q[C]
    dense, experts = _fetch(b, layer)
    is_divided = layer[IS_TENSOR] and layer[TP_BYTES] > 0 and q[TP_GROUP] != ABSENT
    tp_bytes = layer[TP_BYTES] * size // q[C]
    if is_divided and q[SP]:
        n_bytes = tp_bytes // q[T]
        before = _collective(b, st.ALL_GATHER, q[TP_GROUP], n_bytes, before, _TENSOR)
    if layer[CP_BYTES] > 0:
        # Keys and values of the other parts of the sequence.
        n_bytes = layer[CP_BYTES] * size // share
        before = _collective(b, st.ALL_GATHER, q[CP_GROUP], n_bytes, before, _TENSOR)
    flops, moved = layer[FLOPS] * size // share, 2 * (pd + pe) + layer[IO] * size // share
    parts = q[EXCHANGES] if layer[A2A_BYTES] > 0 and q[EP_GROUP] != ABSENT else 1
    if parts == 1:
        swapped = _swap(b, layer, before, 1)
        number = _compute(b, flops, moved)
        _edge(b, dense, number)
        _edge(b, experts, number)
        _edge(b, swapped, number)
        last = _swap(b, layer, number, 1)
    else:
        last = _in_parts(b, layer, before, parts)
        _edge(b, dense, last)
        _edge(b, experts, last)
    if is_backward and layer[CP_BYTES] > 0:
        n_bytes = layer[CP_BYTES] * size // t
        last = _collective(b, st.REDUCE_SCATTER, q[CP_GROUP], n_bytes, last, _TENSOR)
    if is_divided:
        kind = st.REDUCE_SCATTER if q[SP] else st.ALL_REDUCE
        last = _collective(b, kind, q[TP_GROUP], tp_bytes, last, _TENSOR)
    return last


@helper
def _in_parts(b: Any, layer: Any, before: Any, parts: Any) -> Any:
    """Add a layer of experts in parts, whose exchange overlaps with computing (FSMoE).

    All exchanges to the experts come before those back, so that the first parts go first.
    """
    kept_apart()
    q = b[0]
    t, pd, pe = _shares(q, layer)
    share = t * q[C] * parts
    size = q[MICROBATCH]
    first = q[N_NODES]
    for _ in range(parts):
        _swap(b, layer, before, parts)
    computed = q[N_NODES]
    for part in range(parts):
        # Weights are read again for each part.
        moved = 2 * (pd + pe) + layer[IO] * size // share
        number = _compute(b, layer[FLOPS] * size // share, moved)
        _edge(b, first + part, number)
    last = q[N_NODES]
    for part in range(parts):
        _swap(b, layer, computed + part, parts)
    # Collectives end in any order; a node that takes no time waits for all of them.
    n_last = q[N_NODES]
    joined = _compute(b, 1, _LEAST_BYTES)
    for number in range(last, n_last):
        _edge(b, number, joined)
    return joined


@helper
def _backward(b: Any, layer: Any, before: Any, is_last: Any, grads: Any) -> Any:
    """Add the backward pass of a layer; `grads` collects what the optimiser waits for."""
    kept_apart()
    q = b[0]
    t, pd, pe = _shares(q, layer)
    size = q[MICROBATCH]
    share = t * q[C]
    if q[RECOMPUTE] == _FULL:
        before = _around(b, layer, before, 0)
    elif q[RECOMPUTE] == _SELECTIVE and layer[CORE_FLOPS] > 0:
        core = _compute(b, layer[CORE_FLOPS] * size // share, layer[CORE_ACT] * size // share)
        _edge(b, before, core)
        before = core
    last = _around(b, layer, before, 1)
    moved = 2 * (pd + pe) + layer[IO] * size // share + 4 * (pd + pe)
    number = _compute(b, layer[FLOPS] * size // share, moved)
    if is_last or q[ZERO_STAGE] == 3:
        kind = st.REDUCE_SCATTER if q[ZERO_STAGE] > 0 else st.ALL_REDUCE
        for which in range(2):
            amount, members = (pd, q[EDP_GROUP]) if which == 0 else (pe, q[DP_GROUP])
            if amount > 0 and members != ABSENT:
                made = _collective(b, kind, members, 2 * amount, number, _DATA)
                if grads[0] + 1 < len(grads):
                    grads[grads[0] + 1] = made
                grads[0] += 1
    return last


@helper
def _transfer(b: Any, kind: Any, n_bytes: Any, peer: Any, tag: Any, before: Any) -> Any:
    """Add a send or a receive of activations or their gradients."""
    kept_apart()
    q, nodes = b[0], b[2]
    n_bytes = n_bytes * q[MICROBATCH] // q[C]
    if q[SP]:
        n_bytes = n_bytes // q[T]
    number = _node(b, kind, max(n_bytes, _LEAST_BYTES), _PIPELINE)
    if number < len(nodes):
        nodes[number, st.PEER] = peer
        nodes[number, st.TAG] = tag
    _edge(b, before, number)
    return number


@helper
def _pass(
    b: Any, layers: Any, firsts: Any, offsets: Any, grads: Any, k: Any, part: Any, is_backward: Any
) -> None:
    """Add the forward or backward pass of microbatch k through one part of a stage.

    Parts of all stages in turn are virtual stages: part 0 of each stage, then part 1, and so on.
    """
    kept_apart()
    q = b[0]
    stages, stage, m = q[P], q[STAGE], q[MICROBATCHES]
    virtual = part * stages + stage
    first, end = firsts[virtual], firsts[virtual + 1]
    step = -1 if is_backward else 1
    source, target = virtual - step, virtual + step
    n_virtual = stages * q[PARTS]
    # Activations pass a boundary with the size of the last layer before it.
    to_come = layers[end - 1 if is_backward else max(first - 1, 0), ACT_OUT]
    to_leave = layers[max(first - 1, 0) if is_backward else end - 1, ACT_OUT]
    before = st.NONE
    if 0 <= source < n_virtual:
        peer = offsets[source % stages] - offsets[stage]
        tag = 2 * (k + m * part) + is_backward
        before = _transfer(b, _RECEIVE, to_come, peer, tag, q[LAST])
    is_last = k == m - 1
    for i in range(end - first):
        if is_backward:
            layer = layers[end - 1 - i]
            before = _backward(b, layer, before, is_last, grads)
        else:
            before = _around(b, layers[first + i], before, 0)
    if 0 <= target < n_virtual:
        peer = offsets[target % stages] - offsets[stage]
        tag = 2 * (k + m * (target // stages)) + is_backward
        _transfer(b, _SEND, to_leave, peer, tag, before)


@helper
def _interleaved(q: Any, i: Any, is_backward: Any) -> tuple[Any, Any]:
    """Return the microbatch and part of the i-th pass of a stage (Narayanan et al. 2021)."""
    kept_apart()
    stages, parts = q[P], q[PARTS]
    turn, within = i // (stages * parts), i % (stages * parts)
    part = within // stages
    return turn * stages + within % stages, parts - 1 - part if is_backward else part


@helper
def _optimiser(b: Any, layers: Any, firsts: Any, grads: Any) -> None:
    """Add the optimiser's step after all gradients, and the gathering of updated shards."""
    kept_apart()
    q = b[0]
    dense = experts = 0
    for part in range(q[PARTS]):
        virtual = part * q[P] + q[STAGE]
        for i in range(firsts[virtual], firsts[virtual + 1]):
            _, pd, pe = _shares(q, layers[i])
            dense += pd
            experts += pe
    replicas, copies = q[G] * q[X] * q[C], q[G] * q[C]
    updated = dense + experts
    if q[ZERO_STAGE] > 0:
        updated = dense // replicas + experts // copies
    number = _compute(b, 10 * updated, 28 * updated)
    for i in range(min(grads[0], len(grads) - 1)):
        _edge(b, grads[i + 1], number)
    if not 0 < q[ZERO_STAGE] < 3:
        return
    for part in range(q[PARTS]):
        virtual = part * q[P] + q[STAGE]
        for i in range(firsts[virtual], firsts[virtual + 1]):
            _, pd, pe = _shares(q, layers[i])
            for which in range(2):
                amount, members, shards = pd, q[EDP_GROUP], replicas
                if which == 1:
                    amount, members, shards = pe, q[DP_GROUP], copies
                if amount > 0 and members != ABSENT:
                    n_bytes = 2 * amount // shards
                    _collective(b, st.ALL_GATHER, members, n_bytes, number, _DATA)


@entry_point(seconds=12)
def build_stage(
    plan: Array,
    rates: Array,
    layers: Array,
    firsts: Array,
    offsets: Array,
    nodes: Array,
    edges: Array,
    grads: Array,
) -> bool:
    """Build the graph of one stage, without its successors.

    Args:
      plan: (`PLAN_WORDS`,) int64, the parallelisation; tells how much was made.
      rates: float64, memory [bytes/s], peak [flop/s], part of the peak that is reached.
      layers: (n, `LAYER_COLUMNS`) int64.
      firsts: (n_virtual_stages + 1,) int64, first layer of each.
      offsets: (n_stages,) int64, by how much numbers of NPUs of the stages differ.
      nodes: (n, `NODE_WORDS`) int64.
      edges: (n, 2) int64.
      grads: int64, scratch for gradients' collectives.

    Returns:
      True if there was room for all of it.
    """
    q, b = plan, (plan, rates, nodes, edges)
    q[N_NODES] = q[N_EDGES] = 0
    q[LAST] = q[BEFORE_LAST] = st.NONE
    grads[0] = 0
    m, stages = q[MICROBATCHES], q[P]
    total = m * q[PARTS]
    warm_up = total
    if q[IS_1F1B]:
        warm_up = min(stages - q[STAGE] - 1, total)
        if q[PARTS] > 1:
            warm_up = min(total, 2 * (stages - q[STAGE] - 1) + (q[PARTS] - 1) * stages)
            if m == stages:
                warm_up = total
    # Passes in order: forward ones to warm up, then one of each, then the backward ones left.
    for step in range(2 * total):
        between = step - warm_up
        is_backward = 0
        i = step
        if between >= 0:
            if between < 2 * (total - warm_up):
                is_backward = between % 2
                i = between // 2 if is_backward else warm_up + between // 2
            else:
                is_backward = 1
                i = step - total
        k, part = i, 0
        if q[PARTS] > 1:
            k, part = _interleaved(q, i, is_backward)
        _pass(b, layers, firsts, offsets, grads, k, part, is_backward)
    _optimiser(b, layers, firsts, grads)
    return bool(q[N_NODES] <= len(nodes) and q[N_EDGES] <= len(edges) and grads[0] < len(grads))
