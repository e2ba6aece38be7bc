"""Pages and page tables as the kernel looks them up, native or virtualised."""

from dataclasses import dataclass, field
from threading import Lock
from typing import Final, NamedTuple, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.translation.layout import Memory, entry_lines, lay_out, ranked

ROW: Final = 9
_LINES_PER_PAGE: Final = 64
_HOST_SEED: Final = 1  # chosen: added to the seed, so that the host breaks other blocks
_HUGE_BITS: Final = 9
_CODE: Final = np.int32


class Tables(NamedTuple):
    """Tables of pages; a code is twice a page's index, plus 1 if the page is huge.

    Attributes:
      number: (n_pages,) int64, the page's number in units of its own size.
      next: (n_pages,) int32, the code of the following page; -1 if it is not used.
      leaf_level: (n_pages,) uint8, level at which its walk ends, 2 or 1.
      lines: (4 * n_pages,) int32, lines of its entries at levels 4, 3, 2, 1.
      table_nested: (4 * n_pages,) int32, codes of the nested pages with those entries.
      data_nested: (n_pages,) int32, code of the nested page that holds the page.
      nested_number: (n_nested,) int64, the nested page's number in units of its own size.
      nested_lines: (4 * n_nested,) int32, lines of the host's entries at levels 4, 3, 2, 1.
    """

    number: npt.NDArray[np.int64]
    next: npt.NDArray[np.int32]
    leaf_level: npt.NDArray[np.uint8]
    lines: npt.NDArray[np.int32]
    table_nested: npt.NDArray[np.int32]
    data_nested: npt.NDArray[np.int32]
    nested_number: npt.NDArray[np.int64]
    nested_lines: npt.NDArray[np.int32]


class StepColumns(NamedTuple):
    """Columns of steps on one view.

    Attributes:
      code: (n_steps,) int32, the page's code; -1 for an invalidation of an unused page.
      number: (n_steps,) int64, the page's number in units of its own size.
      line: (n_steps,) int32, the physical line.
      leaf_line: (n_steps,) int32, the line of the entry at which the page's walk ends.
      region: (n_steps,) int32, the page's region of 2 MiB.
    """

    code: npt.NDArray[np.int32]
    number: npt.NDArray[np.int64]
    line: npt.NDArray[np.int32]
    leaf_line: npt.NDArray[np.int32]
    region: npt.NDArray[np.int32]


class Packed(NamedTuple):
    """Tables of the kernel for one size of block.

    Attributes:
      table: int32, parts that begin at `places`.
      numbers: (n_pages + n_nested,) int64, numbers of pages and nested pages, each in units of its
        own size.
      places: Start of each part of `table`. The first part has `ROW` entries per region of 2 MiB:
        the lines of its entries at levels 4, 3 and 2; ids of its prefixes at levels 4 and 3; the
        level at which its walks end; and codes of the nested pages that hold the entries of levels
        4, 3 and 2.
    """

    table: npt.NDArray[np.int32]
    numbers: npt.NDArray[np.int64]
    places: dict[str, int]


