"""Conformance suite of agents."""

import ctypes
import inspect
import logging
import random
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.agent.agent import Agent, AskTellAgent, make_agent
from archgym.errors import (
    ArchGymError,
    BudgetExhausted,
    ConformanceError,
    InvalidArgumentError,
    sentence,
)
from archgym.evaluation.objective import INFEASIBLE_REWARD, REWARD_LIMIT
from archgym.evaluation.simulator import FAILED
from archgym.evaluation.trials import Trials
from archgym.spaces.parameter import Parameter
from archgym.studies.study import Study
from archgym.tasks.task import Evaluation, Task
from archgym.testing.proving import ON_PURPOSE, proving_tasks

_SEEDS = (1, 2)
# chosen: ranges up to this size are tried in full, others at even distances.
_MAX_VALUES = 64
# Names of what an agent must not know: its number of evaluations.
_BUDGET_WORDS = ("budget", "max_evaluations", "n_evaluations", "max_asks", "total_timesteps")


def check_agent(
    kind: type[Agent],
    *,
    tasks: Sequence[Task] | None = None,
    n_designs: int = 80,
    hyperparameters: Mapping[str, Any] | None = None,
    time_limit_s: float = 120.0,
) -> None:
    """Check that an agent conforms to the interface; a quick agent takes seconds.

    It asks for legal designs only; asks the same for the same seed and results, and other things
    for another seed; survives designs that are infeasible, failed, repeated or all alike; neither
    changes what it is given nor touches global random numbers; lets the end of the budget pass;
    stops or repeats itself once it knows a small space; takes every value that its
    hyperparameters' ranges publish; and a study that stops and resumes writes what one without a
    stop writes.

    Args:
      tasks: Tasks to search; small tasks with every difficulty by default.
      n_designs: Designs to ask for in each trial of it; some multiples of its batch.
      hyperparameters: Values in place of the defaults, such as a smaller network.
      time_limit_s: Wall time after which a single search counts as hung.

    Raises:
      ConformanceError: A check failed; the message says how to repeat it.
      InvalidArgumentError: `kind` is not a class of agents.
    """
    if not (inspect.isclass(kind) and issubclass(kind, Agent)):
        raise InvalidArgumentError(
            f"`kind` must be a class below Agent; got {kind!r}. One that is registered comes from "
            "archgym.agent.agent.agent_class."
        )
    chosen = proving_tasks() if tasks is None else tuple(tasks)
    check = _AgentCheck(
        kind, n_designs, dict(hyperparameters or {}), time_limit_s, tasks is not None
    )
    check.declaration()
    studies = logging.getLogger("archgym.studies.replay")
    studies.addFilter(_is_news)
    try:
        for task in chosen:
            check.legal_and_repeatable(task)
            check.hostile_results(task)
            check.end_of_budget(task)
            check.stop_and_go(task)
    finally:
        studies.removeFilter(_is_news)
    check.ranges(chosen[0])


def _is_news(record: logging.LogRecord) -> bool:
    """Return False for warnings of failures that belong to the check."""
    return ON_PURPOSE not in record.getMessage()


@final
class _Recorder:
    """Stand-in for a study that answers and keeps asks, up to `limit` designs."""

    def __init__(
        self,
        task: Task,
        limit: int,
        alter: Callable[[Evaluation], Evaluation],
        is_all_repeated: bool = False,
    ) -> None:
        self.asks: list[np.ndarray] = []
        self.is_over = False
        self.was_asked_after_end = False
        self.signal = BudgetExhausted("The budget of this check is used up.")
        self._task = task
        self._limit = limit
        self._alter = alter
        self._is_all_repeated = is_all_repeated
        self._known: set[bytes] = set()

    @property
    def designs(self) -> np.ndarray:
        """All designs that were asked for, (n, n_parameters), up to the limit."""
        empty = np.empty((0, self._task.space.n_parameters), dtype=np.int64)
        return np.concatenate([empty, *self.asks])[: self._limit]

    def __call__(self, indices: np.ndarray) -> Trials:
        if self.is_over:
            self.was_asked_after_end = True
            raise self.signal
        _require_legal(self._task, indices)
        self.asks.append(np.array(indices, dtype=np.int64))
        if sum(map(len, self.asks)) >= self._limit:
            self.is_over = True
            raise self.signal
        return self._answer(self.asks[-1])

    def _answer(self, indices: np.ndarray) -> Trials:
        result = self._alter(self._task.evaluate(indices))
        keys = [row.tobytes() for row in self._task.space.canonical(indices)]
        repeated = np.array([key in self._known or key in keys[:n] for n, key in enumerate(keys)])
        repeated |= self._is_all_repeated
        self._known.update(keys)
        trials = self._task.trials(indices.copy(), result, repeated)
        for array in (trials.indices, trials.reward, trials.terms, trials.values):
            array.flags.writeable = False
        return trials


