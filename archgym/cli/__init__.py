"""The command line: `archgym list | describe | evaluate | search | …`."""

__all__ = ["main"]


def main() -> None:
    """Run the command in `sys.argv` and exit with its code."""
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
