"""Designs as simulations of DRAMSys 4, or as a memory and requests of Ramulator 2.1.

The keys are those of DRAMSys 4.0 (github.com/tukl-msd/DRAMSys, `library/resources`):
a simulation names files with an address mapping (`CONGEN`), a controller (`mcconfig`), a memory
specification (`memspec`), settings of the simulator (`simconfig`) and of temperatures, each in a
folder of its own. The classes are those of Ramulator 2.1 (github.com/CMU-SAFARI/ramulator2,
`python/ramulator`).
"""

import json
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from archgym.simulators.dram.dramsys.devices import Device
from archgym.simulators.dram.dramsys.kernel.bursts import split
from archgym.simulators.dram.dramsys.mapping import AddressMapping
from archgym.simulators.dram.formats.dramsys import CONTROLLER_KEYS, MAPPING_KEYS
from archgym.simulators.dram.workloads.trace import Trace, trace_text
from archgym.simulators.kit import InvalidDesignError
from archgym.simulators.kit.exports import Number, Tool, folder

if TYPE_CHECKING:
    from archgym.simulators.dram.ramulator.kernel.run import Configuration, Requests
    from archgym.simulators.dram.ramulator.machine import Standard

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
# Those of DRAMSys' `configs/thermalsim/config.json`, which it reads although none is simulated.
_THERMAL: Final[Mapping[str, object]] = {
    "TemperatureScale": "Celsius", "StaticTemperatureDefaultValue": 89, "ThermalSimPeriod": 100,
    "ThermalSimUnit": "us", "PowerInfoFile": "powerInfo.json", "IceServerIp": "127.0.0.1",
    "IceServerPort": 11880, "SimPeriodAdjustFactor": 10, "NPowStableCyclesToIncreasePeriod": 5,
    "GenerateTemperatureMap": True, "GeneratePowerMap": True,
}  # fmt: skip
_POWERS: Final = {"dram_die_channel0": {"init_pow": 0, "threshold": 1.0}}
DRAMSYS: Final = Tool(
    name="DRAMSys",
    release="4.0 of May 2021, commit 460604a",
    get="git clone --recursive https://github.com/tukl-msd/DRAMSys, check out commit 460604a, and "
    "build DRAMSys with CMake; its place is the folder of the build.",
    program="DRAMSys",
    inside="simulator/DRAMSys",
)
RAMULATOR: Final = Tool(
    name="Ramulator",
    release="2.1, commit c5b1c3a",
    get="git clone https://github.com/CMU-SAFARI/ramulator2, and build it with CMake; its place is "
    "the folder ramulator2.",
    program="libramulator.so",
)
_BUILD: Final = """\
home=$(dirname -- "$tool")
PYTHONPATH=$home/python python3 -m ramulator export memory.py -o memory.yaml
${CXX:-c++} -std=c++20 -O2 -I"$home/src" -I"$home/ext/yaml-cpp/include" -I"$home/ext/fmt/include" \\
  driver.cpp -o driver -L"$home" -lramulator -Wl,-rpath,"$home"
"""
# Ramulator's controller of each family of devices.
_CONTROLLERS: Final = {
    "ddr4": "GenericDDR",
    "ddr5": "GenericDDR",
    "gddr6": "GenericDDR",
    "hbm3": "HBM34",
    "lpddr5": "LPDDR5",
}
# Speed bins of ours that Ramulator does not ship.
OWN_BINS: Final = ("LPDDR5X_8533",)


def dramsys_settings(
    controller: Mapping[str, Any], mapping: AddressMapping, device: Device
) -> dict[str, dict[str, Any]]:
    """Return what DRAMSys reads of a controller, an address mapping and a device, by its names."""
    return {
        "CONGEN": _congen(mapping),
        "mcconfig": {key: controller[column] for column, key in CONTROLLER_KEYS.items()},
        "memspec": _memspec(device),
        "simconfig": {**_SIMULATION, "PowerAnalysis": device.has_energy},
    }


