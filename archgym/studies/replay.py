"""Handling of each ask of a study: known, repeated or new; compared, evaluated, journaled."""

import ctypes
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, final

import numpy as np

from archgym.errors import (
    BudgetExhausted,
    InvalidArgumentError,
    ReplayError,
    SimulatorError,
    StorageError,
)
from archgym.evaluation.limits import parse_limits, violations
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.evaluation.simulator import FAILED
from archgym.evaluation.trials import Trials
from archgym.files.storage import write_atomic
from archgym.runtime.interruption import Interruption
from archgym.studies.journal import JournalWriter, encode
from archgym.studies.metadata import STATE_NAME, Header, current_versions
from archgym.studies.records import Ledger, Records
from archgym.tasks.executor import Executor
from archgym.tasks.task import Evaluation, Task

logger = logging.getLogger(__name__)

# chosen: longest time whose records kill -9 may lose, besides the evaluations in flight.
_CHUNK_S = 0.25
_MAX_CHUNK = 8192
_STATE_INTERVAL_S = 1.0

Ending = Literal["budget", "max_asks", "agent", "patience", "stop_at", "minutes"]
"""Limit that ended a run; "agent" where the agent had no further designs."""
Progress = Callable[[int, int, float | None], None]
"""Takes evaluations so far, budget, and the best reward of a feasible design so far."""


@final
@dataclass(frozen=True)
class Step:
    """A part of an ask that is settled at once: every design is known, a repeat or new."""

    seq: np.ndarray
    """(k,) int64, numbers of the designs."""
    indices: np.ndarray
    """(k, n_parameters) int64, as asked."""
    same: np.ndarray
    """(k,) int64, number of the record that each one repeats, or -1."""


