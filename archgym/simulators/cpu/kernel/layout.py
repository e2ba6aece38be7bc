"""Memory layout of the simulated machine: one int64 array that every kernel works on.

A structure is a base index plus the field constants below. Requests, queues and caches are found
by their base index, so that moving a request between lists copies one word.
"""

from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
"""Array of whole numbers."""


class Words(Protocol):
    """Words of memory as kernels see them: indexed from 0 up, without bounds checks."""

    def __getitem__(self, index: int) -> int:
        """Return the word at an index."""
        ...

    def __setitem__(self, index: int, value: int) -> None:
        """Set the word at an index."""


NEVER: Final = 1 << 60
CYCLE_PS: Final = 250
"""Cycle of a core whose clock is 4 GHz, as it is unless a machine says otherwise."""

# Names of fields are packed, not one a line.
# fmt: off

# Components, in the order in which they run within a cycle.
CORE, STLB, L2C, L1I, L1D, ITLB, DTLB, LLC, PTW, DRAM = range(10)
COMPONENTS: Final = ("CORE", "STLB", "L2C", "L1I", "L1D", "ITLB", "DTLB", "LLC", "PTW", "DRAM")
N_COMPONENTS: Final = 10

# Types of requests.
LOAD, RFO, PREFETCH, WRITE, TRANSLATION = range(5)
N_TYPES: Final = 5

# Channels: upper component, lower component.
(
    CORE_L1I, PTW_L1D, CORE_L1D, L1D_L2C, L1I_L2C, L2C_LLC, L1I_ITLB, L1D_DTLB, DTLB_STLB,
    ITLB_STLB, L2C_STLB, STLB_PTW, LLC_DRAM,
) = range(13)
CHANNEL_ENDS: Final = (
    (CORE, L1I), (PTW, L1D), (CORE, L1D), (L1D, L2C), (L1I, L2C), (L2C, LLC), (L1I, ITLB),
    (L1D, DTLB), (DTLB, STLB), (ITLB, STLB), (L2C, STLB), (STLB, PTW), (LLC, DRAM),
)
N_CHANNELS: Final = 13

# Fixed areas.
WAKE: Final = 256  # by component: first cycle in which it may have work
CHANNELS: Final = 512
CHANNEL_SIZE: Final = 48
CACHES: Final = 2048  # by component
CACHE_SIZE: Final = 128
WALKER: Final = 4096
MEMORY: Final = 8192  # the DRAM controller; its channels follow
MEMORY_CHANNELS: Final = 8192 + 64
MEMORY_CHANNEL_SIZE: Final = 2048
COUNTERS: Final = 16640
N_COUNTERS: Final = 512
REGISTERS: Final = COUNTERS + N_COUNTERS
FRONT: Final = REGISTERS  # register number to physical register + 1, 0 none
BACK: Final = REGISTERS + 256
FREE_RING: Final = REGISTERS + 512
VALID: Final = REGISTERS + 768
STANDS_FOR: Final = REGISTERS + 1024
WAITERS: Final = REGISTERS + 1280  # physical register to its first waiting source + 1
NEED_COUNT: Final = REGISTERS + 1536  # scheduled instructions in the ROB by what they need
BRANCHES: Final = REGISTERS + 1552  # scalars of the branch predictors
FOLDS: Final = BRANCHES + 16
DYNAMIC: Final = BRANCHES + 64  # areas of variable size start here

