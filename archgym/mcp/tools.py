"""Tools of the server: declared inputs, and one function for each over a `Workspace`.

This module knows nothing of the protocol, so that every tool can be called from Python:

    from archgym.mcp.tools import Toolbox
    from archgym.mcp.workspace import Workspace

    toolbox = Toolbox(Workspace("work"))
    toolbox.call("create_study", {"study": "first", "simulator": "dram", "budget": 20})
    toolbox.call("evaluate", {"study": "first", "designs": [{"page_policy": "Closed"}]})
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import msgspec

from archgym.errors import ArchGymError, InvalidArgumentError, error_text, unknown_name
from archgym.files.json_types import plain
from archgym.mcp import catalogue, evaluation, reading, rules
from archgym.mcp.workspace import Workspace

MAX_OUTPUT_BYTES = 32_000
"""chosen: about 10,000 tokens; a longer result is kept as a resource, and its place returned."""
# chosen: results that are kept; the oldest is dropped.
_MAX_KEPT = 64
# chosen: inputs of a call; 256 designs of 100 parameters fit.
_MAX_INPUT_BYTES = 1_000_000
# chosen: the longest error of a check is a third of it.
_MAX_ERROR_LENGTH = 2000
# chosen: twelve digits distinguish all designs, and keep results short.
_DIGITS = 12

TOOLS: tuple[tuple[type[msgspec.Struct], Callable[..., Any], bool], ...] = (
    *catalogue.TOOLS,
    *evaluation.TOOLS,
    *reading.TOOLS,
    *catalogue.BENCH_TOOLS,
    *rules.TOOLS,
)


@final
@dataclass(frozen=True)
class Tool:
    """A tool: its name, its description for the model, and the schema of its input."""

    name: str
    description: str
    schema: Mapping[str, Any]
    is_read_only: bool


@final
@dataclass(frozen=True)
class Answer:
    """Result of a call: a JSON object, or an error in one line."""

    content: Mapping[str, Any]
    error: str | None = None
    resource: str | None = None
    """Address of the whole result, where it is too long to be returned."""

    @property
    def text(self) -> str:
        """The content as compact JSON, or the error."""
        if self.error is not None:
            return f"error: {self.error}"
        return _json(self.content)


@final
class Toolbox:
    """All tools over one working folder.

    Calls are taken one after the other, so that a budget cannot be overrun by calls at the same
    time.
    """

    def __init__(self, workspace: Workspace) -> None:
        """Take the working folder."""
        self.workspace = workspace
        self._inputs = {_name(kind): (kind, run) for kind, run, _ in TOOLS}
        self._turn = threading.Lock()
        self._kept: dict[str, str] = {}
        self._n_kept = 0

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Tools, in the order in which a search uses them."""
        return tuple(
            Tool(_name(kind), " ".join((kind.__doc__ or "").split()), _schema(kind), is_read_only)
            for kind, _, is_read_only in TOOLS
        )

    def call(self, name: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        """Return the result of a tool; an error is a result, too.

        Args:
          name: Name of the tool.
          arguments: Its input, as JSON types.
        """
        try:
            with self._turn:
                return self._answer(self._run(name, arguments or {}))
        except ArchGymError as error:
            return Answer({}, self._line(error))
        except (Exception, RecursionError) as error:
            # Code of a simulator, an agent or a library may raise anything; the server stays up.
            return Answer({}, f"{type(error).__name__}: {self._line(error)}")

    def resource(self, address: str) -> str:
        """Return the text of a resource as JSON or Markdown.

        Raises:
          ArchGymError: The address leads nowhere.
        """
        if address in self._kept:
            return self._kept[address]
        if address == reading.GUIDE:
            return reading.guide()
        scheme, _, rest = address.partition("://")
        kind, _, path = rest.partition("/")
        if scheme == "archgym" and kind == "simulators" and path:
            return _json(self._run("describe_simulator", {"simulator": path}))
        if scheme == "archgym" and kind == "studies" and path.count("/") == 1:
            name, _, view = path.partition("/")
            if view in ("best", "front", "history"):
                return _json(self._run(view, {"study": name}))
        raise unknown_name("resource", address[:200], [reading.GUIDE, *self._kept])

    def _run(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if name not in self._inputs:
            raise unknown_name("tool", name[:80], self._inputs)
        kind, run = self._inputs[name]
        try:
            size = len(json.dumps(arguments, allow_nan=False))
            if size > _MAX_INPUT_BYTES:
                raise InvalidArgumentError(
                    f"Arguments of `{name}` must be below {_MAX_INPUT_BYTES} bytes; got {size}."
                )
            given = msgspec.convert(arguments, kind)
        except (msgspec.ValidationError, ValueError, TypeError, RecursionError) as error:
            if isinstance(error, ArchGymError):
                raise
            raise InvalidArgumentError(f"Arguments of `{name}`: {error}.") from None
        found: Mapping[str, Any] = run(self.workspace, given)
        return found

    def _line(self, error: BaseException) -> str:
        text = " ".join(error_text(error).split()) or type(error).__name__
        text = text.replace(f"{self.workspace.root}{os.sep}", "")
        return text if len(text) <= _MAX_ERROR_LENGTH else text[:_MAX_ERROR_LENGTH] + " … (cut off)"

    def _answer(self, content: Mapping[str, Any]) -> Answer:
        found: dict[str, Any] = plain(content, _DIGITS)
        text = _json(found)
        if len(text) <= MAX_OUTPUT_BYTES:
            return Answer(found)
        self._n_kept += 1
        address = f"archgym://results/{self._n_kept}"
        while len(self._kept) >= _MAX_KEPT:
            self._kept.pop(next(iter(self._kept)))
        self._kept[address] = text
        short = {key: value for key, value in found.items() if len(_json({key: value})) <= 2000}
        note = (
            f"The result has {len(text)} bytes, above {MAX_OUTPUT_BYTES}. Read the resource for "
            "all of it, or ask for less."
        )
        omitted = [key for key in found if key not in short]
        return Answer(
            {**short, "omitted": omitted, "note": note, "resource": address}, None, address
        )


def _name(kind: type[msgspec.Struct]) -> str:
    """Return the name of a tool: that of its input in snake case."""
    text = "".join(f"_{c.lower()}" if c.isupper() else c for c in kind.__name__)
    return text.strip("_")


def _schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON schema of an input, with its references resolved at the top."""
    (schema,), parts = msgspec.json.schema_components([kind])
    whole: dict[str, Any] = dict(parts[schema["$ref"].rpartition("/")[2]])
    others = {key: part for key, part in parts.items() if part is not parts[kind.__name__]}
    for key in ("title", "description"):
        whole.pop(key, None)
    if others:
        whole["$defs"] = others
    return whole


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(plain(content, _DIGITS), separators=(",", ":"), allow_nan=False)
