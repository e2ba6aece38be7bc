"""A search in one call, and its result for notebooks."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, final

import numpy as np

from archgym.agent.agent import Agent, agent_class
from archgym.checks import check_mapping, check_number, check_path, check_several, check_whole
from archgym.errors import (
    InvalidArgumentError,
    SimulatorError,
    StudyExistsError,
    StudyLockedError,
)
from archgym.evaluation.external import RunningPrograms
from archgym.evaluation.function import FunctionSimulator, OutsideSimulator
from archgym.evaluation.objective import Objective
from archgym.evaluation.simulator import Simulator
from archgym.files.remote import require_local
from archgym.files.storage import file_stem
from archgym.runtime.importing import import_library
from archgym.studies.arguments import require_agent_class
from archgym.studies.metadata import RUNS_FOLDER, STUDY_NAME, read_header
from archgym.studies.portfolio import earlier_designs, shipped_designs
from archgym.studies.prior import StudySource
from archgym.studies.replay import Ending
from archgym.studies.settings import StudySettings, designs_of, sources_of
from archgym.studies.snapshot import Outcome, StudyLog, read_study
from archgym.studies.study import Callback, Study
from archgym.tasks.choices import TaskChoices, WorkloadChoice
from archgym.tasks.executor import Executor, within
from archgym.tasks.sensitivity import unchanged_metrics
from archgym.tasks.task import Task
from archgym.tasks.workers import executor_for

if TYPE_CHECKING:
    import pandas as pd

    from archgym.report.decision import Decision, Robust
    from archgym.report.plots import SearchPlots

T = TypeVar("T")
logger = logging.getLogger(__name__)

_MAX_FOLDERS = 10_000
# chosen: imports and kernels from the cache load in it; they are no part of a time limit.
_LOADING_S = 10.0
# chosen: start designs that are found; the model of `auto` begins after eight results.
_MOST_STARTS = 6
# Arguments of other libraries, and ours.
_OTHER_WORDS = {
    "minimize": "minimise",
    "maximize": "maximise",
    "n_trials": "budget",
    "max_evals": "budget",
    "n_jobs": "workers",
    "constraints": "subject_to",
    "sampler": "agent",
}


@final
@dataclass(frozen=True)
class SearchResult:
    """A study with its best designs, data frames and figures.

    `search` returns one; `SearchResult.read` makes one of any study's folder.

    Example:
      >>> from tempfile import TemporaryDirectory
      >>> from archgym.tasks.task import Task
      >>> from archgym.testing import ProvingSimulator
      >>> task = Task.make(ProvingSimulator("tiny", has_failures=False), "near")
      >>> with TemporaryDirectory() as folder:
      ...     search(task, budget=4, agent="random", folder=f"{folder}/runs").evaluations
      ...     SearchResult.read(f"{folder}/runs").evaluations
      4
      4
    """

    log: StudyLog
    """The study as it was read."""
    ended: Ending | None = None
    """Limit that ended the run; None for a study that was only read."""

    @classmethod
    def read(cls, folder: str | Path) -> "SearchResult":
        """Return the result of the study in a folder, running or finished.

        Raises:
          FileFormatError: The folder is not a study.
        """
        return cls(read_study(folder))

    @property
    def folder(self) -> Path:
        """Folder of the study."""
        return self.log.folder

    @property
    def evaluations(self) -> int:
        """Designs evaluated."""
        return self.log.evaluations

    @cached_property
    def best(self) -> Outcome | None:
        """The best feasible evaluation; None if no design could be built."""
        return self.log.best()

    @property
    def missed(self) -> list[str]:
        """Limits that the best design misses, in words; empty if it meets all."""
        return [] if self.best is None else self.log.missed(self.best)

    def top(self, k: int = 10) -> "pd.DataFrame":
        """Return the `k` best feasible designs, the best first.

        Raises:
          InvalidArgumentError: `k` is not a whole number of 1 or more.
        """
        check_whole("k", k, 1)
        return self.log.to_dataframe(self.log.top_rows(k))

    @property
    def front(self) -> "pd.DataFrame":
        """Designs that no other one beats in every term of the objective, with their metrics."""
        from archgym.studies.front import study_front

        return self.log.to_dataframe(study_front(self.log).rows)

    def decide(
        self,
        measured: str | Path | None = None,
        *,
        confidence: float | None = None,
        robust: "Robust" = "no",
    ) -> "Decision":
        """Return which design to take under the simulator's error; see `archgym decide`.

        Args:
          measured: File of measurements; by default those in the study's folder, if any.
          confidence: Probability with which limits must be met; by default the task's.
          robust: "expected" or "p10" to maximise that reward instead of the most likely one.
        """
        from archgym.report.decision import decide

        return decide(self.log, measured, confidence=confidence, robust=robust)

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row for each evaluation; see `StudyLog.to_dataframe`."""
        return self.log.to_dataframe()

    @property
    def plot(self) -> "SearchPlots":
        """Figures: `convergence()`, `front()` and `importance()`."""
        from archgym.report.plots import SearchPlots

        return SearchPlots(self.log)

    def explore(self) -> Any:
        """Return a page of the study for a notebook; see `archgym.explore`.

        Raises:
          MissingExtraError: The extra `explore` is not installed.
        """
        # The page stands above searches, and is no part of the core.
        return import_library("archgym.explorer.subject").explore(self.folder)

    def __repr__(self) -> str:
        limits = f", limits missed: {'; '.join(self.missed)}" if self.missed else ""
        return f"SearchResult({self.best!r}{limits}, {str(self.folder)!r})"[:1000]

    def _repr_html_(self) -> str:
        return self.log._repr_html_()


