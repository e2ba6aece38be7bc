"""Records that the kernel reads and writes, and the numbers of its options.

Ports are numbered among all ports of all routers; behind them each node has one, which is the end
of both of its channels. A VC is named by the number of its port times the VCs of a port, plus its
own. Sets of VCs of a port are masks: bit `w` is VC `w`.
"""

from collections import namedtuple
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

NONE: Final = -1
"""No packet, flit, VC or element."""

# What a network does with a packet (`Rules.routing`).
TABLE, TORUS, XY_YX, ADAPTIVE, VALIANT, ROMM, ESCAPE, COMMON_ANCESTOR = range(8)
# States of an input VC.
IDLE, ROUTING, WAITING, ACTIVE = range(4)
# How allocators match (`Matching.kind`).
ALLOCATORS: Final = (
    "islip", "select", "separable_input_first", "separable_output_first", "wavefront",
    "rr_wavefront", "loa", "max_size",
)  # fmt: skip
(ISLIP, SELECT, INPUT_FIRST, OUTPUT_FIRST, WAVEFRONT, RR_WAVEFRONT, LOA, MAX_SIZE) = range(8)
PRIORITIES: Final = (
    "none", "age", "network_age", "sequence", "local_age", "hop_count", "queue_length",
)  # fmt: skip
(UNORDERED, AGE, NETWORK_AGE, SEQUENCE, LOCAL_AGE, HOP_COUNT, QUEUE_LENGTH) = range(7)
LATEST: Final = 2**31 - 1
LOWER: Final = 2**31
"""Priority of what is the oldest, and the amount by which speculative requests are lower."""
# Why an entry left its queue without a grant: negative, where a grant is a number of an output.
STALLS: Final = ("busy", "conflict", "full", "reserved", "crossbar")
PENDING, BUSY, CONFLICT, FULL, RESERVED, CROSSBAR, UNCOUNTED = range(-1, -8, -1)
# Why a run stopped.
STATUSES: Final = ("ok", "deadlock", "limit", "paused", "grow")
OK, DEADLOCK, LIMIT, PAUSED, GROW = range(5)
# When a run ends: with its last packet, at a time, when recorded packets have arrived, when no flit
# is left, when no credit is left.
UNTIL_ARRIVED, UNTIL_TIME, UNTIL_DRAINED, UNTIL_EMPTY, UNTIL_QUIET = range(5)
# What arrives over a channel: a flit, a node's credits, a router's credits.
FLIT, TO_NODE, TO_ROUTER, WAYS = range(4)


def _record(**names: str) -> np.dtype[Any]:
    """Return a record by width of its fields [bytes]; few lines of cache are half of the speed."""
    fields = [(name, f"i{width[1:]}") for width, text in names.items() for name in text.split()]
    return np.dtype(fields, align=True)


RULES: Final = _record(
    i8="vcs depth nodes routers ports routing dimensions radix read_write routing_delay vc_delay"
    " switch_delay crossbar_delay credit_delay input_speedup output_speedup output_room"
    " wait_for_tail busy_when_full prefer_empty shuffle speculative own_allocator check_credit"
    " mask_by_requests priority look_two_ahead slots deadlock limit generate pattern widest"
    " largest size_count"
)
"""One network and its routers: what the kernel does not change."""
PORT: Final = _record(
    i8="free room filled tails message departs returns",
    i4="router target source latency reverse_latency total held sent",
)
"""A port, as an input and as an output.

Of its VCs downstream, `free` are given to no packet, `room` have credit, `filled` hold flits, and
`tails` were sent a tail. `departs` and `returns` are when the last flit and credits left.
"""
ROUTER: Final = _record(
    i8="routes_due vcs_due switch_due crossbar_due",
    i4="first inputs outputs arrivals routes routes_started vcs vcs_started switch switch_started"
    " crossbar crossbar_started level position",
)
VC: Final = _record(
    i8="set0 set1 priority", i4="port out down grant won crossbar", i2="head tail flits",
    i1="state number out_vc",
)  # fmt: skip
"""An input VC. Its flits lie from `head` on; the next that is sent to it is put at `tail`."""
NODE: Final = _record(
    i8="clock", i4="router port packet flit vc last_vc next end reply last_reply made drained"
)
PACKET: Final = _record(
    i8="created injected head_at tail_at flit set0 set1",
    i4="source target size kind phase via sequence hops waits_for reply next is_recorded",
)
ARRIVAL: Final = _record(i8="mask", i4="next target")
"""A flit for the VC `target`, or credits of the VCs `mask` for the port `target`."""
BID: Final = _record(i8="mask by_in by_out", i4="input port label next")
"""A request for any of some outputs of a port."""
SIDE: Final = _record(i4="head match bid pointer chosen grant stamp count")
"""An input or an output of an allocator."""
TOTALS: Final = _record(
    i8="time status outstanding arrived packets flits idle buffered buffered_sum held_max flying"
    " unused credits in_flight made_flits recorded drain_time until is_recording expected drawn"
)


def _names(title: str, fields: str) -> Any:
    """Return a named tuple, whose type a checker need not know."""
    return namedtuple(title, fields)


State: Any = _names(
    "State",
    "rules ports routers vcs nodes packets order coordinates table_x table_y buffers urgencies"
    " used carried routes vc_queue switch_queue crossbar failed winners came busy arrivals heads"
    " sent_at arrived_at integers fractions totals stalls sizes offsets targets pairs landed",
)
Matching: Any = _names(
    "Matching",
    "kind iterations is_matrix width bids ins outs asks taken hard counts diagonals in_times"
    " out_times in_scale out_scale",
)


class Generator(NamedTuple):
    """Traffic that nodes make by themselves.

    Attributes:
      rate: Packets that a node makes in a cycle.
      sizes: Flits of packets, drawn with equal weights.
      targets: Destination of each node; empty for uniform traffic.
    """

    rate: float
    sizes: Ints
    targets: Ints
