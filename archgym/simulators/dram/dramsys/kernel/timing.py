"""Timing constraints of each memory standard, as tables that the kernels read.

A rule says how long after one command another may follow at the earliest, and within which scope:
the same bank, the same bank group, the same rank, or another rank. Only the latest previous
command of a kind counts, so the kernels keep earliest times and push them forward on each issue.
`data/timing.csv` has the rules and their sources.
"""

import csv
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.dram.dramsys.devices import Device
from archgym.simulators.dram.dramsys.kernel import commands as cmd
from archgym.simulators.dram.dramsys.kernel.commands import Rule
from archgym.simulators.dram.dramsys.kernel.relief import relieve_rules, relieve_table
from archgym.simulators.dram.dramsys.kernel.state import (
    DEVICE,
    MAX_BANKS,
    MAX_GROUPS,
    MAX_RANKS,
    UNCONSTRAINED,
)
from archgym.simulators.dram.kernel.clocks import distance
from archgym.simulators.kit import InvalidArgumentError

# What `earliest.py` pushes forward after each command, by scope.
_HOLDS: Final[dict[tuple[str, int], tuple[int, ...]]] = defaultdict(
    tuple,
    {
        ("bank", cmd.ACT): (*cmd.COLUMNS, *cmd.OPENINGS, cmd.PRE),
        ("rank", cmd.ACT): cmd.OPENINGS,
        ("group", cmd.ACT): cmd.OPENINGS,
        ("bank", cmd.PRE): cmd.OPENINGS,
        ("rank", cmd.PRE): (cmd.PRE,),
        ("bank", cmd.REFB): cmd.OPENINGS,
        ("rank", cmd.REFB): cmd.OPENINGS,
        **{("bank", command): (*cmd.OPENINGS, cmd.RDA, cmd.PRE) for command in cmd.COLUMNS},
        **{
            (scope, command): cmd.COLUMNS
            for scope in ("rank", "group", "other")
            for command in cmd.COLUMNS
        },
        **{
            (scope, command): (*cmd.COLUMNS, *cmd.OPENINGS, cmd.PRE)
            for scope in ("rank", "other")
            for command in range(cmd.N_BANK_COMMANDS, cmd.N_COMMANDS)
        },
    },
)


@final
@dataclass(frozen=True, kw_only=True)
class _Standard:
    """Constants of a standard other than its rules: sums of timings [clocks], as `distance` reads.

    Attributes:
      read_done, write_done: From a column command until its data are there.
      window_to_act, window_to_refb: From the fourth-last activation; 0 for no such window.
      bank_refresh_interval: Between refreshes of single banks; 0 where there are none.
      length: Clocks of commands that last longer than one.
      has_column_bus: True if column commands have a bus of their own.
    """

    read_done: str = "RL + BURST"
    write_done: str = "WL + BURST"
    window_to_act: str = "FAW"
    window_to_refb: str = "0"
    bank_refresh_interval: str = "0"
    length: Mapping[int, int] = field(default_factory=dict)
    has_column_bus: bool = False


_STANDARDS: Final = {
    "DDR3": _Standard(),
    "DDR4": _Standard(),
    "LPDDR4": _Standard(
        read_done="RL + DQSCK + BURST + 3",
        write_done="WL + DQSS + DQS2DQ + BURST + 3",
        bank_refresh_interval="REFIPB",
        window_to_act="FAW - 3",
        window_to_refb="FAW - 1",
        length={
            **dict.fromkeys((cmd.ACT, cmd.RD, cmd.RDA, cmd.WR, cmd.WRA), 4),
            **dict.fromkeys((cmd.PRE, cmd.PREA, cmd.REFA, cmd.REFB, cmd.SREFEN, cmd.SREFEX), 2),
        },
    ),
    "HBM2": _Standard(
        read_done="RL + DQSCK + BURST",
        bank_refresh_interval="REFISB",
        window_to_act="FAW - 1",
        window_to_refb="FAW",
        length={cmd.ACT: 2},
        has_column_bus=True,
    ),
}


@cache
def _rows() -> tuple[Mapping[str, str], ...]:
    """Return the rules of all standards, a row of `data/timing.csv` each."""
    path = resources.files("archgym.simulators.dram").joinpath("data/timing.csv")
    lines = path.read_text("utf-8").splitlines()
    return tuple(csv.DictReader(line for line in lines if not line.startswith("#")))


