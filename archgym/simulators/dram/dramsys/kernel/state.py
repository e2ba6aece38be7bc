"""Layouts of the records that the kernels work on.

One `STATE` record holds everything about a controller and its memory, so that a compiled function
takes one pointer to it. All times are in ps. A bank, bank group or rank is counted over the whole
channel; a request is known by its place in the trace.
"""

from typing import Final

import numpy as np

from archgym.simulators.dram.dramsys.kernel.commands import N_BANK_COMMANDS, N_COMMANDS
from archgym.simulators.dram.kernel.records import record

MAX_BANKS: Final = 64
MAX_GROUPS: Final = 32
MAX_RANKS: Final = 8
NONE: Final = -1
UNCONSTRAINED: Final = -(1 << 61)  # so low that adding it to any time stays below 0

_I = np.int64
_INDEX = np.uint32  # unsigned, so that indexing needs no wrap-around test

DEVICE: Final = record(
    (_I, "clock n_ranks n_banks banks_per_rank has_groups has_column_bus"),
    (_I, "is_simple"),  # one rank, no bank groups, one bus, every command one cycle long
    (_I, "has_shared_power"),  # power-down binds other ranks, as on pseudo channels
    (_I, "first_command"),  # the bus is busy before
    (_I, "read_done"),  # from the command's issue to the end of its data
    (_I, "write_done"),
    (_I, "refresh_interval", 3),  # by refresh policy
    (_I, "window_to_act"),  # from the fourth-last activation's end on the bus
    (_I, "window_to_refb"),
    (_I, "refb_round"),  # between REFBs once every bank of a rank has had one
    (_I, "length", N_COMMANDS),  # on the command bus
    # [previous command, following command]: least distance within the scope
    (_I, "bank group", N_COMMANDS, N_BANK_COMMANDS),
    (_I, "other rank", N_COMMANDS, N_COMMANDS),
    # energy accounting
    (_I, "has_energy read_to_precharge write_to_precharge act_to_precharge precharge refresh"),
    (_I, "tail", N_COMMANDS),  # how long the account stays open after a last command
)

TRACE: Final = record(
    (_I, "address tick"),
    (np.uint8, "is_write"),
    (_I, "waits", 2),  # first burst whose answer it waits for, and one after the last
)
"""A request as the trace has it."""

REQUEST: Final = record(
    # from the trace and its decoding
    (_I, "tick"),
    (np.int32, "row"),
    (np.uint16, "bank"),
    (np.uint8, "group rank"),
    # while it is served
    (_I, "sent"),  # by the player
    (_I, "done"),  # end of its data
    (_I, "received"),  # by the player; before, when the arbiter had the response
    # not of this request but of the response with this place: the request whose response it is
    (_I, "handed"),
    (np.int32, "previous"),  # neighbours in its bank's list
    (np.int32, "next"),
    (np.uint8, "is_write"),
    (np.uint8, "outcome"),  # 0 row hit, 1 row miss, 2 row conflict
    (np.uint8, "is_reported"),  # among the counters of an epoch, where a run has epochs
    (np.uint8, "unused"),
    (np.int32, "arbiter_order"),
    # looked at in rare cases
    (_I, "address"),
    # milestones
    (_I, "admitted"),  # by the arbiter
    (_I, "accepted"),  # by the controller
    (_I, "issued"),  # column command
    (_I, "due"),
    (_I, "waits", 2),
    (_I, "unused_end"),
)
assert REQUEST.itemsize == 128

COMMAND_LOG: Final = record(
    (_I, "time"),
    (np.int32, "command"),
    (np.int32, "target"),  # bank, or rank of a rank command
    (np.int32, "row request"),
)

