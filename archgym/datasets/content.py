"""What each file of a dataset says of the rows that were written into it."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from archgym.datasets.decoding import coded, whole_numbers
from archgym.datasets.design_ids import fold, scope_id
from archgym.datasets.findings import Findings
from archgym.errors import FileFormatError

if TYPE_CHECKING:
    import pyarrow as pa

    from archgym.parquet import ParquetFile

__all__ = ["CONTENT_KEY", "FileContent", "evaluation_ids", "written_content"]

CONTENT_KEY = b"archgym_rows"
"""Where a file's metadata say how many rows it has, of which studies and in which order."""

# chosen: ten thousand studies take 0.5 MB.
_MAX_BYTES = 16 * 2**20


def evaluation_ids(path: Path, batch: "pa.RecordBatch") -> np.ndarray:
    """Ids, (n,) uint64, of a row's study, workload and step: no two rows have the same."""
    codes, studies = coded(batch, "study_id")
    labels, workloads = coded(batch, "workload")
    of_study = np.array([*map(scope_id, studies), scope_id()], dtype=np.uint64)
    of_workload = np.array([*map(scope_id, workloads), scope_id()], dtype=np.uint64)
    step = whole_numbers(path, batch, "step").astype(np.uint64)
    return fold(fold(of_study[codes], of_workload[labels]), step)


@final
class FileContent:
    """Rows of one file, counted as they pass: by study, and their ids in their order."""

    def __init__(self) -> None:
        self.rows = 0
        self.studies: Counter[str] = Counter()
        self._order = hashlib.sha256()

    def add(self, path: Path, batch: "pa.RecordBatch") -> None:
        """Takes the next rows."""
        self.rows += batch.num_rows
        codes, studies = coded(batch, "study_id")
        for code, n in zip(*np.unique(codes[codes >= 0], return_counts=True), strict=True):
            self.studies[studies[int(code)]] += int(n)
        self._order.update(evaluation_ids(path, batch).astype("<u8").tobytes())

    def to_json(self) -> dict[str, Any]:
        """What the file's metadata say."""
        return {"rows": self.rows, "studies": self.studies, "order": self._order.hexdigest()}

    def metadata(self) -> dict[bytes, bytes]:
        """It as metadata of the file."""
        return {CONTENT_KEY: json.dumps(self.to_json(), sort_keys=True).encode()}

    def compare(self, said: dict[str, Any] | None, name: str, findings: Findings) -> None:
        """Reports where the rows of a file are not those that its metadata tell of.

        Args:
          said: What `written_content` gave.
          name: The file.
          findings: Takes what is wrong.
        """
        if said is None:
            findings.add("files that do not say which rows were written", name)
            return
        found = self.to_json()
        for study in sorted({*said["studies"], *self.studies}):
            due, n = said["studies"].get(study, 0), self.studies[study]
            if due != n:
                where = f"{study!r} in {name}: {n} of {due}"
                findings.add("studies with another number of rows than were written", where)
        if said["order"] != found["order"]:
            findings.add("files whose rows are not those that were written, in their order", name)


def written_content(file: "ParquetFile") -> dict[str, Any] | None:
    """What a file's metadata say of its rows; None where they say nothing.

    Raises:
      FileFormatError: They are something else, or another number of rows is there.
    """
    content = file.metadata.get(CONTENT_KEY)
    if content is None:
        return None
    try:
        if len(content) > _MAX_BYTES:
            raise ValueError(f"{len(content)} bytes are too many")
        said = json.loads(content)
        studies, rows = said["studies"], said["rows"]
        counts = [rows, *studies.values()]
        if not isinstance(said["order"], str) or any(type(n) is not int or n < 0 for n in counts):
            raise ValueError("counts must be whole numbers")
    # Whatever a file holds in the place of counts comes here.
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".removesuffix(".")
        raise FileFormatError(
            file.path,
            None,
            f"its metadata must tell of its rows; {problem}",
            "Restore it from a copy, or build the dataset again",
        ) from None
    if rows != file.n_rows:
        raise FileFormatError(
            file.path,
            None,
            f"it must have the {rows} rows that its metadata tell of; it has {file.n_rows}",
            "Restore it from a copy, or build the dataset again",
        )
    return {"rows": rows, "studies": studies, "order": said["order"]}
