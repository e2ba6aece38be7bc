"""Building an exhaustive table: every distinct design of a space, simulated once.

The space is cut into parts by design number. A part whose results are all there is written into a
folder next to the table, checksummed; a build that is stopped or killed resumes with the parts
that are there. How many threads work changes nothing in any number or byte.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from archgym.checks import MAX_WORKERS, check_whole
from archgym.errors import (
    FileFormatError,
    InvalidArgumentError,
    SimulatorError,
    StudyInterrupted,
    StudyLockedError,
)
from archgym.evaluation.specification import Declaration
from archgym.files.lease import Lease
from archgym.files.remote import placed, require_absent, upload
from archgym.files.storage import atomic_file, is_there, make_folder
from archgym.runtime.interruption import Interruption
from archgym.runtime.progress import StageProgress
from archgym.tables.cluster import simulate_on_ray
from archgym.tables.content import MAX_ROWS, TableContent
from archgym.tables.file import TableFile
from archgym.tables.optimum import OptimumSearch, tasks_of
from archgym.tables.parts import PART_SIZE, Build, Part, PartClaims, is_done, read_part, write_plan
from archgym.tables.simulation import simulate_parts
from archgym.tables.writing import TableWriter
from archgym.tasks.task import Task

# chosen: no folder should hold more files.
_MAX_PARTS = 2**12
# chosen: combinations that are looked at in half an hour, where nearly all are not designs.
_MAX_SIZE = 2**34
# chosen: how often a process looks whether another one has finished [s].
_POLL_S = 0.5
# chosen: as long as a person waits for an estimate that is worth something.
_MEASURE_S = 1.0


TableProgress = Callable[[int, int, int], None]
"""Takes the simulations done, those in all, and those of earlier builds among the done."""


@final
@dataclass(frozen=True)
class TablePlan:
    """Size and cost of a build before it begins."""

    out: Path
    n_designs: int
    n_combinations: int
    n_workloads: int
    n_simulations: int
    """One design on one workload each."""
    n_known: int
    """Those of them that an earlier build made."""
    n_workers: int
    """Threads that simulate, where there is no cluster."""
    ray: str | None
    """Address of the Ray cluster that simulates."""
    most_bytes: int
    """Uncompressed size of the metrics and the numbers of the designs [bytes]."""
    seconds: float | None
    """Estimated remaining time [s]; None while it is unknown."""


def partial_folder(out: str | Path) -> Path:
    """Return the folder of the parts of an unfinished table."""
    return Path(f"{out}.partial")


def build_table(
    task: Task,
    out: str | Path,
    workers: int | None = None,
    progress: TableProgress | None = None,
    assembling: StageProgress | None = None,
    announce: Callable[[TablePlan], None] | None = None,
    *,
    ray: str | None = None,
) -> Path:
    """Simulate every distinct design of a task's space on its workloads, and write the table.

    In the main thread, SIGINT and SIGTERM stop it at once; the next call resumes with what is done.
    Processes that call this for the same file build it together, also on other machines that see
    its folder. Each may come and go; the bytes are the same.

    Args:
      task: Gives simulator, workloads with their weights, and perhaps an objective of its own.
      out: The Parquet file, which must not exist; its folder is made. For a URL it is built in
        the working folder and uploaded.
      workers: Threads that simulate; one a core by default.
      progress: Called with the number of simulated designs.
      assembling: Called with the progress of the table made of their results.
      announce: Called with the plan at the start, and again with the expected time.
      ray: Address of a Ray cluster whose processors simulate, ``auto`` for one that runs on this
        machine, or ``local`` for one that ends with the build. All nodes must see the table's
        folder at the same path. `workers` then limits the processors.

    Raises:
      InvalidArgumentError: The space is too large, the file exists, or unfinished parts are of
        something else.
      SimulatorError: The simulator broke on a design, so that nothing is proven.
      StudyInterrupted: A signal came.
      StorageError: Something cannot be written.
    """
    out, url = placed(out)
    if out.suffix != ".parquet":
        raise InvalidArgumentError(f"`out` must end in .parquet; got {str(out)!r}.")
    if url is not None:
        require_absent(out)
        # Its parts stay in the working folder, so that the next call can continue.
        local = build_table(task, out.name, workers, progress, assembling, announce, ray=ray)
        upload(local, out)
        local.unlink()
        return out
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    n_workers = check_whole("workers", workers or min(cores, MAX_WORKERS), 1, MAX_WORKERS)
    build = _planned(task, out if ray is None else out.absolute())
    is_new = not build.folder.exists()
    make_folder(build.folder)
    report = _Report(build, out, progress, announce)
    try:
        write_plan(build)
        with Interruption() as interruption:
            missing = _missing(build, report)
            report.begin(n_workers, ray)
            if ray is not None:
                simulate_on_ray(build, missing, ray, workers, report.add, interruption)
                missing = []
            _build_together(build, out, missing, n_workers, report, interruption, assembling)
    except StudyInterrupted as stop:
        raise StudyInterrupted(
            f"The build of {out} was stopped; what is done lies in {build.folder}.",
            stop.signal_number,
        ) from None
    except BaseException as error:
        # Another process has just finished the table, and removes the folder of the parts: they
        # cannot be read, or written, or are no longer all there.
        is_gone = isinstance(error, FileFormatError | InvalidArgumentError | OSError)
        if not (is_gone and is_there(out)):
            if is_new and not any(build.folder.glob("*-[0-9]*[0-9]")):
                shutil.rmtree(build.folder, ignore_errors=True)
            if isinstance(error, SimulatorError) and build.folder.exists():
                raise SimulatorError(f"{error}. Results so far stay in {build.folder}.") from None
            raise
    return out


def _build_together(
    build: Build,
    out: Path,
    missing: list[int],
    workers: int,
    report: "_Report",
    interruption: Interruption,
    assembling: StageProgress | None,
) -> None:
    """Simulate the parts that nobody else does, and make the table unless somebody else does."""
    claims = PartClaims(build.folder)
    try:
        while missing and not is_there(out):
            simulate_parts(build, missing, workers, report.add, interruption, claims)
            missing = [number for number in missing if not is_done(build, number)]
            if missing:
                # Others still simulate these, or were killed.
                time.sleep(_POLL_S)
                interruption.check()
        while not is_there(out):
            try:
                lease = Lease(build.folder)
            except StudyLockedError:
                time.sleep(_POLL_S)
                interruption.check()
                continue
            try:
                if not is_there(out):
                    _assemble(build, out, assembling)
                    interruption.hold_back()
                    shutil.rmtree(build.folder, ignore_errors=True)
            finally:
                lease.release()
    finally:
        claims.close()


def _planned(task: Task, out: Path) -> Build:
    space = task.space
    counted = space.count() if space.size <= _MAX_SIZE else None
    if counted is None or not counted.exact or counted.value > MAX_ROWS:
        hint = task.simulator.spec.table_space
        remedy = f"Choose space {hint!r}" if hint else "Choose a smaller space"
        shown = counted if counted is not None else f"{space.size:,} combinations, far more"
        raise InvalidArgumentError(
            f"A space must have at most {MAX_ROWS:,} designs, which can be counted, to be "
            f"tabulated; {space.name!r} has {shown}. {remedy}."
        )
    if out.exists():
        raise InvalidArgumentError(
            f"A table must be a new file where it is built; {out.absolute()} exists. Remove it, or "
            "choose another name."
        )
    part_size = max(PART_SIZE, -(-space.size // _MAX_PARTS))
    workloads = {w.source: w.workload for w in task.workloads}
    declaration = Declaration.of(task.simulator, task.space_name, workloads)
    return Build(task, declaration, partial_folder(out), part_size, counted.value)


# ---- parts that are left


def _missing(build: Build, report: "_Report") -> list[int]:
    """Return the numbers of missing parts, and count the results that exist."""
    n_workloads = len(build.task.workloads)
    missing = []
    for number in range(build.n_parts):
        n = len(build.numbers(number))
        if n and read_part(build, number, n) is None:
            missing.append(number)
            report.known += int(Part(build, number, n).is_known.sum())
        else:
            report.known += n * n_workloads
    return missing


@final
class _Report:
    """Report of the simulations to listeners."""

    def __init__(
        self,
        build: Build,
        out: Path,
        progress: TableProgress | None,
        announce: Callable[[TablePlan], None] | None,
    ) -> None:
        self._build, self._out = build, out
        self._progress, self._announce = progress, announce
        self._total = build.n_designs * len(build.task.workloads)
        self._workers = 1
        self._ray: str | None = None
        self._added = 0
        self._measured: tuple[float, int] | None = None
        self.known = 0

    def begin(self, workers: int, ray: str | None) -> None:
        """Announce the number of simulations."""
        self._workers, self._ray = workers, ray
        self._tell_plan(None if self.known < self._total else 0.0)
        self._tell()

    def add(self, n: int) -> None:
        """Count finished simulations, and report once the estimated total time."""
        self._added += n
        now = time.monotonic()
        if self._measured is None:
            # The first one may have been compiling.
            self._measured = now, self._added
        elif self._announce is not None and now > self._measured[0] + _MEASURE_S:
            rate = (self._added - self._measured[1]) / (now - self._measured[0])
            self._tell_plan((self._total - self.known - self._added) / rate)
            self._announce = None
        self._tell()

    def _tell_plan(self, seconds: float | None) -> None:
        if self._announce is not None:
            build, task = self._build, self._build.task
            n_columns = 1 + len(task.workloads) * len(task.metrics)
            self._announce(
                TablePlan(
                    self._out,
                    build.n_designs,
                    task.space.size,
                    len(task.workloads),
                    self._total,
                    self.known,
                    self._workers,
                    self._ray,
                    8 * n_columns * build.n_designs,
                    seconds,
                )
            )

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self.known + self._added, self._total, self.known)


# ---- the table


def _assemble(build: Build, out: Path, progress: StageProgress | None) -> None:
    places = {weighted.workload.name: n for n, weighted in enumerate(build.task.workloads)}
    searches = [
        OptimumSearch(task, [places[w.workload.name] for w in task.workloads])
        for task in tasks_of(build.task)
    ]
    content = TableContent(build.declaration)
    with atomic_file(out) as scratch:
        writer = TableWriter(scratch, build.declaration)
        try:
            for numbers, values, reason in _results(build, progress):
                writer.add(numbers, values, reason)
                content.add(numbers, values, reason)
                for search in searches:
                    search.add(numbers, values, reason)
            writer.close(content.metadata([search.optimum() for search in searches]))
        except BaseException:
            writer.abandon()
            raise
        # Whatever cannot be read back is not a table.
        TableFile(scratch)


def _results(
    build: Build, progress: StageProgress | None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield results part by part."""
    done = 0
    for part in range(build.n_parts):
        numbers = build.numbers(part)
        if not len(numbers):
            continue
        found = read_part(build, part, len(numbers))
        if found is None:
            raise FileFormatError(
                build.path(part), None, "it was changed while the table was built", "Build it again"
            )
        yield numbers, *found
        done += len(numbers)
        if progress is not None:
            progress("written designs", done, build.n_designs)
