"""Timeloop's YAML in version 0.4: architectures, problems and mappings.

Only what the model supports is read; everything else is an error with its line. Keys mean the same
as in Timeloop's parsers (github.com/NVlabs/timeloop, `src/mapping/parser.cpp` and
`src/model/buffer.cpp`). A permutation is innermost first; a factor of 0 is the whole dimension. The
first `split` dimensions of a spatial permutation lie along X (all of them by default). A level
stores every tensor that no directive bypasses.
"""

import re
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

from archgym.simulators.accelerator.formats.timeloop_components import mac_of, storage_of
from archgym.simulators.accelerator.formats.timeloop_nodes import (
    TAGS,
    Constrained,
    Spread,
    nodes_of,
    spread_name,
)
from archgym.simulators.accelerator.formats.timeloop_problem import TENSOR_ALIASES, problem_of
from archgym.simulators.accelerator.machine.architecture import Architecture, Level
from archgym.simulators.accelerator.machine.mapping import LevelLoops, Loop, Mapping
from archgym.simulators.accelerator.problem import TENSORS, Problem
from archgym.simulators.kit import ArchGymError, Node, read_document

_FACTOR: Final = re.compile(r"([A-Za-z][A-Za-z_]*)\s*=?\s*([0-9]{1,9})(,[0-9]+)?[\s,]*")
_MOST_TEXT: Final = 1000  # chosen: about ten times the longest list of factors


@final
@dataclass(frozen=True)
class Directive:
    """Directive for one level.

    Attributes:
      node: Node for messages.
      place: Index of the level, innermost first.
      kind: `temporal`, `spatial` or `datatype`.
      members: Values by key.
    """

    node: Node
    place: int
    kind: str
    members: MappingOf[str, Node]


_KEYS: Final = {
    "temporal": ("factors", "factors_only", "permutation"),
    "spatial": ("factors", "factors_only", "permutation", "split"),
    "datatype": ("keep", "bypass", "keep_only", "bypass_only"),
}


def directive_of(node: Node, names: list[str]) -> Directive:
    """Return a directive that names its level, one of `names`, innermost first.

    A spatial directive for a node is for the level above its instances.

    Raises:
      FileFormatError: The directive is not modelled.
    """
    members = node.members("a directive", needed=("target", "type"))
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
        if kind == "spatial" and spread_name(name) in names:
            name = spread_name(name)
        if name not in names:
            raise target.refusal(f"target must be one of {', '.join(names)}; got {name[:40]!r}")
        place = names.index(name)
    return Directive(node, place, kind, members)


def embedded_directive(constrained: Constrained, names: list[str]) -> Directive:
    """Return a constraint within its node, whose level is one of `names`, innermost first.

    Raises:
      FileFormatError: The constraint is not modelled.
    """
    node, kind = constrained.node, constrained.kind
    if constrained.level not in names:
        raise node.refusal("constraints of the component that computes are not modelled")
    kind = "datatype" if kind == "dataspace" else kind
    members = node.members(f"{constrained.kind} constraints", _KEYS[kind])
    if constrained.is_parallel and kind == "datatype":
        members = {"keep_only": members.get("keep") or members["keep_only"]}
    return Directive(node, names.index(constrained.level), kind, members)


def _words(node: Node, what: str) -> str:
    """Join a list into one string."""
    if node.value is None:
        return ""
    if isinstance(node.value, tuple):
        text = " ".join(item.text(what) for item in node.value[:_MOST_TEXT])
    else:
        text = node.text(what)
    if len(text) > _MOST_TEXT:
        raise node.refusal(f"{what} must have at most {_MOST_TEXT} letters")
    return text


def _dimension(node: Node, name: str, known: MappingOf[str, int] | tuple[str, ...]) -> str:
    if name not in known:
        raise node.refusal(f"a dimension must be one of {', '.join(known)}; got {name[:20]!r}")
    return name


def factors_of(directive: Directive, bounds: MappingOf[str, int]) -> dict[str, int]:
    """Return the bounds of loops by dimension; 0 stands for the whole of `bounds`.

    Raises:
      FileFormatError: The factors have another form, or name other dimensions.
    """
    node = directive.members.get("factors") or directive.members.get("factors_only")
    if node is None:
        return {}
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


