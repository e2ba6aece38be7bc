"""Options that name a task, and the task that they name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.options.values import assignments, complete_simulator
from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    from archgym.evaluation.simulator import Simulator
    from archgym.tasks.choices import TaskChoices
    from archgym.tasks.task import Task

SimulatorArgument = Annotated[
    str,
    typer.Argument(
        help="Simulator, or a complete task such as dram/default/cloud-1/least-time-v1.",
        autocompletion=complete_simulator,
        metavar="SIMULATOR|TASK",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write the result as JSON.")]


@dataclass(frozen=True)
class SimulatorOptions:
    """Options that choose a simulator's space, fidelity and constructor arguments."""

    space: Annotated[
        str | None,
        typer.Option("--space", help="Space of the simulator (default: its first one)."),
    ] = None
    fidelity: Annotated[
        str | None,
        typer.Option(
            "--fidelity", help="Model fidelity; see `archgym list fidelities` (default: first)."
        ),
    ] = None
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            "-o",
            help="Option of the simulator, such as device=ddr4-2400; repeat for more. "
            "See `archgym describe SIMULATOR`.",
            metavar="NAME=VALUE",
        ),
    ] = None


@dataclass(frozen=True)
class GoalOptions:
    """Options that choose the workloads and the objective."""

    workload: Annotated[
        list[str] | None,
        typer.Option(
            "--workload",
            "-w",
            help="Workload name or file; repeat for more, each with an optional =WEIGHT.",
            metavar="NAME[=WEIGHT]",
        ),
    ] = None
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective", help='Objective name, or targets such as "target:total_time_ns<=90000".'
        ),
    ] = None
    minimise: Annotated[
        list[str] | None,
        typer.Option(
            "--minimise",
            help="Metrics to minimise instead of a named objective, separated by commas.",
            metavar="METRIC[,METRIC…]",
        ),
    ] = None
    maximise: Annotated[
        list[str] | None,
        typer.Option(
            "--maximise",
            help="Metrics to maximise instead of a named objective, separated by commas.",
            metavar="METRIC[,METRIC…]",
        ),
    ] = None
    subject_to: Annotated[
        list[str] | None,
        typer.Option(
            "--subject-to",
            help='Hard limits on metrics or parameters, such as "area_mm2 <= 5"; repeat for more.',
            metavar="LIMITS",
        ),
    ] = None


@dataclass(frozen=True)
class HoldOptions:
    """Options that hold parameters of the space, or leave them fewer values."""

    fixed: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Value at which a parameter is held, such as page_policy=Open; repeat for more.",
            metavar="NAME=VALUE",
        ),
    ] = None
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--values",
            help="Values that a parameter may have, such as arbiter=Fifo,Reorder, "
            "request_buffer_size=1..16, or page_policy!=Closed for all but one; repeat for more.",
            metavar="NAME=VALUES",
        ),
    ] = None
    tool: Annotated[
        str | None,
        typer.Option(
            "--for",
            help="Format of a tool, such as champsim; values that it cannot express are left out.",
            metavar="FORMAT",
        ),
    ] = None


@dataclass(frozen=True)
class StandInOptions:
    """Options that choose a table or a proxy instead of the simulator."""

    from_table: Annotated[
        Path | None,
        typer.Option(
            "--from-table",
            help="Use this table (see `archgym table build`) instead of the simulator.",
            metavar="FILE",
        ),
    ] = None
    from_proxy: Annotated[
        Path | None,
        typer.Option(
            "--from-proxy",
            help="Use this proxy model instead of the simulator. Its task has a separate name.",
            metavar="FILE",
        ),
    ] = None

    @property
    def path(self) -> Path | None:
        """File to use instead of the simulator; None for the simulator itself.

        Raises:
          InvalidArgumentError: Both are given, or a file is of the other kind.
          StorageError: The file cannot be read.
        """
        from archgym.evaluation.stand_in import stand_in_kind

        path = self.from_proxy if self.from_table is None else self.from_table
        if path is None:
            return None
        if self.from_table is not None and self.from_proxy is not None:
            raise InvalidArgumentError("`--from-table` and `--from-proxy` must not both be given.")
        if self.from_proxy is not None and stand_in_kind(path) == "table":
            raise InvalidArgumentError(
                f"`--from-proxy` must name a proxy; {path} is a Parquet file. Use --from-table."
            )
        if self.from_table is not None and stand_in_kind(path) == "proxy":
            raise InvalidArgumentError(
                f"`--from-table` must name a table (a Parquet file that `archgym table build` "
                f"wrote); {path} is not a table."
            )
        return path


MeasuredOption = Annotated[
    Path | None,
    typer.Option(
        "--measured",
        help="Calibrate the metrics with this file of measurements (see `archgym measure`).",
        metavar="FILE",
    ),
]


