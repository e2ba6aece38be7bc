"""Power and area of routers and channels, by the model that BookSim 2 has.

Source: BookSim 2, `power/power_module.cpp` and `src/power/techfile.txt` (32 nm, 0.9 V), of Balfour
and Dally, *Design Tradeoffs for Tiled CMP On-Chip Networks*, ICS 2006. Wires dominate. Allocators
and route computation cost nothing in it.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np

from archgym.simulators.noc.state import Ints

# The technology of `techfile.txt`: ohm, F/um, A/um, um, mm, V; and wires: ohm/mm, F/mm.
_R, _CG, _CD, _CGDL = 606.321, 5.34e-16, 2.67e-16, 1.068e-16
_OFF_N, _OFF_P, _OFF_SRAM = 1.02e-6, 1.02e-6, 3.2e-7
_LAMBDA, _PITCH, _VDD = 0.016, 8e-5, 0.9
_R_WIRE, _C_WIRE = 0.720044, 4 * 2.67339e-13
WIRE_MM: Final = 2.0
"""Length of wire for each cycle of a channel's latency [mm], `wire_length`."""
_CID, _COD, _CI, _CO = 3 * (_CG + _CGDL), 3 * _CD, 3 * _CG, 3 * _CD
CLOCK_HZ: Final = 1.0 / (20.0 * _R * (3.0 * _CD + 12.0 * _CG + 12.0 * _CGDL))
"""Clock of the model [Hz]; all its powers are at it."""
_E = _VDD**2 * CLOCK_HZ
_OFF = _OFF_N + 2.0 * _OFF_P
_GATE = 1.0 + 5.0 / 16.0 * (1.0 + _CO / _CI)
_DRIVE = 1.0 + 5.0 / 16.0 * (1.0 + _COD / _CID)


def _registers(registers: Any, bits: float, activity: float) -> Any:
    """Return the power of registers in a wire [W]."""
    a = activity / 2.0 * (1.6 * (_CI + _CO) + 16.0 / 15.0 * _CO)
    return (a + activity * (1.6 * (_CI + _CO) + 16.0 / 15.0 * _CG)) * registers * bits * _E


def _repeated(length: float, size: float, registers: Any, repeaters: Any) -> Any:
    """Return the power of a wire that switches in every cycle [W]."""
    segment = size * (_CI + _CO) + _C_WIRE * length / (registers * repeaters)
    return 0.5 * segment * _E * registers * repeaters


@lru_cache(maxsize=256)
def _wire(length: float) -> tuple[float, int, int]:
    """Return size of repeaters, registers and repeaters between them of the best wire."""
    size, best, found = 1.0, np.inf, (1.0, 1, 1)
    n, m = (axis.ravel() for axis in np.mgrid[1.0:40.0, 1.0:40.0])
    part = length / (n * m)
    while size < 10.0:
        delay = _R * (_COD + _CID) + (_R * _C_WIRE / size + size * _R_WIRE * _CID) * part
        delay += 0.5 * _R_WIRE * _C_WIRE * part**2
        power = 64 * 0.2 * _repeated(length, size, m, n) + _registers(m, 64, 0.2)
        cost = np.where(n * delay < 0.8 / CLOCK_HZ, m**4 * power, np.inf)
        at = int(cost.argmin())
        if cost[at] < best:
            best, found = cost[at], (size, int(m[at]), int(n[at]))
        size += 0.1
    return found


