"""A Parquet file whose sizes are checked before its content is read, and types of its columns."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, final

import numpy as np

from archgym.errors import ArchGymError, FileFormatError, StorageError
from archgym.files.parquet.footer import Column, Footer, Page, parse_footer, read_pages
from archgym.files.parquet.thrift import ThriftError
from archgym.files.storage import open_file, storage_errors
from archgym.spaces.parameter import Categorical, Factorisation, Parameter, Permutation

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

MAX_BATCH = 2**16
"""Rows that are handled at a time; 40 columns of them take about 20 MB."""

_MAGIC = b"PAR1"
# chosen: the metadata of ten thousand studies take 20 MB.
_MAX_FOOTER = 64 * 2**20
_MAX_MEMBERS = 2**20
# chosen: other writers put a million rows into a group; ours put 65,536.
_MAX_GROUP_ROWS = 2**20
_MAX_GROUP_VALUES = 2**24
_MAX_GROUP_BYTES = 512 * 2**20
_REMEDY = "Restore it from a copy, or build it again"
# What Parquet calls the members of a list.
_ELEMENT = "element"
# chosen: as many values as tell whole numbers from others.
_MAX_LOOKED_AT = 2**16


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Turn errors of pyarrow on a damaged file into one line that names the file."""
    try:
        yield
    except ArchGymError:
        raise
    except OSError as error:
        if error.errno:
            raise StorageError(f"{path} cannot be read: {error.strerror or error}.") from error
        raise _refusal(path, error) from None
    # pyarrow's own errors are among these; a file with false sizes can lead to MemoryError.
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        NotImplementedError,
        OverflowError,
        MemoryError,
    ) as error:
        raise _refusal(path, error) from None


def _refusal(path: Path, error: Exception) -> FileFormatError:
    words = " ".join(str(error).split())[:200].removesuffix(".") or type(error).__name__
    return FileFormatError(path, None, f"this is not a sound Parquet file; {words}", _REMEDY)


def read_metadata(path: Path) -> Mapping[bytes, bytes]:
    """Return the metadata that a file's writer added, by key; nothing else of the file is read.

    Raises:
      FileFormatError: It is not a Parquet file, or is damaged.
      StorageError: It cannot be read.
    """
    with storage_errors(path, "read"), open_file(path) as handle:
        return _footer(path, handle).metadata


@final
@dataclass(frozen=True)
class ParquetFile:
    """A file with checked sizes; columns with repeating texts are read as dictionaries."""

    path: Path
    schema: "pa.Schema"
    n_rows: int
    _file: "pq.ParquetFile"

    @classmethod
    def open(cls, path: Path, columns: Collection[str] | None = None) -> "ParquetFile":
        """Read a file's footer and page headers, and check the cost of reading the rest.

        Args:
          path: The file.
          columns: Columns that will be read; None for all.

        Raises:
          FileFormatError: It is not a Parquet file, is damaged, or would take too much memory.
          StorageError: It cannot be read.
        """
        with storage_errors(path, "read"), open_file(path) as handle:
            texts = _judge(path, handle, columns)
        with parquet_errors(path):
            file = _open(path, texts)
            return cls(path, file.schema_arrow, file.metadata.num_rows, file)

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        """Metadata that the writer adds to the columns, including entries written last."""
        return self._file.metadata.metadata or {}

    def batches(self, columns: Sequence[str] | None = None) -> "Iterator[pa.RecordBatch]":
        """Return rows in their order, at most `MAX_BATCH` at a time; these columns, or all.

        Raises:
          FileFormatError: The rows are damaged.
        """
        with parquet_errors(self.path):
            names = None if columns is None else list(columns)
            for batch in self._file.iter_batches(MAX_BATCH, columns=names, use_threads=False):
                self._check_names(batch, names)
                # Texts that are not UTF-8 and indices outside a dictionary would end the process.
                batch.validate(full=True)
                yield batch

    def _check_names(self, batch: "pa.RecordBatch", names: Sequence[str] | None) -> None:
        """Refuse rows without a requested column, which pyarrow omits silently."""
        came = set(batch.schema.names)
        absent = [name for name in names or self.schema.names if name not in came]
        if absent:
            raise FileFormatError(
                self.path, None, f"column {absent[0]!r} must be there, and is not", _REMEDY
            )


def _open(path: Path, texts: Sequence[str]) -> "pq.ParquetFile":
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(
        pa.OSFile(str(path)),
        read_dictionary=list(texts),
        pre_buffer=False,
        page_checksum_verification=True,
        thrift_string_size_limit=_MAX_FOOTER,
        thrift_container_size_limit=_MAX_MEMBERS,
    )


