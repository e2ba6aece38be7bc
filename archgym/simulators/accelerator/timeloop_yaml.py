"""Timeloop's YAML: architectures (Accelergy's 0.2 and 0.3), problems and mappings.

Read is what the model has; all else is refused where it stands. The meaning of each key is that of
Timeloop's own parsers (github.com/NVlabs/timeloop, `src/mapping/parser.cpp` and
`src/model/buffer.cpp`): a permutation is innermost first, a factor of 0 is the whole dimension, the
first `split` dimensions of a spatial permutation lie along X (all of them by default), and a level
stores every tensor that no directive bypasses.
"""

import re
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

from archgym.document import Node, read_document
from archgym.errors import ArchGymError
from archgym.simulators.accelerator.architecture import Architecture, Level
from archgym.simulators.accelerator.mapping import LevelLoops, Loop, Mapping
from archgym.simulators.accelerator.problem import TENSORS, Problem
from archgym.simulators.accelerator.timeloop_components import items, mac_of, parts_of, storage_of
from archgym.simulators.accelerator.timeloop_problem import TENSOR_ALIASES, problem_of

__all__ = [
    "is_timeloop",
    "read_timeloop_problem",
    "timeloop_architecture",
    "timeloop_mapping",
    "timeloop_mapping_text",
]

# Keys of files that people hand to Timeloop together; those that are only for its own search do not
# matter here.
_TOP: Final = (
    *("architecture", "problem", "mapping", "mapper"),
    *("architecture_constraints", "mapspace_constraints"),
)
_FACTOR: Final = re.compile(r"([A-Za-z][A-Za-z_]*)\s*=?\s*([0-9]{1,9})(,[0-9]+)?[\s,]*")
_MOST_TEXT: Final = 1000  # chosen: some ten times the longest list of factors
# The dimensions that a constraint leaves free are named against these.
_DIMENSIONS: Final = ("G", "C", "M", "R", "S", "N", "P", "Q")
_GROUPS: Final = "G"  # Timeloop's convolutions have none, so that no constraint names it
_WHOLE: Final = 2**30  # chosen: stands for a whole dimension, whose bound a constraint cannot know


def is_timeloop(root: Node, key: str) -> bool:
    """Whether a document has Timeloop's form: a mapping with this top-level key.

    Args:
      root: Of the document.
      key: `architecture`, `problem` or `mapping`.
    """
    if not isinstance(root.value, MappingOf):
        return False
    return key in root.value or (key == "architecture" and "arch" in root.value)


def _top(root: Node) -> MappingOf[str, Node]:
    members = root.members("a file of Timeloop")
    for name, node in members.items():
        if name == "arch":
            raise node.refusal(
                "an architecture must stand under `architecture` with `subtree`; got the older "
                "`arch`"
            )
        if name not in _TOP:
            raise node.refusal(
                f"a file of Timeloop may have {', '.join(_TOP)}; {name[:40]!r} is not modelled"
            )
    return members


# Architectures


def timeloop_architecture(root: Node, name: str) -> Architecture:
    """The architecture in a document of Timeloop's form.

    Args:
      root: Of the document.
      name: Of the architecture, for messages.

    Raises:
      FileFormatError: It holds something that is not modelled; the error names the line.
    """
    members = _top(root)
    tree = members["architecture"]
    known = tree.members("architecture", ("version", "subtree", "nodes", "name"))
    if "nodes" in known:
        raise known["nodes"].refusal(
            "an architecture must be a `subtree` of version 0.2 or 0.3; got the `nodes` of 0.4"
        )
    if "subtree" not in known:
        raise tree.refusal("an architecture needs `subtree`; it has none")
    parts = parts_of(known["subtree"])
    if not parts:
        raise tree.refusal("an architecture needs components under `local`; it has none")
    *storage, unit = parts
    mac = mac_of(unit)
    levels = [storage_of(part) for part in reversed(storage)]
    for key in ("architecture_constraints", "mapspace_constraints"):
        if key in members:
            _constrain(members[key], levels)
    try:
        return Architecture(name, tuple(levels), mac)
    except ArchGymError as error:
        raise tree.refusal(str(error)) from None


