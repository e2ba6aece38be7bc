"""The default design under a limit of area: shrunk until it fits.

Rewards are relative to the default design, so that it has to be one that can be built.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from archgym.errors import InvalidArgumentError
from archgym.spaces.space import DesignSpace

__all__ = ["fitting_space"]


def fitting_space(
    space: DesignSpace,
    names: Sequence[str],
    area_mm2: Callable[[Mapping[str, Any]], float],
    limit_mm2: float,
) -> DesignSpace:
    """Return the same space, with a default design that is no larger than a limit.

    As long as the default design is larger, one of its sizes goes down to the next smaller value:
    the one that leaves most of those that fit then, or else the one that saves most.

    Args:
      space: With any default design.
      names: Parameters that may shrink, each with its values in ascending order.
      area_mm2: The area of a design.
      limit_mm2: The most that it may have.

    Raises:
      InvalidArgumentError: All sizes are at their smallest, and the area is above the limit still.
    """
    design = dict(space.design_at(space.default_indices))
    area = area_mm2(design)
    while area > limit_mm2:
        smaller: list[tuple[float, dict[str, Any]]] = []
        for name in names:
            parameter = space.parameter(name)
            index = parameter.index(design[name])
            shrunk = {**design, name: parameter.value(max(0, index - 1))}
            if index and space.feasible(space.indices_of(shrunk)[None, :])[0]:
                smaller.append((area_mm2(shrunk), shrunk))
        least, saving = min(smaller, key=lambda pair: pair[0], default=(area, design))
        if least >= area:
            raise InvalidArgumentError(
                f"`area_mm2` must be at least {area:.4f}, the default design's with all sizes at "
                f"their smallest, to which rewards are relative; got {limit_mm2:g}."
            )
        fitting = [pair for pair in smaller if pair[0] <= limit_mm2]
        area, design = max(fitting, key=lambda pair: pair[0], default=(least, saving))
    parameters: list[Any] = list(space.parameters)
    return DesignSpace(
        space.name,
        [replace(p, default=design[p.name]) for p in parameters],
        space.constraints,
        space.conditions,
        space.doc,
    )
