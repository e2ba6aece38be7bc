"""Energy and power: what DRAMPower's command-trace model makes of the commands.

The kernels account online for the time with and without an open bank; automatic precharges are
kept back until their time has come. `energies` turns the account into picojoules.

Source:
  K. Chandrasekar et al., *DRAMPower: open-source DRAM power and energy estimation tool*;
  currents and voltages as the device names them.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.dram.dramsys.devices import Device
from archgym.simulators.dram.dramsys.kernel import commands as cmd
from archgym.simulators.dram.dramsys.kernel.state import MAX_BANKS, NONE
from archgym.simulators.dram.kernel.records import NEVER, record
from archgym.simulators.kit.kernels import compiled, inlined

CAUSES: Final = ("activate", "precharge", "read", "write", "refresh", "background")
"""Causes of energy, in the order of the kernel's outputs."""

_CURRENT_NAMES: Final = (
    "IDD0", "IDD2N", "IDD2P0", "IDD3N", "IDD3P0", "IDD4R", "IDD4W", "IDD5", "IDD6",
    "VDD", "IDD02", "IDD62", "VDD2",
)  # fmt: skip

CURRENTS: Final = record(
    (np.int64, "has_energy"),
    (np.float64, "clock_ns"),  # not rounded to ps, as in DRAMPower
    (np.int64, "n_devices n_ranks burst ras rc rfc"),
    (np.float64, " ".join(_CURRENT_NAMES).lower()),
)

_RING: Final = MAX_BANKS - 1  # mask of places in the queue; a bank has one precharge to come

# States of the account; an account in one of them waits for the matching exit command.
_AWAKE, _ACTIVE_DOWN, _PRECHARGED_DOWN, _SELF_REFRESH = range(4)


def currents_table(device: Device) -> npt.NDArray[Any]:
    """Return the inputs of `energies`: currents [mA], voltages [V], durations [cycles].

    Returns:
      (1,) of `CURRENTS`.
    """
    table = np.zeros(1, dtype=CURRENTS)
    row = table[0]
    row["has_energy"] = device.has_energy
    row["clock_ns"] = 1000.0 / device.clock_mhz
    row["n_devices"] = device.n_devices
    row["n_ranks"] = device.n_ranks
    if not device.has_energy:
        return table
    row["burst"] = device.burst_length // device.data_rate
    row["ras"] = device.timing["RAS"]
    row["rc"] = device.timing["RC"]
    row["rfc"] = device.timing["RFC"]
    for name in _CURRENT_NAMES:
        row[name.lower()] = device.current.get(name, 0.0)
    return table


@inlined
def account_act(s: Any, bank: int, now: int) -> None:
    """Open a bank."""
    if s.pending_first <= now:
        settle(s, now)
    s.account_last_act[bank] = now
    if s.account_is_open[bank]:
        return
    s.account_n_act += 1
    if s.account_n_open == 0:
        s.account_first_act = now
        s.account_pre += max(0, now - s.account_last_pre)
    s.account_is_open[bank] = 1
    s.account_n_open += 1


@inlined
def account_pre(s: Any, bank: int, now: int) -> None:
    """Close a bank."""
    if s.pending_first <= now:
        settle(s, now)
    _close(s, bank, now)


@inlined
def _close(s: Any, bank: int, now: int) -> None:
    if not s.account_is_open[bank]:
        return
    s.account_n_pre += 1
    s.account_is_open[bank] = 0
    s.account_n_open -= 1
    if s.account_n_open == 0:
        s.account_act += max(0, now - s.account_first_act)
        s.account_last_pre = now


@inlined
def account_auto(s: Any, d: Any, bank: int, now: int, is_write: bool) -> None:
    """Note the precharge that a column command brings about by itself."""
    delay = d.write_to_precharge if is_write else d.read_to_precharge
    time = max(now + delay, s.account_last_act[bank] + d.act_to_precharge)
    # The queue is kept in order of time; precharges mostly come in it already.
    place = s.pending_end
    s.pending_end += 1
    while place > s.pending_begin and s.pending_time[(place - 1) & _RING] > time:
        s.pending_time[place & _RING] = s.pending_time[(place - 1) & _RING]
        s.pending_bank[place & _RING] = s.pending_bank[(place - 1) & _RING]
        place -= 1
    s.pending_time[place & _RING] = time
    s.pending_bank[place & _RING] = bank
    s.pending_first = min(s.pending_first, time)


