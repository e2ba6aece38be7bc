"""An agent of one's own: improves one parameter after the other."""

from typing import Annotated

import numpy as np

from archgym import AskTellAgent, DesignSpace, Integer, Trials


class CoordinatesAgent(AskTellAgent):
    """Tries other values of one parameter, keeps the best, goes on to the next."""

    name = "coordinates"
    batch = "batch"

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        values: Annotated[
            int, Integer(name="values", low=1, high=16, doc="Values tried of a parameter.")
        ] = 4,
    ) -> None:
        """Start at the default design.

        Args:
          space: Where to search.
          seed: What decides.
        """
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._values = values
        self._best = space.default_indices
        self._reward = -np.inf

    def ask(self) -> np.ndarray:
        """Return the best design with other values of one parameter."""
        place = self._rng.integers(self._space.n_parameters)
        designs = np.tile(self._best, (self._values, 1))
        designs[:, place] = self._rng.integers(self._space.sizes[place], size=self._values)
        return designs

    def tell(self, trials: Trials) -> None:
        """Keep the best."""
        row = int(np.argmax(trials.reward))
        if trials.reward[row] >= self._reward:
            self._reward = float(trials.reward[row])
            self._best = trials.indices[row]
