"""Area, leakage and energy of a core's structures at 22 nm, by McPAT's equations.

A structure is an array of memory cells or a block of logic. Arrays come from `data/arrays.csv`,
which CACTI 6.5 computed inside McPAT 1.3 for the sizes that designs have; sizes between are
interpolated in logarithms of sizes and values. Logic follows the equations of McPAT's report.
Counters of the simulator say how often each structure is used.

Sources: S. Li et al., *McPAT: an integrated power, area, and timing modeling framework for
multicore and manycore architectures*, MICRO 2009, and its technical report; P. Shivakumar and N.
Jouppi, *CACTI 3.0*, and CACTI 6.5; technology, ITRS 2007 high performance, 0.8 V, 380 K,
long-channel devices where timing allows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

from archgym.physics.arrays import Cells, cells, node_ratios, tlb_array
from archgym.physics.economics import NODES
from archgym.simulators.cpu.kernel.run import TYPES
from archgym.simulators.cpu.kernel.tage_layout import ENTRIES, TAG_BITS
from archgym.simulators.cpu.machine import Machine

NOMINAL_GHZ: Final = 4.0
NOMINAL_VOLTS: Final = 0.8

# Layout of macros, and clock and driver overhead of switched capacitance, as McPAT has them.
_MACRO, _SWITCHED = 1.1, 1.1296
# From 90 nm to 22 nm: two steps of 0.49 for logic; FPUs shrink with the square of the length.
_LOGIC_SCALE: Final = 0.49**2
_LENGTH_SCALE: Final = 22.0 / 90.0
_WIRE_OVERHEAD: Final = 1.1

# Areas at 90 nm [mm2], and energies at 1.2 V and 90 nm, of Intel's and Sun's blocks.
_ALU_MM2: Final = 280.0 * 260.0 * 2.0 * 1e-6
_FPU_MM2: Final = 8.47
_N_FPUS, _N_MULTIPLIERS = 2, 1
_OPERATION_PJ: Final = 1.15e3 / 4.0 / 1.3**2
_CLOCKED_MW: Final = 89.0
# Depth of the pipeline from fetch to retirement, as the report takes it for a core of 4 GHz.
_STAGES: Final = 31
_BITS_WORD, _BITS_PC, _BITS_INSTRUCTION, _BITS_CONTROL = 64, 64, 32, 256
# The following, to the leakage of logic: as McPAT 1.3 prints them for the default design at 22 nm,
# where it computes them from transistors.
# Flip-flops, with the clock's load: energy of a cycle [fJ], area [um2], leakage [uW].
_FLOP_FJ, _FLOP_UM2, _FLOP_UW = 5.048, 3.5138, 3.107
# Parts of a core's pipeline that are clocked in each cycle: rename and execution wholly, fetch and
# loads a quarter, translation five eighths, each a fifth of the flip-flops.
_CLOCKED_SHARE: Final = (1.0 + 1.0 + 0.25 + 0.25 + 0.625) / 5.0
# One decoder of x86 instructions: area [mm2], leakage [mW], energy of an instruction [pJ].
_DECODER_MM2, _DECODER_MW, _DECODER_PJ = 0.106826, 30.884, 14.22
# A comparator between instructions that are renamed together [pJ].
_COMPARATOR_PJ: Final = 0.0802
# Choosing among ready instructions [pJ].
_SELECTION_PJ: Final = 4.12
# Repeated global wires of the bypass network: energy of a bit and mm [pJ], area [mm2] and leakage
# [mW] of a mm; heights of units [mm].
_WIRE_PJ, _WIRE_MM2, _WIRE_MW = 0.365, 6.83e-3, 27.9
_ALU_MM, _MULTIPLIER_MM = 0.137, 0.205
# Leakage of logic [mW/mm2], without layout: wide transistors in ALUs, narrow ones elsewhere.
_ALU_LEAKAGE, _FPU_LEAKAGE, _OTHER_LEAKAGE = 801.7, 200.5, 401.0


# Exponent and threshold of the alpha-power law for short channels; and ln(10) times 0.15 V/V of
# barrier lowering over 0.1 V a decade, for leakage (K. Roy et al., Proceedings of the IEEE 2003).
_ALPHA, _THRESHOLD, _BARRIER = 1.3, 0.2, 3.45
_LOGIC: Final = ("decoders", "alus", "multiplier", "fp-units", "bypass", "pipeline", "control")


@final
@dataclass(frozen=True)
class Structure:
    """A part of the processor.

    Attributes:
      name: Its name, such as `l1d`.
      area_mm2: Its area [mm2].
      leakage_mw: Power while nothing happens [mW].
      energy_pj: Energy of the counted run beyond leakage [pJ].
    """

    name: str
    area_mm2: float
    leakage_mw: float
    energy_pj: float

    def times(self, n: int) -> "Structure":
        """Return a number of such structures, which share the counted energy."""
        return replace(self, area_mm2=n * self.area_mm2, leakage_mw=n * self.leakage_mw)


def structures(
    machine: Machine, counts: Mapping[str, float], n_cores: int = 1
) -> tuple[Structure, ...]:
    """Return the parts of a processor with their energy in a run at 0.8 V and 4 GHz.

    DRAM and its channels are not among them. A core has floating-point units and a multiplier,
    which no program of the simulator uses: they take area, leak and are clocked.

    Args:
      machine: Every parameter.
      counts: Counters of `run`, of all cores together.
      n_cores: Cores, each with all of it but the last level.
    """
    core = (
        *_front_end(machine, counts),
        *_rename(machine, counts),
        *_memory_access(machine, counts),
        *_execution(machine, counts, n_cores),
        _cache("l2", "L2C", machine, counts),
    )
    return (*(each.times(n_cores) for each in core), _cache("llc", "LLC", machine, counts))


def _of(name: str, parts: Sequence[tuple[Cells, float]], factor: float = 1.0) -> Structure:
    """Return a structure of arrays, each with the energy that its accesses took [pJ]."""
    area = factor * sum(array.area_mm2 for array, _ in parts)
    leakage = sum(array.leakage_mw for array, _ in parts)
    return Structure(name, area, leakage, sum(energy for _, energy in parts))


def hits_of(counts: Mapping[str, float], cache: str) -> float:
    """Return the hits of a cache, of all kinds."""
    return sum(counts[f"{cache}_{kind}_hit"] for kind in TYPES)


def misses_of(counts: Mapping[str, float], cache: str) -> float:
    """Return the misses of a cache, of all kinds."""
    return sum(counts[f"{cache}_{kind}_miss"] for kind in TYPES)


def _front_end(machine: Machine, counts: Mapping[str, float]) -> tuple[Structure, ...]:
    n, missed = counts["instructions"], misses_of(counts, "L1I")
    branches = sum(v for name, v in counts.items() if name.startswith("br_"))
    wrong = sum(v for name, v in counts.items() if name.startswith("mp_"))
    whole = cells("l1i", machine["L1I.sets"], machine["L1I.ways"])
    looked_up = whole.read_pj * (hits_of(counts, "L1I") + missed) + whole.write_pj * missed
    mshr = machine["L1I.mshr"]
    queues = (cells("l1i-miss", mshr), cells("l1i-fill", mshr), cells("l1i-prefetch"))
    buffer = cells("fetch-buffer", machine["CPU.ifetch_buffer"], machine["CPU.execute_width"])
    targets, stack = cells("targets"), cells("return-stack")
    predictor = tlb_array(max(1, round(PREDICTOR_BYTES[machine["CPU.branch_predictor"]] / 14.0)))
    returns = counts["br_return"] + counts["br_direct_call"] + counts["br_indirect_call"]
    decoders = machine["CPU.decode_width"]
    return (
        _of("l1i", [
            (whole, looked_up), *((q, missed * (q.search_pj + q.write_pj)) for q in queues),
        ]),
        _of("fetch-buffer", [(buffer, n * (buffer.read_pj + buffer.write_pj))]),
        _of("branch-targets", [
            (targets, n * targets.read_pj + wrong * targets.write_pj),
            (stack, returns * stack.read_pj),
        ]),
        Structure(
            "branch-predictor", predictor.area_mm2, predictor.leakage_mw,
            (branches + wrong) * predictor.read_pj,
        ),
        Structure(
            "decoders", decoders * _DECODER_MM2, decoders * _DECODER_MW, n * _DECODER_PJ
        ),
    )  # fmt: skip


def _rename(machine: Machine, counts: Mapping[str, float]) -> tuple[Structure, ...]:
    sources, destinations = counts["CPU_sources"], counts["CPU_destinations"]
    decode, retire = machine["CPU.decode_width"], machine["CPU.retire_width"]
    front, back = cells("rename-front", decode), cells("rename-retire", retire)
    free = cells("free-list", decode, retire)
    idle = [cells(name) for name in ("fp-rename-front", "fp-rename-retire", "fp-free-list")]
    compare = 3.0 * (decode * decode - decode) * _COMPARATOR_PJ
    return (
        _of("rename", [
            (front, sources * (front.read_pj + compare) + destinations * front.write_pj),
            (back, destinations * (back.read_pj + back.write_pj)),
            (free, sources * free.read_pj + 2 * destinations * free.write_pj),
            *((array, 0.0) for array in idle),
        ]),
    )  # fmt: skip


def _memory_access(machine: Machine, counts: Mapping[str, float]) -> tuple[Structure, ...]:
    ports = machine["CPU.lq_width"]
    accesses = counts["CPU_loads"] + counts["CPU_stores"]
    queues = []
    # The store queue is searched by loads and stores alike, and written twice.
    for name, size, uses in (("load-queue", "CPU.lq", 1.0), ("store-queue", "CPU.sq", 2.0)):
        array = cells(name, machine[size], ports)
        each = array.read_pj + array.write_pj + array.search_pj
        queues.append(_of(name, [(array, uses * accesses * each)], _WIRE_OVERHEAD))
    return (_l1d(machine, counts, ports), *queues, *_tlbs(machine, counts, ports))


def _l1d(machine: Machine, counts: Mapping[str, float], ports: int) -> Structure:
    """Return the L1D: as many ports as loads a cycle; further look-ups have tags of their own."""
    whole = cells("l1d", machine["L1D.sets"], machine["L1D.ways"], ports)
    write_missed = counts["L1D_write_miss"]
    written = counts["L1D_write_hit"] + write_missed
    read = hits_of(counts, "L1D") + misses_of(counts, "L1D") - written
    mshr = machine["L1D.mshr"]
    queues = (
        cells("l1d-miss", mshr, ports),
        cells("l1d-fill", mshr, ports),
        cells("l1d-prefetch", ports),
        cells("l1d-write-back", machine["L1D.wq"], ports),
    )
    energy = read * whole.read_pj + write_missed * whole.tag_pj
    energy += (written + write_missed) * whole.write_pj
    found = _of(
        "l1d",
        [(whole, energy), *((q, write_missed * (q.search_pj + q.write_pj)) for q in queues)],
        _WIRE_OVERHEAD,
    )
    copies = max(0, machine["L1D.tag_bw"] - ports)
    # chosen: a tag of 45 bits to a block of 512, in an array with one port.
    one = cells("l1d", machine["L1D.sets"], machine["L1D.ways"], 1)
    share = copies * 45.0 / 512.0
    return replace(
        found,
        area_mm2=found.area_mm2 + share * one.area_mm2,
        leakage_mw=found.leakage_mw + share * one.leakage_mw,
    )


def _tlbs(machine: Machine, counts: Mapping[str, float], ports: int) -> tuple[Structure, ...]:
    found = []
    for name, tlb, array in (
        ("itlb", "ITLB", cells("itlb", machine["ITLB.sets"])),
        ("dtlb", "DTLB", cells("dtlb", machine["DTLB.sets"], ports)),
    ):
        missed = misses_of(counts, tlb)
        searched = (hits_of(counts, tlb) + missed) * array.search_pj
        found.append(_of(name, [(array, searched + missed * array.write_pj)]))
    second = tlb_array(machine["STLB.sets"] * machine["STLB.ways"])
    looked_up = hits_of(counts, "STLB") + 2 * misses_of(counts, "STLB")
    area, leakage = second.area_mm2, second.leakage_mw
    found.append(Structure("stlb", area, leakage, looked_up * second.read_pj))
    return tuple(found)


def _execution(
    machine: Machine, counts: Mapping[str, float], n_cores: int
) -> tuple[Structure, ...]:
    n, cycles = counts["instructions"], n_cores * counts["cycles"]
    sources, destinations = counts["CPU_sources"], counts["CPU_destinations"]
    width = machine["CPU.execute_width"]
    registers = cells("registers", machine["CPU.registers"], width)
    floating = cells("fp-registers", machine["CPU.registers"], machine["CPU.dispatch_width"])
    scheduler = cells("scheduler", machine["CPU.scheduler"], width)
    rob = cells("rob", machine["CPU.rob"], width)
    queued = n * (scheduler.read_pj + scheduler.write_pj + _SELECTION_PJ)
    operation_pj = _OPERATION_PJ * _LENGTH_SCALE * NOMINAL_VOLTS**2 * _SWITCHED
    # Energy of a cycle of the clocked part of a unit [pJ].
    clocked = _CLOCKED_MW * (NOMINAL_VOLTS / 1.2) ** 2 * _SWITCHED / NOMINAL_GHZ
    alu, fpu = _ALU_MM2 * _LOGIC_SCALE, _FPU_MM2 * _LENGTH_SCALE**2
    multiplier = 3 * alu * _N_MULTIPLIERS
    rest = (3.57 * math.log(_STAGES) - 1.2643) * _LOGIC_SCALE
    flops = _flip_flops(machine)
    return (
        _of("registers", [
            (registers, sources * registers.read_pj + destinations * registers.write_pj),
            (floating, 0.0),
        ], _WIRE_OVERHEAD),
        _of("scheduler", [
            (scheduler, queued + destinations * scheduler.search_pj),
            (cells("fp-scheduler"), 0.0),
        ]),
        _of("rob", [(rob, n * (rob.read_pj + rob.write_pj))]),
        Structure(
            "alus", width * alu * _MACRO, width * alu * _ALU_LEAKAGE,
            n * operation_pj + cycles * clocked,
        ),
        Structure(
            "multiplier", multiplier * _MACRO, multiplier * _ALU_LEAKAGE, 2 * cycles * clocked
        ),
        Structure(
            "fp-units", _N_FPUS * fpu * _MACRO, _N_FPUS * fpu * _FPU_LEAKAGE, 3 * cycles * clocked
        ),
        _bypass(machine, destinations, registers),
        Structure(
            "pipeline", flops * _FLOP_UM2 * 1e-6, flops * _FLOP_UW * 1e-3,
            flops * _FLOP_FJ * 1e-3 * _CLOCKED_SHARE * cycles,
        ),
        Structure("control", rest * _MACRO, rest * _OTHER_LEAKAGE, 0.0),
    )  # fmt: skip


def _flip_flops(machine: Machine) -> float:
    """Return the flip-flops between a core's stages: twelve stages, stretched to the depth."""
    fetch, decode = machine["CPU.fetch_width"], machine["CPU.decode_width"]
    dispatch, retire = machine["CPU.dispatch_width"], machine["CPU.retire_width"]
    tag = math.ceil(math.log2(machine["CPU.registers"]))
    instruction = _BITS_INSTRUCTION + _BITS_PC
    bits = 2 * _BITS_PC + (fetch + 2 * decode) * instruction
    bits += dispatch * (instruction + 3 * tag)
    bits += dispatch * (_BITS_INSTRUCTION + 3 * tag)
    bits += dispatch * (3 * tag + _BITS_PC + _BITS_CONTROL)
    bits += 3 * dispatch * (2 * _BITS_WORD + _BITS_CONTROL)
    bits += dispatch * (_BITS_WORD + tag) + retire * (2 * _BITS_WORD + tag)
    # Half as many again hold control and interrupts.
    return 1.5 * bits * _STAGES / 12.0


