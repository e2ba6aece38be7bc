"""Domains of rules: what a rule may see and decide, declared by a simulator."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, final

from archgym.errors import ArchGymError, unknown_name

logger = logging.getLogger(__name__)
_CASE = "archgym.rules.case"


@final
@dataclass(frozen=True)
class Hook:
    """Function that a rule may define."""

    parameters: tuple[str, ...]
    doc: str
    is_required: bool = False
    has_result: bool = False
    """True if it must return a number on every path."""


class Result(Protocol):
    """Measures of a rule on one case."""

    @property
    def problem(self) -> str:
        """Reason why the rule is infeasible; empty if it ran."""

    @property
    def loss(self) -> float:
        """Number to minimise; infinite for an infeasible rule."""

    def to_json(self) -> dict[str, Any]:
        """Return the measures by name, as JSON types."""


def deferred(module: str, name: str) -> Callable[..., Any]:
    """Return a function that imports the one of this name when it is called.

    A domain is declared with it so that listing domains loads no kernel.

    Args:
      module: Full name of the function's module.
      name: Name of the function there.
    """

    def call(*arguments: Any) -> Any:
        return getattr(import_module(module), name)(*arguments)

    return call


@final
@dataclass(frozen=True, kw_only=True)
class Domain:
    """Kind of rule: its hooks, the sizes that its arrays may have, and templates.

    A simulator or package declares its domains in a module `rules.domain` as `DOMAINS`. Another
    distribution names each of its own in the entry-point group `archgym.rules`.

    Attributes:
      name: Name that rule files state as ``DOMAIN``.
      doc: Description in one sentence.
      hooks: Functions by name.
      sizes: Description of each size by name, such as ``blocks``; an array ``per_blocks`` has one
        entry for each.
      values: Description by name of each constant that hooks may read and loops may run to.
      templates: Source of rules to start from, by name.
      options: Description by name of what chooses a case, next to its trace.
      built_in: Names of built-in rules that know no future.
      example: Sizes and values for `check`, where no trace is given.
      open_case: Function of a trace's name or file, and options, that returns a `RuleCase`.
      case_input: Function of a case that returns all that decides a rule's results on it.
      evaluate: Function of a rule, a case, a runner and tuned constants that returns a result.
      evaluate_built_in: Function of a built-in rule's name and a case that returns a result.
      compile: Function of hooks that returns the simulation; it is called in the child process.
      simulate: Function of a simulation, storage and a case that returns counts as JSON types.
      prepare: Function that loads or compiles the kernels of `simulate`; the child process calls
        it before it may no longer write files.
      one_of: Hooks of which a rule must have one.
      loss: Meaning of the loss that results have.
    """

    name: str
    doc: str
    hooks: Mapping[str, Hook]
    sizes: Mapping[str, str]
    values: Mapping[str, str] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    built_in: tuple[str, ...] = ()
    example: Mapping[str, int] = field(default_factory=dict)
    open_case: Callable[[str, Mapping[str, str]], Any] = field(repr=False)
    case_input: Callable[[Any], Mapping[str, Any]] = field(
        default=lambda case: case.input(), repr=False
    )
    evaluate: Callable[..., Result] = field(default=deferred(_CASE, "evaluate"), repr=False)
    evaluate_built_in: Callable[[str, Any], Result] = field(
        default=deferred(_CASE, "built_in"), repr=False
    )
    compile: Callable[[Mapping[str, Any]], Any] = field(repr=False)
    simulate: Callable[..., dict[str, Any]] = field(repr=False)
    prepare: Callable[[], None] | None = field(default=None, repr=False)
    one_of: tuple[str, ...] = ()
    loss: str = "loads over those of the optimum"


def templates(simulator: str | Path) -> dict[str, str]:
    """Return the templates in a simulator's folder: the files `data/rules/NAME.rule`.

    Args:
      simulator: Path of a module or package in the simulator's folder.
    """
    folder = Path(simulator).parent / "data" / "rules"
    return {path.stem: path.read_text() for path in sorted(folder.glob("*.rule"))}


@cache
def _all() -> dict[str, Domain]:
    """Return the domains of all folders that declare some, by name."""
    package = Path(__file__).parents[1]
    found: dict[str, Domain] = {}
    for pattern in ("simulators/*/rules/domain.py", "*/rules/domain.py"):
        for path in sorted(package.glob(pattern)):
            parts = path.relative_to(package.parent).with_suffix("").parts
            declared = import_module(".".join(parts))
            found |= {each.name: each for each in declared.DOMAINS}
    for point in entry_points(group="archgym.rules"):
        try:
            own = point.load()
        except (ArchGymError, ImportError, AttributeError) as error:
            # Another package that is broken must not break what others declare.
            logger.warning("Rule domain %r cannot be loaded: %s", point.value, error)
            continue
        if not isinstance(own, Domain) or found.setdefault(own.name, own) is not own:
            logger.warning("Rule domain %r must be a new `Domain`; it is not used.", point.value)
    return found


def domain_names() -> tuple[str, ...]:
    """Return names of all domains, sorted."""
    return tuple(sorted(_all()))


def domain(name: str) -> Domain:
    """Return the domain with this name.

    Raises:
      UnknownNameError: Nothing declares it.
    """
    known = _all()
    if name not in known:
        raise unknown_name("rule domain", name[:80], known)
    return known[name]
