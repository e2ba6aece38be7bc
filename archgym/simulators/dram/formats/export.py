"""Designs as files of DRAMSys 4, or as a script of Ramulator 2.1.

The keys are those of DRAMSys 4.0 (github.com/tukl-msd/DRAMSys, `library/resources`):
a simulation names files with an address mapping (`CONGEN`), a controller (`mcconfig`), a memory
specification (`memspec`) and settings of the simulator (`simconfig`). The classes are those of
Ramulator 2.1 (github.com/CMU-SAFARI/ramulator2, `python/ramulator`).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from archgym.errors import InvalidDesignError
from archgym.simulators.dram.dramsys.devices import Device
from archgym.simulators.dram.dramsys.kernel.bursts import split
from archgym.simulators.dram.dramsys.mapping import AddressMapping
from archgym.simulators.dram.formats.dramsys import CONTROLLER_KEYS, MAPPING_KEYS
from archgym.simulators.dram.workloads.trace import Trace, trace_text

if TYPE_CHECKING:
    from archgym.simulators.dram.ramulator.kernel.run import Configuration

# Settings of DRAMSys' `configs/simulator/ddr3.json`, with power analysis on.
_SIMULATION: Final[Mapping[str, object]] = {
    "AddressOffset": 0,
    "CheckTLM2Protocol": False,
    "DatabaseRecording": False,
    "Debug": False,
    "ECCControllerMode": "Disabled",
    "EnableWindowing": False,
    "ErrorCSVFile": "",
    "ErrorChipSeed": 42,
    "PowerAnalysis": True,
    "SimulationName": "archgym",
    "SimulationProgressBar": True,
    "StoreMode": "NoStorage",
    "ThermalSimulation": False,
    "UseMalloc": False,
    "WindowSize": 1000,
}
# Ramulator's controller of each family of devices.
_CONTROLLERS: Final = {
    "ddr4": "GenericDDR",
    "ddr5": "GenericDDR",
    "gddr6": "GenericDDR",
    "hbm3": "HBM34",
    "lpddr5": "LPDDR5",
}
# Speed bins of ours that Ramulator does not ship.
_OWN_BINS: Final = ("LPDDR5X_8533",)


def dramsys_files(
    controller: Mapping[str, Any], mapping: AddressMapping, device: Device, trace: Trace
) -> dict[str, str]:
    """Return the files of a simulation of DRAMSys.

    Requests of DRAMSys 4.0 are single bursts, so that longer ones are split as the model splits
    them. Then latencies of DRAMSys are those of bursts, and `NOTES.md` says so.

    Args:
      controller: Values of `CONTROLLER_COLUMNS` by name, as DRAMSys spells them.
      mapping: Address mapping that fits the device.
      device: The memory.
      trace: Requests of the workload.
    """
    bursts = split(trace, device)
    sent = Trace(
        trace.name,
        bursts.ticks,
        bursts.is_write,
        bursts.addresses,
        clock_mhz=trace.clock_mhz,
        relative=trace.relative,
    )
    ending = "rstl" if trace.relative else "stl"
    simulation = {
        "addressmapping": "addressmapping.json",
        "mcconfig": "mcconfig.json",
        "memspec": "memspec.json",
        "simconfig": "simconfig.json",
        "simulationid": "archgym",
        "thermalconfig": "config.json",
        "tracesetup": [{"clkMhz": trace.clock_mhz, "name": f"trace.{ending}"}],
    }
    contents = {
        "simulation.json": {"simulation": simulation},
        "addressmapping.json": {"CONGEN": _congen(mapping)},
        "mcconfig.json": {
            "mcconfig": {key: controller[name] for name, key in CONTROLLER_KEYS.items()}
        },
        "memspec.json": {"memspec": _memspec(device)},
        "simconfig.json": {"simconfig": {**_SIMULATION, "PowerAnalysis": device.has_energy}},
    }
    notes = []
    if len(trace.waits_for):
        notes.append(
            f"Of {len(trace)} requests, {int((trace.waits_for >= 0).sum())} wait for an earlier "
            "answer. DRAMSys cannot express that and\nsends them at their fixed times: its results "
            "are others.\n"
        )
    files = {name: json.dumps(content, indent=4) + "\n" for name, content in contents.items()}
    if bursts.are_split:
        notes.append(
            f"Requests of {trace.name} are longer than a burst of {device.burst_bytes} bytes.\n"
            "The trace has their bursts one by one: latencies of DRAMSys are those of bursts.\n"
        )
    if notes:
        files["NOTES.md"] = "\n".join(notes)
    return {**files, f"trace.{ending}": trace_text(sent)}


def _congen(mapping: AddressMapping) -> dict[str, object]:
    bits: dict[str, object] = {
        key: list(getattr(mapping, field))
        for field, key in MAPPING_KEYS.items()
        if getattr(mapping, field)
    }
    if mapping.xor:
        bits["XOR"] = [{"FIRST": first, "SECOND": second} for first, second in mapping.xor]
    return bits


def _memspec(device: Device) -> dict[str, object]:
    organisation: dict[str, object] = {
        "burstLength": device.burst_length,
        "dataRate": device.data_rate,
        "nbrOfBankGroups": device.n_groups,
        "nbrOfBanks": device.n_banks,
        "nbrOfColumns": device.n_columns,
        "nbrOfRanks": device.n_ranks,
        "nbrOfRows": device.n_rows,
        "width": device.width_bits,
        "nbrOfDevicesOnDIMM": device.n_devices,
        "nbrOfChannels": 1,
    }
    if device.n_groups == 1:
        del organisation["nbrOfBankGroups"]  # DDR3 has none
    clock = device.clock_mhz
    spec: dict[str, object] = {
        "memarchitecturespec": organisation,
        "memoryId": device.reference,
        "memoryType": device.standard,
        "memtimingspec": {
            **device.timing,
            "clkMhz": int(clock) if clock == int(clock) else clock,
        },
    }
    if device.has_energy:
        spec["mempowerspec"] = {name.lower(): value for name, value in device.current.items()}
    return spec


def ramulator_files(
    configuration: "Configuration", family: str, path: Path | None, trace: Trace
) -> dict[str, str]:
    """Return a script of Ramulator 2.1, and the requests as its load-store trace.

    Args:
      configuration: Device, channels and settings of the controllers.
      family: Family of the device.
      path: File of the user's own speed bins; None for those that ship.
      trace: Requests of the workload.

    Raises:
      InvalidDesignError: The device is not one of Ramulator's.
    """
    c = configuration
    if path is not None or c.timing in _OWN_BINS:
        raise InvalidDesignError(
            f"Ramulator 2.1 has no speed bin {c.timing!r}; the design cannot be exported for it. "
            "Choose another `speed_bin`, or a shipped family of devices."
        )
    name = family.upper()
    arguments = [f'org_preset="{c.organisation}"', f'timing_preset="{c.timing}"']
    if c.ranks > 1:
        arguments.append(f"rank={c.ranks}")
    refresh = f"AllBank(scatter_interval={c.scatter_interval})"
    if c.refresh == "PerBank":
        refresh = "HBM34PerBankRefresh()" if family == "hbm3" else "PerBank()"
    policy = f"ClosedCAP(cap={c.cap})" if c.row_policy == "ClosedCAP" else "Open()"
    settings = {
        "scheduler": f"scheduler.{c.scheduler.replace('-', '')}()",
        "refresh_manager": f"refresh_manager.{refresh}",
        "row_policy": f"row_policy.{policy}",
        "addr_mapper": f"addr_mapper.{c.mapping}()",
    }
    lines = [
        '"""Memory system for Ramulator 2.1: python ramulator_config.py',
        "",
        "Its load-store front end sends the requests of `requests.trace` as fast as they are",
        "accepted; ArchGym also models the times at which they are due"
        + (", and the answers for which they wait." if len(trace.waits_for) else "."),
        '"""',
        "",
        "import ramulator",
        "",
        "controllers = [",
        f"    ramulator.controller.{_CONTROLLERS[family]}(",
        f"        dram=ramulator.dram.{name}({', '.join(arguments)}),",
        *(f"        {key}=ramulator.{value}," for key, value in settings.items()),
        f"        read_buffer_size={c.read_buffer},",
        f"        write_buffer_size={c.write_buffer},",
        f"        wr_low_watermark={c.wr_low!r},",
        f"        wr_high_watermark={c.wr_high!r},",
        *([f'        wck_sync_mode="{c.wck_sync}",'] if family == "lpddr5" else []),
        "    )",
        f"    for _ in range({c.channels})",
        "]",
        "memory = ramulator.memory_system.GenericDRAM(",
        "    clock_ratio=1,",
        "    controllers=controllers,",
        "    channel_mapper=ramulator.channel_mapper.CacheLineInterleave("
        f"interleave_bits={c.interleave_bits}),",
        ")",
        'frontend = ramulator.frontend.LoadStoreTrace(clock_ratio=1, path="requests.trace")',
        "simulation = ramulator.Simulation(frontend, memory)",
        "simulation.run()",
        "print(simulation.stats_yaml)",
    ]
    requests = (
        f"{'ST' if is_write else 'LD'} {address:#x}"
        for is_write, address in zip(trace.is_write, trace.addresses.tolist(), strict=True)
    )
    return {
        "ramulator_config.py": "\n".join(lines) + "\n",
        "requests.trace": "\n".join(requests) + "\n",
    }
