"""Resolution of plain choices (names, paths, weights) into the parts of a task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from archgym.checks import check_number
from archgym.errors import InvalidArgumentError, StorageError, unknown_name
from archgym.evaluation.objective import (
    Objective,
    parse_target,
)
from archgym.evaluation.simulator import Simulator, Workload, make_simulator, simulator_class
from archgym.evaluation.stand_in import StandIn, check_agreement, open_stand_in

__all__ = ["WeightedWorkload"]

# chosen: far beyond any use, and no sum of such weights overflows.
_MAX_WEIGHT = 1e9


_DEFAULT_SIMULATOR = "dram"


WorkloadChoice = str | Path | Sequence[str | Path] | Mapping[str, float]


@final
@dataclass(frozen=True)
class WeightedWorkload:
    """A workload of a task, its weight in the reward, and the name or path it came by."""

    workload: Workload
    weight: float
    source: str

    @property
    def label(self) -> str:
        """Its name, and where it came from a file the beginning of its content's hash."""
        is_file = self.source != self.workload.name
        return self.workload.name + (f"@{self.workload.digest[:8]}" if is_file else "")


def _simulator(
    simulator: str | Simulator | None,
    space: str | None,
    fidelity: str | None,
    stand_in: str | Path | None,
    options: Mapping[str, str],
) -> tuple[Simulator, str]:
    """Return the simulator, or what stands in for it, and the name of its space."""
    if not (simulator is None or isinstance(simulator, str | Simulator)):
        raise InvalidArgumentError(
            f"`simulator` must be a registered name or a simulator; got {simulator!r}. Make an "
            "instance of a class first."
        )
    if isinstance(simulator, Simulator):
        given = {"space": space, "fidelity": fidelity, **options}
        extra = sorted(name for name, value in given.items() if value is not None)
        if extra:
            raise InvalidArgumentError(
                f"`{extra[0]}` belongs to the simulator that was given; it must be left out. "
                "Pass it where the simulator is made."
            )
    if stand_in is not None:
        opened = open_stand_in(stand_in)
        check_agreement(opened, simulator, space, fidelity, options)
        simulator = opened
    if isinstance(simulator, StandIn):
        return simulator, simulator.declaration.space_name
    if isinstance(simulator, Simulator):
        return simulator, simulator.space.name
    kind = simulator_class(simulator or _DEFAULT_SIMULATOR)
    return make_simulator(kind, space, fidelity, options), space or kind.space_names[0]


def _found(path: str, kind: str) -> str:
    """Where a recorded stand-in is; refused where it is no longer there."""
    if not Path(path).exists():
        other = " It can go on with the simulator itself: --from-simulator." * (kind == "table")
        raise StorageError(
            f"{path}, the {kind} that the study was made on, must be there to go on; it is not. "
            f"Say where it is, with `archgym resume STUDY --from-{kind} FILE`.{other}"
        )
    return path


def _weighted(
    simulator: Simulator, workload: WorkloadChoice | None
) -> tuple[WeightedWorkload, ...]:
    if workload is None:
        workload = simulator.default_workload
    if isinstance(workload, str | Path):
        workload = [workload]
    if isinstance(workload, Mapping):
        pairs = [(name, check_number("weight", w, 0.0)) for name, w in workload.items()]
    elif isinstance(workload, Sequence):
        pairs = [(str(name), 1.0) for name in workload]
    else:
        raise InvalidArgumentError(
            f"`workload` must be a name, several, or names with weights; got {workload!r}."
        )
    names = [name for name, _ in pairs]
    if not pairs or len(set(names)) != len(names):
        raise InvalidArgumentError(
            f"`workload` must name one or more workloads, each once; got {names!r}."
        )
    if not all(0 < weight <= _MAX_WEIGHT for _, weight in pairs):
        raise InvalidArgumentError(
            f"Weights of workloads must be above 0 and at most {_MAX_WEIGHT:g}; "
            f"got {dict(pairs)!r}."
        )
    shipped = simulator.workload_names()
    weighted = tuple(
        WeightedWorkload(
            simulator.workload(name),
            float(weight),
            name if name in shipped else str(Path(name).absolute()),
        )
        for name, weight in pairs
    )
    for what, came in (
        ("names", [w.workload.name for w in weighted]),
        ("contents", [w.workload.digest for w in weighted]),
    ):
        if len(set(came)) != len(came):
            raise InvalidArgumentError(
                f"Workloads of a task must have {what} that differ; {', '.join(map(str, names))} "
                "do not. Rename a file, or name each workload once with its weight."
            )
    return weighted


def _objective(simulator: Simulator, objective: str | Objective | None) -> Objective:
    if objective is None:
        objective = simulator.default_objective
    if isinstance(objective, str):
        if objective.startswith("target:"):
            return parse_target(objective, simulator.metrics)
        if objective not in simulator.objectives:
            choices = ", ".join(f"{k}={v}" for k, v in simulator.options.items())
            kind = f"objective with {choices}:" if choices else "objective"
            raise unknown_name(kind, objective, simulator.objectives)
        return simulator.objectives[objective]
    if not isinstance(objective, Objective):
        raise InvalidArgumentError(
            "`objective` must be a name, text such as 'target:total_time_ns<=90000' or an "
            f"Objective; got {objective!r}. Make one of terms with Objective(name, terms)."
        )
    known = {spec.name for spec in simulator.metrics}
    for term in objective.terms:
        if term.metric not in known:
            raise unknown_name("metric", term.metric, known)
    return objective
