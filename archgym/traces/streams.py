"""Plain, gzip and xz files as bytes, piece by piece: a small file that unpacks to much stops."""

import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, final

from archgym.errors import FileFormatError
from archgym.files.storage import atomic_file, open_file, storage_errors

_PIECE_BYTES = 2**20
# chosen: xz at its best level, -9, needs 65 MB to unpack; no more is given.
_XZ_MEMORY_BYTES = 2**27
_MAX_LINE_BYTES = 4096
# chosen: they are passed over in a second; a small packed file may hold a hundred million.
_MAX_IDLE_LINES = 1_000_000
# chosen: files that were joined and the blocks of bgzip hold more; a stream copies what follows it.
_SMALL_BYTES, _MAX_SMALL = 2**12, 1000
_GZIP_MAGIC, _XZ_MAGIC = b"\x1f\x8b", b"\xfd7zXZ\x00"
_REMEDY = "Copy the file again, or cut it"


def pieces(path: str | Path, max_bytes: int) -> Iterator[bytes]:
    """Yield the content of a file, unpacked where its first bytes say gzip or xz.

    Args:
      max_bytes: Most bytes of content.

    Raises:
      FileFormatError: The packed data is damaged, or there is more content.
      StorageError: It cannot be read.
    """
    path = Path(path)
    total = 0
    try:
        with storage_errors(path, "read"), open_file(path) as handle:
            for piece in _unpacked(handle):
                total += len(piece)
                if total > max_bytes:
                    problem = f"a trace must unpack to at most {max_bytes} bytes"
                    raise FileFormatError(path, None, problem, _REMEDY)
                yield piece
    except (zlib.error, lzma.LZMAError, EOFError) as error:
        problem = f"the packed data is torn or damaged ({error})"
        raise FileFormatError(path, None, problem, _REMEDY) from None


def require_content(path: str | Path, number: int, n_taken: int, what: str) -> None:
    """Refuse a text most of whose lines hold nothing, before all of them are passed over.

    Args:
      n_taken: Number of them that held something.
      what: Name of such a thing, such as ``an access``.

    Raises:
      FileFormatError: More than a million held nothing.
    """
    if number - n_taken > _MAX_IDLE_LINES:
        raise FileFormatError(
            path,
            number,
            f"a trace must have at most {_MAX_IDLE_LINES:,} lines without {what}; this one "
            "has more",
            "Leave out empty lines and comments",
        )


def text_lines(path: str | Path, max_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield lines of a text file with their numbers, without their ends; errors as for `pieces`."""
    number = 0
    rest = b""
    for piece in pieces(path, max_bytes):
        lines = (rest + piece).split(b"\n")
        rest = lines.pop()
        for line in lines:
            number += 1
            if len(line) > _MAX_LINE_BYTES:
                break
            yield number, line
        else:
            if len(rest) <= _MAX_LINE_BYTES:
                continue
            number += 1
        raise FileFormatError(
            path,
            number,
            f"a line must have at most {_MAX_LINE_BYTES} bytes, and this one has more",
            "This is not a trace in text, or it is compressed in a way other than gzip or xz",
        )
    if rest:
        yield number + 1, rest


@contextmanager
def writer(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file that appears whole or not at all; compressed if its name ends in .gz or .xz.

    Raises:
      StorageError: It cannot be written.
    """
    path = Path(path)
    with (
        atomic_file(path) as scratch,
        storage_errors(path, "written"),
        scratch.open("wb") as handle,
        _packer(path.suffix, handle) as packed,
    ):
        yield packed


def _packer(ending: str, handle: IO[bytes]) -> AbstractContextManager[Any]:
    if ending == ".gz":
        # No time in the header: the same trace is the same file.
        return gzip.GzipFile("", "wb", fileobj=handle, mtime=0)
    if ending == ".xz":
        return lzma.open(handle, "wb", preset=1)
    return nullcontext(handle)


def _unpacked(handle: IO[bytes]) -> Iterator[bytes]:
    start = handle.read(len(_XZ_MAGIC))
    handle.seek(0)
    if start.startswith(_GZIP_MAGIC):
        make: Any = _Gzip
    elif start == _XZ_MAGIC:
        make = _Xz
    else:
        while piece := handle.read(_PIECE_BYTES):
            yield piece
        return
    unpacker, rest = make(), b""
    n_small = 0
    n_bytes = 0
    while True:
        if unpacker.is_done:
            n_small += n_bytes < _SMALL_BYTES
            n_bytes = 0
            if n_small > _MAX_SMALL:
                raise EOFError(f"it holds more than {_MAX_SMALL} packed streams of next to nothing")
            rest = unpacker.unused or handle.read(_PIECE_BYTES)
            # Padding of zeros may follow, and further streams.
            rest = rest.lstrip(b"\0")
            if not rest:
                return
            unpacker = make()
        elif unpacker.needs_input and not rest:
            rest = handle.read(_PIECE_BYTES)
            if not rest:
                raise EOFError("it ends early")
        piece, rest = unpacker.unpack(rest), b""
        n_bytes += len(piece)
        if piece:
            yield piece


@final
class _Gzip:
    def __init__(self) -> None:
        self._unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def is_done(self) -> bool:
        return self._unpacker.eof

    @property
    def needs_input(self) -> bool:
        return not self._unpacker.unconsumed_tail

    @property
    def unused(self) -> bytes:
        return self._unpacker.unused_data

    def unpack(self, data: bytes) -> bytes:
        return self._unpacker.decompress(self._unpacker.unconsumed_tail + data, _PIECE_BYTES)


@final
class _Xz:
    def __init__(self) -> None:
        self._unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)

    @property
    def is_done(self) -> bool:
        return self._unpacker.eof

    @property
    def needs_input(self) -> bool:
        return self._unpacker.needs_input

    @property
    def unused(self) -> bytes:
        return self._unpacker.unused_data

    def unpack(self, data: bytes) -> bytes:
        return self._unpacker.decompress(data, _PIECE_BYTES)
