"""Branches of runs that have stopped: copies of what a run writes to, in memory used again."""

from collections.abc import Sequence
from copy import copy
from typing import Any, TypeVar, cast

import numpy as np

T = TypeVar("T")


def branch_of(run: T, into: T | None, written: Sequence[str]) -> T:
    """Return a run that continues alike and is independent.

    Args:
      run: A run that has stopped, or a named tuple of its arrays.
      into: Earlier branch of the same run that is used again; None for a new one.
      written: Attributes that a run writes to: arrays, objects with `copy`, or tuples of these.
        Others are shared.
    """
    own = {name: copied(getattr(run, name), into and getattr(into, name)) for name in written}
    if isinstance(run, tuple):
        return cast(T, cast(Any, run)._replace(**own))
    other = copy(run) if into is None else into
    vars(other).update(vars(run) | own)
    return other


def copied(value: Any, into: Any = None) -> Any:
    """Return a copy, in the memory of an earlier one if that is given."""
    if isinstance(value, np.ndarray):
        if into is None:
            into = np.empty_like(value)
        # As bytes, since NumPy copies records field by field, 16 times as slowly.
        np.copyto(_as_bytes(into), _as_bytes(value))
        return into
    if hasattr(value, "copy"):
        return value.copy(into)
    if not isinstance(value, tuple):
        return value
    parts = map(copied, value, into or (None,) * len(value))
    return value._make(parts) if hasattr(value, "_make") else tuple(parts)


def _as_bytes(array: np.ndarray) -> np.ndarray:
    return array.view(np.uint8) if array.dtype.fields else array
