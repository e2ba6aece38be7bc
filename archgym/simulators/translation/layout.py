"""Physical memory, and the frames of pages and page tables in it."""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit import InvalidArgumentError

LEVEL_BITS: Final = 9  # of x86-64: 512 entries a table, four levels
_HUGE: Final = 512  # frames of 4 KiB in a block of 2 MiB
_BLOCKS_PER_GIB: Final = 512
_ENTRIES_PER_LINE: Final = 8  # of 8 bytes, in a line of 64
# Line numbers must fit 31 bits, with room above the memory for tables of mechanisms.
MAX_CAPACITY_GIB: Final = 64


@final
@dataclass(frozen=True)
class Memory:
    """Placement of a program's pages in physical memory by the system."""

    capacity_gib: int = 16
    huge_share: float = 0.3
    """Share of regions of 2 MiB that become huge pages if a free block is left, 0 to 1."""
    fragmentation: float = 0.0
    """Share of blocks of 2 MiB with one page in use before the program starts, 0 to 1."""
    page_spread: int = 1
    """Factor of virtual page numbers, a power of two: a larger footprint."""
    spread_jitter: bool = False
    """Place a page anywhere in the room that spreading makes, not at its beginning."""
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


@final
@dataclass(frozen=True, eq=False)
class Layout:
    """Pages of one address space, in the order of their first touch.

    Attributes:
      is_huge: (n_pages,), True if the page's region of 2 MiB is one huge page.
      frame: (n_pages,) int64, frames of 4 KiB, also within huge pages.
      table: (n_pages, 4) int64, frames of the tables at levels 4, 3, 2 and 1; -1 if a huge page
        needs no table.
      touched: All allocated frames, in order.
    """

    is_huge: npt.NDArray[np.bool_]
    frame: npt.NDArray[np.int64]
    table: npt.NDArray[np.int64]
    touched: npt.NDArray[np.int64]


def hashed(numbers: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.uint64]:
    """Return a 64-bit hash of each number: SplitMix64's finaliser (Steele et al., 2014)."""
    start = (seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) % 2**64
    mixed = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def lay_out(pages: npt.NDArray[np.int64], memory: Memory, seed: int) -> Layout:
    """Allocate frames for pages like a buddy allocator that never frees one.

    Single frames come from the smallest free pieces of broken blocks, then from whole blocks in
    ascending order. Huge pages take whole blocks in descending order.

    Args:
      pages: (n_pages,) distinct numbers of 4 KiB pages, in the order of their first touch.
      memory: The memory.
      seed: Seed of the choice of huge regions and broken blocks.

    Raises:
      InvalidArgumentError: The memory is too small for the pages.
    """
    n_blocks = memory.capacity_gib * _BLOCKS_PER_GIB
    broken, pinned = _broken(n_blocks, memory.fragmentation, seed)
    n_whole = n_blocks - len(broken)
    region, first_of_region = ranked(pages >> LEVEL_BITS)
    shares = hashed(pages[first_of_region] >> LEVEL_BITS, seed).astype(np.float64) / 2.0**64
    huge = shares < memory.huge_share

    tables = [ranked(pages >> shift) for shift in (36, 27, 18)]
    needed = np.zeros((len(pages), 5), dtype=np.int64)
    for level, (_, first) in enumerate(tables):
        needed[first, level] = 1
    is_huge = _granted(huge, region, first_of_region, needed, len(broken), n_whole)
    small = ~is_huge[region]
    needed[first_of_region, 3] = ~is_huge
    needed[:, 4] = small

    numbers = np.cumsum(needed.ravel()).reshape(needed.shape) - 1
    n_small = int(numbers[-1, -1]) + 1
    n_huge = int(is_huge.sum())
    free = (_HUGE - 1) * len(broken) + _HUGE * (n_whole - n_huge)
    if n_small > free:
        raise InvalidArgumentError(
            f"`capacity_gib` must hold the pages of the trace and their tables, "
            f"{(n_small + _HUGE * n_huge) / 2**18:.1f} GiB, in addition to broken blocks; got "
            f"{memory.capacity_gib!r}. Give more memory, or a smaller `page_spread`."
        )
    is_broken = np.zeros(n_blocks, dtype=bool)
    is_broken[broken] = True
    whole = np.flatnonzero(~is_broken)
    frames = _small_frames(n_small, broken, pinned, whole)

    block = np.full(len(is_huge), -1, dtype=np.int64)
    block[is_huge] = whole[::-1][:n_huge]
    frame = block[region] * _HUGE + (pages & (_HUGE - 1))
    frame[small] = frames[numbers[small, 4]]
    table = np.empty((len(pages), 4), dtype=np.int64)
    for level, (rank, first) in enumerate(tables):
        table[:, level] = frames[numbers[first, level]][rank]
    leaf = np.full(len(is_huge), -1, dtype=np.int64)
    leaf[~is_huge] = frames[numbers[first_of_region[~is_huge], 3]]
    table[:, 3] = leaf[region]

    given = np.where(needed > 0, frames[numbers], -1)
    given[:, 4] = frame
    touched = given.ravel()
    return Layout(~small, frame, table, touched[touched >= 0])


