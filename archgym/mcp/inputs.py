"""Parts of inputs that several tools share."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from archgym.errors import InvalidDesignError
from archgym.evaluation.task_choices import TaskChoices
from archgym.spaces.design import Design
from archgym.spaces.space import DesignSpace
from archgym.spaces.texts import tuples

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
StudyName = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=64, description="Name of a study in the working folder."),
]


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base class of all inputs; unknown members are refused."""


class TaskInput(Input, frozen=True, kw_only=True):
    """Choices that name a task; omitted ones are the simulator's defaults."""

    simulator: Annotated[
        Text | None,
        msgspec.Meta(description="Simulator, or a complete task id (see list_simulators)."),
    ] = None
    space: Annotated[Text | None, msgspec.Meta(description="Name of a space.")] = None
    workload: Annotated[
        Text | dict[str, float] | None,
        msgspec.Meta(description="Name or file of a workload, or several with weights."),
    ] = None
    objective: Annotated[Text | None, msgspec.Meta(description="Name of an objective.")] = None
    minimise: Annotated[
        list[Text] | None, msgspec.Meta(description="Metrics to minimise, not with objective.")
    ] = None
    maximise: Annotated[
        list[Text] | None, msgspec.Meta(description="Metrics to maximise, not with objective.")
    ] = None
    subject_to: Annotated[
        list[Text] | None,
        msgspec.Meta(description='Hard limits on metrics, such as "area_mm2 <= 5".'),
    ] = None
    fidelity: Annotated[Text | None, msgspec.Meta(description="Name of a fidelity.")] = None
    stand_in: Annotated[
        Text | None,
        msgspec.Meta(description="Table or proxy file to use instead of the simulator."),
    ] = None
    options: Annotated[
        dict[str, str], msgspec.Meta(description="Further options, such as the device.")
    ] = msgspec.field(default_factory=dict)
    fixed: Annotated[
        dict[str, Any], msgspec.Meta(description="Values at which parameters are held, by name.")
    ] = msgspec.field(default_factory=dict)
    values: Annotated[
        dict[str, Any],
        msgspec.Meta(description='Values that parameters may have: lists, or texts like "1..8".'),
    ] = msgspec.field(default_factory=dict)

    def choices(self) -> TaskChoices:
        """Return the choices of the task."""
        given = {name: getattr(self, name) for name in TaskInput.__struct_fields__}
        return TaskChoices(**given | {n: given[n] or None for n in ("minimise", "maximise")})


def read_design(space: DesignSpace, values: Mapping[str, Any], position: int) -> Design:
    """Return a design from JSON; parameters that are missing take their default values.

    Args:
      space: Space of the design.
      values: Values by parameter.
      position: Position in the call, for errors.

    Raises:
      InvalidDesignError: A name or value is not in the space.
    """
    default = dict(space.design_at(space.default_indices))
    try:
        return space.design({**default, **tuples(values)})
    except (InvalidDesignError, LookupError, TypeError) as error:
        raise InvalidDesignError(f"designs[{position}]: {error}") from None
