"""Costs that a memory can be simulated without, and the parameters that relieve each."""

from typing import Final

COSTS: Final = {
    "rows": "opening and closing rows of a bank (tRCD, tRP, tRAS, tRC, tRTP, tWR): a cycle each",
    "activation-rate": "spacing of activations of several banks (tRRD, tFAW): a cycle",
    "turnaround": "turning the bus between reads and writes: as if of one kind",
    "data-bus": "moving data (tCCD): a burst occupies the bus for a cycle",
    "refresh": "refresh: none is due",
}
RELIEF: Final = {
    "rows": ("page_policy", "address_mapping", "scheduler", "request_buffer_size"),
    "activation-rate": ("address_mapping", "scheduler", "scheduler_buffer"),
    "turnaround": ("scheduler", "command_mux", "request_buffer_size"),
    "data-bus": ("arbiter", "max_active_transactions", "response_queue"),
    "refresh": ("refresh_policy", "refresh_max_postponed", "refresh_max_pulled_in"),
}
"""Parameters that relieve each cost: what they decide, by the model's rules."""
FAMILY_RELIEF: Final = {
    "rows": ("address_mapping", "scheduler"),
    "activation-rate": ("address_mapping", "scheduler"),
    "turnaround": ("scheduler",),
}
"""The same under Ramulator's controllers."""
