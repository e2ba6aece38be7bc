"""Declaration of the control of a simulator, and the list of those that are installed."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, final

from archgym.errors import ArchGymError, InvalidArgumentError

if TYPE_CHECKING:
    from archgym.control.tasks import ControlTask

logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True, kw_only=True)
class RuleView:
    """View that rules of the domain `SIMULATOR-control` have of a run.

    Attributes:
      doc: Description of the settings that a rule chooses, in one sentence.
      seen: Counters that it sees, by name.
      templates: Source of rules to start from, by name.
      n_actions: Actions of the default task.
      by_counters: Names of the tasks' own rules, next to which a rule is compared.
      compiled_with: Names of further tasks, whose kernels the process of rules has to hold.
    """

    doc: str
    seen: tuple[str, ...]
    templates: Mapping[str, str]
    n_actions: int
    by_counters: tuple[str, ...] = ()
    compiled_with: tuple[str, ...] = ()


@final
@dataclass(frozen=True, kw_only=True)
class Control:
    """Control of a simulator.

    The file `control/tasks.py` of its folder declares it as `CONTROL`. Another distribution names
    it in the entry-point group `archgym.control`.

    Attributes:
      simulator: Name of the simulator, with which the names of its tasks begin.
      tasks: Functions that make its tasks, by name; the first is the default of environments and
        rules.
      team: Start of the names of its tasks of several agents, and the word for these, such as
        `cores`; None if it has none.
      rules: View that rules have; None if it takes none.
      options: Names of its tasks' options that name programs to train on, and those never seen.
      families: Programs that + joins, by family; no program of one is like those of another.
    """

    simulator: str
    tasks: "Mapping[str, Callable[..., ControlTask]]"
    team: tuple[str, str] | None = None
    rules: RuleView | None = None
    options: tuple[str, str] | None = None
    families: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check names, which say whose a task is."""
        wrong = [name for name in self.tasks if not name.startswith(f"{self.simulator}-")]
        if wrong or not self.tasks:
            raise InvalidArgumentError(
                f"`tasks` must have one or more names that begin with '{self.simulator}-'; got "
                f"{wrong or 'none'}."
            )

    def naming(self, task: str, unseen: str, trained: str = "") -> str:
        """Return a task's name with programs never seen, and others to train on, as options.

        Raises:
          InvalidArgumentError: Its tasks do not take programs.
        """
        if self.options is None:
            raise InvalidArgumentError(f"Task {task!r} must take programs; it has no such option.")
        given = zip(self.options, (trained, unseen), strict=True)
        text = ",".join(f"{name}={programs}" for name, programs in given if programs)
        return f"{task}{',' if ':' in task else ':'}{text}"

    @property
    def default(self) -> str:
        """Name of the default task."""
        return next(iter(self.tasks))


@cache
def controls() -> dict[str, Control]:
    """Return what all simulators declare, by simulator."""
    package = Path(__file__).parents[1]
    found = {}
    for path in sorted(package.glob("simulators/*/control/tasks.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        declared: Control = import_module(".".join(parts)).CONTROL
        found[declared.simulator] = declared
    for point in entry_points(group="archgym.control"):
        try:
            own = point.load()
        except (ArchGymError, ImportError, AttributeError) as error:
            # Another package that is broken must not break what others declare.
            logger.warning("Control %r cannot be loaded: %s", point.value, error)
            continue
        if not isinstance(own, Control) or found.setdefault(own.simulator, own) is not own:
            logger.warning("Control %r must be a new `Control`; it is not used.", point.value)
    return found


def control_of(task: str) -> Control | None:
    """Return the declaration that a task of this name is of; None for a task of the user's own."""
    return controls().get(task.partition("-")[0])
