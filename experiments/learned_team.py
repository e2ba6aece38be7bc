"""Teams of agents that each choose the parameters of one sub-system, given a workload's features.

Each agent has a network from the features to the probabilities of its own parameters' values. All
act at once and get the design's reward, so an episode is one design. They learn by proximal policy
optimisation from many workloads together. A team of one agent is a single policy, trained by the
same code.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import nn

__all__ = ["Rewards", "Team", "TeamSettings", "trained_team"]

Rewards = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Function from places of workloads, (n,), and designs, (n, n_parameters), to rewards, (n,)."""
# The defaults of Stable-Baselines3, which trains the study's other policies.
_CLIP, _VALUE_WEIGHT, _MOST_NORM = 0.2, 0.5, 0.5


@dataclass(frozen=True)
class TeamSettings:
    """Settings of PPO; the defaults are those of the study's single policy."""

    entropy: float = 0.04
    total: int = 60_000
    learning_rate: float = 2e-3
    width: int = 64
    rollout: int = 2560
    minibatch: int = 640
    epochs: int = 5
    is_central: bool = False
    """True for critics that also see what the other agents choose in the episode."""


def _network(n_inputs: int, width: int, n_outputs: int, gain: float) -> nn.Sequential:
    """Return a network of two layers; its output starts small, as in Stable-Baselines3."""
    layers = [nn.Linear(n_inputs, width), nn.Linear(width, width), nn.Linear(width, n_outputs)]
    for layer, scale in zip(layers, (2**0.5, 2**0.5, gain), strict=True):
        nn.init.orthogonal_(layer.weight, scale)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])


