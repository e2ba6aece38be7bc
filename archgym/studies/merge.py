"""Joins finished studies of one task into a folder that is read like one study."""

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import final

import numpy as np
from msgspec.structs import replace

from archgym.errors import InvalidArgumentError, StudyLockedError
from archgym.files.storage import open_member, write_atomic
from archgym.studies.folder import JOURNAL_NAME, STATE_NAME, TIMING_NAME, lease_new_folder
from archgym.studies.metadata import Segment, new_header
from archgym.studies.records import Records, encode
from archgym.studies.snapshot import StudyLog, read_study, require_distinct


def merge(studies: Sequence[str | Path], out: str | Path, *, unfinished: bool = False) -> StudyLog:
    """Join studies, one after the other, and return the result.

    Records keep their order and get new numbers; each study's agent, seed, hyperparameters and
    name stand in `StudyLog.segments` with the number of its first record. Evaluations of one design
    in two studies both happened and both stay. The studies are not changed.

    Args:
      studies: Folders; merged ones are allowed.
      out: A new or empty folder.
      unfinished: True if studies that were interrupted are taken as they are.

    Raises:
      InvalidArgumentError: A study is of another task, comes twice, is damaged or
        unfinished, or lacks records (`unfinished` takes those that are there).
      StudyLockedError: A study is being written.
      FileFormatError: A folder is not a study.
      StorageError: A folder cannot be read, or `out` not be written.
    """
    if not studies:
        raise InvalidArgumentError("`studies` must name one or more folders; got none.")
    logs = [read_study(folder) for folder in studies]
    _check(logs, unfinished)
    *bases, asks = np.cumsum([0, *(_n_numbers(log) for log in logs)]).tolist()
    parts = [_Part(log, base) for log, base in zip(logs, bases, strict=True)]
    out = Path(out)
    lease = lease_new_folder(out)
    try:
        header = new_header(
            "merged",
            out,
            logs[0].header.task,
            segments=tuple(segment for part in parts for segment in part.segments()),
        )
        write_atomic(out / JOURNAL_NAME, (part.lines(header.key) for part in parts))
        write_atomic(out / TIMING_NAME, (line for part in parts for line in part.timing()))
        # By its count readers notice that the journal has lost its end.
        state = {
            "status": "finished",
            "evaluations": sum(log.evaluations for log in logs),
            "asks": asks,
        }
        write_atomic(out / STATE_NAME, json.dumps(state, indent=1) + "\n")
        # Last: a folder with study.json is a study that can be read.
        header.write(out)
    finally:
        lease.release()
    return read_study(out)


@final
class _Part:
    """One study's share of the whole; its records are numbered from `base`."""

    def __init__(self, log: StudyLog, base: int) -> None:
        self._log = log
        self._base = base

    def segments(self) -> list[Segment]:
        return [
            replace(segment, first_seq=segment.first_seq + self._base)
            for segment in self._log.segments
        ]

    def lines(self, key: int) -> bytes:
        records = self._log.records
        return encode(
            Records(
                records.seq + self._base,
                records.indices,
                records.values,
                records.reason,
                records.reward,
                np.where(records.same < 0, -1, records.same + self._base),
                {seq + self._base: why for seq, why in records.errors.items()},
            ),
            key,
        )

    def timing(self) -> Iterator[bytes]:
        path = self._log.folder / TIMING_NAME
        # Wall times only inform; a torn line of theirs costs nothing else.
        with suppress(OSError), open_member(path) as handle:
            for line in handle:
                with suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    entry["seq"] = int(entry["seq"]) + self._base
                    yield json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def _n_numbers(log: StudyLog) -> int:
    # Not the number of records: a log may have lost some. The next study's first segment may begin
    # where an empty last one does; the later of the two has the records.
    last = int(log.records.seq[-1]) + 1 if len(log.records) else 0
    return max(last, *(segment.first_seq for segment in log.segments))


def _check(logs: Sequence[StudyLog], unfinished: bool) -> None:
    first = logs[0]
    for log in logs:
        if log.writer is not None:
            raise StudyLockedError(
                f"{log.folder} is being written by {log.writer}; a study must have ended to be "
                "merged. Wait until it has."
            )
        if log.damage:
            raise InvalidArgumentError(
                f"Studies must be whole to be merged. {log.damage_report()} Repair it: "
                f"archgym resume {shlex.quote(str(log.folder))}"
            )
        if log.gaps and not unfinished:
            remedy = (
                f"Make them again: archgym resume {shlex.quote(str(log.folder))}"
                if log.header.is_replayable
                else "They cannot be made again; merge with `unfinished` to take the others"
            )
            raise InvalidArgumentError(
                f"Studies must be whole to be merged. {log.damage_report()} {remedy}"
            )
        if not log.is_complete and not unfinished:
            raise InvalidArgumentError(
                f"Studies must be finished to be merged; {log.folder} has {log.evaluations} of "
                f"{log.header.budget} evaluations. Finish it: "
                f"archgym resume {shlex.quote(str(log.folder))}"
            )
        if log.header.task["digest"] != first.header.task["digest"]:
            raise InvalidArgumentError(
                f"Studies must be of one task to be merged; {first.folder} is of "
                f"{first.task_id!r}, {log.folder} of {log.task_id!r}. Build a dataset instead: "
                "archgym dataset build"
            )
    named = [(log.folder, {s.study: s.folder for s in log.segments}) for log in logs]
    require_distinct(named, "merged")
