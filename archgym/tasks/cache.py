"""Cache of evaluations that studies share, so that no design is simulated twice.

A folder holds one SQLite database. A design that one process evaluates is claimed, so that others
wait for its result. Claims end with their process, also at kill -9: each writer holds a lock on a
file of its own, and a claim whose writer holds no lock does not count.
"""

import fcntl
import hashlib
import json
import os
import secrets
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from archgym.checks import check_number
from archgym.errors import FileFormatError, StorageError, StudyInterrupted
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.evaluation.simulator import FAILED
from archgym.files.storage import make_folder, open_own, require_own, storage_errors
from archgym.tasks.executor import Executor, empty_evaluation
from archgym.tasks.task import Evaluation, Task

_NAME = "evaluations.sqlite"
_FORMAT = 1
# chosen: longest wait for another process that writes; a write takes milliseconds.
_BUSY_S = 60.0
# chosen: designs that others evaluate are looked for so often.
_POLL_S = 0.05
RECHECK = 0.02
"""Share of the results of a cache that are evaluated again; chosen: little time, and a false
cache is found after some fifty designs."""
# SQLite takes at most 32,766 values in a statement.
_PIECE = 10_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS results (
    problem TEXT, design BLOB, content BLOB, crc INTEGER, PRIMARY KEY (problem, design)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (
    problem TEXT, design BLOB, writer TEXT, PRIMARY KEY (problem, design)
) WITHOUT ROWID;
"""


@final
@dataclass(frozen=True)
class _Result:
    """Result of one design."""

    values: np.ndarray
    """(n_workloads, n_metrics) float64."""
    reason: np.ndarray
    """(n_workloads,) int16."""
    failure: str | None = None

    @property
    def is_kept(self) -> bool:
        """True if the simulator did not break."""
        return self.failure is None and not (self.reason == FAILED).any()

    def encoded(self) -> bytes:
        """Return the result as it is stored."""
        return self.values.astype("<f8").tobytes() + self.reason.astype("<i2").tobytes()

    @classmethod
    def decoded(cls, content: bytes, shape: tuple[int, int]) -> "_Result | None":
        """Return a stored result; None if it has another size."""
        n_workloads, n_metrics = shape
        end = 8 * n_workloads * n_metrics
        if len(content) != end + 2 * n_workloads:
            return None
        values = np.frombuffer(content[:end], "<f8").reshape(shape)
        return cls(values, np.frombuffer(content[end:], "<i2"))


@final
class EvaluationCache:
    """The database of a folder, opened by one writer.

    What is kept depends on the simulator, its space, options, fidelity and version, and on the
    workloads; not on the objective. Failed evaluations are not kept.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open the cache of a folder, which is made if it is absent.

        Raises:
          FileFormatError: The file in the folder is not a cache, or is damaged.
          StorageError: The folder cannot be written.
        """
        self._folder = Path(folder)
        self._path = self._folder / _NAME
        make_folder(self._folder)
        self._writer = secrets.token_hex(8)
        lock = self._lock_path(self._writer)
        self._descriptor = open_own(lock, os.O_RDWR)
        with storage_errors(lock, "locked"):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # One thread at a time: an executor may run in another thread than it was made in.
        self._turn = threading.Lock()
        try:
            # SQLite would follow links of these names, and write into files outside the folder.
            for end in ("-wal", "-shm", "-journal"):
                require_own(f"{self._path}{end}")
            os.close(open_own(self._path, os.O_RDWR))
            with self._refusals():
                self._base = sqlite3.connect(
                    self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
                )
                self._check_format()
        except BaseException:
            self.close()
            raise

    def _check_format(self) -> None:
        number = self._base.execute("PRAGMA user_version").fetchone()[0]
        if number > _FORMAT:
            raise FileFormatError(
                self._path,
                None,
                f"has format {number}; this version of ArchGym reads formats up to {_FORMAT}",
                "Update ArchGym, or choose another folder",
            )
        self._base.executescript(f"{_SCHEMA}PRAGMA user_version = {_FORMAT};")

    @property
    def path(self) -> Path:
        """The database."""
        return self._path

    def close(self) -> None:
        """Release all claims and close the database; calling it again does nothing."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        with suppress(sqlite3.Error, AttributeError):
            self._base.execute("DELETE FROM claims WHERE writer = ?", (self._writer,))
            self._base.close()
        with suppress(OSError):
            self._lock_path(self._writer).unlink()
        os.close(descriptor)

    def results(
        self, problem: str, designs: Sequence[bytes], shape: tuple[int, int]
    ) -> dict[bytes, _Result]:
        """Return the results of the designs that are known.

        Args:
          problem: Key of the simulator and workloads; see `problem_key`.
          designs: Keys of designs.
          shape: Numbers of workloads and metrics.
        """
        found = {}
        with self._turn, self._refusals():
            for piece in _pieces(designs):
                marks = ",".join("?" * len(piece))
                rows = self._base.execute(
                    "SELECT design, content, crc FROM results "
                    f"WHERE problem = ? AND design IN ({marks})",
                    (problem, *piece),
                )
                for design, content, crc in rows:
                    # What does not match its checksum is evaluated again.
                    is_sound = type(content) is bytes and type(design) is bytes
                    result = _Result.decoded(content, shape) if is_sound else None
                    if result is not None and crc == _crc(problem, design, content):
                        found[design] = result
        return found

    def claim(self, problem: str, designs: Sequence[bytes]) -> list[bytes]:
        """Return the designs that this writer is to evaluate: those that nobody else claims."""
        with self._turn, self._refusals(), self._transaction():
            claimed = {
                bytes(design): writer
                for piece in _pieces(designs)
                for design, writer in self._base.execute(
                    "SELECT design, writer FROM claims WHERE problem = ? AND design IN "
                    f"({','.join('?' * len(piece))})",
                    (problem, *piece),
                )
            }
            live = {writer: self._lives(writer) for writer in set(claimed.values())}
            mine = [d for d in designs if d not in claimed or not live[claimed[d]]]
            self._base.executemany(
                "INSERT OR REPLACE INTO claims VALUES (?, ?, ?)",
                [(problem, design, self._writer) for design in mine],
            )
        return mine

    def store(
        self, problem: str, results: Mapping[bytes, bytes], released: Sequence[bytes]
    ) -> None:
        """Store results, and release the claims on them and on other designs.

        Args:
          problem: Key of the simulator and workloads.
          results: Content by design.
          released: Designs that this writer claimed.
        """
        with self._turn, self._refusals(), self._transaction():
            self._base.executemany(
                "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)",
                [(problem, d, c, _crc(problem, d, c)) for d, c in results.items()],
            )
            self._base.executemany(
                "DELETE FROM claims WHERE problem = ? AND design = ? AND writer = ?",
                [(problem, design, self._writer) for design in released],
            )

    def _lives(self, writer: str) -> bool:
        """Return True if the writer holds its lock; a lock file without a writer is removed."""
        if writer == self._writer:
            return False
        path = self._lock_path(writer)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        else:
            with suppress(OSError):
                path.unlink()
            return False
        finally:
            os.close(descriptor)

    def _lock_path(self, writer: str) -> Path:
        name = "".join(letter for letter in writer if letter.isalnum())
        return self._folder / f"writer-{name}.lock"

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._base.execute("ROLLBACK")
            raise
        self._base.execute("COMMIT")

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"{self._path} must be readable and writable; {error}. Check its permissions and "
                "the disk, or choose another folder."
            ) from None
        except sqlite3.ProgrammingError:
            raise StudyInterrupted("The cache was closed while it was used.") from None
        except sqlite3.Error as error:
            raise FileFormatError(
                self._path,
                None,
                f"a cache of evaluations must be what ArchGym wrote; {error}",
                "Delete it, or choose another folder",
            ) from None


