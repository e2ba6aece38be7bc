"""The command line: `archgym list | describe | evaluate | search | …`."""

__all__ = ["main"]


def main() -> None:
    """Runs the command in `sys.argv` and exits with its code."""
    from archgym.cli import stopping

    try:
        stopping.install()
        from archgym.cli.app import run

        run()
    except stopping.Stopped as stopped:
        stopping.end(stopped.number)
