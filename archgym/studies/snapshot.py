"""A study as its readers see it: records, best design, curve, damage; and its verification."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from archgym.errors import InvalidArgumentError
from archgym.evaluation.limits import Limit, missed_limits, violations
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import objective_from_json
from archgym.evaluation.simulator import FAILED
from archgym.evaluation.trials import Trials
from archgym.files.lease import Writer, current_writer
from archgym.files.remote import local_copy
from archgym.files.storage import open_member
from archgym.spaces.design import Design
from archgym.spaces.display import html_table, shortened
from archgym.spaces.space import DesignSpace
from archgym.studies.journal import Damage, load_journal
from archgym.studies.metadata import JOURNAL_NAME, STATE_NAME, Header, Segment, read_header
from archgym.studies.records import Records
from archgym.studies.replay import Ending
from archgym.tasks.executor import evaluate_isolated
from archgym.tasks.task import Evaluation, Task

if TYPE_CHECKING:
    import pandas as pd


_STATE_BYTES = 65536


@final
@dataclass(frozen=True)
class Failures:
    """Evaluations that failed in the same way."""

    evaluations: tuple[int, ...]
    """Their numbers, from 1."""
    error: str
    """Message of the first: such as exit code and last lines of a program."""

    def __str__(self) -> str:
        first, n = self.evaluations[0], len(self.evaluations) - 1
        alike = f" and {n} more like it" if n else ""
        return f"evaluation {first}{alike} failed: {' '.join(self.error.split())}"


@final
@dataclass(frozen=True)
class Outcome:
    """One evaluation: a design and its results."""

    seq: int
    design: Design
    reward: float
    metrics: Mapping[str, float]
    """Averaged over the workloads by weight."""
    metrics_by_workload: Mapping[str, Mapping[str, float]]
    evaluation: int
    """Its number, from 1, as tables and files of measurements name it."""

    def __repr__(self) -> str:
        parts = [f"seq={self.seq}", f"reward={self.reward:.6g}"]
        parts += [f"{name}={value:.6g}" for name, value in self.metrics.items()]
        return shortened([*parts, *(f"{n}={v!r}" for n, v in self.design.items())], "Outcome(")

    def _repr_html_(self) -> str:
        metrics = html_table("Metrics", (), self.metrics.items())
        return metrics + html_table("Design", (), self.design.items())

    def to_json(self) -> dict[str, Any]:
        """Return the evaluation as JSON members."""
        return {
            "seq": self.seq,
            "evaluation": self.evaluation,
            "design": dict(self.design),
            "reward": self.reward,
            "metrics": self.metrics,
            "metrics_by_workload": self.metrics_by_workload,
        }


@final
@dataclass(frozen=True)
class StudyLog:
    """Content of a study's folder."""

    folder: Path
    header: Header
    records: Records
    damage: tuple[Damage, ...] = ()
    state: Mapping[str, Any] | None = None
    """State noted by the last writer: informative, the journal counts."""
    writer: Writer | None = None
    """Current writer of the study."""

    def __repr__(self) -> str:
        n = self.evaluations
        return (
            f"StudyLog({str(self.folder)[-200:]!r}, {self.task_id[:300]!r}, {self.author[:100]}, "
            f"{n} evaluation{'s' * (n != 1)}, {self.status})"
        )

    def _repr_html_(self) -> str:
        best = self.best()
        caption = f"{self.task_id}: {self.author}, {self.evaluations} evaluations, {self.status}"
        if best is None:
            return html_table(caption, (), [("No design could be built.",)])
        averages = self.weights @ self.reference
        rows: list[tuple[object, ...]] = [
            (spec.name, best.metrics[spec.name], float(value), spec.unit)
            for spec, value in zip(self.metrics, averages, strict=True)
        ]
        rows += [("limit missed", text) for text in self.missed(best)]
        default, changes = self.space.default, self.space.changes(best.design)
        parameters = [(name, value, default[name]) for name, value in changes.items()]
        return html_table(
            caption, ("metric", "best design", "default design", "unit"), rows
        ) + html_table("Parameters that differ", ("parameter", "best", "default"), parameters)

    @cached_property
    def space(self) -> DesignSpace:
        """The design space, also where its simulator is not installed."""
        return self.header.space()

    @cached_property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """Metrics of the task, with units."""
        return self.header.metrics()

    @property
    def task_id(self) -> str:
        """The task's name for people."""
        return str(self.header.task["id"])

    @property
    def workloads(self) -> tuple[str, ...]:
        """Names of the task's workloads."""
        return tuple(str(w["name"]) for w in self.header.task["workloads"])

    @cached_property
    def weights(self) -> np.ndarray:
        """Weights of the workloads, (n_workloads,), summing to 1."""
        weights = np.array([float(w["weight"]) for w in self.header.task["workloads"]])
        shares: np.ndarray = weights / weights.sum()
        return shares

    @cached_property
    def reference(self) -> np.ndarray:
        """The default design's metrics, (n_workloads, n_metrics)."""
        return np.array(self.header.task["reference"], dtype=np.float64)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reasons why a design was not built, by number; entry 0 is empty."""
        return tuple(str(reason) for reason in self.header.task["reasons"])

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Segments of the journal: which agent and seed asked for which records."""
        return self.header.segments

    @property
    def n_studies(self) -> int:
        """Number of studies it was merged from, each counted once; 1 if it was not merged.

        A study that could not be replayed when it went on has several segments.
        """
        return len({segment.study for segment in self.segments})

    @property
    def author(self) -> str:
        """Agent and seed that asked for the designs, or the kind of a study without an agent."""
        if self.header.kind == "merged":
            return f"merged from {self.n_studies} {'study' if self.n_studies == 1 else 'studies'}"
        if self.header.kind == "log":
            return "log"
        return f"{self.header.agent}, seed {self.header.seed}"

    @cached_property
    def limits(self) -> tuple[Limit, ...]:
        """Hard limits on metrics that the task sets."""
        return objective_from_json(self.header.task["objective"]).limits

    def missed(self, outcome: Outcome) -> list[str]:
        """Return the limits that an evaluated design misses, in words; empty if it meets all."""
        return missed_limits(self.limits, outcome.metrics_by_workload.values())

    # ---- counts and masks over records

    def counts(self) -> dict[str, int]:
        """Return the number of evaluations, asks, repeats, infeasible and failed evaluations."""
        failed = int((self.is_failed & self.is_evaluation).sum())
        return {
            "evaluations": self.evaluations,
            "asks": self.asks,
            "repeats": self.asks - self.evaluations,
            "infeasible": self.evaluations - int(self.is_feasible.sum()) - failed,
            "failed": failed,
        }

    @property
    def asks(self) -> int:
        """Designs that were asked for."""
        return len(self.records)

    @property
    def evaluations(self) -> int:
        """Designs that were evaluated: asks without repeats."""
        return int(self.is_evaluation.sum())

    @cached_property
    def is_evaluation(self) -> np.ndarray:
        """True if each record is an evaluation, (asks,) bool."""
        evaluated: np.ndarray = self.records.same < 0
        return evaluated

    @cached_property
    def is_failed(self) -> np.ndarray:
        """True if the simulator broke on it, (asks,) bool."""
        failed: np.ndarray = np.isin(self.records.seq, list(self.records.errors))
        return failed

    @cached_property
    def is_feasible(self) -> np.ndarray:
        """True if it is an evaluation of a design that was built, (asks,) bool."""
        built: np.ndarray = (self.records.reason == 0).all(axis=1)
        built &= self.is_evaluation & ~self.is_failed
        return built

    @cached_property
    def meets_limits(self) -> np.ndarray:
        """True if a record is a feasible evaluation that meets all hard limits, (asks,) bool."""
        found = violations(self.limits, self.records.values, self.metrics)
        meets: np.ndarray = self.is_feasible & (found == 0)
        return meets

    def failures(self) -> tuple[Failures, ...]:
        """Return the evaluations that failed, those that differ in numbers alone together."""
        numbers = np.cumsum(self.is_evaluation)
        found: dict[str, Failures] = {}
        for row in np.flatnonzero(self.is_failed & self.is_evaluation).tolist():
            error = self.records.errors[int(self.records.seq[row])]
            kind = re.sub(r"'[^']*'|[\d.]+", "", error)
            known = found.get(kind, Failures((), error))
            found[kind] = Failures((*known.evaluations, int(numbers[row])), known.error)
        return tuple(found.values())

    @property
    def is_complete(self) -> bool:
        """True if it has reached its budget or limit of asks, or its agent had no more to ask."""
        header = self.header
        if header.budget is not None and self.evaluations >= header.budget:
            return True
        if header.ask_limit is not None and self.asks >= header.ask_limit:
            return True
        if header.kind != "search":
            return True
        return (self.state or {}).get("status") == "finished" and not self.gaps

    @property
    def status(self) -> str:
        """One of running, finished, interrupted."""
        if self.writer is not None:
            return "running"
        return "finished" if self.is_complete else "interrupted"

    # ---- results

    def average(self) -> np.ndarray:
        """Return metrics averaged over workloads, (asks, n_metrics), NaN for designs not built."""
        averages: np.ndarray = np.einsum("nwm,w->nm", self.records.values, self.weights)
        return averages

    def outcome(self, row: int) -> Outcome:
        """Return the record in this row, which must be an evaluation."""
        names = [spec.name for spec in self.metrics]
        values = self.records.values[row]
        average = (values * self.weights[:, None]).sum(axis=0)
        return Outcome(
            int(self.records.seq[row]),
            self.space.design_at(self.records.indices[row]),
            float(self.records.reward[row]),
            dict(zip(names, average.tolist(), strict=True)),
            {
                workload: dict(zip(names, values[place].tolist(), strict=True))
                for place, workload in enumerate(self.workloads)
            },
            int(np.count_nonzero(self.is_evaluation[: row + 1])),
        )

    def best(self) -> Outcome | None:
        """Return the feasible evaluation with the largest reward, the first of equals."""
        if not self.is_feasible.any():
            return None
        reward = np.where(self.is_feasible, self.records.reward, -np.inf)
        return self.outcome(int(np.argmax(reward)))

    def top_rows(self, k: int) -> np.ndarray:
        """Return rows of the `k` best feasible evaluations, the best first, (at most k,)."""
        reward = np.where(self.is_feasible, self.records.reward, -np.inf)
        order = np.argsort(-reward, kind="stable")[: int(self.is_feasible.sum())]
        return np.asarray(order[:k])

    def to_dataframe(self, rows: np.ndarray | None = None) -> "pd.DataFrame":
        """Return evaluations as a data frame, by their number.

        Its columns are the parameters, the metrics (averaged over the workloads, and for several
        workloads also each as ``metric@workload``), `reward`, `feasible` (built, and all limits
        met; in datasets and answers to programs, built) and `reason` (why it was not built, which
        limits it misses, or how the simulator broke).

        Args:
          rows: Rows of the records, in order; all evaluations by default.
        """
        import pandas as pd

        if rows is None:
            rows = np.flatnonzero(self.is_evaluation)
        records = self.records.rows(rows)
        columns: dict[str, object] = {}
        for place, parameter in enumerate(self.space.parameters):
            indices = records.indices[:, place].tolist()
            values = {index: parameter.value(index) for index in set(indices)}
            columns[parameter.name] = [values[index] for index in indices]
        average = np.einsum("nwm,w->nm", records.values, self.weights)
        for place, spec in enumerate(self.metrics):
            columns[spec.name] = average[:, place]
        if len(self.workloads) > 1:
            for number, workload in enumerate(self.workloads):
                for place, spec in enumerate(self.metrics):
                    columns[f"{spec.name}@{workload}"] = records.values[:, number, place]
        columns["reward"] = records.reward
        columns["feasible"] = self.is_feasible[rows] & self.meets_limits[rows]
        columns["reason"] = [
            records.errors.get(seq)
            or next((self.reasons[r] for r in reason if r > 0), "")
            or "; ".join(self.missed(self.outcome(row)) if self.is_feasible[row] else ())
            for row, seq, reason in zip(
                rows.tolist(), records.seq.tolist(), records.reason.tolist(), strict=True
            )
        ]
        return pd.DataFrame(columns, index=pd.Index(records.seq, name="seq"))

    def curve(self) -> np.ndarray:
        """Return best reward so far after each evaluation, (evaluations,)."""
        return np.maximum.accumulate(self.records.reward[self.is_evaluation])

    @cached_property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        """First and last number of each run of records that was made and is not here.

        Those that a finished study's state counts after its journal's last one are among them.
        """
        seq = np.concatenate([[-1], self.records.seq, [self._n_made]])
        before = np.flatnonzero(np.diff(seq) > 1)
        return tuple(zip((seq[before] + 1).tolist(), (seq[before + 1] - 1).tolist(), strict=True))

    @property
    def _n_made(self) -> int:
        known = int(self.records.seq[-1]) + 1 if len(self.records) else 0
        state = self.state or {}
        asks = state.get("asks")
        # chosen: numbers beyond 2^53 are not counts of ours; the file may hold anything.
        if state.get("status") != "finished" or type(asks) is not int or asks > 2**53:
            return known
        return max(known, asks)

    def damage_report(self) -> str | None:
        """Return damaged and missing parts of the journal in a sentence or two, or None."""
        parts = []
        if self.damage:
            parts.append(self._damage_text())
        if self.gaps:
            text = f"{gaps_text(self.gaps)}."
            parts.append(text[0].upper() + text[1:] if parts else text)
        return f"{self.folder / JOURNAL_NAME}: {' '.join(parts)}" if parts else None

    def _damage_text(self) -> str:
        first = "; ".join(str(damage) for damage in self.damage[:10])
        more = f"; and {len(self.damage) - 10} more" if len(self.damage) > 10 else ""
        return (
            f"{len(self.damage)} damaged "
            f"{'line' if len(self.damage) == 1 else 'lines'} left out: {first}{more}."
        )


