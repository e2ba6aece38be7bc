"""Layouts of the records that the kernels work on.

One `STATE` record holds everything about a controller and its memory, so that a compiled function
takes one pointer to it. All times are in ps. A bank, bank group or rank is counted over the whole
channel; a request is known by its place in the trace.
"""

from typing import Final

import numpy as np

from archgym.simulators.dram.kernel.commands import N_BANK_COMMANDS, N_COMMANDS

MAX_BANKS: Final = 64
MAX_GROUPS: Final = 32
MAX_RANKS: Final = 8
NONE: Final = -1
NEVER: Final = 1 << 62
UNCONSTRAINED: Final = -(1 << 61)  # so low that adding it to any time stays below 0

_I = np.int64
_INDEX = np.uint32  # unsigned, so that indexing needs no wrap-around test

DEVICE: Final = np.dtype(
    [
        ("clock", _I),
        ("n_ranks", _I),
        ("n_banks", _I),
        ("banks_per_rank", _I),
        ("has_groups", _I),
        ("has_column_bus", _I),
        ("is_simple", _I),  # one rank, no bank groups, one bus, every command one cycle long
        ("has_shared_power", _I),  # power-down binds other ranks, as on pseudo channels
        ("first_command", _I),  # the bus is busy before
        ("read_done", _I),  # from the command's issue to the end of its data
        ("write_done", _I),
        ("refresh_interval", _I, (3,)),  # by refresh policy
        ("window_to_act", _I),  # from the fourth-last activation's end on the bus
        ("window_to_refb", _I),
        ("refb_round", _I),  # between REFBs once every bank of a rank has had one
        ("length", _I, (N_COMMANDS,)),  # on the command bus
        # [previous command, following command]: least distance within the scope
        ("bank", _I, (N_COMMANDS, N_BANK_COMMANDS)),
        ("group", _I, (N_COMMANDS, N_BANK_COMMANDS)),
        ("other", _I, (N_COMMANDS, N_COMMANDS)),
        ("rank", _I, (N_COMMANDS, N_COMMANDS)),
        # energy accounting
        ("has_energy", _I),
        ("read_to_precharge", _I),
        ("write_to_precharge", _I),
        ("act_to_precharge", _I),
        ("precharge", _I),
        ("refresh", _I),
        ("tail", _I, (N_COMMANDS,)),  # how long the account stays open after a last command
    ],
    align=True,
)

TRACE: Final = np.dtype(
    [
        ("address", _I),
        ("tick", _I),
        ("is_write", np.uint8),
        ("waits", _I, (2,)),  # first burst whose answer it waits for, and one after the last
    ],
    align=True,
)
"""A request as the trace has it."""

# The first 64 bytes are all that the fast kernel touches, one cache line.
REQUEST: Final = np.dtype(
    [
        # from the trace and its decoding
        ("tick", _I),
        ("row", np.int32),
        ("bank", np.uint16),
        ("group", np.uint8),
        ("rank", np.uint8),
        # while it is served
        ("sent", _I),  # by the player
        ("done", _I),  # end of its data
        ("received", _I),  # by the player; before, when the arbiter had the response
        # not of this request but of the response with this place: when the player received it;
        # in the exact kernel, the request whose response it is
        ("handed", _I),
        ("previous", np.int32),  # neighbours in its bank's list
        ("next", np.int32),
        ("is_write", np.uint8),
        ("outcome", np.uint8),  # 0 row hit, 1 row miss, 2 row conflict
        ("is_reported", np.uint8),  # among the counters of an epoch, where a run has epochs
        ("unused", np.uint8),
        ("arbiter_order", np.int32),  # in the exact kernel
        # looked at in rare cases
        ("address", _I),
        # milestones, and orders of responses, in the exact kernel or for a recording
        ("admitted", _I),  # by the arbiter
        ("accepted", _I),  # by the controller
        ("issued", _I),  # column command
        # in the exact kernel
        ("due", _I),
        ("waits", _I, (2,)),
        ("unused_end", _I),
    ],
    align=True,
)
assert REQUEST.itemsize == 128

COMMAND_LOG: Final = np.dtype(
    [
        ("time", _I),
        ("command", np.int32),
        ("target", np.int32),  # bank, or rank of a rank command
        ("row", np.int32),
        ("request", np.int32),
    ],
    align=True,
)

_CONTROLLER = [
    ("page_policy", _I),
    ("scheduler", _I),
    ("buffer", _I),
    ("buffer_size", _I),
    ("is_strict", _I),
    ("reorders_responses", _I),
    ("refresh_policy", _I),
    ("max_postponed", _I),  # in refresh commands
    ("max_pulled_in", _I),
    ("powers_down", _I),
    ("arbiter", _I),
    ("max_active", _I),
]

