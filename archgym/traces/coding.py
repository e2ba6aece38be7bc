"""Encoding of records as bytes that compress well: each address as a step from a recent one.

A chunk starts with 16 addresses of zero. Each record names the one it is nearest to, by how
recently it was used (0 to 15), and the step from it. Where the step is below a page the record
takes that one's place, else (16 more) that of the one used longest ago; either way it then stands
first. So a program's streams keep apart, and each is a row of equal small steps.

The bytes of a chunk of n records, one part after the other:

- n, as four bytes with the lowest first
- a byte a record: the address it is nearest to, and 32 times the number of bytes of its step,
  where 7 stands for 8
- a byte a record: its kind
- a byte a record: its size, 255 for one that follows
- a byte a record: its instructions, 255 for a number that follows
- for the first to the eighth byte of steps: that byte of each record that has as many; a step is
  shifted to the left by a bit, and all bits turned where it is negative
- sizes of 255 and more, two bytes each; then instructions of 255 and more, four bytes each
"""

import numpy as np

from archgym.runtime.kernels import entry_point

_N_STREAMS = 16
_NEAR_BYTES = 4096
_HEAD_BYTES = 4
_N_STEP_PLANES = 8
# By the three bits that say it.
_STEP_BYTES = np.array([0, 1, 2, 3, 4, 5, 6, 8], np.int64)
_ESCAPE = 255


def packed(
    instructions: np.ndarray, kind: np.ndarray, size_bytes: np.ndarray, address: np.ndarray
) -> np.ndarray:
    """Return the bytes of a chunk, (n_bytes,) uint8, of its records' columns."""
    n = len(address)
    code, steps = np.zeros(n, np.uint8), np.zeros(n, np.uint64)
    encode(np.ascontiguousarray(address), np.zeros(_N_STREAMS, np.int64), code, steps)
    n_bytes = _STEP_BYTES[code >> 5]
    parts = [np.array([n], "<u4").view(np.uint8), code, kind]
    parts += [np.minimum(column, _ESCAPE).astype(np.uint8) for column in (size_bytes, instructions)]
    for plane in range(_N_STEP_PLANES):
        parts.append((steps[n_bytes > plane] >> np.uint64(8 * plane)).astype(np.uint8))
    parts.append(size_bytes[size_bytes >= _ESCAPE].astype("<u2").view(np.uint8))
    parts.append(instructions[instructions >= _ESCAPE].astype("<u4").view(np.uint8))
    return np.concatenate(parts)


def unpacked(
    content: np.ndarray, max_records: int, max_kind: int, address_bits: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the columns of a chunk: instructions, kind, size and address.

    Raises:
      ValueError: The bytes are not a chunk.
    """
    parts = _Parts(content)
    n = int(parts.take(_HEAD_BYTES).view("<u4")[0])
    if n > max_records:
        raise ValueError(f"a chunk has {n} records, more than {max_records}")
    code, kind, size, count = (parts.take(n) for _ in range(4))
    if n and int(kind.max()) > max_kind:
        raise ValueError(f"a record is of kind {int(kind.max())}, which there is not")
    n_bytes = _STEP_BYTES[code >> 5]
    steps = np.zeros(n, np.uint64)
    for plane in range(_N_STEP_PLANES):
        has = n_bytes > plane
        steps[has] |= parts.take(int(has.sum())).astype(np.uint64) << np.uint64(8 * plane)
    size_bytes, instructions = size.astype(np.uint16), count.astype(np.uint32)
    is_large = size == _ESCAPE
    size_bytes[is_large] = parts.take(2 * int(is_large.sum())).view("<u2")
    is_large = count == _ESCAPE
    instructions[is_large] = parts.take(4 * int(is_large.sum())).view("<u4")
    parts.check_end()
    address = np.zeros(n, np.uint64)
    wrong = decode(code, steps, np.zeros(_N_STREAMS, np.int64), address_bits, address)
    if wrong >= 0:
        raise ValueError(f"record {wrong} of a chunk has an address beyond {address_bits} bits")
    return instructions, kind.copy(), size_bytes, address


class _Parts:
    """Cursor that takes bytes from the front."""

    def __init__(self, content: np.ndarray) -> None:
        self._content = content
        self._place = 0

    def take(self, n: int) -> np.ndarray:
        start, self._place = self._place, self._place + n
        if self._place > len(self._content):
            raise ValueError("a chunk is cut off")
        return self._content[start : self._place]

    def check_end(self) -> None:
        if self._place != len(self._content):
            raise ValueError("a chunk has extra bytes after its records")


@entry_point(seconds=2)
def encode(address: np.ndarray, streams: np.ndarray, code: np.ndarray, steps: np.ndarray) -> None:
    """Fill `code`, (n,) uint8, and `steps`, (n,) uint64; `streams` is (16,) int64, zero."""
    for i in range(len(address)):
        now = np.int64(address[i])
        best, distance = 0, np.int64(1) << 62
        for place in range(len(streams)):
            far = abs(now - streams[place])
            if far < distance:
                best, distance = place, far
        step = now - streams[best]
        stream = best if distance < _NEAR_BYTES else best + len(streams)
        for place in range(min(stream, len(streams) - 1), 0, -1):
            streams[place] = streams[place - 1]
        streams[0] = now
        # The sign goes last, so that small steps either way are small numbers.
        zigzag = np.uint64((step << 1) ^ (step >> 63))
        n_bytes = 0
        while n_bytes < 8 and zigzag >> np.uint64(8 * n_bytes) != 0:
            n_bytes += 1
        code[i] = stream | (min(n_bytes, 7) << 5)
        steps[i] = zigzag


@entry_point(seconds=2)
def decode(
    code: np.ndarray,
    steps: np.ndarray,
    streams: np.ndarray,
    address_bits: int,
    address: np.ndarray,
) -> int:
    """Fill `address`; return the first invalid record, or -1."""
    for i in range(len(address)):
        stream = int(code[i] & 31)
        half = np.int64(steps[i] >> np.uint64(1))
        step = half ^ -np.int64(steps[i] & np.uint64(1))
        # Both are below 2**63 in size, so the sum wraps at most into what is refused.
        now = streams[stream % len(streams)] + step
        if now < 0 or now >> address_bits != 0:
            return i
        for place in range(min(stream, len(streams) - 1), 0, -1):
            streams[place] = streams[place - 1]
        streams[0] = now
        address[i] = np.uint64(now)
    return -1
