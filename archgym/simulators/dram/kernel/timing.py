"""Timing constraints of each memory standard, as tables that the kernels read.

A rule says how long after one command another may follow at the earliest, and within which scope:
the same bank, the same bank group, the same rank, or another rank. Only the latest previous
command of a kind counts, so the kernels keep earliest times and push them forward on each issue.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.errors import InvalidArgumentError
from archgym.simulators.dram.costs import relieve_rules, relieve_table
from archgym.simulators.dram.kernel.commands import (
    ACT,
    COLUMNS,
    N_BANK_COMMANDS,
    N_COMMANDS,
    OPENINGS,
    PDEA,
    PDEP,
    PDXA,
    PDXP,
    PRE,
    PREA,
    RD,
    RDA,
    READS,
    REFA,
    REFB,
    SREFEN,
    SREFEX,
    WR,
    WRA,
    WRITES,
    Rule,
)
from archgym.simulators.dram.kernel.devices import Device
from archgym.simulators.dram.kernel.state import (
    DEVICE,
    MAX_BANKS,
    MAX_GROUPS,
    MAX_RANKS,
    UNCONSTRAINED,
)

# What `earliest.py` pushes forward after each command, by scope.
_HOLDS: Final[dict[tuple[str, int], tuple[int, ...]]] = defaultdict(
    tuple,
    {
        ("bank", ACT): (*COLUMNS, *OPENINGS, PRE),
        ("rank", ACT): OPENINGS,
        ("group", ACT): OPENINGS,
        ("bank", PRE): OPENINGS,
        ("rank", PRE): (PRE,),
        ("bank", REFB): OPENINGS,
        ("rank", REFB): OPENINGS,
        **{("bank", command): (*OPENINGS, RDA, PRE) for command in COLUMNS},
        **{
            (scope, command): COLUMNS for scope in ("rank", "group", "other") for command in COLUMNS
        },
        **{
            (scope, command): (*COLUMNS, *OPENINGS, PRE)
            for scope in ("rank", "other")
            for command in range(N_BANK_COMMANDS, N_COMMANDS)
        },
    },
)


class _Timing(Mapping[str, int]):
    """Timing parameters, read as attributes: `t.RCD`."""

    def __init__(self, device: Device) -> None:
        self._values = dict(device.timing)
        self._values["BURST"] = device.burst_length // device.data_rate

    def __getattr__(self, name: str) -> int:
        return self._values[name]

    def __getitem__(self, name: str) -> int:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _ddr3_rules(t: _Timing) -> Iterator[Rule]:
    """Yield DDR3: JESD79-3F, with the derived distances that DRAMSys 4 uses."""
    read_to_write = t.RL + t.BURST + 2 - t.WL
    yield Rule("rank", READS, READS, t.CCD)
    yield Rule("rank", WRITES, WRITES, t.CCD)
    yield Rule("rank", READS, WRITES, read_to_write)
    yield Rule("rank", WRITES, READS, t.WL + t.BURST + t.WTR)
    yield Rule("rank", (ACT,), (ACT,), t.RRD)
    yield from _any_rank_data_bus(
        t,
        read_to_write=t.RL + t.BURST + t.RTRS - t.WL,
        write_to_read=t.WL + t.BURST + t.RTRS - t.RL,
    )
    yield from _ddr_common_rules(t)


def _ddr4_rules(t: _Timing) -> Iterator[Rule]:
    """Yield DDR4: JESD79-4; as DDR3 but for bank groups and preambles."""
    for scope, suffix in (("group", "L"), ("rank", "S")):
        column = t[f"CCD_{suffix}"]
        yield Rule(scope, READS, READS, column)
        yield Rule(scope, WRITES, WRITES, column)
        yield Rule(scope, WRITES, READS, t.WL + t.BURST + t[f"WTR_{suffix}"])
        yield Rule(scope, (ACT,), (ACT,), t[f"RRD_{suffix}"])
    yield Rule("rank", READS, WRITES, t.RL + t.BURST + 1 - t.WL + t.WPRE)
    yield from _any_rank_data_bus(
        t,
        read_to_write=t.RL + t.BURST + t.RTRS - t.WL + t.WPRE,
        write_to_read=t.WL + t.BURST + t.RTRS - t.RL + t.RPRE,
    )
    yield from _ddr_common_rules(t)


def _any_rank_data_bus(t: _Timing, *, read_to_write: int, write_to_read: int) -> Iterator[Rule]:
    """Yield the data bus that several ranks share."""
    yield Rule("other", READS, READS, t.BURST + t.RTRS)
    yield Rule("other", WRITES, WRITES, t.BURST + t.RTRS)
    yield Rule("other", READS, WRITES, read_to_write)
    # DRAMSys also holds reads of the writing rank itself by this one.
    yield Rule("other", WRITES, READS, write_to_read)
    yield Rule("rank", WRITES, READS, write_to_read)


def _ddr_common_rules(t: _Timing) -> Iterator[Rule]:
    """Return the rules that DDR3 and DDR4 share."""
    write_to_precharge = t.WL + t.BURST + t.WR
    read_to_act = t.AL + t.RTP + t.RP
    write_to_act = write_to_precharge + t.RP
    read_to_power_down = t.RL + t.BURST + 1
    write_to_power_down = t.WL + t.BURST + t.WR
    auto_write_to_power_down = write_to_power_down + 1

    yield Rule("bank", (ACT,), COLUMNS, t.RCD - t.AL)
    yield Rule("bank", (WR,), (RDA,), write_to_precharge - t.RTP)
    yield Rule("rank", (PDXA,), COLUMNS, t.XP)
    yield Rule("rank", (SREFEX,), COLUMNS, t.XSDLL)

    yield Rule("bank", (ACT,), (ACT,), t.RC)
    yield Rule("bank", (RDA,), (ACT,), read_to_act)
    yield Rule("bank", (WRA,), (ACT,), write_to_act)
    yield Rule("bank", (PRE,), (ACT,), t.RP)
    yield Rule("rank", (PREA,), (ACT,), t.RP)
    yield Rule("rank", (PDXA, PDXP), (ACT,), t.XP)
    yield Rule("rank", (REFA,), (ACT,), t.RFC)
    yield Rule("rank", (SREFEX,), (ACT,), t.XS)

    yield Rule("bank", (ACT,), (PRE,), t.RAS)
    yield Rule("bank", (RD,), (PRE,), t.AL + t.RTP)
    yield Rule("bank", (WR,), (PRE,), write_to_precharge)
    yield Rule("rank", (PDXA,), (PRE,), t.XP)

    yield Rule("rank", (ACT,), (PREA,), t.RAS)
    yield Rule("rank", READS, (PREA,), t.AL + t.RTP)
    yield Rule("rank", WRITES, (PREA,), write_to_precharge)
    yield Rule("rank", (PDXA,), (PREA,), t.XP)

    yield Rule("rank", (ACT,), (REFA, SREFEN), t.RC)
    yield Rule("rank", (RDA,), (REFA,), read_to_act)
    yield Rule("rank", (WRA,), (REFA,), write_to_act)
    yield Rule("rank", (PRE, PREA), (REFA, SREFEN), t.RP)
    yield Rule("rank", (PDXP,), (REFA, SREFEN), t.XP)
    yield Rule("rank", (REFA,), (REFA, SREFEN), t.RFC)
    yield Rule("rank", (SREFEX,), (REFA, SREFEN), t.XS)
    yield Rule("rank", (RDA,), (SREFEN,), max(read_to_power_down, read_to_act))
    yield Rule("rank", (WRA,), (SREFEN,), max(auto_write_to_power_down, write_to_act))
    yield Rule("rank", (SREFEN,), (SREFEX,), t.CKESR)

    yield Rule("rank", (ACT,), (PDEA,), t.ACTPDEN)
    yield Rule("rank", READS, (PDEA, PDEP), read_to_power_down)
    yield Rule("rank", (WR,), (PDEA,), write_to_power_down)
    yield Rule("rank", (WRA,), (PDEA, PDEP), auto_write_to_power_down)
    yield Rule("rank", (PRE,), (PDEA,), t.PRPDEN)
    yield Rule("rank", (PRE, PREA), (PDEP,), t.PRPDEN)
    yield Rule("rank", (REFA,), (PDEP,), t.REFPDEN)
    yield Rule("rank", (SREFEX,), (PDEP,), t.XS)
    yield from _power_down_toggle(t)


def _power_down_toggle(t: _Timing, scope: str = "rank") -> Iterator[Rule]:
    yield Rule(scope, (PDEA,), (PDXA,), t.CKE)
    yield Rule(scope, (PDEP,), (PDXP,), t.CKE)
    yield Rule(scope, (PDXA,), (PDEA,), t.CKE)
    yield Rule(scope, (PDXP,), (PDEP,), t.CKE)


def _lpddr4_rules(t: _Timing) -> Iterator[Rule]:
    """Yield LPDDR4: JESD209-4; commands last several cycles, hence the small corrections."""
    read_to_precharge = t.RTP + t.BURST - 6
    write_to_precharge = t.WL + t.BURST + 1 + t.WR + 2
    write_to_read = t.WL + 1 + t.BURST + t.WTR

    yield Rule("bank", (ACT,), COLUMNS, t.RCD)
    yield Rule("bank", (WR,), (RDA,), write_to_precharge - read_to_precharge)
    yield Rule("rank", READS, READS, t.CCD)
    yield Rule("rank", WRITES, WRITES, t.CCD)
    yield Rule("rank", READS, WRITES, t.RL + t.DQSCK + t.BURST - t.WL + t.WPRE + t.RPST)
    yield Rule("rank", WRITES, READS, write_to_read)
    yield Rule("other", READS, READS, t.BURST + t.RTRS)
    yield Rule("other", WRITES, WRITES, t.BURST + t.RTRS)
    yield Rule("other", READS, WRITES, t.RL + t.BURST + t.RTRS - t.WL)
    yield Rule("other", WRITES, READS, t.WL + t.BURST + t.RTRS - t.RL)
    yield Rule("rank", (PDXA,), COLUMNS, t.XP)

    yield Rule("bank", (ACT,), (ACT,), t.RCPB)
    yield Rule("rank", (ACT,), (ACT,), t.RRD)
    yield Rule("bank", (RDA,), (ACT,), t.RTP + t.BURST - 8 + t.RPPB)
    yield Rule("bank", (WRA,), (ACT,), t.WL + t.BURST + 1 + t.WR + t.RPPB)
    yield Rule("bank", (PRE,), (ACT,), t.RPPB - 2)
    yield Rule("rank", (PREA,), (ACT,), t.RPAB - 2)
    yield Rule("rank", (REFA,), (ACT,), t.RFCAB - 2)
    yield Rule("bank", (REFB,), (ACT,), t.RFCPB - 2)
    yield Rule("rank", (REFB,), (ACT,), t.RRD - 2)
    yield Rule("rank", (PDXA, PDXP), (ACT,), t.XP)
    yield Rule("rank", (SREFEX,), (ACT,), t.XSR - 2)

    yield Rule("bank", (ACT,), (PRE,), t.RAS + 2)
    yield Rule("bank", (RD,), (PRE,), read_to_precharge)
    yield Rule("bank", (WR,), (PRE,), write_to_precharge)
    yield Rule("rank", (PRE,), (PRE, PREA), t.PPD)
    yield Rule("rank", (PDXA,), (PRE, PREA), t.XP)
    yield Rule("rank", (ACT,), (PREA,), t.RAS + 2)
    yield Rule("rank", READS, (PREA,), read_to_precharge)
    yield Rule("rank", WRITES, (PREA,), write_to_precharge)
    yield Rule("rank", (REFB,), (PREA,), t.RFCPB)

    for scope, refresh in (("rank", REFA), ("bank", REFB)):
        yield Rule(scope, (ACT,), (refresh,), t.RCPB + 2)
        yield Rule(scope, (RDA,), (refresh,), read_to_precharge + t.RPPB)
        yield Rule(scope, (WRA,), (refresh,), write_to_precharge + t.RPPB)
        yield Rule(scope, (PRE,), (refresh,), t.RPPB)
        yield Rule("rank", (PREA,), (refresh,), t.RPAB)
        yield Rule("rank", (REFA,), (refresh,), t.RFCAB)
        yield Rule("rank", (REFB,), (refresh,), t.RFCPB)
        yield Rule("rank", (PDXP,), (refresh,), t.XP)
        yield Rule("rank", (SREFEX,), (refresh,), t.XSR)
    yield Rule("rank", (ACT,), (REFB,), t.RRD + 2)
    yield Rule("rank", (PDXA,), (REFB,), t.XP)

    # Power-down entry as JESD209-4 has it, equal to DRAMSys on the recorded rows of one rank.
    read_to_power_down = 3 + t.RL + t.DQSCK + t.BURST + t.RPST
    write_to_power_down = 3 + t.WL + t.DQSS + t.DQS2DQ + t.BURST + t.WR
    yield Rule("rank", (ACT,), (PDEA,), 3 + t.CMDCKE)
    yield Rule("rank", (PRE, PREA), (PDEA, PDEP), 1 + t.CMDCKE)
    yield Rule("rank", (REFA, REFB), (PDEA, PDEP), 1 + t.CMDCKE)
    yield Rule("rank", READS, (PDEA, PDEP), read_to_power_down)
    yield Rule("rank", (WR,), (PDEA,), write_to_power_down)
    yield Rule("rank", (WRA,), (PDEA, PDEP), write_to_power_down + 2)
    yield Rule("rank", (SREFEX,), (PDEP, SREFEN), t.XSR)
    yield Rule("rank", (ACT,), (SREFEN,), t.RCPB + 2)
    yield Rule("rank", (RDA,), (SREFEN,), max(read_to_power_down, read_to_precharge + t.RPPB))
    yield Rule("rank", (WRA,), (SREFEN,), max(write_to_power_down, write_to_precharge + t.RPPB))
    yield Rule("rank", (PRE,), (SREFEN,), t.RPPB)
    yield Rule("rank", (PREA,), (SREFEN,), t.RPAB)
    yield Rule("rank", (REFA,), (SREFEN,), t.RFCAB)
    yield Rule("rank", (REFB,), (SREFEN,), t.RFCPB)
    yield Rule("rank", (PDXP,), (SREFEN,), t.XP)
    yield Rule("rank", (SREFEN,), (SREFEX,), t.SR)
    yield from _power_down_toggle(t)


def _hbm2_rules(t: _Timing) -> Iterator[Rule]:
    """Return HBM2's rules (JESD235A): two command buses; an activation lasts two cycles."""
    write_to_precharge = t.WL + t.BURST + t.WR

    yield Rule("bank", (ACT,), READS, t.RCDRD + 1)
    yield Rule("bank", (ACT,), WRITES, t.RCDWR + 1)
    yield Rule("bank", (WR,), (RDA,), write_to_precharge - t.RTP)
    for scope, suffix in (("group", "L"), ("rank", "S")):
        yield Rule(scope, READS, READS, t[f"CCD{suffix}"])
        yield Rule(scope, WRITES, WRITES, t[f"CCD{suffix}"])
        yield Rule(scope, WRITES, READS, t.WL + t.BURST + t[f"WTR{suffix}"])
        yield Rule(scope, (ACT,), (ACT,), t[f"RRD{suffix}"])
    yield Rule("rank", READS, WRITES, t.RTW)

    yield Rule("bank", (ACT,), (ACT,), t.RC)
    yield Rule("bank", (RDA,), (ACT,), t.RTP + t.RP - 1)
    yield Rule("bank", (WRA,), (ACT,), write_to_precharge + t.RP - 1)
    yield Rule("bank", (PRE,), (ACT,), t.RP - 1)
    yield Rule("rank", (PREA,), (ACT,), t.RP - 1)
    yield Rule("rank", (REFA,), (ACT,), t.RFC - 1)
    yield Rule("bank", (REFB,), (ACT,), t.RFCSB - 1)
    yield Rule("rank", (REFB,), (ACT,), t.RREFD - 1)

    yield Rule("bank", (ACT,), (PRE,), t.RAS + 1)
    yield Rule("bank", (RD,), (PRE,), t.RTP)
    yield Rule("bank", (WR,), (PRE,), write_to_precharge)
    yield Rule("rank", (ACT,), (PREA,), t.RAS + 1)
    yield Rule("rank", READS, (PREA,), t.RTP)
    yield Rule("rank", WRITES, (PREA,), write_to_precharge)
    yield Rule("rank", (REFB,), (PREA,), t.RFCSB)

    for scope, refresh in (("rank", REFA), ("bank", REFB)):
        yield Rule(scope, (ACT,), (refresh,), t.RC + 1)
        yield Rule(scope, (RDA,), (refresh,), t.RTP + t.RP)
        yield Rule(scope, (WRA,), (refresh,), write_to_precharge + t.RP)
        yield Rule(scope, (PRE,), (refresh,), t.RP)
        yield Rule("rank", (PREA,), (refresh,), t.RP)
        yield Rule("rank", (REFA,), (refresh,), t.RFC)
    yield Rule("rank", (REFB,), (REFA,), t.RFCSB)
    yield Rule("group", (ACT,), (REFB,), t.RRDL + 1)
    yield Rule("rank", (ACT,), (REFB,), t.RRDS + 1)
    yield Rule("bank", (REFB,), (REFB,), t.RFCSB)
    yield Rule("rank", (REFB,), (REFB,), t.RREFD)
    yield from _hbm2_power_down_rules(t)


