"""YAML documents whose every value knows its line: plain data only, of bounded size and depth."""

import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, final

from archgym.checks import whole
from archgym.errors import FileFormatError, UnknownNameError, unknown_name
from archgym.files.storage import open_file, storage_errors

# chosen: a sweep of ten thousand lines is below it.
_MAX_BYTES = 2**20
# chosen: plans are nested five deep.
_MAX_DEPTH = 20
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_MAX_DIGITS = 18
# chosen: enough to find it in the file.
_MAX_ECHO = 80
# chosen: a screen of a terminal.
_SHOWN = 20
_PLACE = re.compile(r"\.(\w+)|\[(\d+)\]|\[\.\.\.\]")
T = TypeVar("T")
_CONSTANTS = {"true": True, "false": False, "null": None, "~": None, "": None}

Scalar = str | int | float | bool | None


@final
@dataclass(frozen=True)
class Node:
    """A value and the line it stands on; that of its key where it has one.

    A value that stands in no file has no line, and its path says where it was given.
    """

    path: Path
    line: int | None
    value: "Scalar | tuple[Node, ...] | Mapping[str, Node]"
    tag: str = ""
    """A word such as ``!Component`` before it, where the reader allows it."""

    @property
    def kind(self) -> str:
        """Description of the value in a word or two."""
        if isinstance(self.value, Mapping):
            return "a mapping"
        if isinstance(self.value, tuple):
            return "a list" if self.value else "an empty list"
        if self.value is None:
            return "nothing"
        text = repr(self.value)
        return text if len(text) <= _MAX_ECHO else f"{text[:_MAX_ECHO]}…"

    def plain(self) -> Any:
        """Return the value without lines."""
        if isinstance(self.value, Mapping):
            return {name: node.plain() for name, node in self.value.items()}
        if isinstance(self.value, tuple):
            return [node.plain() for node in self.value]
        return self.value

    def refusal(self, problem: str, remedy: str = "") -> FileFormatError:
        """Return the error that names this line.

        Args:
          problem: Requirement and given value; a full stop at its end is dropped.
          remedy: The way out; a full stop at its end is dropped.
        """
        return FileFormatError(
            self.path, self.line, problem.removesuffix("."), remedy.removesuffix(".")
        )

    def members(
        self, what: str, known: Iterable[str] | None = None, needed: Iterable[str] = ()
    ) -> Mapping[str, "Node"]:
        """Return the members of a mapping; nothing is an empty one.

        Args:
          what: Content of the mapping, such as "a task".
          known: Names that it may have; None for any.
          needed: Names that it must have.

        Raises:
          FileFormatError: It is not a mapping, has a member that is not known, or lacks one.
        """
        value = {} if self.value is None else self.value
        if not isinstance(value, Mapping):
            raise self.refusal(f"{what} must be a mapping of names to values; got {self.kind}")
        if known is not None:
            names = list(known)
            for name, node in value.items():
                if name not in names:
                    hint = str(unknown_name("key", name, names)).partition(". ")[2]
                    raise node.refusal(
                        f"{what} may have the keys {', '.join(names)}; got {name!r}", hint
                    )
        for name in needed:
            if name not in value:
                raise self.refusal(f"{what} must have {name!r}")
        return value

    def items(self, what: str, most: int | None = None) -> tuple["Node", ...]:
        """Return the entries of a list.

        Args:
          what: Content of the list, such as "`tasks`".
          most: Entries that it may have at most; any number where None.

        Raises:
          FileFormatError: It is no list, or too long.
        """
        if not isinstance(self.value, tuple):
            raise self.refusal(f"{what} must be a list; got {self.kind}")
        if most is not None and len(self.value) > most:
            raise self.refusal(f"{what} must have at most {most} entries; got {len(self.value)}")
        return self.value

    def typed(self, kind: type[T], what: str) -> T:
        """Return the value as the type that its format declares; nothing is coerced.

        A format is a `msgspec.Struct` or a frozen dataclass, with limits in `Annotated` and
        `msgspec.Meta`. Members that it does not declare are refused.

        Args:
          kind: Type of the value.
          what: Content of the value, such as "a task graph".

        Raises:
          FileFormatError: A member is missing, unknown or has another type; it names the line.

        Example:
          >>> from typing import Annotated
          >>> import msgspec
          >>> class Cache(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
          ...     ways: Annotated[int, msgspec.Meta(ge=1, le=64)]
          ...     policy: str = "lru"
          >>> read_value("{ways: 8}", "--cache").typed(Cache, "a cache")
          Cache(ways=8, policy='lru')
        """
        import msgspec

        try:
            return msgspec.convert(self.plain(), kind)
        except msgspec.ValidationError as error:
            problem, _, place = str(error).partition(" - at `$")
            node, member = self._at(place.removesuffix("`"))
            subject = f"`{member}`" if member else what
            if problem.startswith("Expected "):
                wanted = problem.removeprefix("Expected ").partition(", got ")[0]
                raise node.refusal(f"{subject} must be {wanted}; got {node.kind}") from None
            raise node.refusal(f"{subject}: {problem[:1].lower()}{problem[1:]}") from None

    def _at(self, place: str) -> "tuple[Node, str]":
        """Return the node at a place such as ``.tasks[3].name``, and the name of the member."""
        node, member = self, ""
        for name, number in _PLACE.findall(place):
            value = node.value
            if name and isinstance(value, Mapping) and name in value:
                node, member = value[name], name
            elif number and isinstance(value, tuple):
                node = value[int(number)]
            else:
                # A member of a mapping of any names; the place does not say which.
                break
        return node, member

    def text(self, what: str) -> str:
        """Return a text that is not empty; numbers count as Python writes them.

        Of what cannot be printed it may hold blanks and ends of lines alone: texts become names,
        paths and messages.

        Raises:
          FileFormatError: It is something else.
        """
        if isinstance(self.value, str) and self.value:
            if all(letter.isprintable() or letter.isspace() for letter in self.value):
                return self.value
            raise self.refusal(f"{what} must hold no control characters; got {self.kind}")
        if isinstance(self.value, int | float) and not isinstance(self.value, bool):
            return str(self.value)
        raise self.refusal(f"{what} must be a text; got {self.kind}")

    def choice(self, what: str, known: Collection[str]) -> str:
        """Return a text that is one of some.

        Raises:
          FileFormatError: It is something else.
        """
        text = self.text(what)
        if text not in known:
            raise self.refusal(f"{what} must be one of {', '.join(known)}; got {text[:40]!r}")
        return text

    def whole(self, what: str, low: int, high: int) -> int:
        """Return a whole number within limits.

        Raises:
          FileFormatError: It is something else.
        """
        value = whole(self.value) if isinstance(self.value, float) else self.value
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise self.refusal(f"{what} must be a whole number from {low} to {high}; got {self.kind}")

    def number(self, what: str, low: float, high: float) -> float:
        """Return a number within limits.

        Raises:
          FileFormatError: It is something else.
        """
        value = self.value
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and low <= value <= high:  # type: ignore[operator]  # a number here
            return float(value)  # type: ignore[arg-type]  # as above
        raise self.refusal(f"{what} must be a number from {low:g} to {high:g}; got {self.kind}")

    def flag(self, what: str) -> bool:
        """Return True or False, as the file has it.

        Raises:
          FileFormatError: It is something else.
        """
        if isinstance(self.value, bool):
            return self.value
        raise self.refusal(f"{what} must be true or false; got {self.kind}")


