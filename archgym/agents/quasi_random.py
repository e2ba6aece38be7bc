"""Quasi-random search along low-discrepancy sequences, by SciPy."""

from typing import TYPE_CHECKING, Annotated, final

import numpy as np

from archgym.agent.agent import AskTellAgent
from archgym.agent.seen import AskedDesigns
from archgym.agents import _hyperparameters as shared
from archgym.checks import check_choice, check_whole
from archgym.errors import InvalidArgumentError
from archgym.evaluation.trials import Trials
from archgym.spaces.choices import Choices
from archgym.spaces.parameter import Categorical
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    from scipy.stats.qmc import QMCEngine

# chosen: points made at a time, whatever the batch size, so that it changes no design's turn. A
# power of two, as Sobol's sequence wants.
_BLOCK = 256
# chosen: blocks of points in which no design may be new; past it, random ones are drawn.
_MAX_BLOCKS = 32
# chosen: a coordinate is a float, which holds 52 bits; and 2^52 points never run out.
_SOBOL_BITS = 52

_SEQUENCES = ("sobol", "halton")


@final
class QuasiRandomAgent(AskTellAgent):
    """Quasi-random search along a scrambled low-discrepancy sequence.

    Each parameter is a dimension, cut into as many equal parts as it has values; a permutation or
    factorisation has one dimension for each of its sub-actions. The first 2^m points of Sobol's
    sequence meet the values of a parameter equally often, but for one or two.
    Points that make an infeasible design or one asked for before are skipped, and where points hold
    nothing new the rest is drawn at random.

    Source:
      Sobol', *On the distribution of points in a cube*, 1967, with the direction numbers of Joe and
      Kuo, 2008, and Matoušek's scrambling, 1998; Halton's sequence, 1960, with Owen's, 2017.
    """

    name = "quasi_random"
    library = "scipy"
    batch = "batch"

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        sequence: Annotated[
            str,
            Categorical(
                name="sequence",
                choices=_SEQUENCES,
                doc="Where points come from; Sobol's has at most 21,201 dimensions.",
            ),
        ] = "sobol",
        batch_size: shared.ManyDesigns = 32,
    ) -> None:
        """Set up the sequence.

        Raises:
          InvalidArgumentError: There is no such sequence, or it has too many dimensions.
        """
        self._batch_size = check_whole("batch_size", batch_size, 1)
        self._choices = Choices(space)
        self._asked = AskedDesigns(space)
        self._rng = np.random.default_rng(seed)
        self._varied = np.flatnonzero(self._choices.sizes > 1)
        self._engine = _make_engine(sequence, max(1, len(self._varied)), self._rng)
        self._waiting = np.empty((0, space.n_parameters), dtype=np.int64)

    def ask(self) -> np.ndarray:
        while len(self._waiting) < self._batch_size:
            more = self._next_designs()
            self._waiting = np.concatenate([self._waiting, more])
            if not len(more):
                break
        designs, self._waiting = np.split(self._waiting, [self._batch_size])
        return designs

    def tell(self, trials: Trials) -> None:
        pass

    def _next_designs(self) -> np.ndarray:
        """Return the next few designs that were not asked for; none where there are no more."""
        for _ in range(_MAX_BLOCKS):
            designs = self._choices.space.canonical(self._next_points())
            new: np.ndarray = designs[self._asked.new(designs)]
            if len(new):
                self._asked.add(new)
                return new
        return self._asked.draw(_BLOCK, self._rng)

    def _next_points(self) -> np.ndarray:
        """Return designs at the next points, (_BLOCK, n_parameters), of any kind."""
        picks = np.zeros((_BLOCK, self._choices.n), dtype=np.int64)
        if len(self._varied):
            sizes = self._choices.sizes[self._varied]
            points = self._engine.random(_BLOCK)
            picks[:, self._varied] = np.minimum((points * sizes).astype(np.int64), sizes - 1)
        return self._choices.compose(picks)


def _make_engine(sequence: str, n_dimensions: int, rng: np.random.Generator) -> "QMCEngine":
    from scipy.stats import qmc

    if check_choice("sequence", sequence, _SEQUENCES) == "halton":
        return qmc.Halton(n_dimensions, seed=rng)
    if n_dimensions > qmc.Sobol.MAXDIM:
        raise InvalidArgumentError(
            f"Sobol's sequence has at most {qmc.Sobol.MAXDIM} dimensions; the space needs "
            f'{n_dimensions}. Take sequence="halton".'
        )
    return qmc.Sobol(n_dimensions, bits=_SOBOL_BITS, seed=rng)
