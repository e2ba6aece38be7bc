"""Recording of a program's memory accesses under valgrind's lackey, piece by piece.

Lines of lackey's output are `I  ADDRESS,SIZE` for an instruction, then ` L`, ` S` or ` M` for each
of its loads, stores and read-modify-writes; addresses in hexadecimal without a prefix. Lines of
valgrind's own start otherwise and are skipped.
"""

import ctypes
import fcntl
import os
import select
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from archgym.errors import InvalidArgumentError, MissingProgramError, SimulatorError
from archgym.runtime.environment import given_environment
from archgym.runtime.kernels import entry_point
from archgym.runtime.reductions import report_loss
from archgym.traces.file import MAX_TEXT, TraceInfo, TraceWriter, trace_writer
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
          code_bytes: A fetch is recorded when execution comes to another block of this size, a
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


# chosen: some 10 to 30 MB of a file, and a minute or two of recording.
DEFAULT_MAX_ACCESSES = 10_000_000
# chosen: some 10 GB of a file. Recording holds one chunk of records whatever their number.
MAX_ACCESSES = 2**32
# The most that Linux gives without privileges: /proc/sys/fs/pipe-max-size.
_PIPE_BYTES = 2**20
# chosen: lackey writes each line by itself; it is faster to let some gather than to wake for each.
_GATHER_S = 0.004
_REPORT_S = 0.5
_LISTEN_S = 0.2
# chosen: time for the program to clean up, once before it is told to stop and once after.
_GRACE_S = 1.0
# Linux, `include/uapi/linux/prctl.h`.
_PR_SET_PDEATHSIG = 1
_TIMEOUT_S = 10.0


@final
@dataclass(frozen=True)
class Recording:
    """Progress of a recording, and how it ended.

    `info` is what was written; `accesses_seen` counts data accesses with the skipped ones;
    `stopped` says why the program did not run to its end: "" where it did, "limit", "SIGINT" or
    "SIGTERM".
    """

    info: TraceInfo
    accesses_seen: int
    elapsed_s: float
    stopped: str = ""


def record(
    command: Sequence[str],
    path: str | Path,
    *,
    name: str = "",
    skip: int = 0,
    max_accesses: int = DEFAULT_MAX_ACCESSES,
    code_bytes: int = 4096,
    date: str = "",
    report: Callable[[Recording], None] | None = None,
) -> Recording:
    """Run a program under valgrind, and write its memory accesses to a file.

    The program has this process's standard input, output and error. Its children, and what a
    fork of it does, are not recorded. SIGINT and SIGTERM stop it; what was recorded is kept.

    Args:
      command: The program and its arguments.
      path: The file, ending in `.npz`; it appears when the recording is complete.
      name: The trace's name; by default the program's.
      skip: Data accesses that are left out first.
      max_accesses: Data accesses after which the program is stopped.
      code_bytes: A fetch is recorded when execution comes to another block of this size, a
        power of two: 4096 for pages, 64 for lines, so that simulators see instructions in caches.
      date: When this was, as the file should say it.
      report: Called about twice a second.

    Raises:
      MissingProgramError: There is no valgrind, or no such program.
      SimulatorError: Nothing was recorded, with valgrind's exit code.
      StorageError: The file cannot be written.
    """
    _check(command, skip, max_accesses)
    if not 64 <= code_bytes <= 4096 or code_bytes & (code_bytes - 1):
        raise InvalidArgumentError(
            f"`code_bytes` must be a power of two, 64 to 4096; got {code_bytes!r}."
        )
    info = TraceInfo(
        name=name or Path(command[0]).name,
        command=_shortened(shlex.join(command)),
        date=date,
        tool="valgrind lackey --trace-mem=yes",
        skipped=skip,
    )
    started = time.monotonic()
    with trace_writer(path, info) as writer, _noted_signals() as signals:
        parser = LackeyParser(skip, max_accesses, code_bytes)
        process, pipe = _start(command)
        try:
            stopped = _take(process, pipe, parser, writer, signals, started, report)
        finally:
            # Whatever waits to write is freed.
            os.close(pipe)
            ended = _end(process)
        exit_code = None if stopped else ended
        if not writer.info.records:
            raise SimulatorError(_nothing(parser.accesses_seen, skip, exit_code, command))
        skipped = min(skip, parser.accesses_seen)
        info = writer.finish(exit_code=exit_code, skipped=skipped)
    parser.report_losses()
    return Recording(info, parser.accesses_seen, time.monotonic() - started, stopped)


