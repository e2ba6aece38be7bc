"""Memories of the DRAM simulator behind the core: which device a design has, and runs with it."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.layout import Ints
from archgym.simulators.cpu.kernel.run import COUNTERS, Ideal, counters_of, state_of
from archgym.simulators.cpu.kernel.state import make_weights
from archgym.simulators.cpu.kernel.warmup import WARM_UPS, key_of
from archgym.simulators.cpu.machine import Machine
from archgym.simulators.cpu.workloads.programs import InstructionTrace
from archgym.simulators.dram.kernel.currents import energies_pj
from archgym.simulators.dram.ramulator.kernel.run import (
    MAPPINGS,
    Configuration,
    Outcome,
    outcome_of,
    work_of,
)
from archgym.simulators.dram.ramulator.kernel.state import REQUEST
from archgym.simulators.dram.ramulator.machine import Standard, power_of, standard
from archgym.simulators.kit import InvalidArgumentError

if TYPE_CHECKING:
    from archgym.simulators.dram.ramulator.kernel.controller import Work

DEVICES: Final[Mapping[int, tuple[str, str, str]]] = {
    1600: ("ddr4", "DDR4_8Gb_x8", "DDR4_1600K"),
    2400: ("ddr4", "DDR4_8Gb_x8", "DDR4_2400R"),
    3200: ("ddr4", "DDR4_8Gb_x8", "DDR4_3200AA"),
    4800: ("ddr5", "DDR5_16Gb_x8", "DDR5_4800BN"),
    6400: ("ddr5", "DDR5_16Gb_x8", "DDR5_6400AN"),
}
"""Family, organisation and speed bin by data rate [MT/s].