def _bypass(machine: Machine, destinations: float, registers: Cells) -> Structure:
    """Return the wires that carry results past registers, units and queues."""
    ports, width = machine["CPU.lq_width"], machine["CPU.execute_width"]
    queues = (
        cells("load-queue", machine["CPU.lq"], ports),
        cells("store-queue", machine["CPU.sq"], ports),
    )
    height = registers.height_um + sum(queue.height_um for queue in queues)
    length = height / 1000.0 + width * _ALU_MM
    bits = _BITS_WORD + math.ceil(math.log2(machine["CPU.registers"]))
    both = 2 * length + _MULTIPLIER_MM
    return Structure(
        "bypass", both * _WIRE_MM2 / 2, both * _WIRE_MW / 2, destinations * bits * length * _WIRE_PJ
    )


def _cache(name: str, cache: str, machine: Machine, counts: Mapping[str, float]) -> Structure:
    """Return the L2 or the last level, which read their tags first and write back."""
    whole = cells(name, machine[f"{cache}.sets"], machine[f"{cache}.ways"])
    mshr = machine[f"{cache}.mshr"]
    queues = (
        cells(f"{name}-miss", mshr),
        cells(f"{name}-fill", mshr),
        cells(f"{name}-prefetch"),
        cells(f"{name}-write-back"),
    )
    write_missed = counts[f"{cache}_write_miss"]
    written = counts[f"{cache}_write_hit"] + write_missed
    missed = misses_of(counts, cache) - write_missed
    hit = hits_of(counts, cache) - counts[f"{cache}_write_hit"]
    energy = hit * whole.read_pj + (missed + write_missed) * whole.tag_pj
    energy += written * whole.write_pj
    return _of(
        name, [(whole, energy), *((q, write_missed * (q.search_pj + q.write_pj)) for q in queues)]
    )


