"""Arrays that the serving kernel borrows: the workload's, and its own scratch."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["CLOCKS", "MAX_DEGREE", "NUMBERS", "State", "Work", "new_state"]

MAX_DEGREE: Final = 16
"""Pipelining degrees go from 1 to this."""

CLOCKS: Final = ("link", "ssd", "cpu", "stall_average", "layer_average", "last_event")
LINK, SSD, CPU, STALL_AVERAGE, LAYER_AVERAGE, LAST_EVENT = range(len(CLOCKS))
NUMBERS: Final = (
    *("head", "tail", "staged", "depth_now", "n_running", "n_arrived", "n_waiting_from"),
    *("reserved", "n_batch", "rotation", "n_group", "cursor", "best_degree", "in_system"),
    *("n_host", "n_tlb", "step"),
)
(
    HEAD,
    TAIL,
    STAGED,
    DEPTH_NOW,
    N_RUNNING,
    N_ARRIVED,
    WAITING_FROM,
    RESERVED,
    N_BATCH,
    ROTATION,
    N_GROUP,
    CURSOR,
    BEST_DEGREE,
    IN_SYSTEM,
    N_HOST,
    N_TLB,
    STEP,
) = range(len(NUMBERS))


class Work(NamedTuple):
    """What designs are judged on; a block is an expert of a layer.

    Attributes:
      arrival_ns: (n_requests,) int64, never falling.
      prompt: (n_requests,) int32 [tokens].
      output: (n_requests,) int32 [tokens].
      row: (n_requests,) int64, where the routing of its document begins.
      length: (n_requests,) int64, tokens of its document.
      offset: (n_requests,) int64, token of its document that its prompt begins with.
      routing: (n_rows, n_layers, top_k) int16.
      replicas: (n_layers, n_experts) int32, copies of each expert over all accelerators.
      slots: (n_layers, n_slots) int32, the expert in each slot, accelerator by accelerator.
    """

    arrival_ns: npt.NDArray[np.int64]
    prompt: npt.NDArray[np.int32]
    output: npt.NDArray[np.int32]
    row: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    routing: npt.NDArray[np.int16]
    replicas: npt.NDArray[np.int32]
    slots: npt.NDArray[np.int32]


class State(NamedTuple):
    """What the kernel works on.

    Attributes:
      phase: (n_requests,) uint8: 0 not admitted, 1 running, 2 finished.
      prefilled, generated: (n_requests,) int32 [tokens].
      first_ns, finish_ns: (n_requests,) float64, first and last output token.
      running: (n_requests,) int32, in the order of admission.
      batch, batch_from, batch_count: (n_requests,) int32, who runs which tokens in a step.
      group: (n_requests,) int32, the second half of a pair of re-grouped batches.
      score: (n_requests,) float64, scratch of re-grouping.
      queue: (n_experts,) int32, lengths of the experts' queues.
      counts: (n_rounds_of_layers * n_experts,) int32, tokens by expert in the step.
      members: as counts, the experts that have any, in the order in which they were asked for.
      n_members: (n_rounds_of_layers,) int32.
      gathered: (2, n_blocks) int32, what each of two groups asks for.
      wanted, missed, loaded: (n_experts,) int32, blocks of an event.
      fetch: (n_blocks,) uint8: 0 nothing, 1 queued, 2 on the link, 3 staged.
      fetch_event: (n_blocks,) int32, the event of the step that it is for.
      fetch_slot: (n_blocks,) int64, its place in the queue.
      unused: (n_blocks,) uint8, prefetched into the cache and not used yet.
      low: (n_blocks,) uint8, resident with few bits.
      queue_block: (n_queue,) int32, ring of prefetches.
      queue_left, queue_issue: (n_queue,) float64, time on the link that is left, and when issued.
      queue_ready: (n_queue,) float64, when the host has it, -1 where nobody has looked.
      host_in, tlb_in: (n_blocks + 1,) uint8.
      host_before, host_after, tlb_before, tlb_after: (n_blocks + 1,) int32, by recency.
      ready: (5, MAX_DEGREE) float64, scratch of pipelining.
      finish: (n_experts,) float64, when each expert loaded for an event has been used.
      layer_hits, layer_accesses: (n_layers,) int64.
      clocks: times by `CLOCKS`.
      numbers: (len(NUMBERS),) int64.
    """

    phase: npt.NDArray[np.uint8]
    prefilled: npt.NDArray[np.int32]
    generated: npt.NDArray[np.int32]
    first_ns: npt.NDArray[np.float64]
    finish_ns: npt.NDArray[np.float64]
    running: npt.NDArray[np.int32]
    batch: npt.NDArray[np.int32]
    batch_from: npt.NDArray[np.int32]
    batch_count: npt.NDArray[np.int32]
    group: npt.NDArray[np.int32]
    score: npt.NDArray[np.float64]
    queue: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]
    members: npt.NDArray[np.int32]
    n_members: npt.NDArray[np.int32]
    gathered: npt.NDArray[np.int32]
    wanted: npt.NDArray[np.int32]
    missed: npt.NDArray[np.int32]
    loaded: npt.NDArray[np.int32]
    fetch: npt.NDArray[np.uint8]
    fetch_event: npt.NDArray[np.int32]
    fetch_slot: npt.NDArray[np.int64]
    unused: npt.NDArray[np.uint8]
    low: npt.NDArray[np.uint8]
    queue_block: npt.NDArray[np.int32]
    queue_left: npt.NDArray[np.float64]
    queue_issue: npt.NDArray[np.float64]
    queue_ready: npt.NDArray[np.float64]
    host_in: npt.NDArray[np.uint8]
    host_before: npt.NDArray[np.int32]
    host_after: npt.NDArray[np.int32]
    tlb_in: npt.NDArray[np.uint8]
    tlb_before: npt.NDArray[np.int32]
    tlb_after: npt.NDArray[np.int32]
    ready: npt.NDArray[np.float64]
    finish: npt.NDArray[np.float64]
    layer_hits: npt.NDArray[np.int64]
    layer_accesses: npt.NDArray[np.int64]
    clocks: npt.NDArray[np.float64]
    numbers: npt.NDArray[np.int64]


def new_state(n_requests: int, n_layers: int, n_experts: int, n_rounds: int) -> State:
    """Scratch for one run, as it must be at time 0."""
    n_blocks = n_layers * n_experts
    n_sets = n_layers * n_rounds
    # The ring never fills: a block is queued once at a time, and dead entries leave at the head.
    n_queue = 1 << (2 * n_blocks).bit_length()

    def whole(*shape: int) -> npt.NDArray[np.int32]:
        return np.zeros(shape, dtype=np.int32)

    def bytes_of(n: int) -> npt.NDArray[np.uint8]:
        return np.zeros(n, dtype=np.uint8)

    def ring() -> npt.NDArray[np.int32]:
        return np.full(n_blocks + 1, n_blocks, dtype=np.int32)

    return State(
        phase=bytes_of(n_requests),
        prefilled=whole(n_requests),
        generated=whole(n_requests),
        first_ns=np.zeros(n_requests),
        finish_ns=np.zeros(n_requests),
        running=whole(n_requests),
        batch=whole(n_requests),
        batch_from=whole(n_requests),
        batch_count=whole(n_requests),
        group=whole(n_requests),
        score=np.zeros(n_requests),
        queue=whole(n_experts),
        counts=whole(n_sets * n_experts),
        members=whole(n_sets * n_experts),
        n_members=whole(n_sets),
        gathered=whole(2, n_blocks),
        wanted=whole(n_experts),
        missed=whole(n_experts),
        loaded=whole(n_experts),
        fetch=bytes_of(n_blocks),
        fetch_event=whole(n_blocks),
        fetch_slot=np.zeros(n_blocks, dtype=np.int64),
        unused=bytes_of(n_blocks),
        low=bytes_of(n_blocks),
        queue_block=whole(n_queue),
        queue_left=np.zeros(n_queue),
        queue_issue=np.zeros(n_queue),
        queue_ready=np.zeros(n_queue),
        host_in=bytes_of(n_blocks + 1),
        host_before=ring(),
        host_after=ring(),
        tlb_in=bytes_of(n_blocks + 1),
        tlb_before=ring(),
        tlb_after=ring(),
        ready=np.zeros((5, MAX_DEGREE)),
        finish=np.zeros(n_experts),
        layer_hits=np.zeros(n_layers, dtype=np.int64),
        layer_accesses=np.zeros(n_layers, dtype=np.int64),
        clocks=np.zeros(len(CLOCKS)),
        numbers=np.zeros(len(NUMBERS), dtype=np.int64),
    )
