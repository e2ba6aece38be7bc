"""State of a running study or sweep: curve, best design, front, failures, rate and time left.

A `LiveView` reads only what was added to the journals since its last update, so that an update
takes milliseconds also after 100,000 evaluations.
"""

import hashlib
import json
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.analysis.pareto import front
from archgym.errors import ArchGymError, FileFormatError
from archgym.evaluation.limits import LIMITED_REWARD, missed_limits
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, objective_from_json
from archgym.files.lease import current_writer
from archgym.report.figures import front_step
from archgym.report.quantities import axis_unit, metric_title, quantity
from archgym.spaces.space import DesignSpace
from archgym.studies.journal import JournalTail
from archgym.studies.metadata import JOURNAL_NAME, STUDY_NAME, Header, read_header
from archgym.studies.records import Records
from archgym.studies.snapshot import read_state
from archgym.sweep.reading import PLAN_NAME, read_recorded_plan

# chosen: dots of one task that a browser draws in a few milliseconds.
_MAX_DOTS = 1500
# chosen: a rate over the last minute follows changes and does not jump.
_WINDOW_S = 60.0
# chosen: a curve has no more steps than a drawing has pixels.
_MAX_STEPS = 600
# chosen: more lines are not told apart.
_MAX_LINES = 6


@final
class LiveView:
    """State of a folder that is updated while a study or sweep runs.

    Example:
        view = LiveView(Path("studies/genetic-0"))
        view.update()
        view.to_json()["tasks"][0]["best"]
    """

    def __init__(self, folder: Path) -> None:
        """Open a study or a sweep, which may have no evaluation yet.

        Raises:
          FileFormatError: The folder is neither a study nor a sweep.
        """
        self._folder = folder
        self._is_sweep = (folder / PLAN_NAME).is_file()
        self._runs: dict[str, _Run] = {}
        self._tasks: dict[bytes, _Task] = {}
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
        key = hashlib.sha256(json.dumps(header.task, sort_keys=True).encode()).digest()
        if key not in self._tasks:
            self._tasks[key] = _Task(header)
        self._runs[str(folder)] = _Run(label, folder, header, self._tasks[key])

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
        rate = self.rate
        return {
            "title": self._folder.name or str(self._folder),
            "problem": self.problem,
            "evaluations": self.evaluations,
            "planned": planned,
            "rate": rate,
            "eta_s": left / rate if rate and left and "running" in states else None,
            "runs": {
                "waiting": len(self._waiting),
                **{name: states.count(name) for name in ("running", "finished", "stopped")},
            },
            "tasks": [_task_json(task, runs) for task, runs in by_task.items()],
        }


class _Task:
    """Parts of a recorded task that its runs share."""

    def __init__(self, header: Header) -> None:
        self.id = str(header.task["id"])
        self.space: DesignSpace = header.space()
        self.metrics: tuple[MetricSpec, ...] = header.metrics()
        self.objective: Objective = objective_from_json(header.task["objective"])
        weights = np.array([float(w["weight"]) for w in header.task["workloads"]])
        self.weights = weights / weights.sum()
        self.default = self.weights @ np.array(header.task["reference"], dtype=np.float64)
        self.pair = _pair(self.metrics, self.objective)


class _Run:
    """One study: the state that its records so far add up to."""

    def __init__(self, label: str, folder: Path, header: Header, task: _Task) -> None:
        self.label = label
        self.folder = folder
        self.budget = header.budget
        self.task_id, self.space = task.id, task.space
        self.metrics, self.objective = task.metrics, task.objective
        self.weights, self.default, self.pair = task.weights, task.default, task.pair
        self._tail = JournalTail(folder / JOURNAL_NAME, header.shape(self.space))
        self._version = _version(folder / STUDY_NAME)
        self._clear()

    def _clear(self) -> None:
        self.evaluations = self.infeasible = self.failed = 0
        self.last_error = ""
        self.best_reward = -np.inf
        self.best: tuple[np.ndarray, np.ndarray, int] | None = None
        self.curve: list[tuple[int, float]] = []
        self.front = np.empty((0, 2))
        self.dots = np.empty((0, 2))
        self._every = 1

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
        rows, ordinals = rows[built], ordinals[built]
        if not len(rows):
            return
        rewards = records.reward[rows]
        values = np.einsum("nwm,w->nm", records.values[rows], self.weights)
        highest = np.maximum.accumulate(np.append(self.best_reward, rewards))
        rises = np.flatnonzero(highest[1:] > highest[:-1])
        # The curve begins with the first design that meets all limits.
        drawn = rises[rewards[rises] > LIMITED_REWARD] if self.objective.limits else rises
        self.curve += zip(ordinals[drawn].tolist(), rewards[drawn].tolist(), strict=True)
        if len(rises):
            row = rows[rises[-1]]
            self.best_reward = float(records.reward[row])
            self.best = records.indices[row], records.values[row], int(ordinals[rises[-1]])
        if self.pair is not None:
            self._take_points(values[:, list(self.pair)], rewards, ordinals)

    def _take_points(self, points: np.ndarray, rewards: np.ndarray, ordinals: np.ndarray) -> None:
        assert self.pair is not None
        kept = points[ordinals % self._every == 0]
        self.dots = np.concatenate([self.dots, kept])
        while len(self.dots) > _MAX_DOTS:
            self.dots, self._every = self.dots[::2], self._every * 2
        if self.objective.limits:
            points = points[rewards > LIMITED_REWARD]
        merged = np.concatenate([self.front, points])
        if len(merged):
            merged = np.unique(merged, axis=0)
            signs = [-1.0 if self.metrics[p].goal == "minimise" else 1.0 for p in self.pair]
            self.front = merged[front(merged * signs)]


