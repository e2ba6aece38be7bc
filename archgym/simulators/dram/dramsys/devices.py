"""Memory devices: organisation, timings and currents, each with its source."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

from archgym.simulators.kit import InvalidArgumentError, check_choice, unknown_name

STANDARDS = ("DDR3", "DDR4", "LPDDR4", "HBM2")


@dataclass(frozen=True, kw_only=True)
class Device:
    """A memory channel: its organisation, its timings in clock cycles and its currents.

    Attributes:
      name: Short name, such as `ddr3-1600`.
      title: The part or speed bin in words.
      reference: Name of the memory specification it was taken from.
      standard: One of `DDR3`, `DDR4`, `LPDDR4`, `HBM2`; decides which timing rules hold.
      clock_mhz: Memory clock [MHz].
      data_rate: Beats per clock cycle.
      burst_length: Beats per column command.
      width_bits: Data width of one device [bit].
      n_devices: Devices that work in lockstep.
      n_ranks: Ranks (HBM2: pseudo channels).
      n_groups: Bank groups per rank.
      n_banks: Banks per rank.
      n_rows: Rows per bank.
      n_columns: Columns per row.
      timing: Timing parameters by JEDEC name [clock cycles].
      current: Currents [mA] and supply voltages [V] of one device; empty if unknown.
      source: Source of each value of `timing` and `current`, by key.
      is_energy_validated: True if energies were checked against the reference simulator.
    """

    name: str
    title: str
    reference: str
    standard: str
    clock_mhz: float
    data_rate: int
    burst_length: int
    width_bits: int
    n_devices: int
    n_ranks: int
    n_groups: int
    n_banks: int
    n_rows: int
    n_columns: int
    timing: Mapping[str, int]
    current: Mapping[str, float]
    source: Mapping[str, str]
    is_energy_validated: bool

    def __post_init__(self) -> None:
        check_choice("standard", self.standard, STANDARDS)
        for field in ("n_ranks", "n_groups", "n_banks", "n_rows", "n_columns", "burst_length"):
            value = getattr(self, field)
            if value < 1 or value & (value - 1):
                raise InvalidArgumentError(f"`{field}` must be a power of two; got {value!r}.")
        unsourced = sorted((set(self.timing) | set(self.current)) - set(self.source))
        if unsourced:
            raise InvalidArgumentError(
                f"Every timing and current needs a source; `source` lacks {', '.join(unsourced)}."
            )

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def clock_ps(self) -> int:
        """One clock cycle, rounded to whole picoseconds as the reference does [ps]."""
        return round(1e6 / self.clock_mhz)

    @property
    def burst_bytes(self) -> int:
        """Bytes that one column command moves."""
        return self.burst_length * self.beat_bytes

    @property
    def beat_bytes(self) -> int:
        """Bytes on the data bus at once."""
        return self.width_bits * self.n_devices // 8

    @property
    def capacity_bytes(self) -> int:
        """Bytes that the channel holds."""
        return self.n_ranks * self.n_banks * self.n_rows * self.n_columns * self.beat_bytes

    @property
    def peak_bandwidth_gbps(self) -> float:
        """Bandwidth of a data bus that never rests [GB/s of 1e9 bytes]."""
        return 1000.0 / self.clock_ps * self.data_rate * self.beat_bytes

    @property
    def has_energy(self) -> bool:
        """True if energy and power can be computed."""
        return bool(self.current)


@functools.cache
def dramsys_device_names() -> tuple[str, ...]:
    """Return the names of the devices that ship with timings of DRAMSys, sorted."""
    folder = resources.files("archgym.simulators.dram").joinpath("data/devices")
    return tuple(
        sorted(
            entry.name.removesuffix(".json")
            for entry in folder.iterdir()
            if entry.name.endswith(".json")
        )
    )


@functools.cache
def device(name: str) -> Device:
    """Return the shipped device of a name.

    Raises:
      UnknownNameError: No device has this name.
    """
    if name not in dramsys_device_names():
        raise unknown_name("device", name, dramsys_device_names())
    folder = resources.files("archgym.simulators.dram").joinpath("data/devices")
    return _from_json(name, json.loads(folder.joinpath(f"{name}.json").read_text("utf-8")))


def _from_json(name: str, data: dict[str, Any]) -> Device:
    """Return a device from its file; `timing` and `current` map names to (value, source)."""
    sources: dict[str, str] = data["sources"]
    values = {**data["timing"], **data["current"]}
    return Device(
        name=name,
        title=data["title"],
        reference=data["reference"],
        standard=data["standard"],
        clock_mhz=float(data["clock_mhz"]),
        **data["organisation"],
        timing=MappingProxyType({key: int(entry[0]) for key, entry in data["timing"].items()}),
        current=MappingProxyType({key: float(entry[0]) for key, entry in data["current"].items()}),
        source=MappingProxyType({key: sources[entry[1]] for key, entry in values.items()}),
        is_energy_validated=bool(data["is_energy_validated"]),
    )
