"""Columns of a dataset decoded: index vectors, ids and numbers, or one line on what is wrong."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from archgym.datasets.columns import Columns, is_listed
from archgym.errors import ArchGymError, FileFormatError
from archgym.parameter import Parameter
from archgym.space import DesignSpace

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["coded", "decoded_ids", "decoded_indices", "numbers", "whole_numbers"]

_REMEDY = "Restore it from a copy, or build the dataset again"


def coded(batch: "pa.RecordBatch", name: str) -> tuple[np.ndarray, list[str]]:
    """A column of repeating texts: each row's place in the list, (n,) int64, -1 for null."""
    column = batch.column(name)
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    texts: list[Any] = column.dictionary.to_pylist()
    # A dictionary may hold null, and a text twice.
    first: dict[str, int] = {}
    places = [-1 if text is None else first.setdefault(text, len(first)) for text in texts]
    return np.array([*places, -1], dtype=np.int64)[codes], list(first)


def numbers(batch: "pa.RecordBatch", name: str) -> np.ndarray:
    """A column of numbers, (n,) float64, NaN for null."""
    values: np.ndarray = batch.column(name).to_numpy(zero_copy_only=False)
    return values.astype(np.float64)


def whole_numbers(path: Path, batch: "pa.RecordBatch", name: str) -> np.ndarray:
    """A column of whole numbers or truth values without nulls, (n,).

    Raises:
      FileFormatError: It has nulls.
    """
    column = batch.column(name)
    if column.null_count:
        raise FileFormatError(path, None, f"column `{name}` must have no nulls; it has", _REMEDY)
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    return values


def decoded_ids(path: Path, batch: "pa.RecordBatch", name: str = "design") -> np.ndarray:
    """Ids, (n,) uint64, from their hexadecimal digits.

    Raises:
      FileFormatError: They are something else.
    """
    import pyarrow.compute as pc

    column = batch.column(name)
    lengths = pc.binary_length(column)
    is_sound = column.null_count == 0 and bool(
        pc.all(pc.equal(lengths, 16)).as_py() in (True, None)
    )
    try:
        digits = bytes.fromhex("".join(column.to_pylist())) if is_sound else b""
    except ValueError:
        digits = b""
    if len(digits) != 8 * len(column):
        raise FileFormatError(
            path, None, f"column `{name}` must hold 16 hexadecimal digits a row", _REMEDY
        )
    return np.frombuffer(digits, dtype=">u8").astype(np.uint64)


def decoded_indices(
    path: Path, batch: "pa.RecordBatch", space: DesignSpace, columns: Columns
) -> np.ndarray:
    """Index vectors, (n, n_parameters), of rows of one space.

    Raises:
      FileFormatError: A value is not in the space, or a design not in its canonical form.
    """
    indices = np.empty((batch.num_rows, space.n_parameters), dtype=np.int64)
    for place, parameter in enumerate(space.parameters):
        name = columns.of_parameter[parameter.name]
        try:
            indices[:, place] = _indices(parameter, batch.column(name))
        except (ArchGymError, TypeError, ValueError) as error:
            problem = " ".join(str(error).split()).removesuffix(".")[:300]
            raise FileFormatError(path, None, f"column `{name}`: {problem}", _REMEDY) from None
    if not space.is_canonical(indices).all():
        raise FileFormatError(
            path, None, "designs must stand in their canonical form; one does not", _REMEDY
        )
    return indices


def _indices(parameter: Parameter, column: "pa.Array") -> np.ndarray:
    import pyarrow as pa

    if column.null_count:
        raise ValueError("a row of this space must give every parameter; one is null")
    if pa.types.is_dictionary(column.type):
        # Only texts that occur count: a dictionary is shared by rows of several spaces.
        codes = column.indices.to_numpy(zero_copy_only=False)
        distinct, place = np.unique(codes, return_inverse=True)
        found = [parameter.index(column.dictionary[int(code)].as_py()) for code in distinct]
        return np.array(found, dtype=np.int64)[place]
    if is_listed(parameter):
        known: dict[tuple[Any, ...], int] = {}
        for value in column.to_pylist():
            key = tuple(value)
            if key not in known:
                known[key] = parameter.index(key)
        return np.array([known[tuple(value)] for value in column.to_pylist()], dtype=np.int64)
    values = column.to_numpy(zero_copy_only=False)
    grid = parameter.array(np.arange(parameter.size))
    places: np.ndarray = np.minimum(np.searchsorted(grid, values), parameter.size - 1)
    wrong = grid[places] != values
    if wrong.any():
        # For its message.
        parameter.index(values[int(np.argmax(wrong))].item())
        raise ValueError("a value is not in the space")
    return places