def _version(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is replaced; None if there is no file."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns


def _pair(metrics: Sequence[MetricSpec], objective: Objective) -> tuple[int, int] | None:
    """Return the places of two metrics of the objective, its limits, or any that has a goal."""
    names = [spec.name for spec in metrics if spec.goal != "none"]
    first = [name for name in dict.fromkeys((*objective.metrics, *names)) if name in names][:2]
    if len(first) < 2:
        return None
    known = [spec.name for spec in metrics]
    return known.index(first[0]), known.index(first[1])


# ---- what the page shows of a task


def _task_json(task_id: str, runs: Sequence[_Run]) -> dict[str, Any]:
    best = max(runs, key=lambda run: run.best_reward)
    return {
        "id": task_id,
        "best": _best_json(best),
        "curve": _curve(runs),
        "front": _front(runs, best),
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
            "best": max(run.best_reward for run in own) if any(r.best for r in own) else None,
            "infeasible": sum(run.infeasible for run in own),
            "failed": sum(run.failed for run in own),
        }
        for label, own in by_label.items()
    ]


def _best_json(run: _Run) -> dict[str, Any] | None:
    if run.best is None:
        return None
    indices, by_workload, evaluation = run.best
    values = run.weights @ by_workload
    design = run.space.design_at(indices)
    default = run.space.default
    names = [spec.name for spec in run.metrics]
    places = [names.index(name) for name in run.objective.metrics if name in names]
    workloads: list[Mapping[str, float]] = [
        dict(zip(names, row.tolist(), strict=True)) for row in by_workload
    ]
    return {
        "agent": run.label,
        "evaluation": evaluation,
        "reward": run.best_reward,
        "metrics": [
            {
                "title": metric_title(run.metrics[p]),
                "best": quantity(float(values[p]), run.metrics[p].unit),
                "default": quantity(float(run.default[p]), run.metrics[p].unit),
            }
            for p in places
        ],
        "changes": [
            [name, str(default[name]), f"{value} {run.space.parameter(name).unit}".rstrip()]
            for name, value in run.space.changes(design).items()
        ],
        "limits": [str(limit) for limit in run.objective.limits],
        "missed": missed_limits(run.objective.limits, workloads),
    }


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


def _front(runs: Sequence[_Run], best: _Run) -> dict[str, Any] | None:
    """Return the front of all runs as a drawing, in real units."""
    first = runs[0]
    if first.pair is None or best.best is None:
        return None
    points = np.unique(np.concatenate([run.front for run in runs]), axis=0)
    specs = [first.metrics[place] for place in first.pair]
    signs = [-1.0 if spec.goal == "minimise" else 1.0 for spec in specs]
    points = points[front(points * signs)] if len(points) else points
    dots = np.concatenate([run.dots for run in runs])
    dots = dots[:: max(1, len(dots) // _MAX_DOTS)]
    default = first.default[list(first.pair)]
    own = (best.weights @ best.best[1])[list(first.pair)]
    units = [axis_unit(float(default[k]) or 1.0, spec.unit) for k, spec in enumerate(specs)]
    scale = np.array([factor for factor, _ in units])
    axes = {}
    for k, axis in enumerate("xy"):
        drawn = np.concatenate([points[:, k], default[[k]], own[[k]]]) * scale[k]
        unit = f" [{units[k][1]}]" if units[k][1] else ""
        axes[axis] = {
            "title": metric_title(specs[k]) + unit,
            "better": "less is better" if specs[k].goal == "minimise" else "more is better",
            "log": False,
            "range": [float(drawn.min()), float(drawn.max())],
        }
    return {
        "label": "Front",
        **axes,
        "dots": {"x": (dots[:, 0] * scale[0]).tolist(), "y": (dots[:, 1] * scale[1]).tolist()},
        "lines": [
            {
                "name": "front",
                "step": front_step(specs[0]),
                "x": (points[:, 0] * scale[0]).tolist(),
                "y": (points[:, 1] * scale[1]).tolist(),
            }
        ],
        "marks": [
            {
                "kind": kind,
                "text": kind.replace("star", "default"),
                "title": "",
                "x": float(at[0] * scale[0]),
                "y": float(at[1] * scale[1]),
            }
            for kind, at in (("star", default), ("best", own))
        ],
    }
