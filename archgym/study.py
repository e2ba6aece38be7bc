"""Studies: a search that is journaled, budgeted, interrupted and resumed without loss."""

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, final

import numpy as np

from archgym.agent import Agent, Trials, make_agent
from archgym.discovery import agent_class
from archgym.errors import (
    ArchGymError,
    BudgetExhausted,
    InvalidArgumentError,
    ReplayError,
    SimulatorError,
    StorageError,
    StudyInterrupted,
    UnknownNameError,
)
from archgym.executor import Executor, SerialExecutor
from archgym.folder import (
    BAD_NAME,
    JOURNAL_NAME,
    STATE_NAME,
    STUDY_NAME,
    TIMING_NAME,
    lease_new_folder,
)
from archgym.header import Header, current_versions, new_header, read_header
from archgym.interruption import Interruption
from archgym.journal import Damage, JournalWriter, Records, encode, load_journal, rewrite, set_aside
from archgym.lease import Lease
from archgym.ledger import Ledger
from archgym.objective import INFEASIBLE_REWARD
from archgym.simulator import FAILED
from archgym.storage import write_atomic
from archgym.studylog import Outcome, StudyLog, read_study
from archgym.task import Task

__all__ = ["Ending", "Outcome", "Progress", "Study", "StudyLog", "StudyResult", "read_study"]

logger = logging.getLogger(__name__)

# chosen: what kill -9 may lose beside the evaluations in flight is at most so long.
_CHUNK_S = 0.25
_MAX_CHUNK = 8192
_STATE_INTERVAL_S = 1.0

Ending = Literal["budget", "max_asks", "agent"]
Progress = Callable[[int, int, float | None], None]
"""Takes evaluations so far, budget, and the best reward of a feasible design so far."""


@final
@dataclass(frozen=True)
class StudyResult:
    """How a run ended, and the study as it then was."""

    log: StudyLog
    ended: Ending
    """What was reached: the budget, the limit of asks, or the end of the agent's search."""

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


