"""Request scheduling and page policy of the memory controller as a domain of rules."""

from pathlib import Path
from typing import Final

from archgym.simulators.kit.rules import Domain, Hook, deferred, templates

_CASE: Final = "archgym.simulators.dram.rules.case"
_SCORE = ("bank", "row", "hit", "write", "turn", "age", "time")
_CLOSE = ("bank", "row", "hits", "waiting", "write", "time")
_EVENT = ("bank", "row", "write", "outcome", "time")


DRAM_SCHEDULING: Final[Domain] = Domain(
    name="dram-scheduling",
    doc="Order of requests of each DRAM bank, and when its row is closed.",
    hooks={
        "score": Hook(
            _SCORE,
            "Return the value of a waiting request; its bank serves the largest, of equals the "
            "oldest. `hit`: its row is open. `turn`: it turns the data bus. `age`: requests that "
            "arrived after it.",
            has_result=True,
        ),
        "close": Hook(
            _CLOSE,
            "Return 1 to close the row with a request's column command. `hits` and `waiting`: "
            "further requests to the row and to the bank.",
            has_result=True,
        ),
        "on_arrive": Hook(_EVENT, "Called when a request is stored; `outcome` is 0."),
        "on_issue": Hook(
            _EVENT, "Called with a column command; `outcome` is 0 for a row hit, 1, 2 for others."
        ),
    },
    sizes={"bank": "banks of all ranks"},
    values={"BANKS": "banks of all ranks", "BUFFER": "size of the request buffer"},
    templates=templates(Path(__file__).parent),
    options={
        "device": "memory (default: ddr3-1600)",
        "request_buffer_size": "size of the request buffer, and every other parameter of the "
        "simulator's default space",
    },
    built_in=("fcfs", "frfcfs", "frfcfs-grouped", "open-adaptive", "closed", "closed-adaptive"),
    example={"bank": 8, "BANKS": 8, "BUFFER": 8},
    open_case=deferred(_CASE, "open_case"),
    compile=lambda hooks: deferred("archgym.rules.compilation", "entry_points")(
        hooks, DRAM_SCHEDULING.hooks
    ),
    simulate=deferred(_CASE, "simulate_rule"),
    prepare=deferred(_CASE, "prepare"),
    one_of=("score", "close"),
    loss="mean latency over that of an idle memory with the row open",
)
DOMAINS: Final = (DRAM_SCHEDULING,)
"""Domains of the simulator."""
