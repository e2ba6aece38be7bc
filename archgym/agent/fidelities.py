"""The interface of agents that model two fidelities of a task together."""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from archgym.evaluation.trials import Trials

if TYPE_CHECKING:
    from archgym.evaluation.task import Task


@runtime_checkable
class TwoFidelityAgent(Protocol):
    """Agent that is asked for designs at a cheaper fidelity and at the task's own.

    The caller decides which of the two comes next. `begin` comes first; each ask is followed by
    the results of its design.
    """

    def begin(self, task: "Task") -> None:
        """Take the task, whose results at its own fidelity count."""

    def ask_cheaper(self) -> np.ndarray:
        """Return a design for the cheaper fidelity, (1, n_parameters); none if all are known."""

    def tell_cheaper(self, trials: Trials) -> None:
        """Take the results of the last `ask_cheaper`, scaled to the task's metrics."""

    def promote(self) -> np.ndarray:
        """Return a design for the task's own fidelity, (1, n_parameters); none if all are known."""

    def take(self, trials: Trials) -> None:
        """Take results of the task, such as those of the last `promote`."""
