"""Architectures, built-in and in files, and mappings in files: YAML in our form or Timeloop's."""

from collections.abc import Mapping as MappingOf
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

from archgym.simulators.accelerator.formats.timeloop_nodes import TAGS
from archgym.simulators.accelerator.formats.timeloop_yaml import (
    is_timeloop,
    timeloop_architecture,
    timeloop_mapping,
)
from archgym.simulators.accelerator.machine.architecture import Architecture, Level, MacArray
from archgym.simulators.accelerator.machine.mapping import LevelLoops, Mapping, loops_from_text
from archgym.simulators.accelerator.problem import TENSORS, Problem
from archgym.simulators.kit import (
    ArchGymError,
    InvalidArgumentError,
    Node,
    read_document,
    unknown_name,
)

ARCHITECTURES: Final = ("eyeriss-like", "simba-like", "ws-systolic-16", "tpu-like", "gemmini-like")
"""Built-in architectures, each a file in `data/architectures`."""


_WHOLE: Final = {
    "capacity": 2**50,
    "instances": 2**16,
    "mesh_x": 2**16,
    "block": 2**16,
    "word_bits": 2**10,
}
_NUMBERS: Final = (
    "read_energy_pj", "write_energy_pj", "read_bandwidth", "write_bandwidth",
    "shared_bandwidth", "area_um2",
)  # fmt: skip
_WORDS: Final = ("spatial_x", "spatial_y", "temporal", "order")
_LEVEL_KEYS: Final = ("name", *_WHOLE, *_NUMBERS, "keeps", *_WORDS)
_MAC_KEYS: Final = ("name", "instances", "mesh_x", "energy_pj", "area_um2")
_MOST: Final = 1e15


@cache
def _built_in(name: str) -> Architecture:
    folder = resources.files("archgym.simulators.accelerator").joinpath("data/architectures")
    with resources.as_file(folder.joinpath(f"{name}.yaml")) as path:
        return read_architecture(path)


def load_architecture(name: str | Path) -> Architecture:
    """Return the built-in architecture with this name, or the one in the file at this path.

    Raises:
      UnknownNameError: The name is neither.
      FileFormatError: The file is not an architecture.
    """
    text = str(name)
    if text in ARCHITECTURES:
        return _built_in(text)
    is_path = isinstance(name, Path) or text.endswith((".yaml", ".yml", ".json"))
    if is_path or (text and Path(text).exists()):
        return read_architecture(Path(name))
    raise unknown_name("architecture", text, ARCHITECTURES)


def read_architecture(path: Path) -> Architecture:
    """Read an architecture: `name`, `mac` and `levels`, outermost first, or Timeloop's form.

    Raises:
      FileFormatError: The file is not an architecture; the error names the line.
      StorageError: The file cannot be read.
    """
    document = read_document(path, TAGS)
    if is_timeloop(document.root, "architecture"):
        return timeloop_architecture(document.root, path.stem)
    keys = ("name", "source", "mac", "levels")
    members = document.root.members("an architecture", keys, ("mac", "levels"))
    name = members["name"].text("name") if "name" in members else path.stem
    listed = members["levels"]
    if not isinstance(listed.value, tuple) or not listed.value:
        raise listed.refusal(f"levels must be a list, outermost first; got {listed.kind}")
    levels = tuple(_level(node) for node in reversed(listed.value))
    mac = _mac(members["mac"])
    try:
        return Architecture(name, levels, mac)
    except InvalidArgumentError as error:
        raise listed.refusal(str(error)) from None


def _level(node: Node) -> Level:
    members = node.members("a level", _LEVEL_KEYS, ("name",))
    given = {key: member for key, member in members.items() if member.value is not None}
    words = {k: _names(members[k], k) for k in _WORDS if k in members}
    keeps = TENSORS if "keeps" not in members else _names(members["keeps"], "keeps")
    for tensor in keeps:
        if tensor not in TENSORS:
            raise members["keeps"].refusal(
                f"keeps must list some of {', '.join(TENSORS)}; got {tensor[:40]!r}"
            )
    whole = {k: given[k].whole(k, 1, most) for k, most in _WHOLE.items() if k in given}
    values: dict[str, Any] = {k: given[k].number(k, 0.0, _MOST) for k in _NUMBERS if k in given}
    whole.setdefault("mesh_x", whole.get("instances", 1))
    values.setdefault("write_energy_pj", values.get("read_energy_pj", 0.0))
    values |= {**whole, **words}
    return Level(members["name"].text("name"), keeps=frozenset(keeps), **values)