@final
@dataclass(frozen=True, eq=False)
class View:
    """Pages of a trace on one kind of machine.

    Attributes:
      touched: Pages of 4 KiB that the trace touches.
      code: (n_touched,) int32, code of the page that holds each.
      touched_frame: (n_touched,) int64, frame of each.
      tables: Tables of the pages.
      page_region: (n_pages,) int64, as `region`.
      frame: (n_pages,) int64, a frame of 4 KiB in the page.
      is_huge: (n_pages,), True for pages of 2 MiB.
      nested_is_huge: (n_nested,), as `is_huge`, of pages of the host.
    """

    touched: "Touched"
    code: npt.NDArray[np.int32]
    touched_frame: npt.NDArray[np.int64]
    tables: Tables
    page_region: npt.NDArray[np.int64]
    frame: npt.NDArray[np.int64]
    is_huge: npt.NDArray[np.bool_]
    nested_is_huge: npt.NDArray[np.bool_]
    _packed: dict[int, Packed] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @property
    def n_pages(self) -> int:
        """Number of distinct pages, of both sizes."""
        return len(self.tables.number)

    @property
    def n_nested(self) -> int:
        """Number of distinct pages of the host, 1 without a host."""
        return len(self.tables.nested_number)

    @property
    def n_bytes(self) -> int:
        """Memory of the arrays made so far [bytes]."""
        arrays: list[np.ndarray] = [v for v in vars(self).values() if isinstance(v, np.ndarray)]
        arrays += self.tables
        arrays += [a for packed in self._packed.values() for a in (packed.table, packed.numbers)]
        return sum(array.nbytes for array in arrays)

    def columns(
        self, page: npt.NDArray[np.int64], line: npt.NDArray[np.uint8], is_special: np.ndarray
    ) -> StepColumns:
        """Return the columns of steps.

        Args:
          page: (n_steps,) virtual numbers of 4 KiB pages, all of which are touched but for
            invalidations.
          line: (n_steps,) lines within the page.
          is_special: (n_steps,) True for invalidations and flushes.
        """
        starts = np.flatnonzero(np.diff(page, prepend=-1))  # fewer to look up: page changes only
        found = self.touched.places(page[starts])
        place = np.repeat(found, np.diff(starts, append=len(page)))
        code = self.code[place]
        for step in np.flatnonzero(is_special):
            code[step] = self._code_of(int(page[step]))
        owner = np.maximum(code, 0) >> 1
        return StepColumns(
            code=code,
            number=self.tables.number[owner],
            line=(self.touched_frame[place] * _LINES_PER_PAGE + line).astype(np.int32),
            leaf_line=_leaf_lines(self.tables)[owner],
            region=self.page_region.astype(np.int32)[owner],
        )

    def _code_of(self, page: int) -> int:
        """Return the code of the page that holds a 4 KiB page, -1 if it was not touched."""
        ordered = self.touched.ordered
        for wanted in (page, page >> _HUGE_BITS << _HUGE_BITS):
            found = int(np.searchsorted(ordered, wanted))
            if found < len(ordered):
                met = int(ordered[found])
                code = int(self.code[self.touched.rank[found]])
                if met == page or (code & 1 and met >> _HUGE_BITS == page >> _HUGE_BITS):
                    return code
        return -1

    def packed(self, block_pages: int) -> Packed:
        """Return the kernel's tables for blocks of `block_pages`, a power of two.

        They are made on first use.
        """
        with self._lock:
            if block_pages not in self._packed:
                self._packed[block_pages] = self._pack(block_pages.bit_length() - 1)
            return self._packed[block_pages]

    def _pack(self, shift: int) -> Packed:
        known = self.tables
        block = _first_alike((known.number >> shift) * 2 + self.is_huge)
        # Pages of a block are contiguous if their frames have the same distances.
        offset = (self.frame >> np.where(self.is_huge, _HUGE_BITS, 0)) - known.number
        run = _first_alike((block << 32) | (offset & 0xFFFFFFFF))
        nested_block = _first_alike((known.nested_number >> shift) * 2 + self.nested_is_huge)
        parts: dict[str, np.ndarray] = {
            "regions": self._regions().ravel(),
            "page_leaf": _leaf_lines(known),
            "page_region": self.page_region,
            "next": known.next,
            "block": _codes(block, self.is_huge),
            "run": _codes(run, self.is_huge),
            "leaf_nested": known.table_nested[3::4],
            "data_nested": known.data_nested,
            "nested_lines": known.nested_lines,
            "nested_block": _codes(nested_block, self.nested_is_huge),
        }
        starts = np.cumsum([0, *(len(part) for part in parts.values())])
        return Packed(
            np.concatenate(list(parts.values())).astype(np.int32),
            np.concatenate([known.number, known.nested_number]),
            dict(zip(parts, starts.tolist(), strict=False)),
        )

    def _regions(self) -> npt.NDArray[np.int64]:
        """Return (n_regions, `ROW`), as `Packed` says."""
        known = self.tables
        _, first = np.unique(self.page_region, return_index=True)
        page = (known.number << np.where(self.is_huge, _HUGE_BITS, 0))[first]
        rows = np.empty((len(first), ROW), dtype=np.int64)
        rows[:, :3] = known.lines.reshape(-1, 4)[first, :3]
        rows[:, 3] = _first_alike(page >> 27)
        rows[:, 4] = _first_alike(page >> 18)
        rows[:, 5] = known.leaf_level[first]
        nested = known.table_nested.reshape(-1, 4)
        rows[:, 6:] = nested[first, :3] if len(nested) == self.n_pages else 0
        return rows