def search(
    problem: str | Simulator | Task,
    *,
    minimise: str | Sequence[str] | None = None,
    maximise: str | Sequence[str] | None = None,
    objective: str | Objective | None = None,
    subject_to: str | Sequence[str] | None = None,
    workload: WorkloadChoice | None = None,
    space: str | None = None,
    fixed: Mapping[str, Any] | None = None,
    values: Mapping[str, Any] | None = None,
    tool: str | None = None,
    budget: int = 200,
    agent: str | type[Agent] = "auto",
    seed: int = 0,
    hyperparameters: Mapping[str, Any] | None = None,
    start: Iterable[Any] = (),
    warm_start: StudySource | Iterable[StudySource] = (),
    prior: bool = True,
    patience: int | None = None,
    stop_at: str | None = None,
    minutes: float | None = None,
    workers: int = 1,
    timeout_s: float | None = None,
    cache: str | Path | None = None,
    recheck: float | None = None,
    measured: str | Path | None = None,
    confidence: float | None = None,
    callbacks: Iterable[Callback] = (),
    folder: str | Path | None = None,
    **options: str,
) -> SearchResult:
    """Search for the best design of a task, and return the result.

    Every evaluation is saved in a folder. The same call continues or returns the same study, so a
    cell may run twice, and a search that was interrupted continues.

    Args:
      problem: Simulator (a name, or what `archgym.simulator` made of a function), or a task.
      minimise: Metrics to minimise instead of the simulator's default objective.
      maximise: Metrics to maximise.
      objective: Named objective instead.
      subject_to: Hard limits on metrics, such as ``"area_mm2 <= 5"``, or on parameters.
      workload: Workload names or files of the simulator.
      space: Name of one of the simulator's spaces.
      fixed: Values at which parameters are held, by name, such as ``{"ranks": 2}``.
      values: Values that parameters may have, by name: several, or a text such as ``1..4``.
      tool: Format of a tool such as ``"champsim"``, which must be able to express all designs.
      budget: Number of evaluations.
      agent: Search agent, by name or class.
      seed: Random seed of the agent.
      hyperparameters: Hyperparameters of the agent that are not its defaults. A new search with
        `auto` or `few` has a design in flight for each worker where an evaluation takes long, and
        spends half of the time on models where it is cheap; see `Agent.suited`.
      start: Designs to evaluate first; see `Study.create`.
      warm_start: Earlier studies that the agent may learn from; "auto" to begin with designs of
        studies in `runs` of the same simulator and space that complement each other.
      prior: True to begin with designs that ship for the space, where there are such and neither
        `start` nor `warm_start` is given. They are good for other workloads.
      patience: Evaluations without a better design at which the search ends.
      stop_at: Limits on metrics; the first design that meets them ends the search.
      minutes: Wall time of the search, its default design included [min]; see `Study.run`.
      workers: Number of designs to evaluate in parallel.
      timeout_s: Time limit per design [s]; a slower evaluation counts as failed.
      cache: Folder of evaluations that studies share; no design is simulated twice, except the
        default design, to which rewards are relative: each call evaluates it once. Trust all who
        may write into the folder.
      recheck: Share of the results found in the cache that are evaluated again, at least one and
        0.02 by default; a false result ends the search with an error.
      measured: File of measurements, with which metrics are calibrated; see `archgym measure`.
      confidence: Probability with which limits are met under the simulator's error.
      callbacks: Objects whose `on_trials(study, trials)` receives new evaluations.
      folder: Folder of the study; by default one in ``runs`` with a name made of the task.
      **options: Further arguments of the simulator.

    Raises:
      UnknownNameError: A name does not exist.
      InvalidArgumentError: An argument does not fit.
      StudyExistsError: The folder holds another study.

    Example:
      >>> from tempfile import TemporaryDirectory
      >>> from archgym.evaluation.function import simulator
      >>> from archgym.spaces.parameter import PowerOfTwo
      >>> @simulator(space=[PowerOfTwo(name="ways", low=1, high=16)],
      ...            metrics={"amat_ns": "minimise", "area_mm2": "minimise"})
      ... def cache(design):
      ...     ways = design["ways"]
      ...     return {"amat_ns": 2.0 + 0.1 * ways + 8.0 / ways, "area_mm2": 0.5 * ways}
      >>> with TemporaryDirectory() as folder:
      ...     result = search(cache, minimise="amat_ns", subject_to="area_mm2 <= 3", budget=20,
      ...                     folder=f"{folder}/cache")
      >>> result.best.design, result.missed
      (Design(ways=4), [])
    """
    if not isinstance(agent, str):
        require_agent_class(agent)
    if folder is not None:
        folder = require_local(folder, "A study")
    if minutes is not None:
        check_number("minutes", minutes, 1e-9)
    for name in options:
        if name in _OTHER_WORDS:
            raise InvalidArgumentError(
                f"`search` has no argument `{name}`. Did you mean `{_OTHER_WORDS[name]}`?"
            )
    chosen = TaskChoices.of(
        simulator=problem,
        workload=workload,
        objective=objective,
        space=space,
        fixed=fixed,
        values=values,
        tool=tool,
        subject_to=subject_to,
        minimise=minimise,
        maximise=maximise,
        measured=measured,
        confidence=confidence,
        **options,
    )
    task, minutes = timely(minutes, lambda: _within(timeout_s, chosen))
    if isinstance(task.simulator, OutsideSimulator):
        raise InvalidArgumentError(
            f"Designs of {task.simulator.name!r} are evaluated elsewhere, so it cannot be searched "
            "in one call. Create a study and use its `ask` and `tell`."
        )
    settings = StudySettings(
        seed=seed,
        budget=budget,
        hyperparameters={} if hyperparameters is None else hyperparameters,
        start=designs_of(start),
        warm_start=sources_of(warm_start),
        patience=patience,
        stop_at=stop_at,
    )
    with (
        # First: a start that fails leaves no folder of a study.
        search_executor(task, workers, timeout_s, cache, recheck) as executor,
        _study(folder, task, agent, settings, workers, prior) as study,
    ):
        for callback in check_several("callbacks", callbacks):
            study.add_callback(callback)
        if study.evaluations < budget and (idle := study.idle_workers(workers)):
            logger.warning(idle)
        result = study.run(executor, minutes=minutes)
    return SearchResult(result.log, result.ended)


