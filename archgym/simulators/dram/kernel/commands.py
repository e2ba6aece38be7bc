"""Integer codes of DRAM commands and of the controller's settings, and rules between commands."""

from dataclasses import dataclass
from typing import Final

# Bank commands come first, because only they have a lane in the tables of earliest times.
ACT: Final = 0
RD: Final = 1
RDA: Final = 2
WR: Final = 3
WRA: Final = 4
PRE: Final = 5
REFB: Final = 6
N_BANK_COMMANDS: Final = 8  # 7 in use; 8 fills a cache line of int64

PREA: Final = 8
REFA: Final = 9
PDEA: Final = 10
PDXA: Final = 11
PDEP: Final = 12
PDXP: Final = 13
SREFEN: Final = 14
SREFEX: Final = 15
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
OPEN: Final = 0
OPEN_ADAPTIVE: Final = 1
CLOSED: Final = 2
CLOSED_ADAPTIVE: Final = 3

SCHEDULERS: Final = ("Fifo", "FrFcfs", "FrFcfsGrp")
FIFO: Final = 0
FR_FCFS: Final = 1
FR_FCFS_GRP: Final = 2
# Code of a policy that a user wrote, which no design has.
USER_SCHEDULER: Final = 3

BUFFERS: Final = ("Bankwise", "ReadWrite", "Shared")
BANKWISE: Final = 0
READ_WRITE: Final = 1
SHARED: Final = 2

COMMAND_MUXES: Final = ("Oldest", "Strict")
OLDEST: Final = 0
STRICT: Final = 1

RESPONSE_QUEUES: Final = ("Fifo", "Reorder")
RESPONSE_FIFO: Final = 0
RESPONSE_REORDER: Final = 1

REFRESH_POLICIES: Final = ("NoRefresh", "AllBank", "PerBank")
NO_REFRESH: Final = 0
ALL_BANK: Final = 1
PER_BANK: Final = 2

POWER_DOWN_POLICIES: Final = ("NoPowerDown", "Staggered")
NO_POWER_DOWN: Final = 0
STAGGERED: Final = 1

ARBITERS: Final = ("Simple", "Fifo", "Reorder")
ARBITER_SIMPLE: Final = 0
ARBITER_FIFO: Final = 1
ARBITER_REORDER: Final = 2

CONTROLLER_COLUMNS: Final = (
    "page_policy",
    "scheduler",
    "scheduler_buffer",
    "request_buffer_size",
    "command_mux",
    "response_queue",
    "refresh_policy",
    "refresh_max_postponed",
    "refresh_max_pulled_in",
    "power_down_policy",
    "arbiter",
    "max_active_transactions",
)
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
