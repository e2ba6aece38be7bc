"""The file of an exhaustive table, read column by column; nothing in it is trusted.

It is Parquet with one row a design: all canonical designs that keep the space's constraints, in
index order.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from archgym.errors import ArchGymError, FileFormatError
from archgym.evaluation.simulator import FEASIBLE
from archgym.evaluation.specification import Declaration
from archgym.files.parquet import ParquetFile, parquet_errors, read_metadata
from archgym.files.remote import local_copy
from archgym.files.storage import storage_errors
from archgym.tables.content import (
    FORMAT,
    FORMAT_VERSION,
    MAX_ROWS,
    METADATA_KEY,
    NUMBER,
    TableColumns,
    checksum,
    column_hash,
    table_digest,
)
from archgym.tables.optimum import Optimum

if TYPE_CHECKING:
    import pyarrow as pa

# chosen: designs that are judged at once.
_CHUNK = 2**18
# chosen: numbers that one workload of a table may hold in memory, 4 GB.
_MAX_NUMBERS = 2**29
# chosen: combinations that are counted in about a second, whatever a file says of its space.
_MAX_COUNTED = 2**23
_REMEDY = "Build it again with `archgym table build`, or get a fresh copy"


@final
class TableFile:
    """A table in a file.

    Opening reads the metadata and the sizes of columns. Every column is compared with its recorded
    hash as it is read.
    """

    def __init__(self, path: str | Path) -> None:
        """Open it.

        Raises:
          FileFormatError: It is not a table, or it is damaged.
          StorageError: It cannot be read.
        """
        self.path = Path(path)
        self._local = local_copy(path)
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
        kinds = self._kinds()
        self._file = ParquetFile.open(self._local, kinds)
        with storage_errors(self.path, "read"):
            self.size_bytes = self._local.stat().st_size
        kept = (self._file.schema.metadata or {}).get(METADATA_KEY)
        if kept != read_metadata(self._local).get(METADATA_KEY):
            raise self._refusal("its two copies of the metadata differ: one was changed")
        self._check_rows()
        self._check_kinds(kinds)

    def _about(self) -> dict[str, Any]:
        text = read_metadata(self._local).get(METADATA_KEY, b"")
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
        if about.get("format_version") != FORMAT_VERSION:
            raise self._refusal(f"its format_version must be {FORMAT_VERSION}")
        if about.get("checksum") != checksum(about):
            raise self._refusal("its metadata do not match their checksum: they were changed")
        return about

    def _kinds(self) -> dict[str, str]:
        """Return the type that each column must have."""
        kinds = {NUMBER: "int64"}
        for place in range(len(self.declaration.workloads)):
            kinds |= dict.fromkeys(self.columns.metrics(place), "double")
            kinds[self.columns.reason(place)] = "string"
        return kinds

    def _check_rows(self) -> None:
        """Check the number of rows before any of them is read."""
        space = self.declaration.space
        limit = min(MAX_ROWS, space.size)
        if not 1 <= self.rows <= limit or self._file.n_rows != self.rows:
            raise self._refusal(
                f"it states {self.rows} rows and has {self._file.n_rows}; both must agree, "
                f"from 1 to {limit:,}"
            )
        # Beyond, a design that is missing is found when it is looked up.
        if space.size <= _MAX_COUNTED and (n := space.count().value) != self.rows:
            raise self._refusal(
                f"it must have a row for each of the {n:,} designs of its space; it has "
                f"{self.rows:,}"
            )

    def _check_kinds(self, kinds: dict[str, str]) -> None:
        """Return kinds of columns, before any of them is read."""
        import pyarrow as pa

        schema = self._file.schema
        for name, kind in kinds.items():
            places = schema.get_all_field_indices(name)
            came = [schema.types[place] for place in places]
            came = [t.value_type if pa.types.is_dictionary(t) else t for t in came]
            if [str(t).removeprefix("large_") for t in came] != [kind]:
                raise self._refusal(f"column `{name}` must be there once, as {kind}")
        for name in self.columns.parameters:
            if schema.names.count(name) != 1:
                raise self._refusal(f"column `{name}`, of a parameter, must be there once")

    def numbers(self) -> np.ndarray:
        """Return the index of each design in its space, (rows,) int64, increasing.

        Raises:
          FileFormatError: They are damaged, or no canonical designs that keep the constraints.
        """
        numbers = np.empty(self.rows, dtype=np.int64)
        for start, piece in self._pieces([NUMBER]):
            numbers[start : start + len(piece)] = self._plain(piece.column(NUMBER))
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
        """Return metrics, (rows, n_metrics) float64, and reasons, (rows,) int16, on a workload.

        Args:
          place: Index of the workload in the declaration.

        Raises:
          FileFormatError: They are damaged, contradict each other, or do not fit into memory.
        """
        n_numbers = self.rows * len(self.declaration.metrics)
        if n_numbers > _MAX_NUMBERS:
            raise FileFormatError(
                self.path,
                None,
                f"it must have at most {_MAX_NUMBERS:,} metrics of a workload to be searched or "
                f"compared in memory; it has {n_numbers:,}",
                "Read it with pandas or DuckDB, or hold parameters of its space in a smaller one",
            )
        names, reason_name = self.columns.metrics(place), self.columns.reason(place)
        values = np.empty((self.rows, len(names)))
        reason = np.empty(self.rows, dtype=np.int16)
        for start, piece in self._pieces([*names, reason_name]):
            rows = slice(start, start + len(piece))
            for metric, name in enumerate(names):
                values[rows, metric] = self._plain(piece.column(name))
            reason[rows] = self._codes(piece.column(reason_name))
        for metric, name in enumerate(names):
            self._verify(name, values[:, metric], "f8")
        self._verify(reason_name, reason, "i2")
        is_built = reason == FEASIBLE
        if not np.isfinite(values[is_built]).all() or not np.isnan(values[~is_built]).all():
            raise self._refusal("a design must have finite metrics or a reason why it has none")
        return values, reason

    def metrics_of(self, numbers: Sequence[int]) -> np.ndarray:
        """Return metrics of some designs, (n, w, n_metrics), without the others in memory.

        Their columns are not compared with the recorded hashes.

        Args:
          numbers: Numbers of designs in the space.

        Raises:
          FileFormatError: One of them is missing.
        """
        n_workloads = len(self.declaration.workloads)
        names = [self.columns.metrics(place) for place in range(n_workloads)]
        found: dict[int, list[list[float]]] = {}
        for _, piece in self._pieces([NUMBER, *(name for of in names for name in of)]):
            known = self._plain(piece.column(NUMBER))
            for number in numbers:
                row = int(np.searchsorted(known, number))
                if row < len(known) and known[row] == number:
                    found[number] = [
                        [float(self._plain(piece.column(name)[row : row + 1])[0]) for name in of]
                        for of in names
                    ]
        if len(found) < len(set(numbers)):
            raise self._refusal("its optima must be among its designs")
        return np.array([found[number] for number in numbers])

    def parameter_pieces(self) -> "Iterator[tuple[int, pa.RecordBatch]]":
        """Yield columns of the parameters, which are not looked up here, some rows at a time.

        Raises:
          FileFormatError: They are damaged.
        """
        names = tuple(self.columns.parameters)
        file = ParquetFile.open(self._local, names)
        yield from self._pieces(names, file)

    def _pieces(
        self, columns: Sequence[str], file: ParquetFile | None = None
    ) -> "Iterator[tuple[int, pa.RecordBatch]]":
        """Yield rows of some columns in pieces, each with the number of its first row."""
        start = 0
        for piece in (file or self._file).batches(columns):
            if start + len(piece) > self.rows:
                raise self._refusal(f"it must have {self.rows} rows; it has more")
            yield start, piece
            start += len(piece)
        if start != self.rows:
            raise self._refusal(f"it must have {self.rows} rows; it has {start}")

    def _plain(self, column: "pa.Array") -> np.ndarray:
        import pyarrow as pa

        if pa.types.is_int64(column.type) and column.null_count:
            raise self._refusal("a design must have a number; one has none")
        return np.asarray(column.to_numpy(zero_copy_only=False))

    def _codes(self, column: "pa.Array") -> np.ndarray:
        """Return the index of each row's reason in the declaration, 0 for null."""
        import pyarrow as pa

        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        places = {text: code for code, text in reversed([*enumerate(self.declaration.reasons)])}
        with parquet_errors(self.path):
            words = column.dictionary.to_pylist()
        unknown = [word for word in words if places.get(word, 0) == 0]
        if unknown:
            raise self._refusal(f"{unknown[0]!r} is not a reason that its simulator gives")
        table = np.array([*(places[word] for word in words), 0], dtype=np.int16)
        # Null becomes the last place.
        codes: np.ndarray = table[
            column.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
        ]
        return codes

    def _verify(self, column: str, numbers: np.ndarray, kind: str) -> None:
        if column_hash(numbers, kind) != self._hashes[column]:
            raise self._refusal(f"column `{column}` does not match its hash: it was changed")

    def _refusal(self, problem: str) -> FileFormatError:
        return FileFormatError(self.path, None, problem, _REMEDY)


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
