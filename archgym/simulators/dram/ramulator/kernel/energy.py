"""Energy inputs of a family: shipped currents with the timings of an organisation and bin."""

import functools
from typing import Any, Final

import numpy.typing as npt

from archgym.simulators.dram.kernel.currents import PowerSpec, Supply, currents_of
from archgym.simulators.dram.ramulator.machine import Standard

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


def rules_of(made: Standard, organisation: str, speed: str) -> npt.NDArray[Any] | None:
    """Return the durations of the energy account, (1,) of `power.RULES`; None without currents."""
    if not has_energy(made):
        return None
    return power_of(made, organisation, speed).rules(made.ticks_per_clock)
