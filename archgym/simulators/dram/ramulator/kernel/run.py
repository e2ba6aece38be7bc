"""Runs of one controller configuration on one trace, whose addresses are decoded first."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.dram.kernel.records import RULES, blank_account
from archgym.simulators.dram.ramulator.kernel import state as st
from archgym.simulators.dram.ramulator.kernel.tables import device_tables
from archgym.simulators.dram.ramulator.machine import Standard, has_energy, power_of
from archgym.simulators.dram.workloads.pieces import pieces_of
from archgym.simulators.dram.workloads.trace import Trace

if TYPE_CHECKING:
    from archgym.simulators.dram.ramulator.kernel.controller import Work

MAPPINGS: Final = ("RoBaRaCoCh", "ChRaBaRoCo", "MOP4CLXOR")
_MOP_COLUMN_BITS: Final = 2  # Ramulator 2.1: minimalist open page, four cache lines
SCHEDULERS: Final = ("FRFCFS", "FRFCFS-RowHit")
ROW_POLICIES: Final = ("Open", "ClosedCAP")
REFRESHES: Final = ("NoRefresh", "AllBank", "PerBank")
WCK_SYNCS: Final = ("need_sync", "always_on")


@final
@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A device, its channels and the settings of their controllers.

    Attributes:
      organisation, timing: Names of an organisation and a speed bin of the family.
      ranks, channels: Counts; channels is a power of two.
      interleave_bits: Burst-address bits below the channel's.
      mapping: One of `MAPPINGS`.
      scheduler, row_policy, refresh, wck_sync: Members of the tuples of this module.
      cap: Column commands after which ClosedCAP closes a row.
      scatter_interval: Ticks between the refreshes of neighbouring ranks; 0 refreshes all at once.
      read_buffer, write_buffer: Places.
      wr_low, wr_high: Shares of the write buffer at which write mode ends and begins.
      width: Requests that the front end offers per tick.
    """

    organisation: str
    timing: str
    ranks: int = 1
    channels: int = 1
    interleave_bits: int = 0
    mapping: str = "RoBaRaCoCh"
    scheduler: str = "FRFCFS"
    row_policy: str = "Open"
    cap: int = 4
    refresh: str = "AllBank"
    scatter_interval: int = 0
    read_buffer: int = 32
    write_buffer: int = 32
    wr_low: float = 0.2
    wr_high: float = 0.8
    wck_sync: str = "need_sync"
    width: int = 1


@final
@dataclass(frozen=True, eq=False)
class Requests:
    """Requests of one burst each.

    Attributes:
      time_ps: (n,) int64, when each is due [ps].
      is_write: (n,) bool.
      addresses: (n,) int64 [byte].
      address_numbers: (n,) int32, equal where addresses are equal.
      waits: (n, 2) int64, as `dram.dramsys.kernel.bursts.Bursts.waits`; None if none waits.
    """

    time_ps: npt.NDArray[np.int64]
    is_write: npt.NDArray[np.bool_]
    addresses: npt.NDArray[np.int64]
    address_numbers: npt.NDArray[np.int32]
    waits: npt.NDArray[np.int64] | None = None

    @staticmethod
    def of(
        time_ps: npt.NDArray[np.int64],
        is_write: npt.NDArray[np.bool_],
        addresses: npt.NDArray[np.int64],
        waits: npt.NDArray[np.int64] | None = None,
    ) -> "Requests":
        """Return requests with their addresses numbered."""
        numbers = np.unique(addresses, return_inverse=True)[1].astype(np.int32)
        return Requests(time_ps, is_write, addresses, numbers, waits)


@final
@dataclass(frozen=True, eq=False)
class Outcome:
    """Results of a run.

    Attributes:
      is_stuck: True if the run cannot end; then nothing else is meaningful.
      tick_ps: Length of a tick [ps].
      ticks, last_accept: End of the run and acceptance of the last request [ticks].
      counts: Outcomes of requests and of the controller: hits, misses, conflicts, forwarded,
        coalesced, cas_issued, cas_skipped, act2_forced, act2_deferred.
      commands: Issued commands by name, all of the family.
      due, arrive, depart: (n,) int64 [ticks]; a write departs with its command.
      bank_accounts, rank_accounts: Energy accounts, or empty.
      log: (n_commands, 6) int64, see `kernel.Work`, as far as it was wanted.
      log_hash: Hash over all commands, or 0.
    """

    is_stuck: bool
    tick_ps: int
    ticks: int
    last_accept: int
    counts: Mapping[str, int]
    commands: Mapping[str, int]
    due: npt.NDArray[np.int64]
    arrive: npt.NDArray[np.int64]
    depart: npt.NDArray[np.int64]
    bank_accounts: npt.NDArray[Any]
    rank_accounts: npt.NDArray[Any]
    log: npt.NDArray[np.int64]
    log_hash: int