STATE: Final = record(
    # settings of the controller
    (_I, "page_policy scheduler buffer buffer_size is_strict reorders_responses refresh_policy"),
    (_I, "max_postponed"),  # in refresh commands
    (_I, "max_pulled_in powers_down arbiter max_active"),
    # the request buffer
    (_I, "n_stored n_stored_reads n_stored_writes"),
    (_INDEX, "last_stored_bank"),
    (_I, "count", MAX_BANKS),
    (np.int32, "head tail", MAX_BANKS),
    (_I, "n_payloads", MAX_RANKS),  # stored requests as power-down counts them
    # banks
    (np.int32, "open_row", MAX_BANKS),
    (np.int32, "n_hits", MAX_BANKS),  # stored requests for the open row
    (np.int32, "current", MAX_BANKS),
    (np.uint8, "halted", MAX_BANKS),  # bits BLOCKED, SLEEPING
    (np.uint8, "rank_of group_of", MAX_BANKS),
    (_I, "n_busy", MAX_RANKS),  # banks with a current request
    # earliest times by scope, pushed forward on each issue
    (_I, "bank_earliest", MAX_BANKS, N_BANK_COMMANDS),
    (_I, "group_earliest", MAX_GROUPS, N_BANK_COMMANDS),
    (_I, "rank_earliest", MAX_RANKS, N_BANK_COMMANDS),
    (_I, "last", MAX_RANKS, N_COMMANDS),  # latest issue of each command
    (_I, "window", MAX_RANKS, 4),  # ends of the latest four activations
    (_INDEX, "window_place", MAX_RANKS),
    (_I, "n_refb", MAX_RANKS),
    (_I, "bus_free", 2),  # rows (or all), columns
    (_I, "last_is_write"),
    # banks that have a prepared command: the first `n_prepared` places of these lists
    (_I, "n_prepared"),
    (np.int32, "place", MAX_BANKS),  # of a bank in the lists
    (_INDEX, "prepared_bank prepared_command", MAX_BANKS),
    (_I, "prepared_request", MAX_BANKS),
    (_I, "prepared_time", MAX_BANKS),  # by the bank's own constraints
    (_I, "blocked_late"),  # banks were blocked whose prepared commands still stand
    # the command that is issued next
    (_I, "is_stale selected_time"),
    (_I, "soonest"),  # earliest time of any prepared command, held back or not
    (_I, "selected_command selected_target selected_request"),
    (_I, "is_blocked"),  # commands are prepared but none could be issued
    (_I, "issued_command"),  # in this run, else NO_COMMAND
    (_I, "issued_target issued_request"),
    # managers of refresh
    (_I, "refresh_wake"),  # the earliest of `refresh_next`
    (_I, "refresh_next", MAX_RANKS),  # when the next one falls due
    (_I, "refresh_pulls_in", MAX_RANKS),  # the due one is done; more are while it is quiet
    (_I, "refresh_flex", MAX_RANKS),  # commands that are owed; below 0 those done ahead
    (_I, "refresh_command", MAX_RANKS),  # the manager's candidate, or NO_COMMAND
    (_I, "refresh_time", MAX_RANKS),  # earliest time of it
    (_I, "refresh_target", MAX_RANKS),  # rank or bank of it
    (_I, "refresh_sleeps", MAX_RANKS),  # the rank is powered down
    (_I, "refresh_keeps_bank", MAX_RANKS),  # per bank: the bank is blocked, so chosen for good
    (_I, "refresh_remaining", MAX_RANKS),  # bit set of banks of this round
    (_I, "n_open", MAX_RANKS),  # banks with an open row
    # managers of power-down
    (_I, "power_state", MAX_RANKS),  # by the states in `managers.py`
    (_I, "power_controller_idle", MAX_RANKS),  # the controller holds no request for the rank
    # what is wanted next, at most one of the three in effect: exit goes before entry
    (_I, "power_entry power_exit power_self_refresh", MAX_RANKS),
    (_I, "power_n_open", MAX_RANKS),  # as `n_open`, but automatic precharges go unnoticed
    (_I, "power_command", MAX_RANKS),  # the manager's candidate, or NO_COMMAND
    (_I, "power_time", MAX_RANKS),  # earliest time of it
    (_I, "power_wants"),  # whether some rank's manager has something to do
    (_I, "has_rank_candidate"),  # whether some refresh or power-down command is a candidate
    # a policy that a user wrote: addresses of its functions (0 for none) and of its storage
    (_I, "policy_score policy_close policy_on_arrive policy_on_issue policy_memory policy_floats"),
    (_I, "policy_time"),  # of the controller's run
    # traffic
    (_I, "start"),  # time at which everything begins: 0
    (_I, "n_requests player_clock is_relative"),
    (_I, "stall"),  # time for which the program has stood still, where requests wait
    (_I, "is_aligned"),  # player and memory share one clock, and every event lies on it
    (_I, "incoming"),  # request at the controller's door
    (_I, "incoming_time"),
    (_I, "accepted"),  # in this run, else NONE
    (_I, "issued"),  # column command's request in this run, else NONE
    (_I, "n_accepted n_issued"),
    (_I, "last_handed"),  # when the player received a response last
    (_I, "idle"),  # time in which the controller holds no request
    (_I, "n_served"),  # responses that the controller saw acknowledged
    (_I, "n_hits_served n_misses_served n_conflicts_served n_steps_without_progress"),
    (_I, "n_commands", N_COMMANDS),
    (_I, "n_logged is_logging log_size"),
    # energy
    (_I, "account_n_act account_n_pre account_n_ref"),
    (_I, "account_act"),  # ps with a bank open
    (_I, "account_pre account_first_act account_last_pre account_n_open"),
    (np.uint8, "account_is_open account_kept_open", MAX_BANKS),
    (_I, "account_kept_n_open"),
    (_I, "account_last_act", MAX_BANKS),
    (_I, "account_power_state account_power_start account_active_down account_precharged_down"),
    (_I, "account_self_refresh account_refresh_active account_refresh_precharge"),
    (_I, "account_exit_active account_exit_precharge account_last_time account_last_command"),
    # automatic precharges still to come: a ring in order of time
    (_I, "pending_begin pending_end"),
    (_I, "pending_first"),  # time of the first
    (_I, "pending_time", MAX_BANKS),
    (_INDEX, "pending_bank", MAX_BANKS),
)

MAX_MESSAGES: Final = 4  # one of each kind

EVENTS: Final = record(
    (_I, "now stopped"),
    # wake-ups
    (_I, "soon"),  # packed: those of the next round
    (_I, "is_soon"),  # bit set of the same
    (_I, "time", 6),
    (_I, "code", 6),  # of its entry in the heap, or below 0
    (_I, "next_serial n_heap"),
    # messages to the player (0) and to the arbiter (1)
    (_I, "soon_messages", 2),  # packed: kinds, due in the next round
    (_I, "soon_shift", 2),  # bits of the same in use
    (_I, "n_late_messages", 2),
    (_I, "late_kind", 2, MAX_MESSAGES),  # the last is the first that is due
    (_I, "late_time", 2, MAX_MESSAGES),
    (_I, "message_request", 2, 4),  # by kind
    # controller's response path
    (_I, "n_queued n_left outgoing"),
    (_I, "acknowledged"),  # when the outgoing response was
    (_I, "last_acknowledged n_in_controller idle_since"),
    # arbiter
    (_I, "channel_busy thread_busy n_active parked pending_first pending_end controller_accepted"),
    (_I, "player_answered n_responses n_responses_handed"),
    # player
    (_I, "is_held"),  # the next request waits for an answer
    (_I, "held_since"),  # when the request before it was accepted
    (_I, "n_sent n_received"),
)
