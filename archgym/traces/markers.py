"""Marks that a program sets in its own run, between which its instructions are recorded.

A mark is a signal that a process sends itself and that has no effect by default, so a marked
program runs as usual where nobody records it. The same in C:

    #include <signal.h>
    #include <unistd.h>
    #define ARCHGYM_BEGIN() kill(getpid(), SIGURG)
    #define ARCHGYM_END() kill(getpid(), SIGWINCH)
"""

import os
import signal
from typing import Final

BEGIN_SIGNAL: Final = int(signal.SIGURG)
END_SIGNAL: Final = int(signal.SIGWINCH)


def begin() -> None:
    """Begin the part that `archgym trace record --instructions --marked` records."""
    os.kill(os.getpid(), BEGIN_SIGNAL)


def end() -> None:
    """End that part, and with it the recording."""
    os.kill(os.getpid(), END_SIGNAL)
