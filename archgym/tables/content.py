"""Content of a table: column names, hashes of its numbers, and its metadata.

The metadata hold the simulator's declaration, a SHA-256 of each column's numbers, and the optima.
The table's digest covers those and not the file's bytes, so a rewritten file has the same digest.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, final

import numpy as np

from archgym.evaluation.specification import Declaration
from archgym.spaces.parameter import Parameter
from archgym.tables.optimum import Optimum
from archgym.version import __version__

FORMAT = "archgym-table"
FORMAT_VERSION = 1
METADATA_KEY = b"archgym"
MAX_ROWS = 2**27
"""chosen: designs of a table that one machine assembles in an hour."""
NUMBER = "design"
"""Column of the designs' numbers in their space."""
_REASON = "reason"


@final
class TableColumns:
    """Names of a table's columns."""

    def __init__(self, declaration: Declaration) -> None:
        self._declaration = declaration
        self._is_single = len(declaration.workloads) == 1

    def metrics(self, place: int) -> tuple[str, ...]:
        """Return columns of the metrics on the workload at `place`."""
        return tuple(self._named(spec.name, place) for spec in self._declaration.metrics)

    def reason(self, place: int) -> str:
        """Return the column of reasons why a design was not built, for the workload at `place`."""
        return self._named(_REASON, place)

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """Parameters by column; a name that another column has gets a prefix."""
        taken = {NUMBER}
        for place in range(len(self._declaration.workloads)):
            taken |= {self.reason(place), *self.metrics(place)}
        space = self._declaration.space
        return {f"design.{p.name}" if p.name in taken else p.name: p for p in space.parameters}

    def _named(self, name: str, place: int) -> str:
        return name if self._is_single else f"{name}@{self._declaration.workloads[place].name}"


@final
class TableContent:
    """Identity of a table computed from its rows, in pieces of any size."""

    def __init__(self, declaration: Declaration) -> None:
        self._declaration = declaration
        self._columns = TableColumns(declaration)
        self._hashes: dict[str, Any] = {}
        self._rows = 0

    def add(self, numbers: np.ndarray, values: np.ndarray, reason: np.ndarray) -> None:
        """Take the next designs; arguments as for `TableWriter.add`."""
        self._rows += len(numbers)
        self._take(NUMBER, numbers, "i8")
        for place in range(len(self._declaration.workloads)):
            for metric, name in enumerate(self._columns.metrics(place)):
                self._take(name, values[:, place, metric], "f8")
            self._take(self._columns.reason(place), reason[:, place], "i2")

    def metadata(self, optima: Sequence[Optimum]) -> dict[str, Any]:
        """Return the metadata of the file."""
        columns = {name: running.hexdigest() for name, running in self._hashes.items()}
        about = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "archgym": __version__,
            "declaration": self._declaration.to_json(),
            "rows": self._rows,
            "columns": columns,
            "digest": table_digest(self._declaration, self._rows, columns),
            "optima": [optimum.to_json() for optimum in optima],
        }
        return about | {"checksum": checksum(about)}

    def _take(self, column: str, numbers: np.ndarray, kind: str) -> None:
        self._hashes.setdefault(column, hashlib.sha256()).update(_plain_bytes(numbers, kind))


def column_hash(numbers: np.ndarray, kind: str) -> str:
    """Return SHA-256 of a column's numbers, as little-endian `kind`."""
    return hashlib.sha256(_plain_bytes(numbers, kind)).hexdigest()


def _plain_bytes(numbers: np.ndarray, kind: str) -> bytes:
    if kind == "f8":
        # With a single bit pattern of NaN, as files return it.
        numbers = np.where(np.isnan(numbers), np.nan, numbers)
    return np.ascontiguousarray(numbers, dtype=np.dtype(kind).newbyteorder("<")).tobytes()


def table_digest(declaration: Declaration, rows: int, columns: Mapping[str, str]) -> str:
    """Return the SHA-256 of a table's numbers, for any order of workloads."""
    names = TableColumns(declaration)
    by_workload = {
        workload.digest: [columns[name] for name in (*names.metrics(place), names.reason(place))]
        for place, workload in enumerate(declaration.workloads)
    }
    content = [declaration.identity(), rows, columns[NUMBER], by_workload]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def checksum(about: Mapping[str, Any]) -> str:
    """Return CRC32 of a table's metadata without their own."""
    rest = {name: part for name, part in about.items() if name != "checksum"}
    return f"{zlib.crc32(json.dumps(rest, sort_keys=True).encode()):08x}"
