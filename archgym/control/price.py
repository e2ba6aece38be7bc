"""Price of a policy: what it watches, and a table that hardware could hold in its place."""

from dataclasses import dataclass, field
from math import ceil, log2
from typing import Any, Final, final

import numpy as np

from archgym.control.declaration import control_of
from archgym.control.policies import ControlPolicy, Dueling, Network, Static
from archgym.control.tasks import ControlTask, Episode, reference
from archgym.errors import InvalidArgumentError

_LARGEST: Final = 255
_BITS: Final = 8
"""Bits of a counter, as rules see it."""


@final
@dataclass(frozen=True, kw_only=True)
class Price:
    """What a policy needed on episodes.

    Attributes:
      counters: Counters of each agent that it saw.
      epochs: Epochs after which it saw them.
      bytes: Bytes of counters in all, at eight bits each.
      beside: Epochs that were run beside for its trials, under other settings.
    """

    counters: int
    epochs: int
    bytes: int
    beside: int


@final
@dataclass(frozen=True, kw_only=True)
class Table:
    """A tree of thresholds that acts as a policy does, mostly.

    Attributes:
      source: The same as a rule, which `compare` takes as a file; empty without rules of the task.
      bits: Bits of its thresholds, counters, branches and actions.
      operations: Comparisons of an epoch at most.
      agreement: Share of epochs in which it chooses as the policy did.
      policy: The same as a policy.
    """

    source: str
    bits: int
    operations: int
    agreement: float
    policy: ControlPolicy = field(repr=False)


@final
class Watched(ControlPolicy):
    """A policy, with what it saw and chose in all its episodes."""

    def __init__(self, policy: ControlPolicy) -> None:
        """Take the policy, whose name it has."""
        self.name, self._policy = policy.name, policy
        self.counters = self.epochs = self.n_agents = 0
        self.seen: list[np.ndarray] = []
        self.chosen: list[int] = []
        self._beside: list[int] = []

    @property
    def beside(self) -> int:
        """Epochs that were run beside so far."""
        return sum(self._beside)

    def start(self, task: ControlTask, episode: str) -> None:
        """Begin an episode; see `ControlPolicy`."""
        self._beside.append(0)
        self._policy.start(task, episode)

    def act(self, episode: Episode) -> tuple[int, ...]:
        """Return the action of each agent; see `ControlPolicy`."""
        actions = self._policy.act(episode)
        if episode.previous:
            self.epochs += 1
            self.seen.extend(shown(episode))
            self.chosen.extend(actions)
            self.n_agents = len(actions)
            self.counters = 0 if isinstance(self._policy, Static) else len(episode.run.counters)
        policy = self._policy
        duel = policy.dueling if isinstance(policy, Network) else policy
        if isinstance(duel, Dueling):
            self._beside[-1] = duel.n_beside
        return actions


@final
class Distilled(ControlPolicy):
    """A tree of thresholds as a policy."""

    name = "table"

    def __init__(self, tree: Any) -> None:
        """Take a fitted tree."""
        self._tree = tree

    def act(self, episode: Episode) -> tuple[int, ...]:
        """Return the action of each agent; at first the best static one of training."""
        if not episode.previous:
            return (reference(episode.task),) * episode.run.n_agents
        return tuple(self._tree.predict(shown(episode)).tolist())


def shown(episode: Episode) -> np.ndarray:
    """Return (n_agents, n) counters of eight bits, those that rules see, and the last action."""
    view = _seen_by_rules(episode.task)
    known = [counter.name for counter in episode.run.counters]
    places = [known.index(name) for name in view or known]
    counters = (_LARGEST * episode.observation[:, places]).round()
    return np.column_stack((counters, episode.previous))


def _seen_by_rules(task: ControlTask) -> tuple[str, ...]:
    control = control_of(task.name)
    return control.rules.seen if control is not None and control.rules is not None else ()


def priced(task: ControlTask, watched: Watched, leaves: int = 8) -> tuple[Price, Table]:
    """Return what a policy watched, and a table distilled from what it did.

    Args:
      task: The task.
      watched: The policy, after its episodes.
      leaves: Leaves of the tree, 2 or more.

    Raises:
      InvalidArgumentError: Episodes have one epoch only.
    """
    from sklearn.tree import DecisionTreeClassifier

    seen, chosen = watched.seen, watched.chosen
    if not seen:
        raise InvalidArgumentError(f"Episodes of {task.name!r} must have two epochs or more.")
    tree = DecisionTreeClassifier(max_leaf_nodes=leaves, random_state=0).fit(seen, chosen)
    control, view = control_of(task.name), _seen_by_rules(task)
    words = [*(each.removesuffix("_ns") for each in view), "previous"]
    source = ""
    if view and control is not None:
        doc = f'"""Tree distilled from {watched.name}."""\nDOMAIN = "{control.simulator}-control"\n'
        lines = [f"def choose({', '.join(words)}):", *_branch(tree, words, 0, 1)]
        source = "\n".join([doc, "", *lines]) + "\n"
    n_leaves = tree.get_n_leaves()
    inner = ceil(log2(seen[0].size)) + _BITS + 2 * ceil(log2(max(2, 2 * n_leaves - 1)))
    bits = (n_leaves - 1) * inner + n_leaves * ceil(log2(max(2, len(task.actions))))
    price = Price(
        counters=watched.counters,
        epochs=watched.epochs,
        bytes=watched.epochs * watched.counters * watched.n_agents,
        beside=watched.beside,
    )
    agreement = float(tree.score(seen, chosen))
    return price, Table(
        source=source,
        bits=bits,
        operations=int(tree.get_depth()),
        agreement=agreement,
        policy=Distilled(tree),
    )


def _branch(tree: object, names: list[str], node: int, depth: int) -> list[str]:
    """Return the lines of a node and of those below it."""
    t = tree.tree_  # type: ignore[attr-defined]
    pad = "    " * depth
    if t.children_left[node] < 0:
        return [f"{pad}return {int(tree.classes_[np.argmax(t.value[node][0])])}"]  # type: ignore[attr-defined]
    test = f"{pad}if {names[t.feature[node]]} <= {int(np.floor(t.threshold[node]))}:"
    below = _branch(tree, names, t.children_left[node], depth + 1)
    return [test, *below, *_branch(tree, names, t.children_right[node], depth)]
