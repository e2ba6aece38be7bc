"""Random draws from the ranges that agents publish for their hyperparameters."""

import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from archgym.agent import Agent

__all__ = ["draw_hyperparameters"]

# chosen: where so many draws in a row are refused or known, the ranges hold no more.
_MAX_TRIES = 1000


def draw_hyperparameters(
    kind: "type[Agent]",
    n: int,
    fixed: Mapping[str, Any],
    accepts: Callable[[Mapping[str, Any]], bool],
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The defaults, then draws from the agent's published ranges, all different.

    Each hyperparameter is drawn evenly from its range's values; those that are refused together
    are drawn again. The draws depend on the agent and the seed alone, so that more of them begin
    with the same ones.

    Args:
      kind: Whose.
      n: How many, the defaults included; fewer come where the ranges hold no more.
      fixed: Hyperparameters that are the same in all.
      accepts: Whether the agent can be made with these hyperparameters.
      seed: For other draws.
    """
    # With seed 0 it is the generator of the agent alone.
    rng = np.random.default_rng([zlib.crc32(kind.name.encode()), seed])
    found = [dict(fixed)]
    free = [parameter for parameter in kind.hyperparameters if parameter.name not in fixed]
    known = {_key({parameter.name: parameter.value(parameter.default_index) for parameter in free})}
    tries = 0
    while len(found) < n and tries < _MAX_TRIES and free:
        tries += 1
        values = {p.name: _plain(p.value(int(rng.integers(p.size)))) for p in free}
        if _key(values) in known:
            continue
        known.add(_key(values))
        if accepts({**fixed, **values}):
            found.append({**fixed, **values})
            tries = 0
    return found


def _key(values: Mapping[str, Any]) -> str:
    return repr(sorted(values.items()))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
