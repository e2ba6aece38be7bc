"""What a simulator declares without its code: names, numbers, space, metrics, workloads."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from archgym.errors import ArchGymError, InvalidArgumentError
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, objective_from_json
from archgym.evaluation.simulator import Simulator, Workload
from archgym.spaces.space import DesignSpace

__all__ = ["Declaration", "WorkloadFacts"]


@final
@dataclass(frozen=True)
class WorkloadFacts:
    """A workload without its content: what it is called, and what characterises it.

    `facts` is what `Simulator.describe_workload` says, name to (value, unit); `source` is the name
    or path that a task has it by, empty where that is its name.
    """

    name: str
    digest: str
    facts: Mapping[str, tuple[float | str, str]] = field(default_factory=dict)
    source: str = ""

    @property
    def names(self) -> tuple[str, str]:
        """What it may be called by: its source first."""
        return self.source or self.name, self.name

    def to_json(self) -> dict[str, Any]:
        """Return the workload as JSON."""
        facts = {name: list(fact) for name, fact in self.facts.items()}
        data: dict[str, Any] = {"name": self.name, "digest": self.digest, "facts": facts}
        return data | ({"source": self.source} if self.source else {})


@final
@dataclass(frozen=True)
class Declaration:
    """All that a simulator of one space, fidelity and set of options says of itself.

    A file that answers in a simulator's place carries it, so that tasks can be made without the
    simulator. `default_workload` is one of `workloads` only where that was declared.
    """

    simulator: str
    version: int
    options: Mapping[str, str]
    fidelity: str
    default_fidelity: str
    space_name: str
    space: DesignSpace
    metrics: tuple[MetricSpec, ...]
    model_reasons: tuple[str, ...]
    objectives: Mapping[str, Objective]
    default_objective: str
    default_workload: str
    groups: Mapping[str, tuple[str, ...]]
    workloads: tuple[WorkloadFacts, ...]

    @classmethod
    def of(
        cls, simulator: Simulator, space_name: str, workloads: Mapping[str, Workload]
    ) -> "Declaration":
        """What a simulator declares.

        Args:
          simulator: Which.
          space_name: The name that its space is asked for by.
          workloads: By the name or path they came by.
        """
        return cls(
            simulator.name,
            simulator.version,
            dict(simulator.options),
            simulator.fidelity,
            simulator.default_fidelity,
            space_name,
            simulator.space,
            simulator.metrics,
            tuple(simulator.model_reasons),
            dict(simulator.objectives),
            simulator.default_objective,
            simulator.default_workload,
            dict(simulator.groups),
            tuple(
                WorkloadFacts(
                    workload.name,
                    workload.digest,
                    dict(simulator.describe_workload(workload)),
                    "" if source == workload.name else source,
                )
                for source, workload in workloads.items()
            ),
        )

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why a design was not built, by number; entry 0 is empty."""
        return ("", *self.model_reasons, *(c.reason for c in self.space.constraints))

    def identity(self) -> dict[str, Any]:
        """What decides a simulator's numbers, beside the workload."""
        return {
            "simulator": self.simulator,
            "version": self.version,
            "options": dict(sorted(self.options.items())),
            "fidelity": self.fidelity,
            "space": self.space.digest,
            "metrics": [
                [m.name, m.unit, m.goal, m.resolution] for m in self.metrics if m.identifies
            ],
            "reasons": list(self.reasons),
        }

    def difference(self, other: "Declaration") -> str | None:
        """Which part of `identity` another declaration has otherwise; None where none."""
        mine, theirs = self.identity(), other.identity()
        return next((name for name, part in mine.items() if part != theirs[name]), None)

    def to_json(self) -> dict[str, Any]:
        """Return the declaration as JSON; `from_json` reads it."""
        return {
            "simulator": self.simulator,
            "version": self.version,
            "options": dict(self.options),
            "fidelity": self.fidelity,
            "default_fidelity": self.default_fidelity,
            "space_name": self.space_name,
            "space": self.space.to_json(),
            "metrics": [spec.to_json() for spec in self.metrics],
            "model_reasons": list(self.model_reasons),
            "objectives": [objective.to_json() for objective in self.objectives.values()],
            "default_objective": self.default_objective,
            "default_workload": self.default_workload,
            "groups": {name: list(members) for name, members in self.groups.items()},
            "workloads": [workload.to_json() for workload in self.workloads],
        }

    @classmethod
    def from_json(cls, data: Any) -> "Declaration":
        """Return declaration from what `to_json` gave, of whatever origin.

        Raises:
          InvalidArgumentError: `data` is no such object.
        """
        try:
            declaration = _read(data)
            _check(declaration)
        # Whatever a file holds in the place of a declaration comes here.
        except (ArchGymError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidArgumentError(
                f"A declaration must be what `Declaration.to_json` wrote; "
                f"{type(error).__name__}: {error}"
            ) from None
        return declaration


def _read(data: Any) -> Declaration:
    objectives = [objective_from_json(objective) for objective in data["objectives"]]
    return Declaration(
        _text(data["simulator"]),
        _count(data["version"]),
        {_text(name): _text(value) for name, value in data["options"].items()},
        _text(data["fidelity"]),
        _text(data["default_fidelity"]),
        _text(data["space_name"]),
        DesignSpace.from_json(data["space"]),
        tuple(_metric(spec) for spec in data["metrics"]),
        tuple(_text(reason) for reason in data["model_reasons"]),
        {objective.name: objective for objective in objectives},
        _text(data["default_objective"]),
        _text(data["default_workload"]),
        {_text(n): tuple(_text(m) for m in members) for n, members in data["groups"].items()},
        tuple(_workload(workload) for workload in data["workloads"]),
    )


def _metric(data: Any) -> MetricSpec:
    spec = MetricSpec.from_json(data)
    _text(spec.name), _text(spec.unit), _text(spec.doc)
    return spec


def _workload(data: Any) -> WorkloadFacts:
    facts = {_text(name): _fact(fact) for name, fact in data["facts"].items()}
    return WorkloadFacts(
        _text(data["name"]), _text(data["digest"]), facts, _text(data.get("source", ""))
    )


def _fact(data: Any) -> tuple[float | str, str]:
    value, unit = data
    if not isinstance(value, str) and (
        isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)
    ):
        raise ValueError(f"a fact must be text or a finite number; got {value!r}")
    return value, _text(unit)


def _check(declaration: Declaration) -> None:
    names = [spec.name for spec in declaration.metrics]
    known = [workload.name for workload in declaration.workloads]
    for what, holds in (
        ("metrics with names that differ", names and len(set(names)) == len(names)),
        ("workloads with names that differ", known and len(set(known)) == len(known)),
        ("a default objective among them", declaration.default_objective in declaration.objectives),
        (
            "objectives on metrics there are",
            all(t.metric in names for o in declaration.objectives.values() for t in o.terms),
        ),
        (
            "groups of parameters there are",
            all(set(g) <= set(declaration.space.names) for g in declaration.groups.values()),
        ),
    ):
        if not holds:
            raise ValueError(f"it needs {what}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text was expected; got {value!r}")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"a whole number of 0 or more was expected; got {value!r}")
    return value
