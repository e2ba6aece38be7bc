"""A row of the validation table, and safe readers of the reference files."""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import numpy as np
import numpy.typing as npt

from archgym.errors import ArchGymError, FileFormatError
from archgym.files.storage import storage_errors

Progress = Callable[[str], None]
# Counts of caches and placements that need no clock and set no constant.
_REPLAYED: Final = ("V1", "V2", "V3", "V19", "V20")
# chosen: fifty times the largest reference file.
_MAX_BYTES: Final = 2**25


class Errors(NamedTuple):
    """Errors of one metric over a group of measured rows.

    Attributes:
      group: Group, such as a model, GPU and engine.
      metric: Metric that is compared.
      n_rows: Measured rows.
      median: Median of the errors [%].
      p90: 90th percentile [%].
      bias: Geometric mean of predicted over measured, minus 1 [%].
    """

    group: str
    metric: str
    n_rows: int
    median: float
    p90: float
    bias: float


@final
@dataclass(frozen=True)
class Row:
    """A number that was published or measured, and the simulator's.

    Attributes:
      id: Row of the specification's table, such as V1.
      what: Quantity that is compared, and its condition.
      published: The number of others.
      ours: The simulator's.
      unit: Unit of both.
      error: Difference, 0 or more, in the measure of the tolerance.
      tolerance: Up to where the row is met.
      measure: Unit of `error` and `tolerance`, such as `points` or `percent`.
      constants: Constants that this row was allowed to set; empty for a prediction.
      note: Reason why a row is not met, or another remark.
      kind: "fitted" if the row set a constant, "replayed" if counts were replayed without a clock,
        "predicted" else; "" to tell by `constants`.
      errors: Errors that the row sums up; None for a single number.
    """

    id: str
    what: str
    published: float
    ours: float
    unit: str
    error: float
    tolerance: float
    measure: str
    constants: tuple[str, ...] = ()
    note: str = ""
    kind: str = ""
    errors: Errors | None = None

    @property
    def origin(self) -> str:
        """Fitted, replayed or predicted."""
        if self.kind:
            return self.kind
        if self.id in _REPLAYED:
            return "replayed"
        return "fitted" if self.constants else "predicted"

    @property
    def met(self) -> bool:
        """True if the error is within the tolerance."""
        return bool(self.error <= self.tolerance)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a wrong reference file leads to into one line."""
    try:
        with storage_errors(path, "read"):
            yield
    except ArchGymError:
        raise
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
        EOFError,
        zipfile.BadZipFile,
        RuntimeError,
        csv.Error,
        SyntaxError,
    ) as error:
        words = str(error).split("\n")[0][:100] or type(error).__name__
        raise FileFormatError(
            path, None, f"a reference file must be as recorded; {words}", "Copy the folder again"
        ) from None


def _content(path: Path) -> bytes:
    with path.open("rb") as handle:
        content = handle.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError(f"it has more than {_MAX_BYTES} bytes")
    return content


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; call it within `reading`."""
    return json.loads(_content(path))


def read_table(path: Path) -> list[dict[str, str]]:
    """Return rows of a CSV file by heading; call it within `reading`."""
    rows = list(csv.DictReader(io.StringIO(_content(path).decode("utf-8"))))
    for row in rows:
        if None in row or None in row.values():
            raise ValueError("a row has not as many cells as the heading")
    return rows


def read_arrays(path: Path) -> dict[str, npt.NDArray[np.int64]]:
    """Return whole numbers of an `.npz` file, by name, as int64; call it within `reading`."""
    with zipfile.ZipFile(io.BytesIO(_content(path))) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MAX_BYTES:
            raise ValueError("it unpacks to too much")
        found = {}
        for entry in archive.infolist():
            stream = io.BytesIO(archive.read(entry))
            array = np.lib.format.read_array(stream, allow_pickle=False)
            if array.dtype.kind not in "iu":
                raise ValueError(f"{entry.filename} must hold whole numbers")
            found[entry.filename.removesuffix(".npy")] = array.astype(np.int64)
        return found
