"""Scheduling and page policies to start from; most are built into the controller, too."""

from collections.abc import Mapping
from typing import Final

_FCFS = '''"""First come, first served."""
DOMAIN = "dram-scheduling"


def score(bank, row, hit, write, turn, age, time):
    return 0
'''

_FRFCFS = '''"""FR-FCFS: row hits first, then the oldest request (Rixner et al., ISCA 2000)."""
DOMAIN = "dram-scheduling"


def score(bank, row, hit, write, turn, age, time):
    return hit
'''

_GROUPED = '''"""FR-FCFS that prefers row hits of the bus's direction."""
DOMAIN = "dram-scheduling"


def score(bank, row, hit, write, turn, age, time):
    return hit * (2 - turn)
'''

_CLOSED = '''"""FR-FCFS with closed pages."""
DOMAIN = "dram-scheduling"


def score(bank, row, hit, write, turn, age, time):
    return hit


def close(bank, row, hits, waiting, write, time):
    return 1
'''

_CLOSED_ADAPTIVE = '''"""FR-FCFS; a row is closed after the last waiting request to it."""
DOMAIN = "dram-scheduling"


def score(bank, row, hit, write, turn, age, time):
    return hit


def close(bank, row, hits, waiting, write, time):
    return hits == 0
'''

_OPEN_ADAPTIVE = '''"""FR-FCFS; a row is closed if requests wait, but none for it."""
DOMAIN = "dram-scheduling"


def score(bank, row, hit, write, turn, age, time):
    return hit


def close(bank, row, hits, waiting, write, time):
    return hits == 0 and waiting > 0
'''

_CAPPED = '''"""FR-FCFS with a cap on successive row hits; a counter of each bank closes its row."""
DOMAIN = "dram-scheduling"
CAP = tunable(8, low=1, high=63)
PATIENCE = tunable(32, low=1, high=255)
KEEP = tunable(2, low=0, high=3)
streak = per_bank(bits=6)
reuse = per_bank(bits=2, start=3)


def score(bank, row, hit, write, turn, age, time):
    urgent = age > PATIENCE
    return 4 * urgent + 2 * (hit and streak[bank] < CAP) + (1 - turn)


def close(bank, row, hits, waiting, write, time):
    return hits == 0 and reuse[bank] < KEEP


def on_issue(bank, row, write, outcome, time):
    if outcome == 0:
        streak[bank] = min(streak[bank] + 1, 63)
        reuse[bank] = min(reuse[bank] + 1, 3)
    else:
        streak[bank] = 0
        if outcome == 2:
            reuse[bank] = max(reuse[bank] - 1, 0)
'''

TEMPLATES: Final[Mapping[str, str]] = {
    "fcfs": _FCFS,
    "frfcfs": _FRFCFS,
    "frfcfs-grouped": _GROUPED,
    "closed": _CLOSED,
    "closed-adaptive": _CLOSED_ADAPTIVE,
    "open-adaptive": _OPEN_ADAPTIVE,
    "capped": _CAPPED,
}
"""Source by name."""
