"""Random search: the baseline for every other agent."""

from typing import final

import numpy as np

from archgym.agent.agent import AskTellAgent
from archgym.agent.seen import AskedDesigns
from archgym.agents import _hyperparameters as shared
from archgym.checks import check_whole
from archgym.evaluation.trials import Trials
from archgym.spaces.space import DesignSpace

# chosen: designs drawn at a time, whatever the batch size, so that it changes no design's turn.
_DRAWN = 256


@final
class RandomAgent(AskTellAgent):
    """Random search: feasible designs, uniform and without repeats.

    The batch size decides how many are evaluated at once, not which or in what order.
    """

    name = "random"
    batch = "batch"

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        batch_size: shared.ManyDesigns = 32,
    ) -> None:
        """Set up the draw."""
        self._asked = AskedDesigns(space)
        self._rng = np.random.default_rng(seed)
        self._batch_size = check_whole("batch_size", batch_size, 1)
        self._drawn = np.empty((0, space.n_parameters), dtype=np.int64)

    def ask(self) -> np.ndarray:
        while len(self._drawn) < self._batch_size:
            more = self._asked.draw(_DRAWN, self._rng)
            self._drawn = np.concatenate([self._drawn, more])
            if len(more) < _DRAWN:
                break
        batch, self._drawn = np.split(self._drawn, [self._batch_size])
        return batch

    def tell(self, trials: Trials) -> None:
        pass
