"""Proximal policy optimisation by several agents that make a design together, by RLlib."""

import importlib.util
from typing import TYPE_CHECKING, Annotated, final

import numpy as np

from archgym.agent.agent import Agent, checked_hyperparameters
from archgym.agents import _hyperparameters as shared
from archgym.agents._policy_layout import require_layout
from archgym.agents._random_state import RandomState
from archgym.agents._sb3.learner import remade
from archgym.checks import check_whole
from archgym.errors import MissingExtraError
from archgym.evaluation.trials import Evaluate
from archgym.files.policy import Policy
from archgym.spaces.parameter import Categorical
from archgym.spaces.space import DesignSpace
from archgym.tasks.task import Task

if TYPE_CHECKING:
    from archgym.agents._rllib.team import Team


@final
class MultiAgentPpoAgent(Agent):
    """Agents with parts of a design each learn from the reward that they all get.

    They are those of `archgym.envs.parallel`: one for each parameter, or for each sub-system of the
    simulator (a simulator that declares none counts as one). With independent policies each learns
    its own odds, as if the others were part of the world; a shared policy is told for whom it acts.
    A central critic, used in training only, sees the whole design but the agent's own part. At
    first every value of every parameter is equally likely.

    Source:
      Krishnan et al., *Multi-Agent Reinforcement Learning for Microprocessor Design Space
      Exploration*, arXiv:2211.16385, 2022. Yu et al., *The Surprising Effectiveness of PPO in
      Cooperative Multi-Agent Games*, arXiv:2103.01955, 2021. That a critic sees others' actions is
      from Lowe et al., *Multi-Agent Actor-Critic*, arXiv:1706.02275, 2017.
    """

    name = "multi_agent_ppo"
    library = "ray"
    batch = "batch"

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        groups: Annotated[
            str,
            Categorical(
                name="groups",
                choices=("parameter", "subsystem"),
                doc="What an agent chooses: one parameter, or those of one sub-system.",
            ),
        ] = "parameter",
        policies: Annotated[
            str,
            Categorical(
                name="policies",
                choices=("independent", "shared"),
                doc="A policy for each agent, or one for all that is told for whom it acts.",
            ),
        ] = "independent",
        critic: Annotated[
            str,
            Categorical(
                name="critic",
                choices=("own", "central"),
                doc="What critics see: what the agent does, or all, and what the others choose.",
            ),
        ] = "own",
        observes: Annotated[
            str,
            Categorical(
                name="observes",
                choices=("all", "own"),
                doc="What agents see: everything, or their own choices and the metrics.",
            ),
        ] = "all",
        rollout: shared.Rollout = 64,
        minibatches: shared.Minibatches = 4,
        epochs: shared.Epochs = 10,
        learning_rate: shared.LearningRate = 1e-3,
        entropy: shared.Entropy = 0.01,
        clip: shared.Clip = 0.2,
        floor: shared.Floor = -2.0,
        width: shared.Width = 64,
        layers: shared.Layers = 2,
    ) -> None:
        """Check the hyperparameters, whose annotations explain them.

        Raises:
          MissingExtraError: A library is not installed.
        """
        for package in ("ray", "torch", "pettingzoo"):
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(package, "marl")
        # `locals()` is what was given, by name.
        self._values = checked_hyperparameters(type(self), locals())
        self._seed = seed
        self._task: Task | None = None
        self._weights: dict[str, np.ndarray] = {}
        self._n_updates = 0

    def search(self, evaluate: Evaluate, task: Task) -> None:
        if (task.space.sizes == 1).all():
            # Nobody has anything to choose.
            evaluate(task.space.default_indices[None])
            return
        # RLlib draws random numbers while it is imported, which is done once only.
        with RandomState(self._seed):
            from archgym.agents._rllib.training import train_here

        self._task = task
        with RandomState(self._seed) as random_state:
            team = self._team(task)
            outside = random_state.outside(evaluate)
            train_here(team, task, self._values, self._seed, outside, self._keep)

    def policy(self) -> Policy | None:
        if self._task is None or not self._weights:
            return None
        from archgym.agents._rllib.policy import ACTOR, describe

        actors = {name: w for name, w in self._weights.items() if name.startswith(ACTOR)}
        return Policy(
            self.name,
            dict(self._values),
            describe(self._task, self._team(self._task), self._n_updates),
            actors,
        )

    @classmethod
    def propose(cls, policy: Policy, task: Task, n: int, seed: int) -> np.ndarray:
        agent: MultiAgentPpoAgent = remade(cls, policy, task.space)
        from archgym.agents._rllib.policy import layout, make_designs

        n = check_whole("n", n, 1)
        seed = check_whole("seed", seed, 0)
        with RandomState(seed):
            team = agent._team(task)
            require_layout(policy, task, layout(task, team))
            return make_designs(policy, task, team, n, seed)

    def _team(self, task: Task) -> "Team":
        from archgym.agents._rllib.team import Team

        values = self._values
        return Team.make(
            task,
            groups=values["groups"],
            observes=values["observes"],
            is_central=values["critic"] == "central",
        )

    def _keep(self, weights: dict[str, np.ndarray], n_updates: int) -> None:
        self._weights, self._n_updates = weights, n_updates
