"""Episodes side by side: what all environments share, with one environment the batch of one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from archgym.agent import Evaluate, Trials
from archgym.envs.choices import Choices
from archgym.envs.evaluation import evaluator
from archgym.envs.formulation import make_formulation
from archgym.envs.observation import Observation
from archgym.errors import ArchGymError, InvalidArgumentError, StudyLockedError
from archgym.study import Study
from archgym.task import Task

__all__ = ["Episodes", "Step"]


@final
@dataclass(frozen=True)
class Step:
    """What one step of n episodes gave.

    `observations` is (n, d), at an episode's end its last one; `reward` (n,), 0 before the end;
    `ended` (n,) bool; `length` (n,), steps taken. `trials` are the designs that were evaluated, one
    for each True of `ended` in order; None where no episode ended.
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
        """Makes them; `start` must come before the first step.

        Args:
          task: What designs are judged by.
          n: How many.
          formulation: "whole" or "sequential".
          actions: "multidiscrete" or "box".
          log: Folder of a study that every evaluation is written to, new or a log of this task.
          evaluate: Evaluates designs instead of the task's simulator, a study's say.

        Raises:
          InvalidArgumentError: An argument does not fit.
          UnknownNameError: The formulation or the kind of actions does not exist.
          StudyLockedError: Another environment or process writes the log.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise InvalidArgumentError(f"The number of episodes must be 1 or more; got {n!r}.")
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
        """Starts new episodes in these rows, (n,) bool; in all of them where None."""
        chosen = slice(None) if rows is None else rows
        self._picks[chosen] = self._start_picks
        self._position[chosen] = self._start_position
        self._length[chosen] = 0

    def step(self, actions: np.ndarray) -> Step:
        """Takes one step of every episode.

        Raises:
          ArchGymError: An episode is over and has not been started again.
          InvalidArgumentError: The actions do not lie in the action space.
          BudgetExhausted: From `evaluate`.
        """
        n_choices = self.choices.n
        if (self._position == n_choices).any():
            raise ArchGymError("An episode that is over must be reset before it is stepped.")
        actions = np.asarray(actions)
        picks, position = self.formulation.advance(self._picks, self._position, actions)
        ended = position == n_choices
        rows = np.flatnonzero(ended)
        reward = np.zeros(self.n)
        values, feasible = self._nothing, np.ones(self.n, dtype=bool)
        trials = None
        if len(rows):
            trials = self._evaluate(self.choices.compose(picks[rows]))
            reward[rows] = trials.reward
            values = values.copy()
            values[rows] = trials.values
            feasible[rows] = trials.feasible
        self._picks, self._position = picks, position
        self._length += 1
        observations = self.observation.encode(
            picks, self.formulation.is_made(position), position, values, feasible
        )
        return Step(observations, reward, ended, self._length.copy(), trials)

    def masks(self) -> np.ndarray:
        """Which actions have a feasible completion, (n, n_actions) bool, as sb3-contrib asks."""
        # Between an episode's end and its reset there is no next choice; show the first one's.
        over = self._position == self.choices.n
        position = np.where(over, self._start_position, self._position)
        return self.formulation.masks(self._picks, position)

    def next_parameters(self) -> np.ndarray | None:
        """Names of the choices that the next actions make, (n,); "" where an episode is over.

        None where an action makes all choices.
        """
        if not self.formulation.shows_position:
            return None
        names: np.ndarray = self._names[self._position]
        return names

    def check_options(self, options: Mapping[str, object] | None) -> None:
        """Refuses reset options: environments have none.

        Raises:
          InvalidArgumentError: One is given.
        """
        if options:
            raise InvalidArgumentError(
                f"`options` of reset must be empty or None; got {dict(options)!r}. What an episode "
                "is about is chosen when the environment is made."
            )

    def close(self) -> None:
        """Closes the log; does nothing the second time."""
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
            f"{error} Environments that write one log are made as one: with gymnasium.make_vec and "
            'vectorization_mode="vector_entry_point" (its default here), or archgym.envs.Sb3VecEnv.'
        ) from None
