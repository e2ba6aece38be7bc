"""Thrift's compact protocol, read from bytes of unknown origin in bounded time and memory.

Source: *Thrift Compact protocol encoding*, `thrift-compact-protocol.md` of Apache Thrift.
"""

from typing import Any, final

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
# chosen: Parquet's structs are nested six deep.
_MAX_DEPTH = 12
# chosen: a Parquet file of a thousand row groups of forty columns has a million. They take some
# 200 MB here, though a byte of a hostile footer may be a member.
_MAX_MEMBERS = 2**20


class ThriftError(ValueError):
    """The bytes are not what they should be."""


@final
class Struct:
    """Members by number, each of which may be absent or of any kind."""

    __slots__ = ("_members",)

    def __init__(self, members: dict[int, Any]) -> None:
        self._members = members

    def __contains__(self, number: int) -> bool:
        return number in self._members

    def whole(self, number: int, default: int | None = None) -> int:
        """Return a whole number."""
        value = self._members.get(number, default)
        if not isinstance(value, int):
            raise ThriftError(f"member {number} is not a number")
        return value

    def struct(self, number: int) -> "Struct":
        """Return a struct."""
        value = self._members.get(number)
        if not isinstance(value, Struct):
            raise ThriftError(f"member {number} is not a struct")
        return value

    def content(self, number: int) -> bytes:
        """Return bytes."""
        value = self._members.get(number)
        if not isinstance(value, bytes):
            raise ThriftError(f"member {number} is not a text")
        return value

    def structs(self, number: int) -> "list[Struct]":
        """Return a list of structs."""
        return [item for item in self._list(number, Struct) if isinstance(item, Struct)]

    def wholes(self, number: int) -> list[int]:
        """Return a list of whole numbers."""
        return [item for item in self._list(number, int) if isinstance(item, int)]

    def _list(self, number: int, kind: type) -> list[Any]:
        value = self._members.get(number)
        if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
            raise ThriftError(f"member {number} is not a list of its kind")
        return value


# One for all, since a hostile list of them takes a byte for each.
_EMPTY = Struct({})


@final
class Cursor:
    """Reader of bytes from a position."""

    def __init__(self, content: bytes) -> None:
        self.place = 0
        self._content = content
        self._left = _MAX_MEMBERS

    def struct(self, depth: int = 0) -> Struct:
        """Return the struct that begins here.

        Raises:
          ThriftError: The bytes end before a value.
        """
        if depth > _MAX_DEPTH:
            raise ThriftError("it is nested too deep")
        members: dict[int, Any] = {}
        number = 0
        while first := self._byte():
            kind, step = first & 15, first >> 4
            number = number + step if step else self._zigzag()
            self._count()
            # In a struct the type of a truth value is the value.
            is_truth = kind in (_TRUE, _FALSE)
            members[number] = int(kind == _TRUE) if is_truth else self._value(kind, depth)
        return Struct(members) if members else _EMPTY

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if kind in (_I16, _I32, _I64):
            return self._zigzag()
        if kind == _DOUBLE:
            return self._bytes(8)
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind in (_LIST, _SET):
            return self._list(depth + 1)
        if kind == _STRUCT:
            return self.struct(depth + 1)
        raise ThriftError("it holds what it cannot")

    def _list(self, depth: int) -> list[Any]:
        if depth > _MAX_DEPTH:
            raise ThriftError("it is nested too deep")
        first = self._byte()
        n, kind = first >> 4, first & 15
        if n == 15:
            n = self._varint()
        items = []
        for _ in range(n):
            self._count()
            items.append(self._value(kind, depth))
        return items

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ThriftError(f"it has more than {_MAX_MEMBERS} members")

    def _byte(self) -> int:
        if self.place >= len(self._content):
            raise ThriftError("it has no end")
        self.place += 1
        return self._content[self.place - 1]

    def _bytes(self, n: int) -> bytes:
        if n > len(self._content) - self.place:
            raise ThriftError("it has no end")
        self.place += n
        return self._content[self.place - n : self.place]

    def _varint(self) -> int:
        number = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise ThriftError("a number has no end")

    def _zigzag(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)