def _judge(path: Path, handle: BinaryIO, wanted: Collection[str] | None) -> list[str]:
    """Refuse a file that would cost too much; paths of the columns with dictionaries of texts."""
    footer = _footer(path, handle)
    texts: set[str] = set()
    for group in footer.groups:
        if not 0 <= group.n_rows <= _MAX_GROUP_ROWS:
            raise _excess(path, "rows in a row group", _MAX_GROUP_ROWS, group.n_rows)
        n_bytes = 0
        for column in group.columns:
            if not _is_wanted(column, wanted):
                continue
            _check_place(path, column, handle.seek(0, 2))
            try:
                pages = read_pages(handle, column)
            except ThriftError as error:
                raise _refusal(path, error) from None
            n_bytes += sum(page.uncompressed_bytes for page in pages)
            if n_bytes > _MAX_GROUP_BYTES:
                raise _excess(path, "bytes in a row group", _MAX_GROUP_BYTES, n_bytes)
            _check_values(path, column, pages, group.n_rows)
            if column.is_text and any(page.is_dictionary for page in pages):
                texts.add(column.path)
    total = sum(group.n_rows for group in footer.groups)
    if total != footer.n_rows:
        problem = f"its {footer.n_rows} rows must be in row groups; {total} are"
        raise FileFormatError(path, None, problem, _REMEDY)
    return sorted(texts)


def _is_wanted(column: Column, wanted: Collection[str] | None) -> bool:
    # pyarrow takes a name as the prefix of a path, so it also reads `a.b` for `a`.
    names = column.path.split(".")
    return wanted is None or any(".".join(names[: n + 1]) in wanted for n in range(len(names)))


def _footer(path: Path, handle: BinaryIO) -> Footer:
    size = handle.seek(0, 2)
    handle.seek(0)
    begin = handle.read(4)
    handle.seek(max(size - 8, 0))
    end = handle.read(8)
    if size < 12 or begin != _MAGIC or end[4:] != _MAGIC:
        raise FileFormatError(path, None, "this is not a whole Parquet file", _REMEDY)
    length = int.from_bytes(end[:4], "little")
    if length > min(_MAX_FOOTER, size - 12):
        raise FileFormatError(
            path, None, f"its footer must be at most {_MAX_FOOTER} bytes; got {length}", _REMEDY
        )
    handle.seek(size - 8 - length)
    try:
        return parse_footer(handle.read(length))
    except ThriftError as error:
        raise _refusal(path, error) from None


def _check_place(path: Path, column: Column, size: int) -> None:
    if column.start < 4 or column.length < 0 or column.start + column.length > size:
        problem = f"column {column.path!r} lies outside the file"
        raise FileFormatError(path, None, problem, _REMEDY)


def _check_values(path: Path, column: Column, pages: Sequence[Page], n_rows: int) -> None:
    n_values = sum(page.n_values for page in pages if not page.is_dictionary)
    if n_values > _MAX_GROUP_VALUES:
        raise _excess(path, "values in a row group's column", _MAX_GROUP_VALUES, n_values)
    is_enough = n_values >= n_rows if column.is_repeated else n_values == n_rows
    if n_values != column.n_values or not is_enough:
        raise FileFormatError(
            path,
            None,
            f"column {column.path!r} must have a value for each of {n_rows} rows; it has "
            f"{n_values}",
            _REMEDY,
        )
    if column.is_repeated and column.is_text and any(page.is_dictionary for page in pages):
        raise FileFormatError(
            path, None, "lists of texts must be written without a dictionary", _REMEDY
        )


def _excess(path: Path, what: str, limit: int, came: int) -> FileFormatError:
    return FileFormatError(
        path, None, f"it must have at most {limit} {what}; got {came}", "Write smaller row groups"
    )


def word_type() -> "pa.DataType":
    """Return the type of columns whose texts repeat."""
    import pyarrow as pa

    return pa.dictionary(pa.int32(), pa.string())


def parameter_type(parameter: Parameter) -> "pa.DataType":
    """Return the type of a column of this parameter's values."""
    import pyarrow as pa

    if isinstance(parameter, Categorical) and parameter.is_text:
        return word_type()
    if isinstance(parameter, Permutation):
        return pa.list_(pa.field(_ELEMENT, pa.string()))
    if isinstance(parameter, Factorisation):
        return pa.list_(pa.field(_ELEMENT, pa.int64()))
    values = parameter.array(np.arange(min(parameter.size, _MAX_LOOKED_AT)))
    return pa.int64() if values.dtype.kind in "iu" else pa.float64()
