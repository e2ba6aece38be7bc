"""Resolution of plain choices (names, paths, weights) into the parts of a task."""

import importlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, final

from archgym.checks import as_number, check_number, check_path
from archgym.errors import (
    ArchGymError,
    InvalidArgumentError,
    StorageError,
    UnknownNameError,
    unknown_name,
)
from archgym.evaluation.capabilities import Confident
from archgym.evaluation.limits import Limit, check_limits, listed_texts, parse_limits, split_limits
from archgym.evaluation.objective import (
    Objective,
    objective_of,
    parse_objective,
    subject_to,
    with_limits,
)
from archgym.evaluation.options import declared_options, make_simulator
from archgym.evaluation.restriction import hold, restrict, split_space, unrestricted
from archgym.evaluation.simulator import (
    Simulator,
    Workload,
    check_declared,
    default_workload,
    simulator_class,
    simulator_names,
)
from archgym.evaluation.stand_in import StandIn, check_agreement, open_stand_in
from archgym.files.remote import url_of

_log = logging.getLogger(__name__)
# chosen: far beyond any use, and no sum of such weights overflows.
_MAX_WEIGHT = 1e9
_DEFAULT_SIMULATOR = "dram"
_TASK_ID = re.compile(
    r"(?P<simulator>[^/\[\]]+)(\[(?P<options>[^\]]*)\])?/(?P<space>[^/{}]+(\{[^{}/]*\})?)"
    r"/(?P<workloads>.+)"
    r"/(?P<objective>[^/]+)-v(?P<version>\d+)"
)
_TEXTS = ("minimise:", "maximise:", "target:")
# As `WeightedWorkload.label` makes it.
_FILE_LABEL = re.compile(r".+@[0-9a-f]{8}")

WorkloadChoice = str | Path | Sequence[str | Path] | Mapping[str, float]


@final
@dataclass(frozen=True)
class WeightedWorkload:
    """A workload of a task, its weight in the reward, and the name or path it was given by."""

    workload: Workload
    weight: float
    source: str

    @property
    def label(self) -> str:
        """Name of the workload; with the start of its content's hash if it is a file."""
        is_file = self.source != self.workload.name
        return self.workload.name + (f"@{self.workload.digest[:8]}" if is_file else "")