def permutation_of(directive: Directive, known: tuple[str, ...]) -> list[str]:
    """Return the dimensions in their order, innermost first; empty without a permutation.

    Raises:
      FileFormatError: A dimension occurs twice or is unknown.
    """
    if "permutation" not in directive.members:
        return []
    node = directive.members["permutation"]
    text = _words(node, "permutation").partition("#")[0].replace(",", " ")
    parts = text.split()
    if not any(part in known for part in parts if len(part) > 1):
        parts = list("".join(parts))
    order = [_dimension(node, part, known) for part in parts]
    if len(set(order)) != len(order):
        raise node.refusal("permutation must name each dimension once; one occurs twice")
    return order


def split_of(directive: Directive, most: int) -> int:
    """Return the number of dimensions along X: `most` by default.

    Raises:
      FileFormatError: The split is not a whole number.
    """
    if "split" not in directive.members:
        return most
    return min(most, directive.members["split"].whole("split", 0, 2**31))


def kept_of(directive: Directive, kept: frozenset[str]) -> frozenset[str]:
    """Return the tensors that a level stores, which stores `kept` by default.

    Raises:
      FileFormatError: The directive names an unknown tensor.
    """
    for key in _KEYS["datatype"]:
        if key not in directive.members:
            continue
        node = directive.members[key]
        named: frozenset[str] = frozenset()
        for word in _words(node, key).replace(",", " ").split():
            named |= frozenset(TENSORS) if word == "*" else {_tensor(node, word)}
        if key.endswith("only"):
            kept = named if key == "keep_only" else frozenset(TENSORS) - named
        else:
            kept = kept | named if key == "keep" else kept - named
    return kept


def _tensor(node: Node, name: str) -> str:
    name = TENSOR_ALIASES.get(name, name)
    if name not in TENSORS:
        raise node.refusal(
            f"a data space must be one of {', '.join(TENSORS)} (or A, B, Z); got {name[:20]!r}"
        )
    return name


# Keys of the files that Timeloop reads together; keys for its own search are ignored.
_TOP: Final = ("architecture", "problem", "mapping", "mapper", "variables")
# Dimensions of constraints, which may leave some of them free.
_DIMENSIONS: Final = ("G", "C", "M", "R", "S", "N", "P", "Q")
_GROUPS: Final = "G"  # Timeloop's convolutions have no groups, so no constraint names them
_WHOLE: Final = 2**30  # chosen: stands for a whole dimension, whose bound is not known


def is_timeloop(root: Node, key: str) -> bool:
    """Return True if a document has Timeloop's form with the top-level key `key`."""
    return isinstance(root.value, MappingOf) and key in root.value


def _top(root: Node) -> MappingOf[str, Node]:
    members = root.members("a file of Timeloop")
    for name, node in members.items():
        if name not in _TOP:
            raise node.refusal(
                f"a file of Timeloop may have {', '.join(_TOP)}; {name[:40]!r} is not modelled"
            )
    return members


# Architectures


def timeloop_architecture(root: Node, name: str) -> Architecture:
    """Return the architecture in a document of Timeloop's form.

    Raises:
      FileFormatError: Something is not modelled; the error names the line.
    """
    members = _top(root)
    tree = members["architecture"]
    known = tree.members("architecture", ("version", "subtree", "nodes", "name"))
    if "subtree" in known or "nodes" not in known:
        raise tree.refusal(
            "an architecture must have `nodes`, as in Timeloop 0.4; `subtree` is an older form"
        )
    found = nodes_of(known["nodes"], _variables(members))
    if not found.chain:
        raise tree.refusal("an architecture needs components")
    *storage, unit = found.chain
    if isinstance(unit, Spread):
        raise tree.refusal("the innermost node must be a component that computes; got a container")
    mac = mac_of(unit)
    levels = []
    for part in reversed(storage):
        if isinstance(part, Spread):
            spread = Level(part.name, 1, part.instances, part.mesh_x, temporal=())
            levels.append(replace(spread, keeps=frozenset()))
        else:
            levels.append(storage_of(part))
    names = [level.name for level in levels]
    for constrained in found.constraints:
        _constrain(embedded_directive(constrained, names), levels)
    try:
        return Architecture(name, tuple(levels), mac)
    except ArchGymError as error:
        raise tree.refusal(str(error)) from None


