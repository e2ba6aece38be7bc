"""A dataset on disk, opened with its sizes, digests, columns and description checked."""

import hashlib
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, final

import msgspec
import numpy as np

from archgym.datasets.columns import (
    METADATA_KEY,
    Columns,
    coded,
    damaged,
    fold,
    scope_id,
    whole_numbers,
)
from archgym.datasets.metadata import About
from archgym.errors import FileFormatError, InvalidArgumentError, StorageError
from archgym.files.json_types import Whole, typed
from archgym.files.parquet import ParquetFile, parquet_errors
from archgym.files.remote import local_copy
from archgym.files.storage import storage_errors, write_atomic

if TYPE_CHECKING:
    import pyarrow as pa


@final
class Findings:
    """Differences by kind, with their number and the first of each."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[int, str]] = {}

    def add(self, kind: str, first: str, n: int = 1) -> None:
        """Take differences of one kind, of which the first is where or what `first` says."""
        if n:
            count, example = self._kinds.get(kind, (0, first))
            self._kinds[kind] = count + n, example.removesuffix(".")

    def report(self, kind: str, wrong: np.ndarray, where: str, first: int | None = None) -> None:
        """Count the rows of a batch that are wrong, and remember the first of them.

        Args:
          kind: Difference, as the beginning of a sentence.
          wrong: (n_rows,) bool, True for rows that differ.
          where: Name of the file.
          first: Number of the batch's first row in the dataset; None leaves row numbers out.
        """
        if wrong.any():
            row = "" if first is None else f"row {first + int(np.argmax(wrong))} "
            self.add(kind, f"{row}in {where}", int(wrong.sum()))

    def sentences(self) -> tuple[str, ...]:
        """Return one for each kind."""
        return tuple(
            f"{kind}: {n}, the first one {example}." for kind, (n, example) in self._kinds.items()
        )


CONTENT_KEY = b"archgym_rows"
"""Key of a file's metadata about its rows: their number, studies and order."""

# chosen: ten thousand studies take 0.5 MB.
_MAX_BYTES = 16 * 2**20


class _Content(msgspec.Struct):
    rows: Whole
    studies: dict[str, Whole]
    order: str


def evaluation_ids(path: Path, batch: "pa.RecordBatch") -> np.ndarray:
    """Return ids, (n,) uint64, of a row's study, workload and step: no two rows have the same."""
    codes, studies = coded(batch, "study_id")
    labels, workloads = coded(batch, "workload")
    of_study = np.array([*map(scope_id, studies), scope_id()], dtype=np.uint64)
    of_workload = np.array([*map(scope_id, workloads), scope_id()], dtype=np.uint64)
    step = whole_numbers(path, batch, "step").astype(np.uint64)
    return fold(fold(of_study[codes], of_workload[labels]), step)


@final
class FileContent:
    """Number of rows of a file, by study, and a digest of their ids, taken batch by batch."""

    def __init__(self) -> None:
        self.rows = 0
        self.studies: Counter[str] = Counter()
        self._order = hashlib.sha256()

    def add(self, path: Path, batch: "pa.RecordBatch") -> None:
        """Take the next rows."""
        self.rows += batch.num_rows
        codes, studies = coded(batch, "study_id")
        for code, n in zip(*np.unique(codes[codes >= 0], return_counts=True), strict=True):
            self.studies[studies[int(code)]] += int(n)
        self._order.update(evaluation_ids(path, batch).astype("<u8").tobytes())

    def to_json(self) -> dict[str, Any]:
        """Return the metadata as JSON."""
        return {"rows": self.rows, "studies": self.studies, "order": self._order.hexdigest()}

    def metadata(self) -> dict[bytes, bytes]:
        """Return the metadata of the file."""
        return {CONTENT_KEY: json.dumps(self.to_json(), sort_keys=True).encode()}

    def compare(self, said: dict[str, Any] | None, name: str, findings: Findings) -> None:
        """Report rows of a file that differ from those described by its metadata."""
        if said is None:
            findings.add("files that do not say which rows were written", name)
            return
        found = self.to_json()
        for study in sorted({*said["studies"], *self.studies}):
            due, n = said["studies"].get(study, 0), self.studies[study]
            if due != n:
                where = f"{study!r} in {name}: {n} of {due}"
                findings.add("studies with another number of rows than were written", where)
        if said["order"] != found["order"]:
            findings.add("files whose rows are not those that were written, in their order", name)