def gaps_text(gaps: Sequence[tuple[int, int]]) -> str:
    """Return the missing records in words, such as "records 2, 5 to 7 are missing"."""
    runs = [str(first) if first == last else f"{first} to {last}" for first, last in gaps[:10]]
    more = f" and {len(gaps) - 10} more runs" if len(gaps) > 10 else ""
    if len(gaps) == 1 and gaps[0][0] == gaps[0][1]:
        return f"record {runs[0]} is missing"
    return f"records {', '.join(runs)}{more} are missing"


def require_distinct(studies: Iterable[tuple[Path, Mapping[str, str]]], verb: str) -> None:
    """Refuse places that hold the same study twice, also as a part of a merged one.

    Args:
      studies: Places with the ids of what they hold, each with the name of its folder.
      verb: Action that is impossible, such as "merged".

    Raises:
      InvalidArgumentError: Two do.
    """
    seen: dict[str, Path] = {}
    for place, names in studies:
        same = [study for study in names if study in seen]
        if same:
            other = seen[same[0]]
            more = f" and {len(same) - 1} more" if same[1:] else ""
            shared = f"{place} and {other} both hold {names[same[0]]!r} ({same[0][:8]}){more}"
            came = f"{place} came twice" if place == other else shared
            raise InvalidArgumentError(
                f"Each study can be {verb} once; {came}. Leave one of the two out."
            )
        seen |= dict.fromkeys(names, place)


