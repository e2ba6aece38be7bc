"""Records that the kernel works on.

All times are in ticks. A bank is counted over its whole channel, a request over the trace. A node
is a channel, rank, pseudo-channel, stack, bank group or bank.
"""

from typing import Final

import numpy as np

from archgym.simulators.dram.kernel.records import record

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

DEVICE: Final = record(
    (_I, "kind n_levels n_nodes n_banks n_commands"),
    (_I, "scope_level"),  # of an all-bank command
    (_I, "scope_banks n_scopes banks_per_stack"),
    # codes of commands, NONE where the standard lacks one
    (_I, "act act2 pre prea rd wr rda wra refab refpb cas_rd cas_wr"),
    # durations
    (_I, "read_latency cl cwl wck_tail aad refi refi_bank rfc_bank"),
    (_I, "rules_of", MAX_COMMANDS + 1),  # first rule of each command
    (_I, "power_kind", MAX_COMMANDS),  # place in KINDS of the account, NONE where not counted
)

RULE: Final = record(
    (_I, "level following distance"),
    (_I, "window"),  # 1, or how many commands back the distance counts from
    (_I, "slot"),  # of a window's ring of times
    (_I, "siblings"),
)

CONTROLLER: Final = record(
    (_I, "width row_hit_first closes cap refresh scatter"),
    (_I, "places", 2),  # of the read and the write buffer
    (np.float64, "low high"),
    (_I, "always_on is_hashing is_counting"),
    (_I, "is_waiting"),  # some requests wait for answers
    (_I, "stall"),  # ticks for which the program has stood still
)

REQUEST: Final = record(
    (_I, "due arrive"),
    (_I, "depart"),  # NONE until known
    (_I, "row"),
    (np.int32, "column bank channel"),
    (np.int32, "address"),  # number of its byte address among all of the trace
    (np.int32, "previous"),  # neighbours in its bank's list or in the active list
    (np.int32, "next is_write is_counted"),
    (_I, "bound"),  # while active: its command is not legal before
    (_I, "version"),
    # where it waits for the answer to an earlier one: the bursts of that, the time in between,
    # and whether `due` is settled
    (np.int32, "waits", 2),
    (_I, "think is_released"),
)

BANK: Final = record(
    (_I, "row"),
    (np.int32, "state"),
    (np.int32, "version"),  # raised whenever `state` or `row` changes
    (np.int32, "n_columns"),  # since it was last closed
    (np.int32, "is_closing"),  # a precharge of the row policy is under way
    (np.int32, "n_active"),
    (np.int32, "place", 2),  # in the channel's list of banks with requests, by buffer
    (np.int32, "head tail", 2),
    (np.int32, "hit", 2),  # first request of the open row
    (np.int32, "other", 2),  # first request of another row
    (_I, "bound", 2),  # no request of the buffer is legal before
)

CHANNEL: Final = record(
    (_I, "wake progress"),
    (_I, "n_stored n_banks_used", 2),
    (_I, "scan_from", 2),  # no candidate in the buffer is legal before
    (_I, "wake_of", 2),
    (_I, "writes_first active_head active_tail n_active active_from active_wake priority_first"),
    (_I, "n_priority priority_bound"),
    (_I, "n_capped"),  # banks at the cap without a precharge under way
    (_I, "capped_from refresh_at refresh_next refresh_index"),
    (_I, "refresh_part"),  # of a set of per-bank refreshes that is under way, NONE
    (_I, "refresh_left", 8),  # banks of a stack that have had theirs
    (_I, "refresh_free", 8),
    (_I, "latest"),  # two-bus: latest time from which a passed-over candidate is legal
    (_I, "n_quiet"),  # two-bus: ticks in a row without an event
    # what `pick` found
    (_I, "picked"),  # request, or NONE for the priority buffer's head
    (_I, "picked_command picked_from"),
    # split activation
    (_I, "owner deadline cas_request cas_from wck_end"),
    # two-bus
    (_I, "pair_at pair_scope"),
    (_I, "pair_bank"),  # within its pseudo-channel, NONE for all
    # results
    (_I, "last_leave hits misses conflicts forwarded coalesced cas_issued cas_skipped act2_forced"),
    (_I, "act2_deferred is_stuck"),
    (_I, "n_issued", MAX_COMMANDS),
    (_I, "n_commands"),
)