_BUFFER = [
    ("n_stored", _I),
    ("n_stored_reads", _I),
    ("n_stored_writes", _I),
    ("last_stored_bank", _INDEX),
    ("count", _I, (MAX_BANKS,)),
    ("head", np.int32, (MAX_BANKS,)),
    ("tail", np.int32, (MAX_BANKS,)),
    ("n_payloads", _I, (MAX_RANKS,)),  # stored requests as power-down counts them
]

_BANKS = [
    ("open_row", np.int32, (MAX_BANKS,)),
    ("n_hits", np.int32, (MAX_BANKS,)),  # stored requests for the open row
    ("current", np.int32, (MAX_BANKS,)),
    ("halted", np.uint8, (MAX_BANKS,)),  # bits BLOCKED, SLEEPING
    ("rank_of", np.uint8, (MAX_BANKS,)),
    ("group_of", np.uint8, (MAX_BANKS,)),
    ("n_busy", _I, (MAX_RANKS,)),  # banks with a current request
    # earliest times by scope, pushed forward on each issue
    ("bank_earliest", _I, (MAX_BANKS, N_BANK_COMMANDS)),
    ("group_earliest", _I, (MAX_GROUPS, N_BANK_COMMANDS)),
    ("rank_earliest", _I, (MAX_RANKS, N_BANK_COMMANDS)),
    ("last", _I, (MAX_RANKS, N_COMMANDS)),  # latest issue of each command
    ("window", _I, (MAX_RANKS, 4)),  # ends of the latest four activations
    ("window_place", _INDEX, (MAX_RANKS,)),
    ("n_refb", _I, (MAX_RANKS,)),
    ("bus_free", _I, (2,)),  # rows (or all), columns
    ("last_is_write", _I),
]

# Banks that have a prepared command stand in the first `n_prepared` places of these lists.
_PREPARED = [
    ("n_prepared", _I),
    ("place", np.int32, (MAX_BANKS,)),  # of a bank in the lists
    ("prepared_bank", _INDEX, (MAX_BANKS,)),
    ("prepared_command", _INDEX, (MAX_BANKS,)),
    ("prepared_request", _I, (MAX_BANKS,)),
    ("prepared_time", _I, (MAX_BANKS,)),  # by the bank's own constraints
    ("blocked_late", _I),  # banks were blocked whose prepared commands still stand
]

_SELECTION = [
    ("is_stale", _I),
    ("selected_time", _I),
    ("soonest", _I),  # earliest time of any prepared command, held back or not
    ("selected_command", _I),
    ("selected_target", _I),
    ("selected_request", _I),
    ("is_blocked", _I),  # commands are prepared but none could be issued
    ("issued_command", _I),  # in this run, else NO_COMMAND
    ("issued_target", _I),
    ("issued_request", _I),
]

_REFRESH = [
    ("refresh_wake", _I),  # the earliest of `refresh_next`
    ("refresh_next", _I, (MAX_RANKS,)),  # when the next one falls due
    ("refresh_pulls_in", _I, (MAX_RANKS,)),  # the due one is done; more are while it is quiet
    ("refresh_flex", _I, (MAX_RANKS,)),  # commands that are owed; below 0 those done ahead
    ("refresh_command", _I, (MAX_RANKS,)),  # the manager's candidate, or NO_COMMAND
    ("refresh_time", _I, (MAX_RANKS,)),  # earliest time of it
    ("refresh_target", _I, (MAX_RANKS,)),  # rank or bank of it
    ("refresh_sleeps", _I, (MAX_RANKS,)),  # the rank is powered down
    ("refresh_keeps_bank", _I, (MAX_RANKS,)),  # per bank: the bank is blocked, so chosen for good
    ("refresh_remaining", _I, (MAX_RANKS,)),  # bit set of banks of this round
    ("n_open", _I, (MAX_RANKS,)),  # banks with an open row
]

_POWER_DOWN = [
    ("power_state", _I, (MAX_RANKS,)),  # by the states in `managers.py`
    ("power_controller_idle", _I, (MAX_RANKS,)),  # the controller holds no request for the rank
    # what is wanted next, at most one of the three in effect: exit goes before entry
    ("power_entry", _I, (MAX_RANKS,)),
    ("power_exit", _I, (MAX_RANKS,)),
    ("power_self_refresh", _I, (MAX_RANKS,)),
    ("power_n_open", _I, (MAX_RANKS,)),  # as `n_open`, but automatic precharges go unnoticed
    ("power_command", _I, (MAX_RANKS,)),  # the manager's candidate, or NO_COMMAND
    ("power_time", _I, (MAX_RANKS,)),  # earliest time of it
    ("power_wants", _I),  # whether some rank's manager has something to do
    ("has_rank_candidate", _I),  # whether some refresh or power-down command is a candidate
]