@final
class Study:
    """A folder in which one process at a time searches, or logs an environment.

    `create` and `open` take the folder's lease; `run` gives it back at its end, `close` at once.
    Resuming is replay: the agent is made again from its seed and asked again, and every ask is
    compared with its record, whose results it gets instead of the simulator's. So a search of N + M
    evaluations and one of N that is resumed to N + M write the same bytes.
    """

    def __init__(
        self, folder: Path, task: Task, agent: type[Agent] | None, lease: Lease, header: Header
    ) -> None:
        """For `create` and `open`, which check what goes together."""
        self.folder = folder
        self.task = task
        self._agent = agent
        self._lease: Lease | None = None
        self._attach(lease, header)

    # ---- making and opening

    @classmethod
    def create(
        cls,
        folder: str | Path,
        task: Task,
        agent: str | type[Agent] | None = "genetic",
        *,
        seed: int = 0,
        budget: int | None = None,
        max_asks: int | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
    ) -> "Study":
        """Starts a study in a folder that is new or empty.

        Args:
          folder: Made where it is absent.
          task: What is searched.
          agent: A registered name or a class; None to log what `evaluate` is given.
          seed: The agent's.
          budget: Evaluations at which it ends; an agent needs one.
          max_asks: Asks, repeats included, at which it ends; 20 for each evaluation by default.
          hyperparameters: The agent's, where they are not its defaults.

        Raises:
          InvalidArgumentError: An argument does not fit, or the folder holds something.
          StudyLockedError: Another process has just started a study there.
          StorageError: The folder cannot be written.
        """
        folder = Path(folder)
        kind = agent_class(agent) if isinstance(agent, str) else agent
        chosen = _plain(hyperparameters or {})
        if kind is not None:
            _require_count("budget", budget)
            make_agent(kind, task.space, seed, chosen)
        elif budget is not None:
            _require_count("budget", budget)
        if max_asks is not None:
            _require_count("max_asks", max_asks)
        lease = lease_new_folder(folder)
        try:
            header = new_header(
                "log" if kind is None else "search",
                folder,
                task.to_json(),
                agent=None if kind is None else _name(kind),
                hyperparameters=chosen,
                seed=None if kind is None else seed,
                budget=budget,
                max_asks=max_asks,
                is_replayable=kind is not None and kind.replayable,
            )
            write_atomic(folder / JOURNAL_NAME, b"")
            # Last: a folder with study.json is a study that can be opened.
            header.write(folder)
            logger.info("Study %s starts: %s", folder, task.id)
            return cls(folder, task, kind, lease, header)
        except BaseException:
            lease.release()
            raise

    @classmethod
    def open(
        cls, folder: str | Path, task: Task | None = None, agent: type[Agent] | None = None
    ) -> "Study":
        """Opens a study to go on with it.

        Damaged records are set aside into `journal.bad`, and their evaluations are done again by
        `run`, not charged. A log, and the study of an agent that cannot be replayed, goes on in a
        new segment.

        Args:
          folder: The study's.
          task: Where its simulator is not a registered one.
          agent: Where its agent is not a registered one.

        Raises:
          FileFormatError: The folder is no study.
          InvalidArgumentError: The task is not the study's, or the study was merged.
          StudyLockedError: Another process writes it.
          StorageError: It cannot be written.
        """
        folder = Path(folder)
        read_header(folder)
        lease = Lease(folder)
        try:
            header = read_header(folder)
            if header.kind == "merged":
                raise InvalidArgumentError(
                    f"A study must be a search or a log to go on; {folder} was merged from others. "
                    "Go on with one of those."
                )
            return cls(folder, _task(folder, header, task), _agent(header, agent), lease, header)
        except BaseException:
            lease.release()
            raise

    @classmethod
    def log(cls, folder: str | Path, task: Task) -> "Study":
        """A log for `evaluate`: opened where the folder has one of this task, else made.

        Raises:
          InvalidArgumentError: The folder holds something else.
          StudyLockedError: Another process writes it.
          StorageError: It cannot be written.
        """
        folder = Path(folder)
        if not (folder / STUDY_NAME).is_file():
            return cls.create(folder, task, None)
        study = cls.open(folder, task)
        if study._header.kind != "log":
            study.close()
            raise InvalidArgumentError(
                f"`log` must be a new folder or one that an environment logged to; {folder} holds "
                "an agent's study. Choose another folder."
            )
        return study

    def close(self) -> None:
        """Brings all to the disk and lets others write; does nothing the second time."""
        if self._lease is None:
            return
        lease, self._lease = self._lease, None
        try:
            if self._header.kind == "log":
                self._note("finished")
            self._journal.close()
        finally:
            lease.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # An environment that is dropped without `close` lets go of its log.
        if getattr(self, "_lease", None) is not None and not sys.is_finalizing():
            with suppress(ArchGymError, OSError):
                self.close()

    # ---- what it is

    @property
    def budget(self) -> int | None:
        """Evaluations at which it ends."""
        return self._header.budget

    @property
    def max_asks(self) -> int | None:
        """Asks at which it ends."""
        return self._header.ask_limit

    @property
    def evaluations(self) -> int:
        """Evaluations so far."""
        return self._evaluations

    @property
    def asks(self) -> int:
        """Asks so far."""
        return self._asks

    @property
    def damage(self) -> tuple[Damage, ...]:
        """What of the journal was damaged when it was opened, and has been set aside."""
        return self._damage

    def read(self) -> StudyLog:
        """The study as its readers see it now."""
        damage = tuple(self._damage)
        return StudyLog(self.folder, self._header, self._ledger.sorted(), damage, self._state)

    # ---- running

    def run(
        self,
        executor: Executor | None = None,
        budget: int | None = None,
        progress: Progress | None = None,
    ) -> StudyResult:
        """Lets the agent search until the budget or the limit of asks is reached.

        In the main thread, SIGINT and SIGTERM stop it: StudyInterrupted is raised within two
        seconds, and all that was evaluated is in the journal.

        Args:
          executor: How designs are evaluated; one after the other by default. It is closed when
            the study is interrupted, otherwise it stays the caller's.
          budget: A new budget for the study, at least its evaluations so far.
          progress: Called after each batch.

        Raises:
          ReplayError: The agent asks for something else than it did.
          StudyInterrupted: A signal came.
          StudyLockedError: Another process took the study over.
          StorageError: The journal cannot be written; what is in it can be read.
        """
        if self._agent is None:
            raise InvalidArgumentError(
                f"A study needs an agent to run; {self.folder} is a log. Give it designs with "
                "`evaluate`, or create a study with an agent."
            )
        if self._lease is None:
            self._reattach()
        self._set_budget(budget)
        used = executor if executor is not None else SerialExecutor()
        status = "interrupted"
        with Interruption() as interruption:
            self._interruption = interruption
            try:
                ended = self._search(self._agent, used, progress)
                interruption.check()
                status = "finished"
            except StudyInterrupted:
                interruption.hold_back()
                used.cancel()
                raise
            finally:
                interruption.hold_back()
                if executor is None:
                    used.close()
                self._note(status)
                self.close()
        logger.info("Study %s ends: %s evaluations", self.folder, self._evaluations)
        return StudyResult(self.read(), ended)

    def evaluate(self, indices: np.ndarray) -> Trials:
        """Evaluates designs and logs them, for a study without an agent.

        Args:
          indices: (k, n_parameters).

        Raises:
          InvalidDesignError: A design lies outside the space.
          BudgetExhausted: The study has a budget and it is used up.
        """
        if self._agent is not None:
            raise InvalidArgumentError(
                f"Only a log takes designs from outside; {self.folder} has agent "
                f"{self._header.agent!r}, which asks. Use `run`, or `Study.log`."
            )
        if self._lease is None:
            raise InvalidArgumentError(
                f"A study must be open to be evaluated in; {self.folder} is closed. Open it again."
            )
        return self._evaluate(indices, self._own_executor, None)

    # ---- the lease and what is known

    def _attach(self, lease: Lease, header: Header) -> None:
        folder = self.folder
        space = self.task.space
        shape = header.shape(space)
        path = folder / JOURNAL_NAME
        journal = load_journal(path, shape)
        self._damage: tuple[Damage, ...] = journal.damage
        if not journal.is_tidy:
            set_aside(path, journal.damage, folder / BAD_NAME)
            rewrite(path, journal)
        self._header = header
        self._shape = shape
        self._interruption = Interruption()
        self._own_executor = SerialExecutor()
        self._ledger = Ledger(journal.records, space)
        self._journal = JournalWriter(path, folder / TIMING_NAME, lease)
        self._lease = lease
        self._is_torn = False
        self._chunk = 1
        self._noted_at = 0.0
        self._state: Mapping[str, Any] | None = None
        self._start_over()
        self._note("running")
        if journal.damage:
            logger.warning(
                "%s These lines were moved to %s.", self.read().damage_report(), folder / BAD_NAME
            )

    def _reattach(self) -> None:
        lease = Lease(self.folder)
        try:
            header = read_header(self.folder)
            self._attach(lease, header)
        except BaseException:
            lease.release()
            raise

    def _start_over(self) -> None:
        """Begins the replay, or a new segment where there can be none."""
        self._asks = 0
        self._evaluations = 0
        self._best: tuple[float, int] | None = None
        self._is_disordered = False
        self._first: dict[bytes, int] = {}
        known = self._ledger.sorted()
        if self._header.is_replayable or not len(known):
            self._agent_seed = self._header.segments[-1].seed or 0
            return
        self._asks = self._ledger.last_seq + 1
        evaluated = known.rows(known.same < 0)
        self._first = dict(
            zip(self._ledger.keys(evaluated.indices), evaluated.seq.tolist(), strict=True)
        )
        self._evaluations = len(evaluated)
        self._remember_best(evaluated)
        if self._header.segments[-1].first_seq < self._asks:
            number = len(self._header.segments)
            seed = self._header.seed
            if seed is not None:
                # Another seed, or the agent would ask first for what it has asked before.
                sequence = np.random.SeedSequence([seed, number])
                seed = int(sequence.generate_state(1)[0])
            self._header = self._header.with_segment(self._asks, seed)
            self._header.write(self.folder)
        self._agent_seed = self._header.segments[-1].seed or 0

    def _set_budget(self, budget: int | None) -> None:
        if budget is None or budget == self._header.budget:
            return
        _require_count("budget", budget)
        known = int((self._ledger.sorted().same < 0).sum())
        if budget < known:
            raise InvalidArgumentError(
                f"`budget` must be at least the {known} evaluations that {self.folder} has; "
                f"got {budget!r}."
            )
        self._header = self._header.with_budget(budget)
        self._header.write(self.folder)

    # ---- the search

    def _search(self, kind: type[Agent], executor: Executor, progress: Progress | None) -> Ending:
        if self._header.is_replayable:
            self._start_over()
        ended = self._limit_reached()
        if ended is None and (ended := self._known_ending()) is None:
            agent = make_agent(
                kind, self.task.space, self._agent_seed, _tuples(self._header.hyperparameters)
            )
            try:
                agent.search(lambda indices: self._evaluate(indices, executor, progress))
            except BudgetExhausted:
                ended = self._limit_reached() or "budget"
            else:
                ended = self._limit_reached() or "agent"
        if ended == "agent" and self._asks <= self._ledger.last_seq:
            raise ReplayError(
                f"The agent ends after {self._asks} asks, but {self.folder} records "
                f"{self._ledger.last_seq + 1}. {self._replay_remedy()}"
            )
        if self._is_disordered:
            self._put_in_order()
        return ended

    def _known_ending(self) -> Ending | None:
        """How a study has ended that is whole and needs no replay."""
        if not self._header.is_replayable:
            return None
        known = self._ledger.sorted()
        if len(known) != self._ledger.last_seq + 1:
            return None
        evaluated = known.rows(known.same < 0)
        self._asks, self._evaluations = len(known), len(evaluated)
        ended = self._limit_reached()
        if ended is None:
            self._asks = self._evaluations = 0
        else:
            self._remember_best(evaluated)
        return ended

    def _limit_reached(self, asks: int = 0, evaluations: int = 0) -> Ending | None:
        """The limit that is reached after so many further asks and evaluations."""
        budget, ask_limit = self._header.budget, self._header.ask_limit
        if budget is not None and self._evaluations + evaluations >= budget:
            return "budget"
        if ask_limit is not None and self._asks + asks >= ask_limit:
            return "max_asks"
        return None

    def _evaluate(
        self, indices: np.ndarray, executor: Executor, progress: Progress | None
    ) -> Trials:
        self._interruption.check()
        if self._is_torn:
            raise InvalidArgumentError(
                f"{self.folder} must be opened again after an evaluation was cut off."
            )
        indices = np.asarray(indices)
        self.task.space.check_indices(indices)
        if not len(indices):
            raise InvalidArgumentError("An ask must hold one or more designs; got none.")
        indices = np.ascontiguousarray(indices, dtype=np.int64)
        keys = self._ledger.keys(indices)
        targets: list[int] = []
        while len(targets) < len(indices):
            if self._limit_reached() is not None:
                raise BudgetExhausted(
                    f"The study has made {self._evaluations} evaluations in {self._asks} asks, "
                    "which is its limit."
                )
            start = len(targets)
            same = self._plan(keys, start, max(self._chunk, executor.workers))
            first_seq = self._asks
            self._settle(indices[start : start + len(same)], same, executor)
            seqs = range(first_seq, first_seq + len(same))
            for key, seq, earlier in zip(keys[start:], seqs, same, strict=False):
                if earlier < 0:
                    self._first[key] = seq
                targets.append(seq if earlier < 0 else earlier)
            self._advance(same, first_seq)
            if progress is not None:
                best = None if self._best is None else self._best[0]
                progress(self._evaluations, self._header.budget or 0, best)
        repeated = np.array(targets) != np.arange(self._asks - len(targets), self._asks)
        return self._trials(indices, targets, repeated)

    def _plan(self, keys: Sequence[bytes], start: int, n_new: int) -> list[int]:
        """For the next designs, the seq that each repeats, or -1, up to `n_new` unknown ones."""
        ahead: dict[bytes, int] = {}
        same: list[int] = []
        n_known = 0
        for key in keys[start:]:
            n_ahead = len(ahead)
            if n_ahead - n_known >= n_new or self._limit_reached(len(same), n_ahead) is not None:
                break
            earlier = self._first.get(key, ahead.get(key, -1))
            if earlier < 0:
                ahead[key] = self._asks + len(same)
                n_known += ahead[key] in self._ledger
            same.append(earlier)
        return same

    def _settle(self, indices: np.ndarray, same: Sequence[int], executor: Executor) -> None:
        """Compares what is known and evaluates what is not, journals and remembers it."""
        seq = np.arange(self._asks, self._asks + len(same), dtype=np.int64)
        repeats = np.array(same, dtype=np.int64)
        known = self._ledger.has(seq)
        if known.any():
            self._compare(seq[known], indices[known], repeats[known])
        if known.all():
            return
        fresh = Records.empty(self._shape, int((~known).sum()))
        fresh.seq[:] = seq[~known]
        fresh.indices[:] = indices[~known]
        fresh.same[:] = repeats[~known]
        new = np.flatnonzero(fresh.same < 0)
        errors: dict[int, str] = {}
        started = time.perf_counter()
        if len(new):
            asked = fresh.indices[new]
            result = self._interruption.wait_for(lambda: executor.evaluate(self.task, asked))
            fresh.values[new] = result.values
            fresh.reason[new] = result.reason
            fresh.reward[new] = result.reward
            errors = {int(fresh.seq[new[row]]): why for row, why in result.failures.items()}
            _refuse_infinite(fresh, errors)
        took_s = time.perf_counter() - started
        if len(new):
            self._adapt(len(new), took_s)
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

    def _append(self, records: Records, took_s: float) -> None:
        lines = encode(records)
        with self._interruption.shielded():
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
        self._asks += len(same)
        n_new = sum(earlier < 0 for earlier in same)
        self._evaluations += n_new
        if n_new:
            settled = self._ledger.records_of(np.arange(first_seq, self._asks))
            self._remember_best(settled.rows(settled.same < 0))
        if self._is_disordered and self._asks > self._ledger.last_seq:
            self._put_in_order()
        if time.monotonic() > self._noted_at + _STATE_INTERVAL_S:
            self._note("running")

    def _put_in_order(self) -> None:
        with self._interruption.shielded():
            self._journal.rewrite(self._shape)
            self._is_disordered = False

    def _compare(self, seq: np.ndarray, indices: np.ndarray, same: np.ndarray) -> None:
        recorded = self._ledger.records_of(seq)
        differs = (recorded.indices != indices).any(axis=1) | (recorded.same != same)
        if not differs.any():
            return
        row = int(np.argmax(differs))
        space = self.task.space
        now, then = space.design_at(indices[row]), space.design_at(recorded.indices[row])
        raise ReplayError(
            f"The agent must ask again for what {self.folder} records; at seq {int(seq[row])} it "
            f"asks for {now!r}, but asked for {then!r}. {self._replay_remedy()}"
        )

    def _replay_remedy(self) -> str:
        then, now = self._header.versions, current_versions()
        changed = [
            f"{name} was {then.get(name, 'absent')} and is {now.get(name, 'absent')}"
            for name in sorted({*then, *now})
            if then.get(name) != now.get(name)
        ]
        why = "; ".join(changed) if changed else "no package has changed, so the agent's code has"
        return (
            f"Since then: {why}. Resume it with the versions it was made with, or start a new "
            "study; this one can still be shown, exported and merged."
        )

    def _adapt(self, n: int, took_s: float) -> None:
        suited = int(_CHUNK_S * n / max(took_s, 1e-6))
        self._chunk = max(1, min(_MAX_CHUNK, 8 * max(self._chunk, n), suited))

    def _trials(self, indices: np.ndarray, targets: Sequence[int], repeated: np.ndarray) -> Trials:
        records = self._ledger.records_of(np.array(targets, dtype=np.int64))
        failed = np.array([seq in records.errors for seq in targets], dtype=bool)
        return Trials(
            indices=indices,
            reward=records.reward,
            values=self.task.average(records.values),
            feasible=(records.reason == 0).all(axis=1) & ~failed,
            failed=failed,
            repeated=repeated,
            specs=self.task.metrics,
        )

    # ---- what others see of its progress

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

    def _note(self, status: str) -> None:
        self._noted_at = time.monotonic()
        self._state = {
            "status": status,
            "evaluations": self._evaluations,
            "asks": self._asks,
            "best_reward": None if self._best is None else self._best[0],
            "best_seq": None if self._best is None else self._best[1],
            "updated": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        # It only informs; where it cannot be written, the journal's own error says so.
        with suppress(StorageError):
            write_atomic(self.folder / STATE_NAME, json.dumps(self._state, indent=1) + "\n")


# ---- what goes together


def _task(folder: Path, header: Header, given: Task | None) -> Task:
    if given is None:
        try:
            return Task.from_json(header.task)
        except UnknownNameError as error:
            raise UnknownNameError(
                f"{error} Where the simulator is your own, pass the study's `task`."
            ) from None
    if given.digest != header.task["digest"]:
        raise InvalidArgumentError(
            f"`task` must be the one that {folder} records, {header.task['id']!r} with digest "
            f"{header.task['digest'][:12]}; got {given.id!r} with digest {given.digest[:12]}. "
            "Use that one, or start a new study."
        )
    return given


def _agent(header: Header, given: type[Agent] | None) -> type[Agent] | None:
    if header.agent is None:
        return None
    if given is None:
        try:
            return agent_class(header.agent)
        except UnknownNameError as error:
            raise UnknownNameError(
                f"{error} Where the agent is your own, pass its class as `agent`."
            ) from None
    if _name(given) != header.agent:
        raise InvalidArgumentError(
            f"`agent` must be the study's, {header.agent!r}; got {_name(given)!r}."
        )
    return given


def _name(kind: type[Agent]) -> str:
    return str(getattr(kind, "name", kind.__name__))


def _plain(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters as JSON gives them back, so that a resumed agent gets the same."""
    plain = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in hyperparameters.items()
    }
    try:
        return _tuples(json.loads(json.dumps(plain, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(
            f"`hyperparameters` must be plain numbers, strings and lists of them; {error}."
        ) from None


def _tuples(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    return {n: tuple(v) if isinstance(v, list) else v for n, v in hyperparameters.items()}


def _require_count(name: str, value: int | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidArgumentError(f"`{name}` must be a whole number, 1 or more; got {value!r}.")


def _refuse_infinite(records: Records, errors: dict[int, str]) -> None:
    """Makes failures of results that JSON cannot hold."""
    evaluated = records.same < 0
    strange = np.isinf(records.values).any(axis=(1, 2)) | ~np.isfinite(records.reward)
    for row in np.flatnonzero(evaluated & strange).tolist():
        records.values[row] = np.nan
        records.reason[row] = FAILED
        records.reward[row] = INFEASIBLE_REWARD
        refusal = SimulatorError("A simulator must return finite numbers; it returned others.")
        errors.setdefault(int(records.seq[row]), str(refusal))