def _shortened(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    report_loss(
        f"The trace's command has {len(text):,} letters; its file holds the first {MAX_TEXT:,}."
    )
    return text[:MAX_TEXT]


def _check(command: Sequence[str], skip: int, max_accesses: int) -> None:
    if not command:
        raise InvalidArgumentError("A program must be named after `--`; none was given.")
    if skip < 0 or not 1 <= max_accesses <= MAX_ACCESSES:
        raise InvalidArgumentError(
            f"`skip` must be 0 or more and `max_accesses` 1 to {MAX_ACCESSES}; got {skip!r} and "
            f"{max_accesses!r}."
        )
    if shutil.which("valgrind") is None:
        raise MissingProgramError(
            "Recording needs the program `valgrind`, which is not installed. "
            "Install it with: apt-get install valgrind."
        )
    if shutil.which(command[0]) is None:
        raise MissingProgramError(
            f"The program to record must exist and be executable; {command[0]!r} is not. Check "
            "its path."
        )


def _start(command: Sequence[str]) -> tuple[subprocess.Popen[bytes], int]:
    """Return the program under valgrind, and the end of the pipe at which its accesses come out."""
    reading, writing = os.pipe()
    with suppress(OSError, AttributeError):
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    options = ("--tool=lackey", "--trace-mem=yes", "-q", "--child-silent-after-fork=yes")
    arguments = ["valgrind", *options, f"--log-fd={writing}", "--", *command]
    try:
        # One system call, so that nothing another thread holds is waited for.
        process = subprocess.Popen(
            arguments,
            pass_fds=(writing,),
            preexec_fn=_dying_with_us(),
            env=given_environment(),
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return process, reading


def _dying_with_us() -> Callable[[], None] | None:
    """Prepare a started program to end when this process is killed.

    Valgrind continues when nobody reads its output, and then ignores every other signal for long.
    """
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return None
    number = ctypes.c_ulong(signal.SIGKILL)

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, number)

    return ask


def _take(
    process: subprocess.Popen[bytes],
    pipe: int,
    parser: LackeyParser,
    writer: TraceWriter,
    signals: list[str],
    started: float,
    report: Callable[[Recording], None] | None,
) -> str:
    """Collect records until the program ends or must stop; return the reason."""
    reported = started
    while not parser.is_done:
        if signals:
            return signals[-1]
        if not _has_more(pipe, _LISTEN_S):
            # A child that lives on holds the pipe open, and writes nothing to it.
            if process.poll() is not None and not _has_more(pipe, 0.0):
                return ""
            continue
        piece = os.read(pipe, parser.max_piece_bytes)
        if not piece:
            return ""
        part = parser.parse(piece)
        if len(part):
            writer.append(part)
        now = time.monotonic()
        if report is not None and now - reported >= _REPORT_S:
            report(Recording(writer.info, parser.accesses_seen, now - started))
            reported = now
        if len(piece) < _PIPE_BYTES // 2:
            time.sleep(_GATHER_S)
    return "limit"


def _has_more(pipe: int, timeout_s: float) -> bool:
    return bool(select.select([pipe], [], [], timeout_s)[0])


def _end(process: subprocess.Popen[bytes]) -> int:
    """Wait for the program, or stop it if it continues; return its exit code."""
    for stop in (None, process.terminate, process.kill):
        if stop is not None:
            stop()
        with suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=_GRACE_S)
    return process.wait()


@contextmanager
def _noted_signals() -> Iterator[list[str]]:
    """Note SIGINT and SIGTERM instead of obeying them in the block, so that no record is cut."""
    caught: list[str] = []
    former: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            # A process that was started with nohup or in a script's background ignores it.
            if signal.getsignal(number) is not signal.SIG_IGN:
                note = lambda number, frame: caught.append(signal.Signals(number).name)  # noqa: E731
                former[number] = signal.signal(number, note)
    try:
        yield caught
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _nothing(seen: int, skip: int, exit_code: int | None, command: Sequence[str]) -> str:
    if seen:
        return (
            f"`--skip` must be below the program's data accesses; it made {seen} and {skip} were "
            "to be skipped. Pass a smaller number."
        )
    return (
        f"valgrind recorded no access of {shlex.join(command)[:200]!r} and ended with exit code "
        f"{exit_code}. Run it without recording to see whether it starts."
    )


def resolved(command: Sequence[str]) -> tuple[list[str], str]:
    """Return the command with the program that it ends up running, and a note for the user or "".

    pyenv, rbenv and their like put scripts of the programs' names into a folder `shims`; valgrind
    would record the shell that runs the script, not what it starts. They say themselves which
    program is meant. Of any other script the interpreter is recorded, which the note says.
    """
    command = list(command)
    found = shutil.which(command[0]) if command else None
    if found is None:
        return command, ""
    path = Path(found)
    if path.parent.name == "shims" and (program := _behind_shim(path)):
        return [program, *command[1:]], f"{path} starts {program}, which is recorded."
    interpreter = _interpreter(path)
    if interpreter:
        return command, (
            f"{path} is a script: {interpreter} is recorded, not the programs that it starts."
        )
    return command, ""


def _behind_shim(path: Path) -> str | None:
    """Return the program that a version manager's shim starts."""
    folder = path.parent.parent
    name = folder.name.removeprefix(".")
    manager = folder / "bin" / name
    program = str(manager) if manager.is_file() else shutil.which(name)
    if program is None:
        return None
    try:
        ran = subprocess.run(
            [program, "which", path.name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    answer = ran.stdout.strip()
    return answer if ran.returncode == 0 and Path(answer).is_file() else None


def _interpreter(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            line = handle.readline(256)
    except OSError:
        return ""
    return line[2:].decode("utf-8", "replace").strip() if line.startswith(b"#!") else ""
