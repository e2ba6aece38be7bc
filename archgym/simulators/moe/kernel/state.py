"""Arrays that the serving kernel borrows: the workload's, and its own scratch.

They are few and have a row for each subject, since a compiled function takes each array's address,
shape and strides one by one. The constants name rows, clocks and numbers.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt

whole: Callable[[Any], int] = cast(Any, np.int64)
"""A whole number of 64 bits, in kernels too: they are compiled once more for each other type."""

MAX_DEGREE: Final = 16
"""Pipelining degrees go from 1 to this."""

# Rows of `Work.requests`.
ARRIVAL, PROMPT, OUTPUT, ROW, LENGTH, OFFSET, CACHED = range(7)
# Rows of `State.requests`: 0 waiting, 1 running, 2 finished; tokens read and written; who runs, in
# the order of admission; which tokens of whom the step holds; a group that waits for its turn.
PHASE, PREFILLED, GENERATED, ORDER, BATCH, BATCH_FROM, BATCH_COUNT, GROUP, HELD = range(9)
# Rows of `State.times`: first and last token [ns]; scratch of re-grouping; the first step that
# reads the prompt [ns].
FIRST, LAST, SCORE, STARTED = range(4)
# Rows of `State.blocks`: a prefetch's status, the event it is for, its place in the ring; whether
# it came into the cache and is unused; whether it has few bits; three rows of what the host holds;
# what each of two groups of requests asks for.
FETCH, FETCH_EVENT, FETCH_SLOT, UNUSED, LOW = range(5)
HOST, GATHERED, N_BLOCK_ROWS = 5, 8, 10
# Rows of `State.ring`: time on the link that is left, when a prefetch was issued, when the host has
# it (-1 where nobody has looked) [ns].
LEFT, ISSUED, READY = range(3)
# Rows of `State.experts`: blocks of an event; lengths of experts' queues.
WANTED, MISSED, LOADED, QUEUE = range(4)
# Rows of `State.layers`: counts; a layer's worst block in a shared pool, and the event after which
# that must be looked for again: that of blocks which had to stay, `STALE` for now, `LASTING` for
# never.
HITS, ACCESSES, WORST, FOUND_FOR = range(4)
STALE, LASTING = -2, 1 << 62
# Places in `State.clocks`: until when link, drive and processor are taken; averages of the adaptive
# depth; the last arrival or departure [ns]; the last step without prompts [ns]; the time at which
# steps stopped [ns].
LINK, SSD, CPU, STALL_AVERAGE, LAYER_AVERAGE, LAST_EVENT, PACE, NOW = range(8)
# Places in `State.contents`: what a step holds. Tokens of sequences that decode (drafts count), the
# sequences, context that they read and pairs of token and context; the same of prompts; tokens that
# the output head scores; requests.
(
    N_WRITTEN,
    N_DECODE,
    DECODE_CONTEXT,
    DECODE_PAIRS,
    N_PROMPT,
    N_PROMPTS,
    PROMPT_CONTEXT,
    PROMPT_PAIRS,
    N_LOGITS,
    N_CONTENTS,
) = range(10)
# Places in `State.numbers`.
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
    STEP,
    N_HELD,
    N_WAITED,
    N_UNSEEN,
) = range(19)


class Work(NamedTuple):
    """Work that designs are evaluated on; a block is an expert of a layer.

    Attributes:
      requests: (7, n_requests) int64: arrival [ns], tokens of prompt and output, where the routing
        of its document begins, how long that is, the token of it that the prompt begins with, and
        tokens of the prompt whose keys and values are cached.
      routing: (n_rows, n_layers, top_k) int16.
      replicas: (n_layers, n_experts) int32, copies of each expert over all accelerators.
      slots: (n_layers, n_slots) int32, the expert in each slot, accelerator by accelerator.
    """

    requests: npt.NDArray[np.int64]
    routing: npt.NDArray[np.int16]
    replicas: npt.NDArray[np.int32]
    slots: npt.NDArray[np.int32]


class State(NamedTuple):
    """State of the kernel; rows are named above.

    Attributes:
      requests: (9, n_requests) int64.
      times: (4, n_requests) float64.
      counts: (n_events * n_experts,) int32, tokens by expert in the step.
      members: as counts, the experts that have any, in the order in which they were asked for.
      n_members: (n_events,) int32.
      blocks: (10, n_blocks + 1) int64.
      experts: (4, n_experts) int64.
      ring_block: (n_ring,) int64, prefetches in the order of issue.
      ring: (3, n_ring) float64.
      ready: (5, MAX_DEGREE) float64, scratch of pipelining.
      finish: (n_experts,) float64, when each expert loaded for an event has been used [ns].
      layers: (4, n_layers) int64.
      worst_keys: (2, n_layers) float64, both sort keys of each layer's worst block.
      clocks: (8,) float64.
      numbers: (19,) int64; `N_UNSEEN` counts decode steps since the last step with prompts.
      contents: (N_CONTENTS,) float64.
    """

    requests: npt.NDArray[np.int64]
    times: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int32]
    members: npt.NDArray[np.int32]
    n_members: npt.NDArray[np.int32]
    blocks: npt.NDArray[np.int64]
    experts: npt.NDArray[np.int64]
    ring_block: npt.NDArray[np.int64]
    ring: npt.NDArray[np.float64]
    ready: npt.NDArray[np.float64]
    finish: npt.NDArray[np.float64]
    layers: npt.NDArray[np.int64]
    worst_keys: npt.NDArray[np.float64]
    clocks: npt.NDArray[np.float64]
    numbers: npt.NDArray[np.int64]
    contents: npt.NDArray[np.float64]


def new_state(n_requests: int, n_layers: int, n_experts: int, n_rounds: int) -> State:
    """Return scratch for one run, as it must be at time 0."""
    n_blocks, n_events = n_layers * n_experts, n_layers * n_rounds
    # The ring never fills: a block is queued once at a time, and dead entries leave at the head.
    n_ring = 1 << (2 * n_blocks).bit_length()
    blocks = np.zeros((N_BLOCK_ROWS, n_blocks + 1), dtype=np.int64)
    blocks[HOST + 1 : HOST + 3] = n_blocks
    layers = np.zeros((4, n_layers), dtype=np.int64)
    layers[FOUND_FOR] = STALE
    return State(
        requests=np.zeros((9, n_requests), dtype=np.int64),
        times=np.zeros((4, n_requests)),
        counts=np.zeros(n_events * n_experts, dtype=np.int32),
        members=np.zeros(n_events * n_experts, dtype=np.int32),
        n_members=np.zeros(n_events, dtype=np.int32),
        blocks=blocks,
        experts=np.zeros((4, n_experts), dtype=np.int64),
        ring_block=np.zeros(n_ring, dtype=np.int64),
        ring=np.zeros((3, n_ring)),
        ready=np.zeros((5, MAX_DEGREE)),
        finish=np.zeros(n_experts),
        layers=layers,
        worst_keys=np.zeros((2, n_layers)),
        clocks=np.zeros(8),
        numbers=np.zeros(19, dtype=np.int64),
        contents=np.zeros(N_CONTENTS),
    )
