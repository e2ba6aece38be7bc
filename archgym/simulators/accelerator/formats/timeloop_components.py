"""Components of Timeloop's architectures: capacity, bandwidths and costs of each class."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from archgym.simulators.accelerator.machine.architecture import Level, MacArray
from archgym.simulators.accelerator.machine.energy import (
    ADDRESS_GENERATORS,
    DRAM_PJ_PER_BIT,
    Cost,
    buffer_registers,
    multiply_accumulate,
    registers,
    scaled,
    sram,
)
from archgym.simulators.kit import InvalidArgumentError, Node

_STORAGE: Final = (
    "DRAM", "SRAM", "smartbuffer_SRAM", "smartbuffer_RF", "reg_storage", "regfile",
    "reg_file",
)  # fmt: skip
_UNITS: Final = ("intmac", "lmac", "mac")
# Attributes without effect on counts, and here on costs.
_WITHOUT_EFFECT: Final = ("update_fifo_depth", "latency", "type", "technology")
_SIZES: Final = {
    "word_bits": ("word_bits", "word_width", "datawidth"),
    "block": ("block_size", "n_words"),
    "width": ("memory_width", "width"),
    "depth": ("memory_depth", "depth"),
    "entries": ("entries",),
    "size_kib": ("sizeKB",),
    "cluster": ("cluster_size",),
    "multiplier": ("multiplier_width",),
    "adder": ("adder_width",),
    "ports": ("n_rdwr_ports", "num_ports", "nports"),
    "banks": ("n_banks", "num_banks"),
}
_NUMBERS: Final = (
    "read_bandwidth", "write_bandwidth", "bandwidth", "shared_bandwidth",
    "multiple_buffering", "vector_access_energy",
)  # fmt: skip
_MOST: Final = {
    **{"word_bits": 2**10, "block": 2**16, "width": 2**20, "depth": 2**40},
    **{"multiplier": 2**10, "adder": 2**10},
}
_MOST_NUMBER: Final = 1e15
_WORD_BITS: Final = 16  # Timeloop's default (`kDefaultWordBits`)
_NODE: Final = re.compile(r"([0-9]{1,3})(?:nm)?")
_BASE_NM: Final = 45.0


@final
@dataclass(frozen=True)
class Placed:
    """Component and its number of instances.

    Attributes:
      name: Its name.
      node: Node for messages.
      kind: Its class, or its subclass if it has one.
      instances: Instances in the accelerator.
      mesh_x: Instances along X.
      own: Its attributes.
      attributes: Its attributes and those of the containers above it.
    """

    name: str
    node: Node
    kind: Node
    instances: int
    mesh_x: int
    own: Mapping[str, Node]
    attributes: Mapping[str, Node]


def attributes_of(members: Mapping[str, Node]) -> dict[str, Node]:
    """Return the attributes by name."""
    return dict(members["attributes"].members("attributes")) if "attributes" in members else {}


def storage_of(part: Placed) -> Level:
    """Return the level of a storage component.

    Raises:
      FileFormatError: The class, an attribute or a value is not modelled.
    """
    kind = _class(part, _STORAGE, "a storage class")
    sizes = _sizes(part)
    numbers = _numbers(part)
    bits = sizes.get("word_bits", _WORD_BITS)
    width = sizes.get("width")
    block = sizes.get("block", 1 if width is None else max(1, width // bits))
    if sizes.get("cluster", 1) != 1 or (width or bits * block) != bits * block:
        raise part.node.refusal(
            f"{part.name!r} must be as wide as one block (datawidth times block_size is "
            f"{bits * block}); clusters of several are not modelled"
        )
    capacity = None if kind == "DRAM" else _capacity(part, sizes, block, bits)
    buffering = numbers.get("multiple_buffering", 1.0)
    if capacity is not None:
        capacity = int(capacity / buffering) if buffering >= 1 else 0
        if capacity < 1:
            raise part.node.refusal(f"{part.name!r} must hold 1 word or more; it holds {capacity}")
    cost = _cost(part, kind, sizes, numbers, bits * block, (capacity or 1, block))
    half = numbers["bandwidth"] / 2 if "bandwidth" in numbers else None
    return Level(
        name=part.name,
        capacity=capacity,
        instances=part.instances,
        mesh_x=part.mesh_x,
        block=block,
        word_bits=bits,
        read_bandwidth=numbers.get("read_bandwidth", half),
        write_bandwidth=numbers.get("write_bandwidth", half),
        shared_bandwidth=numbers.get("shared_bandwidth"),
        **cost.of_level,
    )


def mac_of(part: Placed) -> MacArray:
    """Return the units of an arithmetic component.

    Raises:
      FileFormatError: The class, an attribute or a value is not modelled.
    """
    _class(part, _UNITS, "the innermost component's class")
    sizes = _sizes(part)
    bits = sizes.get("multiplier", sizes.get("word_bits", _WORD_BITS))
    cost = _at_node(part, multiply_accumulate(bits, sizes.get("adder")))
    energy = _numbers(part).get("vector_access_energy", cost.read_pj)
    return MacArray(part.instances, part.mesh_x, energy, cost.area_um2, part.name)


def _class(part: Placed, known: tuple[str, ...], what: str) -> str:
    kind = part.kind.text("class")
    if kind not in known:
        raise part.kind.refusal(
            f"{what} must be one of {', '.join(known)}; {kind[:40]!r} of {part.name!r} is not "
            "modelled"
        )
    return kind


def _sizes(part: Placed) -> dict[str, int]:
    """Return the whole numbers among the attributes, by their names in `_SIZES`."""
    spelt = {alias: key for key, aliases in _SIZES.items() for alias in aliases}
    for name, node in part.own.items():
        if name not in spelt and name not in _NUMBERS and name not in _WITHOUT_EFFECT:
            raise node.refusal(f"attribute {name[:40]!r} of {part.name!r} is not modelled")
    found: dict[str, int] = {}
    for key, aliases in _SIZES.items():
        for alias in aliases:
            inherited = part.attributes if key == "word_bits" else {}
            given = part.own.get(alias) or inherited.get(alias)
            if given is not None and key not in found:
                found[key] = given.whole(alias, 1, _MOST.get(key, 2**30))
    return found


def _numbers(part: Placed) -> dict[str, float]:
    return {
        name: part.own[name].number(name, 0.0, _MOST_NUMBER)
        for name in _NUMBERS
        if name in part.own
    }


def _capacity(part: Placed, sizes: Mapping[str, int], block: int, bits: int) -> int:
    """Return the words of an instance, as in Timeloop's `buffer.cpp`."""
    words = {
        "entries": sizes.get("entries", 0),
        "depth": sizes.get("depth", 0) * block,
        "size_kib": sizes.get("size_kib", 0) * 1024 * 8 // bits,
    }
    given = [words[key] for key in words if key in sizes]
    if len(given) != 1:
        raise part.node.refusal(
            f"{part.name!r} needs its size as one of memory_depth, depth, entries and sizeKB; it "
            f"has {len(given)}"
        )
    return given[0]


