"""Timing rules between commands of a DRAM device."""

from dataclasses import dataclass
from typing import Final

from archgym.simulators.dram.commands import (
    ACT,
    COMMAND_NAMES,
    RD,
    RDA,
    REFB,
    WR,
    WRA,
)

__all__ = ["Rule"]

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
