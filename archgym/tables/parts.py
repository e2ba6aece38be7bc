"""Parts of an unfinished table: divisions of the space, and their results so far.

A complete part is a checksummed file. A part under simulation is saved from time to time, with a
mark for each finished result. A killed build thus loses seconds of work even with a slow simulator.
"""

import fcntl
import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from archgym.errors import InvalidArgumentError
from archgym.evaluation.specification import Declaration
from archgym.files.storage import (
    SCRATCH_PREFIX,
    is_there,
    open_file,
    open_own,
    require_own,
    storage_errors,
    write_atomic,
)
from archgym.tasks.task import Task

# chosen: combinations of a part; the DRAM simulator takes seconds for its designs.
PART_SIZE = 2**14
PLAN_NAME = "plan.json"
_MAX_PLAN = 2**20


@final
@dataclass(frozen=True)
class Build:
    """Table under construction and its folder."""

    task: Task
    declaration: Declaration
    folder: Path
    part_size: int
    n_designs: int

    @property
    def key(self) -> str:
        """Identity shared by all parts of one build."""
        digests = [workload.digest for workload in self.declaration.workloads]
        content = [self.declaration.identity(), digests, self.part_size]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def n_parts(self) -> int:
        """Number of parts into which the space is cut."""
        return -(-self.task.space.size // self.part_size)

    def numbers(self, part: int) -> np.ndarray:
        """Return the indices of a part's distinct designs in their space, in order."""
        space = self.task.space
        start = part * self.part_size
        stop = start + self.part_size
        rows = [
            space.flat(indices)
            for indices in space.enumerate(start, stop, chunk=PART_SIZE, canonical=True)
        ]
        return np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)

    def path(self, part: int) -> Path:
        """Return the file of a part."""
        return self.folder / f"part-{part:05d}"

    def unfinished_path(self, part: int) -> Path:
        """Return the file of an unfinished part."""
        return self.folder / f"unfinished-{part:05d}"


@final
class Part:
    """Results of a part as they come: n designs on w workloads."""

    def __init__(self, build: Build, number: int, n: int) -> None:
        """Take the results of an earlier build."""
        w, n_metrics = len(build.task.workloads), len(build.task.metrics)
        self._build, self.number = build, number
        self.values = np.full((n, w, n_metrics), np.nan)
        self.reason = np.zeros((n, w), dtype=np.int16)
        self.is_known = np.zeros((n, w), dtype=bool)
        self._read_unfinished()

    @property
    def is_whole(self) -> bool:
        """True if all results are present."""
        return bool(self.is_known.all())

    def add(self, rows: np.ndarray, place: int, values: np.ndarray, reason: np.ndarray) -> None:
        """Take results of some designs on one workload."""
        self.values[rows, place], self.reason[rows, place] = values, reason
        self.is_known[rows, place] = True

    def write(self) -> None:
        """Write the results so far.

        Raises:
          StorageError: It cannot be written.
        """
        body = self.values.astype("<f8").tobytes() + self.reason.astype("<i2").tobytes()
        unfinished = self._build.unfinished_path(self.number)
        if self.is_whole:
            write_atomic(self._build.path(self.number), (hashlib.sha256(body).digest(), body))
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
        elif self.is_known.any():
            body += self.is_known.tobytes()
            write_atomic(unfinished, (hashlib.sha256(body).digest(), body))

    def _read_unfinished(self) -> None:
        n, w, n_metrics = self.values.shape
        body = _body(self._build.unfinished_path(self.number), n * w * (8 * n_metrics + 3))
        if body is None:
            return
        known = np.frombuffer(body, np.uint8, offset=len(body) - n * w).reshape(n, w) == 1
        values, reason = _results(body, n, w, n_metrics)
        self.values[known], self.reason[known] = values[known], reason[known]
        self.is_known = known


@final
class PartClaims:
    """Parts that one of several processes simulates, each locked against the others.

    Where locks do not reach another machine, parts are simulated twice. Each is written whole, with
    the same bytes.
    """

    def __init__(self, folder: Path) -> None:
        """Begin without a part."""
        self._folder = folder
        self._held: dict[int, int] = {}

    def take(self, build: Build, part: int) -> bool:
        """Claim a part; False if another process has it, or has finished it.

        Raises:
          StorageError: The lock cannot be made.
        """
        descriptor = open_own(self._folder / f"part-{part:05d}.lock", os.O_RDWR)
        self._held[part] = descriptor
        # A file system without locks refuses none.
        with suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.release(part)
                return False
        if is_done(build, part):
            self.release(part)
            return False
        return True

    def release(self, part: int) -> None:
        """Give a part back."""
        os.close(self._held.pop(part))

    def close(self) -> None:
        """Give back all parts."""
        for part in list(self._held):
            self.release(part)


def is_done(build: Build, part: int) -> bool:
    """Return True if a part is written and whole."""
    is_written = is_there(build.path(part))
    return is_written and read_part(build, part, len(build.numbers(part))) is not None


def read_part(build: Build, part: int, n: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return metrics (n, w, n_metrics) and reasons (n, w) of a part; None if incomplete.

    Raises:
      StorageError: It cannot be read.
    """
    w, n_metrics = len(build.task.workloads), len(build.task.metrics)
    body = _body(build.path(part), n * w * (8 * n_metrics + 2))
    return None if body is None else _results(body, n, w, n_metrics)


def _results(body: bytes, n: int, w: int, n_metrics: int) -> tuple[np.ndarray, np.ndarray]:
    values = np.frombuffer(body, "<f8", n * w * n_metrics)
    reason = np.frombuffer(body, "<i2", n * w, offset=8 * n * w * n_metrics)
    return values.reshape(n, w, n_metrics), reason.reshape(n, w)


def _body(path: Path, size: int) -> bytes | None:
    """Return a file's content after its checksum; None if it is damaged or of another size."""
    require_own(path)
    if not path.is_file() or path.stat().st_size != 32 + size:
        return None
    with storage_errors(path, "read"), open_file(path) as handle:
        content = handle.read(32 + size)
    body = content[32:]
    return body if hashlib.sha256(body).digest() == content[:32] else None


def write_plan(build: Build) -> None:
    """Write the identity of the build into its folder.

    Raises:
      InvalidArgumentError: The folder holds something else.
      StorageError: It cannot be read or written.
    """
    path = build.folder / PLAN_NAME
    require_own(path)
    if path.exists():
        with storage_errors(path, "read"), open_file(path) as handle:
            content = handle.read(_MAX_PLAN)
        try:
            key = json.loads(content)["key"]
        except (ValueError, KeyError, TypeError, RecursionError):
            key = None
        if key != build.key:
            raise InvalidArgumentError(
                f"{build.folder} must hold parts of this very table; it holds those of another, "
                "or it is damaged. Remove it, or choose another name for the table."
            )
        return
    others = [
        item.name
        for item in build.folder.iterdir()
        # Another process may have written the plan just now.
        if not item.name.endswith((".lock", PLAN_NAME)) and not item.name.startswith(SCRATCH_PREFIX)
    ]
    if others:
        raise InvalidArgumentError(
            f"{build.folder} must be new or of this table; it holds {min(others)!r}. Move it away."
        )
    write_atomic(path, json.dumps({"key": build.key}) + "\n")