def entry_lines(pages: npt.NDArray[np.int64], table: npt.NDArray[np.int64]) -> np.ndarray:
    """Return (n_pages, 4) int64, lines of the entries at levels 4, 3, 2 and 1.

    Args:
      pages: (n_pages,) numbers of 4 KiB pages.
      table: (n_pages, 4), frames of the tables.
    """
    lines = np.empty(table.shape, dtype=np.int64)
    for column, shift in enumerate((27, 18, 9, 0)):
        index = (pages >> shift) & (_HUGE - 1)
        lines[:, column] = table[:, column] * 64 + index // _ENTRIES_PER_LINE
    return lines


def ranked(values: npt.NDArray[np.int64]) -> tuple[np.ndarray, np.ndarray]:
    """Return each value's rank by first appearance, and the index of each first appearance."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(first), dtype=np.int64)
    rank[order] = np.arange(len(first))
    return rank[inverse], first[order]


def _broken(n_blocks: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the blocks with a frame in use, ascending, and the frame of each."""
    rng = np.random.default_rng([seed & (2**63 - 1), n_blocks])
    blocks = np.sort(rng.permutation(n_blocks)[: round(share * n_blocks)])
    return blocks, rng.integers(0, _HUGE, len(blocks))


def _granted(
    huge: np.ndarray,
    region: np.ndarray,
    first_of_region: np.ndarray,
    tables: np.ndarray,
    n_broken: int,
    n_whole: int,
) -> np.ndarray:
    """Return (n_regions,), True for the requests for a whole block that can be met."""
    small = ~huge[region]
    needed = tables.sum(axis=1) + small
    needed[first_of_region] += ~huge
    # Frames and blocks that were allocated before each region is touched.
    used = (np.cumsum(needed) - needed)[first_of_region]
    split = np.maximum(0, -(-(used - (_HUGE - 1) * n_broken) // _HUGE))
    taken = np.cumsum(huge) - huge
    refused = huge & (split + taken >= n_whole)
    # Nothing is freed, so all requests after the first failure fail.
    if refused.any():
        huge = huge.copy()
        huge[int(np.argmax(refused)) :] = False
    return huge


def _small_frames(
    count: int, broken: np.ndarray, pinned: np.ndarray, whole: np.ndarray
) -> npt.NDArray[np.int64]:
    """Return (count,), single frames in the order of their allocation."""
    parts: list[np.ndarray] = []
    left = count
    for order in range(LEVEL_BITS):
        if left <= 0 or not len(broken):
            break
        pieces = min(len(broken), -(-left // (1 << order)))
        base = broken[:pieces] * _HUGE + (((pinned[:pieces] >> order) ^ 1) << order)
        parts.append((base[:, None] + np.arange(1 << order)).ravel())
        left -= len(parts[-1])
    if left > 0:
        blocks = whole[: -(-left // _HUGE)]
        parts.append((blocks[:, None] * _HUGE + np.arange(_HUGE)).ravel())
    if not parts:
        return np.zeros(1, dtype=np.int64)
    return np.concatenate(parts)[: max(count, 1)].astype(np.int64)
