"""Recorded energies of DRAMPower 6.2, and the energy equations on its command lists."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.errors import ArchGymError, FileFormatError
from archgym.simulators.dram.kernel.currents import (
    CORE_CAUSES,
    PowerSpec,
    Supply,
    core_energy,
)
from archgym.simulators.dram.kernel.records import KINDS, blank_account
from evidence.dram.results import Comparison
from evidence.recorded import Record, read_rows, read_text

_ENERGY_COLUMNS: Final = ("name", "memspec", "patch", "end", "core_total", "rank_act_cycles")

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


def compare_energies(
    name: str, path: Path, rows: Sequence[Record], folder: Path
) -> Iterator[Comparison]:
    """Yield the errors of core energy and active times over the rows of a results file."""
    causes, times = [], []
    specifications: dict[str, dict[str, Any]] = {}
    for row in rows:
        for column in _ENERGY_COLUMNS:
            row.text(column)
        title = row.text("memspec")
        if title not in specifications:
            specifications[title] = _memspec(folder / "memspecs" / f"{title}.json")
        try:
            merged = _merge(specifications[title], json.loads(row.text("patch") or "{}"))
            spec = power_spec(merged)
            n_ranks = int(merged["memarchitecturespec"]["nbrOfRanks"])
        except (KeyError, ValueError, TypeError, ArchGymError) as error:
            raise FileFormatError(
                path,
                row.line,
                f"memory specification {title!r} with its patch must be complete: "
                f"{type(error).__name__} {error}",
            ) from None
        end = row.whole("end")
        commands = folder / "commands" / f"{row.text('name')}.csv.gz"
        banks, ranks = _account(commands, spec.n_banks, spec.n_groups, n_ranks, spec.rules(), end)
        joules = core_energy(spec, banks, ranks, end)
        total = row.number("core_total")
        worst = abs(sum(joules.values()) - total)
        for cause in CORE_CAUSES:
            if row.cells.get(f"E_{cause}"):
                # The recorded background of active banks includes their shared part.
                shared = joules["bg_act_shared"] if cause == "bg_act" else 0.0
                recorded = row.number(f"E_{cause}")
                worst = max(worst, abs(joules[cause] + shared - recorded))
        causes.append(worst / abs(total) if worst > 1e-9 * abs(total) else 0.0)
        recorded_time = row.whole("rank_act_cycles")
        times.append(float(int(ranks["active_time"].sum()) != recorded_time))
    yield Comparison(name, "core_energy", np.array(causes))
    yield Comparison(name, "active_times", np.array(times))


def _memspec(path: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(read_text(path))["memspec"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(
            path, None, f"a memory specification must be JSON with `memspec`: {error}"
        ) from None
    return data


def _merge(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in patch.items():
        merged[key] = _merge(merged[key], value) if isinstance(value, dict) else value
    return merged


def _account(
    path: Path, n_banks: int, n_groups: int, n_ranks: int, rules: npt.NDArray[Any], end: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the closed accounts of a command list."""
    from archgym.simulators.dram.kernel.power import count_commands

    per_group = n_banks // n_groups
    kinds, of_rank, of_bank, times = [], [], [], []
    for row in read_rows(path):
        kind = row.text("command")
        if kind not in KINDS:
            raise FileFormatError(
                path, row.line, f"`command` must be one of {', '.join(KINDS)}; got {kind!r}"
            )
        rank = max(0, row.whole("rank"))
        is_all = kind in ("PREA", "REFA")
        group = 0 if is_all or kind == "REFSB" else row.whole("bankgroup")
        bank = 0 if is_all else row.whole("bank")
        place = max(0, group) * per_group + max(0, bank)
        if rank >= n_ranks or place >= n_banks:
            raise FileFormatError(
                path, row.line, f"rank {rank}, bank group {group}, bank {bank} must exist"
            )
        kinds.append(KINDS.index(kind))
        of_rank.append(rank)
        of_bank.append(rank * n_banks + place)
        times.append(row.whole("time"))
    banks, ranks = blank_account(n_banks * n_ranks, n_ranks)
    count_commands(
        rules,
        banks,
        ranks,
        np.array(kinds, dtype=np.int64),
        np.array(of_rank, dtype=np.int64),
        np.array(of_bank, dtype=np.int64),
        np.array(times, dtype=np.int64),
        end,
    )
    return banks, ranks
