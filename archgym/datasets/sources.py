"""Sources of a dataset's rows: studies, other datasets, or several of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from archgym.checks import check_line
from archgym.datasets.columns import Columns, IdSet, coded, decoded_ids, fold, scope_id
from archgym.datasets.from_studies import about_studies, study_batches
from archgym.datasets.metadata import About, model_of
from archgym.datasets.stored import StoredDataset, open_stored
from archgym.errors import InvalidArgumentError
from archgym.evaluation.specification import Declaration
from archgym.runtime.progress import StageProgress
from archgym.studies.metadata import Header, read_header
from archgym.studies.snapshot import StudyLog, read_study, require_distinct

if TYPE_CHECKING:
    import pyarrow as pa


class RowSource(ABC):
    """Rows of a dataset that is to be written; they can be gone through several times."""

    about: About
    columns: Columns
    """Without the split."""
    progress: StageProgress | None = None
    """Told how far one is who goes through them."""

    @final
    def batches(self) -> "Iterator[pa.RecordBatch]":
        """Return rows in their order, some at a time, with duplicates marked."""
        n_rows = 0
        for batch in self._batches():
            yield batch
            n_rows += batch.num_rows
            if self.progress is not None:
                self.progress(*self._reached(n_rows))

    def _batches(self) -> "Iterator[pa.RecordBatch]":
        """Return rows as `batches` gives them."""
        return _marked(self.about, self.read())

    @abstractmethod
    def read(self) -> "Iterator[tuple[Path, pa.RecordBatch]]":
        """Return rows with the file or folder that they are in, before duplicates are marked."""

    @abstractmethod
    def _reached(self, n_rows: int) -> tuple[str, float, float]:
        """Return the text for `progress` after a number of rows."""

    def notes(self) -> list[str]:
        """Return notes on the origin of the rows, after they have been read."""
        return []


def row_keys(path: Path, about: About, batch: "pa.RecordBatch") -> tuple[np.ndarray, np.ndarray]:
    """Return ids, (n,) uint64, that are equal for duplicates; and which rows can be one, (n,) bool.

    Where the simulator broke, nothing is known of the design that another row could repeat.
    """
    known: np.ndarray = batch.column("error").is_null().to_numpy(zero_copy_only=False)
    return fold(decoded_ids(path, batch), row_scopes(about, batch)), known


def _marked(
    about: About, batches: "Iterable[tuple[Path, pa.RecordBatch]]"
) -> "Iterator[pa.RecordBatch]":
    seen = IdSet()
    for path, batch in batches:
        keys, known = row_keys(path, about, batch)
        repeated = np.zeros(len(keys), dtype=bool)
        repeated[known] = seen.add(keys[known])
        yield _replaced(batch, "is_duplicate", repeated)


def row_scopes(about: About, batch: "pa.RecordBatch") -> np.ndarray:
    """Return a number for each row, (n,) uint64, of its simulator's model and workload."""
    codes, digests = coded(batch, "task_digest")
    labels, names = coded(batch, "workload")
    scopes = np.zeros((len(digests) + 1, len(names) + 1), dtype=np.uint64)
    for row, digest in enumerate(digests):
        task = about.task_by_digest.get(digest)
        if task is None:
            continue
        declaration = about.declaration_of(task)
        model = model_of(
            declaration.version,
            declaration.options,
            declaration.fidelity,
            # A design of two spaces that agree on it is one.
            "",
        )
        digest_of = {w.name: w.digest for w in declaration.workloads}
        for column, name in enumerate(names):
            if name in digest_of:
                scopes[row, column] = scope_id(*model, digest_of[name])
    return np.asarray(scopes[codes, labels])


def _replaced(batch: "pa.RecordBatch", name: str, values: np.ndarray) -> "pa.RecordBatch":
    import pyarrow as pa

    place = batch.schema.get_field_index(name)
    arrays = batch.columns
    arrays[place] = pa.array(values)
    return pa.record_batch(arrays, schema=batch.schema)


def _names(header: Header) -> dict[str, str]:
    """Return the names of the folders of studies, by id."""
    return {segment.study: segment.folder for segment in header.segments}


@final
class StudySource(RowSource):
    """Studies in folders, of which one at a time is in memory."""

    def __init__(
        self, folders: Sequence[str | Path], name: str | None = None, license: str | None = None
    ) -> None:
        """Read the metadata of the studies, but not their journals.

        Raises:
          InvalidArgumentError: They do not fit into one dataset.
          FileFormatError: A folder is not a study.
          StorageError: A folder cannot be read.
        """
        if not folders:
            raise InvalidArgumentError("`studies` must name one or more folders; got none.")
        self._folders = [Path(folder) for folder in folders]
        headers = [read_header(folder) for folder in self._folders]
        require_distinct(zip(self._folders, map(_names, headers), strict=True), "in a dataset")
        self.about = about_studies(headers, name, license)
        self.columns = Columns(self.about.declarations)
        self._damage: list[str] = []
        self._done = 0.0

    def read(self) -> "Iterator[tuple[Path, pa.RecordBatch]]":
        self._damage = []
        for place, folder in enumerate(self._folders):
            log = read_study(folder)
            report = log.damage_report()
            self._damage += [report] if report else []
            n, total = 0, int(log.is_evaluation.sum()) * len(log.workloads)
            for batch in study_batches(log, self.columns):
                n += batch.num_rows
                self._done = place + n / total
                yield folder, batch

    def _reached(self, n_rows: int) -> tuple[str, float, float]:
        return "studies", self._done, len(self._folders)

    def notes(self) -> list[str]:
        return self._damage


