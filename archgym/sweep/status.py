"""Progress of a sweep, read from its folder alone, and an estimate of its time."""

import socket
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, final

import msgspec
import numpy as np

from archgym.errors import ArchGymError
from archgym.files.lease import Writer, current_writer, last_writer
from archgym.files.remote import local_copy
from archgym.studies.metadata import STUDY_NAME
from archgym.studies.snapshot import read_state
from archgym.sweep.driver import Standings, read_failures
from archgym.sweep.plan import Run, SweepPlan
from archgym.sweep.reading import read_recorded_plan

# chosen: a study notes how far it is every second; a shared file system may show it later.
_FRESH_S = 60.0
# chosen: enough designs for an estimate that costs little itself.
_TRIED_DESIGNS = 16

Status = Literal["finished", "running", "failed", "interrupted", "waiting"]


@final
class RunStatus(msgspec.Struct, frozen=True, gc=False):
    """Progress of a run."""

    run: Run
    status: Status
    evaluations: int
    """Progress that its study last noted."""
    failure: str | None = None
    writer: Writer | None = None
    """Writer that runs it."""

    def to_json(self) -> dict[str, Any]:
        """Return the status as JSON members."""
        return {
            "run": self.run.id,
            "task": self.run.task.label,
            "agent": self.run.label,
            "seed": self.run.seed,
            "status": self.status,
            "evaluations": self.evaluations,
            "budget": self.run.budget,
            "failure": self.failure,
            "writer": None if self.writer is None else str(self.writer),
        }


@final
@dataclass(frozen=True)
class SweepStatus:
    """Progress of a sweep."""

    folder: Path
    driver: Writer | None
    """Writer that runs it; None if nobody does."""
    runs: tuple[RunStatus, ...]

    @property
    def evaluations(self) -> int:
        """Evaluations of all runs."""
        return sum(run.evaluations for run in self.runs)

    @property
    def goal(self) -> int:
        """Evaluations that there will be, where every run reaches its budget."""
        return sum(
            run.evaluations if run.status == "finished" else run.run.budget for run in self.runs
        )

    def counts(self) -> dict[str, int]:
        """Return the number of runs by status."""
        known: tuple[Status, ...] = ("finished", "running", "failed", "interrupted", "waiting")
        found = Counter(run.status for run in self.runs)
        return {status: found[status] for status in known}

    def to_json(self) -> dict[str, Any]:
        """Return the status as JSON members."""
        parts: dict[tuple[str, str], list[RunStatus]] = {}
        for run in self.runs:
            parts.setdefault((run.run.task.label, run.run.label), []).append(run)
        return {
            "folder": str(self.folder),
            "driver": None if self.driver is None else str(self.driver),
            "runs": len(self.runs),
            **self.counts(),
            "evaluations": self.evaluations,
            "goal": self.goal,
            "parts": [
                {
                    "task": task,
                    "agent": agent,
                    "runs": len(runs),
                    **SweepStatus(self.folder, None, tuple(runs)).counts(),
                    "evaluations": sum(run.evaluations for run in runs),
                }
                for (task, agent), runs in parts.items()
            ],
            "studies": [run.to_json() for run in self.runs],
        }


def read_status(folder: str | Path) -> SweepStatus:
    """Return the progress of a sweep; nothing is changed.

    Raises:
      FileFormatError: The folder is not a sweep's.
      StorageError: It cannot be read.
    """
    folder = local_copy(folder)
    plan = read_recorded_plan(folder)
    failures = read_failures(folder)
    driver, known = current_writer(folder), Standings(folder)
    runs = tuple(_status(known, folder, run, failures) for run in plan.runs())
    return SweepStatus(folder, driver, runs)


def _status(known: Standings, root: Path, run: Run, failures: Mapping[str, str]) -> RunStatus:
    try:
        is_finished, evaluations = known.of(run)
    except ArchGymError as error:
        return RunStatus(run, "failed", 0, str(error))
    if is_finished:
        return RunStatus(run, "finished", evaluations)
    if not known.has_begun(run):
        failure = failures.get(run.id)
        return RunStatus(run, "waiting" if failure is None else "failed", 0, failure)
    folder = root / run.id
    if not (folder / STUDY_NAME).is_file():
        failure = failures.get(run.id)
        return RunStatus(run, "waiting" if failure is None else "failed", 0, failure)
    writer = current_writer(folder) or _writer_elsewhere(folder)
    if writer is not None:
        return RunStatus(run, "running", evaluations, writer=writer)
    failure = failures.get(run.id)
    return RunStatus(run, "interrupted" if failure is None else "failed", evaluations, failure)


def _writer_elsewhere(folder: Path) -> Writer | None:
    """Return the writer on another machine, if it noted something lately; its lock may not show."""
    writer, state = last_writer(folder), read_state(folder) or {}
    if writer is None or writer.host == socket.gethostname() or state.get("status") != "running":
        return None
    with suppress(ValueError, TypeError, KeyError):
        age_s = (datetime.now(UTC) - datetime.fromisoformat(state["updated"])).total_seconds()
        return writer if abs(age_s) < _FRESH_S else None
    return None


def simulation_seconds(plan: SweepPlan) -> float:
    """Estimate the simulation time of a plan on one core, from a few random designs per task."""
    seconds = 0.0
    for task in plan.tasks:
        made = task.make()
        designs = made.space.sample(_TRIED_DESIGNS, np.random.default_rng(0))
        began = time.perf_counter()
        made.evaluate(designs)
        per_design = (time.perf_counter() - began) / len(designs)
        seconds += per_design * plan.budget * len(plan.agents) * len(plan.seeds)
    return seconds
