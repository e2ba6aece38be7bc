"""Design spaces: accelerators with an array of processing elements, or mappings of one layer.

The default space is an array of elements, their buffers, and a dataflow. Each element has a unit
and three register files, for outputs, weights and inputs; all elements share a global buffer in
front of DRAM. The default design is the Eyeriss-like one of Timeloop's examples. Spaces of
mappings are made in `mapping.space`.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any, Final

from archgym.simulators.accelerator.formats.files import load_architecture
from archgym.simulators.accelerator.machine.architecture import Architecture, Level, MacArray
from archgym.simulators.accelerator.machine.energy import (
    ADDRESS_GENERATORS,
    DRAM_PJ_PER_BIT,
    Cost,
    buffer_registers,
    multiply_accumulate,
    node_shares,
    registers,
    sram,
)
from archgym.simulators.accelerator.mapping.space import (
    MappingSpace,
    gamma_space,
    mapping_space,
    mapping_table_space,
)
from archgym.simulators.accelerator.workloads import layer_named
from archgym.simulators.kit import (
    Categorical,
    Constraint,
    DesignSpace,
    Integer,
    InvalidArgumentError,
    Ordinal,
    P,
    Parameter,
    PowerOfTwo,
)

PUBLISHED: Final = "timeloop-2023"
HARDWARE_SPACES: Final = ("default", PUBLISHED)
"""Spaces whose designs are accelerators."""
MAPPING_SPACES: Final = ("maestro-2023", "mapping", "mapping-table")
"""Spaces whose designs are mappings of one layer."""
DEFAULT_LAYER: Final = "resnet-18/layer1.0.conv1"
_DEFAULT_ARCHITECTURE: Final = {"mapping": "eyeriss-like", "mapping-table": "ws-systolic-16"}

# Dimensions that each dataflow spreads over the array, along X and along Y; None for any. After
# Chen, Emer, Sze, ISCA 2016, section 4 (row, weight and output stationary), and SCALE-Sim (input
# stationary); batch and groups may be spread along any axis.
DATAFLOWS: Final[Mapping[str, tuple[tuple[str, ...] | None, tuple[str, ...] | None]]] = {
    "row-stationary": (("Q", "M", "P", "G", "N"), ("S", "C", "M", "G")),
    "weight-stationary": (("M", "G"), ("C", "R", "S", "G", "N")),
    "output-stationary": (("P", "N", "G"), ("Q", "M", "G")),
    "input-stationary": (("C", "G"), ("P", "Q", "N", "G")),
    "flexible": (None, None),
}
# CACTI's rows have lines of 64 bits; a bank reads one line per cycle.
_LINE_BITS: Final = 64
# chosen: sums of 8-bit products need more than 16 bits, as in Simba (Shao et al., MICRO 2019).
_SUM_BITS: Final = {8: 24, 16: 16}
# Timeloop's Eyeriss-like example: each register file reads and writes two words per cycle.
_SPAD_BANDWIDTH: Final = 2.0

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "array": ("array_x", "array_y", "dataflow", "precision_bits"),
    "registers": ("output_words", "weight_words", "input_words"),
    "memory": (
        "buffer_kib", "buffer_banks", "buffer_bandwidth", "buffer_weights",
        "dram_bandwidth",
    ),
}  # fmt: skip

_SIZES: Final = (
    "array_x", "array_y", "output_words", "weight_words", "input_words",
    "buffer_kib", "buffer_banks",
)  # fmt: skip
"""Parameters that shrink if the default design exceeds a limit of area."""

# chosen: around Eyeriss's 14 by 12, with the powers of two of systolic arrays.
_ARRAY: Final = (4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32)
# Elements are counted one by one, so cost grows with them; chosen: as a TPU's array. Memories end
# with the tables of CACTI.
_LARGER: Final = (40, 48, 64, 96, 128)


def hardware_space(
    name: str = "default", area_limit_mm2: float = math.inf, node: str = ""
) -> DesignSpace:
    """Return a space of accelerators whose default design is within a limit of area.

    Rewards are relative to the default design, so it must be a design that can be built. While it
    is too large, one of its sizes goes down to the next smaller value. Among the steps that fit,
    the one that keeps the largest area is taken, else the one that saves most.

    Args:
      name: One of `HARDWARE_SPACES`.
      area_limit_mm2: The limit [mm2].
      node: Node of the area; empty for 45 nm.

    Raises:
      InvalidArgumentError: The area exceeds the limit with all sizes at their smallest.
    """
    area_mm2 = partial(_area_mm2, name, node)
    is_published = name == PUBLISHED
    space = published_space() if is_published else _default_space()
    design = dict(space.design_at(space.default_indices))
    area = area_mm2(design)
    while area > area_limit_mm2:
        smaller: list[tuple[float, dict[str, Any]]] = []
        for size in PUBLISHED_SIZES if is_published else _SIZES:
            parameter = space.parameter(size)
            index = parameter.index(design[size])
            shrunk = {**design, size: parameter.value(max(0, index - 1))}
            if index and space.feasible(space.indices_of(shrunk)[None, :])[0]:
                smaller.append((area_mm2(shrunk), shrunk))
        least, saving = min(smaller, key=lambda pair: pair[0], default=(area, design))
        if least >= area:
            raise InvalidArgumentError(
                f"`area_mm2` must be at least {area:.4f}, the area of the default design with all "
                f"sizes at their smallest, to which rewards are relative; got {area_limit_mm2:g}."
            )
        fitting = [pair for pair in smaller if pair[0] <= area_limit_mm2]
        area, design = max(fitting, key=lambda pair: pair[0], default=(least, saving))
    return space.with_defaults(design)


def machine_of(space: str, values: Mapping[str, Any]) -> Architecture | None:
    """Return the accelerator of a design at 45 nm; None if CACTI rejects its global buffer.

    Args:
      space: One of `HARDWARE_SPACES`.
      values: Values that violate no constraint; in the default space, missing ones have defaults.
    """
    return published_hardware(values) if space == PUBLISHED else _default_hardware(values)


def hardware_at(built: Architecture, node: str) -> Architecture:
    """Return an accelerator with its costs scaled from 45 nm, but DRAM's; as it is for no node."""
    if not node:
        return built
    memory, logic, energy = node_shares(node)
    *levels, dram = built.levels
    scaled = [
        replace(
            level,
            area_um2=memory * level.area_um2,
            read_energy_pj=energy * level.read_energy_pj,
            write_energy_pj=energy * level.write_energy_pj,
        )
        for level in levels
    ]
    mac = replace(
        built.mac, area_um2=logic * built.mac.area_um2, energy_pj=energy * built.mac.energy_pj
    )
    return replace(built, levels=(*scaled, dram), mac=mac)


