"""Ray session for searches: started quietly if needed, and shut down by its last user."""

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, final

import ray
import ray._private.worker as ray_worker

from archgym.errors import ArchGymError

# chosen: Ray gives up starting after 30 s, which a busy machine needs more than of.
_STARTS = 3
# chosen: the least that Ray allows is 75 MB; weights and episodes are a few.
_OBJECT_STORE_BYTES = 120 * 2**20


@final
class _Quiet:
    """Counter of blocks in which remarks of RLlib and Ray are suppressed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n = 0
        self._handlers: list[tuple[logging.Logger, list[logging.Handler], bool]] = []
        self._printed: Any = None

    def enter(self) -> None:
        worker: Any = ray_worker
        with self._lock:
            self._n += 1
            if self._n > 1:
                return
            # Not by levels, which RLlib sets itself.
            for name, logger in logging.root.manager.loggerDict.items():
                if name.partition(".")[0] != "ray" or not isinstance(logger, logging.Logger):
                    continue
                # Those with neither go by their parent.
                if name == "ray" or logger.handlers or not logger.propagate:
                    self._handlers.append((logger, logger.handlers, logger.propagate))
                    logger.handlers, logger.propagate = [logging.NullHandler()], False
            # Ray prints on standard output what happens to nodes, whatever it is told about logs.
            self._printed = worker.print_to_stdstream
            worker.print_to_stdstream = lambda *args, **kwargs: None

    def leave(self) -> None:
        worker: Any = ray_worker
        with self._lock:
            self._n -= 1
            if self._n:
                return
            for logger, handlers, propagates in self._handlers:
                logger.handlers, logger.propagate = handlers, propagates
            self._handlers = []
            worker.print_to_stdstream = self._printed


_QUIET = _Quiet()


@contextmanager
def quiet() -> Iterator[None]:
    """Silence log messages of RLlib and Ray within a block; errors are still raised."""
    _QUIET.enter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _QUIET.leave()


@final
class _SharedRay:
    """Ray as this process runs it already, or the cluster of RAY_ADDRESS, or one of our own.

    All searches of a process share it; the last one shuts down what was started here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n = 0
        self._thread: _RayThread | None = None
        self._abandoned: _RayThread | None = None

    def enter(self, n_runners: int) -> None:
        """Start it where it does not run.

        Raises:
          ArchGymError: It does not start, or has too few processors.
        """
        with self._lock:
            if self._thread is None and not ray.is_initialized():
                self._start(n_runners)
            self._n += 1
        resources: Any = ray.cluster_resources
        n_cpus = resources().get("CPU", 0)
        if n_cpus < n_runners:
            self.leave()
            raise ArchGymError(
                f"A cluster must have a processor for each of {n_runners} environment runners; it "
                f"has {n_cpus:g}. Lower `env_runners` or add a node."
            )

    def leave(self, is_hurried: bool = False) -> None:
        """Shut down Ray if it was started here and nobody else needs it.

        Args:
          is_hurried: True to kill Ray's processes; it asks one after the other to end, and waits
            up to a second for each.
        """
        with self._lock:
            self._n -= 1
            if not self._n and self._thread is not None:
                thread, self._thread = self._thread, None
                if is_hurried:
                    hurry_shutdown()
                ray.shutdown()
                thread.is_over.set()

    def _start(self, n_runners: int) -> None:
        if self._abandoned is not None:
            self._abandoned.join()
        thread = _RayThread(n_runners)
        try:
            with _core_quiet():
                thread.has_started.wait()
        except BaseException:
            self._abandoned = thread
            thread.is_over.set()
            raise
        if thread.error is not None:
            raise thread.error
        self._thread = thread


def hurry_shutdown() -> None:
    """Make Ray's next shutdown kill its processes, which have nothing to save."""
    node: Any = ray_worker._global_node
    if node is None:
        return
    kill = node.kill_all_processes

    def kill_at_once(**options: Any) -> None:
        # What a process of Ray started outlives it for some seconds.
        own = [info.process.pid for infos in node.all_processes.values() for info in infos]
        started = [child for pid in own for child in children(pid)]
        kill(**{**options, "allow_graceful": False})
        for child in started:
            with suppress(OSError):
                os.kill(child, signal.SIGKILL)

    node.kill_all_processes = kill_at_once


def children(pid: int) -> list[int]:
    """Process that this one has started; none where the system does not tell."""
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, listed.read_text().split())
    return found


RAY = _SharedRay()


@final
class _RayThread(threading.Thread):
    """Thread that starts Ray and lives until Ray is shut down.

    A caller that waits for this thread can be interrupted. A direct call of `ray.init` cannot: in
    the main thread it also replaces the handler of SIGTERM. The thread must live on, since Ray asks
    Linux to kill its processes when the thread that started them ends.
    """

    def __init__(self, n_runners: int) -> None:
        super().__init__(name="archgym-ray", daemon=True)
        self.has_started = threading.Event()
        """Set also where it could not be started."""
        self.error: ArchGymError | None = None
        self.is_over = threading.Event()
        self._n_runners = n_runners
        self.start()

    def run(self) -> None:
        try:
            _start_ray(self._n_runners, self.is_over)
        except ArchGymError as error:
            self.error = error
        self.has_started.set()
        if self.error is not None:
            return
        if self.is_over.is_set():
            # The caller was interrupted while Ray started.
            hurry_shutdown()
            ray.shutdown()
        self.is_over.wait()


def _start_ray(n_runners: int, is_over: threading.Event) -> None:
    address = os.environ.get("RAY_ADDRESS", "")
    options: dict[str, Any] = {"log_to_driver": False}
    if not address:
        # Nobody else is to use it: without a token, and attached to no other that runs here.
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        address = "local"
        options |= {
            "num_cpus": max(n_runners, os.cpu_count() or 1),
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
        }
    for start in range(1, _STARTS + 1):
        try:
            ray.init(address=address, **options)
        except Exception as error:
            with suppress(Exception):
                ray.shutdown()
            if start == _STARTS or address != "local" or is_over.is_set():
                words = str(error).strip().split("\n")[0]
                raise ArchGymError(
                    f"Ray must start at {address!r} for `env_runners`; {words}"
                ) from error
        else:
            return


@contextmanager
def _core_quiet() -> Iterator[None]:
    """Within it, Ray's core starts and is told to keep its remarks from this process's terminal.

    The core is no Python: it writes to the file descriptor itself, and remarks on being told.
    """
    name = "RAY_BACKEND_LOG_LEVEL"
    is_told = name in os.environ
    os.environ.setdefault(name, "fatal")
    terminal, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)
        if not is_told:
            del os.environ[name]
