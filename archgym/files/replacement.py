"""Files that a command may replace: those that ArchGym wrote, and any if the user says so."""

import os
from pathlib import Path

from archgym.errors import InvalidArgumentError
from archgym.files.storage import open_file, storage_errors

MARK = "Written by ArchGym"
"""Text in pages and figures of ArchGym, by which a later run knows that it may replace them."""
# chosen: PNG, SVG and HTML have the mark near the start, PDF near the end.
_PART_BYTES = 64 * 2**10


def require_replaceable(
    option: str, path: Path, *, is_forced: bool = False, mark: str = MARK, force: str = ""
) -> None:
    """Refuse an existing file that ArchGym did not write, before the work that it is to hold.

    Args:
      option: Option that names the file, for the message.
      path: The file, which may be absent.
      is_forced: True if any file may be replaced.
      mark: Text that files of this kind by ArchGym contain.
      force: Option that makes `is_forced` true, for the message.

    Raises:
      InvalidArgumentError: The file exists and has no mark.
      StorageError: It cannot be read.
    """
    if is_forced or not os.path.lexists(path) or path.is_dir() or _has_mark(path, mark.encode()):
        return
    remedy = (
        f"Choose another name, or add {force} to replace it" if force else "Choose another name"
    )
    raise InvalidArgumentError(
        f"`{option}` must not replace a file that ArchGym did not write; {path} exists. {remedy}."
    )


def _has_mark(path: Path, mark: bytes) -> bool:
    with storage_errors(path, "read"), open_file(path) as handle:
        if mark in handle.read(_PART_BYTES):
            return True
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, size - _PART_BYTES))
        return mark in handle.read(_PART_BYTES)


def figure_metadata(path: Path) -> dict[str, str | None]:
    """Return Matplotlib's metadata of a figure: the mark, and no date, for reproducible bytes.

    Args:
      path: File of the figure; its extension is the format.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind == "svg":
        return {"Creator": MARK, "Date": None}
    if kind == "pdf":
        return {"Creator": MARK, "CreationDate": None}
    return {"Software": MARK} if kind == "png" else {}