def mappings_of_layer(space: str, layer: str, architecture: str = "") -> MappingSpace:
    """Return a space of mappings of one layer.

    Args:
      space: One of `MAPPING_SPACES`.
      layer: The layer, as `NETWORK/LAYER`.
      architecture: A name or a file; empty for the space's default. `maestro-2023` has its own.

    Raises:
      UnknownNameError: The layer or architecture does not exist.
    """
    problem = layer_named(layer).problem
    if space == "maestro-2023":
        return gamma_space(problem)
    machine = load_architecture(architecture or _DEFAULT_ARCHITECTURE[space])
    return (mapping_space if space == "mapping" else mapping_table_space)(problem, machine)


def _area_mm2(space: str, node: str, values: Mapping[str, Any]) -> float:
    built = machine_of(space, values)
    return math.inf if built is None else hardware_at(built, node).area_um2 / 1e6


def _default_space() -> DesignSpace:
    words = (
        ("output", (4, 8, 16, 24, 32, 48, 64), 16),
        ("weight", (16, 32, 64, 96, 128, 192, 256, 384, 512), 192),
        ("input", (4, 8, 12, 16, 24, 32, 48, 64), 12),
    )
    registers_doc = "Registers for {}s in each element."
    banks_doc = "Banks of the global buffer, each with 8 bytes per cycle."
    bandwidth_doc = "Bandwidth of the global buffer for reads, and the same for writes."
    return DesignSpace(
        "default",
        (
            Ordinal("array_x", _ARRAY, default=14, widest=_LARGER, doc="Elements along X."),
            Ordinal("array_y", _ARRAY, default=12, widest=_LARGER, doc="Elements along Y."),
            Categorical(
                "dataflow",
                tuple(DATAFLOWS),
                default="row-stationary",
                doc="Tensor that stays in place, which decides the loops spread over the array.",
            ),
            Ordinal(
                "precision_bits",
                (8, 16),
                default=16,
                unit="bit",
                doc="Bits of weights and inputs; sums have 24 and 16 bits.",
            ),
            *(
                Ordinal(
                    f"{of}_words", levels, default=own, unit="words", doc=registers_doc.format(of)
                )
                for of, levels, own in words
            ),
            PowerOfTwo(
                "buffer_kib",
                8,
                512,
                default=128,
                unit="KiB",
                doc="Capacity of the global buffer.",
            ),
            Ordinal("buffer_banks", (1, 16, 32, 64, 128), default=32, doc=banks_doc),
            PowerOfTwo("buffer_bandwidth", 8, 256, default=32, unit="B/cycle", doc=bandwidth_doc),
            Categorical(
                "buffer_weights",
                ("bypass", "store"),
                default="bypass",
                doc="Handling of weights in the global buffer.",
            ),
            PowerOfTwo(
                "dram_bandwidth",
                2,
                64,
                default=16,
                unit="B/cycle",
                doc="Bandwidth of DRAM for reads and writes together.",
            ),
        ),
        constraints=(
            Constraint(
                "banks-feed-bandwidth",
                P("buffer_bandwidth") <= 8 * P("buffer_banks"),
                "the global buffer's banks give 8 bytes a cycle each, fewer than its bandwidth",
            ),
            Constraint(
                "banks-are-large-enough",
                P("buffer_banks") <= 4 * P("buffer_kib"),
                "a bank of the global buffer needs 256 bytes or more; CACTI refuses smaller ones",
            ),
        ),
        doc="Array, register files, global buffer, bandwidths, dataflow and precision.",
    )


