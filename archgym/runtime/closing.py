"""Objects that end with a call of `close`."""

from typing import Self


class Closing:
    """Base of objects with `close`, which a `with` block calls at its end.

    Example:
      >>> class Door(Closing):
      ...     def close(self):
      ...         print("closed")
      >>> with Door():
      ...     pass
      closed
    """

    def close(self) -> None:
        """Release what the object holds; calling it again does nothing."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
