"""Protocol of scores, and verdict in words: the best designs, the better agent, reservations."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np

from archgym.analysis.statistics import Interval, Scores, improvement_p_value, stratified_bootstrap
from archgym.report.evidence import Evidence, TaskEvidence
from archgym.report.quantities import change_text, quantity

# Raised when the meaning of a score or of an aggregate changes.
_VERSION = 2


DEFAULT_ZERO = "the default design"
"""Source of score 0 where no random design was evaluated."""


@final
@dataclass(frozen=True)
class Protocol:
    """Everything that decides a score except the runs themselves."""

    budget: int
    """Evaluations after which runs are scored."""
    tasks: Mapping[str, Mapping[str, Any]]
    """By the task's digest, the rewards that score 0 and 1, and where they are from."""
    within_percent: tuple[float, ...] = (10.0, 5.0, 1.0, 0.0)
    level: float = 0.95
    resamples: int = 2000
    tuning_draws: int = 8
    """Settings that tuning in place compares within a run's budget."""
    seed: int = 0
    version: int = _VERSION

    def to_json(self) -> dict[str, Any]:
        """Return the protocol as data, its hash with it."""
        return {**asdict(self), "digest": self.digest}

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def bootstrap(
        self, statistic: str, ours: Scores, theirs: Scores | None = None, level: float | None = None
    ) -> Interval:
        """Return a statistic of scores with its interval, see `stratified_bootstrap`.

        Args:
          statistic: Its name.
          ours: An agent's scores, one array a task.
          theirs: Another one's on the same tasks, where the statistic compares.
          level: Share of resamples between the ends; the protocol's if None.
        """
        return stratified_bootstrap(
            statistic,
            ours,
            theirs,
            level=self.level if level is None else level,
            resamples=self.resamples,
            seed=self.seed,
        )


def is_random_zero(scale: Mapping[str, Any]) -> bool:
    """Return True if score 0 of a task is an average random design, not the default design."""
    return not str(scale["average_from"]).startswith(DEFAULT_ZERO)