chosen: the DRAM simulator's default organisations; of each rate its bin of medium latency, which
for DDR5-6400 is the only one.
"""
# chosen: the bus takes whatever the last level sends in a tick.
_WIDTH: Final = 8
# A channel of 64 data pins is two channels of DDR5.
_CHANNELS_OF: Final = {"ddr4": 1, "ddr5": 2}
# chosen: more lines than any program here touches; more places would be reserved for nothing.
_MOST_LINES: Final = 2**31
# chosen: most workloads read and write less than one line in an instruction.
_SPARE_REQUESTS: Final = 65_536


@final
@dataclass(frozen=True)
class Memory:
    """A family of devices, and the controllers of one design."""

    made: Standard
    configuration: Configuration


@final
@dataclass(frozen=True)
class Composed:
    """Outcome of a run.

    Attributes:
      counters: (n_counters,) by `COUNTERS`; those of the DRAM are the controllers'. Hits and
        misses of reads hold those of writes, too.
      dram_pj: Energy of the DRAM devices by the currents of the DRAM simulator [pJ].
      mean_read_cycles: Mean time of a read from the last level and back [cycles].
      outcome: Run of the controllers; requests under way at its end have no departure.
      addresses: (n,) int64, addresses of the requests in the order of acceptance [byte].
      is_write: (n,) bool.
    """

    counters: Ints
    dram_pj: float
    mean_read_cycles: float
    outcome: Outcome
    addresses: npt.NDArray[np.int64]
    is_write: npt.NDArray[np.bool_]


def memory_of(parameters: Machine) -> Memory:
    """Return the memory of a machine.

    Args:
      parameters: Every parameter by full name.

    Raises:
      InvalidArgumentError: No device has its data rate.
    """
    rate = parameters["DRAM.data_rate"]
    if rate not in DEVICES:
        known = ", ".join(f"{known:,}" for known in DEVICES)
        raise InvalidArgumentError(
            f"`DRAM.data_rate` must be one of {known} MT/s under fidelity 'dram'; got {rate}."
        )
    family, organisation, speed = DEVICES[rate]
    configuration = Configuration(
        organisation=organisation,
        timing=speed,
        ranks=parameters["DRAM.ranks"],
        channels=_CHANNELS_OF[family] * parameters["DRAM.channels"],
        # chosen: a mapping made for processors; the kernel has no other.
        mapping="MOP4CLXOR",
        refresh="AllBank",
        read_buffer=parameters["DRAM.rq"],
        write_buffer=parameters["DRAM.wq"],
        width=_WIDTH,
    )
    return Memory(standard(family), configuration)


def run_composed(
    parameters: Machine,
    trace: InstructionTrace,
    warmup: int,
    length: int,
    ideal: Ideal | None = None,
    memory: Memory | None = None,
    without: str | None = None,
) -> Composed | None:
    """Return the outcome of a machine on a trace with its memory; None if it never ends.

    Args:
      parameters: Every parameter, of `machine`.
      trace: Its trace.
      warmup: Instructions before counting, for which memory answers at once.
      length: Instructions that are counted.
      ideal: Costs of the core that are free.
      memory: Its memory; by default the one of its data rate, channels and queues.
      without: Cost of the memory that is free.

    Raises:
      InvalidArgumentError: No device has the machine's data rate.
      SimulatorError: The trace is too short, or more is in flight than the model can hold.
    """
    memory = memory_of(parameters) if memory is None else memory
    c = memory.configuration
    power = power_of(memory.made, c.organisation, c.timing)
    state, spent, work, words = simulate(
        parameters, trace, (warmup, length), ideal, memory, without
    )
    counters = counters_of(state, spent, trace, (warmup, length))
    if counters is None or work.channels["is_stuck"].any():
        return None
    ticks = lay.CYCLE_PS * int(spent[0]) // memory.made.tick_ps(c.timing)
    energies = energies_pj(power, work.bank_accounts, work.rank_accounts, ticks)
    _enter(counters, memory.made, work.channels)
    n = int(words[3])
    whole = outcome_of(memory.made, c, work, np.array([0, ticks, ticks, n]))
    return Composed(
        counters,
        sum(energies.values()),
        float(words[6]) / max(1, int(words[5])),
        replace(whole, due=whole.due[:n], arrive=whole.arrive[:n], depart=whole.depart[:n]),
        64 * work.requests["address"][:n].astype(np.int64),
        work.requests["is_write"][:n] == 1,
    )


def simulate(
    parameters: Machine,
    trace: InstructionTrace,
    region: tuple[int, int],
    ideal: Ideal | None,
    memory: Memory,
    without: str | None = None,
) -> tuple[Ints, tuple[int, int], "Work", Ints]:
    """Return state, cycles and instructions, work of the controllers and words of the bus.

    Args:
      parameters, trace, ideal, without: Same as for `run_composed`.
      region: Instructions before counting, and those that are counted.
      memory: Its memory, from `memory_of`.
    """
    from archgym.simulators.cpu.kernel.composed import kernel

    shape = _shape(memory)
    n_requests = region[1] + _SPARE_REQUESTS
    while True:
        state = state_of(parameters, trace, region, ideal)
        # Pages of memory that are never touched are never allocated.
        table = np.zeros(n_requests, dtype=REQUEST)
        work = work_of(memory.made, memory.configuration, table, int(shape[5]), without)
        words = np.zeros(kernel.BUS_SIZE, dtype=np.int64)
        weights, bus = make_weights(parameters), kernel.Bus(words, shape.copy())
        key = key_of(parameters, trace, region[0], ideal, has_own_memory=True)
        run = functools.partial(kernel.run_composed, state, weights, trace.records, work, bus)
        last_cycle = functools.partial(_last_cycle, run, region)
        begin = WARM_UPS.warm(key, state, weights, last_cycle)
        spent = run(begin, *region)
        if words[3] < n_requests:
            return state, spent, work, words
        n_requests *= 4


def _last_cycle(run: Callable[..., tuple[int, int]], region: tuple[int, int]) -> int:
    """Run the warm-up, and return its last cycle."""
    return int(run(-1, *region)[0])


def _enter(counters: Ints, made: Standard, channels: npt.NDArray[Any]) -> None:
    """Enter what the controllers counted into the counters of the DRAM."""
    issued = channels["n_issued"].sum(axis=0)
    refreshes = [command.name for command in made.commands].index("REFab")
    found = {
        "DRAM_rq_row_hit": channels["hits"].sum(),
        "DRAM_rq_row_miss": channels["misses"].sum() + channels["conflicts"].sum(),
        "DRAM_refreshes": issued[refreshes],
    }
    for name, value in found.items():
        counters[COUNTERS.index(name)] = value


@functools.lru_cache(maxsize=64)
def _shape(memory: Memory) -> Ints:
    """Return `kernel.Bus.shape` of a memory."""
    c = memory.configuration
    organisation = memory.made.organisations[c.organisation]
    sizes = [c.ranks if x == "Rank" else organisation.sizes[x] for x in memory.made.levels]
    columns = organisation.sizes["Column"] // organisation.burst_beats
    levels = [number for size in sizes for number in (size.bit_length() - 1, size)]
    return np.array(
        [
            memory.made.tick_ps(c.timing),
            c.channels.bit_length() - 1,
            columns.bit_length() - 1,
            organisation.sizes["Row"].bit_length() - 1,
            len(sizes),
            min(
                organisation.channel_bytes(c.ranks) // organisation.burst_bytes * c.channels,
                _MOST_LINES,
            ),
            MAPPINGS.index(c.mapping),
            c.interleave_bits if c.channels > 1 else 0,
            *levels,
        ],
        dtype=np.int64,
    )
