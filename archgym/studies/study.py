"""Studies: a search that is journaled, budgeted, interrupted and resumed without loss."""

import logging
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, final

import numpy as np

from archgym.agent.agent import Advice, Agent, agent_class, idle_workers, make_agent
from archgym.checks import check_choice, check_number, check_whole, whole
from archgym.errors import (
    ArchGymError,
    BudgetExhausted,
    InvalidArgumentError,
    StorageError,
    StudyInterrupted,
    StudyLockedError,
    error_text,
)
from archgym.evaluation.function import OutsideSimulator
from archgym.evaluation.limits import parse_limits
from archgym.evaluation.trials import Evaluate, Trials
from archgym.files.json_types import tuples
from archgym.files.lease import Lease
from archgym.files.remote import require_local
from archgym.files.storage import is_there, require_own, write_atomic
from archgym.runtime.closing import Closing
from archgym.runtime.importing import import_library
from archgym.runtime.interruption import Interruption
from archgym.runtime.reductions import report_loss
from archgym.spaces.design import Design
from archgym.spaces.space import design_keys
from archgym.studies.arguments import (
    agent_name,
    existing_study_error,
    kept_prior,
    new_prior,
    other_study_error,
    recorded_hyperparameters,
    require_agent_class,
    require_executor,
    require_task,
    study_agent,
    study_task,
)
from archgym.studies.journal import Damage, JournalWriter, load_journal, renew, rewrite, set_aside
from archgym.studies.metadata import (
    BAD_NAME,
    JOURNAL_NAME,
    POLICY_NAME,
    SESSIONS_NAME,
    STATE_NAME,
    STUDY_NAME,
    TIMING_NAME,
    Header,
    Segment,
    lease_new_folder,
    new_header,
    read_header,
)
from archgym.studies.prior import (
    PRIOR_NAME,
    StoredPrior,
    StudySource,
    filled_indices,
    start_designs,
)
from archgym.studies.replay import Ending, Progress, Recorder
from archgym.studies.settings import StudySettings, designs_of, sources_of
from archgym.studies.snapshot import StudyLog, StudyResult, gaps_text, read_state
from archgym.tasks.executor import Executor, SerialExecutor
from archgym.tasks.task import Evaluation, Task

if TYPE_CHECKING:
    import pandas as pd

    from archgym.studies.ask_tell import AskTell

logger = logging.getLogger(__name__)

# chosen: more than anybody reads; each takes some milliseconds of a model.
_MOST_ADVICE = 100
# chosen: with more designs in flight, most are proposed without any result.
_MOST_IN_FLIGHT = 64
_WRITTEN_NAMES = (
    STUDY_NAME,
    JOURNAL_NAME,
    BAD_NAME,
    TIMING_NAME,
    SESSIONS_NAME,
    POLICY_NAME,
    STATE_NAME,
    PRIOR_NAME,
)


class Callback(Protocol):
    """Object that receives the new evaluations of a study.

    Example:
      >>> class Printing:
      ...     def on_trials(self, study, trials):
      ...         print(study.evaluations, trials.reward.max().round(3))
    """

    def on_trials(self, study: "Study", trials: Trials) -> None:
        """Take evaluations that are new in this process, in their order.

        Args:
          study: The study, whose `evaluations` and `best_reward` count these.
          trials: The new evaluations. Repeats and replayed evaluations are not among them.
        """


