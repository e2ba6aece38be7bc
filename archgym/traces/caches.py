"""Two levels of data cache that let misses and write-backs through to memory."""

import re
from dataclasses import dataclass
from typing import final

import numpy as np

from archgym.errors import InvalidArgumentError
from archgym.runtime.kernels import entry_point, inlined

LINE_BYTES = 64
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_SIZE = re.compile(r"(\d{1,9})([KMG]?):(\d{1,5})")
# chosen: larger than any cache, and small as an array.
_MAX_LINES = 2**24


@final
@dataclass(frozen=True)
class CacheSize:
    """Bytes and ways of a cache with lines of 64 bytes."""

    size_bytes: int
    ways: int

    @classmethod
    def parse(cls, option: str, text: str) -> "CacheSize":
        """Return the size in a text such as `32K:8`, for 32 KiB with 8 ways.

        Raises:
          InvalidArgumentError: It is not such a text, or no such cache can be.
        """
        found = _SIZE.fullmatch(text.strip().upper())
        if found is None:
            raise InvalidArgumentError(
                f"`{option}` must be SIZE:WAYS, such as 32K:8 or 2M:16; got {text!r}."
            )
        size = cls(int(found[1]) * _UNITS[found[2]], int(found[3]))
        lines = size.size_bytes // LINE_BYTES
        is_whole = size.size_bytes % LINE_BYTES == 0 and size.ways and lines % size.ways == 0
        if not is_whole or not 1 <= lines <= _MAX_LINES:
            raise InvalidArgumentError(
                f"`{option}` must hold whole sets of lines of {LINE_BYTES} bytes, at most 1 GiB; "
                f"got {text!r}."
            )
        return size

    @property
    def sets(self) -> int:
        """Sets of the cache."""
        return self.size_bytes // LINE_BYTES // self.ways


@final
class Cache:
    """A first and a last level, empty at first, that keep their content from call to call.

    Both replace the line used longest ago, fetch a line that is stored to, and write a line back
    when it is replaced. A line that the first level gives up goes into the last where it is dirty;
    neither holds the other's lines on purpose.
    """

    def __init__(self, first: CacheSize, last: CacheSize) -> None:
        self._first = np.full((first.sets, first.ways), -1, np.int64)
        self._last = np.full((last.sets, last.ways), -1, np.int64)

    def pass_through(
        self, lines: np.ndarray, is_store: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return requests that reach memory.

        Args:
          lines: (n,) int64, numbers of the lines that are accessed.
          is_store: (n,) bool.

        Returns:
          Of each request the access that caused it, its line, and whether it writes.
        """
        most = 3 * len(lines)
        cause, line = np.zeros(most, np.int64), np.zeros(most, np.int64)
        is_write = np.zeros(most, np.bool_)
        n = filter_lines(lines, is_store, self._first, self._last, cause, line, is_write)
        return cause[:n].copy(), line[:n].copy(), is_write[:n].copy()


# A way holds twice the line's number, and one more where it is dirty; -1 where it is empty. Ways
# stand in the order of use.


@inlined
def touch(ways: np.ndarray, line: int, dirty: int) -> bool:
    """Move a line to the front if it is there, dirty from now on if it says so."""
    for way in range(len(ways)):
        held = ways[way]
        if held >= 0 and held >> 1 == line:
            for place in range(way, 0, -1):
                ways[place] = ways[place - 1]
            ways[0] = held | dirty
            return True
    return False


@inlined
def insert(ways: np.ndarray, line: int, dirty: int) -> int:
    """Put a line to the front; return the evicted one."""
    out = ways[len(ways) - 1]
    for place in range(len(ways) - 1, 0, -1):
        ways[place] = ways[place - 1]
    ways[0] = (line << 1) | dirty
    return int(out)


@entry_point(seconds=3)
def filter_lines(
    lines: np.ndarray,
    is_store: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    cause: np.ndarray,
    out_line: np.ndarray,
    is_write: np.ndarray,
) -> int:
    """Fill the last three with requests; return their number, at most three an access."""
    n = 0
    for i in range(len(lines)):
        line = lines[i]
        if touch(first[line % len(first)], line, int(is_store[i])):
            continue
        if not touch(last[line % len(last)], line, 0):
            cause[n], out_line[n], is_write[n] = i, line, False
            n += 1
            victim = insert(last[line % len(last)], line, 0)
            if victim >= 0 and victim & 1:
                cause[n], out_line[n], is_write[n] = i, victim >> 1, True
                n += 1
        victim = insert(first[line % len(first)], line, int(is_store[i]))
        if victim >= 0 and victim & 1:
            victim >>= 1
            if not touch(last[victim % len(last)], victim, 1):
                victim = insert(last[victim % len(last)], victim, 1)
                if victim >= 0 and victim & 1:
                    cause[n], out_line[n], is_write[n] = i, victim >> 1, True
                    n += 1
    return n
