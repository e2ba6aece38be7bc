"""Options of simulators, each declared once in the constructor, and simulators made of them.

    @declared
    def __init__(
        self,
        space: str = "default",
        fidelity: str = "standard",
        cores: Annotated[int, Option("Cores that share the last level.", low=1, high=4)] = 1,
    ) -> None:

A command line, a task's id and a recorded study give an option as text; Python may give a value.
The decorator turns texts into checked values of the annotated type before the constructor runs, and
keeps in `options` what differs from the defaults. Help, lists and pickling follow from the same
declaration.

Options that belong together, or that several simulators share, form a group: a frozen dataclass
whose fields have options. The constructor takes it as one argument; users give the fields by name,
as any other option.

    @dataclass(frozen=True, kw_only=True)
    class Cache:
        sets: Annotated[int, Option("Sets of the cache.", low=1)] = 64
        ways: Annotated[int, Option("Lines of a set.", low=1)] = 8

    @declared
    def __init__(self, space: str = "default", *, cache: Cache) -> None:

    CacheSimulator(ways=4)
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import wraps
from typing import Any, Final, Protocol, cast, final, get_args, get_type_hints, runtime_checkable

from archgym.checks import as_number, check_number, parse_whole
from archgym.errors import InvalidArgumentError, check_known, unknown_name
from archgym.evaluation.capabilities import option_names
from archgym.evaluation.restriction import restrict, split_space
from archgym.evaluation.simulator import Simulator

# chosen: beyond any number of requests, records or instructions that a machine runs.
_MOST: Final = 10**12
_WORDS: Final = {"true": True, "false": False}


@final
@dataclass(frozen=True)
class Option:
    """Declaration of an option, next to the type of its value in `Annotated`.

    Attributes:
      doc: One line for users.
      low: Least number.
      high: Largest number.
      choices: Names that a text may be, or a function that lists them.
      unit: Unit of a number.
      takes_file: True if the text may also be the path of a file.
      word: Text that stands for the default, such as `none` for no limit.
    """

    doc: str
    low: float = field(default=0, kw_only=True)
    high: float = field(default=_MOST, kw_only=True)
    choices: tuple[str, ...] | Callable[[], Sequence[str]] = field(default=(), kw_only=True)
    unit: str = field(default="", kw_only=True)
    takes_file: bool = field(default=False, kw_only=True)
    word: str = field(default="", kw_only=True)

    @property
    def names(self) -> tuple[str, ...]:
        """Names that the option may be; empty for numbers and free texts."""
        return tuple(self.choices() if callable(self.choices) else self.choices)


@final
@dataclass(frozen=True)
class DeclaredOption:
    """An option with its name, type and default, as the constructor's signature has them."""

    name: str
    kind: type[Any]
    default: Any
    option: Option

    @property
    def values(self) -> str:
        """The values that it may have, in words."""
        if self.kind is bool:
            return "true, false"
        if self.kind in (int, float):
            unit = f" {self.option.unit}" if self.option.unit else ""
            word = f"{self.option.word}, or " if self.option.word else ""
            form = ",.0f" if self.kind is int else ",g"
            return f"{word}{self.option.low:{form}} to {self.option.high:{form}}{unit}"
        names = ", ".join(self.option.names)
        return " or ".join(part for part in (names, "a file" * self.option.takes_file) if part)

    @property
    def samples(self) -> tuple[Any, ...]:
        """Other values than the default that switch something on: names, flags, and 1 for 0."""
        if self.kind is bool:
            return (str(not self.default).lower(),)
        if self.kind in (int, float):
            return (1,) if self.default == 0 and self.option.low <= 1 <= self.option.high else ()
        return tuple(name for name in self.option.names if name != self.default)

    def parsed(self, value: Any) -> Any:
        """Return the value that a text, or a value from Python, stands for.

        An empty text, and the option's word, stand for the default.

        Raises:
          InvalidArgumentError: It is outside the limits.
          UnknownNameError: It is not one of the names.
        """
        if value is None or value in ("", self.option.word):
            return self.default
        # As a value; written out only if it is no number that stands for another default.
        is_same = value == self.default or (self.kind is str and value == str(self.default))
        if not isinstance(value, bool) and is_same:
            return self.default
        if self.kind is bool:
            return self._flag(value)
        if self.kind is int:
            return parse_whole(self.name, value, int(self.option.low), int(self.option.high))
        if self.kind is float:
            return self._number(value)
        names = self.option.names
        if names and not self.option.takes_file and value not in names:
            raise unknown_name(self.name.replace("_", " "), value, names)
        # One id for ./a.yaml and a.yaml; ./h100 is a file, and no name.
        short = str(value).removeprefix("./" * self.option.takes_file)
        return str(value) if short in names else short

    def text(self, value: Any) -> str:
        """Return an option's value as a task's id states it, which `parsed` reads back."""
        if value is None:
            return ""
        if self.kind is bool:
            return str(value).lower()
        if self.kind is float:
            short = f"{value:.12g}"
            return short if float(short) == value else repr(float(value))
        return str(value)

    def _flag(self, value: Any) -> bool:
        flag = value if isinstance(value, bool) else _WORDS.get(str(value).lower())
        if flag is None:
            raise InvalidArgumentError(f"`{self.name}` must be true or false; got {value!r}.")
        return flag

    def _number(self, value: Any) -> float:
        number = as_number(value)
        if number == self.default:
            return float(number)
        return check_number(self.name, number, self.option.low, self.option.high)


