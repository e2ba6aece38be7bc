"""Problems of a plan, which are collected so that a reader sees all of them at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from archgym.errors import FileFormatError

# chosen: a screen of a terminal.
_SHOWN = 20


@final
class Problems:
    """Errors of one file, in the order in which they are found."""

    def __init__(self, path: Path) -> None:
        """Begin without any."""
        self._path = path
        self._found: list[FileFormatError] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keep an error of the block instead of raising it."""
        try:
            yield
        except FileFormatError as error:
            self._found.append(error)

    def raise_any(self) -> None:
        """Raise the error that was found, or one that lists all of them, a line each.

        Raises:
          FileFormatError: There is one.
        """
        if not self._found:
            return
        unique = list({str(error): error for error in self._found}.values())
        if len(unique) == 1:
            raise unique[0]
        lines = "\n".join(f"  {error}" for error in unique[:_SHOWN])
        more = f"\n  and {len(unique) - _SHOWN} more" if len(unique) > _SHOWN else ""
        raise FileFormatError(
            self._path, None, f"has {len(unique)} errors:\n{lines}{more}".removesuffix(".")
        )