@compiled
def settle(s: Any, now: int) -> None:
    """Carry out the automatic precharges that are due, which go before commands of their time."""
    while s.pending_first <= now:
        place = s.pending_begin & _RING
        bank: Any = np.int64(s.pending_bank[place])
        _close(s, bank, s.pending_first)
        s.pending_begin += 1
        if s.pending_begin == s.pending_end:
            s.pending_first = NEVER
        else:
            s.pending_first = s.pending_time[s.pending_begin & _RING]


@compiled
def account_rank_command(s: Any, d: Any, command: int, now: int) -> None:
    """Follow a command to a whole rank; DRAMPower takes it to mean every bank of the channel."""
    settle(s, now)
    if command == cmd.PREA:
        if s.account_n_open > 0:
            s.account_n_pre += s.account_n_open
            s.account_act += max(0, now - s.account_first_act)
            s.account_last_pre = now
            _close_all(s, d)
    elif command == cmd.REFA:
        s.account_n_ref += 1
        s.account_pre += max(0, now - s.account_last_pre)
        s.account_act += d.refresh - d.precharge
        s.account_last_pre = now + d.refresh - d.precharge
        s.account_first_act = now
        _close_all(s, d)
    elif command == cmd.PDEA:
        s.account_act += max(0, now - s.account_first_act)
        for bank in range(d.n_banks):
            s.account_kept_open[bank] = s.account_is_open[bank]
        s.account_kept_n_open = s.account_n_open
        _fall_asleep(s, _ACTIVE_DOWN, now)
    elif command == cmd.PDEP:
        s.account_pre += max(0, now - s.account_last_pre)
        _fall_asleep(s, _PRECHARGED_DOWN, now)
    elif command == cmd.SREFEN:
        s.account_pre += max(0, now - s.account_last_pre)
        _fall_asleep(s, _SELF_REFRESH, now)
    elif command == cmd.PDXA:
        # With several ranks another one's exit may have ended the state that all share.
        if s.account_power_state == _ACTIVE_DOWN:
            s.account_active_down += max(0, now - s.account_power_start)
        for bank in range(d.n_banks):
            s.account_is_open[bank] = s.account_kept_open[bank]
        s.account_n_open = s.account_kept_n_open
        s.account_first_act = now
        s.account_power_state = _AWAKE
    elif command == cmd.PDXP:
        if s.account_power_state == _PRECHARGED_DOWN:
            s.account_precharged_down += max(0, now - s.account_power_start)
        s.account_last_pre = now
        s.account_power_state = _AWAKE
    elif command == cmd.SREFEX:
        _leave_self_refresh(s, d, now)
        s.account_power_state = _AWAKE


@inlined
def _close_all(s: Any, d: Any) -> None:
    for bank in range(d.n_banks):
        s.account_is_open[bank] = 0
    s.account_n_open = 0


@inlined
def _fall_asleep(s: Any, state: int, now: int) -> None:
    s.account_power_state = state
    s.account_power_start = now


@compiled
def _leave_self_refresh(s: Any, d: Any, now: int) -> None:
    """Split a self-refresh of a duration into its initial refresh and the rest."""
    duration = now - s.account_power_start
    opening = d.refresh - d.precharge
    if duration >= d.refresh:
        s.account_refresh_active += opening
        s.account_refresh_precharge += d.precharge
        s.account_self_refresh += duration - d.refresh
        s.account_last_pre = now
    elif duration >= opening:
        rest = d.precharge - (duration - opening)
        s.account_refresh_active += opening
        s.account_refresh_precharge += duration - opening
        s.account_exit_precharge += rest
        s.account_last_pre = now + rest
    else:
        s.account_refresh_active += duration
        s.account_exit_active += opening - duration
        s.account_exit_precharge += d.precharge
        s.account_last_pre = now + opening - duration + d.precharge


