"""Runs a sweep: each run a study in a folder of its own, several at a time, resumable."""

import json
import logging
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import msgspec

from archgym.checks import MAX_WORKERS, check_whole
from archgym.errors import FileFormatError, InvalidArgumentError, StorageError
from archgym.files.lease import Lease
from archgym.files.remote import command_line, placed, require_absent, upload
from archgym.files.storage import (
    is_there,
    make_folder,
    open_member,
    require_own,
    storage_errors,
    write_atomic,
)
from archgym.runtime.interruption import Interruption
from archgym.studies.metadata import JOURNAL_NAME, STUDY_NAME
from archgym.studies.snapshot import read_state
from archgym.sweep.crews import LocalCrew, RayCrew
from archgym.sweep.plan import Run, SweepPlan
from archgym.sweep.reading import PLAN_NAME, record_plan
from archgym.sweep.study_run import Digest, RunResult, require_same_study

logger = logging.getLogger(__name__)

_FAILURES_NAME = "failures.json"
_FINISHED_NAME = "finished.jsonl"
_MAX_BYTES = 2**24
# chosen: more than any cluster runs studies on; what is larger was written by mistake.
_MAX_RAY_WORKERS = 10_000
# chosen: a run whose process is lost so often without a new evaluation is what loses it.
_MAX_LOSSES = 3
_WAIT_S = 0.5
_BLOCK = 2**20


@final
@dataclass(frozen=True)
class SweepState:
    """Progress of a sweep."""

    runs: int
    finished: int
    failed: int
    evaluations: int
    """Evaluations of all runs together, those of earlier sessions included."""
    goal: int
    """Evaluations that there will be, where every run reaches its budget."""
    known: int
    """Evaluations that were there when it began."""


@final
@dataclass(frozen=True)
class SweepOutcome:
    """Result of a sweep."""

    folder: Path
    runs: int
    repeated: int
    """Runs that were finished before."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Reasons why runs failed, by their id."""


Crew = LocalCrew | RayCrew
"""Workers that run studies, on this machine or on others."""


def run_sweep(
    plan: SweepPlan,
    folder: str | Path,
    *,
    workers: int | None = None,
    address: str | None = None,
    only: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    progress: Callable[[SweepState], None] | None = None,
) -> SweepOutcome:
    """Run the unfinished runs of a plan in a folder.

    Each run is a study in ``<task>/<agent's label>/seed-<n>``. One that is finished is left as it
    is, one that was interrupted resumes by replay. Studies run in processes of their own, on this
    machine or on a cluster, which decides nothing but the time it takes. A run that fails is
    recorded, and the others continue; the next call tries it again. One whose process is lost is
    tried again at once, a few times; a full disk stops all.

    Args:
      plan: Plan of the runs; it may add tasks, agents and seeds to those of the folder.
      folder: The sweep's, new or one of this plan. For a URL it runs in a folder of that name in
        the working folder, which is copied to the store at the end, and kept.
      workers: Studies that run at once; one on this machine, and as many as the cluster takes
        on Ray, if None.
      address: A Ray cluster's, ``auto`` for the one that this machine belongs to, ``local`` for one
        of its own; None for processes of this machine, without Ray.
      only: Labels of agents or of families, whose members all run; None for all.
      seeds: Seeds of the plan to run; None for all.
      progress: Called during the sweep.

    Raises:
      InvalidArgumentError: The folder holds something else than a part of this plan.
      StudyInterrupted: A signal came; everything evaluated is kept.
      StudyLockedError: Another process runs this sweep, or took it over.
      StorageError: The folder cannot be written, by this process or by those of the runs.
      ArchGymError: Something else keeps every run from going on.
      MissingExtraError: An address is given, and Ray is not installed.
    """
    if workers is not None:
        check_whole("workers", workers, 1, MAX_WORKERS if address is None else _MAX_RAY_WORKERS)
    if not all(task.digest for task in plan.tasks):
        plan = plan.decided()
    runs = plan.runs(only, seeds)
    given, url = placed(folder)
    if url is not None:
        # A store has neither locks nor files that grow: the sweep runs in the working folder.
        require_absent(given)
        outcome = run_sweep(
            plan,
            url.name,
            workers=workers,
            address=address,
            only=only,
            seeds=seeds,
            progress=progress,
        )
        upload(Path(url.name), given)
        return replace(outcome, folder=given)
    # Workers elsewhere have other working folders.
    folder = given.absolute()
    _check_folder(folder)
    lease = Lease(make_folder(folder))
    try:
        record_plan(folder, plan)

        def crew(n_runs: int) -> Crew:
            if address is None:
                return LocalCrew(folder, min(workers or 1, n_runs))
            return RayCrew(folder, address, workers)

        repeated, failures = _Driver(folder, runs, lease, progress).drive(crew)
        return SweepOutcome(given, len(runs), repeated, failures)
    finally:
        lease.release()


