"""Addresses of functions in a running program, from the ELF files that it has mapped."""

import struct
from pathlib import Path
from typing import Final

from archgym.errors import InvalidArgumentError

_SYMBOLS, _DYNAMIC_SYMBOLS = 2, 11
_POSITION_INDEPENDENT: Final = 3
_MAGIC: Final = b"\x7fELF\x02"


def entry_address(pid: int) -> int:
    """Return where a program starts in memory, after the loader has mapped its libraries.

    Args:
      pid: A program that is stopped at its first instruction.

    Raises:
      InvalidArgumentError: It is not a 64-bit ELF program.
    """
    executable = Path(f"/proc/{pid}/exe").resolve()
    data = executable.read_bytes()[:64]
    if len(data) < 64 or not data.startswith(_MAGIC):
        raise InvalidArgumentError(f"{executable} must be a 64-bit ELF program.")
    (kind,) = struct.unpack_from("<H", data, 16)
    (entry,) = struct.unpack_from("<Q", data, 24)
    return int(entry) + (_bases(pid).get(executable, 0) if kind == _POSITION_INDEPENDENT else 0)


def function_address(pid: int, name: str) -> int:
    """Return where a function of a program, or of a library that it has mapped, starts in memory.

    Args:
      pid: A program that is stopped at its entry address.
      name: The function, as the compiler calls it.

    Raises:
      InvalidArgumentError: Neither the program nor a library has such a symbol.
    """
    executable = Path(f"/proc/{pid}/exe").resolve()
    bases = _bases(pid)
    for path in (executable, *(each for each in bases if each != executable)):
        try:
            value, kind = _symbol(path.read_bytes(), name)
        except (OSError, struct.error, IndexError):
            # Data are mapped, too, and files may be gone.
            continue
        if value:
            return value + (bases[path] if kind == _POSITION_INDEPENDENT else 0)
    raise InvalidArgumentError(
        f"{executable} must define the function {name!r}; neither the program nor a library that "
        "it loads does, or they are stripped."
    )


def _symbol(data: bytes, name: str) -> tuple[int, int]:
    """Return a symbol's value (0 if absent) and the type of the file."""
    if not data.startswith(_MAGIC):
        return 0, 0
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
            label, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", data, at)
            end = strings + label + len(wanted)
            # A symbol without section is defined elsewhere.
            if value and section and data[strings + label : end + 1] == wanted + b"\0":
                return value, kind
    return 0, kind


def _bases(pid: int) -> dict[Path, int]:
    """Return the first address of each file that a program has mapped."""
    bases: dict[Path, int] = {}
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        place, *_, path = line.split(maxsplit=5)
        if path.startswith("/"):
            bases.setdefault(Path(path), int(place.split("-")[0], 16))
    return bases
