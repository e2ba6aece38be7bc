"""Evaluation of designs that a trained policy proposes, next to reference designs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.agent.agent import agent_class
from archgym.agent.policy import Policy
from archgym.errors import InvalidArgumentError
from archgym.evaluation.isolation import evaluate_isolated
from archgym.evaluation.simulator import recorded_options
from archgym.evaluation.stand_in import StandIn
from archgym.evaluation.task import Evaluation, Task
from archgym.files.storage import require_inside
from archgym.studies.folder import POLICY_NAME
from archgym.studies.snapshot import StudyLog, read_study


@final
@dataclass(frozen=True)
class PolicySource:
    """Policy, with the study that trained it if the source is a study's folder."""

    path: Path
    policy: Policy
    log: StudyLog | None

    def trained_task(self, make_task: Callable[[str], Task]) -> Task:
        """Return the task that the policy was trained on.

        Args:
          make_task: Function that makes a task from its name, for a policy without a study.

        Raises:
          InvalidArgumentError: The policy names no task.
        """
        if self.log is not None:
            return Task.from_json(self.log.header.task)
        name = self.policy.description.get("task")
        if not isinstance(name, str) or "/" not in name:
            raise InvalidArgumentError(
                f"A policy must name the task it was trained on; {self.path} names {name!r}. Use "
                "its study's folder."
            )
        return make_task(name)


@final
@dataclass(frozen=True, kw_only=True)
class EvaluatedDesign:
    """Design, its origin and its results on the task."""

    name: str
    indices: np.ndarray
    """(n_parameters,)"""
    reward: float
    values: np.ndarray
    """(n_metrics,), averaged over the workloads; NaN for an infeasible design."""
    problem: str | None
    """Reason why the design is infeasible."""
    missed_limits: tuple[str, ...] = ()
    """Limits of the task that the design misses, in words."""


@final
@dataclass(frozen=True, kw_only=True)
class PolicyEvaluation:
    """Designs of a policy, the best of its study and the default design, on one task."""

    source: PolicySource
    trained_on: str
    task: Task
    seed: int
    n_designs: int
    n_distinct: int
    n_feasible: int
    mean_reward: float
    """Mean reward of the feasible designs; NaN without one."""
    designs: tuple[EvaluatedDesign, ...]

    @property
    def updates(self) -> Any:
        """Number of training updates of the policy; None if unknown."""
        return self.source.policy.description.get("updates")

    def to_json(self) -> dict[str, Any]:
        """Return the evaluation as JSON."""
        names = [spec.name for spec in self.task.metrics]
        return {
            "policy": str(self.source.path),
            "agent": self.source.policy.agent,
            "trained_on": self.trained_on,
            "task": self.task.id,
            "designs": self.n_designs,
            "distinct": self.n_distinct,
            "built": self.n_feasible,
            "seed": self.seed,
            "mean_reward_of_built": self.mean_reward,
            "updates": self.updates,
            "results": [
                {
                    "name": design.name,
                    "design": dict(self.task.space.design_at(design.indices)),
                    "reward": design.reward,
                    "metrics": dict(zip(names, design.values.tolist(), strict=True)),
                    "infeasible": design.problem,
                    "missed_limits": list(design.missed_limits),
                }
                for design in self.designs
            ],
        }


def read_policy(path: Path) -> PolicySource:
    """Read the policy of a study's folder or of a policy file.

    Raises:
      InvalidArgumentError: The study has no policy, or that of another agent.
      FileFormatError: The file is not a policy, or it is damaged.
    """
    if not path.is_dir():
        return PolicySource(path, Policy.load(path), None)
    log = read_study(path)
    file = path / POLICY_NAME
    require_inside(file)
    if not file.is_file():
        raise InvalidArgumentError(
            f"A study must have learned a policy for this; {path} has no file {POLICY_NAME}: its "
            f"agent ({log.header.agent or 'none'}) does not learn, or the study is not finished. "
            "Use a finished study of ppo or another learning agent."
        )
    policy = Policy.load(file)
    if policy.agent != log.header.agent:
        raise InvalidArgumentError(
            f"{file} must be of the study's agent, {log.header.agent!r}; it is of "
            f"{policy.agent!r}. Restore it, or run the study again."
        )
    return PolicySource(path, policy, log)


def retarget(
    trained: Task,
    weights: Mapping[str, float] | None,
    objective: str | None,
    stand_in: Path | None,
) -> Task:
    """Return the trained task with other workloads, another objective or a stand-in."""
    if not weights and objective is None and stand_in is None:
        return trained
    simulator = trained.simulator
    options = simulator.options
    weights = weights or {w.source: w.weight for w in trained.workloads}
    if isinstance(source := simulator.unrestricted, StandIn):
        options = source.declaration.options
        # A table has the simulator's numbers; other workloads need the simulator itself.
        if stand_in is None and (source.kind == "proxy" or source.knows(weights)):
            stand_in = source.path
    # The trained objective may come from a script and have no registered name.
    return Task.make(
        simulator.name,
        weights,
        objective or trained.objective,
        trained.space_name,
        simulator.fidelity,
        stand_in=stand_in,
        **dict[str, Any](recorded_options(simulator.name, simulator.version, options)),
    )


def evaluate_policy(
    source: PolicySource, trained: Task, task: Task, n_designs: int, seed: int
) -> PolicyEvaluation:
    """Evaluate designs of a policy, the best of its study and the default design.

    Args:
      source: The policy.
      trained: Task that it was trained on.
      task: Task to evaluate on.
      n_designs: Number of designs: the most likely one, the others drawn at random.
      seed: Random seed of the drawn designs.
    """
    kind = agent_class(source.policy.agent)
    proposed = kind.propose(source.policy, task, n_designs, seed)
    extra = [task.space.default_indices]
    best = None if source.log is None else source.log.best()
    if best is not None:
        extra.append(task.space.indices_of(best.design))
    results = evaluate_isolated(task, np.concatenate([proposed, np.stack(extra)]))
    rewards = results.reward[:n_designs]
    top = int(np.argmax(rewards))
    designs = [_evaluated("most likely", task, proposed[0], results, 0)]
    if n_designs > 1:
        designs.append(_evaluated(f"best of {n_designs}", task, proposed[top], results, top))
    if best is not None:
        designs.append(_evaluated("study's best", task, extra[1], results, n_designs + 1))
    designs.append(_evaluated("default", task, extra[0], results, n_designs))
    feasible = (results.reason[:n_designs] == 0).all(axis=1)
    return PolicyEvaluation(
        source=source,
        trained_on=trained.id,
        task=task,
        seed=seed,
        n_designs=n_designs,
        n_distinct=len(np.unique(task.space.canonical(proposed), axis=0)),
        n_feasible=int(feasible.sum()),
        mean_reward=float(rewards[feasible].mean()) if feasible.any() else float("nan"),
        designs=tuple(designs),
    )


def _evaluated(
    name: str, task: Task, indices: np.ndarray, results: Evaluation, row: int
) -> EvaluatedDesign:
    problem = None
    reasons = [int(reason) for reason in results.reason[row] if reason]
    if reasons:
        failure = results.failures.get(row, "the simulator failed")
        problem = failure if reasons[0] < 0 else task.simulator.reasons[reasons[0]]
    return EvaluatedDesign(
        name=name,
        indices=indices,
        reward=float(results.reward[row]),
        values=task.average(results.values[row : row + 1])[0],
        problem=problem,
        missed_limits=() if reasons else tuple(task.missed(results.values[row])),
    )