def read_failures(folder: str | Path) -> dict[str, str]:
    """Return the reasons why runs of a sweep failed when they were last tried, by their id.

    Raises:
      FileFormatError: The file is damaged.
      StorageError: It cannot be read.
    """
    path = Path(folder) / _FAILURES_NAME
    if not path.is_file():
        return {}
    with storage_errors(path, "read"), open_member(path) as handle:
        content = handle.read(_MAX_BYTES)
    try:
        return msgspec.json.decode(content, type=dict[str, str])
    except (ValueError, RecursionError):
        raise FileFormatError(
            path,
            None,
            "must be what `archgym sweep run` wrote",
            "Remove it and run the sweep again",
        ) from None


def _check_folder(folder: Path) -> None:
    if folder.is_dir():
        with storage_errors(folder, "read"):
            for path in folder.iterdir():
                if path.is_symlink() or not path.is_dir():
                    require_own(path)
    if not folder.is_dir() or is_there(folder / PLAN_NAME):
        return
    with storage_errors(folder, "read"):
        names = sorted(path.name for path in folder.iterdir())
    # Files without a plan were left by a process that was killed as it began.
    strange = [name for name in names if name != "writer.lock" and not name.startswith(".writing-")]
    if strange:
        raise InvalidArgumentError(
            f"A sweep needs a new or empty folder, or its own; {folder} holds {strange[0]!r}. "
            "Choose another name."
        )