def suited_settings(
    task: Task,
    agent: str | type[Agent],
    settings: StudySettings,
    workers: int,
    prior: bool,
    folder: str | Path | None = None,
) -> StudySettings:
    """Return settings of a study with what suits the task where nothing else is given.

    The study records it all, and one that exists in the folder keeps its own.

    Args:
      task: Task to search.
      agent: Its agent.
      settings: Settings of the study.
      workers: Number of designs that are evaluated in parallel.
      prior: True to begin with the designs that ship for the space.
      folder: Folder that may hold the study.
    """
    if not isinstance(prior, bool):
        raise InvalidArgumentError(f"`prior` must be True or False; got {prior!r}.")
    kind = agent_class(agent) if isinstance(agent, str) else agent
    given = check_mapping("hyperparameters", settings.hyperparameters)
    suited = kind.suited(task, workers)
    warm_start = settings.warm_start
    is_found = warm_start in (("auto",), (Path("auto"),))
    if is_found:
        warm_start = ()
    elif any(each in ("auto", Path("auto")) for each in warm_start[1:] + warm_start[:-1]):
        raise InvalidArgumentError(
            "`warm_start` must be earlier studies, or `auto` alone, which looks for them; got both."
        )
    if not (prior or kind.uses_portfolio):
        logger.warning("Agent %r uses no designs that ship, so no `prior` is left out.", kind.name)
    start = settings.start
    recorded = None
    if folder is not None and (Path(folder) / STUDY_NAME).is_file():
        recorded = read_header(Path(folder))
        suited = {k: v for k, v in recorded.hyperparameters.items() if k in kind.suited_names}
    if recorded is None:
        names, n_tried = unchanged_metrics(task)
        for name in names:
            logger.warning(
                "Metric %r is the same on %d tried designs, so no parameter of this space seems "
                "to change it. Choose another metric, space or option.",
                name,
                n_tried,
            )
    if not start and not warm_start:
        uses = kind.uses_portfolio and prior
        shipped = shipped_designs(task.simulator.name, task.space) if uses else ()
        if recorded is not None and (is_found or not recorded.start):
            # The designs that were found then, or none in a study that began without.
            rows = np.array(recorded.start or (), dtype=np.int64)
            designs = task.space.designs(rows.reshape(-1, task.space.n_parameters))
            start = tuple(dict(design) for design in designs)
        elif is_found:
            found = earlier_designs(task, RUNS_FOLDER)
            others = [design for design in shipped if design not in found]
            start = (*found, *others[: _MOST_STARTS - len(found)])
        else:
            start = shipped
    hyperparameters = {**suited, **given}
    return replace(settings, hyperparameters=hyperparameters, start=start, warm_start=warm_start)


