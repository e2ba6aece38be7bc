"""Energy of LPDDR4, of which DRAMSys 4 has none.

The equations, counts and currents are those of the other controller. The currents are illustrative;
every output says so.
"""

import functools
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.dram.dramsys.devices import Device
from archgym.simulators.dram.dramsys.kernel.commands import COMMAND_NAMES, PREA
from archgym.simulators.dram.kernel.currents import PowerSpec, Supply, currents_of, energies_pj
from archgym.simulators.dram.kernel.records import KINDS, blank_account

_KIND_OF: Final = np.array([KINDS.index(name) if name else -1 for name in COMMAND_NAMES])


def core_power_note() -> str:
    """Return what is known of the currents, in a sentence for outputs."""
    return str(currents_of("lpddr4")["source"])


def least_power_w(device: Device) -> float:
    """Return the power of all ranks in their thriftiest state [W]; 0 if unknown."""
    chips = device.n_devices * device.n_ranks
    spec = core_power(device)
    if spec is not None:
        return chips * sum(s.voltage * min(s.current["2p"], s.current["6"]) for s in spec.supplies)
    least = min(
        (v for name, v in device.current.items() if name.startswith("IDD2P") or name == "IDD6"),
        default=0.0,
    )
    return 1e-3 * chips * least * device.current.get("VDD", 0.0)


@functools.cache
def core_power(device: Device) -> PowerSpec | None:
    """Return currents, voltages and timings for the energy of LPDDR4; None for other standards."""
    if device.standard != "LPDDR4":
        return None
    data, timing = currents_of("lpddr4"), device.timing
    names = {"RAS": "RAS", "RP": "RPPB", "RFC": "RFCAB", "RFCpb": "RFCPB", "RTP": "RTP"}
    names |= {"WL": "WL", "WR": "WR", "REFI": "REFI"}
    return PowerSpec(
        standard="LPDDR4",
        supplies=tuple(Supply(**supply) for supply in data["supplies"]),
        n_devices=device.n_devices,
        n_groups=1,
        n_banks=device.n_banks,
        burst=device.burst_length // device.data_rate,
        fact_rho=float(data["fact_rho"]),
        t_ck_s=device.clock_ps * 1e-12,
        clocks={ours: timing[theirs] for ours, theirs in names.items()} | {"WCK2CK": 1},
    )


def core_energies(
    power: PowerSpec, device: Device, commands: npt.NDArray[Any], total_time_ns: float
) -> tuple[dict[str, float], int]:
    """Return the energy by cause of a run [pJ], and the clock cycles that it covers.

    Args:
      power: Energy inputs of the device.
      device: The device.
      commands: (n,) of `state.COMMAND_LOG`, all that were issued.
      total_time_ns: End of the run; what is issued later does not count.
    """
    # Numba takes a while to import, which listing and describing should not wait for.
    from archgym.simulators.dram.kernel.power import count_commands

    clock = device.clock_ps
    end = -(-round(total_time_ns * 1000.0) // clock)
    times = commands["time"] // clock
    kept = commands[times <= end]
    is_to_rank = kept["command"] >= PREA
    rank = np.where(is_to_rank, kept["target"], kept["target"] // device.n_banks)
    bank = np.where(is_to_rank, kept["target"] * device.n_banks, kept["target"])
    banks, ranks = blank_account(device.n_banks * device.n_ranks, device.n_ranks)
    count_commands(
        power.rules(),
        banks,
        ranks,
        _KIND_OF[kept["command"]].astype(np.int64),
        rank.astype(np.int64),
        bank.astype(np.int64),
        times[times <= end].astype(np.int64),
        end,
    )
    return energies_pj(power, banks, ranks, end), end