def _hbm2_power_down_rules(t: _Timing) -> Iterator[Rule]:
    """Yield HBM2's power-down, which both pseudo channels share: they have one clock enable.

    Source:
      DRAMSys 4, state of May 2021: its HBM2 checker looks at the whole channel's last command.
    """
    read_to_power_down = t.RL + t.PL + t.BURST + 1
    write_to_power_down = t.WL + t.PL + t.BURST + 1 + t.WR
    write_to_act = t.WL + t.BURST + t.WR + t.RP
    for scope in ("rank", "other"):
        yield Rule(scope, (PDXA,), (*COLUMNS, PRE, REFB, PREA), t.XP)
        yield Rule(scope, (PDXA, PDXP), (ACT,), t.XP - 1)
        yield Rule(scope, (PDXP,), (REFA, REFB, SREFEN), t.XP)
        yield Rule(scope, (SREFEX,), (ACT,), t.XS - 1)
        yield Rule(scope, (SREFEX,), (REFA, REFB, PDEP, SREFEN), t.XS)
        yield Rule(scope, READS, (PDEA, PDEP), read_to_power_down)
        yield Rule(scope, WRITES, (PDEA,), write_to_power_down)
        yield Rule(scope, (WRA,), (PDEP,), write_to_power_down)
        yield Rule(scope, (ACT,), (SREFEN,), t.RC + 1)
        yield Rule(scope, (RDA,), (SREFEN,), max(read_to_power_down, t.RTP + t.RP))
        yield Rule(scope, (WRA,), (SREFEN,), write_to_act)
        yield Rule(scope, (PRE, PREA), (SREFEN,), t.RP)
        yield Rule(scope, (REFA,), (SREFEN,), t.RFC)
        yield Rule(scope, (REFB,), (SREFEN,), t.RFCSB)
        yield Rule(scope, (SREFEN,), (SREFEX,), t.CKE + 1)
        yield from _power_down_toggle(t, scope)


