"""Metadata of a study in `study.json`, and the folder that holds it."""

import json
import platform
import secrets
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal, final

import msgspec
import numpy as np
from msgspec.structs import replace

from archgym.errors import ArchGymError, FileFormatError, InvalidArgumentError
from archgym.evaluation.limits import parse_limits
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.specification import MetricMembers
from archgym.files.json_types import Whole, typed
from archgym.files.lease import LOCK_NAME, Lease
from archgym.files.remote import command_line
from archgym.files.storage import (
    is_there,
    make_folder,
    open_member,
    storage_errors,
    synchronise,
    write_atomic,
)
from archgym.spaces.space import DesignSpace
from archgym.studies.records import JournalShape
from archgym.version import __version__

RUNS_FOLDER = Path("runs")
"""Folder of studies whose own folder is not named."""
STUDY_NAME = "study.json"
"""Description of the study."""
JOURNAL_NAME = "journal.jsonl"
"""Its records."""
BAD_NAME = "journal.bad"
"""Damaged lines of the journal that were set aside."""
TIMING_NAME = "timing.jsonl"
"""Wall times of its records."""
POLICY_NAME = "policy.npz"
"""Policy that the agent has learned, if any."""
SESSIONS_NAME = "sessions.jsonl"
"""Wall time and evaluations of each session, one a line."""
STATE_NAME = "state.json"
"""Progress of the last writer; informative only."""


def lease_new_folder(folder: Path) -> Lease:
    """Make a folder for a new study, or take an empty one, and its lease.

    Raises:
      InvalidArgumentError: It holds something.
      StudyLockedError: Another process has just started a study there.
      StorageError: It cannot be written.
    """
    make_folder(folder)
    with storage_errors(folder, "read"):
        names = {path.name for path in folder.iterdir()}
    # A lock without a study is left by a process that was killed as it began, or holds one now.
    if names and LOCK_NAME not in names:
        raise InvalidArgumentError(
            f"A study needs a new or empty folder; {folder} holds {min(names)!r}. "
            "Choose another name."
        )
    lease = Lease(folder)
    with storage_errors(folder, "written"):
        # After a power cut, files without the lock would be somebody else's.
        synchronise(folder)
    if is_there(folder / STUDY_NAME) or _has_content(folder / JOURNAL_NAME):
        lease.release()
        raise InvalidArgumentError(
            f"A study needs a new or empty folder; {folder} holds a study. Continue it with "
            '`Study.open`, with exists="resume", or with: '
            + command_line("archgym", "resume", folder)
        )
    return lease


def _has_content(path: Path) -> bool:
    if not is_there(path):
        return False
    with open_member(path) as handle:
        return bool(handle.read(1))


FORMAT = 3
"""Format of studies. Those of ArchGym 0.x have smaller numbers or none, and are not read."""

# chosen: a space with a thousand parameters takes a tenth of it.
_MAX_BYTES = 64 * 2**20
_WRITTEN = "a study.json must be what ArchGym wrote"
_RESTORE = "Restore it from a copy, or start the study again in a new folder"
# chosen: what can change an agent's asks or a simulator's numbers.
_PACKAGES = ("numpy", "numba", "scipy", "optuna", "scikit-learn", "pymoo", "smac", "torch", "ray")
_RL_PACKAGES = ("stable-baselines3", "sb3-contrib", "gymnasium")

StudyKind = Literal["search", "log", "merged"]


@final
class PriorSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An earlier study whose records are used."""

    study: str
    """Its id."""
    folder: str
    """Name of its folder."""
    task: str
    """Id of its task."""
    records: Whole
    """Number of its records that are used."""


class _Members(msgspec.Struct, frozen=True, kw_only=True):
    """Members of one object, some of which stand in messages as they are."""

    def __post_init__(self) -> None:
        for name in ("digest", "simulator", "fidelity", "space_name", "study", "agent"):
            text = getattr(self, name, None)
            if text is not None and not text.isprintable():
                raise ValueError(f"`{name}` must be printable text")


@final
class Segment(_Members, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run of records that one agent, or one session of an environment, made."""

    first_seq: Whole
    study: str
    """Id of the study it was made in."""
    folder: str
    """Name of the folder it was made in."""
    agent: str | None
    seed: Whole | None
    hyperparameters: Mapping[str, Any]


