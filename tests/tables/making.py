"""Tables that tests change."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from archgym.tables.content import checksum

N_DESIGNS = 2376
"""Of the toy's space: feasible, and boost 0 unless the mode is fast."""


def with_metadata(built: Path, path: Path, **changes: Any) -> Path:
    """The table with other metadata."""
    content = pq.read_table(built)
    about = json.loads(content.schema.metadata[b"archgym"]) | changes
    metadata = {b"archgym": json.dumps(about | {"checksum": checksum(about)}).encode()}
    pq.write_table(content.replace_schema_metadata(metadata), path)
    return path
