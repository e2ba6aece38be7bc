"""Episodes of control as cases of rules, and rules as policies."""

import ctypes
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from archgym.control.declaration import Control, control_of, controls
from archgym.control.policies import ControlPolicy, policy_of
from archgym.control.tasks import ControlTask, Episode, hindsight, hindsight_name, roll, task_of
from archgym.errors import InvalidArgumentError, unknown_name
from archgym.rules.case import RuleCase, evaluate
from archgym.rules.language import RuleSource, read_rule
from archgym.rules.sandbox import RuleRunner

_LARGEST: Final = 255
"""Counters come in eight bits, from the low end of their declared range to its high end."""


@final
@dataclass(frozen=True)
class ControlCase(RuleCase):
    """An episode of a control task.

    Attributes:
      name: Name of the episode.
      task: The task.
      seen: Counters that the rule sees, in the order of its parameters.
    """

    name: str
    task: ControlTask
    seen: tuple[str, ...]

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of arrays by name."""
        return {"action": len(self.task.actions)}

    @property
    def values(self) -> dict[str, int]:
        """Values of the domain by name."""
        return {"ACTIONS": len(self.task.actions), "DEFAULT": self.task.default}

    def arguments(
        self, source: RuleSource | None = None, tuned: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """Return the names of task and episode, which the rules' process opens itself."""
        return {"task": self.task.name, "episode": self.name, "seen": list(self.seen)}

    def built_in_counts(self, rule: str) -> dict[str, Any]:
        """Return the counts of a policy of the library."""
        policy = policy_of(rule, self.task)
        policy.start(self.task, self.name)
        return _counts(roll(self.task, self.name, policy.act))

    def loss(self, counts: Mapping[str, Any]) -> float:
        """Return cost over that of the best static settings in hindsight."""
        return float(counts["score"]) / hindsight(self.task, self.name)[1]

    def measures(self, counts: Mapping[str, Any]) -> dict[str, Any]:
        """Return the cost, and the share of the best static settings' that is saved."""
        saved = 100.0 * (1.0 - self.loss(counts))
        return {self.task.cost: counts["score"], "saved_percent": saved}


def _counts(rollout: Any) -> dict[str, Any]:
    return {"score": rollout.score, "actions": rollout.actions.tolist()}


def open_case(domain: str, name: str, options: Mapping[str, str]) -> ControlCase:
    """Return an episode of a task of a simulator whose rules see something.

    Args:
      domain: Name of the domain.
      name: Name of the episode, such as `held-out-0`.
      options: `task`, the name of a control task of the domain.

    Raises:
      UnknownNameError: An option, a task or an episode does not exist.
    """
    for key in options:
        if key != "task":
            raise unknown_name("option", key, ["task"])
    task = task_of(options.get("task") or controls()[domain.removesuffix("-control")].default)
    control = control_of(task.name)
    if control is None or control.rules is None or domain != f"{control.simulator}-control":
        raise InvalidArgumentError(
            f"A rule of domain {domain!r} must have a task of that domain; got {task.name!r}."
        )
    return ControlCase(task.check_episode(name), task, control.rules.seen)


def simulate_rule(points: Any, storage: Any, case: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts of a rule on an episode; in the rules' process.

    Args:
      points: Its compiled functions.
      storage: Its arrays.
      case: Input of `ControlCase`.
    """
    # Numba is slow to import, which listing domains should not wait for.
    from archgym.runtime.hooks import N_HOOK_ARGUMENTS

    words = [ctypes.c_int64] * (N_HOOK_ARGUMENTS + 2)
    choose = ctypes.CFUNCTYPE(ctypes.c_double, *words)(points.addresses["choose"])
    task = task_of(str(case["task"]))
    # Each agent runs the rule on state of its own.
    further = [type(storage)(storage.memory.copy(), storage.floats) for _ in task.agents[1:]]
    own = (storage, *further)
    addresses = [(each.memory.ctypes.data, each.floats.ctypes.data) for each in own]
    places: list[int] = []
    wrong: list[float] = []

    def act(episode: Episode) -> tuple[int, ...]:
        if not places:
            names = [counter.name for counter in episode.run.counters]
            places.extend(names.index(name) for name in case["seen"])
        seen = (_LARGEST * episode.observation).round().astype(int)[:, places].tolist()
        previous = episode.previous or (task.default,) * len(seen)
        found = []
        for shown, before, memory in zip(seen, previous, addresses, strict=True):
            shown += [0] * (N_HOOK_ARGUMENTS - 1 - len(shown))
            action = choose(*shown, before, *memory)
            if not (0 <= action < len(task.actions)) or action != int(action):
                wrong.append(action)
                action = task.default
            found.append(int(action))
        return tuple(found)

    found = _counts(roll(task, str(case["episode"]), act))
    for each in further:
        if each.fault[0]:
            storage.memory[:] = each.memory
    if wrong:
        return {"problem": f"the rule chose {wrong[0]:g}, which is no action of the task"}
    return found


def prepare(control: Control) -> None:
    """Load or compile the kernels of a domain, such as those of one agent and of several."""
    for name in (control.default, *(control.rules.compiled_with if control.rules else ())):
        task = task_of(name)
        episode = Episode(task, task.episodes("train")[0])
        episode.step((task.default,) * len(task.agents))


@final
class RulePolicy(ControlPolicy):
    """A rule in a file; it runs each episode in a process of its own, and is replayed here."""

    def __init__(self, source: RuleSource, runner: RuleRunner, task: ControlTask) -> None:
        """Take a checked rule, the process to run it in, and a task that it must be for."""
        open_case(source.domain.name, task.episodes("train")[0], {"task": task.name})
        self.name = Path(source.path).name
        self._source, self._runner = source, runner
        self._actions: list[list[int]] = []

    def start(self, task: ControlTask, episode: str) -> None:
        """Run the episode.

        Raises:
          InvalidArgumentError: The rule is infeasible on it.
        """
        case = open_case(self._source.domain.name, episode, {"task": task.name})
        result = evaluate(self._source, case, self._runner)
        if result.problem:
            raise InvalidArgumentError(f"Rule {self.name!r} is infeasible: {result.problem}.")
        self._actions = result.counts["actions"]

    def act(self, episode: Episode) -> tuple[int, ...]:
        """Return the action that the rule chose."""
        return tuple(self._actions[episode.number])


@contextmanager
def policies_of(names: Sequence[str], task: ControlTask) -> Iterator[list[ControlPolicy]]:
    """Yield policies by name; names that end in .py are files of rules.

    Raises:
      UnknownNameError, FileFormatError: A policy does not exist, or a file cannot be used.
      InvalidArgumentError: A policy is of another domain, or has other actions.
    """
    with RuleRunner() as runner:
        # The best static settings in hindsight are in every comparison.
        given = [name for name in dict.fromkeys(names) if name != "hindsight"]
        found = [
            RulePolicy(read_rule(name), runner, task)
            if name.endswith(".py")
            else policy_of(name, task)
            for name in given
        ]
        taken = Counter(["look-ahead", hindsight_name(task), *(each.name for each in found)])
        for policy, name in zip(found, given, strict=True):
            policy.name = policy.name if taken[policy.name] == 1 else name
        yield found
