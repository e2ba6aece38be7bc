"""Frozen releases of ArchBench: digests of tasks that results can be compared over.

`python experiments/bench_release.py` freezes the tasks as they are. A release is never changed
afterwards: a task that turns out wrong gets an erratum, and leaves the rankings. The next release
has another year or number, its own file, and every task whose simulator has a new version.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final, final

RELEASE: Final = "archbench-2026.1"
"""Latest release."""


@final
@dataclass(frozen=True)
class FrozenTask:
    """A task as it was when the release was made."""

    digest: str
    """Digest of the task: simulator and version, space, workloads, objective and limits."""
    simulator: str
    version: int
    split: str
    budgets: tuple[int, ...]
    best_known: float | None
    hardness: float | None
    """Mean evaluations of random search to within 1 % of the best known."""


@final
@dataclass(frozen=True)
class Erratum:
    """A task of a release that must not be compared over, or only with care."""

    task: str
    date: str
    text: str


@final
@dataclass(frozen=True)
class Release:
    """A frozen suite."""

    name: str
    tasks: Mapping[str, FrozenTask]
    errata: tuple[Erratum, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of names and digests of all tasks, to cite."""
        pairs = sorted((name, task.digest) for name, task in self.tasks.items())
        return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()

    def problem(self, label: str, digest: str) -> str | None:
        """Return why a task is not the release's, or None.

        Args:
          label: Name of the task.
          digest: Its digest.
        """
        if label not in self.tasks:
            return f"the task is not of {self.name}."
        if self.tasks[label].digest != digest:
            return (
                f"the task is not that of {self.name}, whose simulator has version "
                f"{self.tasks[label].version}. Use the version of ArchGym that the release names."
            )
        faults = [erratum.text for erratum in self.errata if erratum.task == label]
        return f"the task is withdrawn from {self.name}: {faults[0]}" if faults else None


@cache
def read_release(name: str = RELEASE) -> Release:
    """Return a frozen release.

    Args:
      name: Name of a release, of which there is one so far.
    """
    path = files("archgym.bench") / "data" / f"{name}.json"
    data = json.loads(path.read_text("utf-8"))
    tasks = {
        label: FrozenTask(**{**task, "budgets": tuple(task["budgets"])})
        for label, task in data["tasks"].items()
    }
    return Release(data["release"], tasks, tuple(Erratum(**each) for each in data["errata"]))