def _require_legal(task: Task, indices: Any) -> None:
    if not isinstance(indices, np.ndarray):
        raise ConformanceError(
            f"Designs asked for must be a numpy array; got {type(indices).__name__}."
        )
    try:
        task.space.check_indices(indices)
    except ArchGymError as error:
        raise ConformanceError(f"Designs asked for must lie in the space: {error}") from None
    if not len(indices):
        raise ConformanceError("An ask must hold one or more designs; got none.")


def _seed_globals(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - an agent must not read it


def _global_state() -> tuple[Any, Any]:
    return random.getstate(), np.random.get_state()  # noqa: NPY002 - looks, draws nothing


def _same_state(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    return repr(one[0]) == repr(other[0]) and all(
        np.array_equal(left, right) for left, right in zip(one[1], other[1], strict=True)
    )


@final
class _AgentCheck:
    """The checks, one method each."""

    def __init__(
        self,
        kind: type[Agent],
        n_designs: int,
        hyperparameters: dict[str, Any],
        time_limit_s: float,
        has_own_tasks: bool,
    ) -> None:
        self._kind = kind
        self._n = n_designs
        self._hyperparameters = hyperparameters
        self._time_limit_s = time_limit_s
        self._has_own_tasks = has_own_tasks

    def declaration(self) -> None:
        """Check that the class has its attributes and that its ranges match its constructor."""
        kind = self._kind
        name = getattr(kind, "name", "")
        self._require(bool(name), "`name` must be given", name)
        doc = inspect.getdoc(kind)
        inherited = {inspect.getdoc(Agent), inspect.getdoc(AskTellAgent)}
        self._require(bool(doc) and doc not in inherited, "the class must have a docstring", doc)
        self._require(bool(kind.library), '`library` must be "own" or a package', kind.library)
        kinds = ("single-objective", "multi-objective")
        self._require(kind.kind in kinds, f"`kind` must be one of {kinds}", kind.kind)
        batches = ("sequential", "batch")
        self._require(kind.batch in batches, f"`batch` must be one of {batches}", kind.batch)
        signature = inspect.signature(kind).parameters
        places = list(signature)
        self._require(places[:1] == ["space"], "`space` must come first", places)
        self._require("seed" in signature, "the constructor must take `seed`", places)
        taken = {n: p for n, p in signature.items() if n not in ("space", "seed")}
        published = {p.name: p for p in kind.hyperparameters}
        self._require(
            len(published) == len(kind.hyperparameters) and set(published) == set(taken),
            "`hyperparameters` must give the range of each constructor argument but space and seed",
            f"{sorted(published)} for {sorted(taken)}",
        )
        for argument, parameter in published.items():
            self._argument(argument, taken[argument], parameter)

    def _argument(self, name: str, argument: inspect.Parameter, parameter: Parameter) -> None:
        keyword = argument.kind is inspect.Parameter.KEYWORD_ONLY
        self._require(keyword, f"`{name}` must be a keyword-only argument", argument)
        told = [word for word in _BUDGET_WORDS if word in name]
        self._require(not told, "an agent must not be told its budget", name)
        self._require(bool(parameter.doc), f"the range of `{name}` must have a `doc`", "")
        default = parameter.value(parameter.default_index)
        self._require(
            bool(default == argument.default) and isinstance(default, type(argument.default)),
            f"the default of `{name}`'s range must be the constructor's, {argument.default!r}",
            default,
        )

    def legal_and_repeatable(self, task: Task) -> None:
        """Check that designs are legal and depend on the seed alone, not on global state."""
        kept = _global_state()
        try:
            _seed_globals(0)
            before = _global_state()
            first = self._search(task, _SEEDS[0])
            alone = _same_state(before, _global_state())
            self._require(alone, "global random numbers must be left alone", "a draw", task)
            _seed_globals(1)
            again = self._search(task, _SEEDS[0])
        finally:
            random.setstate(kept[0])
            np.random.set_state(kept[1])  # noqa: NPY002 - puts back what was there
        if self._kind.replayable:
            self._require_same(first, again, task)
        if self._kind.is_seeded and task.space.size > 100:
            other = self._search(task, _SEEDS[1])
            self._require(
                not np.array_equal(first.designs, other.designs),
                "another seed must lead to other asks; say `is_seeded = False` if it should not",
                f"the same {len(first.designs)} designs",
                task,
            )

    def hostile_results(self, task: Task) -> None:
        """Check that results of any kind are survived, and that no given array is changed."""
        rng = np.random.default_rng(0)

        def all_are(reason: int) -> Callable[[Evaluation], Evaluation]:
            return lambda result: Evaluation(
                np.full(result.values.shape, np.nan),
                np.full(result.reason.shape, reason, dtype=np.int16),
                np.full(len(result.reward), INFEASIBLE_REWARD),
                dict.fromkeys(range(len(result.reward)), "It broke.") if reason < 0 else {},
            )

        def flat(result: Evaluation) -> Evaluation:
            return Evaluation(
                np.ones(result.values.shape),
                np.zeros(result.reason.shape, dtype=np.int16),
                np.zeros(len(result.reward)),
            )

        def extreme(result: Evaluation) -> Evaluation:
            rewards = rng.choice([-REWARD_LIMIT, 0.0, REWARD_LIMIT], size=len(result.reward))
            return Evaluation(result.values, result.reason, rewards)

        hostile = {
            "infeasible": all_are(1),
            "failed": all_are(FAILED),
            "alike": flat,
            "extreme": extreme,
        }
        for word, alter in hostile.items():
            self._search(task, _SEEDS[0], alter, f"while all results are {word}")
        self._search(task, _SEEDS[0], flat, "while all designs are repeated", is_all_repeated=True)

    def end_of_budget(self, task: Task) -> None:
        """Check that the end of the budget passes through and does not change what was asked."""
        short = self._search(task, _SEEDS[0], limit=max(1, self._n // 3))
        long = self._search(task, _SEEDS[0])
        if self._kind.replayable:
            n = len(short.designs)
            self._require(
                np.array_equal(short.designs, long.designs[:n]),
                "asks must not depend on the budget, nor on how often an agent was made",
                f"another design within the first {n}",
                task,
            )

    def stop_and_go(self, task: Task) -> None:
        """Check that N + M evaluations equal N, then M: the journals are the same bytes."""
        if not self._kind.replayable:
            return
        n = self._n // 2
        with tempfile.TemporaryDirectory() as scratch:
            whole, parts = Path(scratch) / "whole", Path(scratch) / "parts"
            try:
                self._study(whole, task, n).run()
                self._study(parts, task, max(1, n // 4)).run()
                for budget in (n // 2, n):
                    Study.open(parts, task, self._kind).run(budget=budget)
            except ArchGymError as error:
                raise self._error("a study must stop and resume", str(error), task) from error
            journals = [(folder / "journal.jsonl").read_bytes() for folder in (whole, parts)]
        self._require(
            journals[0] == journals[1],
            f"{n} evaluations must be recorded alike with and without a stop",
            "other bytes",
            task,
        )

    def _study(self, folder: Path, task: Task, budget: int) -> Study:
        return Study.create(
            folder,
            task,
            self._kind,
            seed=_SEEDS[0],
            budget=budget,
            max_asks=20 * self._n,
            hyperparameters=self._hyperparameters,
        )

    def ranges(self, task: Task) -> None:
        """Check that every published value makes an agent; ends of ranges, and mixtures, search."""
        rng = np.random.default_rng(0)
        for parameter in self._kind.hyperparameters:
            numbers = np.unique(
                np.linspace(0, parameter.size - 1, min(parameter.size, _MAX_VALUES)).astype(int)
            )
            for number in numbers:
                self._make(task, {parameter.name: parameter.value(int(number))})
            for number in {0, parameter.size - 1}:
                self._search_with(task, {parameter.name: parameter.value(number)})
        for _ in range(8 if self._kind.hyperparameters else 0):
            self._search_with(
                task,
                {p.name: p.value(int(rng.integers(p.size))) for p in self._kind.hyperparameters},
            )

    def _search_with(self, task: Task, values: Mapping[str, Any]) -> None:
        self._search(
            task,
            _SEEDS[0],
            circumstance=f"with {dict(values)!r}",
            limit=max(2, self._n // 4),
            hyperparameters=values,
        )

    # ---- running one

    def _make(self, task: Task, values: Mapping[str, Any], seed: int = _SEEDS[0]) -> Agent:
        chosen = {**self._hyperparameters, **values}
        try:
            return make_agent(self._kind, task.space, seed, chosen)
        except Exception as error:
            raise self._error(f"{chosen!r} must make an agent", repr(error), task) from error

    def _search(
        self,
        task: Task,
        seed: int,
        alter: Callable[[Evaluation], Evaluation] = lambda result: result,
        circumstance: str = "",
        limit: int | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        is_all_repeated: bool = False,
    ) -> _Recorder:
        recorder = _Recorder(task, limit or self._n, alter, is_all_repeated)
        raised: list[BaseException] = []

        def run() -> None:
            try:
                self._make(task, hyperparameters or {}, seed).search(recorder, task)
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(self._time_limit_s)
        where = f"{circumstance} (seed {seed}, after {len(recorder.designs)} designs)".strip()
        if thread.is_alive():
            # Or it would use a core for as long as the process lives.
            ended = ctypes.py_object(SystemExit)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ended)
            raise self._error(
                f"a search must continue or end {where}",
                f"nothing within {self._time_limit_s:g} s",
                task,
            )
        fault = raised[0] if raised else None
        if isinstance(fault, ConformanceError):
            raise self._error(f"{fault} This came {where}", "that", task) from fault
        if fault is not None and not isinstance(fault, BudgetExhausted):
            raise self._error(f"a search must not break {where}", repr(fault), task) from fault
        self._require(
            not recorder.was_asked_after_end and (fault is not None or not recorder.is_over),
            "`BudgetExhausted` must be let pass",
            "an agent that went on",
            task,
        )
        if fault is None and task.space.size > self._n and circumstance == "":
            self._require(len(recorder.designs) > 0, "a search must ask for designs", "none", task)
        return recorder

    def _require_same(self, first: _Recorder, again: _Recorder, task: Task) -> None:
        n = min(len(first.designs), len(again.designs))
        differ = (first.designs[:n] != again.designs[:n]).any(axis=1)
        same = len(first.designs) == len(again.designs) and not differ.any()
        where = int(np.argmax(differ)) if differ.any() else n
        self._require(
            same,
            "the same seed and results must lead to the same asks",
            f"another design at number {where}",
            task,
        )

    def _require(self, holds: bool, what: str, came: Any, task: Task | None = None) -> None:
        if not holds:
            raise self._error(what, came, task)

    def _error(self, what: str, came: Any, task: Task | None) -> ConformanceError:
        kind = self._kind
        on = f" on task {task.id!r}" if task is not None else ""
        values = f", hyperparameters={self._hyperparameters!r}" if self._hyperparameters else ""
        given = ", tasks=…" if self._has_own_tasks else ""
        return ConformanceError(
            f"Agent {kind.__module__}.{kind.__qualname__}{on}: {what}; got "
            f"{sentence(str(came))} See it again with check_agent("
            f"{kind.__qualname__}, n_designs={self._n}{values}{given})."
        )
