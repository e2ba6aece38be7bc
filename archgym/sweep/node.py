"""What a node of a cluster does for a sweep: it makes sure that it fits, and runs a study."""

import functools
import hashlib
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self, final

from archgym.errors import ArchGymError, StudyInterrupted
from archgym.storage import open_file
from archgym.sweep.performing import RunResult, Tasks, perform
from archgym.sweep.plan import Run
from archgym.sweep.recorded import PLAN_NAME
from archgym.version import __version__

__all__ = ["Origin", "work"]

# chosen: longer than a cluster and a shared file system need to be sure that a node is lost, after
# which they end its processes and give its locks to others.
_PATIENCE_S = 150.0
# chosen: a shared file system may show a new file so much later elsewhere.
_APPEARS_S = 10.0

_tasks: Tasks = {}


@final
@dataclass(frozen=True)
class Origin:
    """What every node must have in common with the process that drives a sweep."""

    version: str
    code: str
    """Hash of ArchGym's source."""
    folder: Path
    """The sweep's, absolute."""
    plan: str
    """Hash of the plan that it records."""

    @classmethod
    def of(cls, folder: Path) -> Self:
        """That of this process.

        Raises:
          StorageError: The plan cannot be read.
        """
        return cls(__version__, _code(), folder, _plan(folder))

    def misfit(self) -> str | None:
        """Why this process cannot run a part of the sweep; None where it can."""
        here = socket.gethostname()
        if self.version != __version__:
            return (
                f"ArchGym must be {self.version} on every node, as where the sweep was started; "
                f"on {here} it is {__version__}. Install the same version there."
            )
        if self.code != _code():
            return (
                f"ArchGym {__version__} must be the same code on every node; on {here} its files "
                f"in {Path(__file__).parents[1]} differ from those where the sweep was started. "
                "Install it from the same package or commit."
            )
        deadline = time.monotonic() + _APPEARS_S
        while True:
            try:
                if _plan(self.folder) == self.plan:
                    return None
                problem = "is another one"
            except (ArchGymError, OSError):
                problem = "is absent or cannot be read"
            if time.monotonic() > deadline:
                return (
                    "A sweep's folder must lie on storage that all nodes share, at the same path; "
                    f"on {here} {self.folder / PLAN_NAME} {problem}. Choose another folder."
                )
            time.sleep(0.2)


def work(run: Run, origin: Origin) -> RunResult:
    """Runs a study of a sweep to its end, from where it is.

    Args:
      run: What is run.
      origin: The sweep's.
    """
    misfit = origin.misfit()
    if misfit is not None:
        return RunResult(0, misfit, stops_all=True)
    try:
        return perform(run, origin.folder / run.id, _tasks, _PATIENCE_S)
    except StudyInterrupted as interruption:
        return RunResult(0, str(interruption), is_lost=True)


@functools.cache
def _code() -> str:
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _plan(folder: Path) -> str:
    with open_file(folder / PLAN_NAME) as handle:
        return hashlib.sha256(handle.read()).hexdigest()