@final
@dataclass(frozen=True)
class Document:
    """A file's content."""

    path: Path
    root: Node

    def at(self, *names: str) -> Node:
        """Return the node at a path of names, or the last one on the way to it that there is."""
        node = self.root
        for name in names:
            if not isinstance(node.value, Mapping) or name not in node.value:
                break
            node = node.value[name]
        return node

    def refusal(self, error: Exception, *names: str) -> FileFormatError:
        """Return an error with the line number of the entry that caused it."""
        problem, _, remedy = str(error).partition(". ")
        if isinstance(error, UnknownNameError):
            problem = f"{problem[:1].lower()}{problem[1:]}"
        return self.at(*names).refusal(problem, remedy)


def read_document(path: str | Path, tags: Collection[str] = ()) -> Document:
    """Read a YAML file, or one of JSON.

    Only plain data is taken: one document, no anchors and aliases, no tags but those allowed, each
    name once in its mapping. Numbers, true, false and null are what they are in JSON, everything
    else is text.

    Args:
      path: The file.
      tags: Words that mappings and lists may be marked with; they stand in `Node.tag`, and nothing
        is made of them.

    Raises:
      FileFormatError: It holds something else; the error names the line.
      StorageError: It cannot be read.
    """
    path = Path(path)
    return Document(path, _parse(path, read_text(path), tags))


