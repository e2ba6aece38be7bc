"""Tuned hyperparameters by task and agent, each with the sweep that found them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, final

from archgym.errors import UnknownNameError
from archgym.files.storage import write_atomic
from archgym.files.yaml_document import Document, read_document

_FOLDER = "tuned"
_HEADING = """\
# Hyperparameters that `archgym tune` found, by task and agent. `archgym search --tuned` uses those
# that ship with ArchGym, `--tuned-from FILE` those of another file. Rewards are best ones of a
# study, larger is better: the mean over the seeds, and the best of them.
"""


@final
@dataclass(frozen=True)
class TunedEntry:
    """The hyperparameters of an agent on a task, and how they were found."""

    task: str
    """The task's id."""
    agent: str
    hyperparameters: Mapping[str, Any]
    found_by: Mapping[str, Any]


def shipped_tuned() -> tuple[TunedEntry, ...]:
    """Return the entries that ship with ArchGym."""
    folder = files("archgym.agents").joinpath(_FOLDER)
    found: list[TunedEntry] = []
    if folder.is_dir():
        for resource in sorted(folder.iterdir(), key=lambda resource: resource.name):
            if resource.name.endswith(".yaml"):
                with as_file(resource) as path:
                    found += read_tuned(path)
    return tuple(found)


def read_tuned(path: str | Path) -> tuple[TunedEntry, ...]:
    """Return the entries of a file.

    Raises:
      FileFormatError: It is not what `write_tuned` wrote.
      StorageError: It cannot be read.
    """
    return tuple(_entries(read_document(path)))


def tuned_hyperparameters(
    task: str, agent: str, entries: Sequence[TunedEntry] | None = None
) -> Mapping[str, Any]:
    """Return the tuned hyperparameters of an agent on a task.

    Args:
      entries: Entries to search; None for those that ship with ArchGym.

    Raises:
      UnknownNameError: No tuned settings exist; the message lists the tasks that have some.
    """
    known = shipped_tuned() if entries is None else entries
    for entry in known:
        if entry.task == task and entry.agent == agent:
            return entry.hyperparameters
    on_task = sorted({entry.agent for entry in known if entry.task == task})
    of_agent = sorted({entry.task for entry in known if entry.agent == agent})
    if on_task:
        there = f"On this task there are some for {', '.join(on_task)}."
    elif of_agent:
        there = f"This agent has some on {', '.join(of_agent)}."
    elif known:
        pairs = sorted({f"{entry.agent} on {entry.task}" for entry in known})
        there = f"There are some for {', '.join(pairs[:10])}."
    else:
        there = "No tuned settings exist."
    raise UnknownNameError(
        f"Tuned hyperparameters of agent {agent!r} on {task} do not exist. {there} Find some "
        "with `archgym tune`, or use the defaults."
    )


def write_tuned(path: str | Path, entry: TunedEntry) -> None:
    """Add an entry to a file, in place of an older one for the same task and agent.

    Raises:
      FileFormatError: The file exists and is not what this function wrote.
      StorageError: It cannot be written; it is as it was.
    """
    path = Path(path)
    known = list(read_tuned(path)) if path.exists() else []
    kept = [e for e in known if (e.task, e.agent) != (entry.task, entry.agent)]
    by_task: dict[str, list[TunedEntry]] = {}
    for each in sorted([*kept, entry], key=lambda e: (e.task, e.agent)):
        by_task.setdefault(each.task, []).append(each)
    lines = [_HEADING]
    for task, entries in by_task.items():
        lines.append(f"{_text(task)}:\n")
        for each in entries:
            lines.append(f"  {_text(each.agent)}:\n")
            for part, values in (
                ("hyperparameters", each.hyperparameters),
                ("found_by", each.found_by),
            ):
                lines.append(f"    {part}:\n" if values else f"    {part}: {{}}\n")
                lines += [f"      {_text(n)}: {_text(value)}\n" for n, value in values.items()]
    write_atomic(path, "".join(lines))


def _text(value: Any) -> str:
    # JSON is YAML whose kinds of values cannot be mistaken.
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _entries(document: Document) -> Iterator[TunedEntry]:
    for task, agents in document.root.members("a file of tuned hyperparameters").items():
        for agent, node in agents.members("a task").items():
            parts = node.members("an agent", ("hyperparameters", "found_by"))
            if "hyperparameters" not in parts:
                raise node.refusal("an agent must have `hyperparameters`; it has none")
            chosen = parts["hyperparameters"].members("`hyperparameters`")
            found_by = document.at(task, agent, "found_by")
            yield TunedEntry(
                task,
                agent,
                {name: value.plain() for name, value in chosen.items()},
                found_by.plain() if "found_by" in parts else {},
            )
