"""What a study is, in `study.json`: task, agent, hyperparameters, seed, budget, versions."""

import json
import platform
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, final

from archgym.errors import ArchGymError, FileFormatError
from archgym.evaluation.metrics import MetricSpec
from archgym.files.storage import open_file, storage_errors, write_atomic
from archgym.spaces.space import DesignSpace
from archgym.studies.folder import STUDY_NAME
from archgym.studies.records import JournalShape
from archgym.version import __version__

__all__ = [
    "Header",
    "Segment",
    "StudyKind",
    "check_members",
    "current_versions",
    "new_header",
    "read_header",
]

_TEXT = str
# chosen: what 64-bit columns hold; nothing that is counted comes near.
_MAX_WHOLE = 2**63 - 1
_MAYBE_TEXT = (str, type(None))
_MAYBE_WHOLE = (int, type(None))
_STUDY: dict[str, Any] = {
    "kind": _TEXT,
    "id": _TEXT,
    "task": dict,
    "agent": _MAYBE_TEXT,
    "hyperparameters": dict,
    "seed": _MAYBE_WHOLE,
    "budget": _MAYBE_WHOLE,
    "max_asks": _MAYBE_WHOLE,
    "is_replayable": bool,
    "versions": dict,
    "platform": _TEXT,
    "created": _TEXT,
    "segments": list,
}
_SEGMENT: dict[str, Any] = {
    "first_seq": int,
    "study": _TEXT,
    "folder": _TEXT,
    "agent": _MAYBE_TEXT,
    "seed": _MAYBE_WHOLE,
    "hyperparameters": dict,
}
_TASK: dict[str, Any] = {
    "id": _TEXT,
    "digest": _TEXT,
    "simulator": _TEXT,
    "version": int,
    "options": dict,
    "fidelity": _TEXT,
    "space_name": _TEXT,
    "space": dict,
    "workloads": list,
    "objective": dict,
    "metrics": list,
    "reasons": list,
    "reference": list,
}
_WORKLOAD: dict[str, Any] = {
    "name": _TEXT,
    "source": _TEXT,
    "digest": _TEXT,
    "weight": (int, float),
}
_METRIC: dict[str, Any] = {"name": _TEXT, "unit": _TEXT, "goal": _TEXT, "doc": _TEXT}
# What stands in messages as it is; folders and workloads have the names that people give them.
_LINES = ("digest", "simulator", "fidelity", "space_name", "study", "agent")


def check_members(data: Mapping[str, Any]) -> None:
    """Make sure that every member is of its kind, before anything is made of it.

    Raises:
      ValueError: Says which one is not.
    """
    _check("", data, _STUDY)
    for place, segment in enumerate(data["segments"]):
        _check(f"segments.{place}.", segment, _SEGMENT)
    task = data["task"]
    _check("task.", task, _TASK)
    if not task["workloads"] or not task["metrics"] or not task["reasons"]:
        raise ValueError("`task` must have workloads, metrics and reasons")
    for name, kinds in (("workloads", _WORKLOAD), ("metrics", _METRIC)):
        for place, member in enumerate(task[name]):
            _check(f"task.{name}.{place}.", member, kinds)
    if not all(isinstance(reason, str) for reason in task["reasons"]):
        raise ValueError("`task.reasons` must be texts")


def _check(where: str, data: Any, kinds: Mapping[str, Any]) -> None:
    if not isinstance(data, dict):
        raise ValueError(f"`{where.removesuffix('.')}` must be an object")
    for name, kind in kinds.items():
        value = data.get(name)
        is_kind = isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool)
        is_small = not isinstance(value, int) or 0 <= value <= _MAX_WHOLE
        is_line = name not in _LINES or not isinstance(value, str) or value.isprintable()
        if not (is_kind and is_small and is_line):
            raise ValueError(f"`{where}{name}` has a wrong kind or value")


# chosen: a space with a thousand parameters takes a tenth of it.
_MAX_BYTES = 64 * 2**20
_WRITTEN = "a study.json must be what ArchGym wrote"
_RESTORE = "Restore it from a copy, or start the study again in a new folder"
# chosen: what can change an agent's asks or a simulator's numbers.
_PACKAGES = ("numpy", "numba", "scipy", "optuna", "scikit-learn", "pymoo", "smac", "torch", "ray")
_RL_PACKAGES = ("stable-baselines3", "sb3-contrib", "gymnasium")

StudyKind = Literal["search", "log", "merged"]


@final
@dataclass(frozen=True)
class Segment:
    """A run of records that one agent, or one session of an environment, made."""

    first_seq: int
    study: str
    """Id of the study it was made in."""
    folder: str
    """Name of the folder it was made in."""
    agent: str | None
    seed: int | None
    hyperparameters: Mapping[str, Any]


