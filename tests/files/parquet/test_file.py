"""Parquet files are judged before anything of them is read."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archgym.errors import FileFormatError
from archgym.files.parquet import ParquetFile, read_metadata


def written(path: Path, table: pa.Table, **options: object) -> Path:
    """A file with this table."""
    pq.write_table(table, path, **options)
    return path


def test_delta_encoding_is_taken_for_whole_numbers_alone(tmp_path: Path) -> None:
    options = {"use_dictionary": False, "column_encoding": {"x": "DELTA_BINARY_PACKED"}}
    numbers = written(tmp_path / "numbers.parquet", pa.table({"x": range(1000)}), **options)
    options["column_encoding"] = {"x": "DELTA_BYTE_ARRAY"}
    texts = written(tmp_path / "texts.parquet", pa.table({"x": ["a" * 1000] * 1000}), **options)

    batches = list(ParquetFile.open(numbers).batches())

    assert batches[0].column("x").to_pylist() == list(range(1000))
    with pytest.raises(FileFormatError, match="encoding that is not taken"):
        ParquetFile.open(texts)


def test_columns_that_are_not_read_may_cost_what_they_like(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archgym.files.parquet.file._MAX_GROUP_BYTES", 10_000)
    table = pa.table({"x": [1, 2], "y": ["a" * 100_000] * 2})
    path = written(tmp_path / "file.parquet", table)

    with pytest.raises(FileFormatError, match="at most 10000 bytes in a row group"):
        ParquetFile.open(path)

    file = ParquetFile.open(path, ["x"])
    assert next(file.batches(["x"])).column("x").to_pylist() == [1, 2]


def test_column_below_a_name_is_judged_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archgym.files.parquet.file._MAX_GROUP_BYTES", 10_000)
    table = pa.table({"x": [1, 2], "x.y": ["a" * 100_000] * 2})

    with pytest.raises(FileFormatError, match="at most 10000 bytes in a row group"):
        ParquetFile.open(written(tmp_path / "file.parquet", table), ["x"])


def test_metadata_are_those_of_the_writer(tmp_path: Path) -> None:
    table = pa.table({"x": [1]}).replace_schema_metadata({b"archgym": b"\xff{}"})

    assert read_metadata(written(tmp_path / "file.parquet", table))[b"archgym"] == b"\xff{}"


def test_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "file.parquet", pa.table({"x": [1, 2]}))

    with pytest.raises(FileFormatError, match="column 'y' must be there"):
        list(ParquetFile.open(path).batches(["x", "y"]))
