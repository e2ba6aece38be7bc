"""Designs as files of DRAMSys 4.

The keys are those of its version 4.0 (github.com/tukl-msd/DRAMSys, `library/resources`):
a simulation names files with an address mapping (`CONGEN`), a controller (`mcconfig`), a memory
specification (`memspec`) and settings of the simulator (`simconfig`).
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from archgym.simulators.dram.formats.dramsys import CONTROLLER_KEYS, MAPPING_KEYS
from archgym.simulators.dram.formats.trace import Trace, trace_text
from archgym.simulators.dram.kernel.bursts import split
from archgym.simulators.dram.kernel.devices import Device
from archgym.simulators.dram.kernel.mapping import AddressMapping

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
