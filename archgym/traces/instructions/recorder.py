"""Recording by single-stepping: a program runs under ptrace, without privileges.

Limits: Linux on x86-64; one thread (others run on unseen); what the kernel does in a system call
is not seen; gathers of vectors are not recorded. An iteration of `rep movs` is one record.
"""

import ctypes
import os
import platform
import signal
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.errors import InvalidArgumentError, StorageError
from archgym.runtime.environment import given_environment
from archgym.traces.instructions.decoding import Decoder
from archgym.traces.instructions.records import MAX_RECORDS, write_records
from archgym.traces.instructions.stepping import (
    CODE_BYTES,
    ENDED,
    REGISTERS,
    REPLACED,
    SIGNALLED,
    step,
)
from archgym.traces.markers import BEGIN_SIGNAL, END_SIGNAL

_TRACE_ME, _PEEK, _POKE, _CONTINUE, _GET, _SET = 0, 1, 4, 7, 12, 13
_SET_OPTIONS, _EXIT_KILL, _REPORT_EXEC = 0x4200, 0x100000, 0x10
_GET_SIGNAL_INFO: Final = 0x4202
# `siginfo_t` of Linux: its size, and where code and sender are. Code 0 is `kill`.
_SIGNAL_INFO_BYTES, _CODE_AT, _SENDER_AT = 128, 8, 16
_EVENT_EXEC: Final = 4
_NO_RANDOMISATION: Final = 0x0040000
_IP: Final = REGISTERS.index("rip")
_SYSTEM_CALLS: Final = (b"\x0f\x05", b"\xcd\x80")
_CHUNK: Final = 1 << 15
# chosen: 2 MiB, enough for the code of most programs; it grows.
_TABLE: Final = 1 << 18
_SYMBOLS, _DYNAMIC_SYMBOLS = 2, 11
_POSITION_INDEPENDENT: Final = 3
_MAGIC: Final = b"\x7fELF\x02"


@final
@dataclass(frozen=True)
class Recorded:
    """Outcome of a recording.

    Attributes:
      n: Instructions that were recorded.
      n_static: Different instructions among them.
      seconds: Time that it took.
      has_ended: True if the program ended before the limit.
      exit_code: Exit code of the program, 0 if it was stopped or a signal ended it.
      signal_number: Signal that ended the program, 0 for no signal.
      is_marked: True if the program's own mark ended the recording.
    """

    n: int
    n_static: int
    seconds: float
    has_ended: bool
    exit_code: int = 0
    signal_number: int = 0
    is_marked: bool = False

    @property
    def ended_by(self) -> str:
        """Return the name of the signal that ended the program, such as SIGSEGV, or ""."""
        return _signal_name(self.signal_number) if self.signal_number else ""