# Globals: sizes of the core, its state, and bases of areas of variable size.
(
    G_WARM, G_STATUS, G_POOL, G_POOL_TOP, G_POOL_END, G_NODES, G_NODES_TOP, G_NODES_END,
    G_FETCH_WIDTH, G_DECODE_WIDTH, G_DISPATCH_WIDTH, G_EXECUTE_WIDTH, G_LQ_WIDTH, G_SQ_WIDTH,
    G_RETIRE_WIDTH, G_DIB_INORDER_WIDTH, G_SCHEDULER, G_IFETCH_BUFFER, G_DECODE_BUFFER,
    G_DISPATCH_BUFFER, G_DIB_HIT_BUFFER, G_N_REGISTERS, G_ROB, G_LQ, G_SQ, G_MISPREDICT_PENALTY,
    G_DECODE_LATENCY, G_DIB_HIT_LATENCY, G_DISPATCH_LATENCY, G_SCHEDULE_LATENCY,
    G_EXECUTE_LATENCY, G_DIB_MASK, G_DIB_WAYS, G_DIB_SHIFT, G_PREDICTOR, G_L1I_TAG_BW,
    G_L1D_TAG_BW, G_HEAD, G_SCHEDULED, G_ROB_TAIL, G_DISPATCH_TAIL, G_DECODE_TAIL, G_TAIL,
    G_LOOKED_UP, G_FETCHED, G_N_DECODE, G_N_DIB_HIT, G_RESUME, G_RETIRED, G_N_RECORDS,
    G_INSTRUCTIONS, G_MASK, G_WORDS, G_CAN_EXECUTE, G_N_EXECUTE, G_CAN_COMPLETE, G_N_COMPLETE,
    G_UNEXECUTED, G_FREE_HEAD, G_FREE_COUNT, G_NEEDS_STALE, G_LOADS, G_LOAD_WORDS, G_LOAD_FREE,
    G_N_LOAD_FREE, G_LOAD_SEND, G_N_LOAD_SEND, G_LOAD_SENT, G_STORES, G_STORE_MASK, G_STORE_HEAD,
    G_STORE_ISSUED, G_STORE_TAIL, G_STORE_HASH, G_DIB, G_DIB_CLOCK, G_DIB_LAST, G_TARGETS,
    G_TARGET_CLOCK, G_INDIRECT, G_RETURN_STACK, G_RETURN_TOP, G_RETURN_COUNT, G_CALL_SIZES,
    G_PAGES, G_PAGES_MASK, G_PAGES_USED, G_NEXT_PAGE, G_FAULT, G_FAULT_PENALTY,
    G_PERCEPTRON_LIST, G_SLOT_REASON, G_LAST_CORE_CYCLE, G_REFILL_UNTIL, G_IDEAL_BRANCHES,
    G_IDEAL_TLB, G_LOG, G_LOG_END, G_LOG_TOP, G_DISPATCHED, G_QUIET_SINCE, G_RETIRED_BEFORE,
    G_TAGE,
    # A predictor that a user wrote: addresses of its functions (0 for none) and of its storage.
    G_HOOK_PREDICT, G_HOOK_UPDATE, G_HOOK_MEMORY, G_HOOK_FLOATS, G_HOOK_TIME,
) = range(108)

# An instruction in flight, at G_INSTRUCTIONS + 16 * (id & G_MASK).
(
    I_READY, I_FLAGS, I_WORD, I_PENDING, I_MEMORY, I_NEED, I_REGISTERS, I_LOADS, I_STORE, I_ID,
    I_WAIT,
) = range(11)
I_SIZE: Final = 16
LOAD_SLOT_BITS: Final = 16  # of each read's slot in I_LOADS
NO_LOAD_SLOT: Final = 0xFFFF  # a read that a store answers
FETCH_ISSUED, FETCH_DONE, DECODED, MISPREDICTED, EARLY, EXECUTED, COMPLETED = (
    1 << i for i in range(7)
)


# A load queue's entry; a store queue's entry.
L_ID, L_ADDRESS, L_READY, L_NEXT = range(4)
L_SIZE: Final = 4
NOT_WAITING: Final = -2
S_ID, S_ADDRESS, S_READY, S_PREVIOUS, S_WAITERS = range(5)
S_SIZE: Final = 8
STORE_HASH_SIZE: Final = 1024

# A request.
(
    R_ADDRESS, R_VIRTUAL, R_IP, R_TYPE, R_TRANSLATED, R_WANTED, R_DATA, R_IDS, R_OWN, R_SKIP,
    R_ASKED, R_DUE, R_TIME, R_CHANNELS, R_NEXT,
) = range(15)
R_SIZE: Final = 16

# A range of instruction ids that wait for a fetch.
N_START, N_COUNT, N_NEXT = range(3)
N_SIZE: Final = 4

# A queue, and a channel of three queues (reads, prefetches, writes) and answers.
Q_HEAD, Q_COUNT, Q_CAPACITY, Q_MASK, Q_BUFFER, Q_NEW = range(6)
Q_SIZE: Final = 8
C_READS, C_PREFETCHES, C_WRITES, C_ANSWERS = 0, 8, 16, 24
C_UPPER, C_LOWER, C_NEW = 32, 33, 34
A_ADDRESS, A_VIRTUAL, A_DATA, A_IDS = range(4)
ANSWER_SIZE: Final = 4

# A cache or TLB.
(
    K_SET_MASK, K_WAYS, K_MSHR, K_HIT_LATENCY, K_FILL_LATENCY, K_TAG_BW, K_FILL_BW, K_PREFETCHER,
    K_REPLACEMENT, K_PQ, K_OFFSET, K_N_UPPER, K_UPPER, K_UPPER_1, K_UPPER_2, K_UPPER_3, K_BELOW,
    K_TRANSLATOR, K_WRITES_FILL, K_WHOLE, K_VIRTUAL_PREFETCH, K_COUNTERS, K_WAKE, K_TAGS,
    K_BLOCKS, K_DATA, K_FLAGS, K_RANKS, K_SIGNATURES, K_N_VALID, K_CLOCK, K_MSHR_HEAD,
    K_MSHR_COUNT, K_MSHR_ANSWERED, K_MSHR_RING, K_MSHR_BLOCKS, K_MSHR_MASK, K_WRITING_HEAD,
    K_WRITING_COUNT, K_WRITING_RING, K_LOOKUP_HEAD, K_LOOKUP_COUNT, K_LOOKUP_RING, K_STASH_COUNT,
    K_STASH, K_STASH_MASK, K_UNASKED, K_OWN_HEAD, K_OWN_COUNT, K_OWN_RING, K_OWN_MASK, K_STRIDES,
    K_STRIDE_CLOCK, K_AHEAD_DEGREE, K_AHEAD_ADDRESS, K_AHEAD_STRIDE, K_PSEL, K_BIP, K_SHIP,
    K_IS_TLB, K_SETS, K_PERFECT, K_LOOKUP_MASK, K_WRITING_MASK,
    # A policy that a user wrote: addresses of its functions (0 for none) and of its storage.
    K_HOOK_VICTIM, K_HOOK_ON_HIT, K_HOOK_ON_FILL, K_HOOK_PREFETCH, K_HOOK_STRIDE, K_HOOK_MEMORY,
    K_HOOK_FLOATS, K_HOOK_DEGREE, K_HOOK_WAY_FAULT, K_HOOK_BLOCK_FAULT,
) = range(74)
FLAG_DIRTY, FLAG_PREFETCHED = 1, 2
# Codes of a policy that a user wrote, which no design has.
USER_REPLACEMENT, USER_PREFETCHER, USER_PREDICTOR = 7, 3, 6
STRIDE_SETS, STRIDE_WAYS = 256, 4

