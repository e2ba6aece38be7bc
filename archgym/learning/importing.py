"""Imports of libraries that draw random numbers while they load."""

import importlib
import random
from typing import Any

__all__ = ["import_quietly"]


def import_quietly(name: str) -> Any:
    """The module with this name; Python's global random numbers are left as they were.

    scikit-learn's trees and SMAC draw some the first time that they are imported, which would
    make what others draw depend on who came first.
    """
    state = random.getstate()
    try:
        return importlib.import_module(name)
    finally:
        random.setstate(state)
