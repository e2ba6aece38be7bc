"""The command line: `archgym list | describe | evaluate | search | …`."""

import resource
from typing import Final

__all__ = ["main"]

# chosen: NumPy and Numba load in this; with less, OpenBLAS ends the process.
_LEAST_BYTES: Final = 500 * 2**20


def main() -> None:
    """Run the command in `sys.argv` and exit with its code."""
    _require_memory()
    try:
        from archgym.cli.console import signals
    except KeyboardInterrupt:
        # Without a traceback, as in all later code.
        raise SystemExit(130) from None
    try:
        signals.install()
        from archgym.cli.app import run

        run()
    except signals.Stopped as stopped:
        signals.end(stopped.number)
    except SystemExit as ended:
        if ended.code in (130, 143):
            signals.leave(ended.code)
        raise


def _require_memory() -> None:
    """Exit with one line where libraries would not load, most of them without saying why."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < _LEAST_BYTES:
        # A text is printed, and the exit code is 1.
        raise SystemExit(
            f"error: the address space must be at least {_LEAST_BYTES >> 20} MiB; it is limited to "
            f"{limit >> 20} MiB. Raise the limit (ulimit -v unlimited)."
        )