def _constrain(node: Node, levels: list[Level]) -> None:
    """Puts what levels store, and which loops they may have, into them."""
    members = node.members("constraints", ("version", "targets"))
    names = [level.name for level in levels]
    for target in items(members["targets"], "targets") if "targets" in members else ():
        directive = _directive(target, names)
        level = levels[directive.place]
        if directive.kind == "datatype":
            levels[directive.place] = replace(level, keeps=_kept(directive, frozenset(TENSORS)))
            continue
        fixed = _factors(directive, dict.fromkeys(_DIMENSIONS, _WHOLE))
        if any(bound != 1 for bound in fixed.values()):
            raise target.refusal("constraints may only set factors to 1; others are not modelled")
        free = tuple(d for d in _DIMENSIONS if d not in fixed)
        order = _permutation(directive, _DIMENSIONS)
        if directive.kind == "temporal":
            if sum(d in free for d in order) > 1:
                raise target.refusal("constraints on the order of temporal loops are not modelled")
            levels[directive.place] = replace(level, temporal=free)
            continue
        split = _split(directive, len(_DIMENSIONS))
        along_x, along_y = free, free
        if "split" in directive.members:
            unordered = [d for d in free if d not in (*order, _GROUPS)]
            if unordered:
                raise target.refusal(
                    f"a split needs a permutation of all free dimensions; {unordered[0]} is in none"
                )
            along_x = tuple(d for d in free if d not in order[split:])
            along_y = tuple(d for d in free if d not in order[:split])
        levels[directive.place] = replace(level, spatial_x=along_x, spatial_y=along_y)


# Mappings


@final
@dataclass(frozen=True)
class _Directive:
    node: Node
    place: int
    kind: str
    members: MappingOf[str, Node]


_KEYS: Final = {
    "temporal": ("factors", "permutation"),
    "spatial": ("factors", "permutation", "split"),
    "datatype": ("keep", "bypass"),
}


def _directive(node: Node, names: list[str]) -> _Directive:
    members = node.members("a directive")
    if "type" not in members or "target" not in members:
        raise node.refusal("a directive needs `target` and `type`; one is missing")
    kind = members["type"].text("type")
    kind = "datatype" if kind in ("bypass", "dataspace") else kind
    if kind not in _KEYS:
        raise members["type"].refusal(
            f"type must be temporal, spatial, datatype or bypass; {kind[:40]!r} is not modelled"
        )
    for key, member in members.items():
        if key not in ("target", "type", *_KEYS[kind]):
            raise member.refusal(
                f"a {kind} directive may have {', '.join(_KEYS[kind])}; {key[:40]!r} is not "
                "modelled"
            )
    target = members["target"]
    if isinstance(target.value, int) and not isinstance(target.value, bool):
        place = target.whole("target", 0, len(names) - 1)
    else:
        name = target.text("target")
        if name not in names:
            raise target.refusal(f"target must be one of {', '.join(names)}; got {name[:40]!r}")
        place = names.index(name)
    return _Directive(node, place, kind, members)


def timeloop_mapping(root: Node, problem: Problem, architecture: Architecture) -> Mapping:
    """The mapping in a document of Timeloop's form.

    Args:
      root: Of the document.
      problem: The layer.
      architecture: The accelerator.

    Raises:
      FileFormatError: It is none of this layer on this accelerator, or holds something that is not
        modelled; the error names the line.
    """
    listed = _top(root)["mapping"]
    names = list(architecture.level_names)
    nests: list[dict[str, tuple[Loop, ...]]] = [{} for _ in names]
    keeps = [frozenset(TENSORS)] * len(names)
    seen: set[tuple[int, str]] = set()
    for node in items(listed, "mapping"):
        directive = _directive(node, names)
        if (directive.place, directive.kind) in seen:
            raise node.refusal(
                f"each level may have one {directive.kind} directive; "
                f"{names[directive.place]!r} has two"
            )
        seen.add((directive.place, directive.kind))
        if directive.kind == "datatype":
            keeps[directive.place] = _kept(directive, keeps[directive.place])
            continue
        nest = nests[directive.place]
        factors = _factors(directive, problem.bounds)
        order = _permutation(directive, problem.dimensions)
        moving = [d for d, bound in factors.items() if bound > 1]
        missing = [d for d in moving if d not in order]
        if len(missing) > 1:
            raise node.refusal(
                f"permutation must order all loops; {', '.join(missing)} stand in none, and "
                "Timeloop's own order of them is arbitrary"
            )
        split = _split(directive, len(problem.dimensions))
        full = [*order, *(d for d in problem.dimensions if d not in order)]
        if directive.kind == "temporal":
            nest["temporal"] = tuple((d, factors[d]) for d in full if d in moving)
            continue
        if missing and len(order) < split < len(full):
            raise node.refusal(f"permutation must hold {missing[0]}, since split cuts behind it")
        nest["spatial_x"] = tuple((d, factors[d]) for d in full[:split] if d in moving)
        nest["spatial_y"] = tuple((d, factors[d]) for d in full[split:] if d in moving)
    mapping = Mapping(
        tuple(LevelLoops(**nest, keeps=kept) for nest, kept in zip(nests, keeps, strict=True))
    )
    try:
        mapping.arrays(problem, architecture)
    except ArchGymError as error:
        raise listed.refusal(str(error)) from None
    return mapping


