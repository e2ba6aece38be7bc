"""Results made up for an agent that is asked and told by hand."""

from collections.abc import Callable

import numpy as np

from archgym.agent.agent import AskTellAgent
from archgym.evaluation.trials import Trials


def trials(designs: np.ndarray, rewards: np.ndarray | float, feasible: bool = True) -> Trials:
    """Trials of these designs with these rewards, alike for all where one is given."""
    n = len(designs)
    reward = np.broadcast_to(np.asarray(rewards, dtype=np.float64), n).copy()
    return Trials(
        designs.copy(),
        reward,
        reward[:, None],
        np.empty((n, 0)),
        np.zeros(n, dtype=np.int64) if feasible else np.ones(n, dtype=np.int64),
        np.full(n, feasible),
        np.zeros(n, dtype=bool),
        np.zeros(n, dtype=bool),
        (),
    )


def asked(
    agent: AskTellAgent, worth: Callable[[np.ndarray], np.ndarray], n: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first `n` designs that an agent asks for, or all, and what they are worth."""
    asks: list[np.ndarray] = []
    while sum(map(len, asks)) < n and len(designs := agent.ask()):
        asks.append(designs)
        agent.tell(trials(designs, worth(designs)))
    designs = np.concatenate(asks)[:n]
    return designs, worth(designs)
