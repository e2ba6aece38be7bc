"""What rules and the kernels that call them share: faults, arrays and addresses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import numpy.typing as npt

FAULTS: Final = (
    "",
    "an index lies outside its array or is not whole",
    "a value does not fit in the bits of its array",
    "a number is divided by zero",
    "a shift is below 0 or above 62",
    "a score is not a number",
    "a victim is no way of the set",
    "a block to prefetch does not exist",
)
"""Description of each fault by code."""
INDEX, BITS, DIVISION, SHIFT, SCORE, WAY, BLOCK = range(1, len(FAULTS))
# Python has no way to call what is compiled so, which halves the time to compile it.
INNER: Final[dict[str, Any]] = {
    "nogil": True,
    "error_model": "numpy",
    # No counting of references: nothing here allocates.
    "_nrt": False,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
"""Options of functions that only compiled code calls."""


@final
@dataclass(frozen=True)
class Storage:
    """Arrays that compiled hooks work on.

    Attributes:
      memory: (n,) int64: code and line of the first fault (0 for none), values of the domain,
        whole constants, entries of all arrays.
      floats: (n,) float64, constants that are not whole.
    """

    memory: npt.NDArray[Any]
    floats: npt.NDArray[Any]

    @property
    def fault(self) -> tuple[int, int]:
        """Code and line of the first fault."""
        return int(self.memory[0]), int(self.memory[1])


@final
@dataclass(frozen=True)
class EntryPoints:
    """Hooks that a kernel calls by their addresses; they are valid while this object is kept.

    Attributes:
      addresses: Address by name, 0 for a hook that the rule does not have.
    """

    addresses: Mapping[str, int]
    _functions: tuple[Any, ...]
