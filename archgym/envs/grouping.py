"""Which parameters each of several agents chooses."""

from collections.abc import Mapping, Sequence

from archgym.errors import InvalidArgumentError
from archgym.task import Task

__all__ = ["agents_of"]


def agents_of(task: Task, groups: str | Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The parameters of each agent, by its name.

    Args:
      task: Whose parameters.
      groups: "parameter": an agent for each parameter that has more than one value, named as it;
        "subsystem": one for each of `Simulator.groups`; or names of agents with their parameters.

    Raises:
      InvalidArgumentError: The groups leave out a parameter or name one twice, or name what is no
        parameter, or one of them is empty; the simulator declares no sub-systems; or nothing can
        be chosen.
    """
    space = task.space
    if isinstance(groups, Mapping):
        return _partition(groups, space.names, "`groups`")
    if groups == "parameter":
        agents: dict[str, tuple[str, ...]] = {
            p.name: (p.name,) for p in space.parameters if p.size > 1
        }
        if not agents:
            raise InvalidArgumentError(
                f"A parameter of space {space.name!r} must have more than one value for an agent "
                "to choose; none has."
            )
        return agents
    if groups == "subsystem":
        simulator = task.simulator
        if not simulator.groups:
            raise InvalidArgumentError(
                f'Simulator {simulator.name!r} must declare sub-systems for groups="subsystem"; '
                "it declares none. Give a mapping from agents to their parameters, or use "
                'groups="parameter".'
            )
        return _partition(simulator.groups, space.names, f"`groups` of {simulator.name!r}")
    raise InvalidArgumentError(
        '`groups` must be "parameter", "subsystem", or a mapping from agents to their parameters; '
        f"got {groups!r}."
    )


def _partition(
    groups: Mapping[str, Sequence[str]], names: tuple[str, ...], what: str
) -> dict[str, tuple[str, ...]]:
    """The groups, checked: each parameter in one of them and nothing else."""
    if not groups:
        raise InvalidArgumentError(f"{what} must have a group or more; got none.")
    owner: dict[str, str] = {}
    for agent, members in groups.items():
        if not isinstance(agent, str) or not agent:
            raise InvalidArgumentError(f"{what} must have texts as names; got {agent!r}.")
        # A set has no order, in which an action has its parts, and an iterator but one use.
        if isinstance(members, str) or not isinstance(members, Sequence) or not members:
            raise InvalidArgumentError(
                f"{what} must give a list of parameters for {agent!r}; got {members!r}."
            )
        for name in members:
            if name not in names:
                raise InvalidArgumentError(
                    f"{what} must name parameters of the space; got {name!r} in {agent!r}. There "
                    f"is {', '.join(repr(n) for n in names)}."
                )
            if name in owner:
                raise InvalidArgumentError(
                    f"{what} must have each parameter once; {name!r} is in {owner[name]!r} and in "
                    f"{agent!r}."
                )
            owner[name] = agent
    missing = [name for name in names if name not in owner]
    if missing:
        raise InvalidArgumentError(
            f"{what} must have each parameter of the space; "
            f"{', '.join(repr(name) for name in missing)} is in none."
        )
    return {agent: tuple(members) for agent, members in groups.items()}