def read_study(folder: str | Path) -> StudyLog:
    """Read a study, running, finished or damaged, without changing anything.

    What is damaged in the journal is left out and stands in `damage`; a writer sets it aside and
    repairs it when the study is resumed. The last line of a study that runs may be incomplete.

    Raises:
      FileFormatError: The folder is not a study, or `study.json` is damaged.
      StorageError: It cannot be read.

    Example:
      >>> from tempfile import TemporaryDirectory
      >>> from archgym.tasks.task import Task
      >>> from archgym.studies.study import Study
      >>> from archgym.testing import ProvingSimulator
      >>> task = Task.make(ProvingSimulator("tiny", has_failures=False), "near")
      >>> with TemporaryDirectory() as folder:
      ...     _ = Study.create(f"{folder}/runs", task, "random", seed=1, budget=2).run()
      ...     read_study(f"{folder}/runs").evaluations
      2
    """
    folder = local_copy(folder)
    writer = current_writer(folder)
    header = read_header(folder)
    # Before the journal: a writer that continues meanwhile counts records that are not read here.
    state = read_state(folder)
    journal = load_journal(folder / JOURNAL_NAME, header.shape(header.space()))
    return StudyLog(folder, header, journal.records, journal.damage, state, writer)


def read_state(folder: Path) -> Mapping[str, Any] | None:
    """Return the state noted by the last writer, if it can be read."""
    with suppress(OSError, ValueError, RecursionError):
        with open_member(folder / STATE_NAME) as handle:
            state = json.loads(handle.read(_STATE_BYTES))
        if isinstance(state, dict):
            return state
    return None