class _Driver:
    """Loop that gives runs to a crew and takes its reports."""

    def __init__(
        self,
        folder: Path,
        runs: Sequence[Run],
        lease: Lease,
        progress: Callable[[SweepState], None] | None,
    ) -> None:
        self._folder = folder
        self._runs = runs
        self._lease = lease
        self._progress = progress
        self._failures = read_failures(folder)
        self._waiting: deque[Run] = deque()
        # How often each run was lost in a row, and how many records it had when it last was.
        self._losses: dict[str, tuple[int, int]] = {}
        self._known = 0
        # Counted as runs end: what is told several times a second must not go through all runs.
        self._n_settled, self._n_failed, self._n_evaluations = 0, 0, 0
        self._n_planned = sum(run.budget for run in runs)

    def drive(self, crew: Callable[[int], Crew]) -> tuple[int, dict[str, str]]:
        """Run everything that is not finished.

        Args:
          crew: Makes the one that runs this many studies.

        Returns:
          How many were finished before, and why others failed, by their id.
        """
        repeated, has_changed = 0, False
        standings, unnoted = Standings(self._folder), list[tuple[Run, RunResult]]()
        checked: set[str] = set()
        for run in self._runs:
            name = run.id
            is_finished, evaluations = standings.of(run)
            self._known += evaluations
            if is_finished:
                repeated += 1
                self._count(run, evaluations)
                if name not in standings.noted:
                    unnoted.append((run, RunResult(evaluations)))
                # Another machine may have finished what failed here.
                has_changed |= self._failures.pop(name, None) is not None
            else:
                _refuse_links(self._folder, name, checked)
                self._waiting.append(run)
        _note_finished(self._folder, unnoted)
        if self._waiting:
            for run in self._waiting:
                self._failures.pop(run.id, None)
            self._n_failed = sum(run.id in self._failures for run in self._runs)
        if self._waiting or has_changed:
            self._write_failures()
        if self._waiting:
            with Interruption() as interruption:
                self._drive(crew, interruption)
        own = {run.id for run in self._runs}
        return repeated, {name: why for name, why in self._failures.items() if name in own}

    def _drive(self, crew_for: Callable[[int], Crew], interruption: Interruption) -> None:
        crew = crew_for(len(self._waiting))
        try:
            while self._waiting or crew.evaluations:
                while self._waiting and crew.room:
                    run = self._waiting.popleft()
                    # Between the two calls that start it, nobody would end a process.
                    with interruption.shielded():
                        crew.send(run, self._folder / run.id)
                for run, result in crew.take(_WAIT_S):
                    self._settle(run, result)
                self._tell(crew)
                self._lease.check()
            interruption.check()
        except Exception:
            interruption.hold_back()
            # What a library makes of an interruption, such as a SystemError, is one.
            interruption.check()
            raise
        finally:
            interruption.hold_back()
            crew.stop()

    def _settle(self, run: Run, result: RunResult) -> None:
        if result.is_lost and self._may_try_again(run):
            self._waiting.appendleft(run)
            return
        self._count(run, result.evaluations)
        if result.failure is None:
            _note_finished(self._folder, [(run, result)])
            return
        self._n_failed += 1
        self._failures[run.id] = result.failure
        if result.stops_all:
            # The disk that is full for a run may be so for its reason.
            with suppress(StorageError):
                self._write_failures()
            problem = result.failure.removesuffix(".")
            raise StorageError(
                f"Sweep stopped: {problem}. Completed evaluations are saved. "
                "To continue: " + command_line("archgym", "sweep", "resume", self._folder)
            )
        self._write_failures()

    def _may_try_again(self, run: Run) -> bool:
        n_records = _count_lines(self._folder / run.id / JOURNAL_NAME)
        losses, n_before = self._losses.get(run.id, (0, -1))
        losses = losses + 1 if n_records <= n_before else 1
        self._losses[run.id] = losses, n_records
        logger.info("The process of %s was lost with %s records.", run.id, n_records)
        return losses < _MAX_LOSSES

    def _count(self, run: Run, evaluations: int) -> None:
        self._n_settled += 1
        self._n_evaluations += evaluations
        # It may have ended before its budget.
        self._n_planned += evaluations - run.budget

    def _tell(self, crew: Crew) -> None:
        if self._progress is None:
            return
        running = sum(crew.evaluations.values())
        self._progress(
            SweepState(
                len(self._runs),
                self._n_settled - self._n_failed,
                self._n_failed,
                self._n_evaluations + running,
                self._n_planned,
                self._known,
            )
        )

    def _write_failures(self) -> None:
        path = self._folder / _FAILURES_NAME
        self._lease.check()
        if self._failures:
            text = json.dumps(self._failures, indent=1, ensure_ascii=False)
            write_atomic(path, text + "\n")
        else:
            with suppress(FileNotFoundError):
                path.unlink()


def _refuse_links(folder: Path, name: str, checked: set[str]) -> None:
    """Refuse a run's folder that is, or lies in, a link to somewhere else; `checked` need none."""
    parent = name.rpartition("/")[0]
    if parent and parent not in checked:
        _refuse_links(folder, parent, checked)
        checked.add(parent)
    if os.path.islink(f"{folder}/{name}"):  # noqa: PTH114 - of a million runs
        require_own(folder / name)


