"""RLlib components for teams: a module, an env runner and a learner connector.

An env runner plays many one-step episodes as one batch: each policy acts once for all of them, all
designs are evaluated together, and the learner gets arrays. RLlib's own runner makes one object an
episode, which takes most of its time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.distribution import Distribution
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED, NUM_ENV_STEPS_SAMPLED_LIFETIME

from archgym.agents._rllib.network import TeamNetwork, drawn, log_probability
from archgym.agents._rllib.team import Team

TEAM = "team"
"""Name of the one module."""
STATE = "state"
"""Column of the critics' observations."""

# Smallest standard deviation, as in RLlib.
_LEAST_DEVIATION = 1e-4


@final
class ChoiceDistribution(Distribution):
    """Independent choices of agents, with logits (n, n_agents, n_slots, n_options)."""

    def __init__(self, logits: Any) -> None:
        """Take the logits; closed options have very low ones."""
        super().__init__()
        self._logits: torch.Tensor = torch.log_softmax(logits, dim=-1)

    @classmethod
    def from_logits(cls, logits: Any, **kwargs: Any) -> "ChoiceDistribution":
        return cls(logits)

    @staticmethod
    def required_input_dim(space: Any, **kwargs: Any) -> int:
        return int(np.prod(space.shape))

    def logp(self, value: Any, **kwargs: Any) -> Any:
        return log_probability(self._logits, value)

    def entropy(self, **kwargs: Any) -> torch.Tensor:
        return -(self._logits.exp() * self._logits).sum(dim=(-1, -2))

    def kl(self, other: Any, **kwargs: Any) -> Any:
        ratio = self._logits - other._logits
        return (self._logits.exp() * ratio).sum(dim=(-1, -2))

    def sample(self, **kwargs: Any) -> torch.Tensor:
        noise = -torch.log(torch.empty_like(self._logits).exponential_())
        draws: torch.Tensor = (self._logits + noise).argmax(dim=-1)
        return draws

    def rsample(self, **kwargs: Any) -> torch.Tensor:
        raise NotImplementedError("Choices have no reparametrised samples.")


@final
class TeamModule(TorchRLModule, ValueFunctionAPI):
    """`TeamNetwork` as a module of RLlib; ``model_config["network"]`` holds its arguments."""

    def setup(self) -> None:
        settings: Any = self.model_config
        self.network = TeamNetwork(**settings["network"])
        self.action_dist_cls = ChoiceDistribution

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {Columns.ACTION_DIST_INPUTS: self.network.logits(batch[Columns.OBS])}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> torch.Tensor:
        return self.network.values(batch[STATE])


@final
@dataclass(frozen=True)
class Played:
    """n one-step episodes.

    `state`, (n, n_agents, n_critic), is what critics see, `actions` are (n, n_agents, n_slots);
    `logits`, (n_agents, n_slots, n_options), are the same for all; `rewards` (n,).
    """

    state: np.ndarray
    actions: np.ndarray
    logits: np.ndarray
    rewards: np.ndarray

    def __len__(self) -> int:
        return len(self.rewards)


@final
class TeamBatch(ConnectorV2):
    """Connector that makes a learner's batch, with advantages, from `Played`.

    Rewards are standardised over the iteration's designs, so that learning rates mean the same
    whatever the scale of a task's objective; critics learn the standardised reward. An episode has
    one step, so an advantage is the reward less what the critic expected; each agent's are
    standardised again.
    """

    def __init__(self, actor_inputs: np.ndarray) -> None:
        """Take the actors' observation, (n_agents, n_actor), in every episode."""
        super().__init__()
        self._inputs = torch.from_numpy(actor_inputs)

    def __call__(
        self,
        *,
        rl_module: Any,
        batch: dict[str, Any],
        episodes: Sequence[Any],
        **kwargs: Any,
    ) -> dict[str, Any]:
        n = sum(map(len, episodes))
        logits = [np.repeat(played.logits[None], len(played), axis=0) for played in episodes]
        columns = {
            Columns.OBS: self._inputs.expand(n, -1, -1),
            STATE: _joined([played.state for played in episodes]),
            Columns.ACTIONS: _joined([played.actions for played in episodes]),
            Columns.ACTION_DIST_INPUTS: _joined(logits),
        }
        rewards = _standardised(_joined([played.rewards for played in episodes]).float())
        with torch.no_grad():
            expected = rl_module[TEAM].unwrapped().compute_values(columns)
        columns[Columns.ACTION_LOGP] = log_probability(
            columns[Columns.ACTION_DIST_INPUTS], columns[Columns.ACTIONS]
        )
        columns[Postprocessing.VALUE_TARGETS] = rewards[:, None].expand(expected.shape)
        columns[Postprocessing.ADVANTAGES] = _standardised(rewards[:, None] - expected)
        batch[TEAM] = columns
        return batch


def _joined(parts: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(parts))


def _standardised(columns: torch.Tensor) -> torch.Tensor:
    spread = columns.std(dim=0, correction=0).clamp(min=_LEAST_DEVIATION)
    return (columns - columns.mean(dim=0)) / spread


@final
class TeamRunner(EnvRunner):
    """Runner that plays episodes of a team and has their designs evaluated.

    The configuration's `env_config` holds the `team`, a `seed`, the number of `designs` a sample
    and `rewards`: a callable that takes choices, (n, n_choices), and gives rewards, (n,).
    """

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        """Take the configuration of RLlib."""
        super().__init__(config=config, **kwargs)
        settings = config.env_config
        self._team: Team = settings["team"]
        self._inputs = torch.from_numpy(self._team.actor_inputs[None])
        self._rewards: Callable[[np.ndarray], np.ndarray] = settings["rewards"]
        self._n: int = settings["designs"]
        self._rng = np.random.default_rng([settings["seed"], 0])
        self._weights_seq_no = 0
        self.module: Any = None
        self.make_module()

    def make_module(self) -> None:
        self.module = self.config.get_multi_rl_module_spec().build()

    def sample(self, **kwargs: Any) -> list[Played]:
        """Return one batch of episodes."""
        output = self.module[TEAM].forward_exploration({Columns.OBS: self._inputs})
        logits = output[Columns.ACTION_DIST_INPUTS][0].numpy()
        actions = drawn(logits, self._n, self._rng)
        picks = self._team.joined(actions)
        # Also empty batches count, since RLlib samples until it has enough.
        self.metrics.log_value(NUM_ENV_STEPS_SAMPLED, self._n, reduce="sum")
        self.metrics.log_value(NUM_ENV_STEPS_SAMPLED_LIFETIME, self._n, reduce="lifetime_sum")
        rewards = self._rewards(picks)
        return [Played(self._team.critic_inputs(picks), actions, logits, rewards)]

    def get_metrics(self) -> Any:
        return self.metrics.reduce()

    def get_spaces(self) -> dict[str, Any]:
        return {
            name: (module.observation_space, module.action_space)
            for name, module in self.module.items()
        }

    def get_state(self, components: Any = None, **kwargs: Any) -> dict[str, Any]:
        if components is not None and COMPONENT_RL_MODULE not in components:
            return {}
        return {
            COMPONENT_RL_MODULE: self.module.get_state(),
            "weights_seq_no": self._weights_seq_no,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        if COMPONENT_RL_MODULE not in state:
            return
        self.module.set_state(state[COMPONENT_RL_MODULE])
        self._weights_seq_no = state.get("weights_seq_no", 0)

    def assert_healthy(self) -> None:
        assert self.module is not None
