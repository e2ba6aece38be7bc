"""Recording by single-stepping: a program runs under ptrace, without privileges.

Limits: Linux on x86-64; one thread (others run on unseen); what the kernel does in a system call
is not seen; gathers of vectors are not recorded. An iteration of `rep movs` is one record.
"""

import ctypes
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.errors import InvalidArgumentError, StorageError
from archgym.runtime.environment import given_environment
from archgym.traces.instructions.decoding import Decoder
from archgym.traces.instructions.records import MAX_RECORDS, write_records
from archgym.traces.instructions.stepping import REGISTERS, step
from archgym.traces.instructions.symbols import entry_address, function_address

__all__ = ["Recorded", "record_instructions"]

_TRACE_ME, _PEEK, _POKE, _CONTINUE, _GET, _SET = 0, 1, 4, 7, 12, 13
_SET_OPTIONS, _EXIT_KILL = 0x4200, 0x100000
_NO_RANDOMISATION: Final = 0x0040000
_IP: Final = REGISTERS.index("rip")
_CHUNK: Final = 1 << 15


@final
@dataclass(frozen=True)
class Recorded:
    """Outcome of a recording.

    Attributes:
      n: Instructions that were recorded.
      n_static: Different instructions among them.
      seconds: Time that it took.
      has_ended: True if the program ended, not the limit.
    """

    n: int
    n_static: int
    seconds: float
    has_ended: bool


def record_instructions(
    command: Sequence[str],
    path: str | Path,
    *,
    n: int,
    skip: int = 0,
    function: str | None = None,
    report: Callable[[int], None] | None = None,
) -> Recorded:
    """Record a program's instructions into a ChampSim trace.

    Args:
      command: Program and arguments.
      path: A new file, `.champsimtrace.xz` or `.champsimtrace`.
      n: Instructions to record at most.
      skip: Instructions to step over first, after `function` has been reached.
      function: Start where this function of the program is called first.
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
        # The memory's file must be open while the program lives.
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            decoder = Decoder(lambda address, size: _read(memory.fileno(), address, size))
            if function is not None:
                # Libraries are mapped when the program itself begins.
                _run_to(libc, pid, entry_address(pid), function)
                _run_to(libc, pid, function_address(pid, function), function)
            pieces, has_ended = _record(pid, decoder, n, skip, report)
    finally:
        _kill(pid)
    if not pieces:
        raise InvalidArgumentError(
            f"{command[0]} ended before the {skip + 1:,}th instruction. Skip fewer."
        )
    records = np.concatenate(pieces)
    decoder.report_losses()
    write_records(path, records)
    return Recorded(len(records), decoder.n_static, time.monotonic() - start, has_ended)


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
    libc.ptrace(_SET_OPTIONS, pid, None, _EXIT_KILL)
    return pid


def _read(memory: int, address: int, size: int) -> bytes:
    """Return bytes of the program, fewer at the end of a mapping."""
    for length in (size, 4096 - address % 4096):
        try:
            return os.pread(memory, length, address)
        except (OSError, OverflowError):
            continue
    return b""


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
        forwarded = os.WSTOPSIG(status)
        if forwarded == signal.SIGTRAP:
            break
    libc.ptrace(_POKE, pid, address, original)
    row = np.zeros(len(REGISTERS), dtype=np.int64)
    libc.ptrace(_GET, pid, None, row.ctypes.data)
    row[_IP] = address
    libc.ptrace(_SET, pid, None, row.ctypes.data)


def _record(
    pid: int,
    decoder: Decoder,
    n: int,
    skip: int,
    report: Callable[[int], None] | None,
) -> tuple[list[npt.NDArray[np.void]], bool]:
    pieces: list[npt.NDArray[np.void]] = []
    rows = np.zeros((_CHUNK, len(REGISTERS)), dtype=np.int64)
    status = np.zeros(1, dtype=np.int32)
    pending = 0
    left_to_skip, seen = skip, 0
    held = rows[:0].copy()
    while seen < n:
        want = min(_CHUNK, left_to_skip or n - seen + 1)
        taken, pending, has_ended = step(
            pid, rows[:want], rows.ctypes.data, status, status.ctypes.data, pending
        )
        if left_to_skip:
            left_to_skip -= taken
        else:
            # The last instruction waits until the one after it is known.
            known = np.concatenate([held, rows[:taken]])
            if len(known) > 1:
                ready = known[:-1][: n - seen]
                pieces.append(decoder.records(ready, known[1:, _IP][: len(ready)]))
                seen += len(ready)
            held = known[-1:].copy()
        if report is not None:
            report(seen)
        if has_ended:
            return pieces, True
    return pieces, False


def _kill(pid: int) -> None:
    """End the program, if it still runs."""
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return