def _default_hardware(values: Mapping[str, Any]) -> Architecture:
    chosen = {**_defaults(), **values}
    bits = int(chosen["precision_bits"])
    mesh_x = int(chosen["array_x"])
    n_elements = mesh_x * int(chosen["array_y"])
    spads = []
    for name, tensor, width in (
        ("output", "Outputs", _SUM_BITS[bits]),
        ("weight", "Weights", bits),
        ("input", "Inputs", bits),
    ):
        words = int(chosen[f"{name}_words"])
        cost = buffer_registers(words, width)
        spads.append(
            Level(
                name=f"{name}_registers",
                capacity=words,
                instances=n_elements,
                mesh_x=mesh_x,
                word_bits=width,
                read_bandwidth=_SPAD_BANDWIDTH,
                write_bandwidth=_SPAD_BANDWIDTH,
                keeps=frozenset({tensor}),
                **cost.of_level,
            )
        )
    unit = multiply_accumulate(bits)
    return Architecture(
        "accelerator",
        (*spads, _global_buffer(chosen, bits), _dram(chosen, bits)),
        MacArray(n_elements, mesh_x, unit.read_pj, unit.area_um2),
    )


@cache
def _defaults() -> dict[str, Any]:
    space = _default_space()
    return dict(space.design_at(space.default_indices))


