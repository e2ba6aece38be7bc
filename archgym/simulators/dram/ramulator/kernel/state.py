"""Records that the kernel works on.

All times are in ticks. A bank is counted over its whole channel, a request over the trace. A node
is a channel, rank, pseudo-channel, stack, bank group or bank.
"""

from typing import Final

import numpy as np

NONE: Final = -1
FAR: Final = 1 << 62
UNCONSTRAINED: Final = -(1 << 60)

MAX_LEVELS: Final = 5
MAX_COMMANDS: Final = 12
MAX_WINDOW: Final = 8
PRIORITY_PLACES: Final = 1568  # Ramulator 2.1's priority buffer
PRIORITY_RING: Final = 2048

READ, WRITE = range(2)
CLOSED, ACTIVATING, OPENED = range(3)
# Kinds of controllers.
COMMON, SPLIT_ACTIVATION, TWO_BUS = range(3)
NO_REFRESH, ALL_BANK, PER_BANK = range(3)
# Requests of the priority buffer.
REFRESH_ALL, REFRESH_BANK, PRECHARGE_BANK = range(3)

_I = np.int64

DEVICE: Final = np.dtype(
    [
        ("kind", _I),
        ("n_levels", _I),
        ("n_nodes", _I),
        ("n_banks", _I),
        ("n_commands", _I),
        ("scope_level", _I),  # of an all-bank command
        ("scope_banks", _I),
        ("n_scopes", _I),
        ("banks_per_stack", _I),
        # codes of commands, NONE where the standard lacks one
        ("act", _I),
        ("act2", _I),
        ("pre", _I),
        ("prea", _I),
        ("rd", _I),
        ("wr", _I),
        ("rda", _I),
        ("wra", _I),
        ("refab", _I),
        ("refpb", _I),
        ("cas_rd", _I),
        ("cas_wr", _I),
        # durations
        ("read_latency", _I),
        ("cl", _I),
        ("cwl", _I),
        ("wck_tail", _I),
        ("aad", _I),
        ("refi", _I),
        ("refi_bank", _I),
        ("rfc_bank", _I),
        ("rules_of", _I, (MAX_COMMANDS + 1,)),  # first rule of each command
        ("power_kind", _I, (MAX_COMMANDS,)),  # place in `power.KINDS`, NONE where not counted
    ],
    align=True,
)

RULE: Final = np.dtype(
    [
        ("level", _I),
        ("following", _I),
        ("distance", _I),
        ("window", _I),  # 1, or how many commands back the distance counts from
        ("slot", _I),  # of a window's ring of times
        ("siblings", _I),
    ],
    align=True,
)

CONTROLLER: Final = np.dtype(
    [
        ("width", _I),
        ("row_hit_first", _I),
        ("closes", _I),
        ("cap", _I),
        ("refresh", _I),
        ("scatter", _I),
        ("places", _I, (2,)),  # of the read and the write buffer
        ("low", np.float64),
        ("high", np.float64),
        ("always_on", _I),
        ("is_hashing", _I),
        ("is_counting", _I),
        ("is_waiting", _I),  # some requests wait for answers
        ("stall", _I),  # ticks for which the program has stood still
    ],
    align=True,
)

REQUEST: Final = np.dtype(
    [
        ("due", _I),
        ("arrive", _I),
        ("depart", _I),  # NONE until known
        ("row", _I),
        ("column", np.int32),
        ("bank", np.int32),
        ("channel", np.int32),
        ("address", np.int32),  # number of its byte address among all of the trace
        ("previous", np.int32),  # neighbours in its bank's list or in the active list
        ("next", np.int32),
        ("is_write", np.int32),
        ("is_counted", np.int32),
        ("bound", _I),  # while active: its command is not legal before
        ("version", _I),
        # where it waits for the answer to an earlier one: the bursts of that, the time in between,
        # and whether `due` is settled
        ("waits", np.int32, (2,)),
        ("think", _I),
        ("is_released", _I),
    ],
    align=True,
)

BANK: Final = np.dtype(
    [
        ("row", _I),
        ("state", np.int32),
        ("version", np.int32),  # raised whenever `state` or `row` changes
        ("n_columns", np.int32),  # since it was last closed
        ("is_closing", np.int32),  # a precharge of the row policy is under way
        ("n_active", np.int32),
        ("place", np.int32, (2,)),  # in the channel's list of banks with requests, by buffer
        ("head", np.int32, (2,)),
        ("tail", np.int32, (2,)),
        ("hit", np.int32, (2,)),  # first request of the open row
        ("other", np.int32, (2,)),  # first request of another row
        ("bound", _I, (2,)),  # no request of the buffer is legal before
    ],
    align=True,
)

CHANNEL: Final = np.dtype(
    [
        ("wake", _I),
        ("progress", _I),
        ("n_stored", _I, (2,)),
        ("n_banks_used", _I, (2,)),
        ("scan_from", _I, (2,)),  # no candidate in the buffer is legal before
        ("wake_of", _I, (2,)),
        ("writes_first", _I),
        ("active_head", _I),
        ("active_tail", _I),
        ("n_active", _I),
        ("active_from", _I),
        ("active_wake", _I),
        ("priority_first", _I),
        ("n_priority", _I),
        ("priority_bound", _I),
        ("n_capped", _I),  # banks at the cap without a precharge under way
        ("capped_from", _I),
        ("refresh_at", _I),
        ("refresh_next", _I),
        ("refresh_index", _I),
        ("refresh_part", _I),  # of a set of per-bank refreshes that is under way, NONE
        ("refresh_left", _I, (8,)),  # banks of a stack that have had theirs
        ("refresh_free", _I, (8,)),
        ("latest", _I),  # two-bus: latest time from which a passed-over candidate is legal
        ("n_quiet", _I),  # two-bus: ticks in a row without an event
        # what `pick` found
        ("picked", _I),  # request, or NONE for the priority buffer's head
        ("picked_command", _I),
        ("picked_from", _I),
        # split activation
        ("owner", _I),
        ("deadline", _I),
        ("cas_request", _I),
        ("cas_from", _I),
        ("wck_end", _I),
        # two-bus
        ("pair_at", _I),
        ("pair_scope", _I),
        ("pair_bank", _I),  # within its pseudo-channel, NONE for all
        # results
        ("last_leave", _I),
        ("hits", _I),
        ("misses", _I),
        ("conflicts", _I),
        ("forwarded", _I),
        ("coalesced", _I),
        ("cas_issued", _I),
        ("cas_skipped", _I),
        ("act2_forced", _I),
        ("act2_deferred", _I),
        ("is_stuck", _I),
        ("n_issued", _I, (MAX_COMMANDS,)),
        ("n_commands", _I),
    ],
    align=True,
)