# A policy that a user wrote: addresses of its functions (0 for none) and of its storage.
_POLICY = [
    ("policy_score", _I),
    ("policy_close", _I),
    ("policy_on_arrive", _I),
    ("policy_on_issue", _I),
    ("policy_memory", _I),
    ("policy_floats", _I),
    ("policy_time", _I),  # of the controller's run
]

_TRAFFIC = [
    ("start", _I),  # time at which everything begins: 0
    ("n_requests", _I),
    ("player_clock", _I),
    ("is_relative", _I),
    ("stall", _I),  # time for which the program has stood still, where requests wait
    ("is_aligned", _I),  # player and memory share one clock, and every event lies on it
    ("incoming", _I),  # request at the controller's door
    ("incoming_time", _I),
    ("incoming_is_late", _I),  # it arrives after the first round of its time
    ("accepted", _I),  # in this run, else NONE
    ("issued", _I),  # column command's request in this run, else NONE
    ("n_accepted", _I),
    ("n_issued", _I),
    ("n_released", _I),  # responses that left the controller
    ("n_handed", _I),  # responses that the player received
    ("last_released", _I),
    ("last_handed", _I),
    ("arbiter_time", _I),  # when the request that the player sent last reaches the arbiter
    ("last_accepted", _I),
    ("idle", _I),  # time in which the controller holds no request
    ("n_served", _I),  # responses that the controller saw acknowledged
    ("n_hits_served", _I),
    ("n_misses_served", _I),
    ("n_conflicts_served", _I),
    ("n_steps_without_progress", _I),
    ("n_commands", _I, (N_COMMANDS,)),
    ("n_logged", _I),
    ("is_logging", _I),
    ("log_size", _I),
]

_ENERGY = [
    ("account_n_act", _I),
    ("account_n_pre", _I),
    ("account_n_ref", _I),
    ("account_act", _I),  # ps with a bank open
    ("account_pre", _I),
    ("account_first_act", _I),
    ("account_last_pre", _I),
    ("account_n_open", _I),
    ("account_is_open", np.uint8, (MAX_BANKS,)),
    ("account_kept_open", np.uint8, (MAX_BANKS,)),
    ("account_kept_n_open", _I),
    ("account_last_act", _I, (MAX_BANKS,)),
    ("account_power_state", _I),
    ("account_power_start", _I),
    ("account_active_down", _I),
    ("account_precharged_down", _I),
    ("account_self_refresh", _I),
    ("account_refresh_active", _I),
    ("account_refresh_precharge", _I),
    ("account_exit_active", _I),
    ("account_exit_precharge", _I),
    ("account_last_time", _I),
    ("account_last_command", _I),
    # automatic precharges still to come: a ring in order of time
    ("pending_begin", _I),
    ("pending_end", _I),
    ("pending_first", _I),  # time of the first
    ("pending_time", _I, (MAX_BANKS,)),
    ("pending_bank", _INDEX, (MAX_BANKS,)),
]

STATE: Final = np.dtype(
    [
        *_CONTROLLER,
        *_BUFFER,
        *_BANKS,
        *_PREPARED,
        *_SELECTION,
        *_REFRESH,
        *_POWER_DOWN,
        *_POLICY,
        *_TRAFFIC,
        *_ENERGY,
    ],
    align=True,
)

MAX_MESSAGES: Final = 4  # one of each kind

EVENTS: Final = np.dtype(
    [
        ("now", _I),
        ("stopped", _I),
        # wake-ups
        ("soon", _I),  # packed: those of the next round
        ("is_soon", _I),  # bit set of the same
        ("time", _I, (6,)),
        ("code", _I, (6,)),  # of its entry in the heap, or below 0
        ("next_serial", _I),
        ("n_heap", _I),
        # messages to the player (0) and to the arbiter (1)
        ("soon_messages", _I, (2,)),  # packed: kinds, due in the next round
        ("soon_shift", _I, (2,)),  # bits of the same in use
        ("n_late_messages", _I, (2,)),
        ("late_kind", _I, (2, MAX_MESSAGES)),  # the last is the first that is due
        ("late_time", _I, (2, MAX_MESSAGES)),
        ("message_request", _I, (2, 4)),  # by kind
        # controller's response path
        ("n_queued", _I),
        ("n_left", _I),
        ("outgoing", _I),
        ("acknowledged", _I),  # when the outgoing response was
        ("last_acknowledged", _I),
        ("n_in_controller", _I),
        ("idle_since", _I),
        # arbiter
        ("channel_busy", _I),
        ("thread_busy", _I),
        ("n_active", _I),
        ("parked", _I),
        ("pending_first", _I),
        ("pending_end", _I),
        ("controller_accepted", _I),
        ("player_answered", _I),
        ("n_responses", _I),
        ("n_responses_handed", _I),
        # player
        ("is_held", _I),  # the next request waits for an answer
        ("held_since", _I),  # when the request before it was accepted
        ("n_sent", _I),
        ("n_received", _I),
    ],
    align=True,
)