class Known:
    """Results of a study by canonical design."""

    def __init__(self, task: Task, log: StudyLog) -> None:
        """Take the results of a study of this task."""
        self._task = task
        records = log.records.rows(log.is_evaluation)
        self._records = records
        canonical = task.space.canonical(records.indices) if len(records) else records.indices
        self._rows = {row.tobytes(): n for n, row in enumerate(np.ascontiguousarray(canonical))}

    def missing(self, designs: np.ndarray) -> np.ndarray:
        """Return canonical designs without a result, each once, (k, n_parameters)."""
        canonical = self._task.space.canonical(np.asarray(designs, dtype=np.int64))
        fresh = {row.tobytes(): row for row in np.ascontiguousarray(canonical)}
        rows = [row for key, row in fresh.items() if key not in self._rows]
        return np.array(rows, dtype=np.int64).reshape(-1, canonical.shape[1])

    def running_count(self, designs: np.ndarray) -> np.ndarray:
        """Return the number of designs without a result up to each one, (k,)."""
        canonical = self._task.space.canonical(np.asarray(designs, dtype=np.int64))
        keys = [row.tobytes() for row in np.ascontiguousarray(canonical)]
        seen = set(self._rows)
        is_new = []
        for key in keys:
            is_new.append(key not in seen)
            seen.add(key)
        return np.cumsum(is_new)

    def trials(self, designs: np.ndarray) -> Trials:
        """Return the results of designs, all of which are known."""
        canonical = np.ascontiguousarray(self._task.space.canonical(designs))
        rows = np.array([self._rows[row.tobytes()] for row in canonical])
        records = self._records.rows(rows)
        found = Evaluation(records.values, records.reason, records.reward)
        return self._task.trials(designs, found, np.zeros(len(rows), dtype=bool))