@final
class LogSource(RowSource):
    """Studies that are in memory."""

    def __init__(self, logs: Sequence[StudyLog]) -> None:
        """Take the studies; errors as for `StudySource`."""
        if not logs:
            raise InvalidArgumentError("`logs` must hold one or more studies; got none.")
        require_distinct([(log.folder, _names(log.header)) for log in logs], "in a table")
        self._logs = logs
        self.about = about_studies([log.header for log in logs], None, None)
        self.columns = Columns(self.about.declarations)

    def read(self) -> "Iterator[tuple[Path, pa.RecordBatch]]":
        for log in self._logs:
            for batch in study_batches(log, self.columns):
                yield log.folder, batch

    def _reached(self, n_rows: int) -> tuple[str, float, float]:
        total = sum(int(log.is_evaluation.sum()) * len(log.workloads) for log in self._logs)
        return "rows", n_rows, total


@final
class DatasetSource(RowSource):
    """A dataset on disk, without the parts that it was split into."""

    def __init__(self, stored: StoredDataset | str | Path) -> None:
        """Open it; errors as for `open_stored`."""
        self.stored = stored if isinstance(stored, StoredDataset) else open_stored(stored)
        self.about = self.stored.about.with_split(None)
        self.columns = Columns(self.about.declarations)

    def _batches(self) -> "Iterator[pa.RecordBatch]":
        # Marks stay: after a split the rows stand in another order.
        return (batch for _, batch in self.read())

    def _reached(self, n_rows: int) -> tuple[str, float, float]:
        return "rows", n_rows, self.stored.n_rows

    def read(self) -> "Iterator[tuple[Path, pa.RecordBatch]]":
        schema = self.columns.schema()
        for file in self.stored.files:
            for batch in file.batches(schema.names):
                yield file.path, _conformed(batch, schema)


@final
class MergedSource(RowSource):
    """Rows of several datasets, one after the other."""

    def __init__(
        self,
        datasets: Sequence[str | Path],
        name: str | None = None,
        license: str | None = None,
    ) -> None:
        """Open them.

        Raises:
          InvalidArgumentError: They are of several simulators, or hold the same study.
          FileFormatError: One is not a dataset, or is damaged.
          StorageError: One cannot be read.
        """
        if not datasets:
            raise InvalidArgumentError("`datasets` must name one or more; got none.")
        self._sources = [DatasetSource(path) for path in datasets]
        abouts = [source.about for source in self._sources]
        self.about = _joined(abouts, [Path(path) for path in datasets], name, license)
        self.columns = Columns(self.about.declarations)

    def read(self) -> "Iterator[tuple[Path, pa.RecordBatch]]":
        schema = self.columns.schema()
        for source in self._sources:
            for path, batch in source.read():
                yield path, _conformed(batch, schema)

    def _reached(self, n_rows: int) -> tuple[str, float, float]:
        return "rows", n_rows, sum(source.stored.n_rows for source in self._sources)


def _conformed(batch: "pa.RecordBatch", schema: "pa.Schema") -> "pa.RecordBatch":
    """Return the batch with the columns of a schema that has at least its own."""
    import pyarrow as pa

    arrays = []
    for field in schema:
        place = batch.schema.get_field_index(field.name)
        if place < 0:
            arrays.append(pa.nulls(batch.num_rows, field.type))
            continue
        column = batch.column(place)
        arrays.append(column if column.type == field.type else column.cast(field.type))
    return pa.record_batch(arrays, schema=schema)


def _joined(
    abouts: Sequence[About], paths: Sequence[Path], name: str | None, license: str | None
) -> About:
    first = abouts[0]
    simulators = sorted({about.simulator for about in abouts})
    if len(simulators) > 1:
        raise InvalidArgumentError(
            f"A dataset must be of one simulator; these are of {', '.join(simulators)}. "
            "Merge those of each."
        )
    named = [{str(s["id"]): str(s["folder"]) for s in about.studies} for about in abouts]
    require_distinct(zip(paths, named, strict=True), "in a dataset")
    tasks: dict[str, Any] = {}
    declarations: dict[Any, Declaration] = {}
    licenses = sorted({about.license for about in abouts})
    for about in abouts:
        tasks |= about.task_by_digest
        for model, declaration in about.by_model.items():
            known = declarations.get(model)
            declarations[model] = declaration if known is None else _united(known, declaration)
    if license is None and len(licenses) > 1:
        raise InvalidArgumentError(
            f"Datasets must have one license to be merged; these have {', '.join(licenses)}. "
            "Say which the whole has."
        )
    return About(
        first.name if name is None else check_line("name", name),
        licenses[0] if license is None else check_line("license", license),
        tuple(tasks.values()),
        tuple(declarations.values()),
        tuple(study for about in abouts for study in about.studies),
    )


def _united(one: Declaration, other: Declaration) -> Declaration:
    difference = one.difference(other)
    workloads = {workload.name: workload for workload in (*one.workloads, *other.workloads)}
    digests = {(w.name, w.digest) for w in (*one.workloads, *other.workloads)}
    if difference is None and len(digests) > len(workloads):
        difference = "workloads"
    if difference is not None:
        raise InvalidArgumentError(
            f"Datasets of one simulator, version, fidelity and space must declare the same; these "
            f"have another `{difference}`. Keep them apart."
        )
    objectives = {**one.objectives, **other.objectives}
    return replace(one, workloads=tuple(workloads.values()), objectives=objectives)