@final
@dataclass(frozen=True, kw_only=True)
class TaskChoices:
    """Plain choices that name a task; None leaves a choice to the simulator.

    Python, the command line, sweep plans and environments all describe a task this way, and
    `Task.resolve` turns the choices into a task. An error of one choice names it in `choice`.

    Attributes:
      simulator: Registered name, instance, or id of a task such as
        ``dram/default/cloud-1/low-latency-v1``, which the other choices override.
      space: Name of one of the simulator's spaces.
      workload: Name or path, several, or several with weights.
      objective: Name, objective, or text such as ``target:total_time_ns<=90000``.
      fidelity: Name of one of the simulator's fidelities.
      stand_in: Table or proxy that answers instead of the simulator.
      options: Further arguments of the simulator.
      fixed: Values at which parameters are held, by name.
      values: Values that parameters may have, by name: several, or a text such as ``1..8``.
      version: Version of the simulator, as in the id of a task; None for any.
      is_held: True if the name of the space states the limits on parameters already.
      subject_to: Hard limits on metrics, such as ``"area_mm2 <= 5"``, or on parameters.
      minimise: Metrics to minimise instead of a named objective.
      maximise: Metrics to maximise instead of a named objective.
      metrics: Names of the metrics to record; None for all.
      folder: Folder in which relative paths of workloads and the stand-in are looked up first.
      measured: File of measurements, with which metrics are calibrated.
      confidence: Probability with which limits are met under the simulator's error; None for 0.5.
      measured_digest: Measurements that an earlier task was made with; None for all of the file.
      labels: Workloads in the id of a task, of which files must not have changed.
    """

    simulator: str | Simulator | None = None
    space: str | None = None
    workload: WorkloadChoice | None = None
    objective: str | Objective | None = None
    fidelity: str | None = None
    stand_in: str | Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    version: int | None = None
    is_held: bool = False
    subject_to: str | Sequence[str] | None = None
    minimise: str | Sequence[str] | None = None
    maximise: str | Sequence[str] | None = None
    metrics: Sequence[str] | None = None
    folder: Path | None = None
    measured: str | Path | None = None
    confidence: float | None = None
    measured_digest: str | None = None
    labels: tuple[str, ...] = ()

    def expanded(self) -> "TaskChoices":
        """Return the choices with the id of a task taken apart; explicit choices override it.

        Raises:
          InvalidArgumentError: The id has another form, or names another version.
        """
        if not isinstance(self.simulator, str) or "/" not in self.simulator:
            return self
        match = _TASK_ID.fullmatch(self.simulator)
        if match is None and self.simulator.split("/")[0] not in simulator_names():
            raise unknown_name("simulator", self.simulator, simulator_names())
        if match is None:
            raise InvalidArgumentError(
                "A task must read simulator/space/workload/objective-vN; "
                f"got {self.simulator!r}. Name a simulator and use options for the rest."
            )
        pairs = (text.partition("=") for text in (match["options"] or "").split(",") if text)
        options = {name: value for name, _, value in pairs}
        has_metrics = self.minimise is not None or self.maximise is not None
        if self.objective is None and not has_metrics:
            self = replace(self, objective=match["objective"])
        return replace(
            self,
            simulator=match["simulator"],
            space=self.space or match["space"],
            workload=self.workload or _weights_of(match["workloads"]),
            labels=tuple(_weights_of(match["workloads"])),
            fidelity=self.fidelity or options.pop("fidelity", None),
            options={**options, **self.options},
            version=int(match["version"]),
        )._with_measured_options()

    def calibrated_as(self, recipe: Mapping[str, Any]) -> "TaskChoices":
        """Return the choices with the measurements and the confidence of a recorded task.

        Args:
          recipe: The task's JSON; one without measurements leaves the choices as they are.
        """
        if "measured" not in recipe["options"]:
            return self
        recorded = {name: str(recipe["options"][name]) for name in recipe["options"]}
        chosen = replace(self, options={**self.options, **recorded}, measured=recipe["measured"])
        if isinstance(self.simulator, Simulator):
            names = ("measured", "confidence")
            chosen = replace(chosen, options={n: recorded[n] for n in names if n in recorded})
        return chosen._with_measured_options()

    def _with_measured_options(self) -> "TaskChoices":
        """Return the choices with what a task's options say of measurements taken out of them."""
        options = dict(self.options)
        digest, text = options.pop("measured", None), options.pop("confidence", None)
        return replace(
            self,
            options=options,
            measured_digest=digest or self.measured_digest,
            confidence=self.confidence if text is None else as_number(text),
        )

    def check_version(self, simulator: Simulator) -> None:
        """Refuse a simulator of another version than the id of the task states.

        Raises:
          InvalidArgumentError: The version is another.
        """
        if self.version not in (None, simulator.version):
            where = "that is installed" if self.stand_in is None else f"of {self.stand_in}"
            raise InvalidArgumentError(
                f"A task of simulator {simulator.name!r} must end in -v{simulator.version}, the "
                f"version {where}; got -v{self.version}."
            )

    def limits_of(self, simulator: Simulator) -> tuple[list[str], dict[str, list[str]]]:
        """Return limits on metrics of a simulator, and limits on its parameters by the parameter.

        Raises:
          InvalidArgumentError: A limit on a parameter has another form.
        """
        metrics = {spec.name for spec in simulator.metrics}
        units = {p.name: p.unit for p in simulator.space.parameters if p.name not in metrics}
        with choosing("subject_to"):
            return split_limits(self.subject_to, units)

    def resolved_path(self, name: str | Path) -> str:
        """Return a path, absolute if the file lies in `folder`, else as it was given."""
        if self.folder is not None and (self.folder / name).is_file():
            return str((self.folder / name).absolute())
        return str(name)


@contextmanager
def choosing(choice: str) -> Iterator[None]:
    """Name the choice that is being resolved in the errors of a block."""
    try:
        yield
    except ArchGymError as error:
        error.choice = error.choice or choice
        raise


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
        # The core does not know how errors are modelled.
        module = importlib.import_module("archgym.measurements.calibrated")
        made: Simulator = module.CalibratedSimulator(source, path, confidence, digest)
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
    return replace(choices, space=space, fixed={}, values={}, is_held=True)


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
        kind = simulator_class(simulator or _DEFAULT_SIMULATOR)
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


def _weights_of(text: str) -> dict[str, float]:
    """Return the weights in the workload part of a task's id, such as ``2*a+b``."""
    weights = {}
    for part in text.split("+"):
        weight, sign, name = part.rpartition("*")
        weights[name] = float(weight) if sign else 1.0
    return weights


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
        if _FILE_LABEL.fullmatch(name) and not Path(choices.resolved_path(name)).exists():
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


def resolve_objective(simulator: Simulator, choices: TaskChoices) -> Objective:
    """Return the objective with a name, of a text, of metrics, or as it was given, with limits.

    Limits of physics that it lacks are added, and its name shows them.

    Raises:
      UnknownNameError: The objective or one of its metrics does not exist.
      InvalidArgumentError: It is something else, or limits contradict each other.
    """
    metrics = simulator.metrics
    with _telling_where_metrics_are(simulator), choosing("objective"):
        if choices.minimise is not None or choices.maximise is not None:
            if choices.objective is not None:
                raise InvalidArgumentError(
                    "`objective` must be left out where `minimise` or `maximise` is given; got "
                    f"{choices.objective!r}."
                )
            sought = _names(choices, "minimise"), _names(choices, "maximise")
            objective = objective_of(*sought, metrics)
        else:
            objective = _objective(simulator, choices.objective)
    with _telling_where_metrics_are(simulator), choosing("subject_to"):
        if limits := choices.limits_of(simulator)[0]:
            check_limits(parse_limits(limits, metrics), metrics, once=True)
            objective = subject_to(objective, limits, metrics)
        is_own = choices.minimise is not None or choices.maximise is not None
        objective = _with_limits_of(simulator, objective, is_own)
        source = unrestricted(simulator)
        if isinstance(source, Confident):
            objective = source.with_confidence(objective)
        check_limits(objective.limits, metrics)
    return objective


