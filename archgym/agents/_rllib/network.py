"""The networks of a team, in plain torch: for every agent its own, or one for all."""

from collections.abc import Sequence
from itertools import pairwise
from typing import final

import numpy as np
import torch
from torch import nn

# Far below any logit that is learned, and a number, so that 0 times it is 0.
_CLOSED = -1e9


@final
class TeamNetwork(nn.Module):
    """An actor and a critic for each agent, or one of each that is told for which agent it acts.

    The actors' last layers start at 0, so at first all options of a choice are equally likely, as
    many as the agent has; others are closed. Networks of an agent's own are computed together, but
    share no number.
    """

    closed: torch.Tensor

    def __init__(
        self,
        sizes: Sequence[Sequence[int]],
        n_actor: int,
        n_critic: int,
        *,
        is_shared: bool,
        width: int,
        layers: int,
    ) -> None:
        """Create the networks from the sizes of a `Team`.

        Args:
          sizes: (n_agents, n_slots), numbers of options.
          n_actor: Length of an actor's input.
          n_critic: Length of a critic's.
          is_shared: True if all agents share one actor and one critic.
          width: Units of a hidden layer.
          layers: Hidden layers of each.
        """
        super().__init__()
        self._n_agents, self._n_slots = len(sizes), len(sizes[0])
        n_options = max(max(row) for row in sizes)
        n_flags = self._n_agents if is_shared else 0
        n_stacked = 1 if is_shared else self._n_agents
        hidden = [width] * layers
        self.actor = _stack(n_stacked, [n_actor + n_flags, *hidden, self._n_slots * n_options])
        self.critic = _stack(n_stacked, [n_critic + n_flags, *hidden, 1])
        last = self.actor[-1]
        assert isinstance(last, _Layer)
        nn.init.zeros_(last.weight)
        self.register_buffer("_flags", torch.eye(self._n_agents)[:, :n_flags], persistent=False)
        is_open = torch.arange(n_options) < torch.tensor(sizes)[:, :, None]
        self.register_buffer("closed", torch.where(is_open, 0.0, _CLOSED), persistent=False)

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits, (n, n_agents, n_slots, n_options), for inputs (n, n_agents, n_actor)."""
        outputs: torch.Tensor = self.actor(self._told(inputs))
        return outputs.view(len(inputs), *self.closed.shape) + self.closed

    def values(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the critics' values, (n, n_agents), for their inputs (n, n_agents, n_critic)."""
        outputs: torch.Tensor = self.critic(self._told(inputs))
        return outputs[..., 0]

    def _told(self, inputs: torch.Tensor) -> torch.Tensor:
        flags = self.get_buffer("_flags")
        return torch.cat([inputs, flags.expand(len(inputs), -1, -1)], dim=-1)


@final
class _Layer(nn.Module):
    """Linear layers side by side, for inputs (n, n_agents, n_inputs); one is for all agents."""

    def __init__(self, n_stacked: int, n_inputs: int, n_outputs: int, gain: float) -> None:
        super().__init__()
        weights = [
            nn.init.orthogonal_(torch.empty(n_outputs, n_inputs), gain) for _ in range(n_stacked)
        ]
        self.weight = nn.Parameter(torch.stack(weights).transpose(1, 2).contiguous())
        self.bias = nn.Parameter(torch.zeros(n_stacked, n_outputs))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if len(self.weight) == 1:
            return inputs @ self.weight[0] + self.bias[0]
        return torch.bmm(inputs.transpose(0, 1), self.weight).transpose(0, 1) + self.bias


def _stack(n_stacked: int, sizes: Sequence[int]) -> nn.Sequential:
    modules: list[nn.Module] = []
    for place, (n_inputs, n_outputs) in enumerate(pairwise(sizes)):
        is_last = place == len(sizes) - 2
        modules.append(_Layer(n_stacked, n_inputs, n_outputs, 1.0 if is_last else 2**0.5))
        if not is_last:
            modules.append(nn.Tanh())
    return nn.Sequential(*modules)


def log_probability(logits: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Return the log probability of actions, (..., n_slots), under logits with options last."""
    each = torch.log_softmax(logits, dim=-1).gather(-1, actions.long()[..., None])
    return each[..., 0].sum(dim=-1)


def drawn(logits: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return actions drawn from logits (..., n_options): (n, ...) whole numbers."""
    # The largest of the logits plus Gumbel noise is distributed as their softmax.
    return np.asarray(np.argmax(logits + rng.gumbel(size=(n, *logits.shape)), axis=-1))
