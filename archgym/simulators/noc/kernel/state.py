"""Records that the kernel reads and writes, and the numbers of its options.

A router port is named by its number among all ports of all routers; the injection channels of
nodes follow them. A VC is named by the number of its port times the VCs of a port, plus its own.
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
# Why an entry left its queue without a grant; the counters are in this order.
STALLS: Final = ("busy", "conflict", "full", "reserved", "crossbar")
UNCOUNTED, CROSSBAR, RESERVED, FULL, CONFLICT, BUSY, PENDING = range(-7, 0)
# Why a run stopped.
STATUSES: Final = ("ok", "deadlock", "limit", "paused", "grow")
OK, DEADLOCK, LIMIT, PAUSED, GROW = range(5)
# When a run ends: with its last packet, at a time, when recorded packets have arrived, when no flit
# is left, when no credit is left.
UNTIL_ARRIVED, UNTIL_TIME, UNTIL_DRAINED, UNTIL_EMPTY, UNTIL_QUIET = range(5)


def _record(names: str) -> np.dtype[Any]:
    return np.dtype([(name, np.int64) for name in names.split()])


RULES: Final = _record(
    "vcs depth nodes routers ports routing dimensions radix read_write routing_delay vc_delay"
    " switch_delay crossbar_delay credit_delay input_speedup output_speedup output_room"
    " wait_for_tail busy_when_full prefer_empty shuffle speculative own_allocator check_credit"
    " mask_by_requests priority look_two_ahead slots deadlock limit generate pattern widest"
    " largest size_count"
)
"""One network and its routers: what the kernel does not change."""
PORT: Final = _record(
    "router target source latency reverse_latency total sent returned arrived held flits"
    " flits_head credits credits_head message"
)
"""A port, as an input and as an output; see `machine.py`."""
ROUTER: Final = _record(
    "first inputs outputs arrivals returns busy routes_head routes routes_started routes_due"
    " vcs_head vcs vcs_started vcs_due switch_head switch switch_started switch_due crossbar_head"
    " crossbar crossbar_started crossbar_due flits credits level position"
)
INPUT_VC: Final = _record("state head flits out out_vc priority set0 set1 carried grant port")
OUTPUT_VC: Final = _record("flits in_use tail_sent")
NODE: Final = _record(
    "router port packet flit vc last_vc next end reply last_reply made clock drained arrived"
)
PACKET: Final = _record(
    "created source target size kind flit phase via set0 set1 sequence injected head_at tail_at"
    " hops waits_for reply next is_recorded"
)
REQUEST: Final = _record("input output input_priority output_priority label next_in next_out")
SIDE: Final = _record("head match grant pointer chosen count mark")
"""An input or an output of an allocator."""
TOTALS: Final = _record(
    "time status outstanding arrived packets flits idle buffered buffered_sum held_max busy"
    " conflict full reserved crossbar moving credits in_flight made_flits recorded drain_time"
    " until is_recording expected crossings"
)

_FIELDS: Final = (
    "rules ports routers inputs outputs nodes packets order coordinates table_x table_y buffers"
    " urgencies flit_queues credit_queues routes vc_queue vc_results switch_queue switch_results"
    " crossbar_flits crossbar_ports flit_slots flit_targets flit_counts credit_slots"
    " credit_targets credit_counts sent_at arrived_at came integers fractions totals sizes offsets"
    " targets pairs"
)


def _names(title: str, fields: str) -> Any:
    """Return a named tuple, whose type a checker need not know."""
    return namedtuple(title, fields)


State: Any = _names("State", _FIELDS)
Matching: Any = _names(
    "Matching",
    "kind iterations is_matrix requests ins outs in_list out_list counts diagonals in_times"
    " out_times in_scale out_scale scratch",
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