def _variables(members: MappingOf[str, Node]) -> MappingOf[str, Node]:
    """Return the attributes that all components have: only the technology is modelled."""
    given = members["variables"].members("variables") if "variables" in members else {}
    return {name: node for name, node in given.items() if name == "technology"}


def _constrain(directive: Directive, levels: list[Level]) -> None:
    """Apply a constraint to the level that it names."""
    level, node = levels[directive.place], directive.node
    if directive.kind == "datatype":
        levels[directive.place] = replace(level, keeps=kept_of(directive, frozenset(TENSORS)))
        return
    fixed = factors_of(directive, dict.fromkeys(_DIMENSIONS, _WHOLE))
    if any(bound != 1 for bound in fixed.values()):
        raise node.refusal("constraints may only set factors to 1; others are not modelled")
    free = tuple(d for d in _DIMENSIONS if d not in fixed)
    if "factors_only" in directive.members:
        free = ()
    order = permutation_of(directive, _DIMENSIONS)
    unordered = [d for d in free if d not in (*order, _GROUPS)]
    if directive.kind == "temporal":
        ordered = [d for d in order if d in free]
        if len(ordered) > 1 and unordered:
            raise node.refusal(
                f"a permutation must order all free loops in time; {unordered[0]} is missing"
            )
        given = tuple(order) if len(ordered) > 1 else None
        levels[directive.place] = replace(level, temporal=free, order=given)
        return
    split = split_of(directive, len(_DIMENSIONS))
    along_x, along_y = free, free
    if "split" in directive.members:
        if unordered:
            raise node.refusal(
                f"a split needs a permutation of all free dimensions; {unordered[0]} is missing"
            )
        along_x = tuple(d for d in free if d not in order[split:])
        along_y = tuple(d for d in free if d not in order[:split])
    levels[directive.place] = replace(level, spatial_x=along_x, spatial_y=along_y)


# Mappings


def timeloop_mapping(root: Node, problem: Problem, architecture: Architecture) -> Mapping:
    """Return the mapping in a document of Timeloop's form.

    Raises:
      FileFormatError: It does not match the layer and the accelerator, or something is not
        modelled; the error names the line.
    """
    listed = _top(root)["mapping"]
    names = list(architecture.level_names)
    nests: list[dict[str, tuple[Loop, ...]]] = [{} for _ in names]
    keeps = [frozenset(TENSORS)] * len(names)
    seen: set[tuple[int, str]] = set()
    for node in listed.items("mapping"):
        directive = directive_of(node, names)
        if (directive.place, directive.kind) in seen:
            raise node.refusal(
                f"each level may have one {directive.kind} directive; "
                f"{names[directive.place]!r} has two"
            )
        seen.add((directive.place, directive.kind))
        if directive.kind == "datatype":
            keeps[directive.place] = kept_of(directive, keeps[directive.place])
            continue
        nest = nests[directive.place]
        factors = factors_of(directive, problem.bounds)
        order = permutation_of(directive, problem.dimensions)
        moving = [d for d, bound in factors.items() if bound > 1]
        missing = [d for d in moving if d not in order]
        if len(missing) > 1:
            raise node.refusal(
                f"permutation must order all loops; {', '.join(missing)} are missing, and "
                "Timeloop's own order of them is arbitrary"
            )
        split = split_of(directive, len(problem.dimensions))
        full = [*order, *(d for d in problem.dimensions if d not in order)]
        if directive.kind == "temporal":
            nest["temporal"] = tuple((d, factors[d]) for d in full if d in moving)
            continue
        if missing and len(order) < split < len(full):
            raise node.refusal(f"permutation must include {missing[0]}, since split cuts after it")
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


# Problems


def read_timeloop_problem(path: Path) -> Problem:
    """Read a problem: `problem` with a shape and its instance.

    Raises:
      FileFormatError: The file has no problem, or something is not modelled; the error names the
        line.
      StorageError: The file cannot be read.
    """
    root = read_document(path, TAGS).root
    members = _top(root)
    if "problem" not in members:
        raise root.refusal("a problem must be under the key `problem`, which is missing")
    return problem_of(members["problem"], path.stem)


def timeloop_mapping_text(mapping: Mapping, problem: Problem, architecture: Architecture) -> str:
    """Return the text that Timeloop and `timeloop_mapping` read as this mapping."""
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