@final
class Recorder:
    """Recorder that serves asks from the journal and the simulator, in ask order.

    An ask whose number is in the journal is compared with its record, whose result is served. Any
    other is evaluated, unless its canonical design was asked before, and appended before it is
    served. Every few tenths of a second the journal grows, however large an ask is.
    """

    def __init__(
        self, folder: Path, task: Task, header: Header, known: Records, journal: JournalWriter
    ) -> None:
        """Take what the journal holds."""
        self._task = task
        self.follow(header)
        self.interruption = Interruption()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] | None = None
        self.state: dict[str, Any] = {}
        self._folder = folder
        self._shape = header.shape(task.space)
        self._ledger = Ledger(known, task.space)
        self._journal = journal
        self._is_torn = False
        self._is_disordered = False
        self._chunk = 1
        self._noted_at = 0.0
        self.limit_time(None)
        self.on_new: Callable[[Trials], None] | None = None
        """Called with the evaluations of each part that no earlier process made."""
        self._n_expected = 0
        self.start_over()

    @contextmanager
    def interruptible(self, interruption: Interruption) -> Iterator[None]:
        """Let signals end the wait for evaluations in a block."""
        self.interruption = interruption
        try:
            yield
        finally:
            if self._jobs is not None:
                self._jobs.put(None)
            self._jobs = None

    def limit_time(self, seconds: float | None) -> None:
        """Evaluate no design after a time [s] from now; None for no limit."""
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._is_late = False
        self._has_told = False

    def follow(self, header: Header) -> None:
        """Take a header with other limits."""
        self.header = header
        self._stop_at = (
            () if header.stop_at is None else parse_limits(header.stop_at, self._task.metrics)
        )

    def start_over(self) -> None:
        """Begin at the first ask, for a replay."""
        self.asks = 0
        self.evaluations = 0
        self._best: tuple[float, int] | None = None
        # Evaluations when the best design was found, and whether one has met `stop_at`.
        self._best_at = 0
        self._has_met = False
        self._first: dict[bytes, int] = {}
        self._n_expected = 0

    def go_on(self) -> None:
        """Begin after the last known ask, for a new segment."""
        known = self.records()
        evaluated = known.rows(known.same < 0)
        keys = self._ledger.keys(evaluated.indices)
        self._first = dict(zip(keys, evaluated.seq.tolist(), strict=True))
        self.asks = self._ledger.last_seq + 1
        self.evaluations = len(evaluated)
        self._remember_best(evaluated)

    def go_to_end(self) -> Ending | None:
        """Skip the replay of a study that is whole and has reached a limit; None for others."""
        known = self.records()
        if len(known) != self._ledger.last_seq + 1:
            return None
        evaluated = known.rows(known.same < 0)
        self.asks, self.evaluations = len(known), len(evaluated)
        self._remember_best(evaluated)
        ended = self.limit_reached()
        if ended is None:
            self.start_over()
        return ended

    def records(self) -> Records:
        """Return all records, in seq order."""
        return self._ledger.sorted()

    def limit_reached(self, asks: int = 0, evaluations: int = 0) -> Ending | None:
        """Return the limit that is reached after some further asks and evaluations."""
        budget, ask_limit = self.header.budget, self.header.ask_limit
        if budget is not None and self.evaluations + evaluations >= budget:
            return "budget"
        if ask_limit is not None and self.asks + asks >= ask_limit:
            return "max_asks"
        if self._has_met:
            return "stop_at"
        patience = self.header.patience
        if patience is not None and self.evaluations + evaluations - self._best_at >= patience:
            return "patience"
        return "minutes" if self._is_late else None

    @property
    def best_reward(self) -> float | None:
        """Best reward of a feasible design so far."""
        return None if self._best is None else self._best[0]

    def finish(self, ended: Ending) -> None:
        """Make sure that the journal is served to its end, and is in order.

        Raises:
          ReplayError: The agent ended before its journal does.
        """
        if ended == "agent" and self.asks <= self._ledger.last_seq:
            raise ReplayError(
                f"The agent ends after {self.asks} asks, but {self._folder} records "
                f"{self._ledger.last_seq + 1}. {self._replay_remedy()}"
            )
        if self._is_disordered:
            self._put_in_order()

    def evaluate(
        self, indices: np.ndarray, executor: Executor, progress: Progress | None
    ) -> Trials:
        """Return results of designs, in their order.

        Raises:
          InvalidDesignError: A design lies outside the space.
          BudgetExhausted: A limit is reached; what came before it is journaled.
          ReplayError: A known ask was for another design.
        """
        steps = self.steps(indices, lambda: max(self._chunk, executor.workers), progress)
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                trials: Trials = end.value
                return trials
            self.settle(step, executor)

    def told_ahead(self) -> Records:
        """Return the records of evaluations that the agent has not been told."""
        known = self.records()
        return known.rows((known.seq >= self.asks) & (known.same < 0))

    def expected(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers that the next expected designs get, and which must be evaluated.

        No evaluation is needed for a design with a record, a repeat, one that breaks a constraint
        of the space, or one beyond the study's limits.

        Args:
          indices: (k, n_parameters), after those expected before.

        Returns:
          (k,) int64 and (k,) bool.
        """
        indices = np.ascontiguousarray(indices, dtype=np.int64)
        seqs = self.asks + self._n_expected + np.arange(len(indices))
        self._n_expected += len(indices)
        left = np.array(
            [self.limit_reached(n, n) is None for n in (seqs - self.asks).tolist()], dtype=bool
        )
        is_new = np.array([key not in self._first for key in self.keys(indices)], dtype=bool)
        needed: np.ndarray = left & is_new & ~self._ledger.has(seqs)
        needed &= self._task.space.feasible(self._task.space.canonical(indices))
        return seqs, needed

    def steps(
        self,
        indices: np.ndarray,
        at_once: Callable[[], int],
        progress: Progress | None = None,
    ) -> Generator[Step, None, Trials]:
        """Yield the parts of an ask, each of which is settled before the next one is taken.

        Args:
          indices: (k, n_parameters), designs of one ask.
          at_once: Returns the number of new designs that a part may have.
          progress: Called after each part.

        Returns:
          Results of the designs, in their order.

        Raises:
          InvalidDesignError: A design lies outside the space.
          BudgetExhausted: A limit is reached.
        """
        self.interruption.check()
        if self._is_torn:
            raise InvalidArgumentError(
                f"{self._folder} must be opened again after an evaluation was cut off."
            )
        indices = np.asarray(indices)
        self._task.space.check_indices(indices)
        if not len(indices):
            raise InvalidArgumentError("An ask must hold one or more designs; got none.")
        indices = np.ascontiguousarray(indices, dtype=np.int64)
        self._n_expected = max(0, self._n_expected - len(indices))
        keys = self._ledger.keys(indices)
        targets: list[int] = []
        while len(targets) < len(indices):
            if self._deadline is not None and self.asks not in self._ledger:
                self._is_late = time.monotonic() > self._deadline
            if self.limit_reached() is not None:
                raise BudgetExhausted(
                    f"The study has made {self.evaluations} evaluations in {self.asks} asks, "
                    "which is its limit."
                )
            start = len(targets)
            same = self._plan(keys, start, at_once())
            first_seq = self.asks
            seqs = range(first_seq, first_seq + len(same))
            step = Step(
                np.array(seqs, dtype=np.int64),
                indices[start : start + len(same)],
                np.array(same, dtype=np.int64),
            )
            fresh = self.unknown(step) & (step.same < 0)
            yield step
            # Where a design has met `stop_at`, later ones of the part are left out.
            same = same[: int(self._ledger.has(np.array(seqs)).sum())]
            for key, seq, earlier in zip(keys[start:], seqs, same, strict=False):
                if earlier < 0:
                    self._first[key] = seq
                targets.append(seq if earlier < 0 else earlier)
            self._advance(same, first_seq)
            rows = np.flatnonzero(fresh[: len(same)])
            if self.on_new is not None and len(rows):
                numbers = step.seq[rows].tolist()
                repeated = np.zeros(len(rows), dtype=bool)
                self.on_new(self._trials(step.indices[rows], numbers, repeated))
            if progress is not None:
                best = None if self._best is None else self._best[0]
                progress(self.evaluations, self.header.budget or 0, best)
        repeated = np.array(targets) != np.arange(self.asks - len(targets), self.asks)
        return self._trials(indices, targets, repeated)

    def _plan(self, keys: Sequence[bytes], start: int, n_new: int) -> list[int]:
        """Return the seq that each next design repeats, or -1, up to `n_new` unknown designs."""
        ahead: dict[bytes, int] = {}
        same: list[int] = []
        n_known = 0
        for key in keys[start:]:
            n_ahead = len(ahead)
            if n_ahead - n_known >= n_new or self.limit_reached(len(same), n_ahead) is not None:
                break
            earlier = self._first.get(key, ahead.get(key, -1))
            if earlier < 0:
                ahead[key] = self.asks + len(same)
                n_known += ahead[key] in self._ledger
            same.append(earlier)
        return same

    def settle(self, step: Step, executor: Executor) -> None:
        """Compare known designs with their records; evaluate and journal new ones."""
        known = self._ledger.has(step.seq)
        if known.any():
            self._compare(step.seq[known], step.indices[known], step.same[known])
        if not known.all():
            self.journal_new(step, ~known, executor)

    def unknown(self, step: Step) -> np.ndarray:
        """Return a mask of the designs of a part without a record yet, (k,) bool."""
        return ~self._ledger.has(step.seq)

    def keys(self, indices: np.ndarray) -> list[bytes]:
        """Return one key per design, equal for designs with the same canonical form."""
        return self._ledger.keys(indices)

    def seq_of(self, key: bytes) -> int | None:
        """Return the number of the ask that first named a design, by its key; None if none did."""
        return self._first.get(key)

    def record(self, seq: int) -> Records | None:
        """Return the record with this number as one row, or None."""
        return self._ledger.records_of(np.array([seq])) if seq in self._ledger else None

    def journal_new(self, step: Step, chosen: np.ndarray, executor: Executor) -> None:
        """Evaluate and journal some designs of a part that have no record yet.

        Args:
          step: The part.
          chosen: (k,) bool.
          executor: Executor of those that are not repeats.
        """
        seq = step.seq[chosen]
        fresh = Records.empty(self._shape, len(seq))
        fresh.seq[:] = seq
        fresh.indices[:] = step.indices[chosen]
        fresh.same[:] = step.same[chosen]
        new = np.flatnonzero(fresh.same < 0)
        errors: dict[int, str] = {}
        started = time.perf_counter()
        if len(new):
            asked = fresh.indices[new]
            result = self._result_of(lambda: executor.evaluate(self._task, asked), executor)
            fresh.values[new] = result.values
            fresh.reason[new] = result.reason
            fresh.reward[new] = result.reward
            errors = {int(fresh.seq[new[row]]): why for row, why in result.failures.items()}
            _refuse_infinite(fresh, errors)
            fresh, errors = self._until_met(fresh, errors)
        took_s = time.perf_counter() - started
        if len(new):
            self._adapt(len(new), took_s)
            self._tell_time(len(new), took_s)
        if errors and not self._ledger.has_errors:
            logger.warning("The simulator broke: %s", next(iter(errors.values())))
        self._append(
            Records(
                fresh.seq,
                fresh.indices,
                fresh.values,
                fresh.reason,
                fresh.reward,
                fresh.same,
                errors,
            ),
            took_s,
        )

    def _tell_time(self, n: int, took_s: float) -> None:
        """Say once how long an evaluation takes, where those left do not fit into the time."""
        if self._deadline is None or self._has_told or self.header.budget is None:
            return
        each_s, left = took_s / n, self.header.budget - self.evaluations - n
        if each_s * left > self._deadline - time.monotonic():
            self._has_told = True
            logger.warning(
                "One evaluation takes %.3g s, so that the %d left take %.3g min.%s",
                each_s, left, each_s * left / 60.0, self._task.simulator.spec.faster(),
            )  # fmt: skip

    def _result_of(self, work: Callable[[], Evaluation], executor: Executor) -> Evaluation:
        """Return the result of `work`; a signal, or the end of the time, ends the wait for it.

        A kernel in the main thread would delay a signal until it returns, so it runs in a daemon
        thread, which is abandoned then. Programs, processes and Python code are stopped.

        Raises:
          BudgetExhausted: The time is over.
        """
        if not self.interruption.is_watching and self._deadline is None:
            return work()
        results: queue.SimpleQueue[Evaluation | BaseException] = queue.SimpleQueue()

        def run() -> None:
            try:
                results.put(work())
            except BaseException as error:
                results.put(error)

        if self._jobs is None:
            self._jobs = queue.SimpleQueue()
            self._thread = threading.Thread(
                target=_serve, args=(self._jobs,), name="archgym-evaluation", daemon=True
            )
            self._thread.start()
        self._jobs.put(run)
        started = time.monotonic()
        left = None if self._deadline is None else max(0.0, self._deadline - started)
        try:
            result = results.get(timeout=left)
        except queue.Empty:
            self._is_late = True
            executor.cancel()
            # Python code that sleeps, and a kernel, stop when they return.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread.ident or 0), ctypes.py_object(_AbandonedError)
            )
            logger.warning(
                "The time of this run ended %.3g s after an evaluation began, which was stopped.%s",
                time.monotonic() - started, self._task.simulator.spec.faster(),
            )  # fmt: skip
            raise BudgetExhausted("The time of the run is over.") from None
        if isinstance(result, BaseException):
            raise result
        return result

    def _until_met(
        self, records: Records, errors: dict[int, str]
    ) -> tuple[Records, dict[int, str]]:
        """Return the records up to the first one that meets `stop_at`."""
        met = self._meets(records, errors)
        if not met.any():
            return records, errors
        kept = records.rows(slice(0, int(np.argmax(met)) + 1))
        return kept, {seq: why for seq, why in errors.items() if seq <= int(kept.seq[-1])}

    def _meets(self, records: Records, errors: Mapping[int, str]) -> np.ndarray:
        """Return True for each feasible record that meets `stop_at` and all limits, (n,) bool."""
        if not self._stop_at:
            return np.zeros(len(records), dtype=bool)
        limits = (*self._stop_at, *self._task.limits)
        built = (records.same < 0) & (records.reason == 0).all(axis=1)
        built &= ~np.isin(records.seq, list(errors))
        violation = violations(
            limits, np.where(built[:, None, None], records.values, 0.0), self._task.metrics
        )
        met: np.ndarray = built & (violation == 0)
        return met

    def _append(self, records: Records, took_s: float) -> None:
        lines = encode(records, self._shape.key)
        with self.interruption.shielded():
            # Cut off between journal and ledger (a KeyboardInterrupt in a log), they differ.
            self._is_torn = True
            try:
                self._journal.append(lines, int(records.seq[0]), len(records), took_s)
            except StorageError:
                self._is_torn = False
                raise
            self._is_disordered |= int(records.seq[0]) < self._ledger.last_seq
            self._ledger.add(records)
            self._is_torn = False

    def _advance(self, same: Sequence[int], first_seq: int) -> None:
        self.asks += len(same)
        n_new = sum(earlier < 0 for earlier in same)
        self.evaluations += n_new
        if n_new:
            settled = self._ledger.records_of(np.arange(first_seq, self.asks))
            self._remember_best(settled.rows(settled.same < 0))
        if self._is_disordered and self.asks > self._ledger.last_seq:
            self._put_in_order()
        if time.monotonic() > self._noted_at + _STATE_INTERVAL_S:
            self.note("running")

    def _put_in_order(self) -> None:
        with self.interruption.shielded():
            self._journal.rewrite(self._shape)
            self._is_disordered = False

    def _compare(self, seq: np.ndarray, indices: np.ndarray, same: np.ndarray) -> None:
        recorded = self._ledger.records_of(seq)
        differs = (recorded.indices != indices).any(axis=1) | (recorded.same != same)
        if not differs.any():
            return
        row = int(np.argmax(differs))
        space = self._task.space
        now, then = space.design_at(indices[row]), space.design_at(recorded.indices[row])
        raise ReplayError(
            f"The agent must ask again for what {self._folder} records; at seq {int(seq[row])} it "
            f"asks for {now!r}, but asked for {then!r}. {self._replay_remedy()}"
        )

    def _replay_remedy(self) -> str:
        then, now = self.header.versions, current_versions()
        changed = [
            f"{name} was {then.get(name, 'absent')} and is {now.get(name, 'absent')}"
            for name in sorted({*then, *now})
            if then.get(name) != now.get(name)
        ]
        if changed:
            why = f"Since then: {'; '.join(changed)}. Resume it with the versions it was made with"
        else:
            why = (
                "No package has changed since then, so the agent's code has, or what it asks "
                "depends on more than its seed and the results. Resume it with the code it was "
                "made with, make the agent say `replayable = False`"
            )
        return (
            f"{why}, or start a new study; this one can still be shown, merged and made a "
            "dataset of."
        )

    def _adapt(self, n: int, took_s: float) -> None:
        suited = int(_CHUNK_S * n / max(took_s, 1e-6))
        self._chunk = max(1, min(_MAX_CHUNK, 8 * max(self._chunk, n), suited))

    def _trials(self, indices: np.ndarray, targets: Sequence[int], repeated: np.ndarray) -> Trials:
        known = self._ledger.records_of(np.array(targets, dtype=np.int64))
        return self._task.trials(
            indices, Evaluation(known.values, known.reason, known.reward), repeated
        )

    def _remember_best(self, evaluated: Records) -> None:
        feasible = (evaluated.reason == 0).all(axis=1)
        if evaluated.errors:
            feasible &= ~np.isin(evaluated.seq, list(evaluated.errors))
        if not feasible.any():
            return
        row = int(np.argmax(np.where(feasible, evaluated.reward, -np.inf)))
        reward = float(evaluated.reward[row])
        if self._best is None or reward > self._best[0]:
            self._best = reward, int(evaluated.seq[row])
            self._best_at = self.evaluations - len(evaluated) + row + 1
        self._has_met |= bool(self._meets(evaluated, evaluated.errors).any())

    def note(self, status: str) -> None:
        """Write how far the study is, for people; nothing relies on it."""
        self._noted_at = time.monotonic()
        self.state = {
            "status": status,
            "evaluations": self.evaluations,
            "asks": self.asks,
            "best_reward": None if self._best is None else self._best[0],
            "best_seq": None if self._best is None else self._best[1],
            "updated": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        # It only informs; where it cannot be written, the journal's own error says so.
        with suppress(StorageError):
            write_atomic(self._folder / STATE_NAME, json.dumps(self.state, indent=1) + "\n")


class _AbandonedError(BaseException):
    """Exception that stops Python code whose result nobody awaits."""


def _serve(jobs: "queue.SimpleQueue[Callable[[], None] | None]") -> None:
    with suppress(_AbandonedError):
        while (job := jobs.get()) is not None:
            job()


def _refuse_infinite(records: Records, errors: dict[int, str]) -> None:
    """Turn results that JSON cannot hold into failures."""
    evaluated = records.same < 0
    strange = np.isinf(records.values).any(axis=(1, 2)) | ~np.isfinite(records.reward)
    for row in np.flatnonzero(evaluated & strange).tolist():
        records.values[row] = np.nan
        records.reason[row] = FAILED
        records.reward[row] = INFEASIBLE_REWARD
        refusal = SimulatorError("A simulator must return finite numbers; it returned others.")
        errors.setdefault(int(records.seq[row]), str(refusal))
