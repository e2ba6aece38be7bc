"""The options that name a task, and the task they name."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from archgym.cli.console.signals import prompt_stops
from archgym.cli.options.completion import complete_simulator
from archgym.cli.options.values import assignments
from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    from archgym.evaluation.simulator import Simulator
    from archgym.evaluation.task import Task

__all__ = [
    "FidelityOption",
    "FromProxyOption",
    "FromTableOption",
    "JsonOption",
    "ObjectiveOption",
    "OptionOption",
    "SimulatorArgument",
    "SpaceOption",
    "TaskChoice",
    "TaskCommand",
    "TaskOption",
    "WorkloadOption",
    "make_simulator",
    "make_task",
    "named_space",
    "option_values",
    "stand_in_path",
    "workload_weights",
]

SimulatorArgument = Annotated[
    str,
    typer.Argument(
        help="A simulator, or a whole task such as dram/default/cloud-1/low-latency-v0.",
        autocompletion=complete_simulator,
        metavar="SIMULATOR|TASK",
    ),
]
SpaceOption = Annotated[str | None, typer.Option("--space", help="A space of the simulator.")]
TaskOption = Annotated[
    str | None,
    typer.Option(
        "--task", help="The same, where spaces are problems; for --space.", metavar="SPACE"
    ),
]
WorkloadOption = Annotated[
    list[str] | None,
    typer.Option(
        "--workload",
        "-w",
        help="A workload or a file, with =WEIGHT where there are several; repeat it.",
        metavar="NAME[=WEIGHT]",
    ),
]
ObjectiveOption = Annotated[
    str | None,
    typer.Option("--objective", help='A name, or such as "target:total_time_ns<=90000".'),
]
FidelityOption = Annotated[str | None, typer.Option("--fidelity", help="How exact it is.")]
OptionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        help="A choice of the simulator's own; --device ddr4-2400 is --option device=ddr4-2400.",
        metavar="NAME=VALUE",
    ),
]
FromTableOption = Annotated[
    Path | None,
    typer.Option(
        "--from-table",
        help="A table (see `archgym table build`) that answers in the simulator's place.",
        metavar="FILE",
    ),
]
FromProxyOption = Annotated[
    Path | None,
    typer.Option(
        "--from-proxy",
        help="A proxy that answers in the simulator's place; its tasks are others.",
        metavar="FILE",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON.")]

_TASK_ID = re.compile(
    r"(?P<simulator>[^/\[\]]+)(\[(?P<options>[^\]]*)\])?/(?P<space>[^/]+)/(?P<workloads>[^/]+)"
    r"/(?P<objective>.+)-v(?P<version>\d+)"
)


@dataclass(frozen=True)
class TaskChoice:
    """What the command line says of a task; None where it leaves the choice to the simulator."""

    simulator: str
    space: str | None = None
    workloads: Sequence[str] | None = None
    objective: str | None = None
    fidelity: str | None = None
    options: Sequence[str] | None = None
    from_table: Path | None = None
    from_proxy: Path | None = None

    def resolved(self) -> "TaskChoice":
        """Return the choice with a task's id taken apart; options beside it count more.

        Raises:
          InvalidArgumentError: The id has another form, or names another version.
        """
        if "/" not in self.simulator:
            return self
        match = _TASK_ID.fullmatch(self.simulator)
        if match is None:
            raise InvalidArgumentError(
                "A task must read simulator/space/workload/objective-vN; "
                f"got {self.simulator!r}. Name a simulator and use options for the rest."
            )
        self._check_version(match["simulator"], int(match["version"]))
        options = match["options"].split(",") if match["options"] else []
        return TaskChoice(
            match["simulator"],
            self.space or match["space"],
            self.workloads or match["workloads"].split("+"),
            self.objective or match["objective"],
            self.fidelity,
            [*options, *(self.options or ())],
            self.from_table,
            self.from_proxy,
        )

    def _check_version(self, simulator: str, version: int) -> None:
        from archgym.evaluation.simulator import simulator_class
        from archgym.evaluation.stand_in import open_stand_in

        stand_in = stand_in_path(self.from_table, self.from_proxy)
        if stand_in is not None:
            current, where = open_stand_in(stand_in).version, f"of {stand_in}"
        else:
            current, where = simulator_class(simulator).version, "that is installed"
        if version != current:
            raise InvalidArgumentError(
                f"A task of simulator {simulator!r} must end in -v{current}, the version {where}; "
                f"got -v{version}."
            )


def named_space(space: str | None, task: str | None) -> str | None:
    """Return the space that `--space` or `--task` names; None where neither is given.

    Raises:
      InvalidArgumentError: Both are.
    """
    if space is not None and task is not None:
        raise InvalidArgumentError(
            f"`--task` and `--space` name the same, a space of the simulator; got {task!r} and "
            f"{space!r}. Leave one out."
        )
    return space if task is None else task


def stand_in_path(from_table: Path | None, from_proxy: Path | None) -> Path | None:
    """Return the file that answers in the simulator's place; None for the simulator itself.

    Raises:
      InvalidArgumentError: Both are given, or a file is of the other kind.
      StorageError: It cannot be read.
    """
    from archgym.evaluation.stand_in import stand_in_kind

    path = from_proxy if from_table is None else from_table
    if path is None:
        return None
    if from_table is not None and from_proxy is not None:
        raise InvalidArgumentError("`--from-table` and `--from-proxy` must not both be given.")
    if from_proxy is not None and stand_in_kind(path) == "table":
        raise InvalidArgumentError(
            f"`--from-proxy` must name a proxy; {path} is a Parquet file. Use --from-table."
        )
    if from_table is not None and stand_in_kind(path) == "proxy":
        raise InvalidArgumentError(
            f"`--from-table` must name a Parquet file that `archgym table build` wrote; {path} is "
            "none."
        )
    return path


def make_task(choice: TaskChoice) -> "Task":
    """Return the task, with notice where its simulator has to be compiled.

    Raises:
      UnknownNameError: A name does not exist.
      InvalidArgumentError: An option has another form.
    """
    from archgym.cli.console.progress import announce_compilation
    from archgym.evaluation.simulator import simulator_class
    from archgym.evaluation.task import Task

    choice = choice.resolved()
    stand_in = stand_in_path(choice.from_table, choice.from_proxy)
    if stand_in is None:
        simulator_class(choice.simulator)
    announce_compilation()
    with prompt_stops():
        return Task.make(
            choice.simulator,
            workload_weights(choice.workloads),
            choice.objective,
            choice.space,
            choice.fidelity,
            stand_in=stand_in,
            **_options(choice.options),
        )


_OWN_WORDS = ("space", "workload", "objective", "fidelity")


def _options(texts: Sequence[str] | None) -> dict[str, str]:
    """Return values of `--option` by name."""
    options = assignments("--option", texts or ())
    for name in _OWN_WORDS:
        if name in options:
            raise InvalidArgumentError(
                f"`--option` must name a choice of the simulator's own; {name!r} is chosen by "
                f"--{name}. Write --{name} {options[name]}."
            )
    return options


def workload_weights(texts: Sequence[str] | None) -> dict[str, float] | None:
    """Return weights by name or path from texts such as ``cloud-1=2``; None where there are none.

    Raises:
      InvalidArgumentError: A text has another form, or a name comes twice.
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
    # A file's name may hold a sign of its own.
    if not sign or Path(text).is_file():
        return text, 1.0
    try:
        return name, float(weight)
    except ValueError:
        raise InvalidArgumentError(
            f"`--workload` must read name or name=weight; got {text!r}."
        ) from None


