"""Reader of the output of valgrind's lackey tool.

Lines are `I  ADDRESS,SIZE` for an instruction, then ` L`, ` S` or ` M` for each of its loads,
stores and read-modify-writes; addresses in hexadecimal without a prefix. Lines of valgrind's own
start otherwise and are skipped.
"""

from typing import Any, Final, final

import numpy as np

from archgym.runtime.kernels import entry_point
from archgym.runtime.reductions import report_loss
from archgym.traces.memory_trace import ADDRESS_BITS, COLUMNS, MemoryTrace

_PIECE_BYTES: Final = 2**20
# A line has at least seven bytes, and gives at most one record.
_MAX_RECORDS: Final = _PIECE_BYTES // 7 + 2
# Places in the state; the last three count what a trace cannot hold.
_PENDING, _CODE_BLOCK, _SEEN, _SKIP, _MOST, _DONE, _CODE_BITS, _FOREIGN, _CLIPPED, _MASKED = range(
    10
)


@final
class LackeyParser:
    """Parser of the stream into records; it holds no more than a piece."""

    max_piece_bytes = _PIECE_BYTES
    max_piece_records = 2 * _MAX_RECORDS

    def __init__(self, skip: int, max_accesses: int, code_bytes: int = 4096) -> None:
        """Start at the stream's begin.

        Args:
          skip: Data accesses that are left out first.
          max_accesses: Data accesses after which no more are taken.
          code_bytes: A fetch is recorded when execution comes to another block of so many bytes, a
            power of two: 4096 for pages, 64 for lines.
        """
        bits = code_bytes.bit_length() - 1
        self._state = np.array([0, -1, 0, skip, skip + max_accesses, 0, bits, 0, 0, 0], np.int64)
        self._rest = np.zeros(0, np.uint8)
        self._dropped_bytes = 0

    @property
    def accesses_seen(self) -> int:
        """Data accesses so far, with those that were skipped."""
        return int(self._state[_SEEN])

    @property
    def is_done(self) -> bool:
        """True if `max_accesses` have been taken."""
        return bool(self._state[_DONE])

    def parse(self, piece: bytes) -> MemoryTrace:
        """Return records of the lines that end in this piece, at most `max_piece_bytes` long."""
        text = np.concatenate([self._rest, np.frombuffer(piece, np.uint8)])
        # Twice a piece is more than enough for the rest of a line and a piece.
        n = self.max_piece_records
        columns: dict[str, Any] = {name: np.empty(n, kind) for name, kind in COLUMNS.items()}
        n_read, n_records = parse_lines(text, self._state, ADDRESS_BITS, *columns.values())
        # What has no end for a whole piece is not a line of lackey's.
        is_line = len(text) - n_read < _PIECE_BYTES
        self._dropped_bytes += 0 if is_line else len(text) - n_read
        self._rest = text[n_read:].copy() if is_line else text[:0]
        return MemoryTrace(**{name: c[:n_records].copy() for name, c in columns.items()})

    def report_losses(self) -> None:
        """Report what of the output no record holds."""
        lines, clipped, masked = (int(self._state[i]) for i in (_FOREIGN, _CLIPPED, _MASKED))
        if lines or self._dropped_bytes:
            report_loss(
                f"valgrind wrote {lines:,} lines that are not accesses, and "
                f"{self._dropped_bytes:,} bytes without a line's end; they are ignored."
            )
        if clipped:
            report_loss(
                f"{clipped:,} records have more than 65,535 bytes or 4,294,967,295 instructions "
                "before them; the trace has these numbers instead."
            )
        if masked:
            report_loss(f"{masked:,} addresses have more than {ADDRESS_BITS} bits; they are cut.")


@entry_point(seconds=3)
def parse_lines(
    text: np.ndarray,
    state: np.ndarray,
    address_bits: int,
    instructions: np.ndarray,
    kind: np.ndarray,
    size_bytes: np.ndarray,
    address: np.ndarray,
) -> tuple[int, int]:
    """Fill the columns; return the bytes up to the last line's end, and the records."""
    n_records = 0
    start = 0
    mask = (np.uint64(1) << np.uint64(address_bits)) - np.uint64(1)
    n = len(text)
    while state[5] == 0:
        end = start
        while end < n and text[end] != 10:
            end += 1
        if end == n:
            break
        line, start = start, end + 1
        if end - line < 6:
            state[7] += 1
            continue
        if text[line] == 73:  # 'I'
            code = -1
        elif text[line] != 32:
            state[7] += 1
            continue
        elif text[line + 1] == 76:  # 'L'
            code = 0
        elif text[line + 1] == 83:  # 'S'
            code = 1
        elif text[line + 1] == 77:  # 'M'
            code = 3
        else:
            state[7] += 1
            continue
        place = line + 2
        while place < end and text[place] == 32:
            place += 1
        where = np.uint64(0)
        while place < end and text[place] != 44:
            digit = text[place]
            if 48 <= digit <= 57:
                value = digit - 48
            elif 97 <= digit <= 102:
                value = digit - 87
            elif 65 <= digit <= 70:
                value = digit - 55
            else:
                break
            where = (where << np.uint64(4)) | np.uint64(value)
            place += 1
        if place >= end or text[place] != 44:
            state[7] += 1
            continue
        length = np.int64(0)
        place += 1
        while place < end and 48 <= text[place] <= 57 and length < 100000:
            length = length * 10 + (text[place] - 48)
            place += 1
        if where & mask != where:
            state[9] += 1
        where &= mask
        if code < 0:
            state[0] += 1
            block = np.int64(where >> np.uint64(state[6]))
            if block == state[1] or state[2] < state[3]:
                continue
            state[1] = block
            code = 2
        else:
            state[2] += 1
            if state[2] <= state[3]:
                # Instructions count from the end of what is skipped.
                state[0] = 0
                continue
            if state[2] == state[4]:
                state[5] = 1
        if length > 65535 or state[0] > 0xFFFFFFFF:
            state[8] += 1
        instructions[n_records] = min(state[0], np.int64(0xFFFFFFFF))
        state[0] = 0
        kind[n_records] = code
        size_bytes[n_records] = min(length, 65535)
        address[n_records] = where
        n_records += 1
    return start, n_records
