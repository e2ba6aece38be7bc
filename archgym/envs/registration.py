"""Registers an environment with Gymnasium for each simulator.

Gymnasium (1.0 and later) loads no plug-ins, and importing it takes longer than all the rest of
``import archgym``. So it is not imported here: where it has been imported already, environments are
registered at once, and else as soon as it is. Nor is much else, since all this happens before the
command line can handle a signal.
"""

import importlib.util
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from archgym.control.declaration import Control
    from archgym.tasks.task import Task


def environment_id(simulator: str, version: int) -> str:
    """Return id of a simulator's environment.

    >>> environment_id("dram", 0)
    'archgym/Dram-v1'
    >>> environment_id("moe_serving", 2)
    'archgym/MoeServing-v2'
    >>> environment_id("cpu+dram", 0)
    'archgym/CpuDram-v0'
    """
    name = "".join(word.capitalize() for word in simulator.replace("+", "_").split("_"))
    return f"archgym/{name}-v{version}"


def environment_ids() -> dict[str, str]:
    """Return names of all simulators that can be imported, by the id of their environment."""
    import logging

    from archgym.errors import ArchGymError
    from archgym.evaluation.simulator import simulator_class, simulator_names

    found = {}
    for name in simulator_names():
        try:
            found[environment_id(name, simulator_class(name).spec.version)] = name
        except (ArchGymError, ImportError) as error:
            # Another package's simulator that is broken must not break `import gymnasium`.
            logging.getLogger(__name__).warning("Simulator %r has no environment: %s", name, error)
    return found


def control_ids() -> "dict[str, Control]":
    """Return what simulators declare of control, by the id of their environment."""
    from archgym.control.declaration import controls

    return {environment_id(f"{name}_control", 0): each for name, each in controls().items()}


def register_all() -> None:
    """Register the environment of every simulator, where it is not registered yet."""
    import gymnasium

    present = {env_id: {"task": name} for env_id, name in environment_ids().items()}
    control = {i: {"task": c.default, "domain": c.simulator} for i, c in control_ids().items()}
    batch = "archgym.envs.batch:DesignVectorEnv"
    for environments, entry, vector in (
        (present, "archgym.envs.design:DesignEnv", batch),
        (control, "archgym.envs.control:ControlEnv", None),
    ):
        for env_id, arguments in environments.items():
            if env_id not in gymnasium.registry:
                gymnasium.register(env_id, entry, vector_entry_point=vector, kwargs=arguments)


def register_with_gymnasium() -> None:
    """Register all environments now, or as soon as Gymnasium is imported."""
    if "gymnasium" in sys.modules:
        register_all()
    elif not any(isinstance(finder, _AfterGymnasium) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterGymnasium())


@final
class _AfterGymnasium:
    """Import hook that calls `register_all` when Gymnasium has been imported."""

    def __init__(self) -> None:
        self._is_searching = False

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        if fullname != "gymnasium" or self._is_searching:
            return None
        self._is_searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._is_searching = False
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_register(module: "ModuleType") -> None:
            load(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            register_all()

        spec.loader.exec_module = load_and_register  # type: ignore[method-assign]  # this one only
        return spec


def _check_arguments(simulator: str, choices: "dict[str, Any]") -> None:
    """Raise a TypeError as well where an argument is unknown.

    Libraries such as TorchRL try arguments of their own and leave them out after a TypeError.
    """
    from archgym.evaluation.capabilities import option_names
    from archgym.evaluation.simulator import simulator_class, simulator_names
    from archgym.tasks.choices import TaskChoices

    if "stand_in" in choices and simulator not in simulator_names():
        return  # the file declares a simulator that is not installed
    known = {*TaskChoices.names(), *option_names(simulator_class(simulator))}
    check_keywords(choices, known - {"simulator"})


def check_keywords(choices: "dict[str, Any]", known: Iterable[str]) -> None:
    """Raise an error that is a TypeError as well where an argument is unknown."""
    from archgym.errors import UnknownNameError, unknown_name

    class UnexpectedKeywordError(UnknownNameError, TypeError):
        """An argument that neither the environment nor its task has."""

    for name in choices:
        if name not in known:
            error = unknown_name("argument", name, known)
            raise UnexpectedKeywordError(f"unexpected keyword argument {name!r}. {error}")


def task_of(task: "Task | str", **choices: Any) -> "Task":
    """Return the task: as given, or made from an environment's id or a simulator's name.

    Args:
      task: A task, the id of an environment, or the name of a simulator.
      **choices: Further arguments of `Task.make` for a name.

    Raises:
      InvalidArgumentError: A task is given and choices as well, or an argument does not fit.
      UnknownNameError: A name does not exist.
    """
    from archgym.errors import InvalidArgumentError, unknown_name
    from archgym.tasks.task import Task

    if isinstance(task, Task):
        if choices:
            raise InvalidArgumentError(
                f"`{next(iter(choices))}` is part of the task that was given; it must be left out."
            )
        return task
    if not isinstance(task, str):
        raise InvalidArgumentError(
            f"`task` must be a Task, the id of an environment or a simulator's name; got {task!r}."
        )
    if task.startswith("archgym/"):
        ids = environment_ids()
        if task not in ids:
            raise unknown_name("environment", task, ids)
        task = ids[task]
    _check_arguments(task, choices)
    return Task.make(task, **choices)
