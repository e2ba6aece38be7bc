"""Designs in files of other tools: a configuration, a command line, or a folder of an export.

A simulator states a design in a tool's own names (`Stating.file_settings`). The design of a file is
the one whose settings are those of the file. It is found parameter by parameter, so that a reader
needs no second table of names.
"""

import glob
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from archgym.errors import (
    FileFormatError,
    InvalidArgumentError,
    InvalidDesignError,
    SimulatorError,
)
from archgym.evaluation.capabilities import Stating, stated_settings
from archgym.evaluation.restriction import unrestricted
from archgym.evaluation.simulator import Simulator, Workload
from archgym.evaluation.stand_in import stood_in_for
from archgym.files.tool_texts import (
    OPTION_DEFAULTS,
    command_options,
    option_of,
    python_settings,
)
from archgym.files.yaml_document import Node, read_document, read_json, read_text
from archgym.spaces.design import Design
from archgym.tasks.task import Task

Key = tuple[str | int, ...]
Leaves = dict[Key, Any]
# chosen: what a folder of an export comes near to.
_MOST_FILES: Final = 5_000
_MOST_LEAVES: Final = 20_000
# chosen: a parameter with more values is tried at as many of them, evenly spread, and then closer.
_MOST_VALUES: Final = 1_000
_PASSES: Final = 8
_DRAWN: Final = 200
_STARTS: Final = 4
_MOST_TRIED: Final = 50_000
_MOST_PAIRED: Final = 10_000
_SHOWN: Final = 60
_MOST_SHOWN: Final = 20
# What `kit.exports` writes for readers, and not for the tool.
_DESCRIBING: Final = ("README.md", "expected.json")
# Timeloop marks nodes of an architecture.
_TAGS: Final = ("!Component", "!Container", "!Nothing", "!Hierarchical", "!Parallel")
# Files of workers that only prefill, next to those of the others.
_PREFILL: Final = "prefill-"


@final
@dataclass(frozen=True)
class FoundDesign:
    """Design that a tool's files state.

    Attributes:
      form: Format of the files, one of the simulator's exports.
      design: The design.
      not_understood: Settings of the files that no design has, and files that were not read.
      assumed: Parameters that the files do not decide, at their default values.
      implied: Values that no setting states, and that follow from what the files leave out.
    """

    form: str
    design: Design
    not_understood: tuple[str, ...]
    assumed: Mapping[str, Any]
    implied: Mapping[str, Any]

    @property
    def notes(self) -> list[str]:
        """Lines on what was not understood, and what was assumed."""
        lines = [f"Not understood: {text}" for text in self.not_understood]
        if self.assumed:
            values = ", ".join(f"{name}={value}" for name, value in self.assumed.items())
            lines.append(f"Assumed, since the files do not say it: {values}")
        if self.implied:
            values = ", ".join(f"{name}={value}" for name, value in self.implied.items())
            lines.append(f"Taken from what the files leave out: {values}")
        return lines


def states_design(path: Path) -> bool:
    """Return True if a path may hold a design in a tool's form: no design or study of ours."""
    if path.is_dir():
        return not (path / "study.json").exists()
    return path.is_file() and (path.suffix != ".json" or _is_tools_json(path))


def _is_tools_json(path: Path) -> bool:
    try:
        data = read_json(path)
    except FileFormatError:
        return False
    # A design is flat, or a member; a configuration has sections, or names with hyphens.
    if not isinstance(data, dict) or {"design", "designs"} & data.keys():
        return False
    return any(isinstance(value, dict) or "-" in name for name, value in data.items())


def design_of_files(task: Task, path: Path) -> FoundDesign:
    """Return the design of a task that a tool's files state.

    Args:
      task: Task whose simulator writes such files; some settings depend on its first workload.
      path: A file, or a folder with the files of an export.

    Raises:
      FileFormatError: The files cannot be read, or state no design of the space.
    """
    given, where, unread = _read(path)
    simulator, weighted = stood_in_for(task.simulator), task.workloads[0]
    workload = weighted.workload
    if simulator is not task.simulator:
        workload = simulator.workload(weighted.source)
    exports = unrestricted(simulator).spec.exports
    choices: list[tuple[int, int, _Search]] = []
    for form in exports if isinstance(unrestricted(simulator), Stating) else ():
        search = _Search(simulator, workload, form, given, where)
        if search.n_known:
            choices.append((-search.n_known, len(choices), search))
    if choices:
        return min(choices)[2].found(unread)
    nested = {str(key[0]) for key, value in given.items() if len(key) > 1 or value is None}
    mistaken = sorted(nested & set(task.space.names))
    if mistaken:
        raise FileFormatError(path, None, f"`{mistaken[0]}` must be one value; got several")
    forms = ", ".join(exports) or "none"
    raise FileFormatError(
        path,
        None,
        f"states no design of {simulator.name!r} in one of its formats ({forms})",
        "Name a file or folder of one of these tools, or a design in JSON",
    )


