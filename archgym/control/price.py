"""Price of a policy: what it watches, and a table that hardware could hold in its place."""

from dataclasses import dataclass
from math import ceil, log2
from typing import Final, final

import numpy as np

from archgym.control.declaration import control_of
from archgym.control.policies import ControlPolicy, Dueling, Network, Static
from archgym.control.tasks import ControlTask, Episode, roll
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
    """

    source: str
    bits: int
    operations: int
    agreement: float


def priced(
    task: ControlTask, policy: ControlPolicy, names: tuple[str, ...], leaves: int = 8
) -> tuple[Price, Table]:
    """Return what a policy watches on episodes, and a table distilled from what it did there.

    Args:
      task: The task.
      policy: The policy.
      names: Episodes.
      leaves: Leaves of the tree, 2 or more.

    Raises:
      InvalidArgumentError: Episodes have one epoch only.
    """
    from sklearn.tree import DecisionTreeClassifier

    control = control_of(task.name)
    view = control.rules.seen if control is not None and control.rules is not None else ()
    seen: list[np.ndarray] = []
    chosen: list[int] = []
    epochs = counters = beside = 0

    def act(episode: Episode) -> tuple[int, ...]:
        actions = policy.act(episode)
        if episode.previous:
            known = [counter.name for counter in episode.run.counters]
            places = [known.index(name) for name in view or known]
            shown = (_LARGEST * episode.observation).round()[:, places]
            seen.extend(np.column_stack((shown, episode.previous)))
            chosen.extend(actions)
        return actions

    for name in names:
        policy.start(task, name)
        epochs += len(roll(task, name, act).cost) - 1
        duel = policy.dueling if isinstance(policy, Network) else policy
        beside += duel.n_beside if isinstance(duel, Dueling) else 0
    if not seen:
        raise InvalidArgumentError(f"Episodes of {task.name!r} must have two epochs or more.")
    if not isinstance(policy, Static):
        counters = len(Episode(task, names[0]).run.counters)
    tree = DecisionTreeClassifier(max_leaf_nodes=leaves, random_state=0).fit(seen, chosen)
    words = [*(each.removesuffix("_ns") for each in view), "previous"]
    source = ""
    if view and control is not None:
        doc = f'"""Tree distilled from {policy.name}."""\nDOMAIN = "{control.simulator}-control"\n'
        lines = [f"def choose({', '.join(words)}):", *_branch(tree, words, 0, 1)]
        source = "\n".join([doc, "", *lines]) + "\n"
    n_leaves = tree.get_n_leaves()
    inner = ceil(log2(seen[0].size)) + _BITS + 2 * ceil(log2(max(2, 2 * n_leaves - 1)))
    bits = (n_leaves - 1) * inner + n_leaves * ceil(log2(max(2, len(task.actions))))
    n_bytes = epochs * counters * len(task.agents)
    price = Price(counters=counters, epochs=epochs, bytes=n_bytes, beside=beside)
    agreement = float(tree.score(seen, chosen))
    return price, Table(
        source=source, bits=bits, operations=int(tree.get_depth()), agreement=agreement
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
