"""Plain choices (names, paths, weights) that name a task."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, final

from archgym.checks import as_number, check_mapping
from archgym.errors import (
    ArchGymError,
    InvalidArgumentError,
    unknown_name,
)
from archgym.evaluation.limits import split_limits
from archgym.evaluation.objective import (
    Objective,
)
from archgym.evaluation.simulator import (
    Simulator,
    Workload,
    simulator_names,
)

_TASK_ID = re.compile(
    r"(?P<simulator>[^/\[\]]+)(\[(?P<options>[^\]]*)\])?/(?P<space>[^/{}]+(\{[^{}/]*\})?)"
    r"/(?P<workloads>.+)"
    r"/(?P<objective>[^/]+)-v(?P<version>\d+)"
)
# As `WeightedWorkload.label` makes it.
_FILE_LABEL = re.compile(r".+@[0-9a-f]{8}")

# What an earlier task or the caller's place adds to what a user chooses.
_INTERNAL = ("options", "version", "is_held", "metrics", "folder", "measured_digest", "labels")

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
      stand_in: Table or proxy that answers instead of the simulator; what else is given must agree
        with it. On a table the task is the same as on the simulator.
      options: Further arguments of the simulator.
      fixed: Values at which parameters are held, by name.
      values: Values that parameters may have, by name: several, or a text such as ``1..8``.
      tool: Format of a tool, one of the simulator's exports. Values that it cannot express are left
        out; the name of the space, and so the task's id, says which values stay.
      version: Version of the simulator, as in the id of a task; None for any.
      is_held: True if the name of the space states the limits on parameters already.
      subject_to: Hard limits on metrics, such as ``"area_mm2 <= 5, power_mw <= 900"``. A design
        that meets all of them ranks above every one that does not. A limit on a parameter, such as
        ``"banks <= 8"``, leaves its other values out.
      minimise: Metrics to minimise instead of a named objective.
      maximise: Metrics to maximise instead of a named objective.
      metrics: Names of the metrics to record; None for all.
      folder: Folder in which relative paths of workloads and the stand-in are looked up first.
      measured: File of measurements, with which metrics are calibrated; see `archgym measure`.
      confidence: Probability with which limits are met under the simulator's error; by default
        0.5, which takes the simulator's number unchanged.
      measured_digest: Measurements that an earlier task was made with; None for all of the file.
      labels: Workloads in the id of a task, of which files must not have changed.

    Example:
      >>> choices = TaskChoices.of(simulator="dram", fixed={"ranks": 1}, device="ddr4-2400")
      >>> choices.fixed, choices.options
      ({'ranks': 1}, {'device': 'ddr4-2400'})
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
    tool: str | None = None
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

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names that a caller may use; others are options of the simulator."""
        return tuple(each.name for each in fields(cls) if each.name not in _INTERNAL)

    @classmethod
    def of(cls, **given: Any) -> "TaskChoices":
        """Return the choices of keywords, of which unknown ones are options of the simulator.

        Raises:
          InvalidArgumentError: Values of parameters are no mapping.
        """
        own = {n: given.pop(n) for n in cls.names() if n in given}
        own = {name: value for name, value in own.items() if value is not None}
        for name in ("fixed", "values"):
            if name in own:
                own[name] = check_mapping(name, own[name])
        return cls(**own, options=given)

    def given(self) -> list[str]:
        """Return the names of choices and options that were made, other than the simulator."""
        own = [n for n in self.names() if n != "simulator" and getattr(self, n) not in (None, {})]
        return [*own, *self.options]

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
        if self.subject_to is None:
            return [], {}
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


def _weights_of(text: str) -> dict[str, float]:
    """Return the weights in the workload part of a task's id, such as ``2*a+b``."""
    weights = {}
    for part in text.split("+"):
        weight, sign, name = part.rpartition("*")
        weights[name] = float(weight) if sign else 1.0
    return weights


def is_file_label(name: str) -> bool:
    """Return True for a file's name and hash, as `WeightedWorkload.label` makes it."""
    return _FILE_LABEL.fullmatch(name) is not None