@dataclass(frozen=True)
class _Standard:
    """Constants of a standard other than its rules, in clock cycles."""

    rules: Callable[[_Timing], Iterator[Rule]]
    read_done: Callable[[_Timing], int]
    write_done: Callable[[_Timing], int]
    refresh_interval: Callable[[_Timing], int]
    bank_refresh_interval: Callable[[_Timing], int]
    window_to_act: Callable[[_Timing], int]
    window_to_refb: Callable[[_Timing], int]
    length: Mapping[int, int]  # of commands that last longer than one cycle
    has_column_bus: bool = False


def _never(_: _Timing) -> int:
    return 0


def _ddr(rules: Callable[[_Timing], Iterator[Rule]]) -> _Standard:
    return _Standard(
        rules=rules,
        read_done=lambda t: t.RL + t.BURST,
        write_done=lambda t: t.WL + t.BURST,
        refresh_interval=lambda t: t.REFI // t.get("REFM", 1),
        bank_refresh_interval=_never,
        window_to_act=lambda t: t.FAW,
        window_to_refb=_never,
        length={},
    )


_STANDARDS: Final[dict[str, _Standard]] = {
    "DDR3": _ddr(_ddr3_rules),
    "DDR4": _ddr(_ddr4_rules),
    "LPDDR4": _Standard(
        rules=_lpddr4_rules,
        read_done=lambda t: t.RL + t.DQSCK + t.BURST + 3,
        write_done=lambda t: t.WL + t.DQSS + t.DQS2DQ + t.BURST + 3,
        refresh_interval=lambda t: t.REFI,
        bank_refresh_interval=lambda t: t.REFIPB,
        window_to_act=lambda t: t.FAW - 3,
        window_to_refb=lambda t: t.FAW - 1,
        length={
            **dict.fromkeys((ACT, RD, RDA, WR, WRA), 4),
            **dict.fromkeys((PRE, PREA, REFA, REFB, SREFEN, SREFEX), 2),
        },
    ),
    "HBM2": _Standard(
        rules=_hbm2_rules,
        read_done=lambda t: t.RL + t.DQSCK + t.BURST,
        write_done=lambda t: t.WL + t.BURST,
        refresh_interval=lambda t: t.REFI,
        bank_refresh_interval=lambda t: t.REFISB,
        window_to_act=lambda t: t.FAW - 1,
        window_to_refb=lambda t: t.FAW,
        length={ACT: 2},
        has_column_bus=True,
    ),
}