@runtime_checkable
class DeclaredByParts(Protocol):
    """Simulator class whose options are declared by its parts."""

    @classmethod
    def options_of_parts(cls) -> tuple[DeclaredOption, ...]:
        """Return the declarations of the parts' options."""


def declared_options(kind: type[Any]) -> tuple[DeclaredOption, ...]:
    """Return the options that a simulator's constructor declares, in its order."""
    if issubclass(kind, DeclaredByParts):
        return kind.options_of_parts()
    found: Mapping[str, DeclaredOption] = getattr(kind.__init__, "__options__", {})
    return tuple(found.values())


def options_of(function: Callable[..., Any]) -> dict[str, DeclaredOption]:
    """Return the options that a function's signature declares, by name, groups' fields included."""
    return {
        parameter.name: DeclaredOption(parameter.name, _type(parameter), parameter.default, note)
        for parameter in _flat(inspect.signature(function, eval_str=True)).parameters.values()
        for note in get_args(parameter.annotation)[1:]
        if isinstance(note, Option)
    }


def declared(constructor: Callable[..., None]) -> Callable[..., None]:
    """Let a simulator's constructor take its options as texts or values, checked.

    Before the constructor runs, `self.spec` has the fidelity and the options, and `self.arguments`
    holds the arguments from which an equal simulator is made. Arguments without an `Option` are
    passed on as they are; `space` and `fidelity` must be names that the class lists. A group is
    made of the options that are its fields.

    Raises:
      UnknownNameError: The space, the fidelity or an option's name does not exist.
      InvalidArgumentError: An option is outside its limits, or a group has a field that is none.
    """
    signature = inspect.signature(constructor, eval_str=True)
    groups = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if _fields(parameter)
    }
    flat = _flat(signature)
    options = options_of(constructor)

    @wraps(constructor)
    def construct(self: Any, *arguments: Any, **named: Any) -> None:
        bound = flat.bind(self, *arguments, **named)
        bound.apply_defaults()
        given = bound.arguments
        spec = self.spec
        for what, known in (("space", spec.space_names), ("fidelity", spec.fidelity_names)):
            if what in given and str(given[what]) not in known:
                raise unknown_name(what, given[what], known)
        chosen: dict[str, str] = {}
        for name, option in options.items():
            value = option.parsed(given[name])
            if value != option.default:
                chosen[name] = option.text(value)
            given[name] = value
        fidelity = str(given.get("fidelity", spec.fidelity))
        self.spec = replace(spec, fidelity=fidelity, options=dict(chosen))
        named_too = ("space", "fidelity")
        self.arguments = {**{n: given[n] for n in named_too if n in given}, **chosen}
        for name, kind in groups.items():
            given[name] = kind(**{each.name: given.pop(each.name) for each in fields(kind)})
        called = inspect.BoundArguments(signature, given)
        constructor(*called.args, **called.kwargs)

    construct.__options__ = options  # type: ignore[attr-defined]  # read by `declared_options`
    construct.__signature__ = flat  # type: ignore[attr-defined]  # read by `inspect.signature`
    return construct