def _cost(
    part: Placed,
    kind: str,
    sizes: Mapping[str, int],
    numbers: Mapping[str, float],
    line_bits: int,
    words: tuple[int, int],
) -> Cost:
    """Return energy and area of an instance; an energy in the file replaces the table's.

    `words` are the capacity and the words of a line.
    """
    energy = numbers.get("vector_access_energy")
    lines = sizes.get("depth", max(1, words[0] // words[1]))
    cost, problem = None, f"banks of {part.name!r} must have 64 bytes or more"
    try:
        cost = _table(part, kind, sizes, lines, line_bits)
    except InvalidArgumentError as error:
        problem = str(error)
    if energy is not None:
        # The energy is given; only the area may be estimated, which no result of a mapping needs.
        return Cost(energy, energy, 0.0 if cost is None else cost.area_um2)
    if cost is None:
        raise part.node.refusal(problem, "Give vector_access_energy in pJ")
    return cost


def _table(
    part: Placed, kind: str, sizes: Mapping[str, int], lines: int, line_bits: int
) -> Cost | None:
    if kind == "DRAM":
        memory = part.own["type"].text("type") if "type" in part.own else "LPDDR4"
        if memory != "LPDDR4":
            raise InvalidArgumentError(f"DRAM must be LPDDR4; there is no energy of {memory[:20]}")
        return Cost(DRAM_PJ_PER_BIT * line_bits, DRAM_PJ_PER_BIT * line_bits, 0.0)
    if kind in ("SRAM", "smartbuffer_SRAM"):
        array = sram(lines, line_bits, sizes.get("banks", 1), sizes.get("ports", 2))
        if array is None:
            return None
        smart = kind == "smartbuffer_SRAM"
        return _at_node(part, array.plus(ADDRESS_GENERATORS) if smart else array)
    plain = kind in ("regfile", "reg_file")
    return _at_node(part, (registers if plain else buffer_registers)(lines, line_bits))


def _at_node(part: Placed, cost: Cost) -> Cost:
    node = part.attributes.get("technology")
    if node is None:
        return cost
    match = _NODE.fullmatch(node.text("technology")[:20])
    if match is None:
        raise node.refusal(f"technology must be such as 45nm; got {node.kind}")
    length = float(match[1])
    if length == _BASE_NM:
        return cost
    try:
        return scaled(cost, length)
    except InvalidArgumentError as error:
        raise node.refusal(str(error)) from None
