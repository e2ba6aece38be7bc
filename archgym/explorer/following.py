"""Studies and sweeps that are followed while they run: records, curve, failures and time left.

A `Follower` reads only what was added to the journals since its last update, so that an update
takes milliseconds also after 100,000 evaluations.
"""

import hashlib
import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.errors import ArchGymError, FileFormatError
from archgym.evaluation.limits import LIMITED_REWARD
from archgym.files.lease import current_writer
from archgym.spaces.space import DesignSpace
from archgym.studies.journal import JournalTail
from archgym.studies.metadata import JOURNAL_NAME, STUDY_NAME, Header, read_header
from archgym.studies.records import Records
from archgym.studies.snapshot import read_state
from archgym.sweep.reading import PLAN_NAME, read_recorded_plan

# chosen: a rate over the last minute follows changes and does not jump.
_WINDOW_S = 60.0
# chosen: a curve has no more steps than a drawing has pixels.
_MAX_STEPS = 600
# chosen: more lines are not told apart.
_MAX_LINES = 6


@final
class Follower:
    """Reader of the folder of a study or sweep that may be running.

    Example:
        follower = Follower(Path("studies/genetic-0"))
        follower.update()
        follower.to_json()["evaluations"]
    """

    def __init__(self, folder: Path) -> None:
        """Open a study or a sweep, which may have no evaluation yet.

        Raises:
          FileFormatError: The folder is neither a study nor a sweep.
        """
        self.folder = folder
        self._is_sweep = (folder / PLAN_NAME).is_file()
        self._runs: dict[str, _Run] = {}
        self._spaces: dict[bytes, DesignSpace] = {}
        self._waiting: dict[str, Path] = {}
        self._planned = 0
        self._seen: deque[tuple[float, int]] = deque()
        self.problem = ""
        if self._is_sweep:
            for run in read_recorded_plan(folder).runs():
                self._waiting[run.label + "\0" + run.id] = folder / run.id
                self._planned += run.budget
        elif (folder / STUDY_NAME).is_file():
            header = read_header(folder)
            self._add(header.agent or header.kind, folder)
        else:
            raise FileFormatError(
                folder, None, "must be a study or a sweep", "Give the folder of one"
            )

    def _add(self, label: str, folder: Path) -> None:
        header = read_header(folder)
        # A sweep has thousands of runs, each of which would hold a space of its own.
        key = hashlib.sha256(json.dumps(header.task["space"], sort_keys=True).encode()).digest()
        space = self._spaces.setdefault(key, header.space())
        self._runs[str(folder)] = _Run(label, folder, header, space)

    def update(self) -> bool:
        """Read what was added since the last update; return True if there is more to read.

        A file that cannot be read now leaves the state as it is, with a note in `problem`.
        """
        self.problem = ""
        has_more = False
        for key, folder in list(self._waiting.items()):
            if (folder / STUDY_NAME).is_file() and (folder / JOURNAL_NAME).is_file():
                with self._noting():
                    self._add(key.partition("\0")[0], folder)
                    del self._waiting[key]
        for run in self._runs.values():
            with self._noting():
                has_more |= run.update()
        now, total = time.monotonic(), self.evaluations
        if not has_more:
            self._seen.append((now, total))
        while len(self._seen) > 2 and now - self._seen[0][0] > _WINDOW_S:
            self._seen.popleft()
        return has_more

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Note an error instead of raising it, so that other runs are still followed."""
        try:
            yield
        except ArchGymError as error:
            self.problem = " ".join(str(error).split())

    @property
    def tasks(self) -> dict[str, Path]:
        """Tasks of the runs that have begun, each with the folder of its first run."""
        return {run.task_id: run.folder for run in reversed(self._runs.values())}

    def new_records(self, task_id: str) -> list[Records]:
        """Return the records of a task that came since the last call; those of others are dropped.

        Repeats and failed evaluations are not among them.
        """
        found: list[Records] = []
        for run in self._runs.values():
            found += run.new if run.task_id == task_id else []
            run.new = []
        return found

    @property
    def evaluations(self) -> int:
        """Evaluations that were read."""
        return sum(run.evaluations for run in self._runs.values())

    @property
    def planned(self) -> int:
        """Evaluations at the end: those of the sweep's plan, or the budget of the study now."""
        if self._is_sweep:
            return self._planned
        return sum(run.budget or 0 for run in self._runs.values())

    @property
    def rate(self) -> float | None:
        """Evaluations per second over the last minute; None before the second update."""
        if len(self._seen) < 2 or self._seen[-1][0] <= self._seen[0][0]:
            return None
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        return (after - before) / (end - start)

    def to_json(self) -> dict[str, Any]:
        """Return everything that the page shows."""
        by_task: dict[str, list[_Run]] = {}
        for run in self._runs.values():
            by_task.setdefault(run.task_id, []).append(run)
        states = [run.status for run in self._runs.values()]
        planned = self.planned
        left = max(0, planned - self.evaluations)
        # Of what has ended, the rate would fall each second, and be sent.
        rate = self.rate if "running" in states else None
        return {
            "title": self.folder.name or str(self.folder),
            "problem": self.problem,
            "evaluations": self.evaluations,
            "planned": planned,
            "rate": rate,
            "eta_s": left / rate if rate and left else None,
            "runs": {
                "waiting": len(self._waiting),
                **{name: states.count(name) for name in ("running", "finished", "stopped")},
            },
            "tasks": [_task_json(task, runs) for task, runs in by_task.items()],
        }