def _timing(device: Device) -> dict[str, int]:
    """Return the timings of a device, and the clocks of a burst on the data bus."""
    return {**device.timing, "BURST": device.burst_length // device.data_rate}


def rules(device: Device) -> tuple[Rule, ...]:
    """Return every timing rule of a device.

    Raises:
      InvalidArgumentError: It lacks a timing.
    """
    timing = _timing(device)
    return tuple(
        Rule(
            scope,
            tuple(map(cmd.COMMAND_NAMES.index, row["previous"].split())),
            tuple(map(cmd.COMMAND_NAMES.index, row["following"].split())),
            distance(row["clocks"], timing),
        )
        for row in _rows()
        if device.standard in row["standards"].split()
        for scope in row["scopes"].split()
    )


def device_table(device: Device, without: str | None = None) -> npt.NDArray[Any]:
    """Return the table that kernels read of a device, all times in ps.

    Args:
      device: The memory.
      without: One of `costs.COSTS` that it does not pay.

    Returns:
      (1,) of `state.DEVICE`.

    Raises:
      InvalidArgumentError: The device is larger than the kernels' tables, or lacks a timing.
    """
    limits = {
        "banks": (device.n_banks * device.n_ranks, MAX_BANKS),
        "bank groups": (device.n_groups * device.n_ranks, MAX_GROUPS),
        "ranks": (device.n_ranks, MAX_RANKS),
    }
    for what, (count, limit) in limits.items():
        if count > limit:
            raise InvalidArgumentError(
                f"A device may have at most {limit} {what} in a channel; "
                f"{device.name!r} has {count}."
            )
    standard = _STANDARDS[device.standard]
    timing = _timing(device)
    clock = device.clock_ps

    def time(clocks: str) -> int:
        return distance(clocks, timing) * clock

    table = np.zeros(1, dtype=DEVICE)
    row = table[0]
    row["clock"] = clock
    row["n_ranks"] = device.n_ranks
    row["n_banks"] = device.n_ranks * device.n_banks
    row["banks_per_rank"] = device.n_banks
    row["has_groups"] = device.n_groups > 1
    row["has_column_bus"] = standard.has_column_bus
    row["is_simple"] = (
        device.n_ranks == 1
        and device.n_groups == 1
        and not standard.has_column_bus
        and not standard.length
    )
    # DRAMSys computes "never" plus one cycle, which wraps round to one cycle less one picosecond.
    row["first_command"] = clock - 1 if standard.has_column_bus else 0
    for name in ("read_done", "write_done", "window_to_act", "window_to_refb"):
        row[name] = time(getattr(standard, name))
    modes = timing.get("REFM", 1) if device.standard.startswith("DDR") else 1
    interval = distance("REFI", timing) // modes * clock
    row["refresh_interval"] = (0, interval, time(standard.bank_refresh_interval))
    row["refb_round"] = time("RFCSB") if device.standard == "HBM2" else UNCONSTRAINED
    row["length"] = clock
    for command, cycles in standard.length.items():
        row["length"][command] = cycles * clock
    for scope in ("bank", "group", "rank", "other"):
        row[scope] = UNCONSTRAINED
    relieve_table(row, without)
    for rule in relieve_rules(rules(device), without):
        for previous in rule.previous:
            for following in rule.following:
                # Rank commands look back by themselves; the others are held back by the kernels.
                assert following in _HOLDS[rule.scope, previous] or (
                    rule.scope in ("rank", "other") and following >= cmd.N_BANK_COMMANDS
                )
                if rule.scope == "other" and max(previous, following) >= cmd.N_BANK_COMMANDS:
                    row["has_shared_power"] = 1
                delay = row[rule.scope][previous]
                delay[following] = max(delay[following], rule.cycles * clock)
    if device.has_energy:
        _fill_energy(row, device, time)
    assert row["length"].shape == (cmd.N_COMMANDS,)
    return table


def _fill_energy(row: Any, device: Device, time: Callable[[str], int]) -> None:
    """Fill in durations that the energy accounting needs, see `energy.py`."""
    row["has_energy"] = True
    # JESD79-3F: a read precharges after 4 at least.
    least = 4 if device.standard == "DDR3" else 0
    row["read_to_precharge"] = max(time("AL + RTP"), time(f"AL + {least}"))
    row["write_to_precharge"] = time("WL + BURST + WR")
    row["act_to_precharge"] = time("RAS")
    row["precharge"] = time("RP")
    row["refresh"] = time("RFC")
    tail = row["tail"]
    tail[list(cmd.READS)] = time("RL + DQSCK + 1 + BURST")
    tail[list(cmd.WRITES)] = time("WL + BURST + WR")
    tail[cmd.ACT] = time("RCD")
    tail[[cmd.PRE, cmd.PREA]] = time("RP")
