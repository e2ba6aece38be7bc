"""The command line: `archgym list | describe | evaluate | search | …`."""

__all__ = ["main"]


def main() -> None:
    """Runs the command in `sys.argv` and exits with its code."""
    from archgym.cli.app import run

    run()