def written_content(file: "ParquetFile") -> dict[str, Any] | None:
    """Return a file's metadata about its rows; None if it has none.

    Raises:
      FileFormatError: They are something else, or another number of rows is there.
    """
    content = file.metadata.get(CONTENT_KEY)
    if content is None:
        return None
    try:
        if len(content) > _MAX_BYTES:
            raise ValueError(f"{len(content)} bytes are too many")
        said = typed(json.loads(content), _Content)
    except (ValueError, RecursionError) as error:
        problem = " ".join(str(error).split())[:200].removesuffix(".")
        raise damaged(file.path, f"its metadata must describe its rows; {problem}") from None
    if said.rows != file.n_rows:
        problem = f"it must have the {said.rows} rows that its metadata describe"
        raise damaged(file.path, f"{problem}; it has {file.n_rows}")
    return {"rows": said.rows, "studies": said.studies, "order": said.order}


MANIFEST_NAME = "SHA256SUMS"

_LINE = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<name>[^\\\0\n]+)")
# chosen: thousands of files; a dataset has ten.
_MAX_BYTES_of_manifest = 2**20
_BLOCK = 2**20
_REMEDY = "Restore it from a copy, or build the dataset again"


def write_manifest(folder: Path, names: Iterable[str]) -> None:
    """Write the digests of a folder's files; check them with ``sha256sum -c SHA256SUMS``.

    Raises:
      StorageError: A file cannot be read, or the manifest not be written.
    """
    lines = [f"{file_digest(folder / name)}  {name}\n" for name in sorted(names)]
    write_atomic(folder / MANIFEST_NAME, "".join(lines))


def read_manifest(folder: Path) -> Mapping[str, str] | None:
    """Return digests by file name, or None if there is no manifest; the files are not read.

    Raises:
      FileFormatError: A line is not a manifest's, or names a file outside the folder.
      StorageError: It cannot be read.
    """
    path = folder / MANIFEST_NAME
    if not os.path.lexists(path):
        return None
    with inner_file(folder, MANIFEST_NAME) as handle:
        content = handle.read(_MAX_BYTES_of_manifest + 1)
    if len(content) > _MAX_BYTES_of_manifest:
        raise damaged(path, f"it must have at most {_MAX_BYTES_of_manifest} bytes")
    digests: dict[str, str] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        match = _LINE.fullmatch(line)
        name = match["name"] if match else ""
        if match is None or not _is_inner(name) or name in digests:
            problem = (
                "each line must hold a SHA-256 in hexadecimal, two spaces, and the name of a file "
                f"in the folder, each once; got {line[:120]!r}"
            )
            raise FileFormatError(path, number, problem, _REMEDY)
        digests[name] = match["digest"]
    return digests


def _is_inner(name: str) -> bool:
    path = PurePosixPath(name)
    return str(path) == name and not path.is_absolute() and ".." not in path.parts


def inner_file(folder: Path, name: str) -> BinaryIO:
    """Open a file of a dataset's folder for reading: a real file in real folders, no link.

    Raises:
      FileFormatError: It is something else, or a link leads to it.
      StorageError: It cannot be read.
    """
    path = folder
    with storage_errors(folder / name, "read"):
        for part in PurePosixPath(name).parts:
            path = path / part
            if path.is_symlink():
                raise FileFormatError(
                    path, None, "a dataset's files must lie in it; this is a link"
                )
        # A pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileFormatError(path, None, "a dataset must consist of files; this is not a file")
        return os.fdopen(descriptor, "rb")


def file_digest(path: Path) -> str:
    """Return SHA-256 of a file's content, in hexadecimal.

    Raises:
      FileFormatError: It is not a file, or a link.
      StorageError: It cannot be read.
    """
    return inner_digest(path.parent, path.name)


def inner_digest(folder: Path, name: str) -> str:
    """Return SHA-256 of a file of a dataset's folder; errors as for `inner_file`."""
    digest = hashlib.sha256()
    with inner_file(folder, name) as handle, storage_errors(folder / name, "read"):
        while block := handle.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


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
