"""Conversations of an agent with the server: recorded line by line, and replayed call by call.

A recording has a line for each start of the server, and one for each call with its answer:

    {"format": 1, "version": "…", "budget": 50}
    {"call": "evaluate", "arguments": {"study": "a", "designs": [{}]}, "answer": {…}}

Answers follow from the calls before them, so whoever has the file can ask for them again. Nothing
that it claims needs to be trusted.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, final

import msgspec
import numpy as np

from archgym.bench.suite import bench_task
from archgym.bench.verification import Refusal, read_release
from archgym.errors import ArchGymError, FileFormatError, InvalidArgumentError
from archgym.files.storage import open_member, open_own, storage_errors
from archgym.mcp.tools import Answer, Toolbox
from archgym.mcp.workspace import Workspace
from archgym.version import __version__

CONVERSATION_NAME = "conversation.jsonl"
"""File of a recording in the server's working folder."""
FORMAT: Final = 1
"""Format of recordings, raised when a reader must change."""
RESOURCE: Final = "resource"
"""Name by which the reading of a resource is recorded, with the SHA-256 of its text."""
# chosen: a call has at most 1 MB of arguments and 32 kB of an answer; longer calls are refused.
_MAX_LINE: Final = 2**21
# chosen: longest part of an answer that a refusal quotes.
_MAX_QUOTE: Final = 120
# Studies that are not of the benchmark could be searched without being charged to it.
_OTHER_STUDIES: Final = ("create_study", "create_rule_study")