def native_view(touched: "Touched", memory: Memory) -> View:
    """Return the view of a machine without virtualisation.

    Raises:
      InvalidArgumentError: The memory is too small for the pages.
    """
    layout = lay_out(touched.pages, memory, memory.seed)
    lines = _table_lines(touched.pages, layout.table)
    pages = _Pages.of(touched.pages, layout.is_huge)
    first = pages.first
    none = np.zeros(4, dtype=np.int32)
    tables = Tables(
        number=pages.number,
        next=pages.following(),
        leaf_level=np.where(layout.is_huge[first], 2, 1).astype(np.uint8),
        lines=lines[first].astype(np.int32).ravel(),
        table_nested=none,
        data_nested=none,
        nested_number=np.zeros(1, dtype=np.int64),
        nested_lines=np.zeros(4, dtype=np.int32),
    )
    return _view(touched, pages, layout.frame, tables, np.zeros(1, bool))


def virtualised_view(touched: "Touched", memory: Memory) -> View:
    """Return the view of a guest on a host with the same memory.

    A page is huge if both made it huge.

    Raises:
      InvalidArgumentError: The memory is too small for the pages.
    """
    guest = lay_out(touched.pages, memory, memory.seed)
    host = lay_out(guest.touched, memory, memory.seed + _HOST_SEED)
    nested = _Pages.of(guest.touched, host.is_huge)

    place = np.argsort(guest.touched)
    ordered = guest.touched[place]

    def at_host(frames: np.ndarray) -> np.ndarray:
        return place[np.minimum(np.searchsorted(ordered, frames), len(place) - 1)]

    data = at_host(guest.frame)
    table = at_host(guest.table)
    table_frame = np.where(guest.table >= 0, host.frame[table], -1)
    pages = _Pages.of(touched.pages, guest.is_huge & host.is_huge[data])
    first = pages.first
    host_lines = _table_lines(guest.touched, host.table)[nested.first]
    tables = Tables(
        number=pages.number,
        next=pages.following(),
        leaf_level=np.where(guest.is_huge[first], 2, 1).astype(np.uint8),
        lines=_table_lines(touched.pages, table_frame)[first].astype(np.int32).ravel(),
        table_nested=nested.code[table][first].ravel(),
        data_nested=nested.code[data][first],
        nested_number=nested.number,
        nested_lines=host_lines.astype(np.int32).ravel(),
    )
    return _view(touched, pages, host.frame[data], tables, nested.is_huge)