@compiled
def close_account(s: Any, d: Any) -> None:
    """End the account after the last command, as DRAMPower's end marker does."""
    if s.account_last_command == NONE:
        return
    end = s.account_last_time + d.tail[s.account_last_command] - d.clock
    if s.pending_begin != s.pending_end:
        latest = s.pending_time[(s.pending_end - 1) & _RING]
        if latest > s.account_last_time:
            end = latest + d.precharge - d.clock
    settle(s, NEVER - 1)
    if s.account_power_state == _ACTIVE_DOWN:
        s.account_active_down += max(0, end - s.account_power_start)
    elif s.account_power_state == _PRECHARGED_DOWN:
        s.account_precharged_down += max(0, end - s.account_power_start)
    elif s.account_power_state == _SELF_REFRESH:
        _leave_self_refresh(s, d, end)
    elif s.account_n_open > 0:
        s.account_act += max(0, end - s.account_first_act)
    else:
        s.account_pre += max(0, end - s.account_last_pre)


@compiled
def energies(s: Any, d: Any, c: Any, out: Any) -> None:
    """Fill in energy by cause, its sum [pJ], the average power [mW] and the accounted cycles.

    Args:
      s: State whose account is closed.
      d: Device.
      c: The device's currents.
      out: (9,): the causes in the order of `CAUSES`, their sum, power, accounted cycles.
    """
    clock = d.clock
    act = s.account_act // clock
    pre = s.account_pre // clock
    active_down = s.account_active_down // clock
    precharged_down = s.account_precharged_down // clock
    self_refresh = s.account_self_refresh // clock
    refresh_active = s.account_refresh_active // clock
    refresh_precharge = s.account_refresh_precharge // clock
    exit_active = s.account_exit_active // clock
    exit_precharge = s.account_exit_precharge // clock
    asleep = (
        active_down
        + precharged_down
        + self_refresh
        + refresh_active
        + refresh_precharge
        + exit_active
        + exit_precharge
    )
    cycles = act + pre + asleep
    out[8] = cycles
    if not c.has_energy:
        out[:8] = np.nan
        return

    n_act = s.account_n_act
    n_pre = s.account_n_pre
    n_rd = s.n_commands[cmd.RD] + s.n_commands[cmd.RDA]
    n_wr = s.n_commands[cmd.WR] + s.n_commands[cmd.WRA]
    n_ref = s.account_n_ref
    volt = c.clock_ns * c.vdd
    volt2 = c.clock_ns * c.vdd2
    activate = n_act * c.ras * volt * (c.idd0 - c.idd3n) + n_act * c.ras * volt2 * c.idd02
    precharge = (
        n_pre * (c.rc - c.ras) * volt * (c.idd0 - c.idd2n)
        + n_pre * (c.rc - c.ras) * volt2 * c.idd02
    )
    read = n_rd * c.burst * volt * (c.idd4r - c.idd3n)
    write = n_wr * c.burst * volt * (c.idd4w - c.idd3n)
    refresh = n_ref * c.rfc * volt * (c.idd5 - c.idd3n)
    background = volt * (act * c.idd3n + pre * c.idd2n)
    background += volt * (active_down * c.idd3p0 + precharged_down * c.idd2p0)
    background += volt * (
        c.idd6 * self_refresh
        + (c.idd5 - c.idd3n) * (refresh_active + refresh_precharge + exit_active + exit_precharge)
        + refresh_active * c.idd3p0
        + refresh_precharge * c.idd2p0
        + exit_active * c.idd3n
        + exit_precharge * c.idd2n
    )
    background += volt2 * self_refresh * c.idd62
    background *= c.n_ranks

    total = 0.0
    out[0] = activate
    out[1] = precharge
    out[2] = read
    out[3] = write
    out[4] = refresh
    out[5] = background
    for cause in range(6):
        out[cause] *= c.n_devices
        total += out[cause]
    out[6] = total
    # pJ / ns = mW
    out[7] = total / (cycles * c.clock_ns) if cycles > 0 else np.nan
