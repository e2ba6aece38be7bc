"""Files that rows are written into as they come: Parquet, CSV, JSON lines."""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, final

from archgym.datasets.content import FileContent
from archgym.parquet import MAX_BATCH

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SUFFIXES", "ParquetSink", "Sink", "open_sink"]

SUFFIXES = (".parquet", ".csv", ".jsonl")


class Sink(ABC):
    """Takes rows, of any number at a time, into a file."""

    @abstractmethod
    def write(self, batch: "pa.RecordBatch") -> None:
        """Adds rows."""

    @abstractmethod
    def close(self) -> None:
        """Finishes the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_sink(suffix: str, path: Path, schema: "pa.Schema") -> Sink:
    """A new file of the kind that its suffix says.

    Args:
      suffix: One of `SUFFIXES`; the path itself may have another.
      path: The file.
      schema: Its columns.
    """
    kinds: dict[str, Any] = {".parquet": ParquetSink, ".csv": _CsvSink, ".jsonl": _JsonSink}
    made: Sink = kinds[suffix](path, schema)
    return made


@final
class ParquetSink(Sink):
    """Gathers rows into groups of a size that reads well."""

    def __init__(self, path: Path, schema: "pa.Schema") -> None:
        import pyarrow.parquet as pq

        # Texts that hardly repeat are written plainly; those of lists must be, see `ParquetFile`.
        repeating = [f.name for f in schema if f.name not in ("design", "error")]
        repeating = [name for name in repeating if not _is_list(schema.field(name))]
        self._writer: Any = pq.ParquetWriter(
            path, schema, compression="zstd", use_dictionary=repeating
        )
        self._waiting: list[pa.RecordBatch] = []
        self._n = 0
        self._path = path
        self._content = FileContent()

    def write(self, batch: "pa.RecordBatch") -> None:
        self._content.add(self._path, batch)
        self._waiting.append(batch)
        self._n += batch.num_rows
        if self._n >= MAX_BATCH:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            table = pa.Table.from_batches(self._waiting).unify_dictionaries().combine_chunks()
            self._writer.write_table(table, row_group_size=2 * MAX_BATCH)
        self._waiting, self._n = [], 0

    def close(self) -> None:
        self._flush()
        self._writer.add_key_value_metadata(self._content.metadata())
        self._writer.close()


@final
class _CsvSink(Sink):
    def __init__(self, path: Path, schema: "pa.Schema") -> None:
        import pyarrow as pa
        import pyarrow.csv as csv

        self._schema = pa.schema([pa.field(f.name, self._kind(f)) for f in schema])
        self._writer: Any = csv.CSVWriter(path, self._schema)

    @staticmethod
    def _kind(field: "pa.Field") -> "pa.DataType":
        import pyarrow as pa

        if _is_list(field) or pa.types.is_dictionary(field.type):
            return pa.string()
        return field.type

    def write(self, batch: "pa.RecordBatch") -> None:
        import pyarrow as pa

        arrays = []
        for column in batch.columns:
            if pa.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            elif pa.types.is_list(column.type):
                # What a person would write in a cell.
                texts = [None if v is None else " ".join(map(str, v)) for v in column.to_pylist()]
                column = pa.array(texts, pa.string())
            arrays.append(column)
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


@final
class _JsonSink(Sink):
    def __init__(self, path: Path, schema: "pa.Schema") -> None:
        self._handle = path.open("w", encoding="utf-8")

    def write(self, batch: "pa.RecordBatch") -> None:
        lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) for row in batch.to_pylist())
        self._handle.writelines(line + "\n" for line in lines)

    def close(self) -> None:
        self._handle.close()


def _is_list(field: "pa.Field") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(field.type))
