"""Roles in a team that makes designs: choices of each agent, inputs of actors and critics."""

from dataclasses import dataclass
from typing import Self, final

import numpy as np

from archgym.envs.formulation import Observation
from archgym.envs.multi_agent import ParallelDesignEnv
from archgym.spaces.choices import Choices
from archgym.tasks.task import Task


@final
@dataclass(frozen=True)
class Team:
    """The agents of `ParallelDesignEnv` as arrays, many episodes at once.

    Spaces, observations and the order of agents are that environment's. All agents are brought to
    one size: shorter inputs end in zeros, and an agent with fewer choices than another has some
    with a single option. Since an episode is one design, an actor sees the same at each start.

    A critic sees what the actor does or, where it is central, the whole observation with the
    choices that the *other* agents make in this episode filled in: they are part of the state that
    an agent's choices meet, and do not depend on those, so that the gradient stays unbiased.
    """

    agents: tuple[str, ...]
    parameters: tuple[tuple[str, ...], ...]
    """Names of each agent's parameters."""
    choices: tuple[tuple[int, ...], ...]
    """Places of each agent's choices among all."""
    sizes: np.ndarray
    """Options of each agent's choices, (n_agents, n_slots); 1 where it has no such choice."""
    actor_inputs: np.ndarray
    """(n_agents, n_actor) float32."""
    n_critic: int
    """Length of a critic's input."""
    is_central: bool
    observation: Observation
    n_choices: int
    n_metrics: int

    @classmethod
    def make(cls, task: Task, *, groups: str, observes: str, is_central: bool) -> Self:
        """Return the team for a task.

        Args:
          groups: "parameter" or "subsystem"; a simulator that declares no sub-systems is one.
          observes: Observation of actors, "all" or "own".
          is_central: True if critics see everything, and others' choices.
        """
        is_one = groups == "subsystem" and not task.simulator.spec.groups
        env = ParallelDesignEnv(
            task, {"design": task.space.names} if is_one else groups, observes=observes
        )
        agents = tuple(env.possible_agents)
        parameters = tuple(tuple(env.parameters[agent]) for agent in agents)
        choices = Choices(task.space)
        own = tuple(_choices_of(choices, names) for names in parameters)
        views = env.reset()[0]
        inputs = np.zeros((len(agents), max(map(len, views.values()))), dtype=np.float32)
        sizes = np.ones((len(agents), max(map(len, own))), dtype=np.int64)
        for place, agent in enumerate(agents):
            inputs[place, : len(views[agent])] = views[agent]
            sizes[place, : len(own[place])] = choices.sizes[list(own[place])]
        return cls(
            agents,
            parameters,
            own,
            sizes,
            inputs,
            len(env.state()) if is_central else inputs.shape[1],
            is_central,
            Observation(task, choices, with_position=False),
            choices.n,
            len(task.metrics),
        )

    def joined(self, actions: np.ndarray) -> np.ndarray:
        """Return all choices, (n, n_choices), that actions, (n, n_agents, n_slots), make."""
        # Choices of no agent have one option only.
        picks = np.zeros((len(actions), self.n_choices), dtype=np.int64)
        for place, own in enumerate(self.choices):
            picks[:, own] = actions[:, place, : len(own)]
        return picks

    def critic_inputs(self, picks: np.ndarray) -> np.ndarray:
        """Return the critics' inputs in n episodes, (n, n_agents, n_critic) float32.

        Args:
          picks: (n, n_choices), what all agents choose in them.
        """
        n = len(picks)
        if not self.is_central:
            return np.repeat(self.actor_inputs[None], n, axis=0)
        inputs = np.zeros((n, len(self.agents), self.n_critic), dtype=np.float32)
        nothing = np.full((n, self.n_metrics), np.nan)
        next_choice = np.full(n, self.n_choices)
        is_feasible = np.ones(n, dtype=bool)
        for place, own in enumerate(self.choices):
            is_made = np.ones(picks.shape, dtype=bool)
            is_made[:, own] = False
            inputs[:, place] = self.observation.encode(
                picks, is_made, next_choice, nothing, is_feasible
            )
        return inputs


def _choices_of(choices: Choices, parameters: tuple[str, ...]) -> tuple[int, ...]:
    places = [choices.space.names.index(name) for name in parameters]
    return tuple(int(c) for place in places for c in np.flatnonzero(choices.places == place))
