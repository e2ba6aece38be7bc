"""Global random state and thread counts, set for a search and restored after it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from archgym.evaluation.trials import Evaluate, Trials

if TYPE_CHECKING:
    import torch


_State = tuple[Any, Any, "torch.Tensor", int]
"""The random numbers of Python, NumPy and torch, and torch's threads."""


@final
class RandomState:
    """The global random numbers of Python, NumPy and torch, seeded for a `with` block.

    Libraries for learning draw from them. Within the block they are its own, and torch computes on
    one thread, so that sums are formed in the same order each time; what was there before is put
    back at its end. The block may be entered again and then starts from the seed again.
    """

    def __init__(self, seed: int) -> None:
        """Choose the seed, any whole number from 0."""
        self._seeds = [int(word) for word in np.random.SeedSequence(seed).generate_state(3)]
        self._others: _State | None = None

    def __enter__(self) -> Self:
        import torch

        assert self._others is None, "It is not entered twice at once."
        self._others = _read()
        torch.set_num_threads(1)
        random.seed(self._seeds[0])
        np.random.seed(self._seeds[1])  # noqa: NPY002 - what libraries draw from
        # Only the processor's numbers: `torch.manual_seed` would seed every other device as well.
        torch.default_generator.manual_seed(self._seeds[2])
        return self

    def __exit__(self, *error: object) -> None:
        assert self._others is not None
        others, self._others = self._others, None
        _write(others)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Restore the original random state and threads for a block within the search."""
        assert self._others is not None, "It must be entered."
        own = _read()
        _write(self._others)
        try:
            yield
        finally:
            self._others = _read()
            _write(own)

    def outside(self, evaluate: Evaluate) -> Evaluate:
        """Return `evaluate` wrapped so that it runs with the original random state and threads.

        A simulator may draw random numbers; a study that resumes does not ask it again, and still
        the agent must draw the same.
        """

        def with_the_others_numbers(indices: np.ndarray) -> Trials:
            with self.lent():
                return evaluate(indices)

        return with_the_others_numbers


def _read() -> _State:
    import torch

    numpy_state: Any = np.random.get_state()  # noqa: NPY002 - looks, draws nothing
    torch_state = torch.default_generator.get_state()
    return random.getstate(), numpy_state, torch_state, torch.get_num_threads()


def _write(state: _State) -> None:
    import torch

    python_state, numpy_state, torch_state, n_threads = state
    random.setstate(python_state)
    np.random.set_state(numpy_state)  # noqa: NPY002 - puts back what was there
    torch.default_generator.set_state(torch_state)
    if torch.get_num_threads() != n_threads:
        torch.set_num_threads(n_threads)