def power(
    ports: Ints, pairs: Ints, channels: Ints, latencies: Ints, bits: int, words: int, cycles: int
) -> Mapping[str, float]:
    """Return powers [W] at `CLOCK_HZ` and areas [mm2] of a network, by part.

    Args:
      ports: (n_routers,) inputs, and outputs, of each router.
      pairs: (n_routers, widest, widest) flits from each input to each output.
      channels: (n_channels,) flits over each channel, those of nodes included.
      latencies: (n_channels,) cycles.
      bits: Width of a channel [bit].
      words: Flits that an input port holds.
      cycles: Cycles that were counted.
    """
    w, d, c = float(bits), float(words), 2.0 * _PITCH
    parts = dict.fromkeys(PARTS, 0.0)
    for latency in np.unique(latencies):
        size, m, n = _wire(WIRE_MM * float(latency))
        at = latencies == latency
        count, a = float(at.sum()), channels[at].sum() / cycles
        parts["channel_wire"] += a * w * _repeated(WIRE_MM * float(latency), size, m, n)
        parts["channel_retiming"] += _registers(m, w, a)
        parts["channel_clock"] += count * m * _clock(w, c)
        parts["channel_leakage"] += count * 0.5 * _OFF * size * _VDD * m * n * w
        area = w * (128.0 * m + 8.0 * m * n * (3.0 + 3.0 * size)) * _PITCH**2
        parts["channel_area"] += count * area
    word = (
        1.25 * (1.0 + _CO / _CI) * (2.0 * 6.0 * w * _PITCH * _C_WIRE + 5.0 * w * _CI)
        + 2.0 * _GATE * _C_WIRE * (8.0 * _PITCH + d) * _CI
        + _GATE * w * (8.0 * _LAMBDA * _CG + 6.0 * _PITCH * _C_WIRE)
    ) * _E
    bit = d * (4.0 * _LAMBDA * _CD + 8.0 * _PITCH * _C_WIRE) * _E
    for p in np.unique(ports):
        at = ports == p
        moved = pairs[at].sum(axis=0)[:p, :p] / cycles
        a, count = float(moved.sum()), float(at.sum())
        parts["input_read"] += a * (word + bit * w)
        parts["input_write"] += a * (word + (_VDD**2 * (_CI + _CO) + bit) * w)
        parts["input_leakage"] += count * p * d * _OFF_SRAM * _VDD * w
        parts["input_area"] += count * p * w * 8.0 * d * 6.0 * _PITCH**2
        across = w * float(p) * c
        cw = across * _C_WIRE
        cross, out = cw / 16.0, 4.0 * cw / 16.0 * _COD / _CID
        near = np.arange(p) < p / 2
        first = 5.0 / 16.0 * (1.0 + _COD / _CID) * (0.5 * cw + cross) + cw + cross + p * cross
        into = first - np.where(near, 0.5 * cw + p / 2 * cross, 0.0)
        onto = cw + out * (1 + p) - np.where(near, 0.5 * cw + p / 2 * out, 0.0)
        parts["switch"] += float((moved * (into[None, :] + onto[:, None])).sum()) * w * 0.5 * _E
        parts["switch_control"] += a * _DRIVE * (w * 5.0 / 16.0 * cw + 2.0 * cw) * _E
        parts["switch_leakage"] += count * 0.5 * _OFF * w * (p**2 + 2 * p) * cross / _CI
        parts["switch_area"] += count * across**2
        parts["output_dff"] += _registers(1, w, 1.0) * a
        parts["output_clock"] += count * p * _clock(w, c)
        parts["output_control"] += (
            a * 21.0 / 16.0 * (1.0 + _CO / _CI) * w * (c * _C_WIRE + _CI) * _E
        )
        parts["output_area"] += count * 128.0 * w * p * _PITCH**2
    powers = sum(value for name, value in parts.items() if not name.endswith("area"))
    areas = sum(value for name, value in parts.items() if name.endswith("area"))
    return parts | {"total_power": powers, "total_area": areas}


def _clock(bits: float, pitch: float) -> float:
    """Return the power of the clock of a register as wide as a channel [W]."""
    wires = bits * pitch * _C_WIRE * 8.0 * _PITCH / pitch
    return _DRIVE * (wires + bits * _CID) * _E


PARTS: Final = (
    "channel_wire", "channel_clock", "channel_retiming", "channel_leakage", "input_read",
    "input_write", "input_leakage", "switch", "switch_control", "switch_leakage", "output_dff",
    "output_clock", "output_control", "channel_area", "switch_area", "input_area", "output_area",
)  # fmt: skip
LEAKAGE: Final = ("channel_leakage", "input_leakage", "switch_leakage")
CLOCKS: Final = ("channel_clock", "output_clock")
