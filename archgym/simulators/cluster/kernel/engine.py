"""Runs of the event simulation: memory for the kernel, and what comes out of it."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.cluster.kernel import state
from archgym.simulators.cluster.kernel.graphs import Graphs
from archgym.simulators.cluster.machine.system import (
    COLLECTIVES,
    GROUP_ENDPOINT_NS,
    INTER,
    INTRA,
    TOPOLOGIES,
    System,
    algorithm_code,
)
from archgym.simulators.kit import InvalidArgumentError, SimulatorError

Ints = npt.NDArray[np.int64]

# chosen: enough for most designs; a run that needs more starts again with four times as much.
_FIRST_WORDS: Final = 1 << 17
# chosen: 2 GiB; what needs more is not a design that somebody waits for.
_MAX_WORDS: Final = 1 << 28
_LOCAL: Final = threading.local()


@final
@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a run; times are in ns, one for each simulated NPU.

    Attributes:
      deadlock: True if the run stopped with work left.
      finish_ns: When each NPU had finished.
      compute_ns: Sum of its compute nodes' durations.
      exposed_ns: (n_simulated, 4), time that was not computed, by cause of the communication
        under way: tensor, expert, data, pipeline.
      bubble_ns: Time in which an NPU only waited to receive.
      sent_bytes: Bytes that were sent in each dimension by all simulated NPUs.
      busy_ns: (n_dims,), bytes over bandwidth, summed over the links of all simulated NPUs.
      busiest_ns: (n_dims,), the same of the link with most.
      n_messages: Messages.
      n_events: Events.
      log: (n, 6) int64: time, event, NPU, and three numbers, see `state`.
    """

    deadlock: bool
    finish_ns: Ints
    compute_ns: Ints
    exposed_ns: Ints
    bubble_ns: Ints
    sent_bytes: Ints
    busy_ns: npt.NDArray[np.float64]
    busiest_ns: npt.NDArray[np.float64]
    n_messages: int
    n_events: int
    log: Ints


def simulate(
    system: System, graphs: Graphs, *, speeds: Sequence[float] | None = None, n_log: int = 0
) -> Outcome:
    """Return what comes of graphs on a system.

    Args:
      system: System.
      graphs: Graphs of all simulated NPUs.
      speeds: Factors on compute times by NPU; none by default.
      n_log: Entries of the log to keep.

    Raises:
      InvalidArgumentError: ASTRA-sim aborts on the system with these graphs.
      SimulatorError: The run needs more memory than it may take.
    """
    _check(system, graphs)
    standing = graphs.standing
    coordinates = _addresses(system) if standing is None else standing.coordinates
    steps = None if standing is None else standing.steps
    header = _header(system, len(coordinates), steps)
    w = _words(header, graphs, coordinates, system.n_npus)
    f = _parameters(system, speeds, header)
    header[state.HAS_SPEEDS] = speeds is not None
    header[state.MATCHES_NODES] = system.sane and graphs.is_shared
    header[state.N_LOG] = n_log
    if system.inter == "OfflineGreedy":
        header[state.N_DECISIONS] = _most_chunks(system, graphs)
    log = np.zeros(n_log * state.LOG_WORDS, dtype=np.int64)
    return _run(header, f, w, log)


def _run(header: Ints, f: npt.NDArray[np.float64], w: Ints, log: Ints) -> Outcome:
    # Numba takes a while to import, which listing and describing should not wait for.
    from archgym.simulators.cluster.kernel.simulation import run

    n_words = _FIRST_WORDS
    held = getattr(_LOCAL, "arena", None)
    if held is not None:
        n_words = len(held)
    while True:
        arena = held if held is not None and len(held) == n_words else _new_arena(n_words)
        arena[: len(header)] = header
        arena[state.SIZE] = n_words
        status = run(arena, f, w, log)
        if status != state.ARENA_FULL:
            return _outcome(arena, f, status == state.DEADLOCK, log)
        n_words *= 4
        # OfflineGreedy may cut a collective into more chunks than it has by itself.
        header[state.N_DECISIONS] *= 2
        if n_words > _MAX_WORDS:
            raise SimulatorError(
                f"The simulation must fit into {_MAX_WORDS * 8 >> 30} GiB; this design has more "
                "under way at once. Use fewer NPUs, or fewer splits."
            )


def _new_arena(n_words: int) -> Ints:
    arena = np.empty(n_words, dtype=np.int64)
    if n_words <= 1 << 24:  # chosen: larger ones are not kept
        _LOCAL.arena = arena
    return arena


