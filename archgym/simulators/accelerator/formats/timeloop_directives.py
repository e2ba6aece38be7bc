"""Timeloop's directives in mappings and constraints: loops or stored tensors of a level."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from archgym.files.yaml_document import Node
from archgym.simulators.accelerator.formats.timeloop_nodes import Constrained, spread_name
from archgym.simulators.accelerator.formats.timeloop_problem import TENSOR_ALIASES
from archgym.simulators.accelerator.kernel.problem import TENSORS

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
    members: Mapping[str, Node]


_KEYS: Final = {
    "temporal": ("factors", "factors_only", "permutation"),
    "spatial": ("factors", "factors_only", "permutation", "split"),
    "datatype": ("keep", "bypass", "keep_only", "bypass_only"),
}


def directive_of(node: Node, names: list[str]) -> Directive:
    """Return a directive that names its level, one of `names`, innermost first.

    A spatial directive for a node of version 0.4 is for the level above its instances.

    Raises:
      FileFormatError: The directive is not modelled.
    """
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


def _dimension(node: Node, name: str, known: Mapping[str, int] | tuple[str, ...]) -> str:
    """Return a dimension's name; Timeloop's older files call filters K."""
    if name == "K" and "K" not in known and "M" in known:
        name = "M"
    if name not in known:
        raise node.refusal(f"a dimension must be one of {', '.join(known)}; got {name[:20]!r}")
    return name


def factors_of(directive: Directive, bounds: Mapping[str, int]) -> dict[str, int]:
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
