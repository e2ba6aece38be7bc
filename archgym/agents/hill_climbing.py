"""Hill climbing with restarts."""

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np

from archgym.agent.agent import AskTellAgent, Prior
from archgym.agent.neighbours import step_designs
from archgym.agent.seen import AskedDesigns
from archgym.agents import _hyperparameters as shared
from archgym.checks import check_choice, check_number, check_whole
from archgym.evaluation.trials import Trials
from archgym.spaces.parameter import Categorical, Integer, Real
from archgym.spaces.space import DesignSpace

_IMPROVEMENTS = ("first", "best")
_RESTARTS = ("random", "perturbation")
# chosen: rounds of steps in which no neighbour may be new before a hill counts as climbed, and
# steps made at least in each, since many cost little more than one.
_MAX_ROUNDS = 8
_LEAST_STEPS = 16


@final
class HillClimbingAgent(AskTellAgent):
    """Steps from a design to a better neighbour until no neighbour is better, then restarts.

    A neighbour is one step away: along the scale of an ordered parameter, to any other value where
    there is no order, now and then in several parameters. With improvement "first" it moves as soon
    as an ask holds a better one, with "best" to the best of `patience` neighbours. After `patience`
    neighbours without a better one, or where all are known, it starts again: from random designs,
    or from the best design so far with some parameters changed.

    Source:
      Lourenço, Martin and Stützle, *Iterated Local Search*, Handbook of Metaheuristics, 2003.
    """

    name = "hill_climbing"
    batch = "batch"
    uses_prior = True

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        batch_size: Annotated[
            int,
            Integer(
                name="batch_size",
                low=1,
                high=64,
                doc="Neighbours an ask, and designs that a restart chooses from.",
            ),
        ] = 8,
        patience: Annotated[
            int,
            Integer(
                name="patience",
                low=1,
                high=500,
                doc="Neighbours tried of a design that is not bettered before a restart.",
            ),
        ] = 24,
        step: shared.Step = 0.2,
        improvement: Annotated[
            str,
            Categorical(
                name="improvement",
                choices=_IMPROVEMENTS,
                doc="Whether it moves after an ask, or when all neighbours are tried.",
            ),
        ] = "first",
        restart: Annotated[
            str,
            Categorical(
                name="restart",
                choices=_RESTARTS,
                doc="Where it starts again: anywhere, or from the best design, changed.",
            ),
        ] = "perturbation",
        kick: Annotated[
            float,
            Real(
                name="kick",
                low=1.0,
                high=8.0,
                count=29,
                doc="Mean number of parameters that a perturbation changes; at least one.",
            ),
        ] = 3.0,
    ) -> None:
        """Set up a climb from random designs."""
        self._batch_size = check_whole("batch_size", batch_size, 1)
        self._patience = check_whole("patience", patience, 1)
        self._step = check_number("step", step, 0.001, 1)
        self._kick = check_number("kick", kick, 0.01)
        self._moves_at_once = check_choice("improvement", improvement, _IMPROVEMENTS) == "first"
        self._is_kicked = check_choice("restart", restart, _RESTARTS) == "perturbation"
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._asked = AskedDesigns(space)
        self._best = _Place(space.default_indices, -np.inf)
        self._here: _Place | None = None
        self._neighbour = self._best
        self._n_tried = 0

    def ask(self) -> np.ndarray:
        default = self._asked.fallback()
        if len(default):
            self._stand_at(None)
            return default
        while self._here is not None:
            n = min(self._batch_size, self._patience - self._n_tried)
            near = self._new_near(self._here, n, 1.0)
            if len(near):
                return near
            # All neighbours are tried.
            is_better = self._neighbour.reward > self._here.reward
            self._stand_at(self._neighbour if is_better else None)
        return self._starts()

    def take_prior(self, prior: Prior) -> None:
        self._asked.take_prior(prior, prior.best(self._batch_size))
        if prior.start is not None:
            self.tell(prior.start)

    def tell(self, trials: Trials) -> None:
        self._asked.learn(trials)
        # Where nothing can be built all is equally bad, and no step leads up.
        worth = np.where(trials.feasible, trials.reward, -np.inf)
        row = int(np.argmax(worth))
        found = _Place(trials.indices[row], float(worth[row]))
        self._best = max(self._best, found, key=lambda place: place.reward)
        if self._here is None:
            self._stand_at(found if np.isfinite(found.reward) else None)
            return
        self._n_tried += len(trials)
        self._neighbour = max(self._neighbour, found, key=lambda place: place.reward)
        if self._moves_at_once and self._neighbour.reward > self._here.reward:
            self._stand_at(self._neighbour)

    def _stand_at(self, place: "_Place | None") -> None:
        self._here = place
        self._neighbour = _Place(self._space.default_indices, -np.inf)
        self._n_tried = 0

    def _starts(self) -> np.ndarray:
        """Return candidates for a restart; the climb continues from the best of them."""
        if self._is_kicked and np.isfinite(self._best.reward):
            kicked = self._new_near(self._best, self._batch_size, self._kick)
            if len(kicked):
                return kicked
        return self._asked.draw(self._batch_size, self._rng)

    def _new_near(self, place: "_Place", n: int, rate: float) -> np.ndarray:
        """Return up to `n` new feasible designs some steps away, and mark them as asked for."""

        def near(_missing: int, _round: int) -> np.ndarray:
            centres = np.tile(place.design, (max(2 * n, _LEAST_STEPS), 1))
            return step_designs(self._space, centres, rate, self._step, self._rng)

        return self._asked.new_among(n, _MAX_ROUNDS, near)


@final
@dataclass(frozen=True, eq=False)
class _Place:
    """A design and what it is worth."""

    design: np.ndarray
    reward: float