@final
class _Search:
    """Search for the design whose settings are those of files."""

    def __init__(
        self,
        simulator: Simulator,
        workload: Workload,
        form: str,
        given: Leaves,
        where: Mapping[Key, str],
    ) -> None:
        self._simulator, self._workload, self._form = simulator, workload, form
        self._space, self._given, self._where = simulator.space, given, where
        self._seen: dict[bytes, Leaves | None] = {}
        self._names: set[Key] = set()
        self._best = self._space.canonical(self._space.default_indices[None, :])[0]
        self._settings(self._best)
        if all(key[0] == "--" for key in given) and not any(key[0] == "--" for key in self._names):
            # Options of a command line, which engines read from a file as well.
            self._given = {key[1:]: value for key, value in given.items()}
            self._where = {key[1:]: place for key, place in where.items()}
        is_command = any(key[0] == "--" for key in self._names)
        if is_command and all(len(key) == 1 and key not in self._names for key in given):
            # The other way round: a file of options that a command line may have as well.
            named = {key: option_of(str(key[0]), value) for key, value in given.items()}
            self._given = {("--", name): value for name, value in named.values()}
            self._where = {("--", name): where[key] for key, (name, _) in named.items()}
        if any(key[0] == "--" for key in self._given):
            for name, value in OPTION_DEFAULTS.get(form, {}).items():
                key = ("--", name)
                if key in self._names and key not in self._given:
                    self._given = {**self._given, key: value}
                    self._where = {**self._where, key: "default of the engine"}
        self.n_known = len(self._names & self._given.keys())

    def _settings(self, indices: np.ndarray) -> Leaves | None:
        """Return the settings of a design; None if it has none."""
        key = indices.tobytes()
        if key not in self._seen:
            found: Leaves | None = None
            try:
                stated = stated_settings(self._simulator, self._form, indices, self._workload)
                found = dict(_leaves(stated))
            except (InvalidArgumentError, InvalidDesignError, SimulatorError):
                found = None
            self._seen[key] = found
            self._names |= (found or {}).keys()
        return self._seen[key]

    def _distance(self, indices: np.ndarray) -> tuple[float, float, float]:
        """Return how a design differs: settings that differ, that the files lack, by how much."""
        own = self._settings(indices)
        if own is None:
            return math.inf, math.inf, math.inf
        n_unequal, size = 0, 0.0
        for key, value in self._given.items():
            if not _is_said(own, key, value):
                n_unequal += 1
                size += _difference(own.get(key), value)
        return n_unequal, float(len(own.keys() - self._given.keys())), size

    def found(self, unread: list[str]) -> FoundDesign:
        """Return the nearest design."""
        default = self._best
        best, nearest = self._descend(default)
        # Settings that only some designs have show only there.
        n_names = len(self._names)
        drawn = self._space.sample(_DRAWN if best[0] else 0, np.random.default_rng(0))
        starts = sorted(self._space.canonical(drawn), key=self._distance)
        is_new = len(self._names) > n_names or self._wrong(nearest)
        for start in starts[: _STARTS if is_new else 0]:
            distance, other = self._descend(start)
            if distance < best:
                best, nearest = distance, other
        # Settings of two parameters at once: a change that mends one of them may spoil others.
        for _ in range(_PASSES):
            before = best
            for place, other in self._mending(nearest) if best[0] else ():
                if len(self._seen) < _MOST_TRIED:
                    distance, other = self._descend(other, place)
                    if distance < best:
                        best, nearest = distance, other
            if best == before:
                break
        if self._wrong(nearest):
            best, nearest = self._paired(best, nearest)
        implied = []
        for place in np.flatnonzero(nearest != default).tolist():
            other = nearest.copy()
            other[place] = default[place]
            other = self._space.canonical(other[None, :])[0]
            distance = self._distance(other)
            if distance == best:
                nearest = other
            elif (distance[0], distance[2]) == (best[0], best[2]):
                implied.append(self._space.names[place])
        self._best = nearest
        if math.isinf(best[0]):
            raise InvalidDesignError(
                f"No design near the default has settings of {self._form}: "
                "the workload, the options or the space may not fit the files."
            )
        own = self._settings(self._best) or {}
        # A script that runs a tool has options, which no design decides where none is a setting.
        is_command = any(key[0] == "--" for key in self._names)
        roots = {key[0] for key in self._names}
        unclear: dict[str, None] = {}
        for key, value in self._given.items():
            if _is_said(own, key, value):
                continue
            if key[0] == "--" and not is_command:
                unclear[f"{self._where[key].partition(':')[0]}: options of a command"] = None
                continue
            known = f"; designs have {str(own[key])[:_SHOWN]}" if key in own else ""
            text = _shown(key, value) + known if key[0] in roots else str(key[0])
            unclear[f"{self._where[key]}: {text}"] = None
        unclear = dict.fromkeys(_first(unclear))
        design = self._space.design_at(self._best)
        active = self._space.active(self._best[None, :])[0]
        assumed = {
            parameter.name: design[parameter.name]
            for place, parameter in enumerate(self._space.parameters)
            if active[place] and self._is_open(place)
        }
        left_out = {name: design[name] for name in implied}
        return FoundDesign(self._form, design, (*unclear, *unread), assumed, left_out)

    def _descend(
        self, start: np.ndarray, held: int = -1
    ) -> tuple[tuple[float, float, float], np.ndarray]:
        """Change parameters one by one as long as that helps; return what is left, and where."""
        best = self._distance(start)
        for _ in range(_PASSES):
            before = best
            for place in range(self._space.n_parameters):
                for other in self._others(start, place) if place != held else ():
                    distance = self._distance(other)
                    if distance < best:
                        best, start = distance, other
            if best == before:
                break
        return best, start

    def _paired(
        self, best: tuple[float, float, float], start: np.ndarray
    ) -> tuple[tuple[float, float, float], np.ndarray]:
        """Change two parameters at once: a constraint such as a product may tie them."""
        wrong, most = self._wrong(start), len(self._seen) + _MOST_PAIRED
        # A change that cannot be built or that moves a setting that is wrong.
        involved = [
            place
            for place in range(self._space.n_parameters)
            if any(self._wrong(other) != wrong for other in self._others(start, place))
        ]
        for first, second in combinations(involved, 2):
            for one in self._others(start, first):
                for other in self._others(one, second):
                    if not self._wrong(start) or len(self._seen) >= most:
                        return best, start
                    distance = self._distance(other)
                    if distance < best:
                        best, start = self._descend(other)
        return best, start

    def _mending(self, start: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Return the changes of one parameter after which a setting that differed is equal."""
        wrong = self._wrong(start)
        return [
            (place, other)
            for place in range(self._space.n_parameters)
            for other in self._others(start, place)
            if any(_is_said(self._settings(other) or {}, key, self._given[key]) for key in wrong)
        ]

    def _wrong(self, indices: np.ndarray) -> dict[Key, Any]:
        """Return what a design says of settings that some design has, where the files differ."""
        own = self._settings(indices) or {}
        known = self._names & self._given.keys()
        return {key: own.get(key) for key in known if not _is_said(own, key, self._given[key])}

    def _others(self, start: np.ndarray, place: int) -> Iterator[np.ndarray]:
        """Yield the designs that differ in one parameter, as far as there are not too many."""
        size = self._space.parameters[place].size
        step, now = -(-size // _MOST_VALUES), int(start[place])
        near = range(max(now - step + 1, 0), min(now + step, size))
        for value in sorted({*range(0, size, step), *near} - {now}):
            other = start.copy()
            other[place] = value
            yield self._space.canonical(other[None, :])[0]

    def _is_open(self, place: int) -> bool:
        """Return True if the files fit another value of a parameter as well."""
        best = self._distance(self._best)
        return any(
            other[place] != self._best[place] and self._distance(other) == best
            for other in self._others(self._best, place)
        )


def _is_said(own: Leaves, key: Key, value: Any) -> bool:
    """Return True if settings say a value; a switch that they lack is off."""
    return own[key] == value if key in own else value is False


def _first(lines: Mapping[str, None]) -> Iterator[str]:
    """Yield lines `FILE:LINE: text`, of each file the first ones and how many there are besides."""
    counts: Counter[str] = Counter()
    for line in lines:
        name = line.partition(":")[0]
        counts[name] += 1
        if counts[name] <= _MOST_SHOWN:
            yield line
    for name, count in counts.items():
        if count > _MOST_SHOWN:
            yield f"{name}: {count - _MOST_SHOWN} more"


def _difference(own: Any, given: Any) -> float:
    """Return how far apart two values are, at most 1."""
    if isinstance(own, float) and isinstance(given, float) and own > 0 and given > 0:
        return min(1.0, abs(math.log(own / given)) / 100.0)
    return 1.0


def _shown(key: Key, value: Any) -> str:
    return f"{'.'.join(map(str, key)).replace('--.', '--', 1)} = {str(value)[:_SHOWN]}"


def _plain(value: Any) -> Any:
    """Return a scalar as it compares: numbers as doubles, and texts of numbers as numbers."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        try:
            value = float(text)
        except ValueError:
            return text
    try:
        # Tools print fewer digits than a double has.
        return float(f"{float(value):.12g}")
    except (OverflowError, ValueError):
        return str(value)[:_SHOWN]


def _leaves(value: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Yield the scalars of nested data with their paths."""
    members: Any = None
    if isinstance(value, Mapping):
        members = value.items()
    elif isinstance(value, list | tuple):
        members = enumerate(value)
    if not members:
        yield key, _plain(None if members is not None else value)
        return
    for name, member in members:
        yield from _leaves(member, (*key, name))


# ---- Files


def _read(path: Path) -> tuple[Leaves, dict[Key, str], list[str]]:
    """Return the settings of files, where each stands, and the names of files that have none."""
    paths = [path]
    if path.is_dir():
        paths = []
        for found in sorted(path.rglob("*")):
            if len(paths) == _MOST_FILES:
                raise FileFormatError(path, None, f"has more than {_MOST_FILES} files")
            if found.is_file():
                paths.append(found)
    else:
        paths += _named(path)
    given: Leaves = {}
    where: dict[Key, str] = {}
    unread = []
    for each in paths:
        reader = _READERS.get(each.suffix.lower())
        if each.name in _DESCRIBING:
            continue
        if reader is None and path.is_dir():
            unread.append(f"{each.name}: the tool's or the workload's")
            continue
        for key, value, line in (reader or _any_text)(each):
            if not key:
                continue
            key = ("prefill", *key) if each.name.startswith(_PREFILL) else key
            if len(given) == _MOST_LEAVES:
                raise FileFormatError(each, line, f"has more than {_MOST_LEAVES} settings")
            plain = _plain(value)
            if reader is _json and given.get(key, plain) != plain:
                setting = ".".join(map(str, key))
                raise FileFormatError(
                    path,
                    None,
                    f"has two values of {setting}, in {where[key]} and {each.name}",
                    "Name one of the two files",
                )
            given[key] = plain
            where[key] = each.name if line is None else f"{each.name}:{line}"
    return given, where, unread


def _named(path: Path) -> list[Path]:
    """Return the files that a simulation of DRAMSys names, beside it in `configs`."""
    if path.suffix != ".json":
        return []
    data = read_json(path)
    simulation = data.get("simulation") if isinstance(data, dict) else None
    names = simulation.values() if isinstance(simulation, dict) else ()
    found: list[Path] = []
    for name in names:
        if isinstance(name, str) and name.endswith(".json") and Path(name).name == name:
            for parent in (path.parent, path.parent.parent):
                found += sorted(parent.glob(f"configs/*/{glob.escape(name)}"))
    return [each for each in dict.fromkeys(found) if each.is_file()]


Entries = Iterator[tuple[Key, Any, int | None]]


def _node_entries(node: Node, key: Key = ()) -> Entries:
    if isinstance(node.value, Mapping):
        for name, member in node.value.items():
            yield from _node_entries(member, (*key, name))
    elif isinstance(node.value, tuple):
        for number, member in enumerate(node.value):
            yield from _node_entries(member, (*key, number))
    else:
        yield key, node.value, node.line


def _json(path: Path) -> Entries:
    try:
        for key, value in _leaves(read_json(path)):
            yield key, value, None
    except RecursionError:
        raise FileFormatError(path, None, "is nested too deep") from None


def _yaml(path: Path) -> Entries:
    yield from _node_entries(read_document(path, _TAGS).root)


def _lines(path: Path) -> Entries:
    """Yield `key = value` of a file with sections, as of BookSim and SCALE-Sim."""
    section: Key = ()
    for number, text in enumerate(read_text(path).splitlines(), 1):
        line = text.partition("//")[0].strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[" and line[-1] == "]":
            section = (line[1:-1],)
            continue
        name, separator, value = line.partition("=")
        if not separator:
            raise FileFormatError(path, number, f"must be `key = value`; got {line[:_SHOWN]!r}")
        yield (*section, name.strip()), value.strip().removesuffix(";").strip(), number


def _any_text(path: Path) -> Entries:
    """Yield settings of a file without a known ending: lines of settings, or a command."""
    try:
        yield from list(_lines(path))
    except FileFormatError:
        yield from _command(path)


def _command(path: Path) -> Entries:
    try:
        for name, value, line in command_options(read_text(path)):
            yield ("--", name), value, line
    except FileFormatError as error:
        raise FileFormatError(path, error.line, error.problem) from None


def _python(path: Path) -> Entries:
    try:
        found = list(_leaves(python_settings(read_text(path))))
    except SyntaxError as error:
        raise FileFormatError(path, error.lineno, f"is not Python: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError):
        raise FileFormatError(path, None, "is not Python") from None
    yield from ((key, value, None) for key, value in found)


_READERS: Final = {
    ".json": _json, ".yaml": _yaml, ".yml": _yaml, ".cfg": _lines, ".sh": _command,
    ".py": _python,
}  # fmt: skip
