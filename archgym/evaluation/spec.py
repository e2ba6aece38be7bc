"""The declaration of a simulator: what it is, as one frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, Self, cast, final

from archgym.evaluation.limits import Limit
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective
from archgym.spaces.space import DesignSpace

# A class whose constructor chooses the space declares none.
_UNDECIDED: Final = cast(DesignSpace, None)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatorSpec:
    """Declaration of a simulator, of a class or of one of its instances.

    A class declares what is known before an instance exists: its name, spaces, fidelities and so
    on. A constructor that takes a space or options fills in the rest with `completed`.

    Example:
      >>> from archgym.spaces.parameter import Integer
      >>> spec = SimulatorSpec(
      ...     name="adder",
      ...     space=DesignSpace("default", [Integer(name="blocks", low=1, high=16)]),
      ...     metrics=(MetricSpec("delay_ns", "ns", "minimise", 0.001, "Time of an addition."),),
      ... )
      >>> spec.default_fidelity, spec.reasons
      ('standard', ('',))
    """

    name: str
    """Registered name: the folder's."""
    version: int = 0
    """Raised when any number that it returns changes."""
    title: str = ""
    """Kind of design in a few words, for headings, such as "Memory controller"."""
    compared: str = ""
    """Sources that its results were compared with, and those that they were not, in words."""
    space: DesignSpace = _UNDECIDED
    metrics: tuple[MetricSpec, ...] = ()
    model_reasons: tuple[str, ...] = ()
    """Reasons why the model may find that a design cannot be built."""
    objectives: Mapping[str, Objective] = field(default_factory=dict)
    default_objective: str = ""
    default_workload: str = ""
    """Workload that a task has by default; the first one if empty."""
    physical_limits: tuple[Limit, ...] = ()
    """Conditions of a design's existence, such as a model that fits into memory. Tasks add these
    limits to every objective; objectives by name state them."""
    usual_limits: tuple[Limit, ...] = ()
    """Limits under `minimise` and `maximise`, each unless the caller limits the same metric. They
    keep what a metric alone would sacrifice, such as the quality of answers."""
    fidelity: str = "standard"
    options: Mapping[str, str] = field(default_factory=dict)
    """Constructor arguments, other than space and fidelity, that change results."""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Sub-systems: names of parameters that belong together."""
    bounded_by: tuple[str, ...] = ()
    """Parameters that must all be chosen before bounds are known; empty where each choice narrows
    them."""
    costs: Mapping[str, str] = field(default_factory=dict)
    """Costs that an ideal machine does not pay, such as refresh: by a short name, what is free
    without it. What a design gains by that is what the cost causes."""
    relief: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Parameters that relieve each of `costs`."""
    exports: Mapping[str, str] = field(default_factory=dict)
    """Formats of other tools in which a design is written: by name, a line on its files."""
    exports_of_options: Mapping[str, str] = field(default_factory=dict)
    """Formats that need an option of the constructor: by name, the option as "name=value"."""
    partial_exports: tuple[str, ...] = ()
    """Formats of `exports` that may lack parameters of a design; an export then lists them."""
    space_names: tuple[str, ...] = ("default",)
    """Spaces that the constructor's `space` may name; the first is its default."""
    fidelity_names: tuple[str, ...] = ("standard",)
    """Fidelities that the constructor's `fidelity` may name; the first is its default."""
    faster_fidelity: str | None = None
    """Fidelity of `fidelity_names` that takes less time than the default, where there is one."""
    table_space: str | None = None
    """The space that is small enough to be tabulated, where there is one: `archgym table build`."""
    holds_interpreter: bool = False
    """True for a simulator in plain Python, which threads do not speed up."""
    is_measured: bool = False
    """True if running a design again may give other numbers, such as those of a user's program.
    What the default design measured is then no part of a task's identity."""
    evaluation_s: float = 1.0
    """Rough time of one evaluation [s]. By it, not by a clock, an agent decides how long it thinks
    and how many designs it has in flight."""
    evaluation_s_of: Mapping[str, float] = field(default_factory=dict)
    """By space, the rough time of an evaluation where it is another one [s]."""
    accuracy_percent: Mapping[str, float] = field(default_factory=dict)
    """By fidelity, the largest error of any metric against the reference [%], where one is
    stated; `archgym validate` measures it again."""

    def completed(self, *, space: DesignSpace, **changes: Any) -> Self:
        """Return the declaration of an instance: with its space, and groups of what that has.

        Args:
          space: Design space of the instance.
          **changes: Other members that the instance decides, such as `metrics`.
        """
        groups: Mapping[str, tuple[str, ...]] = changes.pop("groups", self.groups)
        known = set(space.names)
        present = {
            group: tuple(name for name in names if name in known) for group, names in groups.items()
        }
        present = {group: names for group, names in present.items() if names}
        return replace(self, space=space, groups=present, **changes)

    @property
    def default_fidelity(self) -> str:
        """The fidelity that a task's name leaves out."""
        return self.fidelity_names[0]

    def faster(self) -> str:
        """Return a sentence on what makes an evaluation faster, after a space."""
        if self.faster_fidelity not in (None, self.fidelity):
            return f" Fidelity {self.faster_fidelity!r} is faster (--fidelity)."
        return " More are evaluated at once by `workers` (--workers)."

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """Reasons why a design was not built, by `BatchResult.reason`; entry 0 is empty."""
        return ("", *self.model_reasons, *(c.reason for c in self.space.constraints))

    @cached_property
    def simulated_metrics(self) -> tuple[MetricSpec, ...]:
        """Metrics that a simulator returns itself: those without a formula."""
        return tuple(spec for spec in self.metrics if spec.formula is None)
