"""Rows written as a dataset's folder or as a single table, in bounded memory."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from archgym.datasets.card import (
    CARD_NAME,
    CROISSANT_NAME,
    DataFile,
    card_text,
    croissant_text,
    description,
)
from archgym.datasets.columns import METADATA_KEY, Columns
from archgym.datasets.from_studies import words
from archgym.datasets.metadata import About
from archgym.datasets.sources import (
    DatasetSource,
    LogSource,
    MergedSource,
    RowSource,
    StudySource,
)
from archgym.datasets.split import PARTS, Split
from archgym.datasets.stored import DATA_FOLDER, FileContent, file_digest, write_manifest
from archgym.datasets.summary import Tally
from archgym.errors import InvalidArgumentError
from archgym.files.parquet import MAX_BATCH
from archgym.files.remote import local_output, require_absent
from archgym.files.storage import (
    atomic_file,
    atomic_folder,
    make_folder,
    require_free,
    write_atomic,
)
from archgym.runtime.progress import StageProgress
from archgym.studies.snapshot import StudyLog

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SUFFIXES = (".parquet", ".csv", ".jsonl")


@final
class ParquetSink:
    """Collector of rows into groups of a size that reads well."""

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
class _CsvSink:
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
class _JsonSink:
    def __init__(self, path: Path, schema: "pa.Schema") -> None:
        self._handle = path.open("w", encoding="utf-8")

    def write(self, batch: "pa.RecordBatch") -> None:
        lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) for row in batch.to_pylist())
        self._handle.writelines(line + "\n" for line in lines)

    def close(self) -> None:
        self._handle.close()


Sink = ParquetSink | _CsvSink | _JsonSink
"""File that takes rows, any number at a time."""


def open_sink(suffix: str, path: Path, schema: "pa.Schema") -> Sink:
    """Return a new file of the kind that one of `SUFFIXES` says, whatever the path ends in."""
    kinds: dict[str, type[Sink]] = {".parquet": ParquetSink, ".csv": _CsvSink, ".jsonl": _JsonSink}
    return kinds[suffix](path, schema)


def _is_list(field: "pa.Field") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(field.type))


@final
@dataclass(frozen=True)
class Written:
    """Files that were written, and counts of their rows."""

    path: Path
    rows: int
    designs: int
    feasible: int
    duplicates: int
    parts: dict[str, int]
    """Rows by part."""
    shared: dict[str, int]
    """Designs of a part that are in the training part too."""
    statement: str | None = None
    """Guarantees of the parts."""
    notes: tuple[str, ...] = ()
    """Damage found in the sources of the rows."""


def write_dataset(
    source: RowSource,
    out: Path,
    split: Split | None = None,
    progress: StageProgress | None = None,
) -> Written:
    """Write a dataset: a folder, or a single table where `out` ends so.

    Args:
      out: A new folder; or a new file that ends in .parquet, .csv or .jsonl; or a URL of one.
      split: Rule that splits it into parts; a folder has a file for each, and all have a column.
      progress: Called with the progress, for each time that rows are gone through.

    Raises:
      InvalidArgumentError: There is something at `out`, it ends otherwise, or a part would be
        empty.
      StorageError: It cannot be written; nothing is left there.
    """
    if out.suffix and out.suffix not in SUFFIXES and not out.is_dir():
        raise InvalidArgumentError(
            f"A dataset must be written to a folder, or to a file that ends in "
            f"{', '.join(SUFFIXES)}; got {str(out)!r}."
        )
    require_absent(out)
    source.progress = progress
    rows = _Rows(source, split)
    with local_output(out) as local:
        _write(rows, local)
    return rows.written(out)


def _write(rows: "_Rows", out: Path) -> None:
    if out.suffix in SUFFIXES:
        make_folder(out.absolute().parent)
        with atomic_file(out) as scratch:
            with closing(open_sink(out.suffix, scratch, rows.schema)) as sink:
                for _, batch in rows:
                    sink.write(batch)
            rows.check_parts()
            require_free(out)
    else:
        with atomic_folder(out) as folder:
            _write_folder(rows, folder)


def _write_folder(rows: "_Rows", folder: Path) -> None:
    (folder / DATA_FOLDER).mkdir()
    names = {part: f"{DATA_FOLDER}/{part}-00000-of-00001.parquet" for part in rows.tally.parts}
    with ExitStack() as stack:
        sinks = {
            part: stack.enter_context(closing(ParquetSink(folder / name, rows.schema)))
            for part, name in names.items()
        }
        for part, batch in rows:
            sinks[part].write(batch)
    rows.check_parts()
    files = []
    for part, name in names.items():
        if rows.tally.parts[part].rows or len(names) == 1:
            path = folder / name
            size, n = path.stat().st_size, rows.tally.parts[part].rows
            files.append(DataFile(part, name, file_digest(path), size, n))
        else:
            (folder / name).unlink()
    about, schema, tally = rows.about, rows.schema, rows.tally
    card = card_text(about, schema, tally, files, rows.notes)
    write_atomic(folder / CARD_NAME, card)
    croissant = croissant_text(about, schema, files, description(about, tally))
    write_atomic(folder / CROISSANT_NAME, croissant)
    write_manifest(folder, [CARD_NAME, CROISSANT_NAME, *(file.name for file in files)])


@final
class _Rows:
    """Rows by part, as they are to be written, counted as they pass."""

    def __init__(self, source: RowSource, split: Split | None) -> None:
        self._source = source
        self._split = split
        self._assignment = None if split is None else split.prepare(source)
        said = None if self._assignment is None else self._assignment.to_json()
        self.about: About = source.about.with_split(said)
        columns = Columns(self.about.declarations, with_split=split is not None)
        metadata = json.dumps(self.about.to_json(), sort_keys=True).encode()
        self.schema: pa.Schema = columns.schema({METADATA_KEY: metadata})
        self.tally = Tally(PARTS[:1] if split is None else PARTS)
        self.notes: list[str] = []

    def __iter__(self) -> "Iterator[tuple[str, pa.RecordBatch]]":
        for batch in self._source.batches():
            for part, rows in self._parted(batch):
                self.tally.add(Path(self.about.name), part, rows)
                yield part, rows
        self.notes = self._source.notes()

    def _parted(self, batch: "pa.RecordBatch") -> "Iterator[tuple[str, pa.RecordBatch]]":
        import pyarrow as pa

        if self._assignment is None:
            yield PARTS[0], pa.record_batch(batch.columns, schema=self.schema)
            return
        places = self._assignment.parts(Path(self.about.name), self.about, batch)
        for place, part in enumerate(PARTS):
            mask = places == place
            if mask.any():
                rows = batch.filter(mask)
                column = words(np.zeros(rows.num_rows, dtype=np.int32), [part])
                yield part, pa.record_batch([*rows.columns, column], schema=self.schema)

    def check_parts(self) -> None:
        """Refuse parts that were asked for and are empty."""
        if self._split is None:
            return
        is_drawn = {"test": self._split.test, "validation": self._split.validation}
        if self._split.by != "design" and self._split.by != "random":
            # One of few names cannot always be given away.
            is_drawn = {"test": 1.0}
        empty = [part for part, share in is_drawn.items() if share and not self._size(part)]
        empty += [] if self._size("train") else ["train"]
        if empty:
            raise InvalidArgumentError(
                f"Each part must have rows; {' and '.join(empty)} would have none of "
                f"{self.tally.rows}. Choose larger fractions, another seed, or another way."
            )

    def _size(self, part: str) -> int:
        return self.tally.parts[part].rows

    def written(self, path: Path) -> Written:
        tally, split = self.tally, self.about.split
        others = [part for part in tally.parts if part != "train" and tally.parts[part].rows]
        return Written(
            path,
            tally.rows,
            tally.designs,
            tally.feasible,
            tally.duplicates,
            {part: counted.rows for part, counted in tally.parts.items()},
            {part: tally.shared("train", part) for part in others},
            None if split is None else str(split["statement"]),
            tuple(self.notes),
        )


# ---- datasets made from studies and from other datasets


def build_dataset(
    studies: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    name: str | None = None,
    license: str | None = None,
    split: Split | None = None,
    progress: StageProgress | None = None,
) -> Written:
    """Make a dataset of the evaluations of studies, one row for each design and workload.

    Studies may be by any agents and of any tasks of one simulator: other workloads, objectives,
    budgets, spaces, options, fidelities. They are not changed. One study at a time is in memory.

    Args:
      studies: A folder or several; merged ones are allowed.
      out: A new folder, which gets `data/*.parquet`, `README.md`, `croissant.json` and
        `SHA256SUMS`; or a new file that ends in .parquet, .csv or .jsonl, for the table alone.
      name: Name; None for the simulator's name and "-evaluations".
      license: Its SPDX identifier, such as "cc-by-4.0"; "unknown" if None.
      split: Rule that splits it into parts; None for no parts.
      progress: Called with the progress.

    Raises:
      InvalidArgumentError: The studies do not fit into one dataset, there is something at `out`, or
        it cannot be split so.
      FileFormatError: A folder is not a study.
      StorageError: A folder cannot be read or `out` not be written; nothing is left there.
    """
    folders = [studies] if isinstance(studies, str | Path) else list(studies)
    return write_dataset(StudySource(folders, name, license), Path(out), split, progress)


def split_dataset(
    dataset: str | Path, split: Split, out: str | Path, *, progress: StageProgress | None = None
) -> Written:
    """Make a dataset with the rows of another one, split into parts again.

    Args:
      dataset: Folder or file of `build_dataset`; it is not changed.
      out: As for `build_dataset`.
      progress: Called with the progress.

    Raises:
      InvalidArgumentError: There is something at `out`, or it cannot be split so.
      FileFormatError: `dataset` is not a dataset, or is damaged.
      StorageError: It cannot be read, or `out` not be written.
    """
    return write_dataset(DatasetSource(dataset), Path(out), split, progress)


def merge_datasets(
    datasets: Sequence[str | Path],
    out: str | Path,
    *,
    name: str | None = None,
    license: str | None = None,
    split: Split | None = None,
    progress: StageProgress | None = None,
) -> Written:
    """Make a dataset with the rows of several of one simulator, one after the other.

    Duplicates are marked over the whole; parts that they were split into are given up.

    Args:
      datasets: Folders or files of `build_dataset`; they are not changed.
      out: As for `build_dataset`; so are the others.
      name: The first one's if None.
      license: Theirs if None.
      split: Rule that splits it into parts; None for no parts.
      progress: Called with the progress.

    Raises:
      InvalidArgumentError: They do not fit into one, or two hold the same study.
      FileFormatError: One is not a dataset, or is damaged.
      StorageError: One cannot be read, or `out` not be written.
    """
    return write_dataset(MergedSource(datasets, name, license), Path(out), split, progress)


def to_table(logs: Sequence[StudyLog]) -> "pa.Table":
    """Return evaluations of studies in memory, as an Arrow table with the columns of a dataset.

    Raises:
      InvalidArgumentError: The studies do not fit into one table.
    """
    import pyarrow as pa

    source = LogSource(logs)
    return pa.Table.from_batches(source.batches(), source.columns.schema()).unify_dictionaries()


def to_frame(logs: Sequence[StudyLog]) -> "pd.DataFrame":
    """Return evaluations of studies in memory, as a pandas table; columns as in `to_table`."""
    frame: pd.DataFrame = to_table(logs).to_pandas()
    return frame
