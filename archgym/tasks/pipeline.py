"""The steps from plain choices to a task.

    choices → simulator → calibration → held parameters → workloads → default design → objective

`Task.resolve` takes them in this order: each step here makes one part, and an error names the
choice that failed. `archgym.tasks.objective` has the last one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.checks import check_number, check_path
from archgym.errors import (
    InvalidArgumentError,
    SimulatorError,
    StorageError,
)
from archgym.evaluation.capabilities import fitted
from archgym.evaluation.external import ExternalSimulator
from archgym.evaluation.function import FunctionSimulator
from archgym.evaluation.options import make_simulator
from archgym.evaluation.restriction import (
    bare,
    held_values,
    hold,
    hold_expressible,
    restrict,
    split_space,
    unrestricted,
)
from archgym.evaluation.simulator import (
    FAILED,
    FEASIBLE,
    Simulator,
    check_declared,
    default_workload,
    simulator_class,
)
from archgym.evaluation.stand_in import StandIn, check_agreement, open_stand_in
from archgym.files.remote import url_of
from archgym.simulators import DEFAULT
from archgym.tasks.choices import TaskChoices, WeightedWorkload, choosing, is_file_label

# chosen: far beyond any use, and no sum of such weights overflows.
_MAX_WEIGHT = 1e9
_MAY_FAIL = (ExternalSimulator, FunctionSimulator)
# chosen: a program that fails in one of ten runs then fails here in one of a thousand.
_TRIES = 3


@final
@dataclass(frozen=True)
class Parts:
    """Parts of a task that its objective does not decide."""

    whole: Simulator
    space_name: str
    workloads: tuple[WeightedWorkload, ...]

    @cached_property
    def fitted(self) -> tuple[Simulator, np.ndarray]:
        """The simulator with its default design fitted to the workloads, and its metrics."""
        with choosing("workload"):
            made = fitted(self.whole, [weighted.workload for weighted in self.workloads])
            return made, _reference(made, self.workloads)

    def recorded(self, reference: Sequence[Any]) -> tuple[Simulator, np.ndarray]:
        """Return `fitted` with the recorded metrics, if these are a measurement of this size."""
        default = recorded_reference(reference)
        shape = len(self.workloads), len(self.whole.metrics)
        if not self.whole.spec.is_measured or default.shape != shape:
            return self.fitted
        default.flags.writeable = False
        return fitted(self.whole, [w.workload for w in self.workloads]), default


def parts_of(choices: TaskChoices, known: dict[str, Parts]) -> Parts:
    """Return the parts of a task, those in `known` where they are the same."""
    if isinstance(choices.simulator, Simulator):
        made, space_name = resolve_simulator(choices)
        return Parts(made, space_name, resolve_workloads(made, choices))
    shared = replace(
        choices,
        objective=None,
        minimise=None,
        maximise=None,
        subject_to=None,
        metrics=None,
    )
    of_simulator = repr(replace(shared, workload=None))
    found, alike = known.get(repr(shared)), known.get(of_simulator)
    is_held = alike is not None and bool(choices.limits_of(alike.whole)[1])
    if found is not None and not is_held:
        return found
    if alike is None or is_held:
        made, space_name = resolve_simulator(choices)
        is_held = bool(choices.limits_of(made)[1])
    else:
        made, space_name = alike.whole, alike.space_name
    parts = Parts(made, space_name, resolve_workloads(made, choices))
    if not is_held:
        known.setdefault(of_simulator, parts)
        known[repr(shared)] = parts
    return parts


def resolve_simulator(choices: TaskChoices) -> tuple[Simulator, str]:
    """Return the simulator, or its stand-in, and the name of its space.

    Raises:
      UnknownNameError: A name does not exist; the message lists similar ones.
      InvalidArgumentError: An argument does not fit.
      FileFormatError: The stand-in is damaged or of another format.
    """
    if choices.stand_in is not None:
        check_path("stand_in", choices.stand_in)
        choices = _with_space_of(choices, choices.stand_in)
    whole, space_name = _resolve_whole(choices)
    with choosing("simulator"):
        choices.check_version(whole)
    whole = _calibrated(whole, choices)
    with choosing("values"):
        limits = {} if choices.is_held else choices.limits_of(whole)[1]
        held = hold(whole, choices.fixed, choices.values, limits)
    if choices.tool is not None:
        with choosing("tool"):
            if not isinstance(choices.tool, str):
                raise InvalidArgumentError(
                    f"`tool` must be the name of a format; got {choices.tool!r:.60}."
                )
            if isinstance(unrestricted(whole), StandIn):
                raise InvalidArgumentError(
                    "`tool` needs the simulator itself; got a table or a proxy. Hold the values "
                    "that the tool can express with `values`."
                )
            held = hold_expressible(held, choices.tool)
    if held is whole:
        return whole, space_name
    return held, held.space.name


def _calibrated(whole: Simulator, choices: TaskChoices) -> Simulator:
    """Return a simulator calibrated with measurements, where they or a confidence are given.

    Raises:
      InvalidArgumentError: The measurements cannot calibrate it.
      FileFormatError: Their file is damaged.
    """
    measured, digest = choices.measured, choices.measured_digest
    given = choices.confidence
    confidence = 0.5 if given is None else check_number("confidence", given, 0.5, 0.999)
    if measured is None and digest is None and confidence == 0.5:
        return whole
    with choosing("measured"):
        source = unrestricted(whole)
        if isinstance(source, StandIn):
            raise InvalidArgumentError(
                "`measured` and `confidence` need the simulator itself; got a table or a proxy. "
                "Leave them out."
            )
        if measured is None and digest is not None and not digest.startswith("prior"):
            raise InvalidArgumentError(
                "A task with [measured=…] needs its measurements. Give the file: --measured FILE."
            )
        path = None
        if measured is not None:
            path = choices.resolved_path(str(check_path("measured", measured)))
        from archgym.measurements.calibrated import CalibratedSimulator

        made = CalibratedSimulator(source, path, confidence, digest)
    return made if source is whole else restrict(made, split_space(whole.space.name)[1])


def _with_space_of(choices: TaskChoices, path: str | Path) -> TaskChoices:
    """Return choices whose space names what is held, for a stand-in with held parameters.

    Where no space is chosen, it is the stand-in's, and `fixed` and `values` must agree with it.
    Choices that name the stand-in's space, or that are for one of a whole space, stay as they are.
    """
    with choosing("stand_in"):
        declared = open_stand_in(choices.resolved_path(path)).declaration
    whole, held = split_space(declared.space_name)
    if choices.space == declared.space_name or not held:
        return choices
    asked = replace(choices, simulator=choices.simulator or declared.simulator, stand_in=None)
    asked = replace(asked, measured=None, confidence=None, measured_digest=None)
    if (
        isinstance(asked.simulator, str)
        and whole in simulator_class(asked.simulator).spec.space_names
    ):
        asked = replace(asked, space=choices.space or whole)
    space = resolve_simulator(asked)[1]
    if choices.space is None and space != declared.space_name:
        if split_space(space)[1]:
            with choosing("values"):
                raise InvalidArgumentError(
                    f"{path} holds the designs of {declared.space_name!r}, not those of {space!r}. "
                    "Hold the same parameters, hold none, or make the file again."
                )
        space = declared.space_name
    return replace(choices, space=space, fixed={}, values={}, tool=None, is_held=True)


def _resolve_whole(choices: TaskChoices) -> tuple[Simulator, str]:
    """Return the simulator before parameters are held, and the name of its space."""
    simulator = choices.simulator
    with choosing("simulator"):
        _check_simulator(choices)
    if choices.stand_in is not None:
        return _resolve_stand_in(choices, choices.stand_in)
    if isinstance(simulator, StandIn):
        return simulator, simulator.declaration.space_name
    if isinstance(simulator, Simulator):
        return simulator, simulator.space.name
    with choosing("simulator"):
        kind = simulator_class(simulator or DEFAULT)
    with choosing("space"):
        space, held = split_space(choices.space)
    with choosing("options"):
        made = make_simulator(kind, choices.space, choices.fidelity, choices.options)
        check_declared(made)
    return made, made.space.name if held else space or made.spec.space_names[0]


def _resolve_stand_in(choices: TaskChoices, path: str | Path) -> tuple[Simulator, str]:
    """Return a stand-in, restricted as the name of the space says where it is of the whole one."""
    with choosing("stand_in"):
        opened = open_stand_in(choices.resolved_path(path))
        space, held = split_space(choices.space)
        if split_space(opened.declaration.space_name)[1]:
            space, held = choices.space, {}
        check_agreement(opened, choices.simulator, space, choices.fidelity, choices.options)
        made = restrict(opened, held)
    return made, made.space.name if held else opened.declaration.space_name


def _check_simulator(choices: TaskChoices) -> None:
    """Refuse objects that are not simulators, and options that an instance has fixed already."""
    simulator = choices.simulator
    if isinstance(simulator, Simulator):
        check_declared(simulator)
        given = {"space": choices.space, "fidelity": choices.fidelity, **choices.options}
        extra = sorted(name for name, value in given.items() if value is not None)
        if extra:
            raise InvalidArgumentError(
                f"`{extra[0]}` is no argument here, and the simulator that was given has its "
                "options already. Leave it out, or pass it where the simulator is made."
            )
    elif simulator is not None and not isinstance(simulator, str):
        raise InvalidArgumentError(
            f"`simulator` must be a registered name or a simulator; got {simulator!r}. Make an "
            "instance of a class first."
        )


def resolve_workloads(simulator: Simulator, choices: TaskChoices) -> tuple[WeightedWorkload, ...]:
    """Return the workloads of a task with their weights.

    Raises:
      UnknownNameError: A name does not exist.
      InvalidArgumentError: Weights, names or contents do not fit.
    """
    with choosing("workload"):
        return _weighted(simulator, choices)


def _weighted(simulator: Simulator, choices: TaskChoices) -> tuple[WeightedWorkload, ...]:
    workload = choices.workload
    if workload is None:
        workload = default_workload(simulator)
    if isinstance(workload, str | Path):
        workload = [workload]
    if isinstance(workload, Mapping):
        pairs = [(n, check_number(f"workload weight {n}", w, 0.0)) for n, w in workload.items()]
    elif isinstance(workload, Sequence) and all(isinstance(n, str | Path) for n in workload):
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
    is_stand_in = isinstance(unrestricted(simulator), StandIn)
    unknown = [] if is_stand_in else [n for n in names if n not in shipped]
    for name in unknown:
        if is_file_label(name) and not Path(choices.resolved_path(name)).exists():
            raise InvalidArgumentError(
                f"`workload` must name a file; got {name!r}, a file's name and hash in a task's "
                "name. Give the path of the file."
            )
    pairs = [(n if n in shipped else choices.resolved_path(n), weight) for n, weight in pairs]
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
    stems = {label.rpartition("@")[0]: label for label in choices.labels if "@" in label}
    for label in (each.label for each in weighted):
        if (was := stems.get(label.rpartition("@")[0], label)) != label:
            raise InvalidArgumentError(
                f"Workload {was!r} of the task must be the file as it was; it is {label!r} now."
            )
    return weighted


def _reference(simulator: Simulator, workloads: Sequence[WeightedWorkload]) -> np.ndarray:
    default = simulator.space.default_indices[None, :]
    rows = []
    for weighted in workloads:
        # A program that fails by chance is asked again.
        for _ in range(_TRIES if isinstance(bare(simulator), _MAY_FAIL) else 1):
            result = simulator.evaluate_batch(default, weighted.workload)
            reason = int(result.reason[0])
            if reason != FAILED:
                break
        if reason != FEASIBLE:
            why = result.failures[0] if reason == FAILED else simulator.spec.reasons[reason]
            why = why.removesuffix(".")
            held = held_values(simulator)
            values = f"other values of {', '.join(held)}, " if held else ""
            raise SimulatorError(
                f"The default design of space {simulator.space.name!r} must run on workload "
                f"{weighted.workload.name!r}, since rewards are relative to it: {why}. Choose "
                f"{values}a workload or options of the simulator that it fits, or in Python a "
                "space with another `default=` of its parameters."
            )
        rows.append(result.values[0])
    reference = np.array(rows)
    reference.flags.writeable = False
    return reference


def recorded_reference(reference: Any) -> np.ndarray:
    """Return recorded metrics of a default design, (n_workloads, n_metrics).

    Raises:
      InvalidArgumentError: They are not numbers, a list for each workload.
    """
    try:
        return np.array(reference, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgumentError(
            "`reference` of a recorded task must have a list of numbers for each workload; got "
            f"{reference!r:.60}."
        ) from None


def recorded_stand_in(path: str, kind: str) -> str:
    """Return the path of a recorded stand-in.

    Raises:
      StorageError: The file is no longer there.
    """
    if url_of(path) is None and not Path(path).exists():
        other = " Or continue with the simulator itself: --from-simulator." * (kind == "table")
        raise StorageError(
            f"{path}, the {kind} that the study was made on, does not exist. Give its new place "
            f"with `archgym resume STUDY --from-{kind} FILE`.{other}"
        )
    return path
