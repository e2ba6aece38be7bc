"""Asks and tells: a study whose designs are evaluated by an outside loop."""

import math
import queue
import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from archgym.errors import (
    ArchGymError,
    BudgetExhausted,
    InvalidArgumentError,
    StudyInterrupted,
    check_known,
    unknown_name,
)
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.trials import Evaluate, Trials
from archgym.spaces.design import Design
from archgym.studies.records import Records
from archgym.studies.replay import Ending, Recorder, Step
from archgym.tasks.executor import (
    Executor,
    empty_evaluation,
    evaluate_isolated,
    failed_evaluation,
    joined,
)
from archgym.tasks.task import Evaluation, Task


@final
class PausedSearch:
    """The search of an agent in its own thread, which waits while the caller evaluates.

    `next_ask` returns what the agent asks for and `answer` gives it the results, in turn. The
    thread uses nothing but the search, so that this object may be dropped at any time.
    """

    def __init__(self, search: Callable[[Evaluate], None]) -> None:
        """Prepare a search, a function that calls its argument to have designs evaluated."""
        self._asks: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self.expected: list[np.ndarray] = []
        """Designs, (k, n_parameters) each, that the agent asks for after the last ask."""
        self._answers: queue.SimpleQueue[Trials | Exception] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=_search,
            args=(search, self._asks, self._answers),
            name="archgym-agent",
            daemon=True,
        )
        self._is_over = False

    def next_ask(self) -> np.ndarray | None:
        """Return the designs that the agent asks for; None at the end of its search.

        Raises:
          BaseException: The agent's own, or one that it was given as an answer.
        """
        if self._is_over:
            return None
        if self._thread.ident is None:
            self._thread.start()
        asked = self._asks.get()
        while isinstance(asked, _Expected):
            self.expected.append(asked.indices)
            asked = self._asks.get()
        if isinstance(asked, BaseException):
            self._is_over = True
            raise asked
        self._is_over = asked is None
        return asked

    def answer(self, answer: Trials | Exception) -> None:
        """Give the agent the results of its last ask, or raise an exception in it."""
        self._answers.put(answer)

    def stop(self) -> None:
        """Stop the agent's thread; one that does not stop is abandoned."""
        if self._thread.is_alive() and not self._is_over:
            self._is_over = True
            self.answer(StudyInterrupted("The study was closed while its agent waited."))


@final
@dataclass(frozen=True)
class _Expected:
    """Designs that the agent will ask for."""

    indices: np.ndarray


_Message = np.ndarray | _Expected | BaseException | None


@final
class _Waiting:
    """Function that hands each ask over and waits for its results."""

    def __init__(
        self,
        asks: "queue.SimpleQueue[_Message]",
        answers: "queue.SimpleQueue[Trials | Exception]",
    ) -> None:
        self._asks, self._answers = asks, answers
        # Some agents ask from several threads.
        self._turn = threading.Lock()

    def __call__(self, indices: np.ndarray) -> Trials:
        """Return the trials of designs."""
        with self._turn:
            self._asks.put(indices)
            answer = self._answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def expect(self, indices: np.ndarray) -> None:
        """Name designs that are asked for next."""
        self._asks.put(_Expected(indices))


def _search(
    search: Callable[[Evaluate], None],
    asks: "queue.SimpleQueue[_Message]",
    answers: "queue.SimpleQueue[Trials | Exception]",
) -> None:
    try:
        search(_Waiting(asks, answers))
    except BaseException as error:
        asks.put(error)
    else:
        asks.put(None)


# chosen: a told derived metric may differ by rounding from its formula.
_ROUNDING = 1e-9


