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

from archgym.simulators.cluster.machine import system

MAX_DIMS: Final = system.MAX_DIMS
DIM_BITS: Final = 3  # of a dimension in an order or a code
NONE: Final = np.int64(-1)

# Topologies.
RING, FULLY_CONNECTED, SWITCH = range(3)

# Collectives.
ALL_REDUCE, ALL_GATHER, REDUCE_SCATTER, ALL_TO_ALL = map(np.int64, range(4))

# Algorithms; `direct` carries its window as a multiple of WINDOW.
RING_ALGORITHM, DIRECT, HALVING_DOUBLING, TREE = range(4)
WINDOW: Final = len(system.ALGORITHMS)

# Orders within a queue and of dimensions.
FIFO, REDUCE_GATHER, SMALLEST_FIRST, LESS_REMAINING = range(4)
ASCENDING, ROUND_ROBIN, OFFLINE_GREEDY = range(3)

# Kinds of nodes.
COMPUTE, COLLECTIVE, SEND, RECEIVE = range(4)

# Causes of communication, for the account of what is exposed.
TENSOR, EXPERT, DATA, PIPELINE, N_CAUSES = range(5)

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
LOCAL_BW_AWARE, INTRA, INTER, INFLIGHT, ENDPOINT_NS, IS_AWARE = range(7, 13)
MATCHES_NODES: Final = 13  # chunks meet by their node's number, not by their order on an NPU
N_HASH: Final = 14  # power of two
N_DECISIONS: Final = 15
N_LINKS: Final = 16
SIZE: Final = 17  # words of the arena
GROUP_ENDPOINT_NS: Final = 18
IS_SANE: Final = 19  # quirks of ASTRA-sim are off
N_LOG: Final = 20  # entries that the log has room for
N_LOGGED, N_MESSAGES, N_EVENTS, NOW = range(21, 25)
TOP: Final = 25  # first word that was never taken
N_HEAP, SEQUENCE, FREE_BLOCKS, FREE_CHUNKS, IS_FULL, N_UNFINISHED = range(26, 32)
NPUS: Final = 32  # offsets of tables
QUEUES, NODES_STATE, HASH, LINKS, DECISIONS, GREEDY_TIME = range(33, 39)
IS_SHARED: Final = 39  # messages queue for links and reductions for memory
GREEDY_LIST: Final = 40  # 8 dimensions in the order of their loads
SPARE: Final = 48  # a block that takes what no longer fits
LINK_TIMES: Final = 49  # offset in `f`: by link, when it is free, and how long it was busy [ns]
PACKETS: Final = 50  # of a message where each link is simulated
HAS_SPEEDS: Final = 56  # compute times of NPUs are scaled
NODES: Final = 57  # offsets in `w`
GRAPHS, GRAPH_OF, SLOTS, COORDINATES, N_SLOTS = range(58, 63)
SLOT_COUNTS: Final = 63  # chunks by NPU and slot

# Dimensions: eight words each.
DIMS: Final = 64
DIM_N, DIM_STRIDE, DIM_TOPOLOGY = range(3)
DIM_LINKS: Final = 3  # first link
DIM_BYTES: Final = 4  # bytes that were sent in it
DIM_STEP: Final = 5  # stride among the simulated NPUs; 0 if one stands for all along it
DIM_SHARES: Final = 6  # dimension whose links it uses, itself or another part of the same one
DIM_WIDTH: Final = 7  # links of an NPU
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
N_PRIORITY, N_CHUNKS, ROTATION, AGENDAS, IS_COMPUTING, N_INFLIGHT, N_LEFT, READY = range(8)
FINISH, COMPUTE_NS = range(8, 10)
NODES_AT: Final = 10  # of its graph, in `w`
STATE_AT: Final = 11  # of its nodes
SINCE: Final = 12  # last change of what is under way
UNDER_WAY: Final = 13  # + cause: communication under way
EXPOSED: Final = 17  # + cause
N_WAITING: Final = 21  # receives under way
BUBBLE: Final = 22
MEMORY_FREE: Final = 23  # end of the last reduction
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
FLOPS, MOVED = PEER, TAG  # operations and bytes of compute nodes, which only exports read
N_BEFORE: Final = 6
FOLLOWING: Final = 7  # offset in `w` of the successors
N_FOLLOWING, CAUSE, NODE_WORDS = range(8, 11)
# Two words of state for each node and NPU: predecessors left, next ready node.
N_LEFT_BEFORE, NEXT_READY, NODE_STATE_WORDS = range(3)

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
ARRIVAL, LINK_FREE, FOUND = range(2, 5)
POSTED, WAITING, PACKET, TREE_WAIT = map(np.int64, range(5, 9))
COMPUTE_END: Final = 9
PART = np.int64(10)  # a packet of a message, but the last
# A message, a posted receive.
SOURCE, TARGET, MESSAGE_TAG, BYTES = range(2, 6)
SUBJECT: Final = 6  # chunk or node
AT: Final = 7  # where it is: an NPU, or a switch
# An agenda list.
OWNER, TIME, HEAD, TAIL, NEXT_AGENDA = range(2, 7)
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
LINK_BUSY, LINK_HEAD, LINK_TAIL = range(3)
LINK_WORDS: Final = 4

# Queues: first chunk, running chunks.
QUEUE_HEAD, QUEUE_RUN, QUEUE_WORDS = range(3)

# A chunk.
CHUNK_NPU, CHUNK_TAG, PRIORITY, N_PHASES, PHASE, COLL, NEXT_CHUNK, IS_STARTED = range(8)
# Of the phase that is under way.
LEFT: Final = 8  # sends
MADE, SENT, ARRIVED, FREE, ZERO, NONZERO, TOGGLE, N, PLACE, DELAY, PARALLEL = range(9, 20)
CYCLE_ZERO, CYCLE_NONZERO, ALGORITHM, PHASE_TYPE, DIM, DIRECTION, PHASE_BYTES = range(20, 27)
MESSAGE, PARENT, LEFT_CHILD, RIGHT_CHILD = range(27, 31)
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
LOG_ISSUE, LOG_DONE, LOG_PHASE_START = map(np.int64, range(3))
LOG_PHASE_END, LOG_SEND, LOG_ARRIVE = map(np.int64, range(3, 6))

# Outcomes of a run.
FINISHED, DEADLOCK, ARENA_FULL = range(3)
