"""Families of agents in a plan: one agent with many settings of its hyperparameters."""

import itertools
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from archgym.files.yaml_document import Node

if TYPE_CHECKING:
    from archgym.agent.agent import Agent

# chosen: where so many draws in a row are refused or known, the ranges hold no more.
_MAX_TRIES = 1000


def draw_hyperparameters(
    kind: "type[Agent]",
    n: int,
    fixed: Mapping[str, Any],
    accepts: Callable[[Mapping[str, Any]], bool],
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the defaults, then draws from the agent's published ranges, all different.

    Each hyperparameter is drawn evenly from its range's values; those that are refused together
    are drawn again. The draws depend on the agent and the seed alone, so that more of them begin
    with the same ones.

    Args:
      n: Number of settings with the defaults; fewer if the ranges hold no more.
      fixed: Hyperparameters that are the same in all.
      accepts: True if the agent can be made with these hyperparameters.
      seed: Random seed.
    """
    # With seed 0 it is the generator of the agent alone.
    rng = np.random.default_rng([zlib.crc32(kind.name.encode()), seed])
    found = [dict(fixed)]
    free = [parameter for parameter in kind.hyperparameters if parameter.name not in fixed]
    known = {_key({parameter.name: parameter.value(parameter.default_index) for parameter in free})}
    tries = 0
    while len(found) < n and tries < _MAX_TRIES and free:
        tries += 1
        values = {p.name: _python_value(p.value(int(rng.integers(p.size)))) for p in free}
        if _key(values) in known:
            continue
        known.add(_key(values))
        if accepts({**fixed, **values}):
            found.append({**fixed, **values})
            tries = 0
    return found


def _key(values: Mapping[str, Any]) -> str:
    return repr(sorted(values.items()))


def _python_value(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


FAMILY_KEYS = ("draws", "draw_seed", "include_defaults", "grid")
DEFAULTS = "defaults"
# chosen: far beyond any sweep; what is larger was written by mistake.
_MAX_MEMBERS = 10_000
_MAX_SEED = 2**63 - 1


@final
@dataclass(frozen=True)
class Draws:
    """Settings drawn at random from the ranges that the agent publishes."""

    count: int
    seed: int
    include_defaults: bool
    """True if the agent without drawn hyperparameters is one of the family."""

    def settings(
        self,
        kind: "type[Agent]",
        fixed: Mapping[str, Any],
        accepts: Callable[[Mapping[str, Any]], bool],
    ) -> dict[str, dict[str, Any]]:
        """Return hyperparameters by the end of a member's label; fewer in small ranges."""
        defaults, *drawn = draw_hyperparameters(kind, self.count + 1, fixed, accepts, self.seed)
        first = {DEFAULTS: defaults} if self.include_defaults else {}
        return {**first, **{_number(place): values for place, values in enumerate(drawn)}}


@final
@dataclass(frozen=True)
class Grid:
    """Every combination of some values; those of the last hyperparameter change first."""

    values: Mapping[str, tuple[Any, ...]]

    def settings(self, fixed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return hyperparameters by the end of a member's label."""
        combined = itertools.product(*self.values.values())
        return {
            _number(place): {**fixed, **dict(zip(self.values, chosen, strict=True))}
            for place, chosen in enumerate(combined)
        }


def read_family(parts: Mapping[str, Node]) -> Draws | Grid | None:
    """Return the family that an agent of a plan is; None if it is one agent.

    Raises:
      FileFormatError: What is given does not go together; the error names the line.
    """
    if "draws" not in parts:
        for name in ("draw_seed", "include_defaults"):
            if name in parts:
                raise parts[name].refusal(f"`{name}` needs `draws`, which is absent")
        return _grid(parts["grid"], parts) if "grid" in parts else None
    if "grid" in parts:
        raise parts["grid"].refusal("`grid` and `draws` must not come together", "Write two agents")
    return Draws(
        parts["draws"].whole("`draws`", 1, _MAX_MEMBERS),
        parts["draw_seed"].whole("`draw_seed`", 0, _MAX_SEED) if "draw_seed" in parts else 0,
        "include_defaults" not in parts or parts["include_defaults"].flag("`include_defaults`"),
    )


def _grid(node: Node, parts: Mapping[str, Node]) -> Grid:
    given = (
        parts["hyperparameters"].members("hyperparameters") if "hyperparameters" in parts else ()
    )
    members = node.members("`grid`")
    if not members:
        raise node.refusal("`grid` must have one hyperparameter or more; it has none")
    grid = {}
    for name, values in members.items():
        if name in given:
            raise values.refusal(f"`{name}` must stand in `grid` or `hyperparameters`, not in both")
        if not isinstance(values.value, tuple) or not values.value:
            raise values.refusal(f"`{name}` must be a list of values; got {values.kind}")
        seen = []
        for item in values.value:
            value = item.plain()
            if value in seen:
                raise item.refusal(f"values of `{name}` must differ; {item.kind} came twice")
            seen.append(value)
        grid[name] = tuple(seen)
    n = math.prod(map(len, grid.values()))
    if n > _MAX_MEMBERS:
        raise node.refusal(f"`grid` must have at most {_MAX_MEMBERS} combinations; it has {n}")
    return Grid(grid)


def _number(place: int) -> str:
    # No width that depends on how many there are: a plan that grows keeps its labels.
    return f"{place:02}"
