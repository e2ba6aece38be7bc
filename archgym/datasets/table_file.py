"""The file of an exhaustive table: one Parquet row a design, and what is proven of them all.

Rows are all canonical designs that keep the space's constraints, in index order. Its metadata hold
the simulator's declaration, a SHA-256 of each column's numbers, and the optima. The table's digest
is over those, not over the file's bytes, so that it says the same of a file that was written anew.
"""

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from archgym.datasets.optimum import Optimum
from archgym.declaration import Declaration
from archgym.errors import ArchGymError, FileFormatError
from archgym.parameter import Parameter
from archgym.simulator import FEASIBLE
from archgym.storage import storage_errors
from archgym.version import __version__

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = [
    "FORMAT",
    "MAX_ROWS",
    "METADATA_KEY",
    "NUMBER",
    "TableColumns",
    "TableContent",
    "TableFile",
    "checksum",
    "table_digest",
]

FORMAT = "archgym-table"
METADATA_KEY = b"archgym"
MAX_ROWS = 2**25
"""chosen: designs of a table that one machine simulates in days and holds in memory."""
_FORMAT_VERSION = 1
# chosen: designs that are judged at once.
_CHUNK = 2**18
# chosen: a declaration and a thousand optima with their fronts take less.
_MAX_METADATA = 64 * 2**20
# chosen: numbers that one workload of a table may hold in memory, 4 GB.
_MAX_NUMBERS = 2**29
# chosen: combinations that are counted in about a second, whatever a file says of its space.
_MAX_COUNTED = 2**23
NUMBER = "design"
"""The column of numbers of designs in their space."""
_REASON = "reason"
_REMEDY = "Build it again with `archgym table build`, or get a fresh copy"


@final
class TableColumns:
    """Names of a table's columns."""

    def __init__(self, declaration: Declaration) -> None:
        self._declaration = declaration
        self._is_single = len(declaration.workloads) == 1

    def metrics(self, place: int) -> tuple[str, ...]:
        """Columns of the metrics on the workload at `place`."""
        return tuple(self._named(spec.name, place) for spec in self._declaration.metrics)

    def reason(self, place: int) -> str:
        """Column that says why a design was not built on the workload at `place`."""
        return self._named(_REASON, place)

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """Parameters by column; one that is named like another column gets a prefix."""
        taken = {NUMBER}
        for place in range(len(self._declaration.workloads)):
            taken |= {self.reason(place), *self.metrics(place)}
        space = self._declaration.space
        return {f"design.{p.name}" if p.name in taken else p.name: p for p in space.parameters}

    def _named(self, name: str, place: int) -> str:
        return name if self._is_single else f"{name}@{self._declaration.workloads[place].name}"


# ---- hashing


def _hash(numbers: np.ndarray, kind: str, running: Any) -> None:
    """Takes the next numbers of a column into its hash, as little-endian `kind`."""
    plain = np.ascontiguousarray(numbers, dtype=np.dtype(kind).newbyteorder("<"))
    running.update(plain.tobytes())


@final
class TableContent:
    """What a table is, from its rows, whatever the pieces they come in."""

    def __init__(self, declaration: Declaration) -> None:
        self._declaration = declaration
        self._columns = TableColumns(declaration)
        self._hashes: dict[str, Any] = {}
        self._rows = 0

    def add(self, numbers: np.ndarray, values: np.ndarray, reason: np.ndarray) -> None:
        """Takes the next designs; arguments as for `TableWriter.append`."""
        self._rows += len(numbers)
        self._take(NUMBER, numbers, "i8")
        for place in range(len(self._declaration.workloads)):
            for metric, name in enumerate(self._columns.metrics(place)):
                self._take(name, _plain_nan(values[:, place, metric]), "f8")
            self._take(self._columns.reason(place), reason[:, place], "i2")

    def metadata(self, optima: Sequence[Optimum]) -> dict[str, Any]:
        """What the file says of itself."""
        columns = {name: running.hexdigest() for name, running in self._hashes.items()}
        about = {
            "format": FORMAT,
            "format_version": _FORMAT_VERSION,
            "archgym": __version__,
            "declaration": self._declaration.to_json(),
            "rows": self._rows,
            "columns": columns,
            "digest": table_digest(self._declaration, self._rows, columns),
            "optima": [optimum.to_json() for optimum in optima],
        }
        return about | {"checksum": checksum(about)}

    def _take(self, column: str, numbers: np.ndarray, kind: str) -> None:
        _hash(numbers, kind, self._hashes.setdefault(column, hashlib.sha256()))


def table_digest(declaration: Declaration, rows: int, columns: Mapping[str, str]) -> str:
    """SHA-256 of all that a table's numbers are, whatever order its workloads have."""
    names = TableColumns(declaration)
    by_workload = {
        workload.digest: [columns[name] for name in (*names.metrics(place), names.reason(place))]
        for place, workload in enumerate(declaration.workloads)
    }
    content = [declaration.identity(), rows, columns[NUMBER], by_workload]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def checksum(about: Mapping[str, Any]) -> str:
    """CRC32 of a table's metadata without their own."""
    rest = {name: part for name, part in about.items() if name != "checksum"}
    return f"{zlib.crc32(json.dumps(rest, sort_keys=True).encode()):08x}"


