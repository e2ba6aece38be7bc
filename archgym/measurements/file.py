"""Measurements in a file: append-only lines, each checksummed together with those before it."""

import fcntl
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, final

from archgym.checks import check_path
from archgym.errors import ArchGymError, FileFormatError, InvalidArgumentError, StorageError
from archgym.files.json_types import typed
from archgym.files.storage import is_there, open_file, require_own, storage_errors, write_atomic

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
_DIGITS: Final = 16
_CHAIN: Final = b', "chain": "'
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
      files: Checksums by path of files that the options name; rows of old have none.
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
    files: Mapping[str, str] = field(default_factory=dict)

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
      n_added: Measurements that `append_measurements` has just added.
    """

    path: Path | None = None
    rows: tuple[Measurement, ...] = ()
    chains: tuple[str, ...] = ("",)
    n_added: int = field(default=0, compare=False)

    @property
    def digest(self) -> str:
        """Checksum of all measurements and their order."""
        return self.chains[-1]

    def up_to(self, digest: str) -> "Measurements":
        """Return the measurements that a task was made with.

        Args:
          digest: Checksum that the task recorded, or the start of it.

        Raises:
          FileFormatError: The file has changed in other ways than by more measurements.
        """
        for n, chain in enumerate(self.chains):
            if chain.startswith(digest):
                return Measurements(self.path, self.rows[:n], self.chains[: n + 1])
        assert self.path is not None
        problem = "it must begin with the measurements that the task was made with"
        remedy = "Restore the file, give its new place with --measured FILE, or start a new study"
        raise FileFormatError(
            self.path, None, f"{problem}; their checksum {digest} does not come", remedy
        )

    def __len__(self) -> int:
        return len(self.rows)


def read_measurements(path: str | Path) -> Measurements:
    """Return the measurements in a file.

    Raises:
      FileFormatError: A line was changed, or the file is something else.
      StorageError: It cannot be read.
    """
    path = Path(check_path("path", path))
    with storage_errors(path, "read"), open_file(path) as handle:
        content = handle.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise FileFormatError(path, None, f"measurements must be below {_MAX_BYTES} bytes")
    if not content.startswith(b"{"):
        problem = "measurements must begin with a heading in JSON"
        remedy = "Read a CSV file of yours with `archgym measure STUDY measured.csv` first"
        raise FileFormatError(path, 1, problem, remedy)
    chains: list[str] = []
    rows: list[Measurement] = []
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        data, chain = _parsed(path, number, line, chains[-1] if chains else "")
        if number > 1:
            rows.append(_measurement(path, number, data))
        elif data.get("archgym") != "measurements" or data.get("format") != FORMAT:
            problem = (
                f"this version reads format {FORMAT} of measurements; got {data.get('format')!r}"
            )
            raise FileFormatError(path, 1, problem, "Install the version of ArchGym that wrote it")
        chains.append(chain)
    return Measurements(path, tuple(rows), tuple(chains))


def require_there(path: str | Path) -> str | Path:
    """Return the file of measurements that a task was made with.

    Raises:
      StorageError: It is gone.
    """
    if is_there(path):
        return path
    raise StorageError(
        f"{path} must hold the measurements that the task was made with; it is missing. Put it "
        "into the study's folder or next to it, or give its new place to `archgym decide` or "
        "`archgym resume`: --measured FILE."
    )


def with_moved(task: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """Return a task's JSON with the present place of its measurements.

    Moved ones are looked for in a study's folder, next to it and here; the checksum decides.
    """
    path, digest = task.get("measured"), str(task["options"].get("measured"))
    parts = () if path is None or is_there(path) else Path(path).parts
    tails = [Path(*parts[-n:]) for n in (3, 2, 1) if parts]
    for near in [top / tail for tail in tails for top in (folder, folder / "..", Path())]:
        with suppress(ArchGymError):
            if is_there(near) and read_measurements(near).up_to(digest.partition("-")[0]):
                return {**task, "measured": str(near.resolve())}
    return task


def append_measurements(
    path: str | Path, rows: Iterable[Measurement], *, once: bool = False
) -> Measurements:
    """Append measurements to a file, made if it is absent, and return all that it has.

    The file is replaced as a whole, so that a reader finds all of the new lines or none.

    Args:
      path: The file.
      rows: The measurements.
      once: True to leave out those that the file has, equal in all and as often.

    Raises:
      FileFormatError: The file is damaged.
      InvalidArgumentError: The file would have too many.
      StorageError: It cannot be written.
    """
    path, new = Path(path), list(rows)
    require_own(path)
    with storage_errors(path, "written"):
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # The file itself changes under a lock of it.
        fcntl.flock(folder, fcntl.LOCK_EX)
        is_new = not is_there(path)
        present = Measurements(path, (), ("",)) if is_new else read_measurements(path)
        # Only under the lock is it known what others have added.
        new = _without(present.rows, new) if once else new
        if not new and not is_new:
            return present
        if len(present) + len(new) > MAX_MEASUREMENTS:
            raise InvalidArgumentError(
                f"{path} must have at most {MAX_MEASUREMENTS:,} measurements; it has "
                f"{len(present):,}, and {len(new):,} came. Average repeats, or use another file."
            )
        texts = [json.dumps({"archgym": "measurements", "format": FORMAT})] * is_new
        texts += map(_text, new)
        # What cannot be read again is not written.
        for number, text in enumerate(texts[is_new:], start=len(present) + 2):
            _measurement(path, number, json.loads(text))
        lines, chain = [b"" if is_new else path.read_bytes()], present.digest
        for text in texts:
            chain = _next(chain, text.encode())
            lines.append(text.encode()[:-1] + _CHAIN + chain.encode() + b'"}\n')
        write_atomic(path, lines)
    finally:
        os.close(folder)
    return replace(read_measurements(path), n_added=len(new))


def _text(row: Measurement) -> str:
    """Return the JSON of a measurement, as before where no files are named."""
    members = {name: value for name, value in vars(row).items() if name != "files" or value}
    return json.dumps(members, sort_keys=True)


def _next(chain: str, text: bytes) -> str:
    return hashlib.sha256(chain.encode() + text).hexdigest()[:_DIGITS]


def _parsed(path: Path, number: int, line: bytes, before: str) -> tuple[dict[str, Any], str]:
    """Return the object of a line and its checksum, once that was verified."""
    text, mark, end = line.rpartition(_CHAIN)
    chain = end[:_DIGITS].decode("ascii", "replace")
    if not mark or end[_DIGITS:] != b'"}\n' or chain != _next(before, text + b"}"):
        problem = (
            "the line, or one before it, was changed or cut off: it does not match its checksum"
        )
        raise FileFormatError(path, number, problem, _RESTORE)
    try:
        data = json.loads(text + b"}")
    except (ValueError, RecursionError) as error:
        raise FileFormatError(path, number, f"the line must be JSON; {error}", _RESTORE) from None
    assert isinstance(data, dict)
    return data, chain


def _measurement(path: Path, number: int, data: Mapping[str, Any]) -> Measurement:
    try:
        typed(data, Measurement)
        # Not what it returns: whole numbers stay whole, since facts are compared as texts.
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


def _without(known: Sequence[Measurement], rows: Sequence[Measurement]) -> list[Measurement]:
    """Return rows without those that are known, equal in all and as often."""
    left = Counter(map(_text, known))
    found = []
    for row in rows:
        left[_text(row)] -= 1
        if left[_text(row)] < 0:
            found.append(row)
    return found


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