@final
class Header(_Members, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything in `study.json` but its format number and checksum.

    `kind` is "search" where an agent asks, "log" where an environment or a person does, "merged"
    for finished studies that were joined. `max_asks` is None if it follows from the budget.
    """

    kind: StudyKind
    id: str
    task: Mapping[str, Any]
    """The task, as `Task.to_json` wrote it."""
    agent: str | None
    hyperparameters: Mapping[str, Any]
    seed: Whole | None
    budget: Whole | None
    max_asks: Whole | None
    start: tuple[tuple[Whole, ...], ...] | None = None
    """Designs that are evaluated first, as indices."""
    warm_start: tuple[PriorSource, ...] | None = None
    """Earlier studies whose records the agent may learn from."""
    prior_digest: str | None = None
    """SHA-256 of these records."""
    patience: Whole | None = None
    """Evaluations without a better design at which it ends."""
    stop_at: str | None = None
    """Limits on metrics; the first design that meets them all ends it."""
    is_replayable: bool
    segments: Annotated[tuple[Segment, ...], msgspec.Meta(min_length=1)]
    versions: Mapping[str, str]
    platform: str
    created: str

    @property
    def ask_limit(self) -> int | None:
        """Asks at which the study ends: 20 for each evaluation in its budget unless given."""
        if self.max_asks is not None or self.budget is None:
            return self.max_asks
        return 20 * self.budget

    @property
    def key(self) -> int:
        """Number that binds the journal to the study, whatever the place and time of the search."""
        identity = [self.task["digest"], self.agent, self.hyperparameters, self.seed]
        if self.start is not None or self.prior_digest is not None:
            identity += [self.start, self.prior_digest]
        return zlib.crc32(_canonical(identity))

    def write(self, folder: Path) -> None:
        """Write `study.json`, whole or not at all.

        Raises:
          StorageError: It cannot be written.
        """
        data = {"format": FORMAT, **msgspec.to_builtins(self)}
        data["crc"] = _checksum(data)
        write_atomic(folder / STUDY_NAME, json.dumps(data, indent=1, ensure_ascii=False) + "\n")

    def space(self) -> DesignSpace:
        """Return the task's design space, made from its declaration."""
        return _space(json.dumps(self.task["space"], sort_keys=True))

    def metrics(self) -> tuple[MetricSpec, ...]:
        """Return the metrics of the task."""
        return tuple(MetricSpec.from_json(spec) for spec in self.task["metrics"])

    def shape(self, space: DesignSpace) -> JournalShape:
        """Return the shape that all records of the study share."""
        return JournalShape(
            tuple(space.sizes.tolist()),
            len(self.task["workloads"]),
            len(self.task["metrics"]),
            len(self.task["reasons"]),
            self.key,
        )

    def difference(self, wanted: "Header") -> str | None:
        """Return how a recorded study differs from a wanted one, in words; None if it is the same.

        Every part that differs is named. Budgets and rules to stop may differ.
        """
        pairs: dict[str, tuple[object, object]] = {
            "kind": (self.kind, wanted.kind),
            "task": (self.task["id"], wanted.task["id"]),
            "agent": (self.agent, wanted.agent),
            "seed": (self.seed, wanted.seed),
            "max_asks": (self.max_asks, wanted.max_asks),
        }
        found = [
            f"its {name} is {recorded!r}, not {other!r}"
            for name, (recorded, other) in pairs.items()
            if recorded != other
        ]
        mine, others = _plain(self.hyperparameters), _plain(wanted.hyperparameters)
        if self.agent == wanted.agent and mine != others:
            found.append(f"its hyperparameters are {_shown(mine)}, not {_shown(others)}")
        if _plain(self.start) != _plain(wanted.start):
            counts = (_counted(each.start, "start design") for each in (self, wanted))
            found.append("it has {}, not {}".format(*counts))
            if len(self.start or ()) == len(wanted.start or ()):
                found[-1] = "its start designs are others"
        if self.prior_digest != wanted.prior_digest:
            counts = (_counted(each.warm_start, "earlier study") for each in (self, wanted))
            found.append("its warm start has {}, not {}".format(*counts))
            if len(self.warm_start or ()) == len(wanted.warm_start or ()):
                found[-1] = "its warm start has records of other studies"
        if not found and self.task["digest"] != wanted.task["digest"]:
            return (
                f"its task {self.task['id']!r} has other content, such as a function or file that "
                "has changed"
            )
        return "; ".join(found) or None

    def with_budget(self, budget: int) -> "Header":
        """Return the header of the same study with another budget."""
        return replace(self, budget=budget)

    def with_rules(self, patience: int | None, stop_at: str | None) -> "Header":
        """Return the header of the same study with other rules to stop."""
        return replace(self, patience=patience, stop_at=stop_at)

    def with_hyperparameters(self, chosen: Mapping[str, Any]) -> "Header":
        """Return the header of a study that has not begun with other hyperparameters."""
        segment = replace(self.segments[-1], hyperparameters=chosen)
        return replace(self, hyperparameters=chosen, segments=(segment,))

    def with_segment(self, first_seq: int, seed: int | None) -> "Header":
        """Return the header with a further segment by the same agent."""
        segment = replace(self.segments[-1], first_seq=first_seq, seed=seed)
        return replace(self, segments=(*self.segments, segment))


@final
class _Workload(_Members, frozen=True):
    """Members of one of a task's workloads."""

    name: str
    source: str
    digest: str
    weight: float


@final
class TaskMembers(_Members, frozen=True):
    """Members of a task that every reader relies on; there may be others."""

    id: str
    digest: str
    simulator: str
    version: Whole
    options: Mapping[str, Any]
    fidelity: str
    space_name: str
    space: Mapping[str, Any]
    workloads: Annotated[list[_Workload], msgspec.Meta(min_length=1)]
    objective: Mapping[str, Any]
    metrics: Annotated[list[MetricMembers], msgspec.Meta(min_length=1)]
    reasons: Annotated[list[str], msgspec.Meta(min_length=1)]
    reference: list[Any]


def new_header(
    kind: StudyKind,
    folder: Path,
    task: Mapping[str, Any],
    *,
    agent: str | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    seed: int | None = None,
    budget: int | None = None,
    max_asks: int | None = None,
    is_replayable: bool = False,
    start: tuple[tuple[int, ...], ...] | None = None,
    warm_start: tuple[PriorSource, ...] | None = None,
    prior_digest: str | None = None,
    patience: int | None = None,
    stop_at: str | None = None,
) -> Header:
    """Return header of a study that starts now."""
    study = secrets.token_hex(8)
    chosen = dict(hyperparameters or {})
    segment = Segment(
        first_seq=0,
        study=study,
        folder=folder.absolute().name,
        agent=agent,
        seed=seed,
        hyperparameters=chosen,
    )
    return Header(
        kind=kind,
        id=study,
        task=task,
        agent=agent,
        hyperparameters=chosen,
        seed=seed,
        budget=budget,
        max_asks=max_asks,
        start=start,
        warm_start=warm_start,
        prior_digest=prior_digest,
        patience=patience,
        stop_at=stop_at,
        is_replayable=is_replayable,
        segments=(segment,),
        versions=current_versions(),
        platform=platform.platform(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def current_versions() -> dict[str, str]:
    """Return versions of ArchGym, Python and the packages that affect numbers."""
    versions = {"archgym": __version__, "python": platform.python_version()}
    for package in (*_PACKAGES, *_RL_PACKAGES):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def read_header(folder: Path) -> Header:
    """Read and check `study.json`.

    Raises:
      FileFormatError: It is absent, damaged, or no study's.
      StorageError: The folder or the file cannot be read.
    """
    path = folder / STUDY_NAME
    with storage_errors(folder, "read"):
        folder.stat()
        if not is_there(path):
            raise FileFormatError(
                folder,
                None,
                f"a study must have a file {STUDY_NAME}, and it is missing",
                "Check the path",
            )
        with open_member(path) as handle:
            content = handle.read(_MAX_BYTES + 1)
    try:
        if len(content) > _MAX_BYTES:
            raise ValueError(f"it has more than {_MAX_BYTES} bytes")
        data = json.loads(content)
    except json.JSONDecodeError as error:
        raise FileFormatError(path, error.lineno, f"must be JSON; {error.msg}", _RESTORE) from None
    except RecursionError:
        raise FileFormatError(path, None, f"{_WRITTEN}; it is nested too deep", _RESTORE) from None
    except ValueError as error:
        raise FileFormatError(path, None, f"{_WRITTEN}; {error}", _RESTORE) from None
    if not isinstance(data, dict):
        raise FileFormatError(path, None, f"{_WRITTEN}; it is not an object", _RESTORE)
    _check_format(path, data.get("format", 0))
    if "crc" not in data:
        raise FileFormatError(path, None, f"{_WRITTEN}; member `crc` is missing", _RESTORE)
    if data.pop("crc") != _checksum(data):
        raise FileFormatError(
            path, None, "does not match its checksum: it was edited or damaged", _RESTORE
        )
    data.pop("format", 0)
    header = _checked(path, data)
    if header.task.get("measured") is None:
        return header
    from archgym.measurements.file import with_moved

    return replace(header, task=with_moved(header.task, folder))


def _check_format(path: Path, number: Any) -> None:
    if type(number) is not int or not 0 <= number <= 2**31:
        raise FileFormatError(path, None, f"{_WRITTEN}; `format` is not a number of one", _RESTORE)
    if number != FORMAT:
        wrote = "a newer version" if number > FORMAT else "ArchGym 0.x"
        raise FileFormatError(
            path,
            None,
            f"has format {number}, which {wrote} wrote; ArchGym {__version__} reads {FORMAT}",
            "Open it with that version, or start the study again in a new folder",
        )


def _checked(path: Path, data: dict[str, Any]) -> Header:
    try:
        header = typed(data, Header)
        typed(header.task, TaskMembers, "task")
        header.metrics()
        header.shape(header.space())
        _check_limits(header)
    except (ArchGymError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(
            path,
            None,
            f"cannot be read by ArchGym {__version__}; {str(error).removesuffix('.')}",
            "Open it with the version that wrote it",
        ) from None
    return header


def _check_limits(header: Header) -> None:
    """Refuse start designs outside the space, and rules to stop that cannot be read."""
    if header.start is not None:
        if len({len(design) for design in header.start}) != 1:
            raise ValueError("`start` must hold designs of equal length")
        header.space().check_indices(np.array(header.start, dtype=np.int64))
    if header.stop_at is not None:
        parse_limits(header.stop_at, header.metrics())


@lru_cache(maxsize=16)  # chosen: the tasks of a report; studies of a sweep share their space
def _space(text: str) -> DesignSpace:
    """Return a space from its declaration as JSON text."""
    return DesignSpace.from_json(json.loads(text))


def _checksum(data: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(_canonical(data)):08x}"


def _shown(hyperparameters: Any) -> str:
    """Return hyperparameters in words."""
    return ", ".join(f"{k}={v!r}" for k, v in hyperparameters.items()) or "the defaults"


def _counted(entries: Sequence[Any] | None, noun: str) -> str:
    """Return a number of things in words, such as "no start designs"."""
    n = len(entries or ())
    many = noun.removesuffix("y") + "ies" if noun.endswith("y") else f"{noun}s"
    return f"1 {noun}" if n == 1 else f"{n or 'no'} {many}"


def _plain(data: Any) -> Any:
    """Return data as JSON gives it back."""
    return json.loads(_canonical(data))


def _canonical(data: Any) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
