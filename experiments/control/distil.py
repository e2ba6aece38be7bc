"""Distil a network into a rule without state: a small tree over seven counters of eight bits."""

import argparse
from pathlib import Path

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from archgym.control.declaration import control_of
from archgym.control.policies import Network
from archgym.control.rules.case import _LARGEST
from archgym.control.tasks import Episode, roll, task_of


def main() -> None:
    """Write the rule of one network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", type=Path)
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--leaves", type=int, default=8)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    network = Network.read(options.network)
    task = task_of(network.task)
    control = control_of(task.name)
    if control is None or control.rules is None:
        parser.error(f"rules see nothing of {task.name}")
    view = control.rules.seen
    seen: list[np.ndarray] = []
    chosen: list[int] = []

    def act(episode: Episode) -> tuple[int, ...]:
        action = network.act(episode)
        if episode.previous:
            names = [counter.name for counter in episode.run.counters]
            places = [names.index(name) for name in view]
            shown = (_LARGEST * episode.observation[0]).round()[places]
            seen.append(np.append(shown, episode.previous[0]))
            chosen.append(action[0])
        return action

    for name in task.episodes("train")[: options.episodes]:
        roll(task, name, act)
    tree = DecisionTreeClassifier(max_leaf_nodes=options.leaves, random_state=0)
    tree.fit(np.array(seen), chosen)
    names = [*(each.removesuffix("_ns") for each in view), "previous"]
    lines = [
        '"""Tree distilled from a trained network."""',
        f'DOMAIN = "{control.simulator}-control"',
        "",
        "",
    ]
    lines += [f"def choose({', '.join(names)}):", *_branch(tree, names, 0, 1)]
    options.out.write_text("\n".join(lines) + "\n")
    print(f"{options.out}: agrees with the network on {100 * tree.score(seen, chosen):.1f} %")


def _branch(tree: DecisionTreeClassifier, names: list[str], node: int, depth: int) -> list[str]:
    t = tree.tree_
    pad = "    " * depth
    if t.children_left[node] < 0:
        return [f"{pad}return {int(tree.classes_[np.argmax(t.value[node][0])])}"]
    test = f"{pad}if {names[t.feature[node]]} <= {int(np.floor(t.threshold[node]))}:"
    below, above = (
        _branch(tree, names, child, depth + 1 - side)
        for side, child in enumerate((t.children_left[node], t.children_right[node]))
    )
    return [test, *below, *above]


if __name__ == "__main__":
    main()