def shared_tasks(
    found: Mapping[str, tuple[np.ndarray, ...]], a: str, b: str
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the scores of two agents on the tasks on which both have scores."""
    pairs = [(x, y) for x, y in zip(found[a], found[b], strict=True) if len(x) and len(y)]
    return [x for x, _ in pairs], [y for _, y in pairs]


# chosen: this many lines do not bury the verdict.
_SHOWN_DAMAGED = 10
# chosen: this many agents show what is wrong.
_SHOWN_SEEDS = 4


def verdict(
    evidence: Evidence, protocol: Protocol, found: Mapping[str, tuple[np.ndarray, ...]]
) -> tuple[str, ...]:
    """Return the verdict, a sentence or two a line.

    Args:
      evidence: Runs, and what is known of their tasks.
      protocol: Protocol of the scores.
      found: Scores of runs by agent, one array a task.
    """
    return (
        *_ranking(evidence, protocol, found),
        *_repeated_lines(evidence),
        *warnings(evidence),
    )


def _ranking(
    evidence: Evidence, protocol: Protocol, found: Mapping[str, tuple[np.ndarray, ...]]
) -> list[str]:
    lines = []
    for task in evidence.tasks:
        lines.append(_best_line(task, protocol))
    ranked = sorted(
        (label for label, runs in found.items() if any(len(r) for r in runs)),
        key=lambda label: -protocol.bootstrap("iqm", [r for r in found[label] if len(r)]).value,
    )
    if evidence.n_runs < 2:
        return lines
    if len(ranked) < 2:
        lines.append("One agent alone was run: nothing is said about which agent is better.")
        return lines
    # As many comparisons as there are other agents: Bonferroni.
    level = 1 - (1 - protocol.level) / (len(ranked) - 1)
    top = ranked[0]
    beaten: list[str] = []
    open_: list[str] = []
    apart: list[str] = []
    for other in ranked[1:]:
        ours, theirs = shared_tasks(found, top, other)
        if not ours:
            apart.append(other)
            continue
        is_sure = bool(ours) and (
            protocol.bootstrap("improvement", ours, theirs, level).low > 0.5
            and improvement_p_value(ours, theirs) <= 1 - level
        )
        (beaten if is_sure else open_).append(other)
    if apart:
        lines.append(
            f"Not compared: {top} shares no task with {', '.join(apart)}. Scores of other tasks "
            "say nothing about which agent is better."
        )
    if not open_ and not beaten:
        return lines
    if open_:
        lines.append(
            f"No winner: {top} scores best, but the runs cannot tell it from {', '.join(open_)}."
            + (f" It is better than {', '.join(beaten)}." if beaten else "")
        )
    else:
        whom = "every other agent here" if not apart else "these agents"
        lines.append(f"{top} is better than {whom}: {', '.join(beaten)}.")
    lines.append(
        "An agent counts as better where the bootstrap interval of its probability of improvement "
        f"lies above 1/2 and the permutation test agrees, at {100 * level:.4g} % confidence each "
        f"(corrected for {len(ranked) - 1} comparison{'s' * (len(ranked) > 2)})."
    )
    lines += _seed_lines(evidence)
    unfinished = sum(r.status != "finished" for task in evidence.tasks for r in task.runs)
    if unfinished:
        lines.append(f"{unfinished} runs are not finished; what they reached is in the tables.")
    return lines


def _best_line(task: TaskEvidence, protocol: Protocol) -> str:
    best = task.best
    if best is None:
        return f"{task.id}: no design that can be built was found."
    run, row = best
    parts = []
    for term in task.objective.terms:
        place = [spec.name for spec in task.metrics].index(term.metric)
        spec, value, default = (
            task.metrics[place],
            float(run.values[row, place]),
            float(task.reference[place]),
        )
        change = f" ({change_text(value / default - 1)})" if default else ""
        texts = quantity(value, spec.unit), quantity(default, spec.unit)
        parts.append(f"{spec.name} {texts[0]} against {texts[1]}{change}")
    scale = protocol.tasks[task.recipe["digest"]]
    if task.known is not None:
        n = task.known.n_better(float(run.reward[row]))
        end = (
            " It is the proven optimum."
            if not n
            else f" {n:,} of {len(task.known.rewards):,} designs are better."
        )
    else:
        end = f" It is the {scale['best_from']}."
    if task.objective.limits:
        missed = "; ".join(run.missed)
        end += f" Limits: {'missed: ' + missed if missed else 'met as simulated'}."
    return (
        f"{task.id}: the best design, found by {run.label}"
        + ("" if run.seed is None else f" with seed {run.seed}")
        + f" at evaluation {row + 1:,}, has {'; '.join(parts)} of the default design.{end}"
    )


def _seed_lines(evidence: Evidence) -> list[str]:
    """Return a line where agents were run with different seeds on a task."""
    for task in evidence.tasks:
        seeds = {label: {run.seed for run in task.of(label)} for label in task.labels}
        every = set().union(*seeds.values())
        short = {label: own for label, own in seeds.items() if own != every}
        if short:
            shown = "; ".join(
                f"{label} {', '.join(map(str, sorted(s for s in own if s is not None)))}"
                for label, own in list(short.items())[:_SHOWN_SEEDS]
            )
            return [
                f"Agents were not run with the same seeds on {task.label}, which tells against "
                f"comparing them: of {len(every)} seeds, {shown}"
                + (" …" if len(short) > _SHOWN_SEEDS else "")
                + "."
            ]
    return []


def _repeated_lines(evidence: Evidence) -> list[str]:
    folders = [str(folder) for task in evidence.tasks for folder in task.repeated]
    if not folders:
        return []
    shown = ", ".join(folders[:_SHOWN_DAMAGED]) + " …" * (len(folders) > _SHOWN_DAMAGED)
    what = "A study repeats" if len(folders) == 1 else f"{len(folders)} studies repeat"
    return [
        f"{what} another one of the same agent and seed, design by design; each such run counts "
        f"once: {shown}."
    ]


def warnings(evidence: Evidence) -> list[str]:
    """Return a line for each run with a damaged journal, and one for those beyond ten."""
    runs = [run for task in evidence.tasks for run in task.runs if run.damage is not None]
    lines = [f"{run.label}, seed {run.seed}: {run.damage}" for run in runs[:_SHOWN_DAMAGED]]
    if len(runs) > _SHOWN_DAMAGED:
        more = len(runs) - _SHOWN_DAMAGED
        lines.append(f"Journals of {more} more runs are damaged; the health checks name them.")
    return lines
