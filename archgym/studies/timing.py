"""Durations of the sessions of a study, from which an agent's own time is computed."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from archgym.errors import StorageError
from archgym.files.storage import open_member, open_own, storage_errors, write_all
from archgym.studies.folder import SESSIONS_NAME, TIMING_NAME
from archgym.studies.study import Study

# chosen: a study of a million single evaluations stays below it.
_MAX_BYTES = 2**27


@final
class SessionClock:
    """Clock of a session, from its first new results to its end."""

    def __init__(self, study: Study) -> None:
        """Note the records that the study has before it runs."""
        self._study = study
        self._known = len(study.read().records)
        self._began: tuple[float, int, int] | None = None

    def take(self) -> None:
        """Start the clock if new results have come."""
        if self._began is None and self._study.asks > self._known:
            self._began = time.perf_counter(), self._study.asks, self._study.evaluations

    def write(self) -> None:
        """Add the session to the study's folder if the clock was started."""
        if self._began is None:
            return
        began_at, first_seq, before = self._began
        line = {
            "first_seq": first_seq,
            "asks": self._study.asks - first_seq,
            "evaluations": self._study.evaluations - before,
            "wall_s": round(time.perf_counter() - began_at, 6),
        }
        path = self._study.folder / SESSIONS_NAME
        # The file is informative only: a failure must not end the study.
        with suppress(StorageError), storage_errors(path, "written"):
            descriptor = open_own(path, os.O_WRONLY | os.O_APPEND)
            try:
                write_all(descriptor, (json.dumps(line) + "\n").encode())
            finally:
                os.close(descriptor)


def read_times(folder: Path, n_evaluations: int) -> tuple[float | None, float | None]:
    """Return wall times of the simulator and of all else for each evaluation [s], None if unknown.

    All else is agent, environment and journal. It leaves out what precedes the first results of a
    session: imports, models that are built, asks that are replayed.

    Args:
      folder: Folder of the study.
      n_evaluations: Number of its evaluations.
    """
    batches = [
        (int(entry["seq"]), float(entry["wall_s"]))
        for entry in _lines(folder / TIMING_NAME, ("seq", "wall_s"))
    ]
    simulated = sum(wall for _, wall in batches)
    walls, inside, counted = 0.0, 0.0, 0
    for entry in _lines(folder / SESSIONS_NAME, ("first_seq", "asks", "evaluations", "wall_s")):
        first, end = entry["first_seq"], entry["first_seq"] + entry["asks"]
        walls += entry["wall_s"]
        inside += sum(wall for seq, wall in batches if first <= seq < end)
        counted += int(entry["evaluations"])
    return (
        simulated / n_evaluations if batches and n_evaluations else None,
        max(0.0, walls - inside) / counted if counted else None,
    )


def _lines(path: Path, members: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the valid lines of a file; nothing if it does not exist."""
    try:
        with open_member(path) as handle:
            content = handle.read(_MAX_BYTES)
    except OSError:
        return
    for line in content.splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and all(
            type(entry.get(name)) in (int, float) and 0 <= entry[name] < 2**53 for name in members
        ):
            yield entry
