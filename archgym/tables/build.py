"""Building an exhaustive table: every distinct design of a space, simulated once.

The space is cut into parts by design number. A part whose results are all there is written into a
folder beside the table, checksummed; a build that is stopped, or killed, goes on with the parts
that are there. How many threads work changes nothing in any number or byte.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

import numpy as np

from archgym.declaration import Declaration
from archgym.errors import (
    FileFormatError,
    InvalidArgumentError,
    StudyInterrupted,
    StudyLockedError,
)
from archgym.interruption import Interruption
from archgym.lease import Lease
from archgym.limits import check_whole
from archgym.progress import StageProgress
from archgym.storage import atomic_file, make_folder, open_file, storage_errors, write_atomic
from archgym.tables.content import MAX_ROWS, TableContent
from archgym.tables.file import TableFile
from archgym.tables.optimum import OptimumSearch, tasks_of
from archgym.tables.threads import Job, SimulatingThreads
from archgym.tables.writing import TableWriter
from archgym.task import Task

__all__ = ["TableProgress", "build_table", "partial_folder"]

# chosen: combinations of a part; the DRAM simulator takes some seconds for its designs.
_PART_SIZE = 2**14
# chosen: no folder should hold more files.
_MAX_PARTS = 2**12
# chosen: combinations that are looked at in half an hour, where nearly all are no designs.
_MAX_SIZE = 2**34
# chosen: designs that a thread simulates at once; a stop waits for them, and overheads are small.
_BATCH = 128
_MAX_WORKERS = 256
_PLAN_NAME = "plan.json"
_MAX_PLAN = 2**20


class TableProgress(Protocol):
    """What is told how far a build is."""

    def __call__(self, done: int, total: int, known: int) -> None:
        """Takes simulations done and in all, one design on one workload each.

        Args:
          done: So far, those of earlier builds among them.
          total: At the end.
          known: Those of earlier builds.
        """


@final
@dataclass(frozen=True)
class _Build:
    """What is built, and where."""

    task: Task
    declaration: Declaration
    folder: Path
    part_size: int
    n_designs: int

    @property
    def key(self) -> str:
        """What parts of one and the same build have in common."""
        digests = [workload.digest for workload in self.declaration.workloads]
        content = [self.declaration.identity(), digests, self.part_size]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def n_parts(self) -> int:
        """How many parts the space is cut into."""
        return -(-self.task.space.size // self.part_size)

    def numbers(self, part: int) -> np.ndarray:
        """Numbers of the distinct designs of a part, in order."""
        space = self.task.space
        start = part * self.part_size
        stop = start + self.part_size
        rows = [
            space.flat(indices)
            for indices in space.enumerate(start, stop, chunk=_PART_SIZE, canonical=True)
        ]
        return np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)

    def path(self, part: int) -> Path:
        """File of a part."""
        return self.folder / f"part-{part:05d}"


def partial_folder(out: str | Path) -> Path:
    """Where the parts of an unfinished table lie."""
    return Path(f"{out}.partial")


def build_table(
    task: Task,
    out: str | Path,
    workers: int | None = None,
    progress: TableProgress | None = None,
    assembling: StageProgress | None = None,
) -> Path:
    """Simulates every distinct design of a task's space on its workloads and writes the table.

    In the main thread, SIGINT and SIGTERM stop it at once; the next call goes on with what is done.

    Args:
      task: Gives simulator, workloads with their weights, and perhaps an objective of its own.
      out: The Parquet file, which must not exist; its folder is made.
      workers: Threads that simulate; one a core by default.
      progress: Told how many designs are simulated.
      assembling: Told how far the table is made of their results.

    Raises:
      InvalidArgumentError: The space is too large, the file exists, or unfinished parts are of
        something else.
      SimulatorError: The simulator broke on a design, so that nothing is proven.
      StudyInterrupted: A signal came.
      StorageError: Something cannot be written.
    """
    out = Path(out)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    n_workers = check_whole("workers", workers or min(cores, _MAX_WORKERS), 1, _MAX_WORKERS)
    build = _planned(task, out)
    make_folder(build.folder)
    try:
        lease = Lease(build.folder)
    except StudyLockedError as error:
        raise StudyLockedError(f"{out} is being built by another process. {error}") from None
    try:
        _write_plan(build)
        with Interruption() as interruption:
            _simulate(build, n_workers, progress)
            _assemble(build, out, assembling)
            interruption.hold_back()
            shutil.rmtree(build.folder, ignore_errors=True)
    except StudyInterrupted as stop:
        raise StudyInterrupted(
            f"The build of {out} was stopped; what is done lies in {build.folder}.",
            stop.signal_number,
        ) from None
    finally:
        lease.release()
    return out


def _planned(task: Task, out: Path) -> _Build:
    space = task.space
    counted = space.count() if space.size <= _MAX_SIZE else None
    if counted is None or not counted.exact or counted.value > MAX_ROWS:
        hint = type(task.simulator).table_space
        remedy = f"Choose space {hint!r}" if hint else "Choose a smaller space"
        shown = counted if counted is not None else f"{space.size:,} combinations, far more than"
        raise InvalidArgumentError(
            f"A space must have at most {MAX_ROWS:,} designs, which can be counted, to be "
            f"tabulated; {space.name!r} has {shown}. {remedy}."
        )
    if out.exists():
        raise InvalidArgumentError(
            f"`out` must be a new file; {out} exists. Remove it, or choose another name."
        )
    part_size = max(_PART_SIZE, -(-space.size // _MAX_PARTS))
    workloads = {w.source: w.workload for w in task.workloads}
    declaration = Declaration.of(task.simulator, task.space_name, workloads)
    return _Build(task, declaration, partial_folder(out), part_size, counted.value)


def _write_plan(build: _Build) -> None:
    path = build.folder / _PLAN_NAME
    if path.exists():
        with storage_errors(path, "read"), open_file(path) as handle:
            content = handle.read(_MAX_PLAN)
        try:
            key = json.loads(content)["key"]
        except (ValueError, KeyError, TypeError, RecursionError):
            key = None
        if key != build.key:
            raise InvalidArgumentError(
                f"{build.folder} must hold parts of this very table; it holds those of another, "
                "or it is damaged. Remove it, or choose another name for the table."
            )
        return
    others = [item.name for item in build.folder.iterdir() if not item.name.endswith(".lock")]
    if others:
        raise InvalidArgumentError(
            f"{build.folder} must be new or of this table; it holds {min(others)!r}. Move it away."
        )
    write_atomic(path, json.dumps({"key": build.key}) + "\n")


# ---- parts


def _write_part(build: _Build, part: int, values: np.ndarray, reason: np.ndarray) -> None:
    body = values.astype("<f8").tobytes() + reason.astype("<i2").tobytes()
    write_atomic(build.path(part), (hashlib.sha256(body).digest(), body))


def _read_part(build: _Build, part: int, n: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Metrics (n, w, n_metrics) and reasons (n, w) of a part; None where it is not there whole."""
    n_workloads, n_metrics = len(build.task.workloads), len(build.task.metrics)
    count = n * n_workloads
    size = 32 + count * (8 * n_metrics + 2)
    path = build.path(part)
    if not path.is_file() or path.stat().st_size != size:
        return None
    with storage_errors(path, "read"), open_file(path) as handle:
        content = handle.read(size)
    body = content[32:]
    if hashlib.sha256(body).digest() != content[:32]:
        return None
    values = np.frombuffer(body, "<f8", count * n_metrics)
    reason = np.frombuffer(body, "<i2", offset=8 * count * n_metrics)
    return values.reshape(n, n_workloads, n_metrics), reason.reshape(n, n_workloads)