@final
class Touched:
    """Pages of 4 KiB of a trace, in the order of their first touch.

    Attributes:
      ordered: (n,) int64, the pages in ascending order.
      rank: (n,) int64, the index of each of `ordered` by first touch.
    """

    def __init__(self) -> None:
        """Start without pages."""
        self.ordered: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.rank: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def add(self, page: npt.NDArray[np.int64]) -> None:
        """Add the pages of further steps, (n_steps,)."""
        changes = page[np.flatnonzero(np.diff(page, prepend=-1))]  # fewer to sort
        found, first = np.unique(changes, return_index=True)
        place = np.searchsorted(self.ordered, found)
        is_new = np.ones(len(found), dtype=bool)
        inside = place < len(self.ordered)
        is_new[inside] = self.ordered[place[inside]] != found[inside]
        if not is_new.any():
            return
        rank = np.empty(int(is_new.sum()), dtype=np.int64)
        rank[np.argsort(first[is_new])] = len(self.ordered) + np.arange(len(rank))
        self.ordered = np.insert(self.ordered, place[is_new], found[is_new])
        self.rank = np.insert(self.rank, place[is_new], rank)

    @property
    def pages(self) -> npt.NDArray[np.int64]:
        """Pages, (n,), in the order of their first touch."""
        pages = np.empty(len(self.ordered), dtype=np.int64)
        pages[self.rank] = self.ordered
        return pages

    @property
    def n_bytes(self) -> int:
        """Memory of the arrays [bytes]."""
        return self.ordered.nbytes + self.rank.nbytes

    def places(self, page: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the index in `pages` of each page, any index for one that is not touched."""
        found = np.searchsorted(self.ordered, page)
        return self.rank[np.minimum(found, len(self.ordered) - 1)]


class _Pages(NamedTuple):
    """Pages of both sizes, made from 4 KiB pages.

    `code` (n,) int32 is the code of each 4 KiB page. For each page of either size, `first` is its
    first 4 KiB page, `number` its number in units of its size, and `is_huge` True if it is huge.
    """

    code: npt.NDArray[np.int32]
    first: npt.NDArray[np.int64]
    number: npt.NDArray[np.int64]
    is_huge: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, pages: np.ndarray, is_huge: np.ndarray) -> "_Pages":
        number = np.where(is_huge, pages >> _HUGE_BITS, pages)
        rank, first = ranked(number * 2 + is_huge)
        code = (2 * rank + is_huge).astype(_CODE)
        return cls(code, first, number[first], is_huge[first])

    def following(self) -> npt.NDArray[np.int32]:
        """Return (n_pages,) int32, the code of the following page of the same size, else -1."""
        key = self.number * 2 + self.is_huge
        order = np.argsort(key)
        found = np.minimum(np.searchsorted(key[order], key + 2), len(key) - 1)
        place = order[found]
        return np.where(key[place] == key + 2, 2 * place + self.is_huge, -1).astype(_CODE)


def _view(
    touched: Touched, pages: _Pages, frame: np.ndarray, tables: Tables, nested_is_huge: np.ndarray
) -> View:
    return View(
        touched=touched,
        code=pages.code,
        touched_frame=frame,
        tables=tables,
        page_region=_ranks(touched.pages[pages.first] >> _HUGE_BITS),
        frame=frame[pages.first],
        is_huge=pages.is_huge,
        nested_is_huge=nested_is_huge,
    )


def _leaf_lines(tables: Tables) -> npt.NDArray[np.int32]:
    """Return (n_pages,) int32, the line of the entry at which each page's walk ends."""
    lines = tables.lines.reshape(-1, 4)
    return np.asarray(np.where(tables.leaf_level == 2, lines[:, 2], lines[:, 3]), dtype=np.int32)


def _ranks(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return (n,), each value's rank among the distinct ones, ascending."""
    return np.asarray(np.unique(values, return_inverse=True)[1], dtype=np.int64)


def _table_lines(pages: np.ndarray, table: np.ndarray) -> npt.NDArray[np.int64]:
    return np.where(table >= 0, entry_lines(pages, table), -1)


def _first_alike(key: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return (n,), the first index with the same key as each."""
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], dtype=np.int64)


def _codes(places: np.ndarray, is_huge: np.ndarray) -> npt.NDArray[np.int32]:
    return np.asarray(2 * places + is_huge[places], dtype=_CODE)
