"""Physical memory: where the system puts pages, and which are huge."""

from dataclasses import dataclass
from typing import final

from archgym.errors import InvalidArgumentError

__all__ = ["MAX_CAPACITY_GIB", "Memory"]

# Numbers of lines must fit 31 bits, with room above the memory for tables of mechanisms.
MAX_CAPACITY_GIB = 64


@final
@dataclass(frozen=True)
class Memory:
    """How a system lays the pages of a program into physical memory; the same for all designs."""

    capacity_gib: int = 16
    huge_share: float = 0.3
    """Regions of 2 MiB that become huge pages where a free block is left, 0 to 1."""
    fragmentation: float = 0.0
    """Blocks of 2 MiB in which one page is taken before the program starts, 0 to 1."""
    page_spread: int = 1
    """Virtual page numbers are multiplied by it, a power of two: a larger footprint."""
    spread_jitter: bool = False
    """Whether a page goes anywhere in the room that spreading makes, not to its beginning."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.capacity_gib <= MAX_CAPACITY_GIB:
            raise InvalidArgumentError(
                f"`capacity_gib` must lie in 1 to {MAX_CAPACITY_GIB}; got {self.capacity_gib!r}."
            )
        for name in ("huge_share", "fragmentation"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise InvalidArgumentError(f"`{name}` must lie in 0 to 1; got {value!r}.")
        spread = self.page_spread
        if not 1 <= spread <= 512 or spread & (spread - 1):
            raise InvalidArgumentError(
                f"`page_spread` must be a power of two, 1 to 512; got {spread!r}."
            )
