"""Memory traces: requests to the controller with their times, and their `.stl` / `.rstl` files.

A line of a file is `TIMESTAMP: read|write ADDRESS [BYTES] [<N]`, separated by blanks: the timestamp
in ticks of the player's clock, the address in hexadecimal. In a `.rstl` file the timestamp is a
delay after the player's next tick once the previous request was accepted. Lines that start with `#`
and lines of one character or less are skipped, as DRAMSys does. Four things are ours, and DRAMSys
reads past them: the trailing length in bytes (without it a line is one burst of whatever device),
`<N` where a request waits for the answer to the Nth request before it, which must be a read (in a
`.rstl` file, whose delays start at the request before, only `<1`), the
comment `# clock_mhz: N`, the player's clock, and `# placed_bytes: N`, the size of the memory in
which the pages were placed. A byte order mark, which some editors put before a file's first line,
is skipped.

Times in a `.stl` file may go back, as in DRAMSys: requests keep their order, and one that is due
before its predecessor left is sent right after it.

A request that waits is due once the answer is there and the time between both timestamps has passed
since. The program stands still until then, so that all later requests are due as much later.
"""

import gzip
import hashlib
import re
import zlib
from array import array
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, final

import numpy as np

from archgym.simulators.kit import (
    FileFormatError,
    InvalidArgumentError,
    StorageError,
    command_line,
    open_file,
    write_atomic,
)

# chosen: some ten million lines; a gzip bomb stops here.
MAX_BYTES = 256 * 2**20
# chosen: a line needs at most about 60 characters; comments may be longer.
_MAX_LINE = 4096
_CHUNK = 2**20
# chosen: they are passed over in a second; a small packed file may hold a hundred million.
_MAX_IDLE_LINES = 1_000_000
# chosen: a minute, in which a rank refreshes 8 million times; more would take seconds a design.
_MAX_TIME_PS = 60 * 10**12
_MAX_ADDRESS = 2**62
# chosen: a page of 64 KiB is the largest transfer that is still one request.
_MAX_LENGTH = 2**16

_LINE = re.compile(
    rb"\s*(\d{1,19})\s*:?\s+(read|write)\s+(?:0[xX])?([0-9a-fA-F]{1,16})(?:\s+(\d{1,7}))?"
    rb"(?:\s+<(\d{1,9}))?\s*"
)
_CLOCK = re.compile(rb"#\s*clock_mhz:\s*(\d{1,6})\s*")
_SAID = re.compile(rb"#\s*(clock_mhz|placed_bytes)\b")
_PLACED = re.compile(rb"#\s*placed_bytes:\s*(\d{1,15})\s*")
_GZIP_MAGIC = b"\x1f\x8b"


