"""Measurements in a file: append-only lines, each checksummed together with those before it."""

import fcntl
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.files.json_types import typed
from archgym.files.storage import open_file, open_own, storage_errors, synchronise, write_all

FORMAT: Final = 1
MEASURED_NAME: Final = "measured.jsonl"
"""File of a study's folder that holds its measurements."""
MAX_MEASUREMENTS: Final = 20_000
"""Measurements of a file at most. Chosen: more than anybody runs on a bench by hand; averages of
repeats say as much."""
_MAX_BYTES: Final = 2**27
# chosen: beyond what any unit of a metric gives; ratios of such numbers are finite.
_SMALLEST: Final = 1e-30
_LARGEST: Final = 1e30
logger = logging.getLogger(__name__)

_DIGITS: Final = 16
_CHAIN: Final = b', "chain": "'
_WHOLE: Final = re.compile(re.escape(_CHAIN) + rb'[0-9a-f]{16}"}\n')
_RESTORE: Final = "Restore it from a copy, or import the measurements again"


@final
@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Metrics of one run of a design on the real thing, next to what the simulator says.

    Attributes:
      simulator: Name of the simulator.
      version: Its version.
      space: Name of its space, without what is held.
      options: Its options.
      workload: Name of the workload.
      facts: Characteristics of the workload and its digest, as `facts_of` gives them.
      design: Values by parameter.
      metrics: Measured values by metric, in the simulator's units; also others' metrics.
      simulated: The simulator's own values of the design, by metric.
      date: Day or time of the run, as it was given.
      machine: Machine of the run, as it was given.
    """

    simulator: str
    version: int
    space: str
    options: Mapping[str, str]
    workload: str
    facts: Mapping[str, str | float]
    design: Mapping[str, Any]
    metrics: Mapping[str, float]
    simulated: Mapping[str, float]
    date: str = ""
    machine: str = ""

    @property
    def key(self) -> str:
        """Text that is equal for runs of the same design, workload and options."""
        parts = [self.simulator, self.space, dict(self.facts), dict(self.design)]
        return json.dumps(parts, sort_keys=True)


@final
@dataclass(frozen=True)
class Measurements:
    """Measurements of a file, in the order in which they were added.

    Attributes:
      path: The file; None for measurements that are in no file.
      rows: The measurements.
      chains: Checksum of all lines up to each row, after that of the heading.
      torn_bytes: Bytes of a last line that was not written to its end.
      end: Length of what is whole [byte].
    """

    path: Path | None = None
    rows: tuple[Measurement, ...] = ()
    chains: tuple[str, ...] = ("",)
    torn_bytes: int = 0
    end: int = 0

    @property
    def digest(self) -> str:
        """Checksum of all measurements and their order."""
        return self.chains[-1]

    def up_to(self, digest: str) -> "Measurements":
        """Return the measurements that a task was made with.

        Args:
          digest: Checksum that the task recorded, or the start of it.

        Raises:
          InvalidArgumentError: The file has changed in other ways than by more measurements.
        """
        for n, chain in enumerate(self.chains):
            if chain.startswith(digest):
                chains = self.chains[: n + 1]
                return Measurements(self.path, self.rows[:n], chains, 0, self.end)
        raise InvalidArgumentError(
            f"{self.path} must begin with the measurements that the task was made with; their "
            f"checksum {digest} does not come. Restore the file, or start a new study."
        )

    def __len__(self) -> int:
        return len(self.rows)


def read_measurements(path: str | Path) -> Measurements:
    """Return the measurements in a file.

    A last line that was not written to its end is left out; the next append replaces it.

    Raises:
      FileFormatError: A line was changed, or the file is something else.
      StorageError: It cannot be read.
    """
    path = Path(path)
    with storage_errors(path, "read"), open_file(path) as handle:
        content = handle.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise FileFormatError(path, None, f"measurements must be below {_MAX_BYTES} bytes")
    # A power cut may leave pages of zeros in what was not synced.
    whole = content[: content.rfind(b"\n", 0, len(content.partition(b"\0")[0])) + 1]
    lines, torn = whole.split(b"\n")[:-1], content[len(whole) :]
    if lines and _WHOLE.search(torn):
        problem = "the line is damaged, and whole ones follow it"
        raise FileFormatError(path, len(lines) + 1, problem, _RESTORE)
    if torn.strip(b"\0"):
        logger.warning(
            "%s: line %d was not written to its end; it is left out.", path, len(lines) + 1
        )
    if not lines:
        raise FileFormatError(path, 1, "measurements must begin with a heading", _RESTORE)
    if not lines[0].startswith(b"{"):
        problem = "measurements must begin with a heading in JSON"
        remedy = "Read a CSV file of yours with `archgym measure STUDY measured.csv` first"
        raise FileFormatError(path, 1, problem, remedy)
    chains: list[str] = []
    rows: list[Measurement] = []
    for number, line in enumerate(lines, start=1):
        data, chain = _parsed(path, number, line, chains[-1] if chains else "")
        if number == 1:
            _check_heading(path, data)
        else:
            rows.append(_measurement(path, number, data))
        chains.append(chain)
    return Measurements(path, tuple(rows), tuple(chains), len(torn), len(content) - len(torn))


def append_measurements(path: str | Path, rows: Iterable[Measurement]) -> Measurements:
    """Append measurements to a file, made if it is absent, and return all that it has.

    Raises:
      FileFormatError: The file is damaged.
      InvalidArgumentError: The file would have too many.
      StorageError: It cannot be written.
    """
    path, new = Path(path), list(rows)
    descriptor = open_own(path, os.O_RDWR)
    try:
        with storage_errors(path, "written"):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # A power cut may leave pages of zeros where the heading was to be.
            is_empty = not os.pread(descriptor, _MAX_BYTES, 0).strip(b"\0")
        present = Measurements(path, (), ()) if is_empty else read_measurements(path)
        if len(present) + len(new) > MAX_MEASUREMENTS:
            raise InvalidArgumentError(
                f"{path} must have at most {MAX_MEASUREMENTS:,} measurements; it has "
                f"{len(present):,}, and {len(new):,} came. Average repeats, or use another file."
            )
        chain = "" if is_empty else present.digest
        texts = [json.dumps({"archgym": "measurements", "format": FORMAT})] * is_empty
        texts += [json.dumps(row.__dict__, sort_keys=True) for row in new]
        # What cannot be read again is not written.
        for number, text in enumerate(texts[is_empty:], start=len(present) + 2):
            _measurement(path, number, json.loads(text))
        lines = []
        for text in texts:
            chain = _next(chain, text.encode())
            lines.append(text.encode()[:-1] + _CHAIN + chain.encode() + b'"}\n')
        with storage_errors(path, "written"):
            os.ftruncate(descriptor, present.end)
            os.lseek(descriptor, present.end, os.SEEK_SET)
            write_all(descriptor, b"".join(lines))
            os.fsync(descriptor)
            synchronise(path.parent)
    finally:
        os.close(descriptor)
    return read_measurements(path)


def _next(chain: str, text: bytes) -> str:
    return hashlib.sha256(chain.encode() + text).hexdigest()[:_DIGITS]


def _parsed(path: Path, number: int, line: bytes, before: str) -> tuple[dict[str, Any], str]:
    """Return the object of a line and its checksum, once that was verified."""
    text, mark, end = line.rpartition(_CHAIN)
    chain = end[:_DIGITS].decode("ascii", "replace")
    if not mark or end[_DIGITS:] != b'"}' or chain != _next(before, text + b"}"):
        problem = "the line, or one before it, was changed: it does not match its checksum"
        raise FileFormatError(path, number, problem, _RESTORE)
    try:
        data = json.loads(text + b"}")
    except (ValueError, RecursionError) as error:
        raise FileFormatError(path, number, f"the line must be JSON; {error}", _RESTORE) from None
    assert isinstance(data, dict)
    return data, chain


def _check_heading(path: Path, data: Mapping[str, Any]) -> None:
    if data.get("archgym") != "measurements" or data.get("format") != FORMAT:
        problem = f"this version reads format {FORMAT} of measurements; got {data.get('format')!r}"
        raise FileFormatError(path, 1, problem, "Install the version of ArchGym that wrote it")


def _measurement(path: Path, number: int, data: Mapping[str, Any]) -> Measurement:
    try:
        typed(data, Measurement)
        row = Measurement(**data)
        for name, value in [*row.metrics.items(), *row.simulated.items()]:
            check_value(name, value)
    except (TypeError, ValueError, OverflowError) as error:
        raise FileFormatError(path, number, f"the line is no measurement; {error}") from None
    return row


def check_value(name: str, value: float) -> None:
    """Refuse a metric's value that is no finite number of a usual size.

    Raises:
      InvalidArgumentError: It is not.
    """
    is_number = isinstance(value, int | float)
    if not is_number or (value and not _SMALLEST <= abs(value) <= _LARGEST):
        span = f"0 or a number between {_SMALLEST:g} and {_LARGEST:g} in size"
        raise InvalidArgumentError(f"`{name}` must be {span}; got {value!r}")


def repeats(rows: Sequence[Measurement], n_new: int) -> list[str]:
    """Return in words if some of the last rows were in the file before, equal in all."""
    texts = [json.dumps(row.__dict__, sort_keys=True) for row in rows]
    before = set(texts[: len(texts) - n_new])
    n = sum(text in before for text in texts[len(texts) - n_new :])
    return [f"{n} rows equal earlier ones of the file: they count as repeats"] if n else []


def contradictions(rows: Sequence[Measurement], factor: float = 10.0) -> list[str]:
    """Return in words which designs have runs that differ by more than a factor."""
    seen: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        for name, value in row.metrics.items():
            seen.setdefault((row.key, name), []).append(value)
    found = []
    for (key, name), values in seen.items():
        low, high = min(values), max(values)
        if low > 0 and high > factor * low:
            design = json.loads(key)[-1]
            found.append(
                f"`{name}` of one design was measured as {low:.6g} and as {high:.6g}: "
                + ", ".join(f"{n}={v}" for n, v in list(design.items())[:6])
            )
    return found
