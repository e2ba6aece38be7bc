"""Several episodes stepped together; the base of all environments, single ones included."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.checks import check_whole
from archgym.envs.formulation import Observation, make_formulation
from archgym.errors import ArchGymError, InvalidArgumentError, StudyLockedError
from archgym.evaluation.simulator import FAILED
from archgym.evaluation.trials import Evaluate, Trials
from archgym.spaces.choices import Choices
from archgym.studies.study import Study
from archgym.tasks.executor import Executor, SerialExecutor
from archgym.tasks.task import Task

_BROKEN = "The simulator broke on this design."


def evaluator(task: Task, executor: Executor | None = None) -> Evaluate:
    """Return a function that evaluates designs of a task, without a budget and without a journal.

    It can be pickled, as libraries that run copies of an environment in other processes ask.

    Args:
      executor: Executor of the designs; one after the other by default. It stays the caller's.
    """
    return _Evaluator(task, executor)


@final
class _Evaluator:
    def __init__(self, task: Task, executor: Executor | None) -> None:
        self._task = task
        self._given = executor
        self._executor = executor if executor is not None else SerialExecutor()

    def __call__(self, indices: np.ndarray) -> Trials:
        evaluation = self._executor.evaluate(self._task, indices)
        return self._task.trials(indices, evaluation, np.zeros(len(indices), dtype=bool))

    def __reduce__(self) -> tuple[type["_Evaluator"], tuple[Task, Executor | None]]:
        # An executor of one's own holds locks; a copy makes another.
        return _Evaluator, (self._task, self._given)


def reason_texts(task: Task, trials: Trials) -> list[str]:
    """Return the reasons in words why designs were not built; "" for those built."""
    # FAILED, -1, is the last place.
    assert FAILED == -1
    texts = np.array([*task.simulator.spec.reasons, _BROKEN], dtype=object)
    found: list[str] = texts[trials.reason].tolist()
    return found


def design_info(task: Task, trials: Trials, row: int) -> dict[str, Any]:
    """Return the info of an evaluated design: see `DesignEnv`."""
    space = task.space
    indices = trials.indices[row]
    feasible = bool(trials.feasible[row])
    values = zip(task.metrics, trials.values[row], strict=True)
    return {
        "design": space.design_at(space.canonical(indices[None, :])[0]),
        "indices": indices.copy(),
        "metrics": {spec.name: float(value) for spec, value in values} if feasible else {},
        "units": {spec.name: spec.unit for spec in task.metrics},
        "feasible": feasible,
        "failed": bool(trials.failed[row]),
        "reason": reason_texts(task, trials)[row],
        "reward": float(trials.reward[row]),
    }


def info_text(info: Mapping[str, Any]) -> str:
    """Return the text of `design_info`, a line each; an empty one for no design."""
    if not info:
        return "No design yet.\n"
    lines = [f"{name} = {value}" for name, value in info["design"].items()]
    lines += [
        f"{name} = {value:g} {info['units'][name]}" for name, value in info["metrics"].items()
    ]
    lines += [info["reason"]] if info["reason"] else []
    return "\n".join([*lines, f"reward = {info['reward']:g}", ""])


@final
@dataclass(frozen=True)
class Step:
    """Result of one step of n episodes.

    `observations` is (n, d), at an episode's end its last one; `reward` (n,), 0 before the end;
    `ended` (n,) bool; `length` (n,), steps taken. `trials` are the designs that were evaluated, one
    for each True of `ended` in order; None if no episode ended.
    """

    observations: np.ndarray
    reward: np.ndarray
    ended: np.ndarray
    length: np.ndarray
    trials: Trials | None


@final
class Episodes:
    """n episodes of a task, stepped together, their designs evaluated as one batch."""

    def __init__(
        self,
        task: Task,
        n: int,
        formulation: str = "whole",
        actions: str = "multidiscrete",
        log: str | Path | None = None,
        evaluate: Evaluate | None = None,
    ) -> None:
        """Make `n` of them, with arguments of `DesignEnv`; `start` must come before the first step.

        Raises:
          InvalidArgumentError: An argument does not fit.
          UnknownNameError: The formulation or the kind of actions does not exist.
          StudyLockedError: Another environment or process writes the log.
        """
        n = check_whole("n", n, 1)
        if log is not None and evaluate is not None:
            raise InvalidArgumentError(
                "`log` and `evaluate` must not both be given: what `evaluate` does with designs is "
                "its own. Leave one out."
            )
        self.task = task
        self.n = n
        self.choices = Choices(task.space)
        self.formulation = make_formulation(formulation, actions, self.choices)
        self.observation = Observation(task, self.choices, self.formulation.shows_position)
        self._study = None if log is None else _opened_log(log, task)
        self._evaluate: Evaluate = evaluate or (
            evaluator(task) if self._study is None else self._study.evaluate
        )
        picks, position = self.formulation.start()
        self._start_picks, self._start_position = picks, position
        self._picks = np.tile(picks, (n, 1))
        self._position = np.full(n, self.choices.n)
        self._length = np.zeros(n, dtype=np.int64)
        self._names = np.array([*self.choices.names, ""], dtype=object)
        self._nothing = np.full((n, len(task.metrics)), np.nan)
        first = np.array([position])
        # An episode of whole designs starts from the default design, whose metrics are the
        # reference: 0 in every logarithm, which is also what is shown for what is not known.
        self.first_observation: np.ndarray = self.observation.encode(
            picks[None, :],
            self.formulation.is_made(first),
            first,
            self._nothing[:1],
            np.ones(1, dtype=bool),
        )[0]

    def start(self, rows: np.ndarray | None = None) -> None:
        """Start new episodes in these rows, (n,) bool; in all of them if None."""
        chosen = slice(None) if rows is None else rows
        self._picks[chosen] = self._start_picks
        self._position[chosen] = self._start_position
        self._length[chosen] = 0

    def step(self, actions: np.ndarray, rows: np.ndarray | None = None) -> Step:
        """Take one step of every episode, or of those in some rows.

        Args:
          actions: One for each episode; those of other rows are ignored.
          rows: (n,) bool; None for all. The others stay as they are.

        Raises:
          ArchGymError: An episode is over and has not been started again.
          InvalidArgumentError: The actions do not lie in the action space.
          BudgetExhausted: From `evaluate`.
        """
        n_choices = self.choices.n
        if self.over.any():
            raise ArchGymError("An episode that is over must be reset before it is stepped.")
        actions = np.asarray(actions)
        picks, position = self.formulation.advance(self._picks, self._position, actions)
        if rows is not None:
            picks[~rows], position[~rows] = self._picks[~rows], self._position[~rows]
        ended = position == n_choices
        rows_ended = np.flatnonzero(ended)
        reward = np.zeros(self.n)
        values, feasible = self._nothing, np.ones(self.n, dtype=bool)
        trials = None
        if len(rows_ended):
            trials = self._evaluate(self.choices.compose(picks[rows_ended]))
            reward[rows_ended] = trials.reward
            values = values.copy()
            values[rows_ended] = trials.values
            feasible[rows_ended] = trials.feasible
        self._picks, self._position = picks, position
        self._length += 1 if rows is None else rows
        observations = self.observation.encode(
            picks, self.formulation.is_made(position), position, values, feasible
        )
        return Step(observations, reward, ended, self._length.copy(), trials)

    def masks(self) -> np.ndarray:
        """Return the mask of actions with a feasible completion, (n, n_actions) bool."""
        # Between an episode's end and its reset there is no next choice; show the first one's.
        position = np.where(self.over, self._start_position, self._position)
        return self.formulation.masks(self._picks, position)

    @property
    def over(self) -> np.ndarray:
        """True for episodes that have ended, (n,)."""
        return np.asarray(self._position == self.choices.n)

    def next_parameters(self, as_texts: bool = True) -> np.ndarray | None:
        """Return the choices that the next actions make, (n,); None if an action makes all.

        Args:
          as_texts: True for names, "" where an episode is over; False for indices of the choices.
        """
        if not self.formulation.shows_position:
            return None
        return np.asarray(self._names[self._position]) if as_texts else self._position.copy()

    def check_options(self, options: Mapping[str, object] | None) -> None:
        """Refuse reset options: environments have none.

        Raises:
          InvalidArgumentError: One is given.
        """
        if options:
            raise InvalidArgumentError(
                f"`options` of reset must be empty or None; got {dict(options)!r}. What an episode "
                "is about is chosen when the environment is made."
            )

    def close(self) -> None:
        """Close the log; does nothing the second time."""
        if self._study is not None:
            self._study.close()

    def __getstate__(self) -> dict[str, object]:
        if self._study is not None:
            raise InvalidArgumentError(
                "An environment must have no `log` to be copied to another place or process, since "
                "a log has one writer; this one has. Make it there."
            )
        return self.__dict__.copy()


def _opened_log(folder: str | Path, task: Task) -> Study:
    try:
        return Study.log(folder, task)
    except StudyLockedError as error:
        raise StudyLockedError(
            f"{error} To let several environments write one log, make them together: with "
            'gymnasium.make_vec and vectorization_mode="vector_entry_point" (its default here), or '
            "archgym.envs.Sb3VecEnv."
        ) from None
