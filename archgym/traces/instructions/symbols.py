"""Addresses of functions in a running program, from its ELF file."""

import struct
from pathlib import Path
from typing import Final

from archgym.errors import InvalidArgumentError

__all__ = ["function_address"]

_SYMBOLS, _DYNAMIC_SYMBOLS = 2, 11
_POSITION_INDEPENDENT: Final = 3


def function_address(pid: int, name: str) -> int:
    """Return where a function of a program starts in memory.

    Args:
      pid: A program that is stopped.
      name: The function, as the compiler calls it.

    Raises:
      InvalidArgumentError: The program has no such symbol.
    """
    executable = Path(f"/proc/{pid}/exe").resolve()
    data = executable.read_bytes()
    try:
        value, kind = _symbol(data, name)
    except (struct.error, IndexError):
        raise InvalidArgumentError(f"{executable} must be a 64-bit ELF program.") from None
    if value == 0:
        raise InvalidArgumentError(
            f"{executable} must define the function {name!r}; it does not, or it is stripped."
        )
    return value + (_base(pid, executable) if kind == _POSITION_INDEPENDENT else 0)


def _symbol(data: bytes, name: str) -> tuple[int, int]:
    """Return a symbol's value (0 if absent) and the type of the file."""
    (kind,) = struct.unpack_from("<H", data, 16)
    (sections,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, sections + size * i) for i in range(count)]
    wanted = name.encode()
    for header in headers:
        if header[1] not in (_SYMBOLS, _DYNAMIC_SYMBOLS):
            continue
        strings = headers[header[6]][4]
        for at in range(header[4], header[4] + header[5], 24):
            label, _, _, _, value, _ = struct.unpack_from("<IBBHQQ", data, at)
            end = strings + label + len(wanted)
            if value and data[strings + label : end + 1] == wanted + b"\0":
                return value, kind
    return 0, kind


def _base(pid: int, executable: Path) -> int:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if line.endswith(str(executable)):
            return int(line.split("-")[0], 16)
    return 0
