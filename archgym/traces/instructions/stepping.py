"""Compiled loop that single-steps a program: three system calls for each instruction."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from archgym.runtime.kernels import entry_point

__all__ = ["REGISTERS", "step"]

REGISTERS: Final = (
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx"),
    *("rsi", "rdi", "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base"),
    *("ds", "es", "fs", "gs"),
)
"""Words of a row, as Linux's `user_regs_struct` has them."""

_SINGLE_STEP: Final = 9
_GET_REGISTERS: Final = 12
_TRAP: Final = 5
_ptrace: Any = types.ExternalFunction(
    "ptrace", types.int64(types.int64, types.int64, types.int64, types.int64)
)
_waitpid: Any = types.ExternalFunction(
    "waitpid", types.int32(types.int32, types.int64, types.int32)
)


@entry_point(seconds=2.0)
def step(
    pid: int,
    rows: npt.NDArray[np.int64],
    rows_address: int,
    status: npt.NDArray[np.int32],
    status_address: int,
    signal: int,
) -> tuple[int, int, bool]:
    """Read the registers and step, again and again.

    Args:
      pid: A stopped program that this thread traces.
      rows: (n, 27), filled with the registers before each step.
      rows_address: Address of its first byte.
      status: (1,), for the kernel's use.
      status_address: Address of its first byte.
      signal: To deliver with the first step, 0 for none.

    Returns:
      Steps taken, the signal that came with the last one, and True if the program has ended.
    """
    size = rows.shape[1] * 8
    for i in range(rows.shape[0]):
        if _ptrace(_GET_REGISTERS, pid, 0, rows_address + size * i) < 0:
            return i, 0, True
        if _ptrace(_SINGLE_STEP, pid, 0, signal) < 0:
            return i, 0, True
        signal = 0
        if _waitpid(np.int32(pid), status_address, np.int32(0)) < 0:
            return i + 1, 0, True
        state = status[0]
        if state & 0xFF != 0x7F:
            return i + 1, 0, True
        stopped_by = (state >> 8) & 0xFF
        if stopped_by != _TRAP:
            signal = stopped_by
    return rows.shape[0], signal, False
