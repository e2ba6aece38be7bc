"""Simulated annealing, several chains side by side."""

import math
from dataclasses import dataclass, field
from typing import Annotated, final

import numpy as np

from archgym.agent.agent import AskTellAgent
from archgym.agent.neighbours import step_designs
from archgym.agent.seen import AskedDesigns
from archgym.agents import _hyperparameters as shared
from archgym.checks import check_number, check_whole
from archgym.evaluation.trials import Trials
from archgym.spaces.parameter import Integer, Ordinal, PowerOfTwo
from archgym.spaces.space import DesignSpace

# chosen: steps made at a time for a chain, since many cost little more than one, and how often
# none of them may lead to a new design before a random one is taken.
_STEPS = 16
_MAX_ROUNDS = 4


@final
class SimulatedAnnealingAgent(AskTellAgent):
    """Simulated annealing: a walk over neighbours that accepts worse ones while it is hot.

    A step that lowers the reward by d is taken with probability exp(-d / T). The temperature T
    falls from its start by the same factor each evaluation; at the horizon it is back at its start
    and all chains continue from the best design so far (reheating). Chains walk in step and share
    the schedule. A step to a design that is known costs nothing and is decided on at once, so every
    evaluation is of a new one; a chain that only meets known designs is offered a random one.

    Source:
      Kirkpatrick, Gelatt and Vecchi, *Optimization by Simulated Annealing*, Science 220, 1983.
    """

    name = "simulated_annealing"
    batch = "batch"

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        chains: Annotated[
            int,
            Integer(
                name="chains",
                low=1,
                high=64,
                doc="Walks side by side; each has a design in every ask.",
            ),
        ] = 4,
        temperature: Annotated[
            float,
            Ordinal(
                name="temperature",
                levels=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
                doc="Temperature at the start, in units of reward.",
            ),
        ] = 0.03,
        cooling: Annotated[
            float,
            Ordinal(
                name="cooling",
                levels=(0.0001, 0.001, 0.01, 0.1, 1.0),
                doc="Share of the temperature that is left at the horizon.",
            ),
        ] = 0.01,
        horizon: Annotated[
            int,
            PowerOfTwo(
                name="horizon",
                low=16,
                high=65536,
                doc="Evaluations, of all chains together, from one heating to the next.",
            ),
        ] = 128,
        step: shared.Step = 0.2,
    ) -> None:
        """Set up chains that start at random designs."""
        self._start = check_number("temperature", temperature, 1e-9)
        self._cooling = check_number("cooling", cooling, 1e-9, 1)
        self._horizon = check_whole("horizon", horizon, 1)
        self._step = check_number("step", step, 0.001, 1)
        self._chains = [_Chain() for _ in range(check_whole("chains", chains, 1))]
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._asked = AskedDesigns(space)
        # Of every design asked for, None until it is told.
        self._rewards: dict[bytes, float | None] = {}
        self._n_told = 0
        self._best, self._best_reward = space.default_indices, -math.inf
        self._asking: list[_Chain] = []

    @property
    def temperature(self) -> float:
        """Temperature now, in units of reward."""
        share = self._n_told % self._horizon / self._horizon
        return self._start * math.pow(self._cooling, share)

    def ask(self) -> np.ndarray:
        default = self._asked.fallback()
        if len(default):
            self._asking = self._chains[:1]
            return default
        designs: list[np.ndarray] = []
        self._asking = []
        waiting = [chain for chain in self._chains if chain.design is not None]
        for _ in range(_MAX_ROUNDS):
            self._make_steps([chain for chain in waiting if not chain.steps])
            for chain in waiting:
                design = self._walk(chain, self.temperature)
                if design is not None:
                    designs.append(design)
                    self._asking.append(chain)
            waiting = [chain for chain in waiting if chain not in self._asking]
            if not waiting:
                break
        found = np.array(designs, dtype=np.int64).reshape(-1, self._space.n_parameters)
        self._asked.add(found)
        stuck = [chain for chain in self._chains if chain not in self._asking]
        drawn = self._asked.draw(len(stuck), self._rng)
        self._asking += stuck[: len(drawn)]
        return np.concatenate([found, drawn])

    def tell(self, trials: Trials) -> None:
        self._asked.learn(trials)
        temperature = self.temperature
        for chain, trial in zip(self._asking, trials, strict=True):
            self._rewards[trial.indices.tobytes()] = trial.reward
            self._decide(chain, trial.indices, trial.reward, temperature)
            if trial.reward > self._best_reward:
                self._best, self._best_reward = trial.indices, trial.reward
        n_heated = self._n_told // self._horizon
        self._n_told += len(trials)
        if self._n_told // self._horizon > n_heated:
            for chain in self._chains:
                chain.move_to(self._best, self._best_reward)

    def _make_steps(self, chains: list["_Chain"]) -> None:
        """Give chains feasible neighbours to try in turn."""
        if not chains:
            return
        near = np.repeat([chain.design for chain in chains], _STEPS, axis=0)
        near = self._space.canonical(step_designs(self._space, near, 1.0, self._step, self._rng))
        for row in np.flatnonzero(self._space.feasible(near)):
            chains[row // _STEPS].steps.append(near[row])

    def _walk(self, chain: "_Chain", temperature: float) -> np.ndarray | None:
        """Try steps up to one that leads to a new design, which is returned and marked."""
        while chain.steps:
            design = chain.steps.pop()
            key = design.tobytes()
            if key not in self._rewards:
                self._rewards[key] = None
                return design
            reward = self._rewards[key]
            if reward is not None:
                self._decide(chain, design, reward, temperature)
        return None

    def _decide(
        self, chain: "_Chain", design: np.ndarray, reward: float, temperature: float
    ) -> None:
        """Move a chain to a design if it is accepted; a chain without a position always moves."""
        gain = reward - chain.reward
        if gain >= 0 or self._rng.random() < math.exp(gain / temperature):
            chain.move_to(design, reward)


@final
@dataclass(eq=False)
class _Chain:
    """Position of a walk, and steps that it will try."""

    design: np.ndarray | None = None
    reward: float = -math.inf
    steps: list[np.ndarray] = field(default_factory=list)

    def move_to(self, design: np.ndarray, reward: float) -> None:
        """Move to a design, and drop the steps planned from the previous one."""
        self.design, self.reward = design, reward
        self.steps.clear()