@final
@dataclass(frozen=True)
class Header:
    """Everything in `study.json`.

    `kind` is "search" where an agent asks, "log" where an environment or a person does, "merged"
    for finished studies that were joined. `max_asks` is None where it follows from the budget.
    """

    kind: StudyKind
    id: str
    task: Mapping[str, Any]
    agent: str | None
    hyperparameters: Mapping[str, Any]
    seed: int | None
    budget: int | None
    max_asks: int | None
    is_replayable: bool
    segments: tuple[Segment, ...]
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
        """What binds the journal to the study; the same wherever and whenever the search is run."""
        identity = [self.task["digest"], self.agent, self.hyperparameters, self.seed]
        return zlib.crc32(_canonical(identity))

    def write(self, folder: Path) -> None:
        """Write `study.json`, whole or not at all.

        Raises:
          StorageError: It cannot be written.
        """
        data = asdict(self)
        data["crc"] = _checksum(data)
        write_atomic(folder / STUDY_NAME, json.dumps(data, indent=1, ensure_ascii=False) + "\n")

    def space(self) -> DesignSpace:
        """Return the task's design space, made from its declaration."""
        return DesignSpace.from_json(self.task["space"])

    def metrics(self) -> tuple[MetricSpec, ...]:
        """What the task measures."""
        return tuple(MetricSpec.from_json(spec) for spec in self.task["metrics"])

    def shape(self, space: DesignSpace) -> JournalShape:
        """What the study's records have in common."""
        return JournalShape(
            tuple(space.sizes.tolist()),
            len(self.task["workloads"]),
            len(self.task["metrics"]),
            len(self.task["reasons"]),
            self.key,
        )

    def with_budget(self, budget: int) -> "Header":
        """Return the header of the same study with another budget."""
        return replace(self, budget=budget)

    def with_segment(self, first_seq: int, seed: int | None) -> "Header":
        """Return the header with a further segment by the same agent."""
        segment = replace(self.segments[-1], first_seq=first_seq, seed=seed)
        return replace(self, segments=(*self.segments, segment))


_MEMBERS = tuple(field.name for field in fields(Header))


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
    segments: tuple[Segment, ...] | None = None,
) -> Header:
    """Return header of a study that starts now."""
    study = secrets.token_hex(8)
    chosen = dict(hyperparameters or {})
    if segments is None:
        segments = (Segment(0, study, folder.absolute().name, agent, seed, chosen),)
    return Header(
        kind,
        study,
        task,
        agent,
        chosen,
        seed,
        budget,
        max_asks,
        is_replayable,
        segments,
        current_versions(),
        platform.platform(),
        datetime.now(UTC).isoformat(timespec="seconds"),
    )


def current_versions() -> dict[str, str]:
    """Versions of ArchGym, Python and the packages that decide numbers, as installed here."""
    versions = {"archgym": __version__, "python": platform.python_version()}
    for package in (*_PACKAGES, *_RL_PACKAGES):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def read_header(folder: Path) -> Header:
    """Read and checks `study.json`.

    Raises:
      FileFormatError: It is absent, damaged, or no study's.
      StorageError: The folder or the file cannot be read.
    """
    path = folder / STUDY_NAME
    with storage_errors(folder, "read"):
        folder.stat()
        if not path.is_file():
            raise FileFormatError(
                folder,
                None,
                f"a study must have a file {STUDY_NAME}, and there is none",
                "Check the path",
            )
        with open_file(path) as handle:
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
    missing = [name for name in (*_MEMBERS, "crc") if name not in data]
    if missing:
        names = ", ".join(f"`{name}`" for name in missing[:3])
        more = f" and {len(missing) - 3} more" if missing[3:] else ""
        what = "member" if len(missing) == 1 else "members"
        verb = "is" if len(missing) == 1 else "are"
        raise FileFormatError(
            path, None, f"{_WRITTEN}; {what} {names}{more} {verb} missing", _RESTORE
        )
    crc = data.pop("crc")
    if crc != _checksum(data):
        raise FileFormatError(
            path, None, "does not match its checksum: it was edited or damaged", _RESTORE
        )
    return _checked(path, data)


def _checked(path: Path, data: dict[str, Any]) -> Header:
    try:
        check_members(data)
        segments = tuple(Segment(**segment) for segment in data.pop("segments"))
        header = Header(**data, segments=segments)
        space = header.space()
        shape = header.shape(space)
        sound = (
            header.kind in ("search", "log", "merged")
            and len(segments) >= 1
            and len(header.metrics()) == shape.n_metrics
            and isinstance(header.task["digest"], str)
            and all(limit is None or type(limit) is int for limit in (header.budget, header.seed))
        )
        if not sound:
            raise ValueError("a member has a wrong kind")
    except (ArchGymError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(
            path, None, f"is not of this version of ArchGym; {error}", "Read it with its own"
        ) from None
    return header


def _checksum(data: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(_canonical(data)):08x}"


def _canonical(data: Any) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
