"""Objects that hold a resource until they are closed."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

__all__ = ["Closing"]


class Closing(ABC):
    """Object that a `with` statement closes at its end.

    Example:
      >>> class Door(Closing):
      ...     is_open = True
      ...     def close(self) -> None:
      ...         self.is_open = False
      >>> with Door() as door:
      ...     pass
      >>> door.is_open
      False
    """

    @abstractmethod
    def close(self) -> None:
        """Release the resource; does nothing the second time."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
