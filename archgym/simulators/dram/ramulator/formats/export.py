"""Designs as a script of Ramulator 2.1.

The classes are those of its version 2.1 (github.com/CMU-SAFARI/ramulator2, `python/ramulator`).
"""

from pathlib import Path
from typing import Final

from archgym.errors import InvalidDesignError
from archgym.simulators.dram.formats.trace import Trace
from archgym.simulators.dram.ramulator.kernel.run import Configuration

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


def ramulator_files(
    configuration: Configuration, family: str, path: Path | None, trace: Trace
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