@final
class Study(Closing):
    """A folder in which one process at a time searches, or logs an environment.

    Life cycle:

    1. `create` starts a study in an empty folder, `open` continues one. Both take the folder's
       lease, so that nobody else writes.
    2. `run` searches until the budget is used up and returns the result. Every evaluation is in
       the journal before the agent sees it.
    3. `run` releases the lease at its end, and `close` releases it at once.
    4. `open` with a larger budget resumes: the agent is made again from its seed and asked again.
       Every ask is compared with its record, whose results replace the simulator's.

    So a search of N + M evaluations and one of N that is resumed to N + M write the same bytes.

    A loop outside may evaluate in place of `run`: `ask` returns designs, `tell` takes their
    results, in any order. The journal is the same.

    Example:
      >>> from tempfile import TemporaryDirectory
      >>> from archgym.testing import ProvingSimulator
      >>> task = Task.make(ProvingSimulator("tiny", has_failures=False), "near")
      >>> with TemporaryDirectory() as folder:
      ...     first = Study.create(f"{folder}/runs", task, "random", seed=1, budget=2).run()
      ...     whole = Study.open(f"{folder}/runs", task).run(budget=5)
      >>> first.evaluations, whole.evaluations, whole.best.design
      (2, 5, Design(mode='a', count=1))
    """

    def __init__(
        self, folder: Path, task: Task, agent: type[Agent] | None, lease: Lease, header: Header
    ) -> None:
        """Initialise a study; use `create` or `open`, which check the arguments."""
        self.folder = folder
        self.task = task
        self._agent = agent
        self._lease: Lease | None = None
        # Asks of several threads are taken one after the other. A callback may ask again.
        self._turn = threading.RLock()
        self.ended: Ending | None = None
        """Limit that ended the study in this process; None while it can be asked."""
        self._asked: AskTell | None = None
        self._asking_agent: Agent | None = None
        self._callbacks: list[Callback] = []
        self._attach(lease, header)

    # ---- making and opening

    @classmethod
    def create(
        cls,
        folder: str | Path,
        task: Task,
        agent: str | type[Agent] | None = "auto",
        *,
        seed: int = 0,
        budget: int | None = None,
        max_asks: int | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        start: Iterable[Any] = (),
        warm_start: StudySource | Iterable[StudySource] = (),
        patience: int | None = None,
        stop_at: str | None = None,
        exists: Literal["refuse", "resume"] = "refuse",
    ) -> "Study":
        """Start a study in a folder that is new or empty.

        Args:
          folder: Folder to create for the study.
          task: Task to search.
          agent: A registered name or a class; None to log what `evaluate` is given.
          seed: Random seed of the agent.
          budget: Evaluations at which it ends; an agent needs one.
          max_asks: Asks, repeats included, at which it ends; 20 for each evaluation by default.
          hyperparameters: Hyperparameters of the agent that are not its defaults.
          start: Designs to evaluate first: designs, whose missing parameters have their defaults,
            "default" for the default design, or studies whose best designs are meant.
          warm_start: Earlier studies whose records the agent may learn from. A copy of the records
            is part of the study.
          patience: Evaluations without a better design at which it ends.
          stop_at: Limits on metrics, such as ``"total_time_ns <= 60000"``; the first design that
            meets them ends the study.
          exists: "resume" to open the study in the folder if it is the same one, with this budget,
            or with its evaluations so far if they are more.

        Raises:
          InvalidArgumentError: An argument does not fit, or the folder holds something.
          StudyExistsError: The folder holds another study.
          StudyLockedError: Another process has just started a study there.
          StorageError: The folder cannot be written.
        """
        settings = StudySettings(
            seed=seed,
            budget=budget,
            max_asks=max_asks,
            hyperparameters={} if hyperparameters is None else hyperparameters,
            start=designs_of(start),
            warm_start=sources_of(warm_start),
            patience=patience,
            stop_at=stop_at,
        )
        return cls.begin(folder, task, agent, settings, exists)

    @classmethod
    def begin(
        cls,
        folder: str | Path,
        task: Task,
        agent: str | type[Agent] | None,
        settings: StudySettings,
        exists: Literal["refuse", "resume"] = "refuse",
    ) -> "Study":
        """Start a study as `create` does, with its settings as one value."""
        folder = require_local(folder, "A study")
        require_task(task)
        check_choice("exists", exists, ("refuse", "resume"))
        kind = agent_class(agent) if isinstance(agent, str) else agent
        if kind is not None:
            require_agent_class(kind)
        chosen = recorded_hyperparameters(settings.hyperparameters)
        seed, stop_at, sources = settings.seed, settings.stop_at, settings.warm_start
        budget = settings.budget
        if kind is not None or budget is not None:
            budget = check_whole("budget", whole(budget), 1)
        is_replayable = kind is not None and make_agent(kind, task.space, seed, chosen).replayable
        asks, patience = settings.max_asks, settings.patience
        max_asks = None if asks is None else check_whole("max_asks", whole(asks), 1)
        patience = None if patience is None else check_whole("patience", whole(patience), 1)
        if stop_at is not None:
            parse_limits(stop_at, task.metrics, task.space.names, name="stop_at")
        designs = start_designs(task, settings.start)
        prior = kept_prior(folder, task, sources) if exists == "resume" else None
        prior = prior or new_prior(task, kind, sources)
        header = new_header(
            "log" if kind is None else "search",
            folder,
            task.to_json(),
            agent=None if kind is None else agent_name(kind),
            hyperparameters=chosen,
            seed=None if kind is None else int(seed),
            budget=budget,
            max_asks=max_asks,
            start=tuple(map(tuple, designs.tolist())) if len(designs) else None,
            warm_start=prior.sources or None,
            prior_digest=prior.digest if prior.sources else None,
            patience=patience,
            stop_at=stop_at,
            is_replayable=is_replayable,
        )
        if exists == "resume" and is_there(folder / STUDY_NAME):
            return cls._resumed(folder, task, kind, header)
        try:
            lease = lease_new_folder(folder)
        except InvalidArgumentError as error:
            if exists == "resume" and is_there(folder / STUDY_NAME):
                # Another process, or another machine of a shared folder, has just made it.
                return cls._resumed(folder, task, kind, header)
            raise existing_study_error(folder, header) or error from None
        try:
            write_atomic(folder / JOURNAL_NAME, b"")
            if prior.sources:
                prior.write(folder)
            # Last: a folder with study.json is a study that can be opened.
            header.write(folder)
            logger.info("Study %s starts: %s", folder, task.id)
            return cls(folder, task, kind, lease, header)
        except BaseException:
            lease.release()
            raise

    @classmethod
    def _resumed(
        cls, folder: Path, task: Task, kind: type[Agent] | None, wanted: Header
    ) -> "Study":
        """Return the study in a folder, opened, if it is the wanted one."""
        recorded, chosen = read_header(folder), wanted.hyperparameters
        if kind is not None and "batch_size" in kind.suited_names and "batch_size" not in chosen:
            # The first ask of the study may have set it.
            kept = {k: v for k, v in recorded.hyperparameters.items() if k == "batch_size"}
            wanted = wanted.with_hyperparameters({**chosen, **kept})
        difference = recorded.difference(wanted)
        if difference is not None:
            raise other_study_error(folder, difference)
        study = cls.open(folder, task, kind)
        try:
            study._take_budget(wanted.budget)
            study.stop_by(wanted.patience, wanted.stop_at)
        except BaseException:
            study.close()
            raise
        return study

    @classmethod
    def open(
        cls, folder: str | Path, task: Task | None = None, agent: type[Agent] | None = None
    ) -> "Study":
        """Open a study to continue it.

        Damaged records are set aside into `journal.bad`, and their evaluations are done again by
        `run`, not charged. A log, and the study of an agent that cannot be replayed, continues in a
        new segment.

        Args:
          folder: The study's.
          task: Task of the study; needed if its simulator is not registered.
          agent: Class of the agent; needed if it is not registered.

        Raises:
          FileFormatError: The folder is not a study.
          InvalidArgumentError: The task is not the study's, or the study was merged.
          StudyLockedError: Another process writes it.
          StorageError: It cannot be written.
        """
        folder = require_local(folder, "A study")
        read_header(folder)
        lease = Lease(folder)
        try:
            header = read_header(folder)
            if header.kind == "merged":
                raise InvalidArgumentError(
                    f"A study must be a search or a log to be continued; {folder} was merged from "
                    "others. Continue one of those."
                )
            return cls(
                folder, study_task(folder, header, task), study_agent(header, agent), lease, header
            )
        except BaseException:
            lease.release()
            raise

    @classmethod
    def log(cls, folder: str | Path, task: Task) -> "Study":
        """Return a log for `evaluate`: opened where the folder has one of this task, else made.

        Raises:
          InvalidArgumentError: The folder holds something else.
          StudyLockedError: Another process writes it.
          StorageError: It cannot be written.
        """
        folder = require_local(folder, "A study")
        if not is_there(folder / STUDY_NAME):
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
        """Sync the journal to disk and release the lease; calling it again does nothing."""
        if self._lease is None:
            return
        lease, self._lease = self._lease, None
        try:
            if self._asked is not None:
                self._asked.stop()
                self._asked = None
                self._recorder.note("interrupted")
            if self._header.kind == "log":
                self._recorder.note("finished")
            self._journal.close()
        finally:
            lease.release()

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
    def id(self) -> str:
        """Random id of the study, which copies and merged studies keep."""
        return self._header.id

    @property
    def best_reward(self) -> float | None:
        """Best reward of a feasible design so far; None if no design could be built."""
        open_step = None if self._asked is None else self._asked.best_reward
        found = [best for best in (self._recorder.best_reward, open_step) if best is not None]
        return max(found, default=None)

    def settings(self) -> dict[str, Any]:
        """Return task, agent, seed, budget and hyperparameters, as trackers show them."""
        header = self._header
        return {
            "task": self.task.id,
            "agent": header.agent,
            "seed": header.seed,
            "budget": header.budget,
            **header.hyperparameters,
        }

    def add_callback(self, callback: Callback) -> None:
        """Tell a callback of evaluations from now on, by its `on_trials(study, trials)`.

        Raises:
          InvalidArgumentError: It has no method `on_trials`.
        """
        if not callable(getattr(callback, "on_trials", None)):
            raise InvalidArgumentError(
                f"`callbacks` must have the method `on_trials(study, trials)`; got {callback!r}."
            )
        self._callbacks.append(callback)
        self._recorder.on_new = _notifier(weakref.ref(self))

    @property
    def rules(self) -> tuple[int | None, str | None]:
        """Patience and limits by which the study ends, each None if not set; see `stop_by`."""
        return self._header.patience, self._header.stop_at

    @property
    def evaluations(self) -> int:
        """Evaluations so far."""
        told = 0 if self._asked is None else self._asked.told
        return self._recorder.evaluations + told

    @property
    def asks(self) -> int:
        """Asks so far."""
        return self._recorder.asks

    def idle_workers(self, workers: int) -> str:
        """Return a notice if the agent keeps fewer workers busy than these, else an empty text."""
        if self._agent is None:
            return ""
        return idle_workers(self._agent, dict(self._header.hyperparameters), workers)

    @property
    def damage(self) -> tuple[Damage, ...]:
        """Damaged parts of the journal found when it was opened, which were set aside."""
        return self._damage

    @property
    def next_segment(self) -> Segment | None:
        """Segment with which an agent that cannot be replayed continues; None if not needed."""
        return self._next_segment

    def __repr__(self) -> str:
        state = "closed" if self._lease is None else "open"
        name = self._header.agent or "log"
        return (
            f"Study({str(self.folder)[-200:]!r}, {self.task.id[:300]!r}, {name}, "
            f"{self.evaluations} of {self.budget} evaluations, {state})"
        )

    def _repr_html_(self) -> str:
        return self.read()._repr_html_()

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row for each evaluation; see `StudyLog.to_dataframe`."""
        return self.read().to_dataframe()

    def read(self) -> StudyLog:
        """Return the study as its readers see it now."""
        recorder = self._recorder
        return StudyLog(
            self.folder, recorder.header, recorder.records(), self._damage, recorder.state
        )

    def advise(
        self, k: int = 5, designs: Iterable[Mapping[str, Any]] = (), seed: int = 0
    ) -> Advice:
        """Return designs worth evaluating next, with predictions; nothing is evaluated.

        Works for logs and for studies of any agent, also while they are open.

        Args:
          k: Number of designs to suggest, 1 to 100.
          designs: Designs of one's own, which are ranked among them, each once. Missing parameters
            have their defaults. Those that are evaluated come last, with their results.
          seed: Random seed of the candidates.

        Raises:
          InvalidDesignError: A design does not lie in the space.
          InvalidArgumentError: There are too few results.
        """
        check_whole("k", k, 1, _MOST_ADVICE)
        space = self.task.space
        if not isinstance(designs, Iterable) or isinstance(designs, str | Mapping):
            raise InvalidArgumentError(f"`designs` must list designs; got {designs!r}.")
        rows = [filled_indices(space, design, "designs") for design in designs]
        own = np.array(rows, dtype=np.int64).reshape(-1, space.n_parameters)
        own = own[np.sort(np.unique(space.canonical(own), axis=0, return_index=True)[1])]
        log = self.read()
        evaluated = log.records.rows(log.is_evaluation)
        known = self.task.trials(
            evaluated.indices,
            Evaluation(evaluated.values, evaluated.reason, evaluated.reward),
            np.zeros(len(evaluated), dtype=bool),
        )
        found = make_agent(agent_class("few"), space, seed, {}).advise(self.task, known, k, own)
        rows_of = {key: row for row, key in enumerate(design_keys(space.canonical(known.indices)))}
        trials, new, old = list(known), [], []
        for each in found.suggestions:
            row = rows_of.get(
                design_keys(space.canonical(space.indices_of(each.design)[None, :]))[0]
            )
            if row is None:
                new.append(each)
            else:
                old.append(each.evaluated(self.task, trials[row], evaluated.values[[row]]))
        return replace(found, suggestions=(*new, *old))

    def explore(self) -> Any:
        """Return a page of this study for a notebook; see `archgym.explore`.

        Raises:
          MissingExtraError: The extra `explore` is not installed.
        """
        # The page stands above studies, and is no part of the core.
        return import_library("archgym.explorer.subject").explore(self)

    # ---- running

    def run(
        self,
        executor: Executor | None = None,
        budget: int | None = None,
        progress: Progress | None = None,
        *,
        minutes: float | None = None,
    ) -> StudyResult:
        """Let the agent search until the budget or the limit of asks is reached.

        In the main thread, SIGINT and SIGTERM stop it: StudyInterrupted is raised within two
        seconds, and all that was evaluated is in the journal.

        Args:
          executor: Executor of the designs; one after the other by default. It is closed when
            the study is interrupted, otherwise it stays the caller's.
          budget: A new budget for the study, at least its evaluations so far.
          progress: Called after each batch.
          minutes: Wall time of the run [min]. At its end programs, processes and Python code that
            evaluate are stopped, the executor is closed, and a kernel is left to end by itself.
            The study can be continued.

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
        if isinstance(self.task.simulator, OutsideSimulator):
            raise InvalidArgumentError(
                f"Designs of {self.task.simulator.name!r} are evaluated elsewhere, so the study "
                "cannot run them. Use its `ask` and `tell`."
            )
        require_executor(executor)
        if self._asked is not None:
            self.close()
        if self._lease is None:
            self._reattach()
        self._recorder.limit_time(
            None if minutes is None else 60.0 * check_number("minutes", minutes, 1e-9)
        )
        self.extend(budget)
        used = executor if executor is not None else SerialExecutor()
        status = "interrupted"
        with Interruption() as interruption, self._recorder.interruptible(interruption):
            try:
                ended = self._search(self._agent, used, progress)
                interruption.check()
                status = "interrupted" if ended == "minutes" else "finished"
            except StudyInterrupted:
                interruption.hold_back()
                used.cancel()
                raise
            except Exception as error:
                interruption.hold_back()
                if isinstance(error, StorageError | StudyLockedError):
                    raise
                # What a library makes of an interruption, such as a SystemError, is one.
                interruption.check()
                raise
            finally:
                interruption.hold_back()
                if executor is None:
                    used.close()
                self._recorder.note(status)
                self.close()
        logger.info("Study %s ends: %s evaluations", self.folder, self.evaluations)
        return StudyResult(self.read(), ended)

    def ask(self, n: int = 1) -> list[Design]:
        """Return designs for a loop outside to evaluate, which `tell` takes the results of.

        An agent has as many designs in flight as its hyperparameter `batch_size` says, so there
        may be fewer than `n`. Where `auto` and `few` were created without it, the first ask of the
        study sets it to `n`, and the study records it. They replace each design that is told in
        turn; `genetic`, with eight, waits for the whole batch. There are none where all are given
        out, or where the study has ended (see `ended`). Designs that were given out and not told
        are given out again by a study that is opened again.

        Args:
          n: Largest number of designs.

        Raises:
          InvalidArgumentError: The study has no agent, or is closed.
          ReplayError: The agent asks for something else than it did.
        """
        n = check_whole("n", n, 1)
        with self._turn:
            if self.ended is not None:
                return []
            self._fill_flight(n)
            loop = self._loop()
            designs = loop.ask(n) if loop is not None else []
            if loop is not None and loop.ended is not None:
                self._end_loop(loop.ended)
            if designs and len(designs) < n and (idle := self.idle_workers(n)):
                report_loss(idle)
            return designs

    def tell(
        self,
        design: Mapping[str, Any],
        metrics: Mapping[str, Any] | None = None,
        *,
        infeasible: str | None = None,
        failure: str | None = None,
    ) -> None:
        """Journal the result of a design that was asked for; it is safe when this returns.

        Designs may be told in any order, also in another process than the one that asked. Telling
        the same result again does nothing.

        Args:
          design: The design.
          metrics: Every metric by name, in the units of `task.metrics`; where the task has several
            workloads, such a mapping by name of the workload.
          infeasible: Instead of metrics, the reason why the design cannot be built.
          failure: Instead of metrics, the message of an evaluation that broke.

        Raises:
          InvalidDesignError: The design does not lie in the space.
          InvalidArgumentError: The agent did not ask for the design, or a metric does not fit.
          UnknownNameError: A metric, workload or reason does not exist.
        """
        from archgym.studies.ask_tell import told_evaluation

        with self._turn:
            told = told_evaluation(self.task, metrics, infeasible, failure)
            loop = self._loop() if self.ended is None else None
            if loop is None:
                raise InvalidArgumentError(
                    f"{self.folder} has ended ({self.ended}) and takes no more results."
                )
            self._begin_segment()
            loop.tell(design, told)

    def measure(
        self,
        design: Mapping[str, Any],
        metrics: Mapping[str, float],
        *,
        workload: str | None = None,
        date: str = "",
        machine: str = "",
    ) -> None:
        """Keep what a design measured on the real thing, for `archgym decide`.

        It is safe when this returns, and no part of the study's identity.

        Args:
          design: The design; parameters left out have the default design's values.
          metrics: Measured values by metric, in the units of `task.metrics`.
          workload: Workload that ran; may be left out where the task has one.
          date: Day or time of the run.
          machine: Machine of the run.

        Raises:
          InvalidDesignError: The design does not lie in the space.
          InvalidArgumentError: A number or the workload does not fit.
        """
        from archgym.measurements.file import MEASURED_NAME, append_measurements
        from archgym.studies.spreadsheet import measured, wrong_unit

        row = measured(self.task, design, metrics, workload, date, machine)
        if off := wrong_unit(self.task, [row]):
            raise InvalidArgumentError(f"{off[1]}. Correct its unit; nothing was kept.")
        append_measurements(self.folder / MEASURED_NAME, [row])

    def evaluate(self, indices: np.ndarray, executor: Executor | None = None) -> Trials:
        """Evaluate designs and log them, for a study without an agent.

        Several threads may call it; their calls are served one after the other.

        Args:
          indices: (k, n_parameters).
          executor: Executor of the designs; one after the other by default.

        Raises:
          InvalidDesignError: A design lies outside the space.
          BudgetExhausted: The study has a budget and it is used up.
        """
        if self._agent is not None:
            raise InvalidArgumentError(
                f"Only a log takes designs from outside; {self.folder} has agent "
                f"{self._header.agent!r}, which asks. Use `run`, or `Study.log`."
            )
        with self._turn:
            if self._lease is None:
                raise InvalidArgumentError(
                    f"A study must be open to be evaluated in; {self.folder} is closed. "
                    "Open it again."
                )
            self._begin_segment()
            return self._recorder.evaluate(indices, executor or self._own_executor, None)

    # ---- asks and tells

    def _loop(self) -> "AskTell | None":
        """Return the loop of asks and tells, begun now if need be; None if the study ends."""
        from archgym.studies.ask_tell import AskTell, PausedSearch

        if self._agent is None:
            raise InvalidArgumentError(
                f"A study needs an agent to be asked; {self.folder} is a log. Create a study with "
                "an agent."
            )
        if self._lease is None:
            raise InvalidArgumentError(
                f"A study must be open to be asked; {self.folder} is closed. Open it again."
            )
        if self._asked is None:
            ended = self._ended_before(self._agent)
            if ended is not None:
                self._end_loop(ended)
                return None
            self._asking_agent = self._made_agent(self._agent)
            search = PausedSearch(self._primed(self._asking_agent))
            self._asked = AskTell(self._recorder, self.task, search)
        return self._asked

    def _fill_flight(self, n: int) -> None:
        """Record `n` designs in flight at the first ask, where the user did not choose a number."""
        header = self._header
        is_chosen = "batch_size" in header.hyperparameters or self._asked is not None
        if n == 1 or is_chosen or self._lease is None or self.asks:
            return
        if self._agent is not None and "batch_size" in self._agent.suited_names:
            in_flight = {"batch_size": min(n, _MOST_IN_FLIGHT)}
            header = header.with_hyperparameters({**header.hyperparameters, **in_flight})
            header.write(self.folder)
            # The journal is bound to the hyperparameters, and holds nothing yet.
            self.close()
            self._reattach()

    def _end_loop(self, ended: Ending) -> None:
        self.ended = ended
        if self._asking_agent is not None:
            self._save_policy(self._asking_agent)
        self._recorder.finish(ended)
        self._asked = None
        self._recorder.note("finished")
        self.close()

    # ---- the lease and what is known

    def _attach(self, lease: Lease, header: Header) -> None:
        path = self.folder / JOURNAL_NAME
        for name in _WRITTEN_NAMES:
            require_own(self.folder / name)
        state = read_state(self.folder)
        if lease.predecessor is not None and is_there(path):
            # It may live, out of the lock's reach, and have looked at its token just before.
            renew(path)
        journal = load_journal(path, header.shape(self.task.space))
        self._damage: tuple[Damage, ...] = journal.damage
        if not journal.is_tidy:
            set_aside(path, journal.damage, self.folder / BAD_NAME)
            rewrite(path, journal)
        self._own_executor = SerialExecutor()
        self._journal = JournalWriter(path, self.folder / TIMING_NAME, lease)
        self._recorder = Recorder(self.folder, self.task, header, journal.records, self._journal)
        if self._callbacks:
            self._recorder.on_new = _notifier(weakref.ref(self))
        self._lease = lease
        before = StudyLog(self.folder, header, journal.records, state=state)
        gaps, self._was_complete = before.gaps, before.is_complete
        self._next_segment = None
        if not header.is_replayable and len(journal.records):
            self._recorder.go_on()
            self._next_segment = self._segment_to_come()
        self._recorder.note("running")
        if gaps:
            n = sum(last - first + 1 for first, last in gaps)
            what = "are made again" if header.is_replayable else "cannot be made again"
            logger.warning("%s: %s; these %s %s.", path, gaps_text(gaps), n, what)
        if journal.damage:
            logger.warning(
                "%s These lines were moved to %s.",
                self.read().damage_report(),
                self.folder / BAD_NAME,
            )

    def _reattach(self) -> None:
        lease = Lease(self.folder)
        try:
            header = read_header(self.folder)
            self._attach(lease, header)
        except BaseException:
            lease.release()
            raise

    def _segment_to_come(self) -> Segment:
        header, asks = self._header, self._recorder.asks
        if header.segments[-1].first_seq == asks:
            # It was begun, and then nothing came.
            return header.segments[-1]
        seed = header.seed
        if seed is not None:
            # Another seed, or the agent would ask first for what it has asked before.
            sequence = np.random.SeedSequence([seed, len(header.segments)])
            seed = int(sequence.generate_state(1)[0])
        return header.with_segment(asks, seed).segments[-1]

    def _begin_segment(self) -> None:
        """Record the next segment, if there is one; called when it gets its first record."""
        segment, self._next_segment = self._next_segment, None
        if segment is not None and segment != self._header.segments[-1]:
            self._recorder.header = self._header.with_segment(segment.first_seq, segment.seed)
            self._header.write(self.folder)

    def extend(self, budget: int | None) -> None:
        """Set another budget; None leaves it as it is.

        Args:
          budget: Evaluations at which the study ends, at least its evaluations so far.

        Raises:
          InvalidArgumentError: The study has more evaluations.
        """
        if budget is None or budget == self._header.budget:
            return
        budget = check_whole("budget", whole(budget), 1)
        known = self.read().evaluations
        if budget < known:
            raise InvalidArgumentError(
                f"`budget` must be at least the {known} evaluations that {self.folder} has; "
                f"got {budget!r}."
            )
        self._was_complete = False
        self._recorder.header = self._header.with_budget(budget)
        self._header.write(self.folder)

    def _take_budget(self, budget: int | None) -> None:
        """Set another budget; one below the evaluations so far ends the study where it is."""
        known = self.read().evaluations
        if budget is not None and budget < known:
            logger.warning(
                "%s has %s evaluations already, more than the budget of %s; all of them count. "
                "For a search of %s evaluations choose another folder.",
                self.folder, known, budget, budget,
            )  # fmt: skip
            budget = known
        self.extend(budget)

    def stop_by(self, patience: int | None, stop_at: str | None) -> None:
        """Set other rules to stop than the budget; None for no such rule.

        Args:
          patience: Evaluations without a better design at which the study ends.
          stop_at: Limits on metrics; the first design that meets them ends the study.

        Raises:
          InvalidArgumentError: A rule does not fit.
        """
        header = self._header
        if (patience, stop_at) == (header.patience, header.stop_at):
            return
        if patience is not None:
            patience = check_whole("patience", whole(patience), 1)
        if stop_at is not None:
            parse_limits(stop_at, self.task.metrics, self.task.space.names, name="stop_at")
        self._was_complete = False
        self._recorder.follow(header.with_rules(patience, stop_at))
        self._header.write(self.folder)

    def _search(self, kind: type[Agent], executor: Executor, progress: Progress | None) -> Ending:
        recorder = self._recorder
        ended = self._ended_before(kind)
        if ended is None:
            agent = self._made_agent(kind)
            try:
                self._primed(agent)(_Evaluating(self, executor, progress))
            except BudgetExhausted:
                ended = recorder.limit_reached() or "budget"
            except (SystemExit, GeneratorExit) as stop:
                # Else the process would end as if the study were finished.
                raise ArchGymError(
                    f"Agent {self._header.agent!r} must return from `search`; it raised "
                    f"{type(stop).__name__}({error_text(stop)})."
                ) from stop
            else:
                ended = recorder.limit_reached() or "agent"
            self._save_policy(agent)
        recorder.finish(ended)
        return ended

    def _ended_before(self, kind: type[Agent]) -> Ending | None:
        """Return why the study has ended already; None if its agent is to search."""
        ended = self._recorder.limit_reached()
        if self._header.is_replayable and not self._lacks_policy(kind):
            ended = self._recorder.go_to_end()
        if ended is None and self._next_segment is not None and self._was_complete:
            ended = "agent"
        return ended

    def _made_agent(self, kind: type[Agent]) -> Agent:
        segment = self._next_segment or self._header.segments[-1]
        values = tuples(self._header.hyperparameters)
        return make_agent(kind, self.task.space, segment.seed or 0, values)

    def _primed(self, agent: Agent) -> Callable[[Evaluate], None]:
        """Return the agent's search, begun with start designs and earlier studies."""
        header, task = self._header, self.task
        start = np.array(header.start or (), dtype=np.int64).reshape(-1, task.space.n_parameters)
        stored = StoredPrior.none(task)
        if header.prior_digest is not None:
            sources = header.warm_start or ()
            stored = StoredPrior.read(self.folder, task, sources, header.prior_digest)

        def search(evaluate: Evaluate) -> None:
            trials = evaluate(start) if len(start) else None
            if agent.uses_prior and (trials is not None or stored.sources):
                agent.take_prior(stored.prior(trials))
            agent.search(evaluate, task)

        return search

    def _save_policy(self, agent: Agent) -> None:
        policy = agent.policy()
        if policy is not None:
            policy.save(self.folder / POLICY_NAME)

    def _lacks_policy(self, kind: type[Agent]) -> bool:
        """Return True if what the agent learns is not saved: its process was killed just before."""
        learns = kind.policy is not Agent.policy
        return learns and not (self.folder / POLICY_NAME).is_file()

    @property
    def _header(self) -> Header:
        return self._recorder.header


@final
class _Evaluating:
    """Function by which the agent of a running study has designs evaluated."""

    def __init__(self, study: Study, executor: Executor, progress: Progress | None) -> None:
        self._study = study
        self._executor = executor
        self._progress = progress

    def __call__(self, indices: np.ndarray) -> Trials:
        """Return the trials of designs."""
        study = self._study
        with study._turn:
            study._begin_segment()
            return study._recorder.evaluate(indices, self._executor, self._progress)

    def expect(self, indices: np.ndarray) -> None:
        """Start designs that the agent asks for next, where a worker is idle."""
        if not self._executor.starts_ahead:
            return
        indices = np.ascontiguousarray(indices, dtype=np.int64)
        _, is_needed = self._study._recorder.expected(indices)
        if is_needed.any():
            self._executor.expect(self._study.task, indices[is_needed])


def _notifier(study: "weakref.ref[Study]") -> Callable[[Trials], None]:
    """Return a function that tells a study's callbacks, and does not keep the study alive."""

    def notify(trials: Trials) -> None:
        alive = study()
        if alive is not None:
            for callback in alive._callbacks:
                callback.on_trials(alive, trials)

    return notify
