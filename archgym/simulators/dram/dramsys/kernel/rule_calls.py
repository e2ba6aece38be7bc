"""Calls from the controller to a rule that a user wrote: choice of requests, closing of rows."""

from typing import Any

import numpy as np

from archgym.simulators.dram.dramsys.kernel.state import NONE
from archgym.simulators.kit.kernels import call_hook, compiled, inlined, kept_apart


@compiled
def best_scored(s: Any, d: Any, requests: Any, bank: int, row: int) -> int:
    """Return the request of a bank that a user's policy values most; of equals the oldest."""
    kept_apart()
    head = s.head[bank]
    best = NONE
    best_score = 0.0
    time = s.policy_time // d.clock
    index = head
    while index != NONE:
        request = requests[index]
        score = call_hook(
            s.policy_score,
            bank,
            request.row,
            np.int64(request.row == row),
            request.is_write,
            np.int64(request.is_write != s.last_is_write),
            s.n_accepted - 1 - index,
            time,
            0,
            s.policy_memory,
            s.policy_floats,
        )
        # A request never overtakes an older one to its address, as data would be wrong.
        if best == NONE or (score > best_score and not _has_twin(requests, head, index)):
            best = index
            best_score = score
        index = request.next
    return best


@inlined
def _has_twin(requests: Any, head: int, index: int) -> bool:
    """Return True if the bank stores an older request to the same address."""
    older = head
    while older != index and requests[older].address != requests[index].address:
        older = requests[older].next
    return older != index


@inlined
def wants_closing(s: Any, d: Any, bank: int, request: Any) -> bool:
    """Return True if a user's policy closes the row after a request's column command."""
    value = call_hook(
        s.policy_close,
        bank,
        request.row,
        s.n_hits[bank] - 1,
        s.count[bank] - 1,
        request.is_write,
        s.policy_time // d.clock,
        0,
        0,
        s.policy_memory,
        s.policy_floats,
    )
    return value != 0.0


@inlined
def report_request(s: Any, d: Any, hook: int, request: Any, outcome: int) -> None:
    """Report a request to a user's policy."""
    call_hook(
        hook,
        request.bank,
        request.row,
        request.is_write,
        outcome,
        s.policy_time // d.clock,
        0,
        0,
        0,
        s.policy_memory,
        s.policy_floats,
    )
