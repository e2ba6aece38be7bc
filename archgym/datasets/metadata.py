"""The metadata of a dataset: its name, license, tasks, studies, declarations and split."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, final

from archgym.checks import check_line
from archgym.datasets.columns import is_listed
from archgym.errors import ArchGymError, FileFormatError
from archgym.evaluation.specification import Declaration

__all__ = ["FORMAT", "About", "Model", "model_of", "task_model", "task_workloads"]

FORMAT = "archgym-dataset"
_FORMAT_VERSION = 1
# chosen: as for one space, see `DesignSpace.from_json`; spaces of one simulator are alike.
_MAX_LISTED = 2**22

Model = tuple[int, str, str, str]
"""Version, options as JSON, fidelity and space name: with the workload, what decides metrics."""

_TASK = {"id": str, "digest": str, "simulator": str, "version": int, "options": dict}
_TASK |= {"fidelity": str, "space_name": str, "workloads": list}
_WORKLOAD = {"name": str, "source": str, "digest": str}
_STUDY = {"folder": str, "id": str, "task_digest": str}


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
        """Declarations by what rows are found by."""
        return {
            model_of(d.version, d.options, d.fidelity, d.space_name): d for d in self.declarations
        }

    @cached_property
    def task_by_digest(self) -> dict[str, Mapping[str, Any]]:
        """Tasks by what rows cite them by."""
        return {str(task["digest"]): task for task in self.tasks}

    def declaration_of(self, task: Mapping[str, Any]) -> Declaration:
        """Return the declaration of one of the tasks' simulator."""
        return self.by_model[task_model(task)]

    def with_split(self, split: Mapping[str, Any] | None) -> "About":
        """Return the same rows in other parts."""
        return replace(self, split=split)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON; `from_json` reads it."""
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
        """Return what `to_json` gave, read from a file's metadata.

        Raises:
          FileFormatError: It is something else.
        """
        try:
            data = json.loads(content)
            if data["format"] != FORMAT or data["format_version"] != _FORMAT_VERSION:
                raise ValueError(f"its format is {data['format']!r} {data['format_version']!r}")
            about = cls(
                check_line("name", data["name"]),
                check_line("license", data["license"]),
                tuple(_task(task) for task in data["tasks"]),
                _declarations(data["declarations"]),
                tuple(_members(study, _STUDY) for study in data["studies"]),
                None if data["split"] is None else _members(data["split"], {"by": str}),
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


def _members(data: Any, kinds: Mapping[str, type]) -> Mapping[str, Any]:
    for name, kind in kinds.items():
        if type(data[name]) is not kind:
            raise TypeError(f"`{name}` must be {kind.__name__}; got {type(data[name]).__name__}")
    members: Mapping[str, Any] = data
    return members


def _task(data: Any) -> Mapping[str, Any]:
    task = _members(data, _TASK)
    workloads = [_members(workload, _WORKLOAD) for workload in task["workloads"]]
    if not workloads or len({_label(workload) for workload in workloads}) != len(workloads):
        raise ValueError("a task must have workloads that differ")
    return task
