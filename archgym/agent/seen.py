"""Designs that a run has asked for, and draws of designs that it has not."""

from collections.abc import Callable
from typing import final

import numpy as np

from archgym.agent.agent import Prior
from archgym.errors import InvalidSpaceError
from archgym.evaluation.trials import Trials
from archgym.spaces.space import DesignSpace, design_keys

# chosen: rounds of drawing that may all hit designs asked before; past it, what is left is listed.
_MAX_ROUNDS = 32
_ROUND = 64
# chosen: a list of this many designs is made in a second.
_LISTED_LIMIT = 2**22
# chosen: a list of this many designs is made as quickly as a few rounds.
_LISTED_AT_ONCE = 2**10
# chosen: the genetic agent's population; where one design in five can be built, one in twenty runs
# has none among so many.
_BARREN = 12


@final
class AskedDesigns:
    """The canonical forms of the designs that a run has asked for.

    Asking for one again teaches nothing, so agents draw past them.
    """

    def __init__(self, space: DesignSpace) -> None:
        self._space = space
        self._keys: set[bytes] = set()
        self._rest: np.ndarray | None = None
        self._place = 0
        self._are_all_infeasible = True
        self._preferred = np.empty((0, space.n_parameters), dtype=np.int64)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def has_preferred(self) -> bool:
        """True if `draw` begins with a promising design of an earlier study."""
        return bool(self.new(self._preferred).any())

    def add(self, indices: np.ndarray) -> None:
        """Mark designs, (n, n_parameters), as asked for."""
        self.add_canonical(self._space.canonical(indices))

    def add_canonical(self, designs: np.ndarray) -> None:
        """Mark canonical designs, (n, n_parameters), as asked for."""
        self._keys.update(design_keys(designs))

    def take_prior(self, prior: Prior, preferred: np.ndarray) -> None:
        """Mark start designs as asked for, and prefer other designs to random ones.

        Args:
          prior: Results before the search.
          preferred: (k, n_parameters), designs that `draw` returns before it draws at random.
        """
        if prior.start is not None:
            self.add(prior.start.indices)
        self._preferred = self._space.canonical(preferred)

    def new(self, indices: np.ndarray) -> np.ndarray:
        """Return True if each design is feasible, not asked for, and no copy of an earlier row.

        Args:
          indices: (n, n_parameters).

        Returns:
          (n,) bool.
        """
        return self.new_canonical(self._space.canonical(indices), set())

    def new_canonical(self, designs: np.ndarray, here: set[bytes]) -> np.ndarray:
        """Return as `new` does for canonical designs, none of which is among `here`.

        Args:
          designs: (n, n_parameters).
          here: Keys of other designs, to which those of these are added.
        """
        fresh = self._space.feasible(designs)
        for row, key in enumerate(design_keys(designs)):
            if key in self._keys or key in here:
                fresh[row] = False
            here.add(key)
        return fresh

    def learn(self, trials: Trials) -> None:
        """Record which of the designs could be built."""
        self._are_all_infeasible &= not trials.feasible.any()

    def fallback(self) -> np.ndarray:
        """Return the default design, which is feasible, after twelve or more infeasible designs.

        Returns:
          (1, n_parameters) once, and marks it; else (0, n_parameters).
        """
        default = self._space.default_indices[None, :]
        if self._are_all_infeasible and len(self) >= _BARREN and self.new(default)[0]:
            self.add(default)
            return default
        return default[:0]

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return designs that were not asked for, uniform over those, and mark them.

        Returns:
          (n, n_parameters) canonical indices; fewer rows where the space holds no more.

        Raises:
          InvalidSpaceError: The space has no feasible design that can be found.
        """
        found = [np.empty((0, self._space.n_parameters), dtype=np.int64)]
        have = 0
        if len(self._preferred) and n:
            have = self._take(self._preferred, n, found)
            if have == n:
                return np.concatenate(found)
            self._preferred = self._preferred[:0]
        for _ in range(_MAX_ROUNDS if self._space.size > _LISTED_AT_ONCE else 0):
            if have >= n or self._rest is not None:
                break
            drawn = self._space.sample(max(n - have, _ROUND), rng)
            have += self._take(drawn, n - have, found)
        if have < n:
            have += self._take_rest(n - have, rng, found)
        return np.concatenate(found)

    def new_among(
        self, n: int, rounds: int, propose: Callable[[int, int], np.ndarray]
    ) -> np.ndarray:
        """Return the first new designs among proposals, and mark them.

        Args:
          n: Largest number of designs.
          rounds: Largest number of times that `propose` is called.
          propose: Returns designs of any kind; takes the number that is missing, and the round.

        Returns:
          (k, n_parameters) canonical indices, k at most `n`.
        """
        found = [np.empty((0, self._space.n_parameters), dtype=np.int64)]
        missing = n
        for number in range(rounds):
            if missing:
                designs = self._space.canonical(propose(missing, number))
                missing -= self._take(designs, missing, found)
        return np.concatenate(found)

    def _take(self, drawn: np.ndarray, n: int, found: list[np.ndarray]) -> int:
        taken = drawn[self.new(drawn)][:n]
        self.add(taken)
        found.append(taken)
        return len(taken)

    def _take_rest(self, n: int, rng: np.random.Generator, found: list[np.ndarray]) -> int:
        """Draw from the shuffled list of all remaining designs, which is built once."""
        if self._space.size > _LISTED_LIMIT:
            return 0
        if self._rest is None:
            listed = np.concatenate(list(self._space.enumerate(canonical=True)))
            if not len(listed):
                raise InvalidSpaceError(
                    f"Space {self._space.name!r} must have a feasible design; it has none. "
                    "Loosen its constraints."
                )
            self._rest = rng.permutation(listed[self.new(listed)])
        have = 0
        while have < n and self._place < len(self._rest):
            stop = self._place + n - have
            have += self._take(self._rest[self._place : stop], n - have, found)
            self._place = stop
        return have
