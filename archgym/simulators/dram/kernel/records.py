"""Records that both controllers share: accounts of energy, and counters of a part of a run."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt


def record(*fields: tuple[Any, ...]) -> np.dtype[Any]:
    """Return a record that kernels work on.

    Args:
      fields: In their order: type, names with spaces between, and the shape of each.

    Example:
      >>> record((np.int64, "now stopped"), (np.uint8, "halted", 4)).names
      ('now', 'stopped', 'halted')
    """
    named = [(name, kind, tuple(shape)) for kind, names, *shape in fields for name in names.split()]
    return np.dtype(named, align=True)


COUNTERS: Final = (
    "answered", "latency_ps", "due_latency_ps", "time_ps", "accepted", "same_row", "writes",
    "hits", "misses", "conflicts", "backlog",
)  # fmt: skip
"""Counters of a part, in order. `answered`, `latency_ps` and `due_latency_ps` are sums over the
bursts that the player received, from when it sent them and from when the trace wants them to be
sent. `accepted`, `same_row` and `writes` are of the bursts that the controller took: `same_row` are
those to the row that their bank's previous burst went to. `backlog` is due or sent, but not
answered, at the end."""

_I: Final = np.int64
NEVER: Final = 1 << 62

KINDS: Final = (
    "ACT", "PRE", "PREA", "RD", "WR", "RDA", "WRA", "REFA", "REFB", "REFSB",
    "PDEA", "PDEP", "PDXA", "PDXP", "SREFEN", "SREFEX", "END",
)  # fmt: skip
"""Commands of the energy account by currents, in the order of their codes."""
(
    _ACT, _PRE, _PREA, _RD, _WR, _RDA, _WRA, _REFA, _REFB, _REFSB,
    _PDEA, _PDEP, _PDXA, _PDXP, _SREFEN, _SREFEX, _END,
) = range(len(KINDS))  # fmt: skip

RULES: Final = record(
    (_I, "banks_per_rank banks_per_group"),
    (_I, "ras"),  # all durations in the clocks of the command's times
    (_I, "read_to_precharge write_to_precharge refresh_all refresh_bank refresh_same"),
)
"""Durations that decide when a bank closes by itself."""

BANK_ACCOUNT: Final = record(
    (_I, "is_active"),  # opened by an activation, or being refreshed
    (_I, "since activated"),
    (_I, "precharge_at"),  # of an automatic precharge
    (_I, "refreshed_at"),  # end of a refresh
    (_I, "active_time"),
    (_I, "counts", len(KINDS)),  # PRE counts every transition to closed
)

RANK_ACCOUNT: Final = record(
    (_I, "n_active since next_close"),
    (_I, "state"),  # code of PDEA, PDEP or SREFEN while asleep, else -1
    (_I, "asleep_since active_time power_down_active power_down_precharged self_refresh"),
)


def blank_account(n_banks: int, n_ranks: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the accounts of banks and ranks before the first command."""
    banks = np.zeros(n_banks, dtype=BANK_ACCOUNT)
    ranks = np.zeros(n_ranks, dtype=RANK_ACCOUNT)
    banks["precharge_at"] = banks["refreshed_at"] = ranks["next_close"] = NEVER
    ranks["state"] = -1
    return banks, ranks
