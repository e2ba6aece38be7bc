"""Making of simulators from the names and texts that tasks record."""

import inspect
from collections.abc import Mapping
from typing import Any

from archgym.errors import InvalidArgumentError, unknown_name
from archgym.evaluation.restriction import restrict, split_space
from archgym.evaluation.simulator import Simulator, option_names


def make_simulator(
    kind: type[Simulator], space: str | None, fidelity: str | None, options: Mapping[str, str]
) -> Simulator:
    """Return the simulator of a space and fidelity, with these options.

    Args:
      kind: Class of the simulator.
      space: Name of a space, whole or restricted (see `archgym.evaluation.restriction`); None for
        the default.
      fidelity: Name of a fidelity; None for the default.
      options: Other arguments of the constructor; what is absent has its default.

    Raises:
      UnknownNameError: There is no such space, fidelity or option; the message lists the near ones.
      InvalidArgumentError: The constructor needs other arguments.
    """
    space, held = split_space(space)
    registered_class, asked = kind, options
    kind, options = kind.variant(asked)
    # A class that options chose has spaces and options of its own: say of which.
    chosen_by = ", ".join(f"{name}={value}" for name, value in asked.items())
    described = f" with {chosen_by}" if kind is not registered_class else ""
    known_options = option_names(kind)
    for name in options:
        if name not in known_options:
            raise unknown_name(f"option of simulator {kind.name!r}{described}", name, known_options)
    chosen = {}
    for what, wanted, names, former in (
        ("space", space, kind.space_names, ()),
        ("fidelity", fidelity, kind.fidelity_names, kind.former_fidelity_names),
    ):
        if wanted is not None and wanted not in (*names, *former):
            owner = f" of simulator {kind.name!r}{described}" if described else ""
            error = unknown_name(f"{what}{owner}", wanted, names)
            error.choice = what
            raise error
        # A simulator with one space or fidelity has nothing to be told.
        if len(names) > 1 or _takes(kind, what):
            chosen[what] = names[0] if wanted is None else wanted
    try:
        inspect.signature(kind).bind(**chosen, **options)
    except TypeError as error:
        given = ", ".join(f"`{name}`" for name in (*chosen, *options)) or "no arguments"
        raise InvalidArgumentError(
            f"Simulator {kind.__name__} must be one that is made with {given}; its constructor "
            f"differs: {error}. Give its other arguments defaults."
        ) from None
    make: Any = kind
    simulator: Simulator = make(**chosen, **options)
    return restrict(simulator, held)


def _takes(kind: type[Simulator], name: str) -> bool:
    """Return True if the constructor has an argument with this name, or takes any."""
    parameters = inspect.signature(kind).parameters
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
