"""Environment of this process as its parent gave it."""

import os
from pathlib import Path
from typing import Final

# PEP 538: without a locale, Python sets this variable to one of these before it runs any code.
_COERCED: Final = "LC_CTYPE"
_TARGETS: Final = ("C.UTF-8", "C.utf8", "UTF-8")


def given_environment() -> dict[str, str]:
    """Return the environment for programs of the user, without what Python itself added.

    A program that is started with the locale that Python set would behave differently from one
    that the user starts.
    """
    found = dict(os.environ)
    if found.get(_COERCED) in _TARGETS and not _was_given(_COERCED):
        del found[_COERCED]
    return found


def _was_given(name: str) -> bool:
    """Return True if the process was started with a variable, or if this is unknown."""
    try:
        block = Path("/proc/self/environ").read_bytes()
    except OSError:
        return True
    return any(entry.startswith(f"{name}=".encode()) for entry in block.split(b"\0"))
