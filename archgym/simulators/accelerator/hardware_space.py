"""The default space: an array of processing elements, their buffers, and a dataflow.

Each element has a unit and three register files, for outputs, weights and inputs; all share a
global buffer in front of DRAM. The default design is the Eyeriss-like one of Timeloop's examples.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from archgym.simulators.accelerator.architecture import Architecture, Level, MacArray
from archgym.simulators.accelerator.energy import (
    ADDRESS_GENERATORS,
    DRAM_PJ_PER_BIT,
    buffer_registers,
    multiply_accumulate,
    sram,
)
from archgym.spaces.design import Constraint
from archgym.spaces.expression import P
from archgym.spaces.parameter import Categorical, Ordinal, PowerOfTwo
from archgym.spaces.space import DesignSpace

__all__ = ["DATAFLOWS", "GROUPS", "SIZES", "hardware", "hardware_space"]

# Dimensions that each dataflow spreads over the array, along X and along Y; batch and groups may
# go anywhere. After Chen, Emer, Sze, ISCA 2016, section 4 (row, weight and output stationary), and
# SCALE-Sim (input stationary).
DATAFLOWS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]] | None]] = {
    "row-stationary": (("Q", "M", "P", "G", "N"), ("S", "C", "M", "G")),
    "weight-stationary": (("M", "G"), ("C", "R", "S", "G", "N")),
    "output-stationary": (("P", "N", "G"), ("Q", "M", "G")),
    "input-stationary": (("C", "G"), ("P", "Q", "N", "G")),
    "flexible": None,
}
# CACTI's rows have lines of 64 bits; a bank gives one a cycle.
_LINE_BITS: Final = 64
# chosen: sums of 8-bit products need more than 16 bits, as in Simba (Shao et al., MICRO 2019).
_SUM_BITS: Final = {8: 24, 16: 16}
# Timeloop's Eyeriss-like example: each register file reads and writes two words a cycle.
_SPAD_BANDWIDTH: Final = 2.0

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "array": ("array_x", "array_y", "dataflow", "precision_bits"),
    "registers": ("output_words", "weight_words", "input_words"),
    "memory": (
        *("buffer_kib", "buffer_banks", "buffer_bandwidth", "buffer_weights"),
        "dram_bandwidth",
    ),
}

SIZES: Final = (
    *("array_x", "array_y", "output_words", "weight_words", "input_words"),
    *("buffer_kib", "buffer_banks"),
)
"""Parameters that shrink where the default design is too large."""

# chosen: around Eyeriss's 14 by 12, with the powers of two of systolic arrays.
_ARRAY: Final = (4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32)


def hardware_space() -> DesignSpace:
    """Return the default space, some 8e8 designs."""
    return DesignSpace(
        "default",
        (
            Ordinal(name="array_x", levels=_ARRAY, default=14, doc="Elements side by side."),
            Ordinal(name="array_y", levels=_ARRAY, default=12, doc="Rows of elements."),
            Categorical(
                name="dataflow",
                choices=tuple(DATAFLOWS),
                default="row-stationary",
                doc="Which loops may be spread over the array: what stays where it is.",
            ),
            Ordinal(
                name="precision_bits",
                levels=(8, 16),
                default=16,
                unit="bit",
                doc="Bits of weights and inputs; sums have 24 and 16.",
            ),
            Ordinal(
                name="output_words",
                levels=(4, 8, 16, 24, 32, 48, 64),
                default=16,
                unit="words",
                doc="Registers for outputs in each element.",
            ),
            Ordinal(
                name="weight_words",
                levels=(16, 32, 64, 96, 128, 192, 256, 384, 512),
                default=192,
                unit="words",
                doc="Registers for weights in each element.",
            ),
            Ordinal(
                name="input_words",
                levels=(4, 8, 12, 16, 24, 32, 48, 64),
                default=12,
                unit="words",
                doc="Registers for inputs in each element.",
            ),
            PowerOfTwo(
                name="buffer_kib",
                low=8,
                high=512,
                default=128,
                unit="KiB",
                doc="The global buffer's capacity.",
            ),
            Ordinal(
                name="buffer_banks",
                levels=(1, 16, 32, 64, 128),
                default=32,
                doc="Its banks, each of which gives 8 bytes a cycle.",
            ),
            PowerOfTwo(
                name="buffer_bandwidth",
                low=8,
                high=256,
                default=32,
                unit="B/cycle",
                doc="Bytes a cycle that it reads, and as many that it writes.",
            ),
            Categorical(
                name="buffer_weights",
                choices=("bypass", "store"),
                default="bypass",
                doc="Whether weights pass through it.",
            ),
            PowerOfTwo(
                name="dram_bandwidth",
                low=2,
                high=64,
                default=16,
                unit="B/cycle",
                doc="Bytes a cycle to and from DRAM.",
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


def hardware(values: Mapping[str, Any]) -> Architecture:
    """Return the accelerator of a design that breaks no constraint.

    Args:
      values: By parameter; absent ones have their default.
    """
    chosen = {**_defaults(), **values}
    bits = int(chosen["precision_bits"])
    n_elements = int(chosen["array_x"]) * int(chosen["array_y"])
    mesh_x = int(chosen["array_x"])
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
                f"{name}_registers",
                words,
                n_elements,
                mesh_x,
                1,
                width,
                cost.read_pj,
                cost.write_pj,
                _SPAD_BANDWIDTH,
                _SPAD_BANDWIDTH,
                None,
                cost.area_um2,
                frozenset({tensor}),
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
    space = hardware_space()
    return dict(space.design_at(space.default_indices))


def _global_buffer(chosen: Mapping[str, Any], bits: int) -> Level:
    n_bytes = int(chosen["buffer_kib"]) * 1024
    array = sram(n_bytes * 8 // _LINE_BITS, _LINE_BITS, int(chosen["buffer_banks"]))
    assert array is not None, "a constraint keeps banks large enough"
    cost = array + ADDRESS_GENERATORS
    words = int(chosen["buffer_bandwidth"]) * 8 / bits
    spread = DATAFLOWS[str(chosen["dataflow"])]
    stored = {"Inputs", "Outputs"} | ({"Weights"} if chosen["buffer_weights"] == "store" else set())
    return Level(
        name="global_buffer",
        capacity=n_bytes * 8 // bits,
        block=_LINE_BITS // bits,
        word_bits=bits,
        read_energy_pj=cost.read_pj,
        write_energy_pj=cost.write_pj,
        read_bandwidth=words,
        write_bandwidth=words,
        area_um2=cost.area_um2,
        keeps=frozenset(stored),
        spatial_x=None if spread is None else spread[0],
        spatial_y=None if spread is None else spread[1],
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
