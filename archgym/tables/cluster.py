"""Parts of a table that the processors of a Ray cluster simulate.

All nodes see the folder of the parts. Each part is a file that a process writes whole, and any
process writes the same bytes. So nodes, processes and the driving process may die at any time.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, final

from archgym.errors import ArchGymError, SimulatorError, StorageError, StudyInterrupted
from archgym.files.storage import is_there
from archgym.runtime.interruption import Interruption
from archgym.tables.parts import PLAN_NAME, Build, PartClaims
from archgym.tables.simulation import simulate_parts
from archgym.tasks.ray_pool import Loss, Origin, RayPool

# chosen: a lost process costs at most so much work, and Ray's own cost of a call is small [s].
_CALL_S: Final = 3.0
_MOST_PARTS: Final = 64
# chosen: how often the driving process reacts to a signal [s].
_WAIT_S: Final = 0.5
# chosen: a part that others hold is tried again after so long [s].
_POLL_S: Final = 0.5
# chosen: a shared file system may show a new file so much later elsewhere [s].
_APPEARS_S: Final = 10.0
# chosen: losses in a row, without a finished part between them, before the build gives up.
_MOST_LOSSES: Final = 20


@final
@dataclass(frozen=True)
class PartsResult:
    """Result of one call on a node: simulations, seconds, and the error that ended it, if any."""

    n_simulated: int = 0
    seconds: float = 0.0
    broken: str = ""
    """Text of the error with which the simulator broke."""
    refused: str = ""
    """Text of any other error, which ends the build."""


def work(build: Build, parts: list[int], origin: Origin) -> PartsResult:
    """Simulate some parts in this process, except those that another process has."""
    misfit = origin.misfit()
    if misfit is not None:
        return PartsResult(refused=misfit)
    counted: list[int] = []
    claims = PartClaims(build.folder)
    started = time.monotonic()
    broken = refused = ""
    try:
        with Interruption() as interruption:
            simulate_parts(build, parts, 1, counted.append, interruption, claims)
    except SimulatorError as error:
        broken = str(error)
    except StudyInterrupted:
        # Of a call that is cancelled, nobody reads the result.
        pass
    except ArchGymError as error:
        refused = str(error)
    finally:
        claims.close()
    return PartsResult(sum(counted), time.monotonic() - started, broken, refused)


def simulate_on_ray(
    build: Build,
    missing: list[int],
    address: str,
    workers: int | None,
    report: Callable[[int], None],
    interruption: Interruption,
) -> None:
    """Simulate every missing part on the processors of a Ray cluster.

    Args:
      build: The table, whose folder is absolute and on storage that all nodes share.
      missing: Numbers of the parts.
      address: The cluster's, ``auto`` or ``local``.
      workers: Processors that simulate at once; None for all.
      report: Called with the number of simulations after each call.
      interruption: Raises the signals that came.

    Raises:
      SimulatorError: The simulator broke; the message names the first such design.
      ArchGymError: The cluster does not answer, a node does not fit, or processes are lost again
        and again.
      StudyInterrupted: A signal came.
    """
    if not missing:
        return
    for part in missing:
        # One that is damaged would count as done.
        build.path(part).unlink(missing_ok=True)
    pool = RayPool(work, address, workers)
    try:
        _Drive(build, pool, report).run(deque(missing), interruption)
    finally:
        pool.stop()


@final
@dataclass
class _Drive:
    """Distribution of parts over the calls of a cluster."""

    build: Build
    pool: RayPool
    report: Callable[[int], None]
    chunk: int = 1
    n_losses: int = 0
    broken: dict[int, str] = field(default_factory=dict)
    """Texts of errors of the simulator, by the first part of the call."""

    def run(self, waiting: deque[int], interruption: Interruption) -> None:
        shared = self.pool.shared(self.build)
        origin = Origin.of(self.build.folder, PLAN_NAME, "table")
        held: list[tuple[float, int]] = []
        while waiting or held or self.pool.keys:
            now = time.monotonic()
            waiting.extend(part for due, part in held if due <= now)
            held = [(due, part) for due, part in held if due > now]
            # After an error only what comes before it can matter.
            while waiting and not self.broken and len(self.pool.keys) < self.pool.size:
                # The last calls are short, so that no processor is left with a long one.
                n = min(self.chunk, -(-len(waiting) // (2 * self.pool.size)))
                parts = [waiting.popleft() for _ in range(n)]
                self.pool.send(tuple(parts), shared, parts, origin)
            if self.broken and not self.pool.keys:
                raise SimulatorError(self.broken[min(self.broken)])
            for parts, result in self.pool.take(_WAIT_S):
                left = self._took(parts, result)
                held += [(now + _POLL_S, part) for part in left]
            interruption.check()
            if not self.pool.keys and not waiting and held:
                time.sleep(_POLL_S)
        self._await_files()

    def _took(self, parts: tuple[int, ...], result: PartsResult | Loss) -> list[int]:
        """Return the parts of a call that are left to do."""
        left = [part for part in parts if not is_there(self.build.path(part))]
        if isinstance(result, Loss):
            self.n_losses = self.n_losses + 1 if len(left) == len(parts) else 0
            if result.kind == "code" or self.n_losses > _MOST_LOSSES:
                raise ArchGymError(
                    f"The build stopped; what is done lies in {self.build.folder}. {result.text}"
                )
            self.chunk = 1
            done = [len(self.build.numbers(part)) for part in parts if part not in left]
            self.report(sum(done) * len(self.build.task.workloads))
            return left
        if result.refused:
            kind = StorageError if "cannot be written" in result.refused else ArchGymError
            raise kind(result.refused)
        if result.broken:
            self.broken[parts[0]] = result.broken
            return []
        self.n_losses = 0
        self.report(result.n_simulated)
        if result.n_simulated and not left:
            fitting = int(_CALL_S * len(parts) / max(result.seconds, 1e-3))
            self.chunk = max(1, min(_MOST_PARTS, 2 * self.chunk, fitting))
        return left

    def _await_files(self) -> None:
        """Wait until this process sees all parts; `is_there` opens their folder again."""
        deadline = time.monotonic() + _APPEARS_S
        for part in range(self.build.n_parts):
            while not is_there(self.build.path(part)) and time.monotonic() < deadline:
                if not len(self.build.numbers(part)):
                    break
                time.sleep(_POLL_S)
