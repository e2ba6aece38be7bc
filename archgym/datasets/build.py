"""Datasets made from studies and from other datasets."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from archgym.datasets.sources import DatasetSource, LogSource, MergedSource, StudySource
from archgym.datasets.split import Split
from archgym.datasets.writing import Written, write_dataset
from archgym.runtime.progress import StageProgress
from archgym.studies.snapshot import StudyLog

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def build_dataset(
    studies: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    name: str | None = None,
    license: str | None = None,
    split: Split | None = None,
    progress: StageProgress | None = None,
) -> Written:
    """Make a dataset of the evaluations of studies, one row for each design and workload.

    Studies may be by any agents and of any tasks of one simulator: other workloads, objectives,
    budgets, spaces, options, fidelities. They are not changed. One study at a time is in memory.

    Args:
      studies: A folder or several; merged ones are allowed.
      out: A new folder, which gets `data/*.parquet`, `README.md`, `croissant.json` and
        `SHA256SUMS`; or a new file that ends in .parquet, .csv or .jsonl, for the table alone.
      name: Name; None for the simulator's name and "-evaluations".
      license: Its SPDX identifier, such as "cc-by-4.0"; "unknown" if None.
      split: Rule that splits it into parts; None for no parts.
      progress: Called with the progress.

    Raises:
      InvalidArgumentError: The studies do not fit into one dataset, there is something at `out`, or
        it cannot be split so.
      FileFormatError: A folder is not a study.
      StorageError: A folder cannot be read or `out` not be written; nothing is left there.
    """
    folders = [studies] if isinstance(studies, str | Path) else list(studies)
    return write_dataset(StudySource(folders, name, license), Path(out), split, progress)


def split_dataset(
    dataset: str | Path, split: Split, out: str | Path, *, progress: StageProgress | None = None
) -> Written:
    """Make a dataset with the rows of another one, split into parts again.

    Args:
      dataset: Folder or file of `build_dataset`; it is not changed.
      out: As for `build_dataset`.
      progress: Called with the progress.

    Raises:
      InvalidArgumentError: There is something at `out`, or it cannot be split so.
      FileFormatError: `dataset` is not a dataset, or is damaged.
      StorageError: It cannot be read, or `out` not be written.
    """
    return write_dataset(DatasetSource(dataset), Path(out), split, progress)


def merge_datasets(
    datasets: Sequence[str | Path],
    out: str | Path,
    *,
    name: str | None = None,
    license: str | None = None,
    split: Split | None = None,
    progress: StageProgress | None = None,
) -> Written:
    """Make a dataset with the rows of several of one simulator, one after the other.

    Duplicates are marked over the whole; parts that they were split into are given up.

    Args:
      datasets: Folders or files of `build_dataset`; they are not changed.
      out: As for `build_dataset`; so are the others.
      name: The first one's if None.
      license: Theirs if None.
      split: Rule that splits it into parts; None for no parts.
      progress: Called with the progress.

    Raises:
      InvalidArgumentError: They do not fit into one, or two hold the same study.
      FileFormatError: One is not a dataset, or is damaged.
      StorageError: One cannot be read, or `out` not be written.
    """
    return write_dataset(MergedSource(datasets, name, license), Path(out), split, progress)


def to_table(logs: Sequence[StudyLog]) -> "pa.Table":
    """Return evaluations of studies in memory, as an Arrow table with the columns of a dataset.

    Raises:
      InvalidArgumentError: The studies do not fit into one table.
    """
    import pyarrow as pa

    source = LogSource(logs)
    return pa.Table.from_batches(source.batches(), source.columns.schema()).unify_dictionaries()


def to_frame(logs: Sequence[StudyLog]) -> "pd.DataFrame":
    """Return evaluations of studies in memory, as a pandas table; columns as in `to_table`."""
    frame: pd.DataFrame = to_table(logs).to_pandas()
    return frame
