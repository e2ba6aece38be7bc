"""Evaluations of a dataset as arrays, for those who learn from them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from archgym.checks import check_whole
from archgym.datasets.columns import SPLIT, coded, damaged, decoded_indices, numbers, whole_numbers
from archgym.datasets.stored import StoredDataset, open_stored
from archgym.errors import InvalidArgumentError, unknown_name
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.specification import Declaration, WorkloadFacts
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    import pyarrow as pa

# chosen: with 25 parameters and metrics, 2 GB.
_MAX_ROWS = 10_000_000


@final
@dataclass(frozen=True)
class Dataset:
    """Evaluations of one simulator with one space, one entry for each design and workload.

    Evaluations on which the simulator broke are left out: they say nothing of the design.
    """

    path: Path
    digest: str
    """SHA-256 of the data files."""
    declaration: Declaration
    """Declaration of the simulator; workloads are those of the dataset."""
    indices: np.ndarray
    """(n, n_parameters) int64, canonical designs."""
    values: np.ndarray
    """(n, n_metrics) float64 in the units of `metrics`, NaN where the design was not built."""
    feasible: np.ndarray
    """(n,) bool, whether it was built on that workload."""
    workload: np.ndarray
    """(n,) int64, place in `workloads`."""
    agent: np.ndarray
    """(n,) int64, place in `agents`."""
    agents: tuple[str, ...]
    """Agents that asked; empty text for environments and people."""
    step: np.ndarray
    """(n,) int64, number of the ask within its study."""
    split: np.ndarray | None = None
    """(n,) texts: train, validation or test; None if the dataset has no parts."""

    @property
    def space(self) -> DesignSpace:
        """The design space."""
        return self.declaration.space

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """Metrics with units."""
        return self.declaration.metrics

    @property
    def workloads(self) -> tuple[WorkloadFacts, ...]:
        """Workloads that designs were evaluated on."""
        return self.declaration.workloads

    def __len__(self) -> int:
        return len(self.indices)

    def is_in(self, part: str) -> np.ndarray:
        """Return True for each row of a part, (n,) bool; none is where there are no parts."""
        none = np.zeros(len(self), dtype=bool)
        return none if self.split is None else np.asarray(self.split == part)

    def rows(self, chosen: np.ndarray) -> "Dataset":
        """Return some of the rows, by a mask or their places; the digest stays."""
        names = ("indices", "values", "feasible", "workload", "agent", "step")
        arrays: dict[str, Any] = {name: getattr(self, name)[chosen] for name in names}
        split = None if self.split is None else self.split[chosen]
        return replace(self, **arrays, split=split)


def read_dataset(
    path: str | Path,
    *,
    space: str | None = None,
    fidelity: str | None = None,
    options: Mapping[str, str] | None = None,
    version: int | None = None,
    max_rows: int = _MAX_ROWS,
) -> Dataset:
    """Read a dataset that `build_dataset` wrote into arrays.

    Args:
      path: Its folder, or a single Parquet file.
      space: Space of the rows, if there are several; the same holds for the next three.
      fidelity: Name of a fidelity.
      options: The simulator's options that are not its defaults.
      version: The simulator's version.
      max_rows: Larger datasets are refused rather than read into memory.

    Raises:
      InvalidArgumentError: Rows of several spaces, fidelities, options or versions remain, or none,
        or it has more rows than `max_rows`.
      FileFormatError: It is not a dataset, or is damaged.
      StorageError: It cannot be read.
    """
    check_whole("max_rows", max_rows, 1)
    stored = open_stored(path)
    if stored.n_rows > max_rows:
        raise InvalidArgumentError(
            f"A dataset must have at most `max_rows`={max_rows} rows to be read into memory; "
            f"{path} has {stored.n_rows}. Raise it if there is room."
        )
    wanted = {"space": space, "fidelity": fidelity, "options": options, "version": version}
    declaration = chosen_declaration(stored, wanted)
    gathered = _Gathered(stored, declaration)
    for file in stored.files:
        for batch in file.batches():
            gathered.take(file.path, batch)
    return gathered.dataset()


def chosen_declaration(stored: StoredDataset, wanted: Mapping[str, Any]) -> Declaration:
    """Return the one declaration with these traits, where None stands for any.

    Args:
      wanted: Any of space, fidelity, options, version; those that are named must be one.

    Raises:
      InvalidArgumentError: Several are left.
      UnknownNameError: None is left.
    """
    traits: list[dict[str, Any]] = [
        {
            "space": d.space_name,
            "fidelity": d.fidelity,
            "options": dict(d.options),
            "version": d.version,
            "declaration": d,
        }
        for d in stored.about.declarations
    ]
    for name, value in wanted.items():
        if value is None:
            continue
        value = dict(value) if isinstance(value, Mapping) else value
        left = [trait for trait in traits if trait[name] == value]
        if not left:
            raise unknown_name(name, _told(value), {_told(trait[name]) for trait in traits})
        traits = left
    for name in wanted:
        came = list(dict.fromkeys(_told(trait[name]) for trait in traits))
        if len(came) > 1:
            raise InvalidArgumentError(
                f"Rows must have one `{name}` to be read into arrays; {stored.path} has "
                f"{', '.join(came)}. Choose one with `{name}`, on the command line with "
                f"--{name.removesuffix('s')}."
            )
    declaration: Declaration = traits[0]["declaration"]
    return declaration


def _told(value: Any) -> str:
    """Return a trait as `--option` takes it, where it is options."""
    if not isinstance(value, Mapping):
        return str(value)
    return ", ".join(f"{name}={given}" for name, given in value.items()) or "the defaults"


@final
class _Gathered:
    """Rows of one declaration, as they come."""

    def __init__(self, stored: StoredDataset, declaration: Declaration) -> None:
        n = stored.n_rows
        self._stored = stored
        self._declaration = declaration
        self._tasks = {
            digest
            for digest, task in stored.about.task_by_digest.items()
            if stored.about.declaration_of(task) is declaration
        }
        self._workloads = {w.name: place for place, w in enumerate(declaration.workloads)}
        self._agents: dict[str, int] = {}
        self._splits: dict[str, int] = {}
        self._indices = np.empty((n, declaration.space.n_parameters), dtype=np.int64)
        self._values = np.empty((n, len(declaration.metrics)))
        self._feasible = np.empty(n, dtype=bool)
        self._workload, self._agent, self._step = np.empty((3, n), dtype=np.int64)
        self._split = np.empty(n, dtype="<U10")
        self._n = 0

    def take(self, path: Path, batch: "pa.RecordBatch") -> None:
        digests, known = coded(batch, "task_digest")
        is_wanted = np.array([*(digest in self._tasks for digest in known), False])[digests]
        is_wanted &= batch.column("error").is_null().to_numpy(zero_copy_only=False)
        if not is_wanted.any():
            return
        if not is_wanted.all():
            batch = batch.filter(is_wanted)
        rows = slice(self._n, self._n + batch.num_rows)
        declaration, columns = self._declaration, self._stored.columns
        self._indices[rows] = decoded_indices(path, batch, declaration.space, columns)
        for place, spec in enumerate(declaration.metrics):
            self._values[rows, place] = numbers(batch, spec.name)
        self._feasible[rows] = whole_numbers(path, batch, "feasible")
        self._check_values(path, rows)
        self._workload[rows] = _places(path, batch, "workload", self._workloads)
        codes, agents = coded(batch, "agent")
        numbered = [self._agents.setdefault(agent, len(self._agents)) for agent in agents]
        nobody = self._agents.setdefault("", len(self._agents)) if (codes < 0).any() else -1
        self._agent[rows] = np.array([*numbered, nobody])[codes]
        self._step[rows] = whole_numbers(path, batch, "step")
        if self._stored.about.split is not None:
            codes, names = coded(batch, SPLIT)
            self._split[rows] = np.array([*names, ""], dtype="<U10")[codes]
        self._n += batch.num_rows

    def _check_values(self, path: Path, rows: slice) -> None:
        feasible, values = self._feasible[rows], self._values[rows]
        is_sound = np.where(feasible[:, None], np.isfinite(values), np.isnan(values))
        if not is_sound.all():
            raise damaged(
                path,
                "feasible rows must have a finite number for each metric, others none; one has not",
            )

    def dataset(self) -> Dataset:
        n = self._n
        return Dataset(
            self._stored.path,
            self._stored.digest,
            self._declaration,
            self._indices[:n],
            self._values[:n],
            self._feasible[:n],
            self._workload[:n],
            self._agent[:n],
            tuple(self._agents),
            self._step[:n],
            None if self._stored.about.split is None else self._split[:n],
        )


def _places(path: Path, batch: "pa.RecordBatch", name: str, known: Mapping[str, int]) -> np.ndarray:
    codes, texts = coded(batch, name)
    unknown = [text for text in texts if text not in known]
    places: np.ndarray = np.array([*(known.get(text, -1) for text in texts), -1])[codes]
    if (places < 0).any():
        came = repr(unknown[0][:80]) if unknown else "null"
        raise damaged(path, f"column `{name}` must hold one of {', '.join(known)}; got {came}")
    return places