def search_executor(
    task: Task,
    workers: int,
    timeout_s: float | None,
    cache: str | Path | None,
    recheck: float | None = None,
) -> Executor:
    """Return the executor that evaluates the designs of a search.

    Args:
      task: Task of the designs.
      workers: Number of designs to evaluate in parallel.
      timeout_s: Time limit per design [s].
      cache: Folder of evaluations that studies share.
      recheck: Share of the results found in the cache that are evaluated again; None for 0.02.

    Raises:
      InvalidArgumentError: A share is given without a cache.
    """
    if cache is None and recheck is not None:
        raise InvalidArgumentError(
            f"`recheck` must be left out without `cache`; got {recheck!r}. Name a cache's folder."
        )
    executor = executor_for(workers, timeout_s, task)
    if cache is None:
        return executor
    from archgym.tasks.cache import RECHECK, CachedExecutor

    place = require_local(str(check_path("cache", cache)), "A cache")
    return CachedExecutor(executor, place, RECHECK if recheck is None else recheck)


def run_folders(task: Task, agent: str, seed: int, option: str) -> Iterator[Path]:
    """Yield folders in `runs` for a study, made of its task's name and numbered from the second.

    Args:
      task: Task of the study.
      agent: Name of its agent.
      seed: Its random seed.
      option: Argument that names a folder instead, for the message.

    Raises:
      InvalidArgumentError: None of many folders was taken.
    """
    stem = file_stem(f"{task.id.rpartition('-v')[0]}-{agent}-seed{seed}")
    for number in range(1, _MAX_FOLDERS):
        yield RUNS_FOLDER / (stem if number == 1 else f"{stem}-{number}")
    raise InvalidArgumentError(
        f"`{option}` must be given: {RUNS_FOLDER} already holds {_MAX_FOLDERS - 1} folders {stem}."
    )


