"""Declaration of a simulator without its code: names, space, metrics and workloads."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import msgspec

from archgym.errors import ArchGymError, InvalidArgumentError, error_text
from archgym.evaluation.capabilities import facts_about
from archgym.evaluation.metrics import Goal, MetricSpec
from archgym.evaluation.objective import Objective, objective_from_json
from archgym.evaluation.simulator import Simulator, Workload, default_workload
from archgym.files.json_types import Whole, typed
from archgym.spaces.space import DesignSpace


@final
@dataclass(frozen=True)
class WorkloadFacts:
    """Workload without its content: names and characteristics.

    `facts` is the result of `describe_workload`, name to (value, unit). `source` is the
    name or path in a task, empty if that is its name.
    """

    name: str
    digest: str
    facts: Mapping[str, tuple[int | float | str, str]] = field(default_factory=dict)
    source: str = ""

    @property
    def names(self) -> tuple[str, str]:
        """Names that are accepted for it, its source first."""
        return self.source or self.name, self.name

    def to_json(self) -> dict[str, Any]:
        """Return the workload as JSON."""
        facts = {name: list(fact) for name, fact in self.facts.items()}
        data: dict[str, Any] = {"name": self.name, "digest": self.digest, "facts": facts}
        return data | ({"source": self.source} if self.source else {})


@final
class MetricMembers(msgspec.Struct, forbid_unknown_fields=True):
    """Members of `MetricSpec.to_json`."""

    name: str
    unit: str
    goal: Goal
    resolution: float
    doc: str
    formula: Any = None
    identifies: bool = True
    signed: bool = False


@dataclass(frozen=True, kw_only=True)
class _PlainMembers:
    """Members of a declaration that are plain JSON."""

    simulator: str
    version: Whole
    options: Mapping[str, str]
    fidelity: str
    default_fidelity: str
    space_name: str
    model_reasons: tuple[str, ...]
    default_objective: str
    default_workload: str
    groups: Mapping[str, tuple[str, ...]]
    workloads: tuple[WorkloadFacts, ...]
    is_measured: bool = False


@final
@dataclass(frozen=True, kw_only=True)
class Declaration(_PlainMembers):
    """Declaration of a simulator with one space, fidelity and set of options.

    A stand-in's file holds it, so that tasks can be made without the simulator. `default_workload`
    is one of `workloads` only if it was declared.
    """

    space: DesignSpace
    metrics: tuple[MetricSpec, ...]
    objectives: Mapping[str, Objective]

    @classmethod
    def of(
        cls, simulator: Simulator, space_name: str, workloads: Mapping[str, Workload]
    ) -> "Declaration":
        """Return the declaration of a simulator.

        Args:
          simulator: Name of the simulator.
          space_name: Name that selects its space.
          workloads: Workloads by the name or path that was given.
        """
        return cls(
            simulator=simulator.name,
            version=simulator.version,
            options=dict(simulator.options),
            fidelity=simulator.fidelity,
            default_fidelity=simulator.spec.default_fidelity,
            space_name=space_name,
            space=simulator.space,
            metrics=simulator.metrics,
            model_reasons=tuple(simulator.spec.model_reasons),
            objectives=dict(simulator.spec.objectives),
            default_objective=simulator.spec.default_objective,
            default_workload=default_workload(simulator),
            groups=dict(simulator.spec.groups),
            workloads=tuple(
                WorkloadFacts(
                    workload.name,
                    workload.digest,
                    dict(facts_about(simulator, workload)),
                    "" if source == workload.name else source,
                )
                for source, workload in workloads.items()
            ),
            is_measured=simulator.spec.is_measured,
        )

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reasons why a design was not built, by number; entry 0 is empty."""
        return ("", *self.model_reasons, *(c.reason for c in self.space.constraints))

    def identity(self) -> dict[str, Any]:
        """Return everything that decides a simulator's numbers except the workload."""
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
        """Return the first differing part of `identity` of another declaration, or None."""
        mine, theirs = self.identity(), other.identity()
        for part in (mine, theirs):
            # Which direction is better decides no number, and may change.
            part["metrics"] = [[name, unit, size] for name, unit, _, size in part["metrics"]]
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
            **({"is_measured": True} if self.is_measured else {}),
        }

    @classmethod
    def from_json(cls, data: Any) -> "Declaration":
        """Return a declaration from the JSON of `to_json`, which may be of any origin.

        Raises:
          InvalidArgumentError: `data` is not such an object.
        """
        try:
            declaration = _read(data)
            _check(declaration)
        # `data` is whatever a file holds in place of a declaration.
        except (ArchGymError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidArgumentError(
                f"A declaration must be what `Declaration.to_json` wrote; "
                f"{type(error).__name__}: {error_text(error)}"
            ) from None
        return declaration


def _read(data: Any) -> Declaration:
    plain = typed(data, _PlainMembers)
    typed(data["metrics"], list[MetricMembers], "metrics")
    objectives = [objective_from_json(objective) for objective in data["objectives"]]
    return Declaration(
        **vars(plain),
        space=DesignSpace.from_json(data["space"]),
        metrics=tuple(MetricSpec.from_json(spec) for spec in data["metrics"]),
        objectives={objective.name: objective for objective in objectives},
    )


def _check(declaration: Declaration) -> None:
    names = [spec.name for spec in declaration.metrics]
    values = [value for w in declaration.workloads for value, _ in w.facts.values()]
    known = [workload.name for workload in declaration.workloads]
    for what, holds in (
        ("metrics with names that differ", names and len(set(names)) == len(names)),
        ("workloads with names that differ", known and len(set(known)) == len(known)),
        ("a default objective among them", declaration.default_objective in declaration.objectives),
        (
            "facts that are texts or finite numbers",
            all(isinstance(value, str) or math.isfinite(value) for value in values),
        ),
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
