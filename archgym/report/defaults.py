"""Whether a run had its agent's defaults."""

import json

from archgym.discovery import agent_class
from archgym.errors import ArchGymError

__all__ = ["has_defaults"]


def has_defaults(agent: str, hyperparameters: str) -> bool:
    """Whether hyperparameters, as JSON, are those that an agent has without any.

    Of an agent that is not installed, only none at all are known to be.
    """
    given = json.loads(hyperparameters)
    if not isinstance(given, dict):
        return False
    try:
        known = {p.name: p.default for p in agent_class(agent).hyperparameters} if given else {}
    except ArchGymError:
        return False
    return all(name in known and known[name] == value for name, value in given.items())