@final
class AskTell:
    """Designs that an agent waits for, of which some are given out and some are told.

    A batch of the agent is open until all its designs are told, and so are the designs that the
    agent has announced for later. Each told design is journaled immediately, at its place in the
    order of asking.
    """

    def __init__(self, recorder: Recorder, task: Task, search: PausedSearch) -> None:
        """Take an agent's search that has not begun."""
        self.ended: Ending | None = None
        self._recorder = recorder
        self._task = task
        self._search = search
        self._steps: Generator[Step, None, Trials] | None = None
        self._step: Step | None = None
        # Rows of the step that are not told, by the design's key, and those that are given out.
        self._open: dict[bytes, int] = {}
        self._given: set[bytes] = set()
        # Announced designs of later steps, by key: all with their numbers, and those not told.
        self._seqs: dict[bytes, int] = {}
        self._ahead: dict[bytes, np.ndarray] = {}

    @property
    def told(self) -> int:
        """Number of told evaluations that the agent has not learned of yet."""
        return 0 if self._step is None else len(self._recorder.told_ahead())

    @property
    def best_reward(self) -> float | None:
        """Best reward of a feasible design told in the open step or a later one, or None."""
        if self._step is None:
            return None
        told = self._recorder.told_ahead()
        is_built = (told.reason == 0).all(axis=1) & ~np.isin(told.seq, list(told.errors))
        return float(told.reward[is_built].max()) if is_built.any() else None

    def ask(self, n: int) -> list[Design]:
        """Return up to `n` designs that the agent waits for and that were not given out."""
        self._go_on()
        if self._step is None:
            return []
        waiting = {key: self._step.indices[row] for key, row in self._open.items()} | self._ahead
        keys = [key for key in waiting if key not in self._given][:n]
        self._given.update(keys)
        indices = np.array([waiting[key] for key in keys], dtype=np.int64)
        return self._task.space.designs(self._task.space.canonical(indices)) if keys else []

    def tell(self, design: Mapping[str, Any], told: Evaluation) -> None:
        """Journal the result of one design.

        Raises:
          InvalidDesignError: The design does not lie in the space.
          InvalidArgumentError: The agent does not wait for it, or another result was told.
        """
        indices = self._task.space.indices_of(design)[None, :]
        key = self._recorder.keys(indices)[0]
        if key not in self._open and key not in self._ahead:
            self._go_on()
        if key in self._ahead:
            self._tell_ahead(key, told)
            return
        if self._step is None or key not in self._open:
            self._refuse_unless_known(design, key, told)
            return
        row = self._open[key]
        waiting = np.zeros(len(self._step.seq), dtype=bool)
        waiting[list(self._open.values())] = True
        # Repeats and designs that break a constraint are added, to keep the journal in order.
        chosen = self._recorder.unknown(self._step) & ~waiting
        chosen[row:] = False
        chosen[row] = True
        self._recorder.journal_new(self._step, chosen, Told((self._step.indices[row], told)))
        del self._open[key]
        self._given.discard(key)

    def _tell_ahead(self, key: bytes, told: Evaluation) -> None:
        """Journal the result of a design of a later step."""
        row = self._ahead.pop(key)
        step = Step(np.array([self._seqs[key]]), row[None, :], np.array([-1]))
        self._recorder.journal_new(step, np.array([True]), Told((row, told)))
        self._given.discard(key)

    def stop(self) -> None:
        """End the agent's thread."""
        self._search.stop()

    def _go_on(self) -> None:
        """Resume the agent until it waits for results or ends."""
        while self.ended is None and not self._open:
            try:
                self._take_step()
            except BudgetExhausted:
                self.ended = self._recorder.limit_reached() or "budget"
            except (SystemExit, GeneratorExit) as stop:
                raise ArchGymError(
                    f"An agent must return from `search`; it raised {type(stop).__name__}."
                ) from stop

    def _take_step(self) -> None:
        if self._step is not None:
            self._recorder.settle(self._step, Told())
            self._step = None
        if self._steps is None:
            asked = self._search.next_ask()
            if asked is None:
                self.ended = self._recorder.limit_reached() or "agent"
                return
            self._announce()
            n = len(asked)
            self._steps = self._recorder.steps(asked, lambda: n)
        try:
            step = next(self._steps)
        except StopIteration as end:
            self._steps = None
            self._search.answer(end.value)
        except ArchGymError as error:
            self._steps = None
            self._search.answer(error)
        else:
            self._step = step
            self._open = self._waiting(step)
            for key in self._recorder.keys(step.indices):
                self._ahead.pop(key, None)
                self._seqs.pop(key, None)

    def _announce(self) -> None:
        """Take the designs that the agent will ask for."""
        for designs in self._search.expected:
            keys = self._recorder.keys(designs)
            for key, row, seq, is_needed in zip(
                keys, designs, *self._recorder.expected(designs), strict=True
            ):
                if self._seqs.setdefault(key, int(seq)) == seq and is_needed:
                    self._ahead[key] = row
        self._search.expected.clear()

    def _waiting(self, step: Step) -> dict[bytes, int]:
        """Return the rows of a step that must be told, by key, in their order."""
        is_open = self._recorder.unknown(step) & (step.same < 0)
        # A design that breaks a constraint needs no simulator.
        is_open &= self._task.space.feasible(self._task.space.canonical(step.indices))
        keys = self._recorder.keys(step.indices)
        return {keys[row]: row for row in np.flatnonzero(is_open).tolist()}

    def _refuse_unless_known(self, design: Mapping[str, Any], key: bytes, told: Evaluation) -> None:
        known = self._record_of(key)
        if known is None:
            raise InvalidArgumentError(
                "`tell` takes designs that `ask` returned, and the agent did not ask for "
                f"{dict(design)!r}. To have a design evaluated first, use `start`."
            )
        if not (
            np.array_equal(known.values, told.values, equal_nan=True)
            and np.array_equal(known.reason, told.reason)
        ):
            raise InvalidArgumentError(
                f"A design must be told once; {dict(design)!r} was told before with other results."
            )

    def _record_of(self, key: bytes) -> Records | None:
        """Return the record of a told design, also in the open step."""
        seq = self._recorder.seq_of(key)
        if seq is None and self._step is not None:
            keys = self._recorder.keys(self._step.indices)
            seq = int(self._step.seq[keys.index(key)]) if key in keys else self._seqs.get(key)
        return None if seq is None else self._recorder.record(seq)


