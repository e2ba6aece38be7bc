"""The metadata of a dataset: its name, license, tasks, studies, declarations and split."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, final

import msgspec

from archgym.checks import check_line
from archgym.datasets.columns import is_listed
from archgym.errors import ArchGymError, FileFormatError
from archgym.evaluation.specification import Declaration
from archgym.files.json_types import typed
from archgym.studies.metadata import TaskMembers

FORMAT = "archgym-dataset"
_FORMAT_VERSION = 1
# chosen: as for one space, see `DesignSpace.from_json`; spaces of one simulator are alike.
_MAX_LISTED = 2**22

Model = tuple[int, str, str, str]
"""Version, options as JSON, fidelity and space name: with the workload, what decides metrics."""


class _Study(msgspec.Struct):
    """Members of a study that readers rely on; there may be others."""

    folder: str
    id: str
    task_digest: str


class _Split(msgspec.Struct):
    """Members of a split that all kinds have."""

    by: str


class _Document(msgspec.Struct):
    """All of the metadata, whose tasks, studies and split are kept as they are."""

    name: str
    license: str
    declarations: list[Any]
    tasks: list[TaskMembers]
    studies: list[_Study]
    split: _Split | None


@final
@dataclass(frozen=True)
class About:
    """Everything but the rows."""

    name: str
    license: str
    tasks: tuple[Mapping[str, Any], ...]
    """Tasks as `Task.to_json` wrote them, each once, by digest."""
    declarations: tuple[Declaration, ...]
    """Declarations of the one simulator, by version, options, fidelity and space."""
    studies: tuple[Mapping[str, Any], ...]
    """One for each run of records by one agent or session."""
    split: Mapping[str, Any] | None = None

    @property
    def simulator(self) -> str:
        """The simulator's name."""
        return self.declarations[0].simulator

    @cached_property
    def by_model(self) -> dict[Model, Declaration]:
        """Declarations by the traits that identify them in rows."""
        return {
            model_of(d.version, d.options, d.fidelity, d.space_name): d for d in self.declarations
        }

    @cached_property
    def task_by_digest(self) -> dict[str, Mapping[str, Any]]:
        """Tasks by their digests."""
        return {str(task["digest"]): task for task in self.tasks}

    def declaration_of(self, task: Mapping[str, Any]) -> Declaration:
        """Return the declaration of one of the tasks' simulator."""
        return self.by_model[task_model(task)]

    def with_split(self, split: Mapping[str, Any] | None) -> "About":
        """Return this metadata with another split into parts, or with none."""
        return replace(self, split=split)

    def to_json(self) -> dict[str, Any]:
        """Return the metadata as JSON; `from_json` reads it."""
        return {
            "format": FORMAT,
            "format_version": _FORMAT_VERSION,
            "name": self.name,
            "license": self.license,
            "declarations": [declaration.to_json() for declaration in self.declarations],
            "tasks": [dict(task) for task in self.tasks],
            "studies": [dict(study) for study in self.studies],
            "split": self.split,
        }

    @classmethod
    def from_json(cls, path: Path, content: bytes) -> "About":
        """Return metadata from the JSON of `to_json`, as stored in a file.

        Raises:
          FileFormatError: It is something else.
        """
        try:
            data = json.loads(content)
            if data["format"] != FORMAT or data["format_version"] != _FORMAT_VERSION:
                raise ValueError(f"its format is {data['format']!r} {data['format_version']!r}")
            typed(data, _Document)
            about = cls(
                check_line("name", data["name"]),
                check_line("license", data["license"]),
                tuple(data["tasks"]),
                _declarations(data["declarations"]),
                tuple(data["studies"]),
                data["split"],
            )
            about._check()
        # Whatever a file holds in the place of a description comes here.
        except (
            ArchGymError,
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            RecursionError,
        ) as error:
            problem = " ".join(str(error).split()).removesuffix(".")
            raise FileFormatError(
                path,
                None,
                f"its metadata must be a dataset's; {type(error).__name__}: {problem[:300]}",
                "Build it again with `archgym dataset build`",
            ) from None
        return about

    def _check(self) -> None:
        models = [
            model_of(d.version, d.options, d.fidelity, d.space_name) for d in self.declarations
        ]
        if not models or len(set(models)) != len(models):
            raise ValueError("declarations must differ, and there must be one")
        if len({d.simulator for d in self.declarations}) > 1:
            raise ValueError("declarations must be of one simulator")
        if len(self.task_by_digest) != len(self.tasks):
            raise ValueError("each task must come once")
        for task in self.tasks:
            if len(dict(task_workloads(task))) != len(task["workloads"]):
                raise ValueError("a task must have workloads that differ")
            known = {(w.name, w.digest) for w in self.declaration_of(task).workloads}
            if not set(task_workloads(task)) <= known:
                raise ValueError("tasks must have workloads that are declared")


# ---- parts


def model_of(version: int, options: Mapping[str, str], fidelity: str, space_name: str) -> Model:
    """Return the part of a declaration that its rows share."""
    # A simulator may have given numbers as options; its declaration has them as text.
    texts = {str(name): str(value) for name, value in options.items()}
    return version, json.dumps(texts, sort_keys=True), fidelity, space_name


def task_workloads(task: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return label and digest of a task's workloads; a file's label has its digest's beginning."""
    return [(_label(w), str(w["digest"])) for w in task["workloads"]]


def _label(workload: Mapping[str, Any]) -> str:
    name, is_file = str(workload["name"]), workload["source"] != workload["name"]
    return f"{name}@{str(workload['digest'])[:8]}" if is_file else name


def task_model(task: Mapping[str, Any]) -> Model:
    """Return the part of a task that its rows share with those of its declaration."""
    return model_of(task["version"], task["options"], task["fidelity"], task["space_name"])


def _declarations(data: Sequence[Any]) -> tuple[Declaration, ...]:
    declarations: list[Declaration] = []
    listed = 0
    for part in data:
        declarations.append(Declaration.from_json(part))
        space = declarations[-1].space
        listed += sum(p.size for p in space.parameters if not is_listed(p))
        if listed > _MAX_LISTED:
            raise ValueError(f"its spaces must have at most {_MAX_LISTED} values together")
    return tuple(declarations)
