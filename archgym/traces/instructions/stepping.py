"""Compiled loop that single-steps a program: three system calls for each instruction."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from archgym.runtime.kernels import entry_point, helper

REGISTERS: Final = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx",
    "rsi", "rdi", "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base",
    "ds", "es", "fs", "gs",
)  # fmt: skip
"""Words of a row, as Linux's `user_regs_struct` has them."""
CODE_BYTES: Final = 15
"""Bytes of the longest instruction."""
STOPPED, ENDED, REPLACED, SIGNALLED = 0, 1, 2, 3
"""Outcomes: the program waits, has ended, has become another program (execve), or got `last`."""

_IP: Final = REGISTERS.index("rip")
_SINGLE_STEP: Final = 9
_GET_REGISTERS: Final = 12
_TRAP: Final = 5
_EVENT_EXEC: Final = 4
_PAGE: Final = 4096
_ptrace: Any = types.ExternalFunction(
    "ptrace", types.int64(types.int64, types.int64, types.int64, types.int64)
)
_waitpid: Any = types.ExternalFunction(
    "waitpid", types.int32(types.int32, types.int64, types.int32)
)
_pread: Any = types.ExternalFunction(
    "pread", types.int64(types.int32, types.int64, types.int64, types.int64)
)


@helper
def _is_new(ip: int, seen: npt.NDArray[np.int64]) -> bool:
    """Return True if an address is not in the hash table, and add it."""
    mask = seen.shape[0] - 1
    slot = (ip ^ (ip >> 17)) & mask
    while seen[slot] != ip:
        if seen[slot] == 0:
            seen[slot] = ip
            return True
        slot = (slot + 1) & mask
    return False


@helper
def _read_code(memory: int, address: int, ip: int) -> int:
    """Read the bytes of an instruction; return their number, 0 if they cannot be read."""
    n = _pread(np.int32(memory), address, CODE_BYTES, ip)
    left = _PAGE - ip % _PAGE
    if n <= 0 and left < CODE_BYTES:
        n = _pread(np.int32(memory), address, left, ip)
    return int(max(n, 0))


@entry_point(seconds=2.0)
def step(
    pid: int,
    rows: npt.NDArray[np.int64],
    rows_address: int,
    status: npt.NDArray[np.int32],
    status_address: int,
    signal: int,
    memory: int,
    seen: npt.NDArray[np.int64],
    new: npt.NDArray[np.int64],
    code: npt.NDArray[np.uint8],
    code_address: int,
    last: int,
) -> tuple[int, int, int, int]:
    """Read the registers and step, again and again.

    The code of an instruction is read when the program is about to execute it for the first time.
    Later its memory may be gone: the program may end, start another one, or unload a library.

    Args:
      pid: A stopped program that this thread traces.
      rows: (n, 27), filled with the registers before each step.
      rows_address: Address of its first byte.
      status: (1,), for the kernel's use; the status of the program's last stop or of its end.
      status_address: Address of its first byte.
      signal: To deliver with the first step, 0 for no signal.
      memory: File descriptor of the program's memory, -1 if no code is to be read.
      seen: Hash table of the addresses whose code has been read, 0 for an empty slot. Its length
        is a power of two, above the number of addresses by at least n.
      new: (n, 2), filled with the address and the number of readable bytes of new instructions.
      code: (n, 15), filled with the bytes of new instructions.
      code_address: Address of its first byte.
      last: Signal at which to return, and which is not delivered; 0 for no signal.

    Returns:
      Steps taken, number of new instructions, the signal that came with the last step, and the
      outcome.
    """
    size = rows.shape[1] * 8
    n_new = 0
    for i in range(rows.shape[0]):
        if _ptrace(_GET_REGISTERS, pid, 0, rows_address + size * i) < 0:
            _waitpid(np.int32(pid), status_address, np.int32(0))
            return i, n_new, 0, ENDED
        ip = rows[i, _IP]
        if memory >= 0 and _is_new(ip, seen):
            new[n_new, 0] = ip
            new[n_new, 1] = _read_code(memory, code_address + n_new * CODE_BYTES, ip)
            n_new += 1
        if _ptrace(_SINGLE_STEP, pid, 0, signal) < 0:
            _waitpid(np.int32(pid), status_address, np.int32(0))
            return i, n_new, 0, ENDED
        signal = 0
        if _waitpid(np.int32(pid), status_address, np.int32(0)) < 0:
            return i + 1, n_new, 0, ENDED
        state = status[0]
        if state & 0xFF != 0x7F:
            return i + 1, n_new, 0, ENDED
        stopped_by = (state >> 8) & 0xFF
        if stopped_by != _TRAP:
            if stopped_by == last:
                return i + 1, n_new, stopped_by, SIGNALLED
            signal = stopped_by
        elif (state >> 16) & 0xFF == _EVENT_EXEC:
            return i + 1, n_new, 0, REPLACED
    return rows.shape[0], n_new, signal, STOPPED