def read_text(path: Path) -> str:
    """Return the text of a file that is not large.

    Raises:
      FileFormatError: It is, or not UTF-8; the error names the line.
      StorageError: It cannot be read.
    """
    with storage_errors(path, "read"), open_file(path) as handle:
        content = handle.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise FileFormatError(path, None, f"the file must have at most {_MAX_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise FileFormatError(path, line, "the file must be UTF-8; it is not") from None


def read_json(path: Path) -> Any:
    """Return the content of a JSON file that is not large.

    Raises:
      FileFormatError: It is something else; the error names the line.
      StorageError: It cannot be read.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise FileFormatError(path, error.lineno, f"the file must be JSON: {error.msg}") from None
    except (RecursionError, ValueError) as error:
        raise FileFormatError(path, None, f"the file must be JSON: {error}") from None


def read_value(text: str, source: str) -> Node:
    """Return a value that stands in no file, written as in one.

    Args:
      text: Such as ``100`` or ``[0, 1]``.
      source: Place in which it was given, for errors.

    Raises:
      FileFormatError: It is not a plain value.
    """
    path = Path(source)
    if len(text) > _MAX_BYTES:
        raise FileFormatError(path, None, f"a value must have at most {_MAX_BYTES} bytes")
    try:
        return _without_lines(_parse(path, text, ()))
    except FileFormatError:
        raise FileFormatError(
            path,
            None,
            f"a value must be plain YAML, such as 100 or [0, 1]; got {text[:_MAX_ECHO]!r}",
        ) from None


def node_of(path: Path, value: Any, depth: int = 0) -> Node:
    """Return a node, without lines, of what JSON gives.

    Args:
      path: The file.
      value: Plain data.
      depth: Levels above the value.

    Raises:
      FileFormatError: It is nested too deep.
    """
    if depth > _MAX_DEPTH:
        raise FileFormatError(path, None, f"it must be nested at most {_MAX_DEPTH} deep")
    if isinstance(value, dict):
        value = {name: node_of(path, member, depth + 1) for name, member in value.items()}
    elif isinstance(value, list):
        value = tuple(node_of(path, member, depth + 1) for member in value)
    return Node(path, None, value)


def _without_lines(node: Node) -> Node:
    value = node.value
    if isinstance(value, Mapping):
        value = {name: _without_lines(member) for name, member in value.items()}
    elif isinstance(value, tuple):
        value = tuple(map(_without_lines, value))
    return Node(node.path, None, value)


def _parse(path: Path, text: str, tags: Collection[str]) -> Node:
    import yaml

    check = _EventFilter(path, tags)

    class PlainLoader(yaml.SafeLoader):
        def resolve(self, *_: object) -> str:
            # No tag: `_scalar` says what plain values are.
            return ""

        def get_event(self) -> Any:
            return check(super().get_event())  # type: ignore[no-untyped-call]

    try:
        root = PlainLoader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        problem = " ".join(str(error.problem or error.context).split())
        raise FileFormatError(path, line, f"the file must be YAML; {problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise FileFormatError(
            path, line, f"the file must be YAML; {error.reason}: {error.character!r}"
        ) from None
    return Node(path, 1, None) if root is None else _node(path, root)


@final
class _EventFilter:
    """Filter that refuses events that are not plain data, before a composer recurses."""

    def __init__(self, path: Path, tags: Collection[str]) -> None:
        self._path = path
        self._tags = tags
        self._depth = 0
        self._documents = 0

    def __call__(self, event: Any) -> Any:
        kind = type(event).__name__
        line = event.start_mark.line + 1
        if kind == "AliasEvent" or getattr(event, "anchor", None) is not None:
            raise _refusal(self._path, line, "anchors (&) and aliases (*)", "Write the value out")
        tag = getattr(event, "tag", None)
        if tag is not None and (kind == "ScalarEvent" or tag not in self._tags):
            names = ", ".join(sorted(self._tags))
            remedy = f"There may be {names}" if names else "Write plain values"
            raise _refusal(self._path, line, f"the tag {tag!r}", remedy)
        self._documents += kind == "DocumentStartEvent"
        if self._documents > 1:
            raise _refusal(self._path, line, "a second document", "Remove what follows `---`")
        self._depth += kind in ("MappingStartEvent", "SequenceStartEvent")
        self._depth -= kind in ("MappingEndEvent", "SequenceEndEvent")
        if self._depth > _MAX_DEPTH:
            raise _refusal(self._path, line, f"more than {_MAX_DEPTH} levels")
        return event


def _node(path: Path, node: Any, line: int | None = None) -> Node:
    """Return our node for one of PyYAML, on its own line or on that of its key."""
    line = line or node.start_mark.line + 1
    if node.id == "scalar":
        return Node(path, line, node.value if node.style is not None else _scalar(node.value))
    if node.id == "sequence":
        return Node(path, line, tuple(_node(path, item) for item in node.value), node.tag)
    members: dict[str, Node] = {}
    for key, value in node.value:
        key_line = key.start_mark.line + 1
        if key.id != "scalar":
            raise _refusal(path, key_line, "a key that is not a text")
        if key.value in members:
            first = members[key.value].line
            raise FileFormatError(
                path,
                key_line,
                f"each key must come once in its mapping; {key.value!r} stands in line {first} too",
                "Remove one of them",
            )
        members[key.value] = _node(path, value, key_line)
    return Node(path, line, members, node.tag)


def _refusal(path: Path, line: int, what: str, remedy: str = "") -> FileFormatError:
    return FileFormatError(path, line, f"the file must hold plain data; it has {what}", remedy)


def _scalar(text: str) -> Scalar:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text) and len(text) <= _MAX_DIGITS:
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


@final
class Problems:
    """Errors of one file in the order of finding, collected so that a reader sees all at once."""

    def __init__(self, path: Path) -> None:
        """Begin without any."""
        self._path = path
        self._found: list[FileFormatError] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keep an error of the block instead of raising it."""
        try:
            yield
        except FileFormatError as error:
            self._found.append(error)

    def raise_any(self) -> None:
        """Raise the error that was found, or one that lists all of them, a line each.

        Raises:
          FileFormatError: There is one.
        """
        if not self._found:
            return
        unique = list({str(error): error for error in self._found}.values())
        if len(unique) == 1:
            raise unique[0]
        lines = "\n".join(f"  {error}" for error in unique[:_SHOWN])
        more = f"\n  and {len(unique) - _SHOWN} more" if len(unique) > _SHOWN else ""
        raise FileFormatError(
            self._path, None, f"has {len(unique)} errors:\n{lines}{more}".removesuffix(".")
        )
