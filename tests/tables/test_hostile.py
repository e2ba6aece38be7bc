"""Damaged and hostile tables: one line, and never another number."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archgym.errors import FileFormatError
from archgym.tables import TableSimulator
from tests.tables.making import N_DESIGNS, with_metadata


def read_all(path: Path) -> TableSimulator:
    """A table of which everything was read."""
    found = TableSimulator(path)
    _ = found.numbers
    for name in found.workload_names():
        found.results(name)
    return found


def test_copy_by_another_writer_is_the_same_table(built: Path, tmp_path: Path) -> None:
    copy = with_metadata(built, tmp_path / "copy.parquet")

    assert read_all(copy).digest == TableSimulator(built).digest


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"format": "archgym-evaluations"}, "must be a table"),
        ({"format_version": 2}, "format_version must be 1"),
        ({"declaration": {}}, "metadata cannot be read"),
        ({"columns": []}, "metadata cannot be read"),
        ({"rows": 7}, "digest does not match"),
        ({"rows": "many"}, "metadata cannot be read"),
        ({"rows": -1}, "digest does not match"),
        ({"digest": "0"}, "digest does not match"),
        ({"optima": [{}]}, "metadata cannot be read"),
    ],
)
def test_metadata_of_another_kind_is_refused(
    built: Path, tmp_path: Path, changes: dict[str, Any], match: str
) -> None:
    path = with_metadata(built, tmp_path / "table.parquet", **changes)

    with pytest.raises(FileFormatError, match=match):
        TableSimulator(path)


@pytest.mark.parametrize(
    ("column", "values"),
    [("design", "reversed"), ("latency_ns@light", "other"), ("reason@heavy", "other")],
)
def test_column_that_was_changed_is_refused(
    built: Path, tmp_path: Path, column: str, values: str
) -> None:
    content = pq.read_table(built)
    place = content.schema.names.index(column)
    changed = content.column(column).combine_chunks()
    changed = changed.take(np.arange(N_DESIGNS)[::-1].copy())
    path = tmp_path / "table.parquet"
    pq.write_table(content.set_column(place, content.schema.field(column), changed), path)

    with pytest.raises(FileFormatError, match="does not match its hash"):
        read_all(path)


def test_column_of_a_parameter_that_is_missing_is_refused(built: Path, tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(pq.read_table(built).drop_columns(["mode"]), path)

    with pytest.raises(FileFormatError, match="column `mode`, of a parameter, must be there once"):
        TableSimulator(path)


def mutants(contents: Sequence[bytes], n: int) -> Iterator[bytes]:
    """Copies with bits flipped, bytes left out or others put there, half of them in the footer."""
    rng = np.random.default_rng(0)
    for number in range(n):
        data = bytearray(contents[number % len(contents)])
        footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
        place = int(rng.integers(4, footer) if number % 4 < 2 else rng.integers(footer, len(data)))
        match number % 5:
            case 0 | 1:
                data[place] ^= 1 << int(rng.integers(8))
            case 2:
                del data[place : place + int(rng.integers(1, 64))]
            case 3:
                data[place : place + 16] = rng.bytes(len(data[place : place + 16]))
            case _:
                data[place] = int(rng.integers(256))
        yield bytes(data)


def test_damaged_file_is_refused_or_still_says_the_same(built: Path, tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    plain = tmp_path / "plain.parquet"
    content = pq.read_table(built)
    words = [name for name in content.schema.names if name != "design"]
    pq.write_table(content, plain, compression="none", use_dictionary=words)
    whole = read_all(built)
    messages = []
    for mutant in mutants([built.read_bytes(), plain.read_bytes()], 300):
        path.write_bytes(mutant)
        try:
            found = read_all(path)
        except FileFormatError as error:
            messages.append(str(error))
        else:
            assert found.digest == whole.digest
            assert found.optima == whole.optima
            assert np.array_equal(found.numbers, whole.numbers)

    assert len(messages) > 240
    assert not any("\n" in message for message in messages)


def test_reason_that_is_no_text_is_refused(built: Path, tmp_path: Path) -> None:
    content = pq.read_table(built)
    place = content.schema.get_field_index("reason@light")
    words = content.column(place).combine_chunks()
    mangled = pa.DictionaryArray.from_arrays(
        words.indices, pa.array([b"\xff\xfe"] * len(words.dictionary)).view(pa.string())
    )
    path = tmp_path / "table.parquet"
    field = content.schema.field(place)
    pq.write_table(content.set_column(place, field, mangled), path)

    with pytest.raises(FileFormatError, match="not a sound Parquet file"):
        read_all(path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 100, b"design,latency\n1,2\n"])
def test_what_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(content)

    with pytest.raises(
        FileFormatError, match=r"not a whole Parquet file|its footer must be at most"
    ):
        TableSimulator(path)


def test_other_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(path)

    with pytest.raises(FileFormatError, match="it has no such metadata"):
        TableSimulator(path)