_BATCH = 1024


def verify_study(log: StudyLog, task: Task) -> tuple[int, ...]:
    """Return numbers of evaluations, from 1, whose results are not what the simulator gives.

    Checksums in the journal find damage; they do not stop somebody who computes them again. This
    check does: simulators are deterministic, so every metric must be equal to the last bit.

    Args:
      log: The study.
      task: Its task.

    Raises:
      InvalidArgumentError: The task is another one.
    """
    task = task.as_recorded(log.header.task)
    if task.digest != log.header.task["digest"]:
        raise InvalidArgumentError(f"The task must be that of {log.folder}; got {task.id!r}.")
    rows = np.flatnonzero(log.is_evaluation)
    differing: list[int] = []
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        records = log.records
        found = evaluate_isolated(task, records.indices[part])
        is_same = (
            np.array_equal(a, b, equal_nan=True)
            for a, b in zip(found.values, records.values[part], strict=True)
        )
        same = np.fromiter(is_same, dtype=bool, count=len(part))
        same &= (found.reason == records.reason[part]).all(axis=1)
        same &= found.reward == records.reward[part]
        same &= (found.reason == FAILED).any(axis=1) == log.is_failed[part]
        differing += (np.flatnonzero(~same) + start + 1).tolist()
    return tuple(differing)


@final
@dataclass(frozen=True)
class StudyResult:
    """Reason why a run ended, and the study at that time."""

    log: StudyLog
    ended: Ending
    """Limit that was reached: the budget, the limit of asks, or the end of the agent's search."""

    @property
    def evaluations(self) -> int:
        """Designs evaluated, in all runs."""
        return self.log.evaluations

    @property
    def asks(self) -> int:
        """Designs asked for, repeats included."""
        return self.log.asks

    @property
    def best(self) -> Outcome | None:
        """The best feasible evaluation."""
        return self.log.best()

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row for each evaluation; see `StudyLog.to_dataframe`."""
        return self.log.to_dataframe()

    def __repr__(self) -> str:
        return f"StudyResult({self.log!r}, ended={self.ended!r})"

    def _repr_html_(self) -> str:
        return self.log._repr_html_()
