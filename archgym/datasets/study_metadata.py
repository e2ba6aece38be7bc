"""The metadata of a dataset that is made of studies."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from archgym.datasets.metadata import About, Model, task_model, task_workloads
from archgym.declaration import Declaration, WorkloadFacts
from archgym.discovery import simulator_class
from archgym.errors import ArchGymError, InvalidArgumentError
from archgym.header import Header
from archgym.limits import check_line
from archgym.metrics import MetricSpec
from archgym.objective import objective_from_json
from archgym.simulator import Simulator, make_simulator
from archgym.space import DesignSpace

__all__ = ["about_studies"]

_NO_LICENSE = "unknown"


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
        of_model.setdefault(task_model(task), []).append(task)
    return About(
        f"{simulators[0]}-evaluations" if name is None else check_line("name", name),
        _NO_LICENSE if license is None else check_line("license", license),
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
