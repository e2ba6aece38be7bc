"""Ray's remarks, kept from the terminal, and a quick end of its processes."""

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, final

import ray._private.worker as ray_worker


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
    """Return the child processes of a process; an empty list where the system hides them."""
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, listed.read_text().split())
    return found
