"""Layout of the memory that the cluster kernels work on.

A run works in one int64 array `m`, the arena. A float64 array `f` has parameters, and a read-only
int64 array `w` the graphs. A record is named by the offset of its first
word; a field is a constant that is added to it. Small records (events, messages, posted receives,
agenda lists and their entries) are blocks of eight words, one cache line, on one free list.
Times are whole nanoseconds, sizes whole bytes. Constants that kernels hand to helpers are of
NumPy's type: Numba would compile a helper once more for each plain number.
"""

from typing import Final

import numpy as np

__all__: list[str] = []

MAX_DIMS: Final = 8
DIM_BITS: Final = 3  # of a dimension in an order or a code
NONE: Final = np.int64(-1)

# Topologies.
RING: Final = 0
FULLY_CONNECTED: Final = 1
SWITCH: Final = 2

# Collectives.
ALL_REDUCE: Final = np.int64(0)
ALL_GATHER: Final = np.int64(1)
REDUCE_SCATTER: Final = np.int64(2)
ALL_TO_ALL: Final = np.int64(3)

# Algorithms; `direct` carries its window as a multiple of WINDOW.
RING_ALGORITHM: Final = 0
DIRECT: Final = 1
HALVING_DOUBLING: Final = 2
TREE: Final = 3
WINDOW: Final = 4

# Orders within a queue and of dimensions.
FIFO: Final = 0
REDUCE_GATHER: Final = 1
SMALLEST_FIRST: Final = 2
LESS_REMAINING: Final = 3
ASCENDING: Final = 0
ROUND_ROBIN: Final = 1
OFFLINE_GREEDY: Final = 2

# Kinds of nodes.
COMPUTE: Final = 0
COLLECTIVE: Final = 1
SEND: Final = 2
RECEIVE: Final = 3

# Causes of communication, for the account of what is exposed.
TENSOR: Final = 0
EXPERT: Final = 1
DATA: Final = 2
PIPELINE: Final = 3
N_CAUSES: Final = 4

# Tags of collectives begin here, so that they never match those of sends and receives.
TAG_OFFSET: Final = 500_000_000
GROUP_TAGS: Final = 1_000_000
NODE_TAGS: Final = np.int64(1 << 32)

# Header of the arena: words 0 to 63.
N_SIMULATED: Final = 0  # NPUs that are simulated
N_TOTAL: Final = 1  # NPUs of the cluster
N_DIMS: Final = 2
SPLITS: Final = 3
PRIORITY_STEP: Final = 4  # 1 for LIFO, -1 for FIFO
N_QUEUES: Final = 5
THRESHOLD: Final = 6  # chunks at a time in a queue
LOCAL_BW_AWARE: Final = 7
INTRA: Final = 8
INTER: Final = 9
INFLIGHT: Final = 10
ENDPOINT_NS: Final = 11
IS_AWARE: Final = 12
N_HASH: Final = 14  # power of two
N_DECISIONS: Final = 15
N_LINKS: Final = 16
SIZE: Final = 17  # words of the arena
GROUP_ENDPOINT_NS: Final = 18
IS_SANE: Final = 19  # quirks of ASTRA-sim are off
MATCHES_NODES: Final = 13  # chunks meet by their node's number, not by their order on an NPU
N_LOG: Final = 20  # entries that the log has room for
N_LOGGED: Final = 21
N_MESSAGES: Final = 22
N_EVENTS: Final = 23
NOW: Final = 24
TOP: Final = 25  # first word that was never taken
N_HEAP: Final = 26
SEQUENCE: Final = 27
FREE_BLOCKS: Final = 28
FREE_CHUNKS: Final = 29
IS_FULL: Final = 30
N_UNFINISHED: Final = 31
NPUS: Final = 32  # offsets of tables
QUEUES: Final = 33
NODES_STATE: Final = 34
HASH: Final = 35
LINKS: Final = 36
DECISIONS: Final = 37
GREEDY_TIME: Final = 38
GREEDY_LIST: Final = 40  # 8 dimensions in the order of their loads
SPARE: Final = 48  # a block that takes what no longer fits
HAS_SPEEDS: Final = 56  # compute times of NPUs are scaled
NODES: Final = 57  # offsets in `w`
GRAPHS: Final = 58
GRAPH_OF: Final = 59
SLOTS: Final = 60
COORDINATES: Final = 61
N_SLOTS: Final = 62
SLOT_COUNTS: Final = 63  # chunks by NPU and slot

