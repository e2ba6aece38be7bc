"""Workers of a Ray cluster that run the studies of a sweep.

Each run is a Ray task of one processor, and not a trial of Ray Tune. Tune stops trials that report
worse results, and keeps checkpoints in an experiment that only its driver restores. Runs of a sweep
are independent, and none may stop before its budget. Any process can resume a study by replay from
its journal. The sweep's folder records what is finished, so nothing else must be restored.

Ray retries no task. The driver does, since it knows whether the study has made progress.
"""

import functools
import hashlib
import os
import signal
import socket
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, final

from archgym.errors import ArchGymError, MissingExtraError, StudyInterrupted
from archgym.files.storage import open_member
from archgym.studies.snapshot import read_state
from archgym.sweep.plan import Run
from archgym.sweep.reading import PLAN_NAME
from archgym.sweep.study_run import THREAD_VARIABLES, RunResult, Tasks, perform
from archgym.version import __version__

# chosen: longer than a cluster and a shared file system need to be sure that a node is lost, after
# which they end its processes and give its locks to others.
_PATIENCE_S = 150.0
# chosen: a shared file system may show a new file so much later elsewhere.
_APPEARS_S = 10.0

_tasks: Tasks = {}


@final
@dataclass(frozen=True)
class Origin:
    """Properties that every node must share with the process that drives a sweep."""

    version: str
    code: str
    """Hash of ArchGym's source."""
    folder: Path
    """The sweep's, absolute."""
    plan: str
    """Hash of the plan that it records."""

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Return that of this process.

        Raises:
          StorageError: The plan cannot be read.
        """
        return cls(__version__, _code(), folder, _plan(folder))

    def misfit(self) -> str | None:
        """Return the reason why this process cannot run a part of the sweep, or None."""
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
    """Run a study of a sweep to its end, from where it is."""
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
    with open_member(folder / PLAN_NAME) as handle:
        return hashlib.sha256(handle.read()).hexdigest()


# chosen: Ray gives up starting after 30 s, which a busy machine needs more than of.
_STARTS = 3
# chosen: results are a line each; the least that Ray allows is 75 MB.
_OBJECT_STORE_BYTES = 100 * 2**20
# chosen: clusters that grow with their work see some that waits.
_AHEAD = 8
# chosen: how often a cluster is asked for its size, and studies' folders for their progress.
_LOOK_S = 2.0
# chosen: studies must have ended within the two seconds that a stop may take.
_STOP_S = 1.0
# chosen: a cluster on the other side of the world answers sooner.
_ANSWER_S = 5.0


@final
class RayCrew:
    """A Ray cluster's processors, each of which runs a study at a time."""

    def __init__(self, folder: Path, address: str, workers: int | None) -> None:
        """Connects, unless this process is connected already.

        Args:
          folder: The sweep's, absolute and on storage that all nodes share.
          address: The cluster's, or ``local`` for one on this machine that ends with the crew.
          workers: Studies that run at once; None for as many as the cluster takes.

        Raises:
          MissingExtraError: Ray is not installed.
          ArchGymError: There is no such cluster.
        """
        try:
            import ray

            from archgym.runtime.ray_session import hurry_shutdown, quiet
        except ImportError:
            raise MissingExtraError("ray", "cluster") from None
        self._ray: Any = ray
        self._hurry = hurry_shutdown
        self._workers = workers
        self._origin = Origin.of(folder)
        self._runs: dict[Any, Run] = {}
        self._evaluations: dict[str, int] = {}
        self._looked_at = 0.0
        self._n_cpus = 1
        self._open = ExitStack()
        self._open.enter_context(quiet())
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            try:
                _connect(ray, address, workers)
            except BaseException:
                self._open.close()
                raise
        variables = {name: os.environ.get(name) or "1" for name in THREAD_VARIABLES}
        self._work = ray.remote(
            num_cpus=1,
            max_retries=0,
            # Nodes that are as busy as each other lose the least with one of them.
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": variables},
        )(work)

    @property
    def room(self) -> int:
        """Number of further runs it takes; some of those wait for a processor."""
        size = self._workers if self._workers is not None else self._n_cpus + _AHEAD
        return max(0, size - len(self._runs))

    @property
    def evaluations(self) -> dict[str, int]:
        """Evaluations of its current runs, by their id."""
        return self._evaluations

    def send(self, run: Run, folder: Path) -> None:
        """Run a study in its folder of the sweep, in one of the processes."""
        assert folder == self._origin.folder / run.id
        self._runs[self._work.remote(run, self._origin)] = run
        self._evaluations[run.id] = 0

    def take(self, patience_s: float) -> list[tuple[Run, RunResult]]:
        """Wait for a while at most and return the runs that ended."""
        self._look()
        waiting = list(self._runs)
        if not waiting:
            return []
        done, _ = self._ray.wait(waiting, num_returns=1, timeout=patience_s)
        if done:
            done, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        ended = []
        for task in done:
            run = self._runs.pop(task)
            known = self._evaluations.pop(run.id)
            ended.append((run, self._result(task, known)))
        return ended

    def stop(self) -> None:
        """End all, within two seconds where they run on this machine."""
        try:
            waiting = list(self._runs)
            for task in waiting:
                # As Ctrl-C would, after which a study brings everything to the disk.
                with suppress(Exception):
                    self._ray.cancel(task, force=False)
            if waiting:
                with suppress(Exception):
                    self._ray.wait(waiting, num_returns=len(waiting), timeout=_STOP_S)
                self._hurry()
            self._runs, self._evaluations = {}, {}
            if self._is_ours:
                # Those of a cluster that have not ended yet end with the connection.
                self._ray.shutdown()
        finally:
            self._open.close()

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._looked_at + _LOOK_S:
            return
        self._looked_at = now
        self._n_cpus = max(1, int(self._ray.cluster_resources().get("CPU", 0)))
        for run in self._runs.values():
            state = read_state(self._origin.folder / run.id) or {}
            evaluations = state.get("evaluations")
            if type(evaluations) is int:
                self._evaluations[run.id] = evaluations

    def _result(self, task: Any, evaluations: int) -> RunResult:
        errors: Any = self._ray.exceptions
        try:
            result: RunResult = self._ray.get(task)
        except errors.RayTaskError as error:
            # What a run raises is a result; this is a node that has not come as far as that.
            words = str(error).strip().splitlines()[-1]
            return RunResult(
                evaluations,
                f"ArchGym must be installed on every node, in the same version; {words}",
                stops_all=True,
            )
        except errors.RuntimeEnvSetupError as error:
            words = str(error).strip().splitlines()[-1]
            return RunResult(evaluations, f"A node cannot start a process: {words}")
        # A process that was killed or ran out of memory, a node that is gone, and the like.
        except errors.RayError as error:
            words = " ".join(str(error).split())[:300]
            return RunResult(evaluations, f"Its process was lost: {words}", is_lost=True)
        return result


def _connect(ray: Any, address: str, workers: int | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False}
    if address == "local":
        # Nobody else is to use it, so that it needs no token.
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        options |= {
            "num_cpus": workers or os.cpu_count() or 1,
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
        }
    _require_answer(address)
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if in_main else None
    for start in range(1, _STARTS + 1):
        try:
            ray.init(address=address, **options)
            return
        except Exception as error:
            with suppress(Exception):
                ray.shutdown()
            if start == _STARTS or address != "local":
                words = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise _unreachable(address, words) from error
        finally:
            # Ray takes the signal for itself.
            if in_main:
                signal.signal(signal.SIGTERM, handler)


def _require_answer(address: str) -> None:
    """Refuse an address at which nobody listens, for which Ray itself would wait for minutes."""
    host, sign, port = address.removeprefix("ray://").rpartition(":")
    if not sign or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, getattr(error, "strerror", None) or str(error)) from None


def _unreachable(address: str, problem: str) -> ArchGymError:
    return ArchGymError(
        f"A Ray cluster must answer at {address!r}; {problem.rstrip('.')}. Start one with "
        "`ray start --head`, check the address, or leave `--address` out to use processes of this "
        "machine."
    )
