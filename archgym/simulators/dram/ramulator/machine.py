"""DRAM standards as tables of data: organisations, speed bins, commands, constraints, currents."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, final

from archgym.simulators.dram.kernel.currents import PowerSpec, Supply, currents_of
from archgym.simulators.kit import InvalidArgumentError, unknown_name

FAMILIES: Final = ("ddr4", "ddr5", "gddr6", "hbm3", "lpddr5")
KINDS: Final = ("common", "split-activation", "two-bus")


@final
@dataclass(frozen=True)
class Command:
    """A command: its name, the bus that it travels on and for how many clocks."""

    name: str
    bus: str
    clocks: float


@final
@dataclass(frozen=True, kw_only=True)
class Constraint:
    """A least distance between two kinds of commands at one node of the device.

    Attributes:
      scope: Level of the node.
      preceding, following: Commands that it counts from and that it delays.
      distance: Expression in the timing parameters [clocks].
      window: The command from which the distance counts, counted back; 1 for the last one.
      siblings: True if it binds the node's siblings instead of the node.
      source: Document and parameter.
    """

    scope: str
    preceding: tuple[str, ...]
    following: tuple[str, ...]
    distance: str
    window: int
    siblings: bool
    source: str


@final
@dataclass(frozen=True, kw_only=True)
class Organisation:
    """A device's size: levels from the outermost to the column, and the channel's width.

    Attributes:
      name: Such as `DDR5_16Gb_x8`.
      density_mbit: Capacity of one device [Mbit].
      dq: Data pins of one device.
      channel_width: Data pins of a channel.
      burst_beats: Beats of a column command.
      sizes: Number of nodes of each level within one of the level above; `Rank` is 1.
    """

    name: str
    density_mbit: int
    dq: int
    channel_width: int
    burst_beats: int
    sizes: Mapping[str, int]

    @property
    def burst_bytes(self) -> int:
        """Bytes that one column command moves."""
        return self.burst_beats * self.channel_width // 8

    @property
    def n_devices(self) -> int:
        """Devices that work in lockstep on one channel and rank."""
        return self.channel_width // self.dq

    def channel_bytes(self, ranks: int = 1) -> int:
        """Return the capacity of one channel [byte]."""
        product = ranks
        for size in self.sizes.values():
            product *= size
        return product * self.channel_width // 8


@final
@dataclass(frozen=True, kw_only=True)
class Bin:
    """A speed bin: the clock period and every timing parameter.

    Attributes:
      name: Such as `DDR5_4800B`.
      t_ck_ps: Clock period [ps].
      clocks: Parameters that all organisations share [clocks].
      by_organisation: Parameters that depend on the organisation [clocks].
      source: Source of the numbers.
    """

    name: str
    t_ck_ps: int
    clocks: Mapping[str, int]
    by_organisation: Mapping[str, Mapping[str, int]]
    source: str

    def values(self, organisation: str) -> dict[str, int]:
        """Return all parameters for an organisation [clocks].

        Raises:
          InvalidArgumentError: The bin states no value for the organisation.
        """
        found = dict(self.clocks)
        for name, by_organisation in self.by_organisation.items():
            if organisation not in by_organisation:
                raise InvalidArgumentError(
                    f"Speed bin {self.name!r} must state `{name}` for organisation "
                    f"{organisation!r}; it states it for {', '.join(by_organisation)}."
                )
            found[name] = by_organisation[organisation]
        return found


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Standard:
    """A family of devices; two are equal only if they are the same object.

    Attributes:
      name: Such as `ddr5`, or the name of a user's file.
      family: One of `FAMILIES`, which decides commands and constraints.
      title: One line.
      kind: Kind of controller, one of `KINDS`.
      ticks_per_clock: Ticks of the controller per clock.
      levels: Levels from the outermost to the bank, the channel left out.
      refresh_scope: Level whose banks an all-bank refresh covers.
      per_bank_refresh: True if banks can refresh one at a time.
      read_latency: Expression in the timing parameters [clocks].
      commands: Commands by their code.
      constraints: Timing constraints.
      organisations, bins: Members by name.
      source: Source of the numbers.
      path: File of a user's devices, or None.
    """

    name: str
    family: str
    title: str
    kind: str
    ticks_per_clock: int
    levels: tuple[str, ...]
    refresh_scope: str
    per_bank_refresh: bool
    read_latency: str
    commands: tuple[Command, ...]
    constraints: tuple[Constraint, ...]
    organisations: Mapping[str, Organisation]
    bins: Mapping[str, Bin]
    source: str
    path: Path | None = None

    def tick_ps(self, bin_name: str) -> int:
        """Return the length of a tick; HBM3 loses half a picosecond, as Ramulator does [ps]."""
        return self.bins[bin_name].t_ck_ps // self.ticks_per_clock


@functools.cache
def standard(family: str) -> Standard:
    """Return a family that ships.

    Raises:
      UnknownNameError: There is no such family.
    """
    if family not in FAMILIES:
        raise unknown_name("device family", family, FAMILIES)
    # Loaded where it is needed, as listing names needs none of it.
    import msgspec

    folder = resources.files("archgym.simulators.dram").joinpath("data/standards")
    data: dict[str, Any] = json.loads(folder.joinpath(f"{family}.json").read_text("utf-8"))
    for name, entry in data["organisations"].items():
        entry["name"] = name
    for name, entry in data["bins"].items():
        entry |= {"name": name, "t_ck_ps": entry["tCK_ps"], "source": data["source"]}
    return msgspec.convert({**data, "family": family}, Standard)


@functools.cache
def speed_bins() -> Mapping[str, tuple[str, str]]:
    """Return the devices that are one speed bin of a family: name to family and speed bin.

    A family with one speed bin is a device by itself.
    """
    return MappingProxyType(
        {
            name.lower().replace("_", "-"): (family, name)
            for family in FAMILIES
            for name in standard(family).bins
            if len(standard(family).bins) > 1
        }
    )


@functools.cache
def with_speed_bin(family: str, name: str) -> Standard:
    """Return a family with only one of its speed bins."""
    made = standard(family)
    return replace(made, bins=MappingProxyType({name: made.bins[name]}))


CURRENTS: Final = ("ddr4", "ddr5", "lpddr5")
"""Families with currents; no open tool states any for HBM3 and GDDR6."""


def has_energy(made: Standard) -> bool:
    """Return True if the family has currents."""
    return made.family in CURRENTS


def currents_note(made: Standard) -> str:
    """Return what is known of a family's currents, in a sentence for outputs and documents."""
    data = currents_of(made.family)
    extra = ", ".join(data["illustrative"])
    return str(data["source"]) + (f" Illustrative: {extra}." if extra else "")