@final
class Team(nn.Module):
    """Actors and critics of agents, each of which owns some parameters."""

    def __init__(
        self, n_features: int, sizes: np.ndarray, groups: Sequence[Sequence[int]], width: int
    ) -> None:
        """Make a team without critics, which `trained_team` adds.

        Args:
          n_features: Features of a workload.
          sizes: (n_parameters,), values of each parameter.
          groups: Places of each agent's parameters; each parameter belongs to one agent.
          width: Width of networks.
        """
        super().__init__()
        self.sizes = [int(size) for size in sizes]
        self.groups = [list(group) for group in groups]
        self.blocks = [self._blocks(group) for group in self.groups]
        outputs = [sum(self.sizes[place] for place in group) for group in self.groups]
        self.actors = nn.ModuleList(_network(n_features, width, n, 0.01) for n in outputs)

    def _blocks(self, group: Sequence[int]) -> list[list[int]]:
        """Return an agent's parameters by their number of values, which are computed together."""
        by_size: dict[int, list[int]] = {}
        for place in group:
            by_size.setdefault(self.sizes[place], []).append(place)
        return list(by_size.values())

    def logs(self, agent: int, features: torch.Tensor) -> list[torch.Tensor]:
        """Return log-probabilities of an agent's blocks of parameters, (n, n_block, size) each."""
        blocks = self.blocks[agent]
        sizes = [self.sizes[block[0]] for block in blocks]
        lengths = [len(block) * size for block, size in zip(blocks, sizes, strict=True)]
        parts = torch.split(self.actors[agent](features), lengths, dim=1)
        return [
            part.reshape(len(features), -1, size).log_softmax(dim=2)
            for part, size in zip(parts, sizes, strict=True)
        ]

    def parameter_logs(self, features: np.ndarray) -> list[np.ndarray]:
        """Return log-probabilities of all parameters for one workload, (size,) each."""
        found: dict[int, np.ndarray] = {}
        with torch.no_grad():
            row = torch.as_tensor(features, dtype=torch.float32)[None]
            for agent, blocks in enumerate(self.blocks):
                for block, logs in zip(blocks, self.logs(agent, row), strict=True):
                    found |= {place: log.numpy() for place, log in zip(block, logs[0], strict=True)}
        return [found[place] for place in range(len(self.sizes))]

    def sample(self, features: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return a design for each row of features, (n, n_parameters)."""
        designs = torch.zeros((len(features), len(self.sizes)), dtype=torch.int64)
        with torch.no_grad():
            for agent, blocks in enumerate(self.blocks):
                for block, logs in zip(blocks, self.logs(agent, features), strict=True):
                    drawn = torch.multinomial(logs.exp().flatten(0, 1), 1, generator=generator)
                    designs[:, block] = drawn.reshape(len(features), len(block))
        return designs

    def judged(
        self, agent: int, features: torch.Tensor, designs: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log-probabilities of an agent's part of designs, and its entropy, (n,) each."""
        taken = torch.zeros(len(designs))
        entropy = torch.zeros(len(designs))
        for block, logs in zip(self.blocks[agent], self.logs(agent, features), strict=True):
            taken = taken + logs.gather(2, designs[:, block, None]).sum(dim=(1, 2))
            entropy = entropy - (logs.exp() * logs).sum(dim=(1, 2))
        return taken, entropy


def trained_team(
    features: np.ndarray,
    sizes: np.ndarray,
    groups: Sequence[Sequence[int]],
    rewards: Rewards,
    seed: int,
    settings: TeamSettings,
) -> Team:
    """Return a team that learned from many workloads.

    Args:
      features: (n_workloads, n_features), scaled.
      sizes: (n_parameters,), values of each parameter.
      groups: Places of each agent's parameters.
      rewards: Rewards of designs on workloads.
      seed: Random seed.
      settings: Settings of PPO.
    """
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    team = Team(features.shape[1], sizes, groups, settings.width)
    n_critic = features.shape[1] + (sum(team.sizes) if settings.is_central else 0)
    critics = nn.ModuleList(_network(n_critic, settings.width, 1, 1.0) for _ in groups)
    optimiser = torch.optim.Adam([*team.parameters(), *critics.parameters()], eps=1e-5)
    known = torch.as_tensor(features, dtype=torch.float32)
    n_rollouts = -(-settings.total // settings.rollout)
    for number in range(n_rollouts):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * (1.0 - number / n_rollouts)
        places = rng.integers(len(features), size=settings.rollout)
        rows = known[torch.as_tensor(places)]
        designs = team.sample(rows, generator)
        reward = torch.as_tensor(rewards(places, designs.numpy()), dtype=torch.float32)
        views = [_view(team, agent, rows, designs, settings) for agent in range(len(groups))]
        with torch.no_grad():
            before = [team.judged(a, rows, designs)[0] for a in range(len(groups))]
            gains = [
                reward - critic(view)[:, 0] for critic, view in zip(critics, views, strict=True)
            ]
        for _ in range(settings.epochs):
            order = torch.randperm(settings.rollout, generator=generator)
            for part in torch.split(order, settings.minibatch):
                loss = torch.zeros(())
                for agent in range(len(groups)):
                    gain = gains[agent][part]
                    gain = (gain - gain.mean()) / (gain.std() + 1e-8)
                    log, entropy = team.judged(agent, rows[part], designs[part])
                    ratio = (log - before[agent][part]).exp()
                    clipped = ratio.clamp(1.0 - _CLIP, 1.0 + _CLIP)
                    loss = loss - torch.minimum(ratio * gain, clipped * gain).mean()
                    loss = loss - settings.entropy * entropy.mean()
                    value = critics[agent](views[agent][part])[:, 0]
                    loss = loss + _VALUE_WEIGHT * ((reward[part] - value) ** 2).mean()
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # not annotated in torch
                nn.utils.clip_grad_norm_([*team.parameters(), *critics.parameters()], _MOST_NORM)
                optimiser.step()
    return team


def _view(
    team: Team, agent: int, rows: torch.Tensor, designs: torch.Tensor, settings: TeamSettings
) -> torch.Tensor:
    """Return what an agent's critic sees, (n, n_inputs).

    A central critic sees the other agents' choices, not its own agent's: its value then does not
    depend on what the agent does, and the gradient stays unbiased.
    """
    if not settings.is_central:
        return rows
    shown = []
    for place, size in enumerate(team.sizes):
        one = nn.functional.one_hot(designs[:, place], size).float()
        shown.append(torch.zeros_like(one) if place in team.groups[agent] else one)
    return torch.cat([rows, *shown], dim=1)