def _within(timeout_s: float | None, choices: TaskChoices) -> Task:
    """Return the task; a Python function has the time of one design for the default design."""
    problem = choices.simulator
    if timeout_s is None or not isinstance(problem, FunctionSimulator):
        return _task(choices)
    try:
        limit = check_number("timeout_s", timeout_s, 1e-9)
        return within(limit, lambda: _task(choices))
    except TimeoutError:
        raise SimulatorError(
            f"The default design of {problem.name!r} must run within `timeout_s`, {timeout_s:g} s, "
            "since rewards are relative to it. Choose another by `default=` of the parameters, or "
            "a longer time."
        ) from None


def timely(minutes: float | None, make: Callable[[], T]) -> tuple[T, float | None]:
    """Return what is made, such as a task, and what it leaves of a time limit [min].

    Raises:
      SimulatorError: It takes longer than the limit.
    """
    if minutes is None:
        return make(), None
    started, programs = time.monotonic(), RunningPrograms()

    def made() -> T:
        with programs:
            return make()

    try:
        found = within(max(60.0 * minutes, _LOADING_S), made)
    except TimeoutError:
        programs.stop()
        raise SimulatorError(
            f"The default design must be evaluated within the time limit of {minutes:g} min, since "
            "rewards are relative to it. Choose a longer time, a smaller workload or another "
            "fidelity."
        ) from None
    took_s = time.monotonic() - started
    # A little, so that a limit in the past ends the run at once.
    return found, minutes if took_s < _LOADING_S else max(minutes - took_s / 60.0, 1e-6)


def _task(choices: TaskChoices) -> Task:
    problem: Any = choices.simulator
    if isinstance(problem, Task):
        if given := choices.given():
            raise InvalidArgumentError(
                f"`{given[0]}` belongs to the task that was given; it must be left out."
            )
        return problem
    if callable(problem) and not isinstance(problem, Simulator | type):
        name = getattr(problem, "__name__", "function")
        raise InvalidArgumentError(
            f"`{name}` must say what it takes and returns to be searched. Decorate it with "
            '@archgym.simulator(space=[...], metrics={"...": "minimise"}).'
        )
    if not isinstance(problem, str | Simulator):
        raise InvalidArgumentError(
            "`problem` must be a registered name (`archgym list simulators` lists them), a "
            f"simulator or a task; got {problem!r}. Make an instance of a class first."
        )
    return Task.resolve(choices)


def _study(
    folder: str | Path | None,
    task: Task,
    agent: str | type[Agent],
    settings: StudySettings,
    workers: int,
    prior: bool,
) -> Study:
    """Return the study of these settings: the one that exists, or a new one."""

    def create(place: str | Path) -> Study:
        suited = suited_settings(task, agent, settings, workers, prior, place)
        return Study.begin(place, task, agent, suited, "resume")

    if folder is not None:
        return create(folder)
    name = agent if isinstance(agent, str) else getattr(agent, "name", agent.__name__)
    for place in run_folders(task, name, settings.seed, "folder"):
        try:
            return create(place)
        except (StudyExistsError, StudyLockedError):
            # Another study, or this one in another process.
            continue
    raise AssertionError("run_folders ends by an error")
