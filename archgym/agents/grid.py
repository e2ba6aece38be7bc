"""Grid search in an order that covers the whole space evenly from the start."""

import math
from typing import final

import numpy as np

from archgym.agent.agent import AskTellAgent
from archgym.agent.seen import AskedDesigns
from archgym.agents import _hyperparameters as shared
from archgym.checks import check_whole
from archgym.evaluation.trials import Trials
from archgym.spaces.space import DesignSpace

# chosen: numbers visited at a time, whatever the batch size, so that it changes no design's turn.
_VISITED = 256
# chosen: numbers without a feasible design among them, some seconds' work, after which visiting
# on is given up for designs that the space draws.
_MOST_IN_VAIN = 2**20
# chosen: strides that compete, and first designs, first parameters and frequencies of waves by
# which they are judged; takes a tenth of a second at most. Three frequencies tell seven values
# apart.
_STRIDES = 64
_JUDGED_DESIGNS = 256
_JUDGED_PARAMETERS = 32
_FREQUENCIES = (1, 2, 3)
_GOLDEN_RATIO = (1 + math.sqrt(5)) / 2


@final
class GridAgent(AskTellAgent):
    """Grid search: every design of the space once, evenly spread from the start.

    Designs are numbered in index order and visited a fixed stride apart, round and round, from the
    default design on. The stride shares no factor with how many there are, so that each is visited
    once; of such strides it is the one whose first designs are least correlated between any two
    parameters. Designs that are infeasible or not canonical are passed by.

    The order is not random. If a million numbers in a row are not designs, the rest is drawn,
    always in the same order.

    Source:
      Niederreiter, *Random Number Generation and Quasi-Monte Carlo Methods*, 1992, chapter 5, for
      lattices of rank one.
    """

    name = "grid"
    batch = "batch"
    is_seeded = False

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        batch_size: shared.ManyDesigns = 32,
    ) -> None:
        """Choose the stride."""
        self._batch_size = check_whole("batch_size", batch_size, 1)
        self._space = space
        self._sizes = space.sizes.tolist()
        self._first = _number(self._sizes, space.default_indices)
        self._stride = _best_stride(self._sizes)
        self._n_visited = 0
        self._waiting = np.empty((0, space.n_parameters), dtype=np.int64)
        self._asked = AskedDesigns(space)
        self._rng = np.random.default_rng(0)

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
        """Return the next few designs; none where all were visited."""
        size = self._space.size
        give_up = self._n_visited + _MOST_IN_VAIN
        while self._n_visited < min(size, give_up):
            n = min(_VISITED, size - self._n_visited)
            start = self._first + self._n_visited * self._stride
            designs = _visit(self._sizes, start, self._stride, n)
            self._n_visited += n
            new: np.ndarray = designs[self._asked.new(designs) & self._space.is_canonical(designs)]
            if len(new):
                self._asked.add(new)
                return new
        self._n_visited = size
        return self._asked.draw(_VISITED, self._rng)


def _number(sizes: list[int], indices: np.ndarray) -> int:
    """Return a design's number in index order, however large."""
    number = 0
    for size, index in zip(sizes, indices.tolist(), strict=True):
        number = number * size + index
    return number


def _visit(sizes: list[int], start: int, stride: int, n: int) -> np.ndarray:
    """Return `n` designs a stride apart, (n, n_parameters), as Python integers for large spaces."""
    size = math.prod(sizes)
    left = np.array([(start + step * stride) % size for step in range(n)], dtype=object)
    designs = np.empty((n, len(sizes)), dtype=np.int64)
    for place in reversed(range(len(sizes))):
        designs[:, place] = left % sizes[place]
        left = left // sizes[place]
    return designs


def _best_stride(sizes: list[int]) -> int:
    """Return the stride without a factor of the size whose first designs are most even."""
    size = math.prod(sizes)
    if size <= 2:
        return 1
    strides = []
    for number in range(1, _STRIDES + 1):
        # Multiples of the golden ratio are far from any fraction of the size and of each other.
        share = math.floor(number * _GOLDEN_RATIO % 1 * 2**53)
        stride = max(1, size * share // 2**53)
        while math.gcd(stride, size) > 1:
            stride += 1
        strides.append(stride)
    return min(strides, key=lambda stride: _unevenness(sizes, stride))


def _unevenness(sizes: list[int], stride: int) -> float:
    """Return how unevenly a stride covers parameters: squared means of low-frequency waves."""
    n = min(_JUDGED_DESIGNS, math.prod(sizes))
    judged = [place for place, size in enumerate(sizes) if size > 1][:_JUDGED_PARAMETERS]
    middles = _visit(sizes, 0, stride, n)[:, judged] + 0.5
    angles = 2 * math.pi * middles / np.array([sizes[place] for place in judged])
    waves = [np.ones((n, 1))]
    for frequency in _FREQUENCIES:
        waves += [np.cos(frequency * angles), np.sin(frequency * angles)]
    stacked = np.concatenate(waves, axis=1)
    products = stacked.T @ stacked / n
    return float((np.triu(products, 1) ** 2).sum())