@final
class CachedExecutor(Executor):
    """Executor that evaluates designs that a cache does not know by another executor.

    Results do not depend on what the cache holds, so journals are the same with and without it.
    Checksums find damage, but not somebody who writes false results: a sample of the results that
    are found is evaluated again, the first of a run included.
    """

    def __init__(self, inner: Executor, folder: str | Path, recheck: float = RECHECK) -> None:
        """Open the cache of a folder.

        Args:
          inner: Executor of designs that are not known; it is closed with this one.
          folder: Folder of the cache.
          recheck: Share of the results found in the cache that are evaluated again, from 0 to 1.

        Raises:
          InvalidArgumentError: `recheck` is not a share.
          FileFormatError: The file in the folder is not a cache, or is damaged.
          StorageError: The folder cannot be written.
        """
        self._inner = inner
        self._recheck = check_number("recheck", recheck, 0.0, 1.0)
        self._cache = EvaluationCache(folder)
        self._has_checked = False
        self._cancelled = False
        self.workers, self.starts_ahead = inner.workers, inner.starts_ahead

    def expect(self, task: Task, indices: np.ndarray) -> None:
        """Start the designs that the cache does not know."""
        keys = [row.tobytes() for row in _canonical(task, indices)]
        shape = (len(task.workloads), len(task.metrics))
        found = self._cache.results(problem_key(task), keys, shape)
        self._inner.expect(task, indices[[key not in found for key in keys]])

    def evaluate(self, task: Task, indices: np.ndarray) -> Evaluation:
        """Return results of designs, in their order."""
        keys = [row.tobytes() for row in _canonical(task, indices)]
        waiting: dict[bytes, int] = {}
        for row, key in enumerate(keys):
            waiting.setdefault(key, row)
        problem, shape = problem_key(task), (len(task.workloads), len(task.metrics))
        found: dict[bytes, _Result] = {}
        hits: list[bytes] = []

        def look() -> None:
            for key, result in self._cache.results(problem, list(waiting), shape).items():
                found[key] = result
                del waiting[key]
                hits.append(key)

        while waiting:
            if self._cancelled:
                raise StudyInterrupted("The executor was closed while it waited.")
            look()
            mine = self._cache.claim(problem, list(waiting)) if waiting else []
            if mine:
                # Another writer may have finished between the look and the claim.
                look()
                wanted = {key: waiting.pop(key) for key in mine if key in waiting}
                found |= self._evaluated(task, problem, indices, wanted, mine)
            elif waiting:
                time.sleep(_POLL_S)
        self._check(task, {key: found[key] for key in hits})
        return _evaluation(task, [found[key] for key in keys])

    def _check(self, task: Task, hits: Mapping[bytes, _Result]) -> None:
        """Evaluate a sample of results from the cache again.

        Raises:
          FileFormatError: One is not what the simulator returns.
        """
        sample = [key for key in hits if zlib.crc32(key) < self._recheck * 2**32]
        if not self._has_checked and hits and self._recheck > 0:
            sample = sample or [next(iter(hits))]
            self._has_checked = True
        if not sample:
            return
        designs = np.array([np.frombuffer(key, "<i8") for key in sample], dtype=np.int64)
        made = self._inner.evaluate(task, designs)
        for row, key in enumerate(sample):
            same = np.array_equal(made.values[row], hits[key].values, equal_nan=True)
            if not same or not np.array_equal(made.reason[row], hits[key].reason):
                raise FileFormatError(
                    self._cache.path,
                    None,
                    f"results must be those of the simulator; {task.space.design_at(designs[row])} "
                    "has others",
                    "Delete the file, or accept results that vary with `--recheck 0`",
                )

    def _evaluated(
        self,
        task: Task,
        problem: str,
        indices: np.ndarray,
        wanted: Mapping[bytes, int],
        claimed: Sequence[bytes],
    ) -> dict[bytes, "_Result"]:
        """Evaluate designs, keep their results, and give back the claims."""
        results: dict[bytes, _Result] = {}
        try:
            if wanted:
                made = self._inner.evaluate(task, indices[list(wanted.values())])
                for row, key in enumerate(wanted):
                    results[key] = _Result(
                        made.values[row], made.reason[row], made.failures.get(row)
                    )
        finally:
            self._cache.store(
                problem,
                {key: result.encoded() for key, result in results.items() if result.is_kept},
                claimed,
            )
        return results

    def cancel(self) -> None:
        """Stop all evaluations and release this writer's claims."""
        self._cancelled = True
        self._inner.cancel()
        self._cache.close()


def problem_key(task: Task) -> str:
    """Return the key of all that decides the metrics of a task's designs."""
    simulator = task.simulator
    identity = [
        simulator.name,
        simulator.version,
        dict(simulator.options),
        simulator.fidelity,
        task.space.digest,
        [weighted.workload.digest for weighted in task.workloads],
        [[spec.name, spec.unit] for spec in task.metrics],
        list(simulator.spec.reasons),
    ]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _canonical(task: Task, indices: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(task.space.canonical(indices), dtype="<i8")


def _evaluation(task: Task, results: Sequence["_Result"]) -> Evaluation:
    made = empty_evaluation(task, len(results))
    failures: dict[int, str] = {}
    for row, result in enumerate(results):
        made.values[row], made.reason[row] = result.values, result.reason
        if result.failure is not None:
            failures[row] = result.failure
    reward = task.rewards(made.values, made.reason)
    reward[list(failures)] = INFEASIBLE_REWARD
    return Evaluation(made.values, made.reason, reward, failures)


def _crc(problem: str, design: bytes, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(design, zlib.crc32(problem.encode())))


def _pieces(designs: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(designs), _PIECE):
        yield designs[start : start + _PIECE]
