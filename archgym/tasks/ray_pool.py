"""Processors of a Ray cluster, which run functions of ArchGym for a driving process.

Ray retries no task. The driving process does, since it knows what was done.
"""

import functools
import hashlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self, final

from archgym.errors import ArchGymError, MissingExtraError
from archgym.files.storage import open_member
from archgym.version import __version__

# One thread each: numbers must not depend on how many processes share the machine.
THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""Variables by which libraries learn how many threads a process may start."""
# chosen: a shared file system may show a new file so much later elsewhere.
_APPEARS_S = 10.0
# chosen: Ray gives up starting after 30 s, which is too short on a busy machine.
_STARTS = 3
# chosen: results are a line each; the least that Ray allows is 75 MB.
_OBJECT_STORE_BYTES = 100 * 2**20
# chosen: clusters that grow with their work see some that waits.
_AHEAD = 8
# chosen: how often a cluster is asked for its size.
_LOOK_S = 2.0
# chosen: half of the time after which Ray ends this process without a word; a head may restart.
_HEAD_S = 30.0
# chosen: work must have ended within the two seconds that a stop may take.
_STOP_S = 1.0
# chosen: a cluster on the other side of the world answers sooner.
_ANSWER_S = 5.0


@final
@dataclass(frozen=True)
class Origin:
    """Properties that every node must share with the driving process."""

    version: str
    code: str
    """Hash of ArchGym's source."""
    folder: Path
    """Folder that all nodes must see, absolute."""
    plan: str
    """Hash of the plan in that folder."""
    name: str
    """Name of the plan's file."""
    what: str
    """Kind of thing that the folder holds, such as "sweep"."""

    @classmethod
    def of(cls, folder: Path, name: str, what: str) -> Self:
        """Return the properties of this process.

        Raises:
          StorageError: The file cannot be read.
        """
        return cls(__version__, _code(), folder, _hash(folder / name), name, what)

    def misfit(self) -> str | None:
        """Return the reason why this process cannot run a part of the work, or None."""
        here = socket.gethostname()
        if self.version != __version__:
            return (
                f"ArchGym must be {self.version} on every node, as in the process that drives it; "
                f"on {here} it is {__version__}. Install the same version there."
            )
        if self.code != _code():
            return (
                f"ArchGym {__version__} must be the same code on every node; on {here} its files "
                f"in {Path(__file__).parents[1]} differ from those of the process that drives it. "
                "Install it from the same package or commit."
            )
        deadline = time.monotonic() + _APPEARS_S
        while True:
            try:
                if _hash(self.folder / self.name) == self.plan:
                    return None
                problem = "is another one"
            except (ArchGymError, OSError):
                problem = "is absent or cannot be read"
            if time.monotonic() > deadline:
                return (
                    f"A {self.what}'s folder must lie on storage that all nodes share, at the same "
                    f"path; on {here} {self.folder / self.name} {problem}. Choose another folder."
                )
            time.sleep(0.2)


@functools.cache
def _code() -> str:
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _hash(path: Path) -> str:
    with open_member(path) as handle:
        return hashlib.sha256(handle.read()).hexdigest()


@final
@dataclass(frozen=True)
class Loss:
    """Reason why a task has no result.

    `kind` is "code" where a node cannot run any task, "start" where a node could not start a
    process, and "lost" where a process or a node was lost.
    """

    text: str
    kind: Literal["code", "start", "lost"]


@final
class RayPool:
    """A Ray cluster's processors, each of which runs one call of a function at a time."""

    def __init__(self, function: Callable[..., Any], address: str, workers: int | None) -> None:
        """Connect, unless this process is connected already.

        Args:
          function: Function that the processors call; it is importable on every node.
          address: The cluster's, ``auto`` for one that runs on this machine, or ``local`` for one
            on this machine that ends with the pool.
          workers: Calls that run at once; None for as many as the cluster takes.

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
        self._keys: dict[Any, Any] = {}
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
        self._answered_at = time.monotonic()
        # A client of `ray://` knows no other address than its own.
        is_client = self._ray.util.client.ray.is_connected()
        self._head = address if is_client else str(ray.get_runtime_context().gcs_address)
        variables = {name: os.environ.get(name) or "1" for name in THREAD_VARIABLES}
        self._call = ray.remote(
            num_cpus=1,
            max_retries=0,
            # Nodes that are as busy as each other lose the least with one of them.
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": variables},
        )(function)

    @property
    def size(self) -> int:
        """Number of calls that it takes at once; some of those wait for a processor."""
        return self._workers if self._workers is not None else self._n_cpus + _AHEAD

    @property
    def keys(self) -> list[Any]:
        """Keys of its current calls."""
        return list(self._keys.values())

    def shared(self, argument: Any) -> Any:
        """Return an argument of many calls, which is sent to each node once."""
        return self._ray.put(argument)

    def send(self, key: Any, *arguments: Any) -> None:
        """Call the function; `take` returns the result with the key."""
        self._keys[self._call.remote(*arguments)] = key

    def take(self, patience_s: float) -> list[tuple[Any, Any]]:
        """Wait for a while at most, and return keys and results of the calls that ended.

        A call that was lost has a `Loss` in place of its result.

        Raises:
          ArchGymError: The head of the cluster is lost.
        """
        now = time.monotonic()
        if now >= self._looked_at + _LOOK_S:
            self._looked_at = now
            self._look(now)
        waiting = list(self._keys)
        if not waiting:
            return []
        done, _ = self._ray.wait(waiting, num_returns=1, timeout=patience_s)
        if done:
            done, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        return [(self._keys.pop(task), self._result(task)) for task in done]

    def stop(self) -> None:
        """End all, within two seconds where they run on this machine."""
        try:
            waiting = list(self._keys)
            for task in waiting:
                # As Ctrl-C would, after which a call brings everything to the disk.
                with suppress(Exception):
                    self._ray.cancel(task, force=False)
            if waiting:
                with suppress(Exception):
                    self._ray.wait(waiting, num_returns=len(waiting), timeout=_STOP_S)
                self._hurry()
            self._keys = {}
            if self._is_ours:
                # Those of a cluster that have not ended yet end with the connection.
                self._ray.shutdown()
        finally:
            self._open.close()

    def _look(self, now: float) -> None:
        """Ask for the size of the cluster, unless its head has not answered for a while."""
        try:
            _require_answer(self._head)
        except ArchGymError:
            if now < self._answered_at + _HEAD_S:
                return
            # Nothing can be cancelled or shut down without a head.
            self._keys, self._is_ours = {}, False
            raise ArchGymError(
                f"The head of the Ray cluster at {self._head} is lost. What is done is saved; "
                "run the same command again with a cluster that runs."
            ) from None
        self._answered_at = now
        self._n_cpus = max(1, int(self._ray.cluster_resources().get("CPU", 0)))

    def _result(self, task: Any) -> Any:
        errors: Any = self._ray.exceptions
        try:
            return self._ray.get(task)
        except errors.RayTaskError as error:
            # What a call raises is a result; this is a node that has not come as far as that.
            words = str(error).strip().splitlines()[-1]
            return Loss(
                f"ArchGym must be installed on every node, in the same version; {words}", "code"
            )
        except errors.RuntimeEnvSetupError as error:
            words = str(error).strip().splitlines()[-1]
            return Loss(f"A node cannot start a process: {words}", "start")
        # A process that was killed or ran out of memory, a node that is gone, and the like.
        except errors.RayError as error:
            words = " ".join(str(error).split())[:300]
            return Loss(f"Its process was lost: {words}", "lost")


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
        "`ray start --head`, check the address, or leave the address out to use processes of this "
        "machine."
    )