@final
class Told(Executor):
    """Executor that returns a told result, and settles designs that break a constraint."""

    def __init__(self, told: tuple[np.ndarray, Evaluation] | None = None) -> None:
        """Take a design, (n_parameters,), and its result."""
        self._told = told

    def evaluate(self, task: Task, indices: np.ndarray) -> Evaluation:
        """Return results of designs, in their order."""
        parts = [empty_evaluation(task)]
        for row in indices:
            if self._told is not None and np.array_equal(row, self._told[0]):
                parts.append(self._told[1])
            else:
                parts.append(evaluate_isolated(task, row[None, :]))
        return joined(parts)

    def cancel(self) -> None:
        """Ignore the request: told results need no running work."""


def told_evaluation(
    task: Task,
    metrics: Mapping[str, Any] | None,
    infeasible: str | None,
    failure: str | None,
) -> Evaluation:
    """Return the evaluation of one told design.

    Args:
      task: Task of the study.
      metrics: Metrics by name; for several workloads, such mappings by workload.
      infeasible: Reason why the design cannot be built, one of the simulator's.
      failure: Message of an evaluation that broke.

    Raises:
      InvalidArgumentError: Not exactly one is given, or a number is missing or not finite.
      UnknownNameError: A metric, workload or reason does not exist.
    """
    if sum(given is not None for given in (metrics, infeasible, failure)) != 1:
        raise InvalidArgumentError(
            "`tell` needs one of metrics, `infeasible` and `failure` for a design; got "
            f"{metrics!r}, {infeasible!r}, {failure!r}."
        )
    if failure is not None:
        return failed_evaluation(task, str(failure))
    one = empty_evaluation(task, 1)
    if infeasible is not None:
        reasons = task.simulator.spec.reasons
        if not reasons[1:]:
            raise InvalidArgumentError(
                f"`infeasible` must be one of the `reasons` of simulator {task.simulator.name!r}, "
                f"which declares none; got {infeasible!r}. Declare it, or tell it as `failure`."
            )
        if infeasible not in reasons[1:]:
            raise unknown_name("reason", infeasible, reasons[1:])
        one.reason[:] = reasons.index(infeasible)
        return one
    assert metrics is not None
    for place, numbers in enumerate(_by_workload(task, metrics)):
        one.values[0, place] = _numbers(task, numbers)
    one.reason[:] = 0
    return Evaluation(one.values, one.reason, task.rewards(one.values, one.reason))


def _by_workload(task: Task, metrics: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if not isinstance(metrics, Mapping):
        raise InvalidArgumentError(
            f"Metrics must be told as a mapping of names to numbers; got {metrics!r}."
        )
    names = [weighted.workload.name for weighted in task.workloads]
    if len(names) == 1 and set(metrics) != set(names):
        return [metrics]
    check_known("workload", map(str, metrics), names)
    missing = [name for name in names if not isinstance(metrics.get(name), Mapping)]
    if missing:
        raise InvalidArgumentError(
            "Metrics must be told for each workload of the task, as a mapping by its name; "
            f"{', '.join(map(repr, missing))} missing."
        )
    return [metrics[name] for name in names]


def _numbers(task: Task, told: Mapping[str, Any]) -> list[float]:
    known = [spec.name for spec in task.metrics]
    check_known("metric", map(str, told), known)
    numbers: dict[str, float] = {}
    for spec in task.metrics:
        if spec.formula is None:
            numbers[spec.name] = _number(spec, told)
    for spec in task.metrics:
        if spec.formula is not None:
            columns = {name: np.array([value]) for name, value in numbers.items()}
            value = float(np.broadcast_to(spec.formula.evaluate(columns), 1)[0])
            if spec.name in told and not math.isclose(
                _number(spec, told), value, rel_tol=_ROUNDING
            ):
                raise InvalidArgumentError(
                    f"`{spec.name}` must be {spec.formula.text} = {value!r}; got "
                    f"{told[spec.name]!r}. Leave it out."
                )
            numbers[spec.name] = value
    return [numbers[name] for name in known]


def _number(spec: MetricSpec, told: Mapping[str, Any]) -> float:
    name = spec.name
    if name not in told:
        raise InvalidArgumentError(
            f"Every metric of the task must be told; `{name}` is missing. Tell `failure` for an "
            "evaluation that broke."
        )
    value = told[name]
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise InvalidArgumentError(f"`{name}` must be a finite number; got {value!r}.")
    if value < 0 and spec.goal != "none" and not spec.signed:
        raise InvalidArgumentError(
            f"`{name}` must be 0 or more, as its MetricSpec says; got {value!r}. Declare it with "
            "signed=True."
        )
    return float(value)