def dramsys_files(
    controller: Mapping[str, Any],
    mapping: AddressMapping,
    device: Device,
    trace: Trace,
    metrics: Mapping[str, float],
) -> dict[str, str | bytes]:
    """Return a simulation of DRAMSys in the layout of its resources.

    Requests of DRAMSys 4.0 are single bursts, so that longer ones are split as the model splits
    them.

    Args:
      controller: Values of `CONTROLLER_COLUMNS` by name, as DRAMSys spells them.
      mapping: Address mapping that fits the device.
      device: The memory.
      trace: Requests of the workload.
      metrics: Metrics of the design.

    Raises:
      InvalidDesignError: Requests wait for answers.
    """
    if n_waiting := int((trace.waits_for >= 0).sum()):
        raise InvalidDesignError(
            f"DRAMSys sends requests at fixed times; of the workload {trace.name!r}, {n_waiting} "
            f"of {len(trace)} requests wait for an earlier answer. Choose another workload."
        )
    bursts = split(trace, device)
    sent = Trace(
        trace.name, bursts.ticks, bursts.is_write, bursts.addresses,
        clock_mhz=trace.clock_mhz, relative=trace.relative,
    )  # fmt: skip
    ending = "rstl" if trace.relative else "stl"
    name = "archgym.json"
    simulation = dict.fromkeys(("addressmapping", "mcconfig", "memspec", "simconfig"), name)
    simulation |= {"simulationid": "archgym", "thermalconfig": name}
    players = [{"clkMhz": trace.clock_mhz, "name": f"trace.{ending}"}]
    settings = dramsys_settings(controller, mapping, device)
    folders = dict(zip(settings, ("amconfigs", "mcconfigs", "memspecs", "simulator"), strict=True))
    contents: dict[str, dict[str, Any]] = {
        "simulation.json": {"simulation": {**simulation, "tracesetup": players}},
        **{f"configs/{folders[key]}/{name}": {key: value} for key, value in settings.items()},
        f"configs/thermalsim/{name}": {"thermalsimconfig": _THERMAL},
        f"configs/thermalsim/{_THERMAL['PowerInfoFile']}": {"powerInfo": _POWERS},
    }
    files = {path: json.dumps(content, indent=4) + "\n" for path, content in contents.items()}
    files[f"traces/trace.{ending}"] = trace_text(sent)
    numbers = [
        Number(
            metric="total_time_ns", value=metrics["total_time_ns"], unit="ns",
            after=("  Total Time:",), units={"ps": 1e-3, "ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9},
        )
    ]  # fmt: skip
    # DRAMSys charges powered-down ranks for others, which the model does not.
    if device.has_energy and device.n_ranks == 1:
        energy = Number(
            metric="total_energy_pj", value=metrics["total_energy_pj"], unit="pJ",
            # It prints two decimals.
            tolerance=0.005, after=("  Total Energy:",), units={"pJ": 1.0},
        )  # fmt: skip
        numbers.append(energy)
    differences = []
    if bursts.are_split:
        differences.append(
            f"Requests of {trace.name} are longer than a burst of {device.burst_bytes} bytes, and "
            "the trace has their bursts one by one: latencies of DRAMSys are those of bursts."
        )
    return folder(DRAMSYS, files, '"$tool" simulation.json ./', numbers, differences=differences)


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


def ramulator_memory(configuration: "Configuration", made: "Standard") -> str:
    """Return a memory system for Ramulator 2.1, in Python; see `ramulator_files`."""
    c, family = configuration, made.family
    if made.path is not None or c.timing in OWN_BINS:
        raise InvalidDesignError(
            f"Ramulator 2.1 has no speed bin {c.timing!r}; the design cannot be exported for it. "
            "Choose another `speed_bin`, or a shipped family of devices."
        )
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
        '"""Memory system for Ramulator 2.1, whose requests come from outside."""',
        "",
        "import ramulator",
        "",
        "controllers = [",
        f"    ramulator.controller.{_CONTROLLERS[family]}(",
        f"        dram=ramulator.dram.{family.upper()}({', '.join(arguments)}),",
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
        "simulation = ramulator.Simulation(ramulator.frontend.External(clock_ratio=1), memory)",
    ]
    return "\n".join(lines) + "\n"


def ramulator_files(
    configuration: "Configuration",
    made: "Standard",
    workload: str,
    bursts: "Requests",
    first: np.ndarray,
    metrics: Mapping[str, float],
) -> dict[str, str | bytes]:
    """Return a memory for Ramulator 2.1, its requests, and a driver that sends them.

    Args:
      configuration: Device, channels and settings of the controllers.
      made: Family of the device.
      workload: Name of the workload.
      bursts: Bursts of the workload.
      first: (n_requests,), first burst of each request.
      metrics: Metrics of the design.

    Raises:
      InvalidDesignError: The device is not one of Ramulator's, or requests wait for answers.
    """
    c = configuration
    if bursts.waits is not None:
        raise InvalidDesignError(
            f"The driver of Ramulator sends requests at fixed times; some of the workload "
            f"{workload!r} wait for an earlier answer. Choose another workload."
        )
    tick_ps = made.tick_ps(c.timing)
    starts = np.zeros(len(bursts.addresses), dtype=np.int64)
    starts[first] = 1
    columns = (
        -(-bursts.time_ps // tick_ps), bursts.is_write, bursts.addresses, np.cumsum(starts) - 1
    )  # fmt: skip
    rows = zip(*(column.tolist() for column in columns), strict=True)
    driver = resources.files("archgym.simulators.dram") / "data" / "ramulator_driver.cpp"
    files = {
        "memory.py": ramulator_memory(c, made),
        "requests.txt": "".join(f"{t} {'W' if w else 'R'} {a} {n}\n" for t, w, a, n in rows),
        "driver.cpp": driver.read_text("utf-8"),
    }
    numbers = [
        Number(
            metric=metric, value=metrics[metric], unit="ticks", scale=1e3 / tick_ps,
            tolerance=tolerance, after=(printed,),
        )
        for metric, printed, tolerance in (
            # The driver prints nine decimals.
            ("total_time_ns", "total_ticks:", 0.0), ("mean_latency_ns", "mean_latency_ticks:", 1e-9)
        )
    ]  # fmt: skip
    burst_bytes = made.organisations[c.organisation].burst_bytes
    return folder(
        RAMULATOR, files, _BUILD + f"./driver memory.yaml requests.txt {burst_bytes}", numbers,
        differences=[f"Ramulator counts ticks, of {tick_ps} ps, and has no energy."],
    )  # fmt: skip