def _outcome(m: Ints, f: npt.NDArray[np.float64], is_deadlock: bool, log: Ints) -> Outcome:
    n = int(m[state.N_SIMULATED])
    at = int(m[state.NPUS])
    npus = m[at : at + n * state.NPU_WORDS].reshape(n, state.NPU_WORDS).copy()
    exposed = npus[:, state.EXPOSED : state.EXPOSED + state.N_CAUSES]
    first = state.DIMS + state.DIM_BYTES
    dims = m[first : first + int(m[state.N_DIMS]) * state.DIM_WORDS : state.DIM_WORDS].copy()
    times = int(m[state.LINK_TIMES])
    links = f[times + 1 : times + 2 * int(m[state.N_LINKS]) : 2]
    busy = np.zeros((2, len(dims)))
    for dim in range(len(dims)):
        at = state.DIMS + dim * state.DIM_WORDS
        if m[at + state.DIM_SHARES] != dim:
            continue
        begin, width = int(m[at + state.DIM_LINKS]), int(m[at + state.DIM_WIDTH])
        own = links[begin : begin + n * width]
        is_mesh = m[at + state.DIM_TOPOLOGY] == state.FULLY_CONNECTED
        # Links that stand for others along a ring count as their mean.
        busy[:, dim] = own.sum() / (1 if is_mesh else width // 2), own.max()
    n_logged = min(int(m[state.N_LOGGED]), int(m[state.N_LOG]))
    return Outcome(
        deadlock=is_deadlock,
        finish_ns=npus[:, state.FINISH],
        compute_ns=npus[:, state.COMPUTE_NS],
        exposed_ns=exposed,
        bubble_ns=npus[:, state.BUBBLE],
        sent_bytes=dims,
        busy_ns=busy[0],
        busiest_ns=busy[1],
        n_messages=int(m[state.N_MESSAGES]),
        n_events=int(m[state.N_EVENTS]),
        log=log.reshape(-1, state.LOG_WORDS)[:n_logged],
    )


def _addresses(system: System) -> Ints:
    """Return the addresses of all NPUs, (n_npus, 8)."""
    number = np.arange(system.n_npus, dtype=np.int64)
    table = np.zeros((system.n_npus, state.MAX_DIMS), dtype=np.int64)
    stride = 1
    for dim, n in enumerate(system.npus):
        table[:, dim] = number // stride % n
        stride *= n
    return table


def _header(system: System, n_simulated: int, steps: Sequence[int] | None) -> Ints:
    m = np.zeros(state.TABLES, dtype=np.int64)
    m[state.N_SIMULATED] = n_simulated
    m[state.N_TOTAL] = system.n_npus
    m[state.N_DIMS] = len(system.topology)
    m[state.SPLITS] = system.splits
    m[state.PRIORITY_STEP] = 1 if system.policy == "LIFO" else -1
    m[state.N_QUEUES] = system.queues
    m[state.THRESHOLD] = -(-system.active_chunks // system.queues)
    m[state.LOCAL_BW_AWARE] = system.optimization == "localBWAware"
    m[state.INTRA] = INTRA.index(system.intra)
    m[state.INTER] = INTER.index(system.inter)
    m[state.INFLIGHT] = system.inflight
    m[state.ENDPOINT_NS] = system.endpoint_ns
    m[state.GROUP_ENDPOINT_NS] = GROUP_ENDPOINT_NS
    m[state.IS_AWARE] = system.backend == "aware"
    m[state.IS_SHARED] = system.shared
    m[state.IS_SANE] = system.sane
    m[state.PACKETS] = system.packets
    # chosen: chains of a few entries, and a table that is quick to clear.
    m[state.N_HASH] = min(1 << 18, 1 << (16 * n_simulated - 1).bit_length())
    places = system.places or tuple(range(len(system.npus)))
    stride = 1
    for dim, n in enumerate(system.npus):
        at = state.DIMS + dim * state.DIM_WORDS
        m[at + state.DIM_N] = n
        m[at + state.DIM_STRIDE] = stride
        m[at + state.DIM_STEP] = stride if steps is None else steps[dim]
        m[at + state.DIM_TOPOLOGY] = TOPOLOGIES.index(system.topology[dim])
        is_mesh = system.topology[dim] == "FullyConnected"
        # Parts of a dimension share its links; those of a mesh lead to different NPUs.
        own = dim if is_mesh else places.index(places[dim])
        width = n if is_mesh else _links_of_npu(system, places, steps, places[dim])
        m[at + state.DIM_WIDTH] = width
        m[at + state.DIM_SHARES] = own
        m[at + state.DIM_LINKS] = m[state.DIMS + own * state.DIM_WORDS + state.DIM_LINKS]
        if own == dim:
            m[at + state.DIM_LINKS] = m[state.N_LINKS]
            m[state.N_LINKS] += n_simulated * width
        stride *= n
        for collective, name in enumerate(COLLECTIVES):
            code = algorithm_code(system.algorithms[name][dim])
            m[state.ALGORITHMS + state.MAX_DIMS * collective + dim] = code
    return m


def _links_of_npu(system: System, places: Sequence[int], steps: Any, place: int) -> int:
    """Return the links of an NPU; all of a ring that it stands for if they carry uneven loads."""
    parts = [dim for dim, other in enumerate(places) if other == place]
    used = {names[dim] for dim in parts for names in system.algorithms.values()}
    is_ring = system.topology[parts[0]] == "Ring" and "halvingDoubling" in used
    if is_ring and steps is not None and not any(steps[dim] for dim in parts):
        return 2 * max(system.npus[dim] for dim in parts)
    return 2


def _parameters(
    system: System, speeds: Sequence[float] | None, header: Ints
) -> npt.NDArray[np.float64]:
    factors = [1.0] if speeds is None else list(speeds)
    header[state.LINK_TIMES] = state.SPEEDS + len(factors)
    if header[state.N_LINKS] > _MAX_WORDS:
        raise SimulatorError("The links of the network are too many to be simulated.")
    f = np.zeros(state.SPEEDS + len(factors) + 2 * int(header[state.N_LINKS]))
    f[state.SPEEDS : state.SPEEDS + len(factors)] = factors
    n = len(system.topology)
    f[state.LATENCY : state.LATENCY + n] = system.latency
    f[state.BYTES_PER_NS : state.BYTES_PER_NS + n] = system.bytes_per_ns
    f[state.BANDWIDTH : state.BANDWIDTH + n] = system.bandwidth
    f[state.MEMORY_BYTES_PER_S] = system.mem_gb_per_s * 1e9
    return f


def _words(header: Ints, graphs: Graphs, coordinates: Ints, n_npus: int) -> Ints:
    """Return all that the kernel only reads, and put the offsets of its parts into the header."""
    n = len(coordinates)
    n_slots = 0 if graphs.slots is None else graphs.slots.shape[1]
    parts: list[Ints] = []
    top = 0

    def put(part: Any) -> int:
        nonlocal top
        flat = np.asarray(part, dtype=np.int64).ravel()
        parts.append(flat)
        top += len(flat)
        return top - len(flat)

    nodes = graphs.nodes.copy()
    nodes[:, state.FOLLOWING] += put(graphs.following)
    header[state.NODES] = put(nodes)
    header[state.GRAPHS] = put(graphs.ranges)
    header[state.GRAPH_OF] = put(graphs.graph_of)
    header[state.COORDINATES] = put(coordinates)
    header[state.N_SLOTS] = n_slots
    if n_slots and graphs.slots is not None:
        firsts = [put(members) for members in graphs.groups]
        places = [{npu: place for place, npu in enumerate(members)} for members in graphs.groups]
        table = np.zeros((n, n_slots, state.SLOT_WORDS), dtype=np.int64)
        for npu, slot in np.argwhere(graphs.slots > 0):
            group = int(graphs.slots[npu, slot]) - 1
            members = graphs.groups[group]
            is_all = len(members) == n_npus
            place = places[group][int(npu)]
            table[npu, slot] = (group + 1, len(members), place, firsts[group], is_all)
        first = put(table)
        header[state.SLOTS] = put(first + np.arange(n) * n_slots * state.SLOT_WORDS)
    return np.concatenate(parts)


def _most_chunks(system: System, graphs: Graphs) -> int:
    """Return how many chunks an NPU makes at most."""
    is_coll = graphs.nodes[:, state.KIND] == state.COLLECTIVE
    size = graphs.nodes[:, state.AMOUNT]
    gathers = graphs.nodes[:, state.TYPE] == state.ALL_GATHER
    c = size // system.splits
    is_small = ~gathers & (c < system.n_npus)
    chunks = np.where(is_small, system.splits, -(-size // np.maximum(c, 1)))
    sums = np.concatenate(([0], np.cumsum(np.where(is_coll, chunks, 0))))
    return int(max(sums[first + n] - sums[first] for first, n in graphs.ranges)) + 1


def _check(system: System, graphs: Graphs) -> None:
    """Refuse what makes ASTRA-sim abort or never end."""
    nodes = graphs.nodes
    is_coll = nodes[:, state.KIND] == state.COLLECTIVE
    gathers = is_coll & (nodes[:, state.TYPE] == state.ALL_GATHER)
    if (nodes[gathers, state.AMOUNT] < system.splits).any():
        raise InvalidArgumentError(
            f"An all-gather must have at least as many bytes as `splits`, {system.splits}."
        )
    masks = nodes[is_coll, state.MEMBERS]
    alone = 0
    for dim, n in enumerate(system.npus):
        alone |= (n > 1) << dim
    if ((masks >= 0) & ((masks & alone) == 0)).any():
        raise InvalidArgumentError("A collective must be over at least two NPUs.")
    if not graphs.groups:
        return
    if system.inter != "Ascending":
        raise InvalidArgumentError(f"`inter` must be Ascending with groups; got {system.inter}.")
    for members in graphs.groups:
        if len(members) < 2:
            raise InvalidArgumentError("A group must have at least two NPUs.")
    if any(len(members) < system.n_npus for members in graphs.groups) and (
        len(system.topology) == 1 and system.uses_trees
    ):
        used = {
            int(t) for t, mask in zip(nodes[is_coll, state.TYPE], masks, strict=True) if mask < 0
        }
        if any("doubleBinaryTree" in system.algorithms[COLLECTIVES[t]] for t in used):
            raise InvalidArgumentError("Trees must be over the whole cluster, not over a group.")
