"""Permissions that bind the tests also where root runs them."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

# linux/capability.h: version 3 of the interface, and the bits that let root pass over permissions.
_VERSION = 0x20080522
_OVERRIDE = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH

# version and thread (0: this one); two of (effective, permitted, inheritable)
_Header = ctypes.c_uint32 * 2
_Sets = ctypes.c_uint32 * 6


@contextmanager
def bound_by_permissions() -> Iterator[None]:
    """While open, this thread and those it starts may only write where permissions let them."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    before = _Sets()
    _require(libc.capget(_Header(_VERSION, 0), before))
    bound = _Sets(*before)
    bound[0] &= ~_OVERRIDE
    _require(libc.capset(_Header(_VERSION, 0), bound))
    try:
        yield
    finally:
        _require(libc.capset(_Header(_VERSION, 0), before))


def _require(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