def _words(node: Node, what: str) -> str:
    """A list or a text as one text."""
    if node.value is None:
        return ""
    if isinstance(node.value, tuple):
        text = " ".join(item.text(what) for item in node.value[:_MOST_TEXT])
    else:
        text = node.text(what)
    if len(text) > _MOST_TEXT:
        raise node.refusal(f"{what} must have at most {_MOST_TEXT} letters; it has more")
    return text


def _dimension(node: Node, name: str, known: MappingOf[str, int] | tuple[str, ...]) -> str:
    """A dimension's name; Timeloop's older files call filters K."""
    if name == "K" and "K" not in known and "M" in known:
        name = "M"
    if name not in known:
        raise node.refusal(f"a dimension must be one of {', '.join(known)}; got {name[:20]!r}")
    return name


def _factors(directive: _Directive, bounds: MappingOf[str, int]) -> dict[str, int]:
    if "factors" not in directive.members:
        return {}
    node = directive.members["factors"]
    text = _words(node, "factors").partition("#")[0].strip()
    found: dict[str, int] = {}
    place = 0
    while place < len(text):
        match = _FACTOR.match(text, place)
        if match is None:
            raise node.refusal(f"factors must be such as P4 Q=2; got {text[place : place + 20]!r}")
        if match[3] is not None:
            raise node.refusal(
                f"factors must be perfect, the same in the last round; got {match[0].strip()!r}"
            )
        name = _dimension(node, match[1], bounds)
        if name in found:
            raise node.refusal(f"each dimension may have one factor; {name} has two")
        found[name] = int(match[2]) or bounds[name]
        place = match.end()
    return found


def _permutation(directive: _Directive, known: tuple[str, ...]) -> list[str]:
    if "permutation" not in directive.members:
        return []
    node = directive.members["permutation"]
    text = _words(node, "permutation").partition("#")[0].replace(",", " ")
    parts = text.split()
    if not any(part in known for part in parts if len(part) > 1):
        parts = list("".join(parts))
    order = [_dimension(node, part, known) for part in parts]
    if len(set(order)) != len(order):
        raise node.refusal("permutation must name each dimension once; one comes twice")
    return order


def _split(directive: _Directive, most: int) -> int:
    if "split" not in directive.members:
        return most
    return min(most, directive.members["split"].whole("split", 0, 2**31))


def _kept(directive: _Directive, kept: frozenset[str]) -> frozenset[str]:
    for key in ("keep", "bypass"):
        if key not in directive.members:
            continue
        node = directive.members[key]
        for word in _words(node, key).replace(",", " ").split():
            tensor = _tensor(node, word)
            kept = kept | {tensor} if key == "keep" else kept - {tensor}
    return kept


def _tensor(node: Node, name: str) -> str:
    name = TENSOR_ALIASES.get(name, name)
    if name not in TENSORS:
        raise node.refusal(
            f"a data space must be one of {', '.join(TENSORS)} (or A, B, Z); got {name[:20]!r}"
        )
    return name


# Problems


def read_timeloop_problem(path: Path) -> Problem:
    """Reads a problem: `problem` with a shape and its instance.

    Raises:
      FileFormatError: It is none, or holds something that is not modelled; the error names the
        line.
      StorageError: It cannot be read.
    """
    root = read_document(path).root
    members = _top(root)
    if "problem" not in members:
        raise root.refusal("a problem must stand under `problem`; there is none")
    return problem_of(members["problem"], path.stem)


def timeloop_mapping_text(mapping: Mapping, problem: Problem, architecture: Architecture) -> str:
    """The file that Timeloop, and `timeloop_mapping`, read as this mapping."""
    lines = ["mapping:"]
    dimensions = problem.dimensions
    for name, level in zip(
        reversed(architecture.level_names), reversed(mapping.levels), strict=True
    ):
        stored = [t for t in TENSORS if t in level.keeps]
        passed = [t for t in TENSORS if t not in level.keeps]
        lines += [f"  - target: {name}", "    type: datatype"]
        lines += [f"    keep: [{', '.join(stored)}]", f"    bypass: [{', '.join(passed)}]"]
        kinds = [("temporal", level.temporal)]
        if level.spatial_x or level.spatial_y:
            kinds.append(("spatial", (*level.spatial_x, *level.spatial_y)))
        for kind, loops in kinds:
            order = [d for d, _ in loops]
            order += [d for d in dimensions if d not in order]
            bounds = dict(loops)
            lines += [f"  - target: {name}", f"    type: {kind}"]
            lines.append("    factors: " + " ".join(f"{d}{bounds.get(d, 1)}" for d in dimensions))
            lines.append(f"    permutation: {' '.join(order)}")
            if kind == "spatial":
                lines.append(f"    split: {len(level.spatial_x)}")
    return "\n".join(lines) + "\n"