@contextmanager
def _telling_where_metrics_are(simulator: Simulator) -> Iterator[None]:
    """Add to an error on an unknown metric which space or option of the simulator has it."""
    try:
        yield
    except UnknownNameError as error:
        choice = _choice_with_metric(unrestricted(simulator), error.name)
        if choice:
            told = UnknownNameError(
                f"Metric {error.name!r} needs another space or option, such as {choice}."
            )
            told.choice = error.choice
            raise told from None
        raise


def _choice_with_metric(simulator: Simulator, name: str) -> str:
    """Return the space, or the value of one option, with which a simulator has a metric."""
    kind, present, options = type(simulator), simulator.space.name, simulator.options
    tried = [(f"--space {space}", space, options) for space in simulator.spec.space_names]
    tried += [
        (f"--option {option.name}={value}", present, {**options, option.name: str(value)})
        for option in declared_options(kind)
        for value in option.samples
    ]
    for text, space, chosen in tried:
        # A choice may contradict those that were made, or the constructor may take none.
        with suppress(ArchGymError):
            made = make_simulator(kind, space, simulator.fidelity, chosen)
            if any(spec.name == name for spec in made.metrics):
                return text
    return ""


def _with_limits_of(simulator: Simulator, objective: Objective, is_own: bool) -> Objective:
    """Return an objective with a simulator's limits of physics, and without looser ones.

    Args:
      simulator: The simulator, which may have limits for objectives that are made of metrics.
      objective: Objective with the limits that were asked for.
      is_own: True if it is made of metrics.
    """
    given, physical = objective.limits, simulator.spec.physical_limits
    for limit in (*physical, *simulator.spec.usual_limits):
        if not isinstance(limit, Limit):
            raise InvalidArgumentError(
                f"`physical_limits` and `usual_limits` of simulator {simulator.name!r} must hold "
                f'limits, such as archgym.Limit("area_mm2", "<=", 5.0); got {limit!r}.'
            )
    looser = [limit for limit in given if limit not in physical and limit.holds_in(physical)]
    for limit in looser:
        _note(f"limit {limit} is left out: {simulator.name} has a tighter one for every design.")
    kept = [limit for limit in given if limit not in looser]
    missing = [limit for limit in physical if not limit.holds_in(kept)]
    if is_own:
        named = {limit.metric for limit in given}
        missing += [limit for limit in simulator.spec.usual_limits if limit.metric not in named]
    if not (missing or looser):
        return objective
    usual = simulator.spec.objectives.get(objective.name.partition("[")[0])
    if usual is not None and not missing and usual.limits == tuple(kept):
        return usual
    return with_limits(objective, [*kept, *missing], simulator.metrics)


def _names(choices: TaskChoices, name: str) -> list[str]:
    texts = listed_texts(name, getattr(choices, name), "time_ns")
    return [metric.strip() for text in texts for metric in text.split(",")]


def _objective(simulator: Simulator, objective: str | Objective | None) -> Objective:
    if objective is None:
        objective = simulator.spec.default_objective
        if not objective:
            raise InvalidArgumentError(
                f"Simulator {simulator.name!r} has no default objective. Give `minimise`, "
                "`maximise` or `objective`."
            )
    if isinstance(objective, str):
        base, bracket, limits = objective.partition("[")
        if bracket:
            base_objective = _objective(simulator, base)
            return subject_to(base_objective, limits.removesuffix("]"), simulator.metrics)
        if objective.startswith(_TEXTS):
            return parse_objective(objective, simulator.metrics)
        if objective in simulator.spec.objectives:
            return simulator.spec.objectives[objective]
        options = ", ".join(f"{k}={v}" for k, v in simulator.options.items())
        kind = f"objective with {options}:" if options else "objective"
        raise unknown_name(kind, objective, simulator.spec.objectives)
    if not isinstance(objective, Objective):
        raise InvalidArgumentError(
            "`objective` must be a name, text such as 'target:total_time_ns<=90000' or an "
            f"Objective; got {objective!r}. Make one of terms with Objective(name, terms)."
        )
    known = {spec.name for spec in simulator.metrics}
    for term in objective.terms:
        if term.metric not in known:
            raise unknown_name("metric", term.metric, known)
    name = objective.name.partition("[")[0]
    named = simulator.spec.objectives.get(name)
    if name.startswith(_TEXTS):
        named = parse_objective(name, simulator.metrics)
    is_other = named is not None and named.terms != objective.terms
    if is_other or not name.strip() or "/" in name or not name.isprintable():
        raise InvalidArgumentError(
            "An objective of your own must have a name of its own, in one line and without `/`, "
            f"since names of tasks have it; got {objective.name!r}. Choose another."
        )
    return objective


@cache
def _note(text: str) -> None:
    _log.warning("%s", text)
