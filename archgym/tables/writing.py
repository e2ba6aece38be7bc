"""Writing the Parquet file of an exhaustive table."""

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from archgym.evaluation.simulator import FEASIBLE
from archgym.evaluation.specification import Declaration
from archgym.files.parquet import parameter_type, word_type
from archgym.spaces.parameter import Categorical, Factorisation, Parameter, Permutation
from archgym.tables.content import METADATA_KEY, NUMBER, TableColumns

if TYPE_CHECKING:
    import pyarrow as pa

# chosen: in memory at once, 40 MB for twenty metrics; and half of what is read at once, with many.
_GROUP_ROWS = 2**18
_GROUP_NUMBERS = 2**24
# chosen: dictionaries may be this large before a column's numbers are written one by one.
_DICTIONARY_BYTES = 16 * 2**20


@final
class TableWriter:
    """Writer of a table piece by piece, in the order of its designs."""

    def __init__(self, path: Path, declaration: Declaration) -> None:
        """Open the file, which is a table once it is closed."""
        import pyarrow.parquet as pq

        self._declaration = declaration
        self._columns = TableColumns(declaration)
        self._waiting: list[pa.Table] = []
        self._schema = _schema(declaration)
        names = self._schema.names
        self._group_rows = min(_GROUP_ROWS, max(1, _GROUP_NUMBERS // len(names)))
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            compression_level=9,
            use_dictionary=[name for name in names if name != NUMBER],
            column_encoding={NUMBER: "DELTA_BINARY_PACKED"},
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
            write_page_checksum=True,
            store_schema=False,
        )

    def add(self, numbers: np.ndarray, values: np.ndarray, reason: np.ndarray) -> None:
        """Take the next designs.

        Args:
          numbers: (n,), of the designs in the space.
          values: (n, w, n_metrics), NaN where a design was not built.
          reason: (n, w), as in `BatchResult`.
        """
        import pyarrow as pa

        space = self._declaration.space
        indices = space.unflat(numbers)
        arrays = [pa.array(numbers, pa.int64())]
        for place, parameter in enumerate(self._columns.parameters.values()):
            arrays.append(parameter_array(parameter, indices[:, place]))
        texts = pa.array(self._declaration.reasons[1:], pa.string())
        for place in range(len(self._declaration.workloads)):
            for metric in range(len(self._declaration.metrics)):
                column = values[:, place, metric]
                arrays.append(pa.array(column, pa.float64(), from_pandas=True))
            code = reason[:, place]
            words = pa.array(code.astype(np.int32) - 1, pa.int32(), mask=code == FEASIBLE)
            arrays.append(pa.DictionaryArray.from_arrays(words, texts))
        self._waiting.append(pa.Table.from_arrays(arrays, schema=self._schema))
        if sum(len(table) for table in self._waiting) >= self._group_rows:
            self._flush()

    def close(self, about: Mapping[str, Any]) -> None:
        """End the file with its `TableContent.metadata`."""
        self._flush()
        text = json.dumps(about, ensure_ascii=False, allow_nan=False)
        # Arrow's own copy of the schema, so that a copy by another writer keeps the metadata.
        schema = self._schema.with_metadata({METADATA_KEY: text}).serialize().to_pybytes()
        of_arrow = {b"ARROW:schema": base64.b64encode(schema)}
        self._writer.add_key_value_metadata({METADATA_KEY: text, **of_arrow})
        self._writer.close()

    def abandon(self) -> None:
        """Discard the unfinished file."""
        # Where the disk is full, that cannot be written either.
        with suppress(OSError):
            self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            whole = pa.concat_tables(self._waiting)
            self._writer.write_table(whole, row_group_size=2 * self._group_rows)
            self._waiting = []


def _schema(declaration: Declaration) -> "pa.Schema":
    import pyarrow as pa

    columns = TableColumns(declaration)
    fields = [pa.field(NUMBER, pa.int64(), False, {"doc": "Number of the design in its space"})]
    for name, parameter in columns.parameters.items():
        facts = {"role": "parameter", "unit": parameter.unit, "doc": parameter.doc}
        fields.append(pa.field(name, parameter_type(parameter), False, facts))
    for place, workload in enumerate(declaration.workloads):
        on = {"workload": workload.name}
        for spec, name in zip(declaration.metrics, columns.metrics(place), strict=True):
            facts = {"role": "metric", "unit": spec.unit, "doc": spec.doc, "goal": spec.goal}
            fields.append(pa.field(name, pa.float64(), True, facts | on))
        facts = {"role": "result", "doc": "Why the design cannot be built; null where it was"}
        fields.append(pa.field(columns.reason(place), word_type(), True, facts | on))
    return pa.schema(fields)


# A tuple takes ten microseconds to decode, and all parts of a table have the same.
@lru_cache(maxsize=2**16)
def _listed(parameter: Permutation | Factorisation, number: int) -> list[Any]:
    return list(parameter.value(number))


def parameter_array(parameter: Parameter, indices: np.ndarray) -> Any:
    """Return parameter's values at these indices, (n,), as the pyarrow array that a table holds."""
    import pyarrow as pa

    if isinstance(parameter, Categorical) and parameter.is_text:
        words = pa.array(parameter.choices, pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), words)
    if isinstance(parameter, Permutation | Factorisation):
        numbers, places = np.unique(indices, return_inverse=True)
        values = [_listed(parameter, number) for number in numbers.tolist()]
        return pa.array(values, parameter_type(parameter)).take(pa.array(places.reshape(-1)))
    return pa.array(parameter.array(indices), parameter_type(parameter))
