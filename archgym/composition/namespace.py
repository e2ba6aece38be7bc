"""Names of parts within a composition: `dram.page_policy` is the part `dram`'s `page_policy`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, cast

from archgym.errors import InvalidArgumentError
from archgym.evaluation.limits import Limit
from archgym.evaluation.metrics import MetricSpec
from archgym.spaces.design import Condition, Constraint
from archgym.spaces.parameter import Parameter
from archgym.spaces.space import DesignSpace

SEPARATOR: Final = "."


def within(part: str, name: str) -> str:
    """Return a part's `name` as the composition calls it."""
    return f"{part}{SEPARATOR}{name}"


def split(name: str) -> tuple[str, str]:
    """Split a name in a composition into part and own name; the part may be empty."""
    part, sign, own = name.partition(SEPARATOR)
    return (part, own) if sign else ("", name)


def check_part_names(names: "Mapping[str, Any]") -> None:
    """Refuse names of parts that names in a composition could not hold.

    Raises:
      InvalidArgumentError: A name has other characters, or there are fewer than two parts.
    """
    for name in names:
        if not name.isidentifier():
            raise InvalidArgumentError(
                f"A part's name must be letters, digits and underscores; got {name!r}."
            )
    if len(names) < 2:
        raise InvalidArgumentError(
            f"A composition must have two parts or more; got {', '.join(names) or 'none'}."
        )


def joint_space(name: str, spaces: Mapping[str, DesignSpace], doc: str = "") -> DesignSpace:
    """Return the space of all combinations of the parts' designs.

    Conditions and constraints of each part stay. A canonical form does not stay: equal designs may
    then have several names.

    Args:
      name: Name of the space.
      spaces: Space of each part, by the part's name.
      doc: One line.

    Example:
      >>> from archgym.spaces.parameter import PowerOfTwo
      >>> cache = DesignSpace("cache", [PowerOfTwo("ways", 1, 16)])
      >>> memory = DesignSpace("memory", [PowerOfTwo("channels", 1, 4)])
      >>> joint_space("both", {"cache": cache, "memory": memory}).names
      ('cache.ways', 'memory.channels')
    """
    parameters: list[Parameter] = []
    constraints: list[Constraint] = []
    conditions: list[Condition] = []
    for part, space in spaces.items():
        names = {own: within(part, own) for own in space.names}
        parameters += [replace(cast(Any, p), name=names[p.name]) for p in space.parameters]
        constraints += [
            Constraint(within(part, c.name), c.require.renamed(names), f"{part}: {c.reason}")
            for c in space.constraints
        ]
        conditions += [
            Condition(names[c.parameter], c.when.renamed(names)) for c in space.conditions
        ]
    return DesignSpace(name, parameters, constraints, conditions, doc)


def part_metrics(part: str, specs: tuple[MetricSpec, ...]) -> tuple[MetricSpec, ...]:
    """Return a part's metrics under their names in a composition.

    The part computes its derived metrics itself, so that none has a formula here.
    """
    found = []
    for spec in specs:
        factors = [factor.rpartition("-") for factor in spec.tied.split(" * ") if factor]
        tied = " * ".join(sign + within(part, other) for _, sign, other in factors)
        below = spec.below and within(part, spec.below)
        name = within(part, spec.name)
        found.append(replace(spec, name=name, formula=None, tied=tied, below=below))
    return tuple(found)


def part_limits(part: str, limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
    """Return a part's limits on its metrics under their names in a composition."""
    return tuple(replace(limit, metric=within(part, limit.metric)) for limit in limits)