@functools.lru_cache(maxsize=1024)
def power_of(made: Standard, organisation: str, speed: str) -> PowerSpec:
    """Return the energy inputs of an organisation and speed bin.

    The currents are those of one part, whatever the organisation and bin; the timings are the
    bin's. DRAMPower counts a read's precharge from the burst's end on LPDDR5.
    """
    data = currents_of(made.family)
    values = made.bins[speed].values(organisation)
    shape = made.organisations[organisation]
    is_split = made.family == "lpddr5"
    wck = int(data["wck_per_clock"])
    clocks = {
        "RAS": values["nRAS"],
        "RP": values["nRP"],
        "RFC": values["nRFC"],
        "RFCpb": values.get("nRFCpb", 0),
        "RTP": max(0, values["nRTP"] - values["nBL_max"]) if is_split else values["nRTP"],
        "WL": values["nCWL"],
        "WR": values["nWR"],
        "REFI": values["nREFI"],
        "WCK2CK": wck,
        "RFCsb": values.get("nRFCsb", 0),
    }
    return PowerSpec(
        standard=made.family.upper(),
        supplies=tuple(Supply(**supply) for supply in data["supplies"]),
        n_devices=shape.n_devices,
        n_groups=shape.sizes["BankGroup"],
        n_banks=shape.sizes["BankGroup"] * shape.sizes["Bank"],
        burst=shape.burst_beats // 2,
        fact_rho=float(data["fact_rho"]),
        t_ck_s=made.bins[speed].t_ck_ps * 1e-12,
        clocks=clocks,
    )