def _plain_nan(numbers: np.ndarray) -> np.ndarray:
    """The numbers with one and the same NaN, as a file gives it back."""
    plain: np.ndarray = np.where(np.isnan(numbers), np.nan, numbers)
    return plain


# ---- reading


@final
class TableFile:
    """A table in a file, read column by column; nothing in it is trusted.

    Opening reads the metadata alone. Every column is compared with its recorded hash as it is read.
    """

    def __init__(self, path: str | Path) -> None:
        """Opens it.

        Raises:
          FileFormatError: It is no table, or it is damaged.
          StorageError: It cannot be read.
        """
        self.path = Path(path)
        with storage_errors(self.path, "read"):
            self.size_bytes = self.path.stat().st_size
            self.path.open("rb").close()
        self._file = self._opened()
        about = self._about()
        try:
            self.declaration = Declaration.from_json(about["declaration"])
            self.columns = TableColumns(self.declaration)
            self.rows = int(about["rows"])
            self.digest = str(about["digest"])
            self._hashes = {str(name): str(hash_) for name, hash_ in about["columns"].items()}
            self.optima = tuple(
                Optimum.from_json(optimum, self.declaration) for optimum in about["optima"]
            )
            computed = table_digest(self.declaration, self.rows, self._hashes)
        except (ArchGymError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._refusal(f"its metadata cannot be read: {_line(error)}") from None
        if computed != self.digest:
            raise self._refusal("its digest does not match what it says of its columns")
        self._check_shape()

    def _opened(self) -> "pq.ParquetFile":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(
                self.path,
                memory_map=False,
                pre_buffer=False,
                page_checksum_verification=True,
                thrift_string_size_limit=_MAX_METADATA,
                thrift_container_size_limit=1_000_000,
            )
        except (pa.ArrowException, OSError, ValueError, TypeError, MemoryError) as error:
            raise self._refusal(f"must be a Parquet file; {_line(error)}") from None

    def _about(self) -> dict[str, Any]:
        text = (self._file.metadata.metadata or {}).get(METADATA_KEY, b"")
        try:
            about = json.loads(text)
        except (ValueError, RecursionError):
            about = None
        kind = about.get("format") if isinstance(about, dict) else None
        if kind != FORMAT:
            came = f"its format is {kind!r}" if isinstance(kind, str) else "it has no such metadata"
            raise FileFormatError(
                self.path,
                None,
                f"must be a table that `archgym table build` wrote; {came}",
                "Check the path",
            )
        assert isinstance(about, dict)
        if about.get("format_version") != _FORMAT_VERSION:
            raise self._refusal(f"its format_version must be {_FORMAT_VERSION}")
        if about.get("checksum") != checksum(about):
            raise self._refusal("its metadata do not match their checksum: they were changed")
        return about

    def _check_shape(self) -> None:
        """Numbers of rows, columns' kinds and sizes, before any of them is read."""
        found, space = self._file.metadata, self.declaration.space
        limit = min(MAX_ROWS, space.size)
        if not 1 <= self.rows <= limit or found.num_rows != self.rows:
            raise self._refusal(
                f"it must have 1 to {limit:,} rows, as many as it says; it says {self.rows} and "
                f"has {found.num_rows}"
            )
        if self.rows * len(self.declaration.metrics) > _MAX_NUMBERS:
            raise self._refusal(f"it must have at most {_MAX_NUMBERS} numbers a workload")
        # Beyond, a design that is missing is found when it is looked up.
        if space.size <= _MAX_COUNTED and (n := space.count().value) != self.rows:
            raise self._refusal(
                f"it must have a row for each of the {n:,} designs of its space; it has "
                f"{self.rows:,}"
            )
        kinds = {NUMBER: "INT64"}
        for place in range(len(self.declaration.workloads)):
            kinds |= dict.fromkeys(self.columns.metrics(place), "DOUBLE")
            kinds[self.columns.reason(place)] = "BYTE_ARRAY"
        groups = [found.row_group(number) for number in range(found.num_row_groups)]
        if any(group.num_rows < 0 for group in groups) or (
            sum(group.num_rows for group in groups) != self.rows
        ):
            raise self._refusal(f"its groups of rows must have {self.rows} rows in all")
        for group in groups:
            self._check_group(group, kinds)

    def _check_group(self, group: Any, kinds: Mapping[str, str]) -> None:
        seen = {}
        for number in range(group.num_columns):
            chunk = group.column(number)
            if chunk.path_in_schema not in kinds:
                continue
            seen[chunk.path_in_schema] = chunk.physical_type
            # A number takes 8 bytes and its place in a dictionary 4 more, and pages have heads.
            most = 16 * group.num_rows + _MAX_METADATA
            if not (
                0 <= chunk.num_values <= group.num_rows
                and 0 <= chunk.total_compressed_size <= self.size_bytes
                and 0 <= chunk.total_uncompressed_size <= most
            ):
                raise self._refusal(f"column `{chunk.path_in_schema}` is larger than it can be")
        if seen != dict(kinds):
            wrong = sorted(name for name, kind in kinds.items() if seen.get(name) != kind)
            raise self._refusal(f"column `{wrong[0]}` must be there once, as {kinds[wrong[0]]}")

    def numbers(self) -> np.ndarray:
        """Numbers of the designs in their space, (rows,) int64, increasing.

        Raises:
          FileFormatError: They are damaged, or no canonical designs that keep the constraints.
        """
        numbers = np.empty(self.rows, dtype=np.int64)
        for start, column in self._pieces([NUMBER]):
            numbers[start : start + len(column)] = self._plain(column[NUMBER])
        self._verify(NUMBER, numbers, "i8")
        space = self.declaration.space
        if numbers[0] < 0 or numbers[-1] >= space.size or (np.diff(numbers) <= 0).any():
            raise self._refusal("its designs must be numbers of the space in increasing order")
        for start in range(0, self.rows, _CHUNK):
            indices = space.unflat(numbers[start : start + _CHUNK])
            if not (space.is_canonical(indices) & space.feasible(indices)).all():
                raise self._refusal("its designs must be canonical and keep all constraints")
        return numbers

    def results(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Metrics, (rows, n_metrics) float64, and reasons, (rows,) int16, on a workload.

        Args:
          place: Of the workload in the declaration.

        Raises:
          FileFormatError: They are damaged, or contradict each other.
        """
        names, reason_name = self.columns.metrics(place), self.columns.reason(place)
        values = np.empty((self.rows, len(names)))
        reason = np.empty(self.rows, dtype=np.int16)
        for start, piece in self._pieces([*names, reason_name]):
            rows = slice(start, start + len(piece))
            for metric, name in enumerate(names):
                values[rows, metric] = self._plain(piece[name])
            reason[rows] = self._codes(piece[reason_name])
        for metric, name in enumerate(names):
            self._verify(name, _plain_nan(values[:, metric]), "f8")
        self._verify(reason_name, reason, "i2")
        is_built = reason == FEASIBLE
        if not np.isfinite(values[is_built]).all() or not np.isnan(values[~is_built]).all():
            raise self._refusal("a design must have finite metrics or a reason why it has none")
        return values, reason

    def _pieces(self, columns: Sequence[str]) -> "Iterator[tuple[int, pa.Table]]":
        """Row groups of some columns, each with the number of its first row."""
        import pyarrow as pa

        start = 0
        for group in range(self._file.num_row_groups):
            try:
                piece = self._file.read_row_group(group, columns=list(columns), use_threads=False)
            except (pa.ArrowException, OSError, ValueError, TypeError, MemoryError) as error:
                raise self._refusal(f"is damaged: {_line(error)}") from None
            if start + len(piece) > self.rows:
                raise self._refusal(f"it must have {self.rows} rows; it has more")
            yield start, piece
            start += len(piece)
        if start != self.rows:
            raise self._refusal(f"it must have {self.rows} rows; it has {start}")

    def _plain(self, column: "pa.ChunkedArray") -> np.ndarray:
        import pyarrow as pa

        kind = column.type
        fits = pa.types.is_float64(kind) or (pa.types.is_int64(kind) and not column.null_count)
        if not fits:
            raise self._refusal(f"a column must hold numbers; it holds {kind}")
        numbers: np.ndarray = column.to_numpy()
        return numbers

    def _codes(self, column: "pa.ChunkedArray") -> np.ndarray:
        """Places in the declaration's reasons, 0 for null."""
        import pyarrow as pa

        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        places = {text: code for code, text in reversed([*enumerate(self.declaration.reasons)])}
        codes = [np.empty(0, dtype=np.int16)]
        for chunk in column.chunks:
            words = chunk.dictionary.to_pylist()
            unknown = [word for word in words if places.get(word, 0) == 0]
            if unknown:
                raise self._refusal(f"{unknown[0]!r} is no reason that its simulator gives")
            table = np.array([*(places[word] for word in words), 0], dtype=np.int16)
            # Null becomes the last place.
            at = chunk.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
            codes.append(table[at])
        return np.concatenate(codes)

    def _verify(self, column: str, numbers: np.ndarray, kind: str) -> None:
        running = hashlib.sha256()
        _hash(numbers, kind, running)
        if running.hexdigest() != self._hashes[column]:
            raise self._refusal(f"column `{column}` does not match its hash: it was changed")

    def _refusal(self, problem: str) -> FileFormatError:
        return FileFormatError(self.path, None, problem, _REMEDY)


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
