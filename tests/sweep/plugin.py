"""Agents as another package registers them, for tests of runs that fail."""

import os
import time
from pathlib import Path
from typing import ClassVar, final

import numpy as np

from archgym.agent.agent import AskTellAgent
from archgym.errors import InvalidArgumentError
from archgym.evaluation.trials import Trials
from archgym.spaces.parameter import Categorical, Integer, Parameter, Real
from archgym.spaces.space import DesignSpace


@final
class TroubledAgent(AskTellAgent):
    """Draws designs; seed 1 breaks after some, in the way that is asked for."""

    name = "troubled"
    hyperparameters: ClassVar[tuple[Parameter, ...]] = (
        Categorical(name="trouble", choices=("raise", "die", "lose", "none"), doc="How it breaks."),
        Real(name="pace_s", low=0.0, high=1.0, count=11, doc="Time for an ask [s]."),
        Integer(name="skill", low=0, high=4, default=0, doc="Share of good designs, in quarters."),
    )

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        trouble: str = "raise",
        pace_s: float = 0.0,
        skill: int = 0,
    ) -> None:
        if pace_s > 0.9:
            raise InvalidArgumentError(f"`pace_s` must be at most 0.9; got {pace_s!r}.")
        self._space, self._trouble, self._pace_s, self._skill = space, trouble, pace_s, skill
        self._breaks = seed == 1
        self._rng = np.random.default_rng(seed)
        self._asks = 0

    def ask(self) -> np.ndarray:
        self._asks += 1
        if self._breaks and self._asks > 5 and self._trouble == "raise":
            raise RuntimeError("broken on purpose")
        if self._breaks and self._asks > 5 and self._trouble == "die":
            os._exit(7)
        mark = Path(f"lose-{self._asks}")
        if self._trouble == "lose" and mark.exists():
            mark.unlink()
            os._exit(7)
        time.sleep(self._pace_s)
        return self._space.sample(1, self._rng)

    def tell(self, trials: Trials) -> None:
        pass
