"""Imports of libraries that draw random numbers while they load."""

import importlib
import random
import sys
from typing import Any

from archgym.errors import MissingExtraError


def import_library(name: str, extra: str | None = None) -> Any:
    """Import a module without changing Python's global random state.

    scikit-learn's trees draw some the first time that they are imported, which would make what
    others draw depend on who came first.

    Raises:
      MissingExtraError: It is not installed, and `extra` would bring it.
    """
    if name in sys.modules:
        return importlib.import_module(name)
    state = random.getstate()
    try:
        return importlib.import_module(name)
    except ImportError:
        if extra is None:
            raise
        raise MissingExtraError(name, extra) from None
    finally:
        random.setstate(state)