def rules(device: Device) -> tuple[Rule, ...]:
    """Return every timing rule of a device."""
    return tuple(_STANDARDS[device.standard].rules(_Timing(device)))


def device_table(device: Device, without: str | None = None) -> npt.NDArray[Any]:
    """Return the table that kernels read of a device, all times in ps.

    Args:
      device: The memory.
      without: One of `costs.COSTS` that it does not pay.

    Returns:
      (1,) of `state.DEVICE`.

    Raises:
      InvalidArgumentError: The device is larger than the kernels' tables.
    """
    limits = {
        "banks": (device.n_banks * device.n_ranks, MAX_BANKS),
        "bank groups": (device.n_groups * device.n_ranks, MAX_GROUPS),
        "ranks": (device.n_ranks, MAX_RANKS),
    }
    for what, (count, limit) in limits.items():
        if count > limit:
            raise InvalidArgumentError(
                f"A device may have at most {limit} {what} in a channel; "
                f"{device.name!r} has {count}."
            )
    standard = _STANDARDS[device.standard]
    timing = _Timing(device)
    clock = device.clock_ps

    table = np.zeros(1, dtype=DEVICE)
    row = table[0]
    row["clock"] = clock
    row["n_ranks"] = device.n_ranks
    row["n_banks"] = device.n_ranks * device.n_banks
    row["banks_per_rank"] = device.n_banks
    row["has_groups"] = device.n_groups > 1
    row["has_column_bus"] = standard.has_column_bus
    row["is_simple"] = (
        device.n_ranks == 1
        and device.n_groups == 1
        and not standard.has_column_bus
        and not standard.length
    )
    # DRAMSys computes "never" plus one cycle, which wraps round to one cycle less one picosecond.
    row["first_command"] = clock - 1 if standard.has_column_bus else 0
    row["read_done"] = standard.read_done(timing) * clock
    row["write_done"] = standard.write_done(timing) * clock
    row["refresh_interval"] = (
        0,
        standard.refresh_interval(timing) * clock,
        standard.bank_refresh_interval(timing) * clock,
    )
    row["window_to_act"] = standard.window_to_act(timing) * clock
    row["window_to_refb"] = standard.window_to_refb(timing) * clock
    row["refb_round"] = timing.RFCSB * clock if device.standard == "HBM2" else UNCONSTRAINED
    row["length"] = clock
    for command, cycles in standard.length.items():
        row["length"][command] = cycles * clock
    for scope in ("bank", "group", "rank", "other"):
        row[scope] = UNCONSTRAINED
    relieve_table(row, without)
    for rule in relieve_rules(standard.rules(timing), without):
        for previous in rule.previous:
            for following in rule.following:
                # Rank commands look back by themselves; the others are held back by the kernels.
                assert following in _HOLDS[rule.scope, previous] or (
                    rule.scope in ("rank", "other") and following >= N_BANK_COMMANDS
                )
                if rule.scope == "other" and max(previous, following) >= N_BANK_COMMANDS:
                    row["has_shared_power"] = 1
                delay = row[rule.scope][previous]
                delay[following] = max(delay[following], rule.cycles * clock)
    _fill_energy(row, device, timing)
    assert row["length"].shape == (N_COMMANDS,)
    return table


def _fill_energy(row: Any, device: Device, t: _Timing) -> None:
    """Return durations that the energy accounting needs, see `energy.py`."""
    clock = device.clock_ps
    row["has_energy"] = device.has_energy
    if not device.has_energy:
        return
    minimum = 4 if device.standard == "DDR3" else 0  # JESD79-3F: a read precharges after 4 at least
    row["read_to_precharge"] = (t.AL + max(t.RTP, minimum)) * clock
    row["write_to_precharge"] = (t.WL + t.BURST + t.WR) * clock
    row["act_to_precharge"] = t.RAS * clock
    row["precharge"] = t.RP * clock
    row["refresh"] = t.RFC * clock
    tail = row["tail"]
    for command in READS:
        tail[command] = (t.RL + t.DQSCK + 1 + t.BURST) * clock
    for command in WRITES:
        tail[command] = (t.WL + t.BURST + t.WR) * clock
    tail[ACT] = t.RCD * clock
    tail[PRE] = tail[PREA] = t.RP * clock
