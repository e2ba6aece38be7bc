"""Stand-ins: files that replace a simulator, exact tables and fitted models."""

import importlib
import inspect
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from archgym.errors import ArchGymError, InvalidArgumentError, unknown_name
from archgym.evaluation.options import make_simulator
from archgym.evaluation.restriction import unrestricted
from archgym.evaluation.simulator import (
    Simulator,
    Workload,
    simulator_class,
    simulator_names,
)
from archgym.evaluation.spec import SimulatorSpec
from archgym.evaluation.specification import Declaration, WorkloadFacts
from archgym.files.remote import local_copy, url_of
from archgym.files.storage import open_file, storage_errors

StandInKind = Literal["table", "proxy"]

PROXY_OPTION = "proxy"
"""Option that names the content of a proxy in its tasks, so that they differ from others."""

_PARQUET = b"PAR1"
# Modules of the classes that open each kind of file; the core must not import them.
_HOMES: dict[StandInKind, tuple[str, str]] = {
    "table": ("archgym.tables.simulator", "TableSimulator"),
    "proxy": ("archgym.proxy.proxy", "ProxySimulator"),
}


class StandIn(Simulator):
    """Simulator whose results come from a file that was made with another simulator.

    It has the declaration of the other: name, version, options, space, metrics, objectives and
    digests of workloads. Implementations take only a path, and define `kind` and `simulate`.
    """

    kind: ClassVar[StandInKind]

    def __init__(
        self,
        declaration: Declaration,
        path: Path,
        digest: str,
        options: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> None:
        """Take the declaration of the file.

        Args:
          declaration: Declaration of the simulator.
          path: The file.
          digest: SHA-256 of the file's content.
          options: Further options, of the stand-in itself.
          **changes: Other members of the declaration that the stand-in decides.
        """
        self.declaration = declaration
        self.path = path if url_of(path) else path.absolute()
        self.digest = digest
        members: dict[str, Any] = {}
        if declaration.simulator in simulator_names():
            known = simulator_class(declaration.simulator).spec
            members = {
                "physical_limits": known.physical_limits,
                "usual_limits": known.usual_limits,
                "compared": known.compared,
            }
        names = [workload.names[0] for workload in declaration.workloads]
        default = declaration.default_workload
        members |= {
            "name": declaration.simulator,
            "version": declaration.version,
            "space": declaration.space,
            "metrics": declaration.metrics,
            "model_reasons": declaration.model_reasons,
            "objectives": declaration.objectives,
            "default_objective": declaration.default_objective,
            "default_workload": default if default in names else "",
            "fidelity": declaration.fidelity,
            "fidelity_names": (declaration.default_fidelity,),
            "options": {**declaration.options, **(options or {})},
            "groups": declaration.groups,
            "is_measured": declaration.is_measured,
        }
        self.spec = SimulatorSpec(**(members | changes))

    def __reduce__(self) -> tuple[type["StandIn"], tuple[Path]]:
        # Another process opens the file again, since its content may be large.
        return type(self), (self.path,)

    def workload_names(self) -> tuple[str, ...]:
        """Return workloads of the file by their names or paths."""
        return tuple(workload.names[0] for workload in self.declaration.workloads)

    def workload(self, name: str | Path) -> Workload:
        """Return the workload of the file with this name or path.

        Raises:
          UnknownNameError: The file has none.
        """
        facts = self.workload_facts(name)
        return Workload(facts.name, facts.digest, facts)

    def describe_workload(self, workload: Workload) -> Mapping[str, tuple[float | str, str]]:
        """Return the recorded characteristics of a workload."""
        return dict(self.workload_facts(workload.name).facts)

    def workload_facts(self, name: str | Path) -> WorkloadFacts:
        """Return the recorded facts of the workload with this name or path.

        Raises:
          UnknownNameError: The file has none.
        """
        for text in (str(name), str(Path(name).absolute())):
            if text in self._workloads:
                return self._workloads[text]
        known = [workload.name for workload in self.declaration.workloads]
        raise unknown_name(f"workload of {self.path.name}", str(name), known)

    def simulator(self) -> Simulator:
        """Return the registered simulator that the file was made with.

        Raises:
          InvalidArgumentError: It is not installed here, or in another version.
        """
        declared = self.declaration
        if declared.simulator not in simulator_names():
            raise InvalidArgumentError(
                f"{self.path} must be of a registered simulator; it is of the Python function "
                f"{declared.simulator!r} (or of a simulator that is not installed), which commands "
                "cannot call. `archgym.tables.verify_table` takes the function's simulator."
            )
        simulator = make_simulator(
            simulator_class(declared.simulator),
            declared.space_name,
            declared.fidelity,
            declared.options,
        )
        other = declared.difference(Declaration.of(simulator, declared.space_name, {}))
        if other is not None:
            raise InvalidArgumentError(
                f"{self.path} must be of the simulator as it is installed here; its `{other}` "
                "differs. Use the version that it was made with."
            )
        return simulator

    @cached_property
    def _workloads(self) -> dict[str, WorkloadFacts]:
        return {name: w for w in reversed(self.declaration.workloads) for name in w.names}


def stand_in_kind(path: str | Path) -> StandInKind:
    """Return the kind of stand-in of a file, by its first bytes.

    Raises:
      StorageError: It cannot be read.
    """
    with storage_errors(path, "read"), open_file(local_copy(path)) as handle:
        return "table" if handle.read(len(_PARQUET)) == _PARQUET else "proxy"


def open_stand_in(path: str | Path) -> StandIn:
    """Return the table or proxy in a file, as a simulator.

    Raises:
      FileFormatError: The file is neither, or it is damaged.
      StorageError: It cannot be read.
    """
    module, name = _HOMES[stand_in_kind(path)]
    stand_in: StandIn = getattr(importlib.import_module(module), name)(Path(path))
    return stand_in


def check_agreement(
    stand_in: StandIn,
    simulator: str | Simulator | None,
    space: str | None,
    fidelity: str | None,
    options: Mapping[str, str],
) -> None:
    """Refuse a stand-in of other choices than these; None for any.

    Args:
      stand_in: Opened table or proxy.
      simulator: Name, or the simulator itself.
      space: Name of its space.
      fidelity: Name of its fidelity.
      options: Options of the simulator; any for those left out.

    Raises:
      InvalidArgumentError: A choice differs; the message says which.
    """
    declared = stand_in.declaration
    if isinstance(simulator, Simulator):
        other = declared.difference(Declaration.of(simulator, declared.space_name, {}))
        if other is not None:
            raise InvalidArgumentError(
                f"`stand_in` must answer for the simulator that was given; {stand_in.path} was "
                f"made with another `{other}`. Make it again, or leave it out."
            )
        if declared.options:
            _check_contents(stand_in, simulator)
        simulator = declared.simulator
    asked: list[tuple[str, str | None, str | None]] = [
        ("simulator", simulator, declared.simulator),
        ("space", space, declared.space_name),
        ("fidelity", fidelity, declared.fidelity),
    ]
    asked += [
        (name, value, stand_in.options.get(name, _default_option(declared.simulator, name)))
        for name, value in options.items()
    ]
    for name, wanted, there in asked:
        if wanted is not None and wanted != there:
            if name in options and _mean_the_same(declared, options):
                continue
            raise InvalidArgumentError(
                f"`{name}` must be what {stand_in.path} was made with, {there!r}; got {wanted!r}. "
                f"Leave it out, or use another {stand_in.kind}."
            )
    if any(value is not None and Path(value).is_file() for value in options.values()):
        _check_contents(stand_in, stand_in.simulator())


def _check_contents(stand_in: StandIn, simulator: Simulator) -> None:
    """Refuse a stand-in whose options name files that have changed.

    Only digests of workloads show that; files of workloads need not exist any more.
    """
    shipped = simulator.workload_names()
    for facts in stand_in.declaration.workloads:
        name = facts.names[0]
        if name in shipped and simulator.workload(name).digest != facts.digest:
            raise InvalidArgumentError(
                f"Files that options name must hold what {stand_in.path} was made with; with them "
                f"workload {name!r} is another now. Make the {stand_in.kind} again, or leave the "
                "options out."
            )


def _mean_the_same(declared: Declaration, options: Mapping[str, str]) -> bool:
    """Return True if options make the simulator that a stand-in was made with, in other words."""
    try:
        asked = make_simulator(
            simulator_class(declared.simulator),
            declared.space_name,
            declared.fidelity,
            {**declared.options, **options},
        )
    except ArchGymError:
        return False
    was = declared.version, dict(declared.options)
    return (asked.version, dict(asked.options)) == was


def _default_option(simulator: str, name: str) -> str | None:
    """Return the default of a simulator's option, None if unknown."""
    if simulator not in simulator_names():
        return None
    parameter = inspect.signature(simulator_class(simulator)).parameters.get(name)
    default = None if parameter is None else parameter.default
    return str(default) if isinstance(default, str | int | float) else None


def stood_in_for(simulator: Simulator) -> Simulator:
    """Return the simulator in whose place a table or proxy answers, or the one that is given."""
    source = unrestricted(simulator)
    if not isinstance(source, StandIn):
        return simulator
    said = source.declaration
    space = said.space_name if source is simulator else simulator.space.name
    options = {name: value for name, value in said.options.items() if name != "proxy"}
    return make_simulator(simulator_class(said.simulator), space, said.fidelity, options)