def _flat(signature: inspect.Signature) -> inspect.Signature:
    """Return a signature with the fields of groups in place of the groups."""
    found: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        found += _fields(parameter) or [parameter]
    return signature.replace(parameters=found)


def _fields(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    """Return the fields of a group as arguments that are given by name; none of other arguments."""
    group = parameter.annotation
    if not (isinstance(group, type) and is_dataclass(group)):
        return []
    hints = get_type_hints(group, include_extras=True)
    has_option = {
        each.name: any(isinstance(note, Option) for note in get_args(hints[each.name])[1:])
        for each in fields(group)
    }
    for each in fields(group) if any(has_option.values()) else ():
        if each.default is MISSING or not has_option[each.name]:
            raise InvalidArgumentError(
                f"Every field of {group.__name__}, a group of options, must have an `Option` and a "
                f"default; `{each.name}` lacks one."
            )
    return [
        inspect.Parameter(
            each.name, parameter.KEYWORD_ONLY, default=each.default, annotation=hints[each.name]
        )
        for each in fields(group)
        if has_option[each.name]
    ]


def _type(parameter: inspect.Parameter) -> type[Any]:
    """Return the type in an annotation; without None where there may be no value."""
    annotated = get_args(parameter.annotation)[0]
    kinds = [kind for kind in get_args(annotated) or (annotated,) if kind is not type(None)]
    return cast(type[Any], kinds[0])


def make_simulator(
    kind: type[Simulator], space: str | None, fidelity: str | None, options: Mapping[str, str]
) -> Simulator:
    """Return the simulator of a space and fidelity, with these options.

    Args:
      kind: Class of the simulator.
      space: Name of a space, whole or restricted (see `archgym.evaluation.restriction`); None for
        the default.
      fidelity: Name of a fidelity; None for the default.
      options: Other arguments of the constructor; what is absent has its default.

    Raises:
      UnknownNameError: There is no such space, fidelity or option; the message lists the near ones.
      InvalidArgumentError: The constructor needs other arguments.
    """
    space, held = split_space(space)
    known_options = option_names(kind)
    named = kind.spec.name or kind.__name__
    check_known(f"option of simulator {named!r}", options, known_options)
    chosen = {}
    for what, wanted, names in (
        ("space", space, kind.spec.space_names),
        ("fidelity", fidelity, kind.spec.fidelity_names),
    ):
        if wanted is not None and str(wanted) not in names:
            error = unknown_name(what, wanted, names)
            error.choice = what
            raise error
        # A simulator with one space or fidelity has nothing to be told.
        if len(names) > 1 or _takes(kind, what):
            chosen[what] = names[0] if wanted is None else wanted
    try:
        inspect.signature(kind).bind(**chosen, **options)
    except TypeError as error:
        given = ", ".join(f"`{name}`" for name in (*chosen, *options)) or "no arguments"
        raise InvalidArgumentError(
            f"Simulator {kind.__name__} must be one that is made with {given}; its constructor "
            f"differs: {error}. Give its other arguments defaults."
        ) from None
    make: Any = kind
    simulator: Simulator = make(**chosen, **options)
    return restrict(simulator, held)


def _takes(kind: type[Simulator], name: str) -> bool:
    """Return True if the constructor has an argument with this name, or takes any."""
    parameters = inspect.signature(kind).parameters
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