def peak_bytes_per_ps(made: Standard, c: Configuration) -> float:
    """Return the bytes that the data pins of all channels move in a picosecond at most."""
    organisation = made.organisations[c.organisation]
    pins = c.channels * organisation.channel_width * organisation.sizes.get("PseudoChannel", 1)
    return float(pins * made.bins[c.timing].values(c.organisation)["rate"]) / 8e6


def run(
    made: Standard,
    configuration: Configuration,
    requests: Requests,
    without: str | None = None,
    hashes: bool = False,
    max_log: int = 0,
) -> Outcome:
    """Run one configuration on one trace, with the energy of families that have currents.

    Args:
      made: The family of devices.
      configuration: The device and its controllers.
      requests: The trace.
      without: A cost that the device does not pay.
      hashes: True to hash every command.
      max_log: Commands to record at most.
    """
    # Numba takes a while to import, which listing and describing should not wait for.
    from archgym.simulators.dram.ramulator.kernel.controller import run as run_kernel

    work = prepare(made, configuration, requests, without, hashes, max_log)
    out = np.zeros(4, dtype=np.int64)
    run_kernel(work, out, len(work.requests) + 1)
    return outcome_of(made, configuration, work, out)


def prepare(
    made: Standard,
    configuration: Configuration,
    requests: Requests,
    without: str | None = None,
    hashes: bool = False,
    max_log: int = 0,
) -> "Work":
    """Return the kernel's work on a trace before the first tick; arguments are those of `run`."""
    c = configuration
    table = placed_requests(
        made, c, requests.addresses, requests.address_numbers, requests.is_write
    )
    table["due"] = -(-requests.time_ps // made.tick_ps(c.timing))
    if requests.waits is not None:
        table["waits"] = requests.waits
        first = requests.waits[:, 0]
        table["think"] = np.maximum(0, table["due"] - table["due"][first])
    n_addresses = int(requests.address_numbers.max()) + 1
    work = work_of(made, c, table, n_addresses, without, hashes, max_log)
    work.controller["is_waiting"] = requests.waits is not None
    return work


def outcome_of(
    made: Standard, configuration: Configuration, work: "Work", out: npt.NDArray[np.int64]
) -> Outcome:
    """Return the results of a run that has ended.

    Args:
      made, configuration: As of `run`.
      work: The kernel's work.
      out: (4,), as the kernel filled it in.
    """
    ch, table = work.channels, work.requests
    names = (
        "hits", "misses", "conflicts", "forwarded", "coalesced",
        "cas_issued", "cas_skipped", "act2_forced", "act2_deferred",
    )  # fmt: skip
    issued = ch["n_issued"].sum(axis=0)
    return Outcome(
        is_stuck=bool(out[0]),
        tick_ps=made.tick_ps(configuration.timing),
        ticks=int(out[1]),
        last_accept=int(out[2]),
        counts={name: int(ch[name].sum()) for name in names},
        commands={command.name: int(issued[i]) for i, command in enumerate(made.commands)},
        due=table["due"],
        arrive=table["arrive"],
        depart=table["depart"],
        bank_accounts=work.bank_accounts,
        rank_accounts=work.rank_accounts,
        log=work.log.reshape(-1, 6)[: int(ch[0]["n_commands"])],
        log_hash=int(work.hash[0]) % 2**64 if work.controller[0]["is_hashing"] else 0,
    )


def decode(
    addresses: npt.NDArray[np.int64], made: Standard, c: Configuration
) -> dict[str, npt.NDArray[np.int64]]:
    """Return channel, bank, row and column of byte addresses, each (n,); columns count bursts."""
    organisation = made.organisations[c.organisation]
    burst_bits = _bits(organisation.burst_bytes)
    channel_bits = _bits(c.channels)
    channel = (addresses >> (burst_bits + c.interleave_bits)) & (c.channels - 1)
    a = addresses >> burst_bits
    if c.channels > 1:
        low = a & ((1 << c.interleave_bits) - 1)
        a = ((a >> (c.interleave_bits + channel_bits)) << c.interleave_bits) | low
    sizes = {
        level: c.ranks if level == "Rank" else organisation.sizes[level] for level in made.levels
    }
    widths = {level: _bits(size) for level, size in sizes.items()}
    row_bits = _bits(organisation.sizes["Row"])
    column_bits = _bits(organisation.sizes["Column"]) - _bits(organisation.burst_beats)
    # Ramulator slices its levels from the outermost: rank or pseudo-channel, stack, group, bank.
    found: dict[str, npt.NDArray[np.int64]] = {}
    if c.mapping == "ChRaBaRoCo":
        column, a = _cut(a, column_bits)
        row, a = _cut(a, row_bits)
        for level in reversed(made.levels):
            found[level], a = _cut(a, widths[level])
    elif c.mapping == "RoBaRaCoCh":
        column, a = _cut(a, column_bits)
        for level in made.levels:
            found[level], a = _cut(a, widths[level])
        row, a = _cut(a, row_bits)
    else:
        low_bits = min(_MOP_COLUMN_BITS, column_bits)
        column, a = _cut(a, low_bits)
        for level in made.levels:
            found[level], a = _cut(a, widths[level])
        upper, a = _cut(a, column_bits - low_bits)
        row = a.astype(np.int32).astype(np.int64)
        column = column | (upper << low_bits)
        used = 0
        for level in made.levels:
            if widths[level] > 0:
                found[level] = found[level] ^ ((column >> used) & (sizes[level] - 1))
                used += widths[level]
        if row_bits > 0:
            row = row ^ ((column >> used) & ((1 << row_bits) - 1))
    bank = np.zeros_like(addresses)
    for level in made.levels:
        bank = bank * sizes[level] + found[level]
    return {"channel": channel, "bank": bank, "row": row, "column": column}


def _cut(
    a: npt.NDArray[np.int64], n_bits: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the lowest bits and the rest."""
    return a & ((1 << n_bits) - 1), a >> n_bits


def _bits(count: int) -> int:
    return count.bit_length() - 1


def placed_requests(
    made: Standard,
    configuration: Configuration,
    addresses: npt.NDArray[np.int64],
    address_numbers: npt.NDArray[Any],
    is_write: npt.NDArray[np.bool_],
) -> npt.NDArray[Any]:
    """Return (n,) of `REQUEST` at the places of their addresses, due at once.

    Args:
      made, configuration: As of `run`.
      addresses: (n,) [byte], of one burst each.
      address_numbers: (n,) integers, equal where addresses are equal.
      is_write: (n,) bool.
    """
    table = np.zeros(len(addresses), dtype=st.REQUEST)
    table["depart"] = st.NONE
    for name, place in decode(addresses, made, configuration).items():
        table[name] = place
    table["address"], table["is_write"] = address_numbers, is_write
    return table


def work_of(
    made: Standard,
    configuration: Configuration,
    requests: npt.NDArray[Any],
    n_addresses: int,
    without: str | None = None,
    hashes: bool = False,
    max_log: int = 0,
) -> "Work":
    """Return the kernel's work before the first tick.

    Args:
      made: The family of devices.
      configuration: The device and its controllers.
      requests: (n,) of `REQUEST`.
      n_addresses: Numbers of addresses that requests may have.
      without: As of `run`, like the others.
    """
    from archgym.simulators.dram.ramulator.kernel.controller import Work

    c = configuration
    tables = device_tables(made, c.organisation, c.timing, c.ranks, without)
    d = tables.device[0]
    n_banks, n_nodes, n_channels = int(d["n_banks"]), int(d["n_nodes"]), c.channels
    counting = has_energy(made)
    power_rules, n_ranks = np.zeros(1, dtype=RULES), 0
    if counting:
        power_rules = power_of(made, c.organisation, c.timing).rules(made.ticks_per_clock)
        n_ranks = n_banks // int(power_rules[0]["banks_per_rank"])
    banks, ranks = blank_account(n_channels * n_banks if counting else 0, n_channels * n_ranks)
    no_refresh = without == "refresh"
    return Work(
        device=tables.device,
        controller=_controller(c, hashes or max_log > 0, counting, no_refresh),
        node_of=tables.node_of.ravel(),
        number_of=tables.number_of.ravel(),
        siblings=tables.siblings.ravel(),
        rules=tables.rules,
        channels=_channels(c, tables.device, no_refresh),
        banks=_banks(n_channels * n_banks),
        used=np.zeros(n_channels * 2 * n_banks, dtype=np.int32),
        ready=np.full(n_channels * n_nodes * int(d["n_commands"]), st.UNCONSTRAINED, np.int64),
        rings=np.full(
            max(1, tables.n_windows) * n_channels * n_nodes * st.MAX_WINDOW,
            st.UNCONSTRAINED,
            np.int64,
        ),
        priority=np.zeros(n_channels * st.PRIORITY_RING, dtype=np.int64),
        requests=requests,
        is_buffered=np.zeros(n_addresses, dtype=np.uint8),
        power_rules=power_rules,
        bank_accounts=banks,
        rank_accounts=ranks,
        log=np.zeros(max_log * 6, dtype=np.int64),
        hash=np.array([1469598103934665603], dtype=np.int64),
    )


def _controller(
    c: Configuration, hashes: bool, counting: bool, no_refresh: bool
) -> npt.NDArray[Any]:
    table = np.zeros(1, dtype=st.CONTROLLER)
    k = table[0]
    k["width"] = c.width
    k["row_hit_first"] = c.scheduler == "FRFCFS-RowHit"
    k["closes"] = c.row_policy == "ClosedCAP"
    k["cap"] = c.cap
    k["refresh"] = 0 if no_refresh else REFRESHES.index(c.refresh)
    k["scatter"] = c.scatter_interval
    k["places"] = (c.read_buffer, c.write_buffer)
    # Ramulator compares in single precision.
    k["low"] = float(np.float32(c.wr_low) * np.float32(c.write_buffer))
    k["high"] = float(np.float32(c.wr_high) * np.float32(c.write_buffer))
    k["always_on"] = c.wck_sync == "always_on"
    k["is_hashing"] = hashes
    k["is_counting"] = counting
    return table


def _channels(c: Configuration, device: npt.NDArray[Any], no_refresh: bool) -> npt.NDArray[Any]:
    table = np.zeros(c.channels, dtype=st.CHANNEL)
    for name in ("active_head", "active_tail", "owner", "cas_request", "refresh_part"):
        table[name] = st.NONE
    table["pair_at"] = st.NONE
    d = device[0]
    refresh = 0 if no_refresh else REFRESHES.index(c.refresh)
    if refresh == st.ALL_BANK:
        table["refresh_at"] = c.scatter_interval or d["refi"]
    elif refresh == st.PER_BANK:
        table["refresh_at"] = d["refi_bank"]
    else:
        table["refresh_at"] = st.FAR
    # The first tick decides the write mode of every channel, idle ones included.
    table["wake"] = 1
    return table


def _banks(n_banks: int) -> npt.NDArray[Any]:
    table = np.zeros(n_banks, dtype=st.BANK)
    for name in ("head", "tail", "hit", "other"):
        table[name] = st.NONE
    return table


@final
@dataclass(frozen=True, eq=False)
class Bursts:
    """A trace in bursts of a family.

    Attributes:
      requests: The bursts.
      first: (n_requests,) int64, first burst of each request.
      is_write: (n_requests,) bool.
      end_address: One above the highest byte [byte].
    """

    requests: Requests
    first: npt.NDArray[np.int64]
    is_write: npt.NDArray[np.bool_]
    end_address: int


# chosen: the workloads of one session; Trace compares by identity, as this cache does.
@lru_cache(maxsize=8)
def bursts_of(trace: Trace, burst_bytes: int) -> Bursts:
    """Return a trace's bursts, each request's in order of address.

    Delays of a relative trace add up from time 0: this front end does not wait for acceptance.

    Raises:
      InvalidArgumentError: The trace has too many bursts.
    """
    addresses, request, place, waits = pieces_of(trace, burst_bytes)
    ends = trace.addresses + np.maximum(trace.lengths, 1)
    ticks = np.cumsum(trace.ticks) if trace.relative else np.maximum.accumulate(trace.ticks)
    requests = Requests.of(
        (ticks * trace.period_ps)[request],
        trace.is_write[request],
        addresses,
        waits if len(waits) else None,
    )
    return Bursts(requests, np.flatnonzero(place == 0), trace.is_write, int(ends.max()))