# Dimensions: eight words each.
DIMS: Final = 64
DIM_N: Final = 0
DIM_STRIDE: Final = 1
DIM_TOPOLOGY: Final = 2
DIM_LINKS: Final = 3  # first link
DIM_BYTES: Final = 4  # bytes that were sent in it
DIM_STEP: Final = 5  # stride among the simulated NPUs; 0 if one stands for all along it
DIM_WORDS: Final = 8
# Algorithms by collective and dimension.
ALGORITHMS: Final = DIMS + MAX_DIMS * DIM_WORDS
# Buckets of times, found by a hash of the time; an entry that was evicted is only not found.
BUCKETS: Final = ALGORITHMS + 4 * MAX_DIMS
N_BUCKETS: Final = 1024
TABLES: Final = BUCKETS + N_BUCKETS

# Parameters in `f`.
LATENCY: Final = 0  # + dimension
BYTES_PER_NS: Final = 8  # + dimension
MEMORY_BYTES_PER_S: Final = 16
LOAD: Final = 17  # + dimension: loads of OfflineGreedy
BANDWIDTH: Final = 25  # + dimension: GB/s
SPEEDS: Final = 33  # + NPU: factor on compute times

# An NPU.
N_PRIORITY: Final = 0
N_CHUNKS: Final = 1
ROTATION: Final = 2
AGENDAS: Final = 3
IS_COMPUTING: Final = 4
N_INFLIGHT: Final = 5
N_LEFT: Final = 6
READY: Final = 7
FINISH: Final = 8
COMPUTE_NS: Final = 9
NODES_AT: Final = 10  # of its graph, in `w`
STATE_AT: Final = 11  # of its nodes
SINCE: Final = 12  # last change of what is under way
UNDER_WAY: Final = 13  # + cause: communication under way
EXPOSED: Final = 17  # + cause
N_WAITING: Final = 21  # receives under way
BUBBLE: Final = 22
COUNTER_A: Final = np.int64(24)  # + dimension
COUNTER_B: Final = np.int64(32)
COUNTER_C: Final = np.int64(40)
TREES: Final = 48  # + MAX_DIMS * collective + dimension
COORDINATE: Final = 80  # + dimension
NPU_WORDS: Final = 88

# A node of a graph, in `w`.
KIND: Final = 0
AMOUNT: Final = 1  # ns of compute, else bytes
TYPE: Final = 2
MEMBERS: Final = 3  # mask of dimensions, or -1 - slot of a group
PEER: Final = 4  # of sends and receives, relative to the NPU
TAG: Final = 5
N_BEFORE: Final = 6
FOLLOWING: Final = 7  # offset in `w` of the successors
N_FOLLOWING: Final = 8
CAUSE: Final = 9
NODE_WORDS: Final = 10
# Two words of state for each node and NPU: predecessors left, next ready node.
N_LEFT_BEFORE: Final = 0
NEXT_READY: Final = 1
NODE_STATE_WORDS: Final = 2

# A group as an NPU sees it, in `w`.
GROUP_NUMBER: Final = 0
GROUP_SIZE: Final = 1
GROUP_PLACE: Final = 2  # the NPU's place in it
GROUP_MEMBERS: Final = 3  # offset in `w`
GROUP_IS_ALL: Final = 4
SLOT_WORDS: Final = 5

