"""Calls from kernels to functions that were compiled later, by their address.

A kernel is compiled once, with calls at its decision points. A function for such a point is
compiled alone, in a second, and its address is a word of the kernel's state: 0 for none. So
kernels stay as fast as without decision points, and nobody waits for them to be compiled again.
"""

import ctypes
from collections.abc import Callable
from typing import Any, Final, cast

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

N_HOOK_ARGUMENTS: Final = 8
"""Whole numbers that a hook takes; a call fills up with zeros."""

_POINTERS: Final = [
    types.CPointer(kind)  # type: ignore[no-untyped-call]  # numba has no types
    for kind in (types.int64, types.float64)
]
HOOK_SIGNATURE: Final = types.float64(*[types.int64] * N_HOOK_ARGUMENTS, *_POINTERS)
"""Signature that `numba.cfunc` gives a hook, whose `address` then stands in the state."""


def _call_hook(
    typing_context: Any,
    address: Any,
    a: Any,
    b: Any,
    c: Any,
    d: Any,
    e: Any,
    f: Any,
    g: Any,
    h: Any,
    memory: Any,
    floats: Any,
) -> Any:
    """Return what the function at an address returns.

    Args:
      typing_context: Numba's.
      address: Address of the function.
      a, b, c, d, e, f, g, h: Its arguments.
      memory: Address of int64 words that it may change.
      floats: Address of float64 constants.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        words = [word] * (N_HOOK_ARGUMENTS + len(_POINTERS))
        kind = ir.FunctionType(ir.DoubleType(), words)
        return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])

    words = [types.int64] * (1 + N_HOOK_ARGUMENTS + len(_POINTERS))
    return types.float64(*words), generate


def _call_from_python(address: int, *words: int) -> float:
    """Call a compiled hook from a kernel that runs as Python, for debugging."""
    kind = ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_int64] * len(words))
    return float(kind(int(address))(*(int(word) for word in words)))


_IS_PYTHON: Final = bool(numba.config.DISABLE_JIT)  # type: ignore[attr-defined]  # set at run time
# What compiled code calls has other arguments than what says how to compile the call.
call_hook: Callable[..., float] = cast(
    Callable[..., float], _call_from_python if _IS_PYTHON else intrinsic(_call_hook)
)
"""Call the function at an address, with `N_HOOK_ARGUMENTS` numbers and two addresses."""


def _store_word(typing_context: Any, address: Any, value: Any) -> Any:
    """Store a word at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        builder.store(arguments[1], place)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def _store_from_python(address: int, value: int) -> None:
    ctypes.c_int64.from_address(int(address)).value = int(value)


store_word: Callable[[int, int], None] = cast(
    Callable[[int, int], None],
    _store_from_python if _IS_PYTHON else intrinsic(_store_word),
)
"""Store a word at an address; for faults that a kernel finds in what a hook returned."""
