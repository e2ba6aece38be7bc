"""Space of the published TimeloopGym: 26 parameters of an Eyeriss-like accelerator.

Its memory classes are those of Accelergy, with the mismatches of the published template. The
template names `memory_depth` and `memory_width` for the register files and the global buffer, but
`depth` and `width` for the dummy buffer. Each class reads only one of the two spellings; if it does
not find its own, it has its defaults, whatever the design says. Capacities use both spellings.
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
        Integer(name="num_pes", low=14, high=336, step=14, default=168, doc="Processing elements."),
        Ordinal(name="mac_mesh_x", levels=(2, 7, 14), default=14, doc="Elements along X."),
    ]

    def power(name: str, bounds: tuple[int, int], default: int, unit: str, doc: str) -> None:
        low, high = bounds
        parameters.append(
            PowerOfTwo(name=name, low=low, high=high, default=default, unit=unit, doc=doc)
        )

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
                name=f"{name}_class",
                choices=_CLASSES,
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
                read_energy_pj=cost.read_pj,
                write_energy_pj=cost.write_pj,
                read_bandwidth=values.get(f"{name}_read_bandwidth"),
                write_bandwidth=values.get(f"{name}_write_bandwidth"),
                area_um2=cost.area_um2,
                is_estimated=cost.is_estimated,
                keeps=frozenset(keeps),
                spatial_x=along_x,
                spatial_y=along_y,
                temporal=temporal,
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