@final
@dataclass(frozen=True, eq=False)
class Trace:
    """Requests in the order in which the player sends them.

    Attributes:
      name: Name; not part of its content.
      ticks: (n,) int64, when each request is due [player clocks]: counted from 0, or, where
        `relative`, after the previous request. Need not increase: a request that is due before
        its predecessor left is sent right after it.
      is_write: (n,) bool.
      addresses: (n,) int64 [bytes].
      lengths: (n,) int64 [bytes], 0 where a request is one burst of whatever device.
      clock_mhz: Clock of the player; its period is rounded to whole picoseconds.
      relative: True if `ticks` are delays.
      path: The file it was read from, or None; not part of its content.
      lines: (n,) int64, each request's line in that file, or empty.
      placed_bytes: Size of the memory in which the program's pages were placed, 0 if unknown; not
        part of its content.
      waits_for: (n,) int64, the earlier read whose answer each request waits for, -1 for none; or
        empty if no request waits.
    """

    name: str
    ticks: np.ndarray
    is_write: np.ndarray
    addresses: np.ndarray
    lengths: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    clock_mhz: int = 800
    relative: bool = False
    path: Path | None = None
    lines: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    placed_bytes: int = 0
    waits_for: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        n = len(self.ticks)
        lengths = self.lengths if len(self.lengths) else np.zeros(n, np.int64)
        some = len(self.waits_for) and (self.waits_for != -1).any()
        waits_for = self.waits_for if some else np.zeros(0, np.int64)
        for name, value, kind in (
            ("ticks", self.ticks, np.int64),
            ("is_write", self.is_write, np.bool_),
            ("addresses", self.addresses, np.int64),
            ("lengths", lengths, np.int64),
            ("waits_for", waits_for, np.int64),
        ):
            column = np.ascontiguousarray(value, dtype=kind)
            if column.shape != (n,) and (name != "waits_for" or len(column)):
                raise InvalidArgumentError(
                    f"`{name}` must have one entry a request, shape ({n},); got {column.shape}."
                )
            # A view of our own, so that the caller's array stays writable.
            column = column.view()
            column.flags.writeable = False
            object.__setattr__(self, name, column)
        self._check()

    def _check(self) -> None:
        if len(self.ticks) == 0:
            raise InvalidArgumentError("A trace must hold at least one request; got none.")
        if not 1 <= self.clock_mhz <= 100_000:
            raise InvalidArgumentError(
                f"`clock_mhz` must lie in 1 to 100000; got {self.clock_mhz!r}."
            )
        for name, values, high in (
            ("ticks", self.ticks, _MAX_TIME_PS // self.period_ps),
            ("addresses", self.addresses, _MAX_ADDRESS - 1),
            ("lengths", self.lengths, _MAX_LENGTH),
        ):
            wrong = np.flatnonzero((values < 0) | (values > high))
            if len(wrong):
                raise InvalidArgumentError(
                    f"`{name}` must lie in 0 to {high}; got {int(values[wrong[0]])} "
                    f"for request {wrong[0]}."
                )
        place = np.flatnonzero(self.waits_for != -1)
        first = self.waits_for[place]
        wrong = place[(first < 0) | (first >= place) | self.is_write[np.clip(first, 0, place)]]
        if len(wrong):
            raise InvalidArgumentError(
                "A request must wait for an earlier read; request "
                f"{wrong[0]} waits for {int(self.waits_for[wrong[0]])}."
            )
        if self.relative and float(self.ticks.sum(dtype=np.float64)) > (
            _MAX_TIME_PS // self.period_ps
        ):
            raise InvalidArgumentError(
                f"The delays of a trace must add up to at most {_MAX_TIME_PS} ps; "
                f"got {float(self.ticks.sum(dtype=np.float64)) * self.period_ps:.3g} ps."
            )

    def __len__(self) -> int:
        return len(self.ticks)

    def first(self, n: int) -> "Trace":
        """Return the first n requests, or this trace if it has no more."""
        if n >= len(self):
            return self
        columns = ("ticks", "is_write", "addresses", "lengths", "lines", "waits_for")
        return replace(self, **{name: getattr(self, name)[:n] for name in columns})

    @property
    def period_ps(self) -> int:
        """Period of the player's clock [ps]."""
        return round(1e6 / self.clock_mhz)

    @property
    def due_ticks(self) -> np.ndarray:
        """(n,) int64, when each request is due if none is held up [player clocks from 0]."""
        return np.cumsum(self.ticks) if self.relative else np.maximum.accumulate(self.ticks)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content, in hexadecimal; equal traces of other names share it."""
        # 2 for delays that count from acceptance; 1 meant from sending, which was wrong.
        kind = 2 if self.relative else 0
        header = f"archgym-trace-1 {len(self)} {self.clock_mhz} {kind}\n"
        digest = hashlib.sha256(header.encode())
        for column in (self.ticks, self.addresses, self.lengths):
            digest.update(column.astype("<i8").tobytes())
        digest.update(self.is_write.astype("u1").tobytes())
        # Traces whose requests do not wait keep the digest that they always had.
        digest.update(self.waits_for.astype("<i8").tobytes())
        return digest.hexdigest()


def read_trace(
    path: str | Path, *, clock_mhz: int | None = None, max_bytes: int = MAX_BYTES
) -> Trace:
    """Return trace from a file, plain or gzip, whichever its first bytes say.

    Args:
      path: The file; ends in `.stl` (times) or `.rstl` (delays), and `.gz` after that or not.
      clock_mhz: Clock of the player; by default what the file says, else 800.
      max_bytes: Most bytes to read, after decompression.

    Raises:
      FileFormatError: The file cannot be read, or is not a trace, with the line that says so.
    """
    path = Path(path)
    name, relative = _name_and_kind(path)
    try:
        with open_file(path) as raw:
            packed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            stream = gzip.open(raw) if packed else raw  # noqa: SIM115 - closed with `raw`
            columns = _Columns(path, clock_mhz, relative)
            for number, line in _lines(path, stream, max_bytes):
                columns.add(number, line)
                if number - len(columns) > _MAX_IDLE_LINES:
                    raise FileFormatError(
                        path,
                        number,
                        f"a trace must have at most {_MAX_IDLE_LINES:,} lines without a request; "
                        "this one has more",
                        "Leave out empty lines and comments",
                    )
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FileFormatError(
            path, None, f"the gzip data is torn or damaged ({error})", "Copy the file again"
        ) from None
    except StorageError as error:
        problem, _, remedy = str(error).removeprefix(f"{path} ").partition(". ")
        raise FileFormatError(path, None, problem, remedy.removesuffix(".")) from None
    except OSError as error:
        raise FileFormatError(
            path, None, f"cannot be read ({error.strerror or error})", "Check its path and rights"
        ) from None
    return columns.trace(name, relative)


def write_trace(trace: Trace, path: str | Path) -> None:
    """Write a trace to a file, whole or not at all.

    Args:
      trace: Trace to write.
      path: The file; must end in `.stl`, or `.rstl` for a trace of delays, and `.gz` after that to
        compress it.

    Raises:
      InvalidArgumentError: The name's ending does not suit the trace.
      StorageError: The file cannot be written.
    """
    path = Path(path)
    ending = ".rstl" if trace.relative else ".stl"
    bare = path.name.removesuffix(".gz")
    if not bare.endswith(ending) or (ending == ".stl" and bare.endswith(".rstl")):
        raise InvalidArgumentError(
            f"The file of a trace with `relative={trace.relative}` must end in {ending} or "
            f"{ending}.gz; got {path.name!r}."
        )
    data = trace_text(trace).encode()
    if path.name.endswith(".gz"):
        # No time in the header: the same trace is the same file.
        data = gzip.compress(data, mtime=0)
    write_atomic(path, data)


def waits_not_compared(trace: Trace) -> str:
    """Return that requests wait for answers, which no other tool has; "" if none does."""
    waiting = int((trace.waits_for >= 0).sum())
    return f"{waiting:,} requests wait for answers, which no tool was compared on" * (waiting > 0)


def trace_text(trace: Trace) -> str:
    """Return the lines of a trace's file."""
    lines = [] if trace.clock_mhz == 800 else [f"# clock_mhz: {trace.clock_mhz}"]
    if trace.placed_bytes:
        lines.append(f"# placed_bytes: {trace.placed_bytes}")
    n = len(trace)
    waits_for = trace.waits_for if len(trace.waits_for) else np.full(n, -1)
    for tick, write, address, length, back in zip(
        trace.ticks.tolist(),
        trace.is_write.tolist(),
        trace.addresses.tolist(),
        trace.lengths.tolist(),
        np.where(waits_for < 0, 0, np.arange(n) - waits_for).tolist(),
        strict=True,
    ):
        tail = (f"\t{length}" if length else "") + (f"\t<{back}" if back else "")
        lines.append(f"{tick}:\t{'write' if write else 'read'}\t0x{address:X}{tail}")
    return "\n".join(lines) + "\n"


def _name_and_kind(path: Path) -> tuple[str, bool]:
    bare = path.name.removesuffix(".gz")
    for ending, relative in ((".rstl", True), (".stl", False)):
        if bare.endswith(ending):
            return bare.removesuffix(ending), relative
    if bare.endswith(".npz"):
        raise FileFormatError(
            path,
            None,
            "a trace of requests to DRAM is needed (.stl, .rstl); a memory trace (.npz) has all "
            "accesses of a program",
            f"Filter it through caches: `{command_line('archgym', 'trace', 'filter', path)}`",
        )
    raise FileFormatError(
        path,
        None,
        "a trace's name must end in .stl or .rstl, and .gz after that if compressed",
        "Rename it: .stl where the numbers are times, .rstl where they are delays",
    )


def _lines(
    path: Path, stream: BinaryIO | gzip.GzipFile, max_bytes: int
) -> Iterator[tuple[int, bytes]]:
    """Yield lines with their numbers; never holds more than a chunk, whatever the file does."""
    number = 0
    total = 0
    rest = stream.read(len(BOM_UTF8)).removeprefix(BOM_UTF8)
    while chunk := stream.read(_CHUNK):
        total += len(chunk)
        if total > max_bytes:
            raise FileFormatError(
                path,
                number + 1,
                f"a trace must hold at most {max_bytes} bytes when unpacked; this one is longer",
                "Pass a larger `max_bytes`, or split the trace",
            )
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        for line in lines:
            number += 1
            if len(line) > _MAX_LINE:
                raise _too_long(path, number, line)
            yield number, line
        # Also without an end, which a file that is not a trace may not have for gigabytes.
        if len(rest) > _MAX_LINE:
            raise _too_long(path, number + 1, rest)
    if rest:
        yield number + 1, rest


def _too_long(path: Path, number: int, line: bytes) -> FileFormatError:
    return FileFormatError(
        path,
        number,
        f"a line must be at most {_MAX_LINE} bytes long; this one is longer and begins with "
        f"{_shown(line)!r}",
        "Shorten it if it is a comment; else this is not a trace, or its compression is not gzip",
    )


def _shown(line: bytes) -> str:
    return line[:60].decode("ascii", "backslashreplace")


@final
class _Columns:
    """The columns of a trace while its lines come in."""

    def __init__(self, path: Path, clock_mhz: int | None, relative: bool) -> None:
        self._path, self._relative = path, relative
        self._heeds_comment = clock_mhz is None
        self._set_clock(800 if clock_mhz is None else clock_mhz)
        self._placed_bytes = 0
        self._ticks = array("q")
        self._is_write = array("b")
        self._addresses = array("q")
        self._lengths = array("q")
        self._waits_for = array("q")
        self._lines = array("q")

    def _set_clock(self, clock_mhz: int) -> None:
        self._clock_mhz = clock_mhz
        self._max_ticks = _MAX_TIME_PS // max(1, round(1e6 / max(1, clock_mhz)))

    def __len__(self) -> int:
        return len(self._ticks)

    def add(self, number: int, line: bytes) -> None:
        if len(line) <= 1:
            return
        if line[0] == 35:  # '#'
            if not self._ticks:
                self._add_comment(number, line)
            return
        parts = _LINE.fullmatch(line)
        if parts is None:
            if not line.strip():
                return
            raise self._refuse(number, line)
        tick, kind, address_text, length_text, back_text = parts.groups()
        ticks = int(tick)
        address = int(address_text, 16)
        length = int(length_text) if length_text is not None else 0
        if ticks > self._max_ticks or address >= _MAX_ADDRESS or length > _MAX_LENGTH:
            raise self._too_large(number, ticks, address, length)
        if length_text is not None and length == 0:
            raise FileFormatError(
                self._path,
                number,
                "a request's length must be 1 byte or more; got 0",
                "Leave the length out for one burst",
            )
        waits_for = -1 if back_text is None else len(self) - int(back_text)
        if back_text is not None and (not 0 <= waits_for < len(self) or self._is_write[waits_for]):
            raise FileFormatError(
                self._path,
                number,
                f"`<N` must name a read that is N requests before; got <{int(back_text)}",
                "Only reads have an answer to wait for: correct the number, or leave it out",
            )
        if self._relative and back_text is not None and int(back_text) > 1:
            raise FileFormatError(
                self._path,
                number,
                "in a .rstl file a request waits for the one before it alone; got "
                f"<{int(back_text)}",
                "Delays there start at the request before: write a .stl file",
            )
        self._waits_for.append(waits_for)
        self._ticks.append(ticks)
        self._is_write.append(kind == b"write")
        self._addresses.append(address)
        self._lengths.append(length)
        self._lines.append(number)

    def _add_comment(self, number: int, line: bytes) -> None:
        said = _SAID.match(line)
        if said and not (_CLOCK.fullmatch(line) or _PLACED.fullmatch(line)):
            raise FileFormatError(
                self._path,
                number,
                f"a comment on {said[1].decode()} must end in `: ` and a whole number; got "
                f"{_shown(line)!r}",
                "Write it as `# clock_mhz: 800`, or word the comment in another way",
            )
        clock = _CLOCK.fullmatch(line)
        if clock and self._heeds_comment:
            self._set_clock(int(clock[1]))
        placed = _PLACED.fullmatch(line)
        if placed:
            self._placed_bytes = int(placed[1])

    def trace(self, name: str, relative: bool) -> Trace:
        if not self._ticks:
            raise FileFormatError(
                self._path,
                None,
                "a trace must hold at least one request; this one holds none",
                "Write lines such as `0: read 0x40`",
            )
        try:
            return Trace(
                name=name,
                ticks=np.array(self._ticks, dtype=np.int64),
                is_write=np.array(self._is_write, dtype=np.bool_),
                addresses=np.array(self._addresses, dtype=np.int64),
                lengths=np.array(self._lengths, dtype=np.int64),
                clock_mhz=self._clock_mhz,
                relative=relative,
                path=self._path,
                lines=np.array(self._lines, dtype=np.int64),
                placed_bytes=self._placed_bytes,
                waits_for=np.array(self._waits_for, dtype=np.int64),
            )
        except InvalidArgumentError as error:
            raise FileFormatError(
                self._path, None, str(error).rstrip("."), "Correct the trace, or cut it"
            ) from None

    def _too_large(self, number: int, ticks: int, address: int, length: int) -> FileFormatError:
        if ticks > self._max_ticks:
            problem = (
                f"a timestamp must be at most {self._max_ticks}, which is a minute of the player's "
                f"clock; got {ticks}"
            )
        elif address >= _MAX_ADDRESS:
            problem = f"an address must be below {_MAX_ADDRESS:#x}; got {address:#x}"
        else:
            problem = f"a request must be at most {_MAX_LENGTH} bytes long; got {length}"
        return FileFormatError(self._path, number, problem, "Correct the line or take it out")

    def _refuse(self, number: int, line: bytes) -> FileFormatError:
        """Raise an error that names the wrong part of the line."""
        shown = _shown(line)
        remedy = "Correct the line or take it out"
        if any(byte < 9 for byte in line):
            return FileFormatError(
                self._path,
                number,
                f"a line must be text such as `0: read 0x40`; got {shown!r}",
                "This is not a trace, or it is compressed in a way other than gzip",
            )
        words = line.replace(b":", b" ", 1).split()
        if not re.fullmatch(rb"\d{1,19}", words[0]):
            problem = f"a line must start with a timestamp, a whole number >= 0; got {shown!r}"
        elif len(words) < 2 or words[1] not in (b"read", b"write"):
            problem = f"`read` or `write` must follow the timestamp; got {shown!r}"
        elif len(words) < 3 or not re.fullmatch(rb"(0[xX])?[0-9a-fA-F]{1,16}", words[2]):
            problem = f"a hexadecimal address of at most 16 digits must follow; got {shown!r}"
        elif len(words) == 4:
            problem = f"a length must be a whole number of bytes; got {shown!r}"
        else:
            problem = f"a line must be `TIMESTAMP: read|write ADDRESS [BYTES] [<N]`; got {shown!r}"
        if number > 1 and len(words) < 3:
            remedy = "The line may be torn: copy the file again, or take the line out"
        return FileFormatError(self._path, number, problem, remedy)