def _global_buffer(chosen: Mapping[str, Any], bits: int) -> Level:
    n_bytes = int(chosen["buffer_kib"]) * 1024
    array = sram(n_bytes * 8 // _LINE_BITS, _LINE_BITS, int(chosen["buffer_banks"]))
    assert array is not None, "a constraint keeps banks large enough"
    cost = array.plus(ADDRESS_GENERATORS)
    words = int(chosen["buffer_bandwidth"]) * 8 / bits
    along_x, along_y = DATAFLOWS[str(chosen["dataflow"])]
    stored = {"Inputs", "Outputs"} | ({"Weights"} if chosen["buffer_weights"] == "store" else set())
    return Level(
        name="global_buffer",
        capacity=n_bytes * 8 // bits,
        block=_LINE_BITS // bits,
        word_bits=bits,
        read_bandwidth=words,
        write_bandwidth=words,
        keeps=frozenset(stored),
        spatial_x=along_x,
        spatial_y=along_y,
        **cost.of_level,
    )


def _dram(chosen: Mapping[str, Any], bits: int) -> Level:
    energy = DRAM_PJ_PER_BIT * _LINE_BITS
    return Level(
        name="dram",
        block=_LINE_BITS // bits,
        word_bits=bits,
        read_energy_pj=energy,
        write_energy_pj=energy,
        shared_bandwidth=int(chosen["dram_bandwidth"]) * 8 / bits,
    )


# ---- The space of the published TimeloopGym: 26 parameters of an Eyeriss-like accelerator
#
# Its memory classes are those of Accelergy, with the mismatches of the published template. The
# template names `memory_depth` and `memory_width` for the register files and the global buffer, but
# `depth` and `width` for the dummy buffer. Each class reads only one of the two spellings; if it
# does not find its own, it has its defaults, whatever the design says. Capacities use both.

_CLASSES: Final = ("regfile", "smartbuffer_SRAM", "smartbuffer_RF", "SRAM")
_WORD_BITS: Final = 16
_N_DUMMIES: Final = 14
# Accelergy's dummy table: a component that no other table has costs 1 pJ and 1 um2.
_DUMMY: Final = Cost(1.0, 1.0, 1.0)
# CACTI takes 64 bytes and more; Aladdin's register files are up to 32 bits wide, 16 for areas.
_CACTI_BYTES: Final = 64
_ALADDIN_ENERGY_BITS, _ALADDIN_AREA_BITS = 32, 16

PUBLISHED_SIZES: Final = ("psum_depth", "weights_depth", "ifmap_depth", "glb_depth", "glb_banks")
"""Parameters that shrink if the default design exceeds a limit of area.

On fewer elements AlexNet has no mapping under the published constraints.
"""

# The published mapper's constraints: orders, innermost first.
FIXED_ORDERS: Final[Mapping[str, tuple[str, ...]]] = {
    "psum_spad": ("N", "C", "P", "Q", "R", "S", "M"),
    "weights_spad": ("N", "M", "P", "Q", "S", "C", "R"),
    "shared_glb": ("Q", "R", "S", "C", "P", "N", "M"),
    "DRAM": ("R", "S", "P", "C", "M", "N", "Q"),
}
# Dimensions that the published constraints spread along X and along Y.
_SPREAD: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "glb": (("Q", "M"), ()),
    "dummy": ((), ("S", "C", "M")),
}


def published_space() -> DesignSpace:
    """Return the 26 parameters; the default design is the one ArchGym starts from."""
    parameters: list[Parameter] = [
        Integer("num_pes", 14, 336, step=14, default=168, doc="Processing elements."),
        Ordinal("mac_mesh_x", (2, 7, 14), default=14, doc="Elements along X."),
    ]

    def power(name: str, bounds: tuple[int, int], default: int, unit: str, doc: str) -> None:
        parameters.append(PowerOfTwo(name, *bounds, default=default, unit=unit, doc=doc))

    for name, what, depth in (
        ("ifmap", "inputs", 16),
        ("psum", "sums", 16),
        ("weights", "weights", 256),
        ("dummy", "nothing", 16),
        ("glb", "inputs and sums", 16384),
    ):
        is_global = name == "glb"
        parameters.append(
            Categorical(
                f"{name}_class",
                _CLASSES,
                default="smartbuffer_SRAM" if is_global else "smartbuffer_RF",
                doc=f"Class of the memory for {what}.",
            )
        )
        depths = (1024 if is_global else 2, 65536)
        power(f"{name}_depth", depths, depth, "lines", f"Lines of the memory for {what}.")
        if is_global:
            power("glb_banks", (16, 128), 32, "", "Banks of the global buffer.")
        power(f"{name}_block", (1, 4), 4 if is_global else 1, "words", "Words per line.")
        for way, done in (("read", "read"), ("write", "written")) if name != "dummy" else ():
            bandwidth, default = f"{name}_{way}_bandwidth", 16 if is_global else 2
            power(bandwidth, (2, 16), default, "words/cycle", f"Words {done} per cycle.")
    return DesignSpace(
        "timeloop-2023", parameters, doc="The 26 parameters of the published TimeloopGym."
    )