def highest_ghz(volts: float, node: str) -> float:
    """Return the fastest clock that a supply allows: ``f ~ (V - Vt) ** a / V``.

    Source: T. Sakurai, A. Newton, *Alpha-power law MOSFET model and its applications to CMOS
    inverter delay*, JSSC 1990. 4 GHz at 0.8 V and 22 nm is the clock of the model.
    """
    law = (volts - _THRESHOLD) ** _ALPHA / volts
    nominal = (NOMINAL_VOLTS - _THRESHOLD) ** _ALPHA / NOMINAL_VOLTS
    return float(NOMINAL_GHZ * law / nominal * NODES["22nm"].delay / NODES[node].delay)


def at_operating_point(
    found: Sequence[Structure], node: str, volts: float
) -> tuple[Structure, ...]:
    """Return structures at another node and supply.

    Arrays shrink as SRAM, the rest as logic. Switching energy goes with the node's table and the
    square of the supply; leakage with area, with the supply and with what it does to thresholds.

    Args:
      found: Structures at 22 nm and 0.8 V.
      node: One of `NODES`.
      volts: Supply; 0.8 V is nominal at every node.
    """
    memory, switching, _ = node_ratios(node)
    logic = NODES[node].logic / NODES["22nm"].logic
    supply = volts / NOMINAL_VOLTS
    leaks = supply * math.exp(_BARRIER * (volts - NOMINAL_VOLTS))
    result = []
    for each in found:
        area = logic if each.name in _LOGIC else memory
        energy = switching * supply**2
        result.append(
            replace(
                each,
                area_mm2=each.area_mm2 * area,
                leakage_mw=each.leakage_mw * area * leaks,
                energy_pj=each.energy_pj * energy,
            )
        )
    return tuple(result)


# The base predictor, and tables whose entries have counter, useful bits and tag.
_TAGE: Final = (4096.0, *(ENTRIES * (3 + 2 + bits) / 8 for bits in TAG_BITS))
PREDICTOR_ARRAYS: Final[tuple[tuple[tuple[float, ...], ...], ...]] = (
    ((4096.0,),),
    ((4096.0,),),
    ((163.0 * 25,),),
    ((4096.0,) * 16,),
    (_TAGE,),
    # Loops and local histories are read beside TAGE's tables, the corrector's tables after them.
    ((*_TAGE, 64 * 37 / 8, 256 * 11 / 8), (1024 * 6 / 8,) * 8),
)
"""Bytes of the arrays that each branch predictor reads, those at once together, by its number."""
PREDICTOR_BYTES: Final = tuple(sum(map(sum, stages)) for stages in PREDICTOR_ARRAYS)
"""Bytes of each branch predictor, by its number."""