class _Start(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A start of the server."""

    format: int
    version: str
    budget: int | None


class _Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call with its answer."""

    call: str
    arguments: dict[str, Any]
    answer: dict[str, Any]


@final
class Recording:
    """File to which the calls of one server and their answers are appended.

    Example:
      >>> with TemporaryDirectory() as folder:
      ...     workspace = Workspace(folder)
      ...     toolbox = Toolbox(workspace, Recording(workspace).add)
      ...     _ = toolbox.call("list_studies")
      ...     workspace.close()
      ...     verify_conversation(folder).calls
      {'list_studies': 1}
    """

    def __init__(self, workspace: Workspace) -> None:
        """Begin the recording of a new working folder, or continue that of an earlier server.

        Raises:
          InvalidArgumentError: The folder has studies of which nothing is recorded.
          StorageError: The file cannot be written.
        """
        self._path = workspace.root / CONVERSATION_NAME
        if not os.path.lexists(self._path) and (workspace.names() or workspace.rule_names()):
            raise InvalidArgumentError(
                f"A recording begins in a folder without studies; {workspace.root} has some. Use "
                "another folder."
            )
        self._append(_Start(FORMAT, __version__, workspace.budget))

    def add(self, call: str, arguments: Mapping[str, Any], answer: Answer | str) -> None:
        """Append a call with its answer, or the reading of a resource with its text."""
        self._append(_Call(call, dict(arguments), _recorded(answer)))

    def _append(self, entry: _Start | _Call) -> None:
        try:
            line = json.dumps(msgspec.structs.asdict(entry), separators=(",", ":")).encode() + b"\n"
        except (TypeError, ValueError, RecursionError):
            # Arguments that are not JSON: the call was refused, and did nothing.
            return
        if len(line) > _MAX_LINE:
            return
        with storage_errors(self._path, "written"):
            descriptor = open_own(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            with os.fdopen(descriptor, "ab") as handle:
                handle.write(line)


def _recorded(answer: Answer | str) -> dict[str, Any]:
    if isinstance(answer, str):
        return {"sha256": hashlib.sha256(answer.encode()).hexdigest()}
    return dict(answer.content) if answer.error is None else {"error": answer.error}


@final
@dataclass(frozen=True)
class ReplayedStudy:
    """Result of a study that a conversation made, as the replay found it."""

    study: str
    task: str
    budget: int
    evaluations: int
    reward: float | None
    """Best reward; None where nothing feasible was evaluated."""
    worse: float | None
    """Share by which the best design is worse than the optimum, at most 1; None without a proof."""


@final
@dataclass(frozen=True)
class Conversation:
    """Result of a replay."""

    calls: Mapping[str, int]
    """Calls that were made again, by tool."""
    studies: tuple[ReplayedStudy, ...]
    """Studies; those of a refused conversation are not shown."""
    refusals: tuple[Refusal, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the result as data."""
        return {
            "calls": dict(self.calls),
            "studies": [vars(study) for study in self.studies],
            "refusals": [vars(refusal) for refusal in self.refusals],
        }


def verify_conversation(path: str | Path) -> Conversation:
    """Make all calls of a recording again in an empty folder, and compare their answers.

    The first answer that differs is refused, with its line and place. So are studies of tasks that
    are not in the frozen release, and a second study of one task.

    Args:
      path: The file, or the folder that holds it.

    Raises:
      FileFormatError: The file is not a recording.
      StorageError: It cannot be read.
    """
    path = Path(path)
    path = path / CONVERSATION_NAME if path.is_dir() else path
    calls: Counter[str] = Counter()
    tasks: dict[str, str] = {}
    with TemporaryDirectory() as folder:
        workspace = Workspace(folder)
        toolbox = Toolbox(workspace)
        version = __version__
        try:
            for number, entry in _entries(path):
                if isinstance(entry, _Start):
                    workspace.close()
                    workspace = Workspace(folder, budget=entry.budget)
                    toolbox, version = Toolbox(workspace), entry.version
                    continue
                calls[entry.call] += 1
                place = f"{path.name}, line {number}"
                if (problem := _foreign(entry, tasks)) is not None:
                    return Conversation(calls, (), (Refusal("plan", place, problem),))
                problem = _difference(entry.answer, _made_again(toolbox, entry), "answer")
                if problem is not None:
                    if version != __version__:
                        problem += f" It was recorded by ArchGym {version}; this is {__version__}."
                    return Conversation(calls, (), (Refusal("numbers", place, problem),))
            return Conversation(calls, tuple(_studies(workspace, tasks)), ())
        finally:
            workspace.close()


def _entries(path: Path) -> Iterator[tuple[int, _Start | _Call]]:
    with storage_errors(path, "read"), open_member(path) as handle:
        for number, line in enumerate(iter(lambda: handle.readline(_MAX_LINE + 1), b""), 1):
            try:
                data = json.loads(line)
                is_call = number > 1 and "call" in data
                entry: _Start | _Call = (
                    msgspec.convert(data, _Call) if is_call else msgspec.convert(data, _Start)
                )
            except (ValueError, TypeError, RecursionError, msgspec.ValidationError) as error:
                problem = f"the line must be of a recorded conversation: {error}"
                raise FileFormatError(path, number, problem) from None
            if isinstance(entry, _Start) and entry.format != FORMAT:
                problem = f"the recording must have format {FORMAT}; it has {entry.format}"
                remedy = f"Verify it with ArchGym {entry.version[:20]!r}"
                raise FileFormatError(path, number, problem, remedy)
            yield number, entry
        if not handle.tell():
            raise FileFormatError(path, 1, "the recording must not be empty")


def _foreign(entry: _Call, tasks: dict[str, str]) -> str | None:
    """Return why a study must not be made, or None; note the task of each study."""
    if "error" in entry.answer:
        return None
    if entry.call in _OTHER_STUDIES:
        return "all studies of a conversation must be made by `create_bench_study`."
    if entry.call == "create_bench_study":
        label = str(entry.arguments.get("task"))
        if label in tasks.values():
            return f"task {label!r} must have one study; this is its second."
        try:
            problem = read_release().problem(label, bench_task(label).plan.make().digest)
        except ArchGymError as error:
            return str(error)
        tasks[str(entry.arguments.get("study"))] = label
        return problem
    return None


def _made_again(toolbox: Toolbox, entry: _Call) -> dict[str, Any]:
    if entry.call != RESOURCE:
        return _recorded(toolbox.call(entry.call, entry.arguments))
    try:
        return _recorded(toolbox.resource(str(entry.arguments.get("address"))))
    except ArchGymError as error:
        return {"error": " ".join(str(error).split())}


def _difference(recorded: Any, own: Any, place: str) -> str | None:
    """Return the first difference between two values of JSON, with its place; None for none."""
    if isinstance(recorded, dict) and isinstance(own, dict) and recorded.keys() == own.keys():
        parts = [(f"{place}.{name}", recorded[name], own[name]) for name in own]
    elif isinstance(recorded, list) and isinstance(own, list) and len(recorded) == len(own):
        parts = [(f"{place}[{n}]", *pair) for n, pair in enumerate(zip(recorded, own, strict=True))]
    else:
        texts = [json.dumps(value, sort_keys=True) for value in (recorded, own)]
        if texts[0] == texts[1]:
            return None
        theirs, ours = (t if len(t) <= _MAX_QUOTE else f"{t[:_MAX_QUOTE]}…" for t in texts)
        return f"`{place}` is {ours}; recorded is {theirs}."
    found = (_difference(theirs, ours, name) for name, theirs, ours in parts)
    return next((each for each in found if each is not None), None)


def _studies(workspace: Workspace, tasks: Mapping[str, str]) -> Iterator[ReplayedStudy]:
    for study, label in tasks.items():
        log, best_known = workspace.log(study), bench_task(label).best
        best = log.best()
        worse = None
        if best_known is not None and best_known.is_proven:
            # As in reports: a design twice as bad counts as none.
            lost = 1.0 if best is None else min(best_known.reward - best.reward, 1.0)
            worse = float(np.clip(np.expm1(lost), 0.0, 1.0))
        reward = None if best is None else best.reward
        yield ReplayedStudy(study, label, log.header.budget or 0, log.evaluations, reward, worse)