# Blocks: events and messages begin with what they are and the next one of their list.
BLOCK_WORDS: Final = np.int64(8)
WHAT: Final = 0
NEXT: Final = 1
AGENDA: Final = 1  # values of WHAT
ARRIVAL: Final = 2
LINK_FREE: Final = 3
FOUND: Final = 4
POSTED: Final = np.int64(5)
WAITING: Final = np.int64(6)
PACKET: Final = np.int64(7)
TREE_WAIT: Final = np.int64(8)
COMPUTE_END: Final = 9
# A message, a posted receive.
SOURCE: Final = 2
TARGET: Final = 3
MESSAGE_TAG: Final = 4
BYTES: Final = 5
SUBJECT: Final = 6  # chunk or node
AT: Final = 7  # where it is: an NPU, or a switch
# An agenda list.
OWNER: Final = 2
TIME: Final = 3
HEAD: Final = 4
TAIL: Final = 5
NEXT_AGENDA: Final = 6
# An entry of one.
ENTRY_SUBJECT: Final = 2
ENTRY_BYTES: Final = 3  # still to be reduced, or -1
# A link that becomes free.
FREE_LINK: Final = 2
FREE_DIM: Final = 3
# A bucket of events: TIME, HEAD, TAIL as above, and
ORDER: Final = 2
# A collective of an NPU.
COLL_NODE: Final = 2
COLL_CHUNKS: Final = 3

# Links: busy, first and last waiting message.
LINK_BUSY: Final = 0
LINK_HEAD: Final = 1
LINK_TAIL: Final = 2
LINK_WORDS: Final = 4

# Queues: first chunk, running chunks.
QUEUE_HEAD: Final = 0
QUEUE_RUN: Final = 1
QUEUE_WORDS: Final = 2

# A chunk.
CHUNK_NPU: Final = 0
CHUNK_TAG: Final = 1
PRIORITY: Final = 2
N_PHASES: Final = 3
PHASE: Final = 4
COLL: Final = 5
NEXT_CHUNK: Final = 6
IS_STARTED: Final = 7
# Of the phase that is under way.
LEFT: Final = 8  # sends
MADE: Final = 9
SENT: Final = 10
ARRIVED: Final = 11
FREE: Final = 12
ZERO: Final = 13
NONZERO: Final = 14
TOGGLE: Final = 15
N: Final = 16
PLACE: Final = 17
DELAY: Final = 18
PARALLEL: Final = 19
CYCLE_ZERO: Final = 20
CYCLE_NONZERO: Final = 21
ALGORITHM: Final = 22
PHASE_TYPE: Final = 23
DIM: Final = 24
DIRECTION: Final = 25
PHASE_BYTES: Final = 26
MESSAGE: Final = 27
PARENT: Final = 28
LEFT_CHILD: Final = 29
RIGHT_CHILD: Final = 30
SLOT: Final = 31  # offset in `w` of the group, or -1
# Phases: a code, and the bytes that enter.
PHASES: Final = 32
PHASE_WORDS: Final = 2
CHUNK_WORDS: Final = PHASES + PHASE_WORDS * 2 * MAX_DIMS
# Bits of a phase's code.
CODE_TYPE: Final = 0  # 2 bits
CODE_DIM: Final = 2  # 3 bits
CODE_TREE: Final = 5  # 1 bit: the second tree
CODE_BACKWARD: Final = 6  # 1 bit
CODE_QUEUE: Final = 7  # 25 bits: within the dimension
CODE_ALGORITHM: Final = 32

# Decisions of OfflineGreedy: bytes, or -1, and the order, three bits a dimension.
DECISION_WORDS: Final = 2

# Entries of the log.
LOG_WORDS: Final = 6
LOG_ISSUE: Final = np.int64(0)
LOG_DONE: Final = np.int64(1)
LOG_PHASE_START: Final = np.int64(2)
LOG_PHASE_END: Final = np.int64(3)
LOG_SEND: Final = np.int64(4)
LOG_ARRIVE: Final = np.int64(5)

# Outcomes of a run.
FINISHED: Final = 0
DEADLOCK: Final = 1
ARENA_FULL: Final = 2