def _mac(node: Node) -> MacArray:
    members = node.members("mac", _MAC_KEYS, ("instances",))
    instances = members["instances"].whole("instances", 1, 2**16)
    mesh_x = members["mesh_x"].whole("mesh_x", 1, 2**16) if "mesh_x" in members else instances
    energy, area = (
        members[k].number(k, 0.0, _MOST) if k in members else 0.0 for k in ("energy_pj", "area_um2")
    )
    name = members["name"].text("name") if "name" in members else "mac"
    return MacArray(instances, mesh_x, energy, area, name)


def _names(node: Node, what: str) -> tuple[str, ...]:
    if isinstance(node.value, tuple):
        return tuple(item.text(what) for item in node.value)
    if node.value is None:
        return ()
    return tuple(node.text(what).split())


def read_mapping(path: Path, problem: Problem, architecture: Architecture) -> Mapping:
    """Read a mapping: a list of levels, outermost first, each with its loops outermost first.

    A level has `level`, `keep` (a list of tensors; by default what the architecture says) and
    `temporal`, `spatial_x` and `spatial_y`, such as `P4 Q2`. The file is YAML, or JSON as written
    by `Mapping.to_json`, or has Timeloop's form with the key `mapping`.

    Raises:
      FileFormatError: The file is not a mapping of this layer on this accelerator; the error names
        the line.
      StorageError: The file cannot be read.
    """
    root = read_document(path, TAGS).root
    if is_timeloop(root, "mapping"):
        return timeloop_mapping(root, problem, architecture)
    if not isinstance(root.value, tuple):
        raise root.refusal(f"a mapping must be a list of levels; got {root.kind}")
    levels: dict[str, LevelLoops] = {}
    for node in root.value:
        members = node.members("a level", ("level", "keep", "temporal", "spatial_x", "spatial_y"))
        name = members["level"].text("level") if "level" in members else ""
        if name not in architecture.level_names or name in levels:
            raise node.refusal(
                f"each level must be one of {', '.join(architecture.level_names)}, once; "
                f"got {name[:40]!r}"
            )
        kept = architecture.levels[architecture.level_index(name)].keeps
        if "keep" in members:
            kept = frozenset(_names(members["keep"], "keep"))
            if not kept <= frozenset(TENSORS):
                raise members["keep"].refusal(f"keep must list some of {', '.join(TENSORS)}")
        loops = [_loops(members, kind, problem) for kind in ("temporal", "spatial_x", "spatial_y")]
        levels[name] = LevelLoops(loops[0], loops[1], loops[2], kept)
    empty = {level.name: LevelLoops(keeps=level.keeps) for level in architecture.levels}
    mapping = Mapping(tuple({**empty, **levels}[name] for name in architecture.level_names))
    try:
        mapping.arrays(problem, architecture)
    except ArchGymError as error:
        raise root.refusal(str(error)) from None
    return mapping


def _loops(
    members: MappingOf[str, Node], kind: str, problem: Problem
) -> tuple[tuple[str, int], ...]:
    if kind not in members or members[kind].value is None:
        return ()
    try:
        return loops_from_text(members[kind].text(kind), problem.bounds)
    except InvalidArgumentError as error:
        raise members[kind].refusal(str(error)) from None


def architecture_yaml(architecture: Architecture, source: str = "") -> str:
    """Return the text of a file that `read_architecture` reads as this architecture."""
    lines = [f"name: {architecture.name}"]
    if source:
        lines.append(f"source: {source}")
    mac = architecture.mac
    lines += ["mac:", f"  name: {mac.name}", f"  instances: {mac.instances}"]
    lines += [f"  mesh_x: {mac.mesh_x}", f"  energy_pj: {mac.energy_pj!r}"]
    lines += [f"  area_um2: {float(mac.area_um2)!r}", "levels:"]
    for level in reversed(architecture.levels):
        lines.append(f"  - name: {level.name}")
        for key in (*_WHOLE, *_NUMBERS):
            value = getattr(level, key)
            if value is not None:
                lines.append(f"    {key}: {value!r}")
        lines.append(f"    keeps: [{', '.join(t for t in TENSORS if t in level.keeps)}]")
        for key in _WORDS:
            names = getattr(level, key)
            if names is not None:
                lines.append(f"    {key}: [{', '.join(names)}]")
    return "\n".join(lines) + "\n"