# Counters of a cache, at its K_COUNTERS.
N_HIT, N_MISS, N_MERGE = 0, 5, 10
(
    N_PF_REQUESTED, N_PF_ISSUED, N_PF_USEFUL, N_PF_USELESS, N_PF_FILL, N_MISS_LATENCY, N_PF_LATE,
    N_EVICTED_DIRTY,
) = range(15, 23)
CACHE_COUNTERS: Final = 24
# Counters of the core and the DRAM.
N_BRANCH: Final = COUNTERS + CACHE_COUNTERS * N_COMPONENTS
N_MISPREDICTED: Final = N_BRANCH + 8
N_ROB_OCCUPANCY: Final = N_BRANCH + 16
N_SLOTS: Final = N_BRANCH + 17  # lost dispatch slots by reason, 6
N_CORE: Final = N_BRANCH + 24
(
    N_DIB_HITS, N_DIB_LOOKUPS, N_LOADS, N_STORES, N_FORWARDED, N_WALKS, N_SOURCES,
    N_DESTINATIONS, N_FAULTS,
) = range(N_CORE, N_CORE + 9)
(
    N_READ_ROW_HIT, N_READ_ROW_MISS, N_WRITE_ROW_HIT, N_WRITE_ROW_MISS, N_WRITES_FULL,
    N_REFRESHES, N_CONGESTED_COUNT, N_CONGESTED_CYCLES,
) = range(N_CORE + 16, N_CORE + 24)

# Reasons for lost dispatch slots.
SLOTS_FRONT_END, SLOTS_BAD_SPECULATION, SLOTS_MEMORY, SLOTS_CORE = range(4)

# The page walker.
(
    P_WALKS, P_N_WALKS, P_FINISHED, P_N_FINISHED, P_COMPLETED, P_N_COMPLETED, P_MAX_READ,
    P_MAX_WRITE, P_ROOT, P_CACHES, P_CLOCKS,
) = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16)
WALK_LIST: Final = 512
WALK_ENTRY: Final = 4  # key, stamp, address, level
WALK_SETS: Final = (1, 1, 2, 4)  # of levels 5, 4, 3, 2
WALK_WAYS: Final = (2, 4, 4, 8)

# The DRAM controller and its channels.
(
    M_TIME, M_PERIOD, M_BURST, M_N_CHANNELS, M_CHANNEL_BITS, M_RANK_BITS, M_RQ, M_WQ, M_T_CAS,
    M_T_RCD, M_T_RP, M_T_RAS, M_T_REF, M_T_RFC, M_RETURN, M_STALL, M_CYCLE, M_BLOCKED, M_N_BANKS,
    M_FREE,
) = range(20)
(
    D_READS, D_READS_WAITING, D_READS_NEW, D_WRITES, D_WRITES_WAITING, D_WRITES_NEW, D_VALID,
    D_REFRESH_NEEDED, D_UNDER_REFRESH, D_ACTIVE, D_WRITE_MODE, D_BUS_FREE, D_LAST_REFRESH,
    D_NEXT, D_CONGESTED, D_GROUP_READY,
) = range(16)
D_READ_SLOTS: Final = 64
D_WRITE_SLOTS: Final = 64 + 512
D_BANKS: Final = 64 + 1024
X_BLOCK, X_READY, X_WANTED, X_BANK, X_ROW, X_ADDRESS = range(6)
X_SIZE: Final = 8
B_ROW, B_READY, B_SLOT, B_HIT = range(4)
B_SIZE: Final = 4

# Events of caches: kind, component, address, virtual address, type, set, way, cycle.
EVENT_LOOK_UP, EVENT_FILL = 1, 2
EVENT_SIZE: Final = 8

# Statuses of a run.
STATUS_OK, STATUS_STUCK, STATUS_OVERFLOW, STATUS_TRACE_END = range(4)