def record_instructions(
    command: Sequence[str],
    path: str | Path,
    *,
    n: int,
    skip: int = 0,
    function: str | None = None,
    is_marked: bool = False,
    report: Callable[[int], None] | None = None,
) -> Recorded:
    """Record a program's instructions into a ChampSim trace.

    Args:
      command: Program and arguments.
      path: A new file, `.champsimtrace.xz` or `.champsimtrace`.
      n: Instructions to record at most.
      skip: Instructions to step over first, after `function` has been reached.
      function: Start where this function of the program is called first.
      is_marked: Start where the program sets its mark, `archgym.traces.begin()`, which it reaches
        at its own speed, and end at `archgym.traces.end()`.
      report: Called with the instructions so far.

    Raises:
      InvalidArgumentError: The machine, the program or the function does not serve.
      StorageError: The file cannot be written.
    """
    path = Path(path)
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise InvalidArgumentError("Recording instructions needs Linux on x86-64.")
    if not 1 <= n <= MAX_RECORDS:
        raise InvalidArgumentError(f"`n` must be from 1 to {MAX_RECORDS:,}; got {n:,}.")
    if path.exists():
        raise StorageError(f"{path} exists already. Choose another name.")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    start = time.monotonic()
    pid = _start(libc, command)
    try:
        if function is not None:
            # Libraries are mapped when the program itself begins.
            _run_to(libc, pid, entry_address(pid), function)
            _run_to(libc, pid, function_address(pid, function), function)
        if is_marked:
            _run_to_mark(libc, pid)
        with closing(_Code(pid)) as code:
            decoder = Decoder(code.read)
            last = END_SIGNAL if is_marked else 0
            pieces, status, outcome = _record(libc, pid, code, decoder, n, skip, last, report)
    finally:
        _kill(pid)
    number = os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else 0
    if not pieces:
        ended = f"was ended by {_signal_name(number)}" if number else "ended"
        raise InvalidArgumentError(
            f"{command[0]} {ended} before the {skip + 1:,}th instruction. Skip fewer."
        )
    records = np.concatenate(pieces)
    decoder.report_losses()
    write_records(path, records)
    return Recorded(
        n=len(records),
        n_static=decoder.n_static,
        seconds=time.monotonic() - start,
        has_ended=status is not None,
        exit_code=os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else 0,
        signal_number=number,
        is_marked=outcome == SIGNALLED,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        # Real-time signals have no names.
        return f"signal {number}"


@final
class _Code:
    """Bytes of a program's instructions, read when each is executed for the first time."""

    def __init__(self, pid: int) -> None:
        """Open the memory of a stopped program."""
        self._pid = pid
        self._bytes: dict[int, bytes] = {}
        self.new = np.zeros((_CHUNK, 2), dtype=np.int64)
        self.code = np.zeros((_CHUNK, CODE_BYTES), dtype=np.uint8)
        self.seen = np.zeros(_TABLE, dtype=np.int64)
        self.memory = self._open()

    def _open(self) -> int:
        return os.open(f"/proc/{self._pid}/mem", os.O_RDONLY | os.O_CLOEXEC)

    def take(self, n_new: int) -> None:
        """Keep the new instructions of a chunk."""
        for (ip, size), code in zip(self.new[:n_new].tolist(), self.code[:n_new], strict=True):
            self._bytes.setdefault(ip, code[:size].tobytes())
        if 2 * (len(self._bytes) + _CHUNK) > len(self.seen):
            # The larger table is empty: the kernel reads what it meets again, to no effect.
            self.seen = np.zeros(2 * len(self.seen), dtype=np.int64)

    def replace(self) -> None:
        """Start again with the program that has taken the place of the former one."""
        os.close(self.memory)
        self.memory = -1
        self.memory = self._open()
        self._bytes.clear()
        self.seen[:] = 0

    def read(self, address: int, size: int) -> bytes:
        """Return the bytes of an instruction, none if they could not be read."""
        return self._bytes.get(address, b"")[:size]

    def close(self) -> None:
        """Close the memory."""
        if self.memory >= 0:
            os.close(self.memory)


def _start(libc: ctypes.CDLL, command: Sequence[str]) -> int:
    """Start the program, stopped at its first instruction."""
    environment = given_environment()
    pid = os.fork()
    if pid == 0:
        libc.personality(_NO_RANDOMISATION)
        libc.ptrace(_TRACE_ME, 0, None, None)
        try:
            # Python ignores these two, and an ignored signal outlives exec.
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            os.execvpe(command[0], list(command), environment)
        finally:
            os._exit(127)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSTOPPED(status):
        raise InvalidArgumentError(f"{command[0]} cannot be run. Check its name.")
    libc.ptrace(_SET_OPTIONS, pid, None, _EXIT_KILL | _REPORT_EXEC)
    return pid


def _run_to(libc: ctypes.CDLL, pid: int, address: int, function: str) -> None:
    """Run to an address, on the way to the first call of a function."""
    ctypes.set_errno(0)
    original = libc.ptrace(_PEEK, pid, address, None)
    libc.ptrace(_POKE, pid, address, (original & ~0xFF) | 0xCC)
    forwarded = 0
    while True:
        libc.ptrace(_CONTINUE, pid, None, forwarded)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            raise InvalidArgumentError(f"the program ended before it called {function!r}.")
        if status >> 16 == _EVENT_EXEC:
            raise InvalidArgumentError(
                f"the program started another one (execve) before it called {function!r}. "
                "Record that one."
            )
        forwarded = os.WSTOPSIG(status)
        if forwarded == signal.SIGTRAP:
            break
    libc.ptrace(_POKE, pid, address, original)
    row = np.zeros(len(REGISTERS), dtype=np.int64)
    libc.ptrace(_GET, pid, None, row.ctypes.data)
    row[_IP] = address
    libc.ptrace(_SET, pid, None, row.ctypes.data)


def _run_to_mark(libc: ctypes.CDLL, pid: int) -> None:
    """Run at full speed until the program sends itself the first mark."""
    forwarded = 0
    while True:
        libc.ptrace(_CONTINUE, pid, None, forwarded)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            raise InvalidArgumentError(
                "the program ended before it called `archgym.traces.begin()`. Call it in the "
                "thread that is to be recorded, or leave out --marked."
            )
        forwarded = 0 if status >> 16 == _EVENT_EXEC else os.WSTOPSIG(status)
        if forwarded == BEGIN_SIGNAL and _is_mark(libc, pid):
            return


def _is_mark(libc: ctypes.CDLL, pid: int) -> bool:
    """Return True if a stopped program has sent itself the signal that stopped it."""
    information = ctypes.create_string_buffer(_SIGNAL_INFO_BYTES)
    if libc.ptrace(_GET_SIGNAL_INFO, pid, None, information) < 0:
        return False
    (code,) = struct.unpack_from("<i", information, _CODE_AT)
    (sender,) = struct.unpack_from("<i", information, _SENDER_AT)
    return bool(code == 0 and sender == pid)


def _record(
    libc: ctypes.CDLL,
    pid: int,
    code: _Code,
    decoder: Decoder,
    n: int,
    skip: int,
    last: int,
    report: Callable[[int], None] | None,
) -> tuple[list[npt.NDArray[np.void]], int | None, int]:
    """Return the records, the status of the program's end (None if it runs), and the outcome."""
    pieces: list[npt.NDArray[np.void]] = []
    rows = np.zeros((_CHUNK, len(REGISTERS)), dtype=np.int64)
    status = np.zeros(1, dtype=np.int32)
    pending = 0
    left_to_skip, seen = skip, 0
    held = rows[:0].copy()
    is_replaced = False
    while seen < n:
        want = min(_CHUNK, left_to_skip or n - seen + 1)
        memory = -1 if left_to_skip else code.memory
        taken, n_new, pending, outcome = step(
            pid, rows[:want], rows.ctypes.data, status, status.ctypes.data, pending,
            memory, code.seen, code.new, code.code, code.code.ctypes.data, last,
        )  # fmt: skip
        is_mark = outcome == SIGNALLED and _is_mark(libc, pid)
        code.take(n_new)
        if left_to_skip:
            left_to_skip -= taken
        else:
            # The last instruction waits until the one after it is known.
            known = np.concatenate([held, rows[:taken]])
            if is_replaced and taken > 1 and known[0, _IP] == known[1, _IP]:
                # Linux stops once more before the first instruction of a new program.
                known = known[1:]
            following = known[1:, _IP]
            if outcome == REPLACED or is_mark:
                following = np.append(following, _next_address(libc, pid))
            elif outcome == ENDED and os.WIFEXITED(int(status[0])) and _is_call(code, known):
                # The call that ends the program has no successor.
                following = np.append(following, 0)
            ready = known[: len(following)][: n - seen]
            if len(ready):
                pieces.append(decoder.records(ready, following[: len(ready)]))
                seen += len(ready)
            held = known[len(following) :].copy()
        if report is not None:
            report(seen)
        if outcome == ENDED:
            return pieces, int(status[0]), outcome
        if is_mark:
            return pieces, None, outcome
        is_replaced = outcome == REPLACED
        if is_replaced:
            code.replace()
            decoder.forget()
    return pieces, None, outcome


def _is_call(code: _Code, rows: npt.NDArray[np.int64]) -> bool:
    """Return True if the last row is a system call; another thread may have ended the program."""
    return len(rows) > 0 and code.read(int(rows[-1, _IP]), 2) in _SYSTEM_CALLS


def _next_address(libc: ctypes.CDLL, pid: int) -> int:
    """Return the address of the instruction that a stopped program executes next."""
    row = np.zeros(len(REGISTERS), dtype=np.int64)
    libc.ptrace(_GET, pid, None, row.ctypes.data)
    return int(row[_IP])


def _kill(pid: int) -> None:
    """End the program, if it still runs."""
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def entry_address(pid: int) -> int:
    """Return where a program starts in memory, after the loader has mapped its libraries.

    Args:
      pid: A program that is stopped at its first instruction.

    Raises:
      InvalidArgumentError: It is not a 64-bit ELF program.
    """
    executable = Path(f"/proc/{pid}/exe").resolve()
    data = executable.read_bytes()[:64]
    if len(data) < 64 or not data.startswith(_MAGIC):
        raise InvalidArgumentError(f"{executable} must be a 64-bit ELF program.")
    (kind,) = struct.unpack_from("<H", data, 16)
    (entry,) = struct.unpack_from("<Q", data, 24)
    return int(entry) + (_bases(pid).get(executable, 0) if kind == _POSITION_INDEPENDENT else 0)


def function_address(pid: int, name: str) -> int:
    """Return where a function of a program, or of a library that it has mapped, starts in memory.

    Args:
      pid: A program that is stopped at its entry address.
      name: The function, as the compiler calls it.

    Raises:
      InvalidArgumentError: Neither the program nor a library has such a symbol.
    """
    executable = Path(f"/proc/{pid}/exe").resolve()
    bases = _bases(pid)
    for path in (executable, *(each for each in bases if each != executable)):
        try:
            value, kind = _symbol(path.read_bytes(), name)
        except (OSError, struct.error, IndexError):
            # Data are mapped, too, and files may be gone.
            continue
        if value:
            return value + (bases[path] if kind == _POSITION_INDEPENDENT else 0)
    raise InvalidArgumentError(
        f"{executable} must define the function {name!r}; neither the program nor a library that "
        "it loads does, or they are stripped."
    )


def _symbol(data: bytes, name: str) -> tuple[int, int]:
    """Return a symbol's value (0 if absent) and the type of the file."""
    if not data.startswith(_MAGIC):
        return 0, 0
    (kind,) = struct.unpack_from("<H", data, 16)
    (sections,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, sections + size * i) for i in range(count)]
    wanted = name.encode()
    for header in headers:
        if header[1] not in (_SYMBOLS, _DYNAMIC_SYMBOLS):
            continue
        strings = headers[header[6]][4]
        for at in range(header[4], header[4] + header[5], 24):
            label, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", data, at)
            end = strings + label + len(wanted)
            # A symbol without section is defined elsewhere.
            if value and section and data[strings + label : end + 1] == wanted + b"\0":
                return value, kind
    return 0, kind


def _bases(pid: int) -> dict[Path, int]:
    """Return the first address of each file that a program has mapped."""
    bases: dict[Path, int] = {}
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        place, *_, path = line.split(maxsplit=5)
        if path.startswith("/"):
            bases.setdefault(Path(path), int(place.split("-")[0], 16))
    return bases
