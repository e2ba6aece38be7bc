"""Integrity of dataset files: metadata about the rows that were written into each file."""

import hashlib
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, final

import msgspec
import numpy as np

from archgym.datasets.columns import coded, damaged, whole_numbers
from archgym.datasets.ids import fold, scope_id
from archgym.errors import FileFormatError
from archgym.files.json_types import Whole, typed
from archgym.files.storage import storage_errors, write_atomic

if TYPE_CHECKING:
    import pyarrow as pa

    from archgym.files.parquet import ParquetFile


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
    """Rows of one file, counted as they pass: by study, and their ids in their order."""

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
