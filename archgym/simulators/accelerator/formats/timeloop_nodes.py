"""Architectures in the form of Timeloop 0.4: a list of tagged nodes, outermost first.

The semantics are those of Timeloop's front end (github.com/Accelergy-Project/timeloopfe,
`common/version_transpilers/v4_to_v3.py`), which converts nodes to the chain of Timeloop's model. A
node with several instances (`spatial`) gets a level above it that stores nothing and spreads loops,
`inter_NAME_spatial`. The members of a `!Parallel` follow one another; each stores its own tensors.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, final

from archgym.simulators.accelerator.formats.timeloop_components import (
    Placed,
    attributes_of,
)
from archgym.simulators.kit import Node

TAGS: Final = ("!Component", "!Container", "!Hierarchical", "!Nothing", "!Parallel")
"""Tags of the nodes of an architecture."""
_LEAF_KEYS: Final = ("name", "class", "subclass", "attributes", "spatial", "constraints", "enabled")
_KINDS: Final = ("temporal", "spatial", "dataspace")
_NAME: Final = re.compile(r"[A-Za-z_][\w-]*")
# chosen: real arrays have up to some thousand units.
_MOST_INSTANCES: Final = 2**16


@final
@dataclass(frozen=True)
class Spread:
    """Level that stores nothing and spreads loops over instances below it."""

    name: str
    instances: int
    mesh_x: int


@final
@dataclass(frozen=True)
class Constrained:
    """Constraint of a level on its loops or on what it stores."""

    level: str
    kind: str
    node: Node
    is_parallel: bool
    """True if the level stores only the tensors that the constraint says."""


@final
@dataclass
class Nodes:
    """Chain of the nodes, outermost first, and constraints in the order of the file."""

    chain: list[Placed | Spread] = field(default_factory=list)
    constraints: list[Constrained] = field(default_factory=list)
    attributes: dict[str, Node] = field(default_factory=dict)
    mesh: tuple[int, int] = (1, 1)


def spread_name(name: str) -> str:
    """Return the name of the level that spreads loops over instances of a node."""
    return f"inter_{name}_spatial"


def nodes_of(listed: Node, attributes: Mapping[str, Node]) -> Nodes:
    """Return the chain of levels in a list of nodes; `attributes` are those of all components.

    Raises:
      FileFormatError: Something is not modelled; the error names the line.
    """
    found = Nodes(attributes=dict(attributes))
    _add_all(listed, found, None)
    return found


def _add_all(listed: Node, found: Nodes, taken: dict[str, str] | None) -> None:
    """Add nodes; `taken` maps tensors to the members of a `!Parallel` that store them."""
    for node in listed.items("nodes"):
        if node.tag in ("!Hierarchical", "!Parallel"):
            if taken is not None:
                raise node.refusal(f"a !Parallel may hold components only; got {node.tag}")
            members = node.members(f"a {node.tag}", ("nodes",), ("nodes",))
            _add_all(members["nodes"], found, {} if node.tag == "!Parallel" else None)
        elif node.tag in ("!Component", "!Container"):
            _add_leaf(node, found, taken)
        elif node.tag != "!Nothing":
            raise node.refusal(
                f"a node must be tagged {', '.join(TAGS)}; got {node.tag or 'no tag'}"
            )


def _add_leaf(node: Node, found: Nodes, taken: dict[str, str] | None) -> None:
    is_container, is_parallel = node.tag == "!Container", taken is not None
    members = node.members(f"a {node.tag}", _LEAF_KEYS)
    if "enabled" in members and not members["enabled"].flag("enabled"):
        return
    name = _name(node, members)
    fan_x, fan_y = _fan_out(members, name)
    if is_parallel and (is_container or fan_x * fan_y != 1):
        raise node.refusal("a !Parallel may hold components without `spatial` only")
    own = attributes_of(members)
    x, y = found.mesh
    if fan_x * fan_y != 1:
        found.chain.append(Spread(spread_name(name), x * y, x))
    x, y = found.mesh = x * fan_x, y * fan_y
    if x * y > _MOST_INSTANCES:
        raise node.refusal(f"there may be up to {_MOST_INSTANCES} of {name!r}; got {x * y}")
    if is_container:
        found.attributes |= own
    else:
        _add_component(node, name, own, found)
    given = members.get("constraints")
    constraints = {} if given is None else given.members("constraints", _KINDS)
    if taken is not None:
        _part_tensors(node, name, constraints.get("dataspace"), taken)
    for kind, constraint in constraints.items():
        is_spread = kind == "spatial"
        if is_container and not is_spread:
            raise constraint.refusal(f"{kind} constraints of a !Container are not modelled")
        if is_spread and fan_x * fan_y == 1:
            # Loops over one instance have bound 1.
            continue
        level = spread_name(name) if is_spread else name
        found.constraints.append(Constrained(level, kind, constraint, is_parallel))


def _add_component(node: Node, name: str, own: dict[str, Node], found: Nodes) -> None:
    members = node.members(f"component {name!r}", needed=("class",))
    for key in ("meshX", "meshY", "instances"):
        if key in own:
            raise own[key].refusal(f"instances must be given by `spatial`; got the attribute {key}")
    x, y = found.mesh
    kind = members.get("subclass", members["class"])
    found.chain.append(Placed(name, node, kind, x * y, x, own, {**found.attributes, **own}))


def _name(node: Node, members: Mapping[str, Node]) -> str:
    if "name" not in members:
        raise node.refusal("each node of an architecture needs a name")
    name = members["name"].text("name")
    if "[" in name:
        raise node.refusal("instances must be given by `spatial`; got a range of names")
    if _NAME.fullmatch(name[:80]) is None:
        raise members["name"].refusal(f"a name must be such as PE or pe_row; got {name[:40]!r}")
    return name


def _fan_out(members: Mapping[str, Node], name: str) -> tuple[int, int]:
    if "spatial" not in members:
        return 1, 1
    spatial = members["spatial"].members(f"spatial of {name!r}", ("meshX", "meshY"))
    fan_x, fan_y = (
        spatial[key].whole(key, 1, _MOST_INSTANCES) if key in spatial else 1
        for key in ("meshX", "meshY")
    )
    return fan_x, fan_y


def _part_tensors(node: Node, name: str, constraint: Node | None, taken: dict[str, str]) -> None:
    """Record the tensors of a member of a `!Parallel`, which no other member may store."""
    members = {} if constraint is None else constraint.members("dataspace")
    kept = members.get("keep") or members.get("keep_only")
    if kept is None:
        raise node.refusal(f"{name!r} in a !Parallel needs a dataspace constraint with `keep`")
    for item in kept.value if isinstance(kept.value, tuple) else (kept,):
        tensor = item.text("keep")
        if taken.setdefault(tensor, name) != name:
            raise kept.refusal(
                f"members of a !Parallel must store different tensors; {tensor[:20]} is in "
                f"{taken[tensor]!r} too"
            )
