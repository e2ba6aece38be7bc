"""Timeloop's problems: shape, projections of its data spaces, and bounds."""

import re
from collections.abc import Mapping
from typing import Final

from archgym.simulators.accelerator.problem import TENSORS, Axis, Problem
from archgym.simulators.kit import ArchGymError, Node

TENSOR_ALIASES: Final = {"A": "Inputs", "B": "Weights", "Z": "Outputs"}
"""Names of the tensors of a product in Timeloop's shape gemm-ABZ."""

AxisNames = tuple[tuple[tuple[str, str], ...], ...]
Spaces = dict[str, AxisNames]

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z_]{0,19}")
_MOST_BOUND: Final = 2**40
_MOST_COEFFICIENT: Final = 10**6  # that of `Problem`
_SHAPE_KEYS: Final = ("name", "dimensions", "coefficients", "data_spaces")


def problem_of(node: Node, name: str) -> Problem:
    """Return the problem of a `problem` node; `name` is its name if the shape has none.

    Raises:
      FileFormatError: Something is not modelled; the error names the line.
    """
    keys = ("shape", "instance", "version")
    members = node.members("a problem", keys, keys[:2])
    shape = members["shape"]
    name, dimensions, defaults, spaces = _shape(shape, name)
    bounds: dict[str, int] = {}
    coefficients = dict(defaults)
    for key, value in members["instance"].members("instance").items():
        if key in dimensions:
            bounds[key] = value.whole(f"bound {key}", 1, _MOST_BOUND)
        elif key in defaults:
            coefficients[key] = value.whole(key, 1, _MOST_COEFFICIENT)
        else:
            raise value.refusal(
                f"an instance may have {', '.join((*dimensions, *defaults))}; {key[:40]!r} is not "
                "modelled"
            )
    missing = [d for d in dimensions if d not in bounds]
    if missing:
        raise node.refusal(f"an instance needs bounds of {', '.join(missing)}")
    try:
        return Problem(
            name,
            {d: bounds[d] for d in dimensions},
            tuple(_axes(spaces[t], coefficients) for t in TENSORS),
        )
    except ArchGymError as error:
        raise shape.refusal(str(error)) from None


def _shape(shape: Node, name: str) -> tuple[str, tuple[str, ...], dict[str, int], Spaces]:
    members = shape.members("a shape", _SHAPE_KEYS, ("dimensions", "data_spaces"))
    if "name" in members:
        name = members["name"].text("name")[:80]
    dimensions = tuple(_name(item) for item in members["dimensions"].items("dimensions"))
    if len(set(dimensions)) != len(dimensions):
        raise members["dimensions"].refusal("dimensions must be distinct; one occurs twice")
    defaults: dict[str, int] = {}
    for item in members["coefficients"].items("coefficients") if "coefficients" in members else ():
        told = item.members("a coefficient", ("name", "default"), ("name",))
        key = _name(told["name"])
        defaults[key] = (
            told["default"].whole("default", 1, _MOST_COEFFICIENT) if "default" in told else 1
        )
    listed = members["data_spaces"]
    spaces: Spaces = {}
    for item in listed.items("data_spaces"):
        tensor, axes = _space(item, dimensions, defaults)
        if tensor in spaces:
            raise item.refusal(f"each data space must occur once; {tensor} occurs twice")
        spaces[tensor] = axes
    absent = [t for t in TENSORS if t not in spaces]
    if absent:
        raise listed.refusal(f"data_spaces must be {', '.join(TENSORS)}; {absent[0]} is missing")
    return name, dimensions, defaults, spaces


def _space(
    node: Node, dimensions: tuple[str, ...], coefficients: Mapping[str, int]
) -> tuple[str, AxisNames]:
    keys = ("name", "projection", "read_write")
    members = node.members("a data space", keys, keys[:2])
    text = members["name"].text("name")
    tensor = TENSOR_ALIASES.get(text, text)
    if tensor not in TENSORS:
        raise members["name"].refusal(
            f"a data space must be one of {', '.join(TENSORS)} (or A, B, Z); got {text[:40]!r}"
        )
    is_written = "read_write" in members and _flag(members["read_write"])
    if is_written != (tensor == "Outputs"):
        raise node.refusal("Outputs must be read-write, and no other data space")
    axes = []
    for axis in members["projection"].items("projection"):
        terms = []
        for term in axis.items("an axis of a projection"):
            parts = term.items("a term of a projection")
            if not 1 <= len(parts) <= 2:
                raise term.refusal(
                    "a term of a projection must be [dimension] or [dimension, coefficient]"
                )
            names = [_name(part) for part in parts]
            if names[0] not in dimensions or (len(names) == 2 and names[1] not in coefficients):
                raise term.refusal(
                    f"a term must name a dimension ({', '.join(dimensions)}) and perhaps a "
                    f"coefficient ({', '.join(coefficients)}); got {', '.join(names)}"
                )
            terms.append((names[0], names[1] if len(names) == 2 else ""))
        axes.append(tuple(terms))
    return tensor, tuple(axes)


def _flag(node: Node) -> bool:
    """Return True or False, in the spelling of YAML 1.1 too."""
    if node.value in ("True", "False"):
        return node.value == "True"
    return node.flag("read_write")


def _axes(axes: AxisNames, coefficients: Mapping[str, int]) -> tuple[Axis, ...]:
    return tuple(tuple((d, coefficients[c] if c else 1) for d, c in axis) for axis in axes)


def _name(node: Node) -> str:
    text = node.text("a name")
    if _NAME.fullmatch(text) is None:
        raise node.refusal(f"a name must be up to 20 letters; got {text[:20]!r}")
    return text


def problem_text(problem: Problem) -> str:
    """Return the text that Timeloop and `read_timeloop_problem` read as this problem."""
    lines = ["problem:", "  shape:", f"    name: {problem.name}"]
    lines.append(f"    dimensions: [{', '.join(problem.dimensions)}]")
    values: dict[str, int] = {}
    spaces = []
    for tensor, axes in zip(TENSORS, problem.projections, strict=True):
        spaces += [f"      - name: {tensor}", "        projection:"]
        for axis in axes:
            terms = []
            for dimension, coefficient in axis:
                if coefficient == 1:
                    terms.append(f"[{dimension}]")
                    continue
                values[f"{dimension}step"] = coefficient
                terms.append(f"[{dimension}, {dimension}step]")
            spaces.append(f"          - [{', '.join(terms)}]")
        if tensor == "Outputs":
            spaces.append("        read_write: true")
    if values:
        lines.append("    coefficients:")
        lines += [f"      - {{name: {name}, default: 1}}" for name in values]
    lines += ["    data_spaces:", *spaces, "  instance:"]
    lines += [f"    {name}: {n}" for name, n in (*problem.bounds.items(), *values.items())]
    return "\n".join(lines) + "\n"
