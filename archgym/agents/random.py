"""Random search: the yardstick for every other agent."""

from typing import Annotated, final

import numpy as np

from archgym.checks import check_whole
from archgym.evaluation.trials import Trials
from archgym.search.agent import AskTellAgent
from archgym.search.seen import AskedDesigns
from archgym.spaces.parameter import PowerOfTwo
from archgym.spaces.space import DesignSpace

__all__ = ["RandomAgent"]

# chosen: designs drawn at a time, whatever the batch size, so that it changes no design's turn.
_DRAWN = 256


@final
class RandomAgent(AskTellAgent):
    """Asks for feasible designs uniformly at random, none twice, until the space holds no more.

    The batch size decides how many are evaluated at once, not which or in what order.
    """

    name = "random"
    batch = "batch"

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        batch_size: Annotated[
            int, PowerOfTwo(name="batch_size", low=1, high=1024, doc="Designs an ask.")
        ] = 32,
    ) -> None:
        """Set up the draw.

        Args:
          space: Where to draw.
          seed: What decides.
        """
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