@dataclass(frozen=True)
class ErrorOptions:
    """Options that take the simulator's error into account."""

    measured: MeasuredOption = None
    confidence: Annotated[
        float | None,
        typer.Option(
            "--confidence",
            help="Probability with which limits are met under the simulator's error "
            "(default: 0.5, which takes the simulator's number unchanged).",
            min=0.5,
            max=0.999,
        ),
    ] = None


@dataclass(frozen=True)
class TaskOptions:
    """Options that choose a task, next to the name of its simulator."""

    model: SimulatorOptions = SimulatorOptions()
    goal: GoalOptions = GoalOptions()
    stand_in: StandInOptions = StandInOptions()
    error: ErrorOptions = ErrorOptions()

    @property
    def given(self) -> tuple[str, ...]:
        """Options that are part of a task's name and were given, such as "--space"."""
        assignments("--option", self.model.option or ())  # -o FILE gets its hint first
        return tuple(
            f"--{each.name.replace('_', '-')}"
            for part in (self.model, self.goal, self.error)
            for each in fields(part)
            if getattr(part, each.name) != each.default
        )


def task_choices(
    name: str, options: TaskOptions, hold: HoldOptions = HoldOptions()
) -> "TaskChoices":
    """Return the choices that a name and options describe, with a task's name taken apart.

    Args:
      name: Simulator, or complete task; options take precedence.
      options: Options of the command.
      hold: Parameters that are held.

    Raises:
      InvalidArgumentError: A choice has another form, or the task names another version.
    """
    from archgym.tasks.choices import TaskChoices

    return TaskChoices(
        simulator=name,
        space=options.model.space,
        workload=workload_weights(options.goal.workload),
        objective=options.goal.objective,
        minimise=options.goal.minimise or None,
        maximise=options.goal.maximise or None,
        subject_to=options.goal.subject_to or None,
        fidelity=options.model.fidelity,
        stand_in=options.stand_in.path,
        measured=options.error.measured,
        confidence=options.error.confidence,
        options=_simulator_options(options.model.option or ()),
        fixed=assignments("--set", hold.fixed or ()),
        # `NAME!=VALUES` is all but these.
        values={
            name.removesuffix("!"): "!" * name.endswith("!") + text
            for name, text in assignments("--values", hold.values or ()).items()
        },
        tool=hold.tool,
    ).expanded()


def make_task(choices: "TaskChoices") -> "Task":
    """Return the task, and announce the compilation of its simulator.

    Raises:
      UnknownNameError: A name does not exist.
      InvalidArgumentError: An option has another form.
    """
    from archgym.cli.console.progress import announce_compilation
    from archgym.tasks.task import Task

    announce_compilation()
    with prompt_stops():
        return Task.resolve(choices)


def make_simulator(choices: "TaskChoices") -> "Simulator":
    """Return the simulator of a task, or its stand-in, without running it.

    Raises:
      UnknownNameError: A name does not exist.
      InvalidArgumentError: The stand-in belongs to another simulator, space, fidelity or options.
    """
    from archgym.tasks.pipeline import resolve_simulator

    return resolve_simulator(choices)[0]


_OTHER_OPTIONS = ("space", "workload", "objective", "fidelity")


def _simulator_options(texts: Sequence[str]) -> dict[str, str]:
    """Return values of `--option` by name."""
    options = assignments("--option", texts)
    for name in _OTHER_OPTIONS:
        if name in options:
            raise InvalidArgumentError(
                f"`--option` must name an option of the simulator; {name!r} has its own option. "
                f"Write --{name} {options[name]}."
            )
    return options


def workload_weights(texts: Sequence[str] | None) -> dict[str, float] | None:
    """Return weights by name or path from texts such as ``cloud-1=2``; None without texts.

    Raises:
      InvalidArgumentError: A text has another form, or a name appears twice.
    """
    if not texts:
        return None
    weights: dict[str, float] = {}
    for text in texts:
        name, weight = _split_weight(text)
        if name in weights:
            raise InvalidArgumentError(f"`--workload` must name {name!r} once; it came twice.")
        weights[name] = weight
    return weights


def _split_weight(text: str) -> tuple[str, float]:
    name, sign, weight = text.rpartition("=")
    # A file's name may contain an equals sign.
    if not sign or Path(text).is_file():
        return text, 1.0
    try:
        return name, float(weight)
    except ValueError:
        raise InvalidArgumentError(
            f"`--workload` must read name or name=weight; got {text!r}."
        ) from None


def option_values(kind: type["Simulator"]) -> Mapping[str, tuple[str, ...]]:
    """Return the options of a simulator with the names that each takes."""
    from archgym.evaluation.capabilities import option_names
    from archgym.evaluation.options import declared_options

    names = {each.name: each.option.names for each in declared_options(kind)}
    return {name: tuple(names.get(name, ())) for name in option_names(kind)}
