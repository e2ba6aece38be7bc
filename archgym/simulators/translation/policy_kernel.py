"""Replay of one TLB under a policy that a user wrote; compiled in the policies' process."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numba
import numpy as np

from archgym.policies.compilation import INNER, WAY
from archgym.simulators.translation.state import EMPTY

__all__ = ["COUNTS", "make_replay"]

COUNTS: Final = ("hits", "misses", "accesses")
"""Names of the counts, in their order."""


def make_replay(hooks: Mapping[str, Callable[..., Any]]) -> Callable[..., None]:
    """Return a replay with the hooks of a policy compiled in.

    Args:
      hooks: Compiled hooks by name.
    """
    options = {name: INNER[name] for name in ("nogil", "error_model", "_nrt")}
    entry: Callable[..., Any] = numba.njit(**options)
    victim = hooks["victim"]
    has_hit, has_fill = "on_hit" in hooks, "on_fill" in hooks
    on_hit = hooks.get("on_hit", victim)
    on_fill = hooks.get("on_fill", victim)

    @entry
    def replay(pages: Any, tags: Any, ways: int, counts: Any, memory: Any, floats: Any) -> None:
        sets = tags.shape[0] // ways
        for access in range(pages.shape[0]):
            page = pages[access]
            index = page % sets
            base = index * ways
            chosen: Any = -1
            is_hit = False
            for way in range(ways):
                if tags[base + way] == page:
                    chosen = way
                    is_hit = True
                    break
                if tags[base + way] == EMPTY:
                    # Ways are filled in their order.
                    chosen = way
                    break
            if is_hit:
                counts[0] += 1
                if has_hit:
                    on_hit(base + chosen, index, page, access, memory, floats)
                continue
            counts[1] += 1
            if chosen < 0:
                chosen = np.int64(victim(base, index, access, memory, floats))
                if chosen < 0 or chosen >= ways:
                    if memory[0] == 0:
                        memory[0] = WAY
                    break
            tags[base + chosen] = page
            if has_fill:
                on_fill(base + chosen, index, page, access, memory, floats)
            if memory[0] != 0:
                break
        counts[2] = counts[0] + counts[1]

    made: Callable[..., None] = replay
    return made
