"""A report's files: the page, its tables as CSV, and all of it as JSON."""

import csv
import io
import json
import re
from pathlib import Path

from archgym.files.json_types import plain
from archgym.files.storage import storage_errors, write_atomic
from archgym.report.findings import Findings
from archgym.report.page import PageOptions, page

REPORT_MARK = '{\n "protocol": {'
"""First bytes of a report's JSON, by which a later report knows that it may replace the file."""
SCORES_MARK = "agent,runs,IQM score"
"""First bytes of a report's scores.csv."""


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
