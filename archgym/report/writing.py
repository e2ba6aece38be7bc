"""A report's files: the page, its tables as CSV, and all of it as JSON."""

import csv
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.files.json_types import plain
from archgym.files.storage import open_file, storage_errors, write_atomic
from archgym.report.findings import Findings
from archgym.report.page import PageOptions, page

REPORT_MARK = '{\n "protocol": {'
"""First bytes of a report's JSON, by which a later report knows that it may replace the file."""
SCORES_MARK = "agent,runs,IQM score"
"""First bytes of a report's scores.csv."""
_MAX_BYTES = 64 * 2**20


def write_page(findings: Findings, path: Path, options: PageOptions | None = None) -> int:
    """Write the page and return its size in bytes.

    Args:
      findings: Findings of the report.
      path: File of the page.
      options: Title, author and date of the page.

    Raises:
      StorageError: It cannot be written.
    """
    content = page(findings, options or PageOptions()).encode()
    write_atomic(path, content)
    return len(content)


def write_csv(findings: Findings, folder: Path) -> list[Path]:
    """Write one file a table into a folder, which is made.

    Raises:
      StorageError: They cannot be written.
    """
    with storage_errors(folder, "written"):
        folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for table in findings.tables:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows([["" if c is None else c for c in row] for row in table.rows])
        path = folder / (re.sub(r"[^A-Za-z0-9_-]+", "-", table.name) + ".csv")
        write_atomic(path, text.getvalue())
        paths.append(path)
    return paths


def write_json_file(findings: Findings, path: Path) -> None:
    """Write all findings of the report as JSON.

    Raises:
      StorageError: It cannot be written.
    """
    write_atomic(path, json.dumps(plain(findings.to_json()), indent=1, allow_nan=False) + "\n")


def read_report(other: Path) -> dict[str, Any]:
    """Return the JSON of another report.

    Raises:
      FileFormatError: It is not a report.
      StorageError: It cannot be read.
    """
    with storage_errors(other, "read"), open_file(other) as handle:
        content = handle.read(_MAX_BYTES + 1)
    try:
        data: Any = json.loads(content) if len(content) <= _MAX_BYTES else None
        digest = data["protocol"]["digest"]
        rows = data["tables"]["scores"]["rows"]
        is_report = isinstance(digest, str) and isinstance(rows, list)
    except (ValueError, TypeError, KeyError, RecursionError):
        is_report = False
    if not is_report:
        raise FileFormatError(
            other, None, "must be the JSON of a report", "Write it with `archgym report --json`"
        )
    return dict(data)


def check_comparable(findings: Findings, other: Path, data: Mapping[str, Any]) -> None:
    """Refuse another report that judged by another protocol.

    Args:
      findings: This report.
      other: The file of the other one, for the message.
      data: Content, as from `read_report`.

    Raises:
      InvalidArgumentError: It did.
    """
    digest = data["protocol"]["digest"]
    if digest != findings.protocol.digest:
        raise InvalidArgumentError(
            f"Reports must be of one protocol to be compared; {other} has {digest[:16]!r} and this "
            f"one {findings.protocol.digest[:16]!r}: their budgets, tasks or scales differ. Make "
            "both with the same budget, tables and random runs."
        )