# ---- simulation


def _simulate(build: _Build, workers: int, progress: TableProgress | None) -> None:
    """Makes every part that is not there."""
    n_workloads = len(build.task.workloads)
    total = build.n_designs * n_workloads
    missing, known = [], 0
    for part in range(build.n_parts):
        numbers = build.numbers(part)
        if len(numbers) and _read_part(build, part, len(numbers)) is None:
            missing.append(part)
        else:
            known += len(numbers) * n_workloads
    done = known
    if progress is not None:
        progress(done, total, known)
    waiting: dict[int, tuple[np.ndarray, np.ndarray, list[int]]] = {}
    with SimulatingThreads(build.task, workers) as threads:
        for job, result in threads.results(_jobs(build, missing, waiting)):
            values, reason, left = waiting[job.part]
            values[job.rows, job.place] = result.values
            reason[job.rows, job.place] = result.reason
            left[0] -= len(job.indices)
            done += len(job.indices)
            if not left[0]:
                _write_part(build, job.part, values, reason)
                del waiting[job.part]
            if progress is not None:
                progress(done, total, known)


def _jobs(
    build: _Build,
    parts: list[int],
    waiting: dict[int, tuple[np.ndarray, np.ndarray, list[int]]],
) -> Iterator[Job]:
    n_workloads, n_metrics = len(build.task.workloads), len(build.task.metrics)
    for part in parts:
        indices = build.task.space.unflat(build.numbers(part))
        n = len(indices)
        waiting[part] = (
            np.empty((n, n_workloads, n_metrics)),
            np.empty((n, n_workloads), dtype=np.int16),
            [n * n_workloads],
        )
        for place in range(n_workloads):
            for start in range(0, n, _BATCH):
                rows = slice(start, min(start + _BATCH, n))
                yield Job(part, rows, place, indices[rows])


# ---- the table


def _assemble(build: _Build, out: Path, progress: StageProgress | None) -> None:
    places = {weighted.workload.name: n for n, weighted in enumerate(build.task.workloads)}
    searches = [
        OptimumSearch(task, [places[w.workload.name] for w in task.workloads])
        for task in tasks_of(build.task)
    ]
    content = TableContent(build.declaration)
    for numbers, values, reason in _results(build, "judged designs", progress):
        content.add(numbers, values, reason)
        for search in searches:
            search.add(numbers, values, reason)
    about = content.metadata([search.optimum() for search in searches])
    with atomic_file(out) as scratch:
        writer = TableWriter(scratch, build.declaration, about)
        try:
            for numbers, values, reason in _results(build, "written designs", progress):
                writer.append(numbers, values, reason)
            writer.close()
        except BaseException:
            writer.abandon()
            raise
        # Whatever cannot be read back is no table.
        TableFile(scratch)


def _results(
    build: _Build, what: str, progress: StageProgress | None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Results part by part; `what` is what is done with the designs."""
    done = 0
    for part in range(build.n_parts):
        numbers = build.numbers(part)
        if not len(numbers):
            continue
        found = _read_part(build, part, len(numbers))
        if found is None:
            raise FileFormatError(
                build.path(part), None, "it was changed while the table was built", "Build it again"
            )
        yield numbers, *found
        done += len(numbers)
        if progress is not None:
            progress(what, done, build.n_designs)
