"""DRAMPower's memory specifications as inputs of the energy equations."""

from collections.abc import Mapping
from typing import Any, Final

from archgym.simulators.dram.currents import PowerSpec, Supply

__all__ = ["power_spec"]

# Supplies by standard: voltage, prefix of its currents, suffix, name of the beta current.
_SUPPLIES: Final[dict[str, tuple[tuple[str, str, str, str], ...]]] = {
    "DDR4": (("vdd", "idd", "", "iBeta_vdd"), ("vpp", "ipp", "", "iBeta_vpp")),
    "DDR5": (("vdd", "idd", "", "iBeta_vdd"), ("vpp", "ipp", "", "iBeta_vpp")),
    "LPDDR4": (("vdd1", "idd", "1", "iBeta_vdd1"), ("vdd2", "idd", "2", "iBeta_vdd2")),
    "LPDDR5": (
        ("vdd1", "idd", "1", "iBeta_vdd1"),
        ("vdd2h", "idd", "2h", "iBeta_vdd2h"),
        ("vdd2l", "idd", "2l", "iBeta_vdd2l"),
    ),
}
_NAMES: Final = ("0", "2n", "3n", "4r", "4w", "2p", "3p", "5c", "5pb")
# All-bank refresh and self-refresh, which DDR and LPDDR name differently.
_OTHERS: Final = (("5b", "5"), ("5B", "5"), ("5", "5"), ("6n", "6"), ("6", "6"))
# Durations: our name, then the specification's name by standard.
_CLOCKS: Final[dict[str, dict[str, str]]] = {
    "DDR4": {"RP": "RP", "RFC": "RFC1", "RTP": "RTP", "REFI": "REFI", "AL": "AL"},
    "DDR5": {"RP": "RP", "RFC": "RFC1_slr", "RFCsb": "RFCsb_slr", "RTP": "RTP", "REFI": "REFI1"},
    "LPDDR4": {"RP": "RPpb", "RFC": "RFCab", "RFCpb": "RFCpb", "RTP": "RTP", "REFI": "REFI"},
    "LPDDR5": {
        "RP": "RPpb",
        "RFC": "RFCab",
        "RFCpb": "RFCpb",
        "RTP": "RBTP",
        "REFI": "REFI",
        "WCK2CK": "WCK2CK",
    },
}


def power_spec(specification: Mapping[str, Any]) -> PowerSpec:
    """Return the energy inputs of a memory specification (`memspec` of DRAMPower's JSON)."""
    name = str(specification["memoryType"])
    architecture = specification["memarchitecturespec"]
    timing = specification["memtimingspec"]
    power = specification["mempowerspec"]
    supplies = []
    for voltage, prefix, suffix, beta in _SUPPLIES[name]:
        current = {
            jedec: float(power[f"{prefix}{jedec}{suffix}"])
            for jedec in _NAMES
            if f"{prefix}{jedec}{suffix}" in power
        }
        for theirs, ours in _OTHERS:
            if f"{prefix}{theirs}{suffix}" in power:
                current[ours] = float(power[f"{prefix}{theirs}{suffix}"])
        if beta in power:
            current["beta"] = float(power[beta])
        supplies.append(Supply(voltage=float(power[voltage]), current=current))
    clocks = {ours: int(timing.get(theirs, 0)) for ours, theirs in _CLOCKS[name].items()}
    clocks |= {key: int(timing[key]) for key in ("RAS", "WL", "WR")}
    return PowerSpec(
        standard=name,
        supplies=tuple(supplies),
        n_devices=int(architecture["nbrOfDevices"]),
        n_groups=int(architecture.get("nbrOfBankGroups", 1)),
        n_banks=int(architecture["nbrOfBanks"]),
        burst=int(architecture["burstLength"]) // int(architecture["dataRate"]),
        fact_rho=float(specification.get("bankwisespec", {}).get("factRho", 1.0)),
        t_ck_s=float(timing["tCK"]),
        clocks=clocks,
    )
