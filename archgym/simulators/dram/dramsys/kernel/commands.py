"""Codes of DRAM commands and settings, rules between commands, and records of kernels."""

from dataclasses import dataclass
from typing import Final

# Bank commands come first, because only they have a lane in the tables of earliest times.
ACT, RD, RDA, WR, WRA, PRE, REFB = range(7)
N_BANK_COMMANDS: Final = 8  # 7 in use; 8 fills a cache line of int64
PREA, REFA, PDEA, PDXA, PDEP, PDXP, SREFEN, SREFEX = range(N_BANK_COMMANDS, 16)
N_COMMANDS: Final = 16
NO_COMMAND: Final = -1

COMMAND_NAMES: Final = (
    "ACT", "RD", "RDA", "WR", "WRA", "PRE", "REFB", "",
    "PREA", "REFA", "PDEA", "PDXA", "PDEP", "PDXP", "SREFEN", "SREFEX",
)  # fmt: skip
"""Name of each command code; code 7 is unused."""

# The order of each tuple is the order of its codes. RD + 2 * is_write + is_auto names a column
# command, which the bank machines use.
PAGE_POLICIES: Final = ("Open", "OpenAdaptive", "Closed", "ClosedAdaptive")
OPEN, OPEN_ADAPTIVE, CLOSED, CLOSED_ADAPTIVE = range(4)
SCHEDULERS: Final = ("Fifo", "FrFcfs", "FrFcfsGrp")
FIFO, FR_FCFS, FR_FCFS_GRP = range(3)
# Code of a policy that a user wrote, which no design has.
USER_SCHEDULER: Final = 3
BUFFERS: Final = ("Bankwise", "ReadWrite", "Shared")
BANKWISE, READ_WRITE, SHARED = range(3)
COMMAND_MUXES: Final = ("Oldest", "Strict")
OLDEST, STRICT = range(2)
RESPONSE_QUEUES: Final = ("Fifo", "Reorder")
REFRESH_POLICIES: Final = ("NoRefresh", "AllBank", "PerBank")
NO_REFRESH, ALL_BANK, PER_BANK = range(3)
POWER_DOWN_POLICIES: Final = ("NoPowerDown", "Staggered")
ARBITERS: Final = ("Simple", "Fifo", "Reorder")
ARBITER_SIMPLE, ARBITER_FIFO, ARBITER_REORDER = range(3)

CONTROLLER_COLUMNS: Final = (
    "page_policy", "scheduler", "scheduler_buffer", "request_buffer_size", "command_mux",
    "response_queue", "refresh_policy", "refresh_max_postponed", "refresh_max_pulled_in",
    "power_down_policy", "arbiter", "max_active_transactions",
)  # fmt: skip
"""Columns of the kernel's controller array, in order."""

CONTROLLER_CODES: Final[dict[str, tuple[str, ...]]] = {
    "page_policy": PAGE_POLICIES,
    "scheduler": SCHEDULERS,
    "scheduler_buffer": BUFFERS,
    "command_mux": COMMAND_MUXES,
    "response_queue": RESPONSE_QUEUES,
    "refresh_policy": REFRESH_POLICIES,
    "power_down_policy": POWER_DOWN_POLICIES,
    "arbiter": ARBITERS,
}
"""For each enumeration its values; a value's place is its code in the controller array."""

READS: Final = (RD, RDA)
WRITES: Final = (WR, WRA)
COLUMNS: Final = (RD, RDA, WR, WRA)
OPENINGS: Final = (ACT, REFB)


@dataclass(frozen=True)
class Rule:
    """`following` may be issued `cycles` after the latest `previous` in the scope.

    Attributes:
      scope: `bank`, `group`, `rank` (the same one), or `other` (a rank but this one).
    """

    scope: str
    previous: tuple[int, ...]
    following: tuple[int, ...]
    cycles: int

    def __str__(self) -> str:
        before = "/".join(COMMAND_NAMES[command] for command in self.previous)
        after = "/".join(COMMAND_NAMES[command] for command in self.following)
        return f"{self.scope}: {before} -> {after} {self.cycles}"
