"""Timeloop's YAML: architectures (Accelergy's 0.2 and 0.3, and 0.4), problems and mappings.

Only what the model supports is read; everything else is an error with its line. Keys mean the same
as in Timeloop's parsers (github.com/NVlabs/timeloop, `src/mapping/parser.cpp` and
`src/model/buffer.cpp`). A permutation is innermost first; a factor of 0 is the whole dimension. The
first `split` dimensions of a spatial permutation lie along X (all of them by default). A level
stores every tensor that no directive bypasses.
"""

from collections.abc import Mapping as MappingOf
from dataclasses import replace
from pathlib import Path
from typing import Final

from archgym.errors import ArchGymError
from archgym.files.yaml_document import Node, read_document
from archgym.simulators.accelerator.formats.timeloop_components import mac_of, parts_of, storage_of
from archgym.simulators.accelerator.formats.timeloop_directives import (
    Directive,
    directive_of,
    embedded_directive,
    factors_of,
    kept_of,
    permutation_of,
    split_of,
)
from archgym.simulators.accelerator.formats.timeloop_nodes import TAGS, Nodes, Spread, nodes_of
from archgym.simulators.accelerator.formats.timeloop_problem import problem_of
from archgym.simulators.accelerator.kernel.architecture import Architecture, Level
from archgym.simulators.accelerator.kernel.problem import TENSORS, Problem
from archgym.simulators.accelerator.mapping.mapping import LevelLoops, Loop, Mapping

# Keys of the files that Timeloop reads together; keys for its own search are ignored.
_TOP: Final = (
    "architecture", "problem", "mapping", "mapper", "variables",
    "architecture_constraints", "mapspace_constraints",
)  # fmt: skip
# Dimensions of constraints, which may leave some of them free.
_DIMENSIONS: Final = ("G", "C", "M", "R", "S", "N", "P", "Q")
_GROUPS: Final = "G"  # Timeloop's convolutions have no groups, so no constraint names them
_WHOLE: Final = 2**30  # chosen: stands for a whole dimension, whose bound is not known


def is_timeloop(root: Node, key: str) -> bool:
    """Return True if a document has Timeloop's form with the top-level key `key`."""
    if not isinstance(root.value, MappingOf):
        return False
    return key in root.value or (key == "architecture" and "arch" in root.value)


def _top(root: Node) -> MappingOf[str, Node]:
    members = root.members("a file of Timeloop")
    for name, node in members.items():
        if name == "arch":
            raise node.refusal(
                "an architecture must be under `architecture` with `subtree`; got the older `arch`"
            )
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
    if len(known.keys() & {"subtree", "nodes"}) != 1:
        raise tree.refusal("an architecture needs `subtree`, or `nodes` in version 0.4")
    found = Nodes(list(parts_of(known["subtree"]))) if "subtree" in known else None
    if found is None:
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
    for key in ("architecture_constraints", "mapspace_constraints"):
        if key in members:
            given = members[key].members("constraints", ("version", "targets"))
            for target in given["targets"].items("targets") if "targets" in given else ():
                _constrain(directive_of(target, names), levels)
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
