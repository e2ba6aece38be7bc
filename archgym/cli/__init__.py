"""The command line: `archgym list | describe | evaluate | search | …`."""

__all__ = ["main"]


def main() -> None:
    """Run the command in `sys.argv` and exits with its code."""
    try:
        from archgym.cli.console import signals as stopping
    except KeyboardInterrupt:
        # From here on none is told with a traceback.
        raise SystemExit(130) from None
    try:
        stopping.install()
        from archgym.cli.app import run

        run()
    except stopping.Stopped as stopped:
        stopping.end(stopped.number)
    except SystemExit as ended:
        if ended.code in (130, 143):
            stopping.leave(ended.code)
        raise
