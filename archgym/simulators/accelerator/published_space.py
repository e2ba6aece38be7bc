"""The space of the published TimeloopGym: 26 parameters of an Eyeriss-like accelerator.

Its classes of memory are those of Accelergy, with the published template's mismatches: the template
names `memory_depth` and `memory_width` for the register files and the global buffer, but `depth`
and `width` for the dummy buffer, and each class reads only one of the two spellings. A class that
does not find its own has its defaults, whatever the design says; capacities heed both.
"""

from collections.abc import Mapping
from typing import Any, Final

from archgym.simulators.accelerator.architecture import Architecture, Level, MacArray
from archgym.simulators.accelerator.energy import (
    ADDRESS_GENERATORS,
    DRAM_PJ_PER_BIT,
    Cost,
    multiply_accumulate,
    registers,
    sram,
)
from archgym.spaces.parameter import Categorical, Integer, Ordinal, Parameter, PowerOfTwo
from archgym.spaces.space import DesignSpace

__all__ = ["FIXED_ORDERS", "PUBLISHED_SIZES", "published_hardware", "published_space"]

_CLASSES: Final = ("regfile", "smartbuffer_SRAM", "smartbuffer_RF", "SRAM")
_WORD_BITS: Final = 16
_N_DUMMIES: Final = 14
# Accelergy's dummy table: what no other table has costs 1 pJ and 1 um2.
_DUMMY: Final = Cost(1.0, 1.0, 1.0)
# CACTI takes 64 bytes and more; Aladdin's register files are up to 32 bits wide, 16 for areas.
_CACTI_BYTES: Final = 64
_ALADDIN_ENERGY_BITS, _ALADDIN_AREA_BITS = 32, 16

PUBLISHED_SIZES: Final = ("psum_depth", "weights_depth", "ifmap_depth", "glb_depth", "glb_banks")
"""Parameters that shrink where the default design is too large.

The published constraints leave AlexNet without a mapping on fewer elements.
"""

# The published mapper's constraints: orders, innermost first.
FIXED_ORDERS: Final[Mapping[str, tuple[str, ...]]] = {
    "psum_spad": ("N", "C", "P", "Q", "R", "S", "M"),
    "weights_spad": ("N", "M", "P", "Q", "S", "C", "R"),
    "shared_glb": ("Q", "R", "S", "C", "P", "N", "M"),
    "DRAM": ("R", "S", "P", "C", "M", "N", "Q"),
}


def published_space() -> DesignSpace:
    """Return the 26 parameters; the default design is the one ArchGym starts from."""
    parameters: list[Parameter] = [
        Integer(name="num_pes", low=14, high=336, step=14, default=168, doc="Processing elements."),
        Ordinal(name="mac_mesh_x", levels=(2, 7, 14), default=14, doc="Elements side by side."),
    ]
    for name, what, depth in (
        ("ifmap", "inputs", 16),
        ("psum", "sums", 16),
        ("weights", "weights", 256),
        ("dummy", "nothing", 16),
        ("glb", "inputs and sums", 16384),
    ):
        parameters.append(
            Categorical(
                name=f"{name}_class",
                choices=_CLASSES,
                default="smartbuffer_SRAM" if name == "glb" else "smartbuffer_RF",
                doc=f"Kind of the memory for {what}.",
            )
        )
        parameters.append(
            PowerOfTwo(
                name=f"{name}_depth",
                low=1024 if name == "glb" else 2,
                high=65536,
                default=depth,
                unit="lines",
                doc=f"Lines of the memory for {what}.",
            )
        )
        if name == "glb":
            parameters.append(
                PowerOfTwo(name="glb_banks", low=16, high=128, default=32, doc="Its banks.")
            )
        parameters.append(
            PowerOfTwo(
                name=f"{name}_block",
                low=1,
                high=4,
                default=4 if name == "glb" else 1,
                unit="words",
                doc="Words of a line.",
            )
        )
        if name != "dummy":
            parameters += [
                PowerOfTwo(
                    name=f"{name}_{way}_bandwidth",
                    low=2,
                    high=16,
                    default=16 if name == "glb" else 2,
                    unit="words/cycle",
                    doc=f"Words {done} a cycle.",
                )
                for way, done in (("read", "read"), ("write", "written"))
            ]
    return DesignSpace(
        "timeloop-2023", parameters, doc="The 26 parameters of the published TimeloopGym."
    )


def published_hardware(values: Mapping[str, Any]) -> Architecture | None:
    """Return the accelerator of a design; None where CACTI refuses its global buffer."""
    glb = _cost(values, "glb", int(values["glb_banks"]))
    if glb is None:
        return None
    n, mesh_x = int(values["num_pes"]), int(values["mac_mesh_x"])
    levels = []
    for name, level, tensor, temporal in (
        ("psum", "psum_spad", "Outputs", ("M",)),
        ("weights", "weights_spad", "Weights", ("R", "C")),
        ("ifmap", "ifmap_spad", "Inputs", ()),
    ):
        cost = _cost(values, name, 1) or _DUMMY
        levels.append(_level(values, name, level, cost, n, mesh_x, frozenset({tensor}), temporal))
    dummy = _cost(values, "dummy", 1) or _DUMMY
    levels += [
        _level(values, "dummy", "DummyBuffer", dummy, _N_DUMMIES, mesh_x, frozenset(), ()),
        _level(
            values, "glb", "shared_glb", glb, 1, 1, frozenset({"Inputs", "Outputs"}),
            ("P", "N", "M", "C"),
        ),
        Level(
            name="DRAM",
            block=4,
            read_energy_pj=DRAM_PJ_PER_BIT * 64,
            write_energy_pj=DRAM_PJ_PER_BIT * 64,
            temporal=("C", "M", "N", "Q"),
        ),
    ]  # fmt: skip
    unit = multiply_accumulate(_WORD_BITS)
    return Architecture(
        "timeloop-2023", tuple(levels), MacArray(n, mesh_x, unit.read_pj, unit.area_um2)
    )


def _level(
    values: Mapping[str, Any],
    name: str,
    level: str,
    cost: Cost,
    instances: int,
    mesh_x: int,
    keeps: frozenset[str],
    temporal: tuple[str, ...],
) -> Level:
    block = int(values[f"{name}_block"])
    # The published constraints: the global buffer spreads Q and M along X and nothing along Y, the
    # dummy buffers S, C and M along Y.
    spread: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
        "glb": (("Q", "M"), ()),
        "dummy": ((), ("S", "C", "M")),
    }
    return Level(
        name=level,
        capacity=int(values[f"{name}_depth"]) * block,
        instances=instances,
        mesh_x=mesh_x,
        block=block,
        read_energy_pj=cost.read_pj,
        write_energy_pj=cost.write_pj,
        read_bandwidth=values.get(f"{name}_read_bandwidth"),
        write_bandwidth=values.get(f"{name}_write_bandwidth"),
        area_um2=cost.area_um2,
        keeps=keeps,
        spatial_x=spread.get(name, ((), ()))[0],
        spatial_y=spread.get(name, ((), ()))[1],
        temporal=temporal,
    )


def _cost(values: Mapping[str, Any], name: str, banks: int) -> Cost | None:
    """Energy and area of a memory, None where CACTI refuses; see the module's first lines."""
    kind = values[f"{name}_class"]
    depth, bits = int(values[f"{name}_depth"]), _WORD_BITS * int(values[f"{name}_block"])
    is_smart = kind.startswith("smartbuffer")
    if is_smart == (name == "dummy"):
        # The class does not find its attributes.
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
    return found + ADDRESS_GENERATORS if is_smart else found