def published_hardware(values: Mapping[str, Any]) -> Architecture | None:
    """Return the accelerator of a design; None if CACTI rejects its global buffer."""
    glb = _cost(values, "glb", int(values["glb_banks"]))
    if glb is None:
        return None
    n, mesh_x = int(values["num_pes"]), int(values["mac_mesh_x"])
    levels = []
    for name, level, instances, keeps, temporal in (
        ("psum", "psum_spad", n, ("Outputs",), ("M",)),
        ("weights", "weights_spad", n, ("Weights",), ("R", "C")),
        ("ifmap", "ifmap_spad", n, ("Inputs",), ()),
        ("dummy", "DummyBuffer", _N_DUMMIES, (), ()),
        ("glb", "shared_glb", 1, ("Inputs", "Outputs"), ("P", "N", "M", "C")),
    ):
        cost = glb if name == "glb" else _cost(values, name, 1) or _DUMMY
        block = int(values[f"{name}_block"])
        along_x, along_y = _SPREAD.get(name, ((), ()))
        levels.append(
            Level(
                name=level,
                capacity=int(values[f"{name}_depth"]) * block,
                instances=instances,
                mesh_x=1 if name == "glb" else mesh_x,
                block=block,
                read_bandwidth=values.get(f"{name}_read_bandwidth"),
                write_bandwidth=values.get(f"{name}_write_bandwidth"),
                keeps=frozenset(keeps),
                spatial_x=along_x,
                spatial_y=along_y,
                temporal=temporal,
                **cost.of_level,
            )
        )
    dram = DRAM_PJ_PER_BIT * 64
    levels.append(Level("DRAM", None, 1, 1, 4, 16, dram, dram, temporal=("C", "M", "N", "Q")))
    unit = multiply_accumulate(_WORD_BITS)
    return Architecture(
        "timeloop-2023", tuple(levels), MacArray(n, mesh_x, unit.read_pj, unit.area_um2)
    )


def _cost(values: Mapping[str, Any], name: str, banks: int) -> Cost | None:
    """Return energy and area of a memory, None if CACTI rejects it; see the module's docstring."""
    kind = values[f"{name}_class"]
    depth, bits = int(values[f"{name}_depth"]), _WORD_BITS * int(values[f"{name}_block"])
    is_smart = kind.startswith("smartbuffer")
    if is_smart == (name == "dummy"):
        # The class does not find its own spelling.
        depth, bits = {"regfile": (1, 16), "SRAM": (512, 64)}.get(kind, (12, 16))
    ports = 2 if is_smart else 1
    if kind in ("regfile", "smartbuffer_RF"):
        found: Cost | None = registers(depth, bits)
    elif depth * bits // 8 < _CACTI_BYTES:
        small = registers(depth, bits)
        energy = small.read_pj if bits <= _ALADDIN_ENERGY_BITS else _DUMMY.read_pj
        area = small.area_um2 if bits <= _ALADDIN_AREA_BITS else _DUMMY.area_um2
        found = Cost(energy, energy, area)
    else:
        found = sram(depth, bits, banks, ports)
    if found is None:
        return None
    return found.plus(ADDRESS_GENERATORS) if is_smart else found
