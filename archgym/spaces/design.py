"""Designs, constraints and conditions of a design space."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import final

from archgym.spaces.display import html_table, shortened
from archgym.spaces.expression import Expression
from archgym.spaces.parameter import (
    Value,
)


@final
class Design(Mapping[str, Value]):
    """A frozen choice of one value for each parameter of a space.

    Example:
      >>> design = Design(ways=8, policy="lru")
      >>> design["ways"], dict(design)
      (8, {'ways': 8, 'policy': 'lru'})
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Value] | None = None, /, **by_name: Value) -> None:
        """Take values from a mapping, by keyword as `dict` does, or both."""
        self._values = {**(values or {}), **by_name}

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return shortened((f"{name}={value!r}" for name, value in self._values.items()), "Design(")

    def _repr_html_(self) -> str:
        return html_table("Design", ("parameter", "value"), self._values.items())


@final
@dataclass(frozen=True, eq=False)
class Constraint:
    """A predicate that every design must satisfy, with the reason in words.

    Example:
      >>> from archgym.spaces.expression import P
      >>> few = Constraint("few banks", P("ranks") * P("banks") <= 64, "at most 64 banks")
      >>> few.require.text
      '(ranks * banks) <= 64'
    """

    name: str
    require: Expression
    reason: str


@final
@dataclass(frozen=True, eq=False)
class Condition:
    """`parameter` means something only where `when` holds; elsewhere it takes its default.

    Example:
      >>> from archgym.spaces.expression import P
      >>> Condition("depth", when=P("prefetcher") != "none").when.text
      "prefetcher != 'none'"
    """

    parameter: str
    when: Expression
