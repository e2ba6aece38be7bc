"""Energy from command counts, bank states and the currents of a data sheet.

The equations are DRAMPower 6.2's core equations, per supply with voltage V. `Itheta` is the current
of an activation and `I1` that of one open bank. `Irho` is that of an open rank without its banks.

Source:
  DRAMPower 6.2 (DDR4, DDR5, LPDDR4, LPDDR5); M. Jung et al., *A new bank sensitive DRAMPower model
  for efficient design space exploration*, PATMOS 2016, for the bank-wise background (`factRho`).
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.dram.kernel.records import KINDS, RULES
from archgym.simulators.kit import InvalidArgumentError, check_choice

CORE_CAUSES: Final = (
    "act", "pre", "bg_act", "bg_pre", "RD", "WR", "RDA", "WRA",
    "ref_AB", "ref_PB", "ref_SB", "bg_act_shared", "PDNA", "PDNP", "sref",
)  # fmt: skip
"""Causes of core energy; `bg_act` is without the part that all banks share."""

CORE_CAUSES_OF: Final = {
    "activate": ("act",),
    "precharge": ("pre",),
    "read": ("RD", "RDA"),
    "write": ("WR", "WRA"),
    "refresh": ("ref_AB", "ref_PB", "ref_SB"),
    "background": ("bg_act", "bg_pre", "bg_act_shared", "PDNA", "PDNP", "sref"),
}
"""Causes of `CORE_CAUSES` by the cause that the metrics name."""

STANDARDS: Final = ("DDR4", "DDR5", "LPDDR4", "LPDDR5")
_CURRENTS: Final = ("0", "2n", "3n", "4r", "4w", "5", "6", "2p", "3p")


@final
@dataclass(frozen=True, kw_only=True)
class Supply:
    """A supply voltage and the currents that it feeds.

    Attributes:
      voltage: Supply voltage [V].
      current: Currents of one device by their JEDEC suffix: 0, 2n, 3n, 4r, 4w, 5 (all-bank
        refresh), 5c (same-bank), 5pb (per-bank), 6, 2p, 3p, beta [A].
    """

    voltage: float
    current: Mapping[str, float]

    def __post_init__(self) -> None:
        absent = [name for name in _CURRENTS if name not in self.current]
        if absent:
            raise InvalidArgumentError(f"A supply must state the currents {', '.join(absent)}.")


@final
@dataclass(frozen=True, kw_only=True)
class PowerSpec:
    """Everything that the energy equations read of a memory.

    Attributes:
      standard: One of DDR4, DDR5, LPDDR4, LPDDR5.
      supplies: Supplies with their currents.
      n_devices: Devices that work in lockstep.
      n_groups: Bank groups of a rank.
      n_banks: Banks of a rank.
      burst: Clocks that a burst fills on the data bus (LPDDR5: of the data clock WCK).
      fact_rho: Share of the active background current that all banks of a rank share, 0 to 1.
      t_ck_s: Clock period [s].
      clocks: Durations by name [clocks]: RAS, RP, RFC, RFCpb, RFCsb, REFI, RTP, WL, WR, AL, WCK2CK.
    """

    standard: str
    supplies: tuple[Supply, ...]
    n_devices: int
    n_groups: int
    n_banks: int
    burst: int
    fact_rho: float
    t_ck_s: float
    clocks: Mapping[str, int]

    def __post_init__(self) -> None:
        check_choice("standard", self.standard, STANDARDS)

    def rules(self, ticks_per_clock: int = 1) -> npt.NDArray[Any]:
        """Return the durations that decide when banks close by themselves.

        Returns:
          (1,) of `records.RULES`.

        Source:
          DRAMPower 6.2: offsets of automatic precharge by standard (integer divisions).
        """
        c = self.clocks
        if self.standard == "DDR4":
            read, write = c.get("AL", 0) + c["RTP"], self.burst + c["WL"] + c["WR"]
        elif self.standard == "DDR5":
            read, write = c["RTP"], self.burst + c["WL"] + c["WR"]
        elif self.standard == "LPDDR4":
            read = c["RTP"] if self.burst == 8 else 8 + c["RTP"]
            write = c["WL"] + self.burst + c["WR"] + 1
        else:
            burst = self.burst // c["WCK2CK"]
            read, write = burst + c["RTP"], c["WL"] + burst + 1 + c["WR"]
        table = np.zeros(1, dtype=RULES)
        row = table[0]
        row["banks_per_rank"] = self.n_banks
        row["banks_per_group"] = self.n_banks // self.n_groups
        for name, clocks in (
            ("ras", c["RAS"]),
            ("read_to_precharge", read),
            ("write_to_precharge", write),
            ("refresh_all", c["RFC"]),
            ("refresh_bank", c.get("RFCpb", 0)),
            ("refresh_same", c.get("RFCsb", 0)),
        ):
            row[name] = clocks * ticks_per_clock
        return table


def core_energy(
    spec: PowerSpec, banks: npt.NDArray[Any], ranks: npt.NDArray[Any], end: int
) -> dict[str, float]:
    """Return the core energy by cause [J].

    Args:
      spec: The memory.
      banks: (n_banks of all ranks,) of `records.BANK_ACCOUNT`, closed.
      ranks: (n_ranks,) of `records.RANK_ACCOUNT`, closed.
      end: Time at which the account was closed [clocks].
    """
    counts = dict(zip(KINDS, banks["counts"].sum(axis=0).tolist(), strict=True))
    bank_time = float(banks["active_time"].sum()) * spec.t_ck_s
    active = float(ranks["active_time"].sum())
    downs = [
        float(ranks[name].sum())
        for name in ("power_down_active", "power_down_precharged", "self_refresh")
    ]
    idle_time = (end * len(ranks) - active - sum(downs)) * spec.t_ck_s
    c = spec.clocks
    t = spec.t_ck_s
    is_ddr = spec.standard.startswith("DDR")
    burst_time = spec.burst * (t / c["WCK2CK"] if spec.standard == "LPDDR5" else t)
    energy = dict.fromkeys(CORE_CAUSES, 0.0)
    for supply in spec.supplies:
        i, v = supply.current, supply.voltage
        one, shared, whole, two = _open_bank(spec, supply)
        theta, beta = _activation(spec, supply)
        if is_ddr:
            column = whole
        elif spec.standard == "LPDDR5" and spec.n_groups == 4 and spec.n_banks == 16:
            column = two
        else:
            column = one
        energy["act"] += v * (theta - one) * c["RAS"] * t * counts["ACT"]
        energy["pre"] += v * (beta - i["2n"]) * c["RP"] * t * counts["PRE"]
        energy["bg_act"] += v * (one - shared) * bank_time
        energy["bg_pre"] += v * i["2n"] * idle_time
        for name in ("RD", "RDA", "WR", "WRA"):
            current = i["4r"] if name.startswith("RD") else i["4w"]
            energy[name] += v * (current - column) * burst_time * counts[name]
        # A bank of the rank sees each all-bank refresh.
        n_refresh_all = counts["REFA"] / spec.n_banks
        energy["ref_AB"] += v * (i["5"] - whole) * c["RFC"] * t * n_refresh_all
        if "5pb" in i:
            energy["ref_PB"] += v * (_per_bank(spec, i) - one) * c["RFCpb"] * t * counts["REFB"]
        if "5c" in i:
            group = shared + (one - shared) * spec.n_groups
            n_same = counts["REFSB"] / spec.n_groups
            energy["ref_SB"] += v * (i["5c"] - group) * c["RFCsb"] * t * n_same
        energy["bg_act_shared"] += v * shared * active * t
        energy["PDNA"] += v * i["3p"] * downs[0] * t
        energy["PDNP"] += v * i["2p"] * downs[1] * t
        energy["sref"] += v * i["6"] * downs[2] * t
    return {cause: value * spec.n_devices for cause, value in energy.items()}


def _open_bank(spec: PowerSpec, supply: Supply) -> tuple[float, float, float, float]:
    """Return the currents I1, Irho, IB and I2 of one open bank, none, all and two [A]."""
    i, rho, n = supply.current, spec.fact_rho, spec.n_banks
    if spec.standard.startswith("DDR"):
        shared = rho * (i["3n"] - i["2n"]) + i["2n"]
        one = (i["3n"] + (n - 1) * shared) / n
        return one, shared, i["3n"], one + (one - shared)
    one = i["3n"]
    shared = (n * rho * one + (1 - rho) * i["2n"]) / (n * rho + 1 - rho)
    return one, shared, shared + n * (one - shared), one + (one - shared)


def _activation(spec: PowerSpec, supply: Supply) -> tuple[float, float]:
    """Return the current of an activation and that of a precharge [A]."""
    i, c = supply.current, spec.clocks
    beta = i.get("beta", i["0"])
    return (i["0"] * (c["RP"] + c["RAS"]) - beta * c["RP"]) / c["RAS"], beta


def _per_bank(spec: PowerSpec, i: Mapping[str, float]) -> float:
    """Return the current while one bank is refreshed, from its average over tREFI / 8 [A]."""
    interval, duration = spec.clocks["REFI"] / 8, spec.clocks["RFCpb"]
    return (i["5pb"] * interval - i["2n"] * (interval - duration)) / duration


def energies_pj(
    spec: PowerSpec, banks: npt.NDArray[Any], ranks: npt.NDArray[Any], end: int
) -> dict[str, float]:
    """Return the core energy by the causes that the metrics name [pJ]; see `core_energy`."""
    joules = core_energy(spec, banks, ranks, end)
    return {
        cause: 1e12 * sum(joules[part] for part in parts) for cause, parts in CORE_CAUSES_OF.items()
    }


@functools.cache
def currents_of(family: str) -> dict[str, Any]:
    """Return what ships of a family's currents, with their source."""
    folder = resources.files("archgym.simulators.dram").joinpath("data/currents")
    data: dict[str, Any] = json.loads(folder.joinpath(f"{family}.json").read_text("utf-8"))
    return data