class Note(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A finished run, and the size and times of its files when it ended."""

    run: str
    evaluations: int
    journal_bytes: int
    journal_ns: int
    study_ns: int


@final
class FullNote(Note, frozen=True, array_like=True, gc=False):
    """A note with the results of the run."""

    digest: Digest | None = None


@final
class Standings:
    """Progress of runs, looked up without reading studies that are known to be finished.

    The driver notes the size and time of a study's files when it ends. Where they have changed
    since, or were copied, and where there is no note, the study is read.
    """

    def __init__(self, folder: Path, kind: type[Note] = Note) -> None:
        """Read the notes of a sweep's folder; those of kind `Note` leave results out."""
        self._folder = folder
        self._names: dict[str, frozenset[str]] = {}
        self._place = str(folder)
        self.noted: dict[str, Note] = {}
        decoder = msgspec.json.Decoder(kind)
        path = folder / _FINISHED_NAME
        if not path.is_file():
            return
        with storage_errors(path, "read"), open_member(path) as handle:
            for line in handle:
                content, _, stated = line.rpartition(b" ")
                try:
                    if content and zlib.crc32(content) == int(stated, 16):
                        note = decoder.decode(content)
                        self.noted[note.run] = note
                # A line that is damaged or was cut short says nothing.
                except ValueError:
                    pass

    def has_begun(self, run: Run) -> bool:
        """Return True if a run has a folder."""
        parent, _, name = run.id.rpartition("/")
        if parent not in self._names:
            with suppress(OSError), os.scandir(self._folder / parent) as entries:
                self._names[parent] = frozenset(entry.name for entry in entries)
        return name in self._names.get(parent, ())

    def note(self, name: str) -> Note | None:
        """Return the note of a run whose files are as they were when it ended."""
        noted = self.noted.get(name)
        if noted is not None:
            mark = _mark(f"{self._place}/{name}")
            if mark == (noted.journal_bytes, noted.journal_ns, noted.study_ns):
                return noted
        return None

    def of(self, run: Run) -> tuple[bool, int]:
        """Return True if a run is finished, and its evaluations; see `standing`."""
        name = run.id
        noted = self.note(name)
        if noted is not None:
            return True, noted.evaluations
        return standing(self._folder / name, run) if self.has_begun(run) else (False, 0)


def _note_finished(folder: Path, ended: Iterable[tuple[Run, RunResult]]) -> None:
    """Note runs that are finished, with their results; what cannot be noted is read later."""
    lines = []
    for run, result in ended:
        mark = _mark(f"{folder}/{run.id}")
        if mark is not None:
            note = msgspec.json.encode(FullNote(run.id, result.evaluations, *mark, result.digest))
            # A line before it may have been cut short.
            lines.append(b"\n%b %08x\n" % (note, zlib.crc32(note)))
    if lines:
        with suppress(OSError), (folder / _FINISHED_NAME).open("ab") as handle:
            handle.write(b"".join(lines))


def _mark(folder: str) -> tuple[int, int, int] | None:
    """Return the size and the time of a run's journal, and the time of its description."""
    try:
        journal, study = os.lstat(f"{folder}/{JOURNAL_NAME}"), os.lstat(f"{folder}/{STUDY_NAME}")
    except OSError:
        return None
    return journal.st_size, journal.st_mtime_ns, study.st_mtime_ns


def standing(folder: Path, run: Run) -> tuple[bool, int]:
    """Return True if a run is finished, found out without reading its records, and its evaluations.

    Raises:
      InvalidArgumentError: The folder holds another study.
    """
    if not (folder / STUDY_NAME).is_file():
        return False, 0
    require_same_study(run, folder)
    state: Mapping[str, Any] = read_state(folder) or {}
    asks, evaluations = state.get("asks"), state.get("evaluations")
    if type(asks) is not int or type(evaluations) is not int:
        return False, 0
    is_whole = _count_lines(folder / JOURNAL_NAME) == asks
    return state.get("status") == "finished" and is_whole, evaluations


def _count_lines(path: Path) -> int:
    lines = 0
    with suppress(OSError), open_member(path) as handle:
        while block := handle.read(_BLOCK):
            lines += block.count(b"\n")
    return lines
