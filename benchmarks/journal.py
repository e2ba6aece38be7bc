"""Measures how many records a second a journal takes and gives back.

Run as ``python benchmarks/journal.py``; prints one line for each case.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from archgym.files.lease import Lease
from archgym.studies.journal import JournalWriter, encode, load_journal
from archgym.studies.records import JournalShape, Records

N_RECORDS = 100_000


def measure(n_metrics: int, batch: int) -> None:
    """Append and load `N_RECORDS` records of 12 parameters."""
    shape = JournalShape((16,) * 12, 1, n_metrics, 4)
    rng = np.random.default_rng(0)
    records = Records.empty(shape, N_RECORDS)
    records.seq[:] = np.arange(N_RECORDS)
    records.indices[:] = rng.integers(16, size=records.indices.shape)
    records.values[:] = rng.random(records.values.shape) * 1e6
    records.reason[:] = 0
    records.reward[:] = rng.random(N_RECORDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lease = Lease(folder)
        writer = JournalWriter(folder / "journal", folder / "timing", lease)
        started = time.perf_counter()
        for start in range(0, N_RECORDS, batch):
            part = records.rows(slice(start, start + batch))
            writer.append(encode(part), start, len(part), 0.0)
        writer.close()
        append_s = time.perf_counter() - started
        started = time.perf_counter()
        journal = load_journal(folder / "journal", shape)
        load_s = time.perf_counter() - started
        lease.release()
    assert len(journal.records) == N_RECORDS
    print(
        f"{n_metrics:3d} metrics, batches of {batch:5d}: "
        f"append {N_RECORDS / append_s:9,.0f} records/s, load {N_RECORDS / load_s:9,.0f} records/s"
    )


if __name__ == "__main__":
    for n_metrics in (4, 20):
        for batch in (1, 64, 4096):
            measure(n_metrics, batch)
