"""A dataset on disk, opened with its sizes, digests, columns and description checked."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from archgym.datasets.columns import METADATA_KEY, Columns, damaged
from archgym.datasets.integrity import (
    MANIFEST_NAME,
    file_digest,
    inner_digest,
    read_manifest,
    written_content,
)
from archgym.datasets.metadata import About
from archgym.errors import FileFormatError, InvalidArgumentError, StorageError
from archgym.files.parquet import ParquetFile, parquet_errors
from archgym.files.remote import local_copy
from archgym.files.storage import storage_errors

if TYPE_CHECKING:
    import pyarrow as pa

DATA_FOLDER = "data"
_SUFFIX = ".parquet"
# chosen: ours have three.
_MAX_FILES = 1000


@final
@dataclass(frozen=True)
class StoredDataset:
    """A dataset's files, whose rows can be read again and again."""

    path: Path
    about: About
    columns: Columns
    files: tuple[ParquetFile, ...]
    file_digests: tuple[str, ...]
    """SHA-256 of each file."""

    @property
    def n_rows(self) -> int:
        """Rows in all files."""
        return sum(file.n_rows for file in self.files)

    @property
    def digest(self) -> str:
        """SHA-256 of the digests of its data files, in the order of their names."""
        return hashlib.sha256("".join(self.file_digests).encode()).hexdigest()

    def batches(self, columns: Sequence[str] | None = None) -> "Iterator[pa.RecordBatch]":
        """Return rows of all files, some at a time; these columns, or all.

        Raises:
          FileFormatError: A file is damaged.
        """
        for file in self.files:
            yield from file.batches(columns)


def open_stored(path: str | Path) -> StoredDataset:
    """Open a dataset: a folder with `data/*.parquet`, or a single Parquet file; or a URL of one.

    Where the folder has a manifest, each data file must have the digest that stands there.

    Raises:
      FileFormatError: It is not a dataset, or is damaged. Nothing of it is executed, and the cost
        of the check is bounded.
      InvalidArgumentError: It is a table of another kind.
      StorageError: It cannot be read.
    """
    path = local_copy(path)
    with storage_errors(path, "read"):
        path.stat()
    if path.is_dir():
        digests = _folder_digests(path)
        names = [path / name for name in digests]
    else:
        if path.suffix in (".csv", ".jsonl"):
            raise InvalidArgumentError(
                f"A dataset must be Parquet to be read again; {path} is not. Build a folder or a "
                ".parquet file of the same studies."
            )
        names = [path]
        digests = {path.name: file_digest(path.resolve())}
    files = tuple(ParquetFile.open(name) for name in names)
    about, columns = _described(files)
    return StoredDataset(path, about, columns, files, tuple(digests.values()))


def _folder_digests(folder: Path) -> Mapping[str, str]:
    """Return digests of the data files by name, in order, each checked against the manifest."""
    listed = read_manifest(folder)
    data = folder / DATA_FOLDER
    if data.is_symlink() or not data.is_dir():
        raise damaged(folder, f"a dataset must have a folder {DATA_FOLDER!r}")
    with storage_errors(data, "read"):
        names = sorted(f"{DATA_FOLDER}/{p.name}" for p in data.iterdir() if p.suffix == _SUFFIX)
    if not 0 < len(names) <= _MAX_FILES:
        problem = f"a dataset must have 1 to {_MAX_FILES} {_SUFFIX} files in {DATA_FOLDER!r}"
        raise damaged(folder, f"{problem}; it has {len(names)}")
    digests = {}
    for name in names:
        digests[name] = inner_digest(folder, name)
        if listed is not None and listed.get(name) != digests[name]:
            problem = (
                "does not have the digest that stands in" if name in listed else "must stand in"
            )
            raise damaged(folder / name, f"{problem} {MANIFEST_NAME}")
    for name in listed or ():
        if name.startswith(f"{DATA_FOLDER}/") and name not in digests:
            raise StorageError(f"{folder / name} cannot be read: there is no such file.")
    return digests


def _described(files: Sequence[ParquetFile]) -> tuple[About, Columns]:
    first = files[0]
    content = (first.schema.metadata or {}).get(METADATA_KEY)
    if content is None:
        raise FileFormatError(
            first.path,
            None,
            "its metadata must say what the dataset is, and do not",
            "Build it with `archgym dataset build`; other programs leave that out",
        )
    about = About.from_json(first.path, content)
    with parquet_errors(first.path):
        columns = Columns(about.declarations, with_split=about.split is not None)
        wanted = columns.schema()
    for file in files:
        if (file.schema.metadata or {}).get(METADATA_KEY) != content:
            raise damaged(file.path, f"its metadata must be those of {first.path.name}")
        _check_columns(file, wanted)
        written_content(file)
    return about, columns


def _check_columns(file: ParquetFile, wanted: "pa.Schema") -> None:
    """Refuse columns of other names, types, units or meanings than the declarations have."""
    came = file.schema
    for place in range(max(len(came), len(wanted))):
        expected = _described_column(wanted, place)
        actual = _described_column(came, place)
        if expected != actual:
            raise damaged(
                file.path, f"its column {place + 1} must be {expected!r}; it is {actual[:200]!r}"
            )
        _check_facts(file, wanted.field(place), came.field(place).metadata or {})


def _described_column(schema: "pa.Schema", place: int) -> str:
    import pyarrow as pa

    if place >= len(schema):
        return "none"
    name, kind = schema.names[place], schema.types[place]
    if pa.types.is_dictionary(kind):
        return f"{name} {kind.value_type} with dictionary pages"
    return f"{name} {kind}"


def _check_facts(file: ParquetFile, wanted: "pa.Field", came: Mapping[bytes, bytes]) -> None:
    # What other columns mean is in this program's words, which may change.
    if wanted.metadata[b"role"] not in (b"parameter", b"metric"):
        return
    for fact, text in wanted.metadata.items():
        # What says nothing misleads nobody; `verify_dataset` reports it.
        if came.get(fact, text) != text:
            said, due = (repr(t.decode(errors="replace")[:80]) for t in (came[fact], text))
            raise damaged(
                file.path,
                f"the {fact.decode()} of its column {wanted.name!r} must be {due}, as its "
                f"declaration says; it is {said}",
            )
