"""Physical pages for virtual ones, as a system that has run for long gives them: anywhere."""

from typing import final

import numpy as np

from archgym.errors import InvalidArgumentError
from archgym.traces.generators import scattered

PAGE_BITS = 12


@final
class PageAllocator:
    """Allocator of a free frame for each page of 4 KiB when it is first touched."""

    def __init__(self, capacity_bytes: int, seed: int) -> None:
        """Start with all of the memory free.

        Args:
          capacity_bytes: Memory there is; of what is not a power of two the largest that is in it.
          seed: Random seed of the frames' order.
        """
        self._n_frames = 1 << max(0, capacity_bytes.bit_length() - 1 - PAGE_BITS)
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        self._start = rng.integers(self._n_frames, dtype=np.uint64)
        # Sorted, with the frames in the same order.
        self._pages = np.zeros(0, np.uint64)
        self._frames = np.zeros(0, np.uint64)

    @property
    def pages(self) -> np.ndarray:
        """Pages that have a frame, (n,) uint64, sorted; a later call leaves this array as it is."""
        return self._pages

    def frames(self, pages: np.ndarray) -> np.ndarray:
        """Return frames of pages, (n,) uint64; new pages get frames in the order they come.

        Raises:
          InvalidArgumentError: There are more pages than frames.
        """
        found, first = np.unique(pages, return_index=True)
        is_new = ~np.isin(found, self._pages, assume_unique=True)
        if is_new.any():
            new = found[is_new]
            order = np.argsort(np.argsort(first[is_new]))
            self._add(new, order)
        return self._frames[np.searchsorted(self._pages, pages)]

    def _add(self, new: np.ndarray, order: np.ndarray) -> None:
        n = len(self._pages) + len(new)
        if n > self._n_frames:
            raise InvalidArgumentError(
                f"The trace's pages must fit into the device's memory, {self._n_frames} frames of "
                f"4 KiB; it has {n} or more. Choose a larger device, or cut the trace."
            )
        turn = order.astype(np.uint64) + np.uint64(len(self._pages))
        frames = scattered((turn + self._start) % np.uint64(self._n_frames), self._n_frames)
        pages = np.concatenate([self._pages, new])
        place = np.argsort(pages)
        self._pages = pages[place]
        self._frames = np.concatenate([self._frames, frames])[place]
