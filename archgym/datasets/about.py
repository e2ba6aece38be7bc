"""What a dataset says of itself: tasks, studies, declarations, splits."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, final

from archgym.datasets.columns import is_listed
from archgym.declaration import Declaration, WorkloadFacts
from archgym.discovery import simulator_class
from archgym.errors import ArchGymError, FileFormatError, InvalidArgumentError
from archgym.header import Header
from archgym.metrics import MetricSpec
from archgym.objective import objective_from_json
from archgym.simulator import Simulator, make_simulator
from archgym.space import DesignSpace

__all__ = ["FORMAT", "About", "Model", "about_studies", "model_of", "task_workloads"]

FORMAT = "archgym-dataset"
_FORMAT_VERSION = 1
_NO_LICENSE = "unknown"
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
    """As `Task.to_json` wrote them, by digest each once."""
    declarations: tuple[Declaration, ...]
    """Of the one simulator, one for each of its versions, options, fidelities and spaces."""
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
        """What the simulator of one of the tasks declares."""
        return self.by_model[_task_model(task)]

    def with_split(self, split: Mapping[str, Any] | None) -> "About":
        """The same rows in other parts."""
        return replace(self, split=split)

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON; `from_json` reads it."""
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
        """What `to_json` gave, read from a file's metadata.

        Raises:
          FileFormatError: It is something else.
        """
        try:
            data = json.loads(content)
            if data["format"] != FORMAT or data["format_version"] != _FORMAT_VERSION:
                raise ValueError(f"its format is {data['format']!r} {data['format_version']!r}")
            about = cls(
                _text(data["name"]),
                _text(data["license"]),
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
    """What rows of one declaration have in common."""
    return version, json.dumps(dict(options), sort_keys=True), fidelity, space_name


def task_workloads(task: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and digest of a task's workloads; a file's label has its digest's beginning."""
    return [(_label(w), str(w["digest"])) for w in task["workloads"]]


def _label(workload: Mapping[str, Any]) -> str:
    name, is_file = str(workload["name"]), workload["source"] != workload["name"]
    return f"{name}@{str(workload['digest'])[:8]}" if is_file else name


def _task_model(task: Mapping[str, Any]) -> Model:
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


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text was expected; got {value!r}")
    return value


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


# ---- from studies


def about_studies(
    headers: Sequence[Header], name: str | None, license: str | None, split: Any = None
) -> About:
    """What a dataset of these studies says of itself.

    Raises:
      InvalidArgumentError: They are of several simulators, or spaces that share a name differ.
    """
    tasks = {str(header.task["digest"]): header.task for header in headers}
    simulators = sorted({str(task["simulator"]) for task in tasks.values()})
    if len(simulators) > 1:
        raise InvalidArgumentError(
            f"A dataset must be of one simulator; these studies are of {', '.join(simulators)}. "
            "Build one for each."
        )
    of_model: dict[Model, list[Mapping[str, Any]]] = {}
    for task in tasks.values():
        of_model.setdefault(_task_model(task), []).append(task)
    return About(
        name or f"{simulators[0]}-evaluations",
        license or _NO_LICENSE,
        tuple(tasks.values()),
        tuple(_declaration(group) for group in of_model.values()),
        tuple(_study(header, place) for header in headers for place in range(len(header.segments))),
        split,
    )


def _study(header: Header, place: int) -> dict[str, Any]:
    segment = header.segments[place]
    return {
        "folder": segment.folder,
        "id": segment.study,
        "agent": segment.agent,
        "seed": segment.seed,
        "hyperparameters": dict(segment.hyperparameters),
        "task_digest": header.task["digest"],
        "versions": dict(header.versions),
        "platform": header.platform,
        "created": header.created,
    }


def _declaration(tasks: Sequence[Mapping[str, Any]]) -> Declaration:
    """The simulator's declaration, or what tasks tell of it where it is not there."""
    first = tasks[0]
    space = DesignSpace.from_json(first["space"])
    told = _told(tasks, space)
    workloads: dict[str, WorkloadFacts] = {}
    for task in tasks:
        other = _told([task], DesignSpace.from_json(task["space"]))
        difference = told.difference(other)
        if difference is not None:
            raise InvalidArgumentError(
                f"Tasks of one simulator, version, fidelity and space must declare the same; "
                f"{first['id']!r} and {task['id']!r} have another `{difference}`. Build them apart."
            )
        for workload in other.workloads:
            known = workloads.setdefault(workload.name, workload)
            if known.digest != workload.digest:
                raise InvalidArgumentError(
                    f"A workload's name must stand for one content; {workload.name!r} has two in "
                    f"these studies. Build them apart."
                )
    told = replace(told, workloads=tuple(workloads.values()))
    return _completed(told)


def _told(tasks: Sequence[Mapping[str, Any]], space: DesignSpace) -> Declaration:
    first = tasks[0]
    objectives = {o.name: o for o in (objective_from_json(task["objective"]) for task in tasks)}
    n_model = len(first["reasons"]) - len(space.constraints)
    sources = {label: w for task in tasks for (label, _), w in _labelled(task)}
    return Declaration(
        simulator=str(first["simulator"]),
        version=int(first["version"]),
        options={str(name): str(value) for name, value in first["options"].items()},
        fidelity=str(first["fidelity"]),
        default_fidelity=str(first["fidelity"]),
        space_name=str(first["space_name"]),
        space=space,
        metrics=tuple(MetricSpec(**spec) for spec in first["metrics"]),
        model_reasons=tuple(str(reason) for reason in first["reasons"][1:n_model]),
        objectives=objectives,
        default_objective=next(iter(objectives)),
        default_workload=next(iter(sources)),
        groups={},
        workloads=tuple(
            WorkloadFacts(label, str(w["digest"]), {}, "" if w["source"] == label else w["source"])
            for label, w in sources.items()
        ),
    )


def _labelled(task: Mapping[str, Any]) -> list[tuple[tuple[str, str], Mapping[str, Any]]]:
    return list(zip(task_workloads(task), task["workloads"], strict=True))


def _completed(told: Declaration) -> Declaration:
    """With all that the simulator says beyond what its tasks do, where it is the same one."""
    try:
        kind = simulator_class(told.simulator)
        simulator = make_simulator(kind, told.space_name, told.fidelity, told.options)
        said = Declaration.of(simulator, told.space_name, {})
    except ArchGymError:
        return told
    if said.difference(told) is not None:
        return told
    workloads = tuple(_described(simulator, workload) for workload in told.workloads)
    objectives = {**said.objectives, **told.objectives}
    return replace(said, workloads=workloads, objectives=objectives)


def _described(simulator: Simulator, facts: WorkloadFacts) -> WorkloadFacts:
    try:
        workload = simulator.workload(facts.source or facts.name)
        if workload.digest == facts.digest:
            return replace(facts, facts=dict(simulator.describe_workload(workload)))
    except ArchGymError:
        pass
    return facts