def make_simulator(choice: TaskChoice) -> "Simulator":
    """Return the simulator of a task, or what stands in for it, without running anything.

    Raises:
      UnknownNameError: A name does not exist.
      InvalidArgumentError: The stand-in is of something else.
    """
    from archgym.evaluation import simulator
    from archgym.evaluation.simulator import simulator_class
    from archgym.evaluation.stand_in import check_agreement, open_stand_in

    choice = choice.resolved()
    options = assignments("--option", choice.options or ())
    stand_in = stand_in_path(choice.from_table, choice.from_proxy)
    if stand_in is not None:
        opened = open_stand_in(stand_in)
        check_agreement(opened, choice.simulator, choice.space, choice.fidelity, options)
        return opened
    kind = simulator_class(choice.simulator)
    return simulator.make_simulator(kind, choice.space, choice.fidelity, options)


def option_values(kind: type["Simulator"]) -> Mapping[str, tuple[str, ...]]:
    """Return the options of a simulator with their values, where its folder lists them.

    An option `device` is listed by a function `device_names` of the simulator's package.
    """
    from archgym.evaluation.simulator import option_names

    package = kind.__module__.removesuffix(".simulator")
    module = import_module(package)
    values = {}
    for name in option_names(kind):
        names: Callable[[], Sequence[str]] | None = getattr(module, f"{name}_names", None)
        values[name] = tuple(names()) if names is not None else ()
    return values


# Its place differs between releases of Typer; `BadParameter` is public in all of them.
_UsageError: Any = typer.BadParameter.__mro__[1]
_GENERAL = "--option"


class TaskCommand(TyperCommand):
    """A command on a task: it takes the options that the task's simulator declares.

    What the command itself does not have is looked for among the constructor arguments of the
    simulator that one of its arguments names, and handed to `--option`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments, those of the simulator turned into the general form."""
        own = {name: p for p in self.get_params(ctx) for name in (*p.opts, *p.secondary_opts)}
        places, subjects, place = [], [], 0
        while place < len(args) and args[place] != "--":
            word = args[place]
            name, sign, _ = word.partition("=")
            option: Any = own.get(name)
            place += 1
            if word.startswith("--") and option is None:
                places.append(place - 1)
                place += not sign
            elif word.startswith("-") and option is not None:
                place += not (sign or option.is_flag or option.count)
            elif not word.startswith("-"):
                subjects.append(word)
        known = _options_of(subjects) if places else None
        if known is not None:
            for place in reversed(places):
                args[place : place + 2] = _general(args[place : place + 2], known, list(own), ctx)
        return super().parse_args(ctx, args)


def _options_of(subjects: Sequence[str]) -> tuple[str, ...] | None:
    """What the first simulator that is named declares; None where none is."""
    from archgym.evaluation.simulator import option_names, simulator_class, simulator_names

    for subject in subjects:
        name = subject.partition("/")[0].partition("[")[0]
        if name in simulator_names():
            return option_names(simulator_class(name))
    return None


def _general(words: Sequence[str], known: Sequence[str], own: Sequence[str], ctx: Any) -> list[str]:
    """Return an option and what follows it in the form `--option NAME=VALUE`."""
    flag, sign, value = words[0].partition("=")
    name = flag.removeprefix("--").replace("-", "_")
    if name not in known:
        flags = ["--" + option.replace("_", "-") for option in known]
        near = difflib.get_close_matches(flag, [*own, *flags])
        hint = f"did you mean {', '.join(near)}?" if near else f"there is {', '.join(flags)}"
        raise _UsageError(f"No such option: {flag} ({hint})", ctx)
    if sign:
        return [_GENERAL, f"{name}={value}", *words[1:]]
    if not words[1:]:
        raise _UsageError(f"Option '{flag}' requires an argument.", ctx)
    return [_GENERAL, f"{name}={words[1]}"]