class _Run:
    """One study: the state that its records so far add up to."""

    def __init__(self, label: str, folder: Path, header: Header, space: DesignSpace) -> None:
        self.label = label
        self.folder = folder
        self.budget = header.budget
        self.task_id, self.space = str(header.task["id"]), space
        self._has_limits = bool(header.task["objective"].get("limits"))
        self._tail = JournalTail(folder / JOURNAL_NAME, header.shape(space))
        self._version = _version(folder / STUDY_NAME)
        self._clear()

    def _clear(self) -> None:
        self.evaluations = self.infeasible = self.failed = 0
        self.last_error = ""
        self.best_reward = -np.inf
        self.curve: list[tuple[int, float]] = []
        self.new: list[Records] = []

    @property
    def n_damaged(self) -> int:
        """Damaged lines of the journal."""
        return self._tail.n_damaged

    @property
    def status(self) -> str:
        """One of running, finished, stopped."""
        if self.budget is not None and self.evaluations >= self.budget:
            return "finished"
        if current_writer(self.folder) is not None:
            return "running"
        return (
            "finished" if (read_state(self.folder) or {}).get("status") == "finished" else "stopped"
        )

    def update(self) -> bool:
        """Take the new records and a new budget; return True if more records are waiting."""
        version = _version(self.folder / STUDY_NAME)
        if version != self._version:
            # A study that is resumed may have another budget.
            self.budget, self._version = read_header(self.folder).budget, version
        records, is_new = self._tail.poll()
        if is_new:
            self._clear()
        if len(records):
            self._take(records)
        return self._tail.has_more

    def _take(self, records: Records) -> None:
        rows = np.flatnonzero(records.same < 0)
        ordinals = self.evaluations + 1 + np.arange(len(rows))
        self.evaluations += len(rows)
        failed = np.isin(records.seq[rows], list(records.errors))
        built = (records.reason[rows] == 0).all(axis=1) & ~failed
        self.failed += int(failed.sum())
        self.infeasible += int((~built & ~failed).sum())
        if records.errors:
            self.last_error = " ".join(records.errors[max(records.errors)].split())
        self.new.append(records.rows(rows[~failed]))
        rows, ordinals = rows[built], ordinals[built]
        if not len(rows):
            return
        rewards = records.reward[rows]
        highest = np.maximum.accumulate(np.append(self.best_reward, rewards))
        rises = np.flatnonzero(highest[1:] > highest[:-1])
        # The curve begins with the first design that meets all limits.
        drawn = rises[rewards[rises] > LIMITED_REWARD] if self._has_limits else rises
        self.curve += zip(ordinals[drawn].tolist(), rewards[drawn].tolist(), strict=True)
        if len(rises):
            self.best_reward = float(rewards[rises[-1]])


def _version(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is replaced; None if there is no file."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns


# ---- what the page shows of a task


def _task_json(task_id: str, runs: Sequence[_Run]) -> dict[str, Any]:
    return {
        "id": task_id,
        "curve": _curve(runs),
        "agents": _agents(runs),
        "damaged": sum(run.n_damaged for run in runs),
        "error": next((run.last_error for run in runs if run.last_error), ""),
    }


def _agents(runs: Sequence[_Run]) -> list[dict[str, Any]]:
    by_label: dict[str, list[_Run]] = {}
    for run in runs:
        by_label.setdefault(run.label, []).append(run)
    return [
        {
            "agent": label,
            "runs": len(own),
            "running": sum(run.status == "running" for run in own),
            "evaluations": sum(run.evaluations for run in own),
            "best": max(run.best_reward for run in own)
            if any(r.best_reward > -np.inf for r in own)
            else None,
            "infeasible": sum(run.infeasible for run in own),
            "failed": sum(run.failed for run in own),
        }
        for label, own in by_label.items()
    ]


def _curve(runs: Sequence[_Run]) -> dict[str, Any]:
    """Return the best reward so far of each agent's best run."""
    by_label: dict[str, _Run] = {}
    for run in runs:
        if run.label not in by_label or run.best_reward > by_label[run.label].best_reward:
            by_label[run.label] = run
    shown = sorted(by_label.values(), key=lambda run: -run.best_reward)[:_MAX_LINES]
    lines = []
    for run in shown:
        if not run.curve:
            continue
        keep = np.unique(np.linspace(0, len(run.curve) - 1, _MAX_STEPS).astype(int))
        x = [run.curve[k][0] for k in keep] + [run.evaluations]
        y = [run.curve[k][1] for k in keep] + [run.best_reward]
        lines.append({"name": run.label, "step": "hv", "x": x, "y": y})
    # The first, bad designs would hide the rest.
    settled = [v for line in lines for v in line["y"][len(line["y"]) // 10 :]]
    return {
        "label": "Best reward so far",
        "x": {"title": "evaluations", "log": False, "range": [1, max(r.evaluations for r in runs)]},
        "y": {
            "title": "best reward so far",
            "log": False,
            "fixed": bool(settled),
            "range": [min(settled), max(settled)] if settled else [],
        },
        "lines": lines,
        "legend": True,
    }
