"""Entry points of the compiled model, which run whole batches of designs."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from archgym.simulators.dram.dramsys.devices import Device
from archgym.simulators.dram.dramsys.kernel import commands as cmd
from archgym.simulators.dram.dramsys.kernel import state as st
from archgym.simulators.dram.dramsys.kernel.core_power import core_energies, core_power
from archgym.simulators.dram.dramsys.kernel.energy import close_account, currents_table, energies
from archgym.simulators.dram.dramsys.kernel.events import clear_events
from archgym.simulators.dram.dramsys.kernel.latency import N_BUCKETS, join_bursts, percentiles
from archgym.simulators.dram.dramsys.kernel.run import run_design
from archgym.simulators.dram.dramsys.kernel.timing import device_table
from archgym.simulators.dram.kernel.currents import PowerSpec
from archgym.simulators.dram.kernel.records import NEVER
from archgym.simulators.kit import InvalidArgumentError
from archgym.simulators.kit.kernels import compiled, entry_point, pointer

OUTPUTS: Final = (
    "status", "total_time_ns", "mean_latency_ns", "p50_latency_ns", "p95_latency_ns",
    "p99_latency_ns", "bandwidth_gbps", "bandwidth_percent", "busy_bandwidth_gbps",
    "busy_bandwidth_percent", "activate_energy_pj", "precharge_energy_pj", "read_energy_pj",
    "write_energy_pj", "refresh_energy_pj", "background_energy_pj", "energy_pj", "power_mw",
    "accounted_cycles", "row_hits", "row_misses", "row_conflicts", "refreshes", "activations",
    "precharges", "reads", "writes",
)  # fmt: skip
"""Names of the kernel's outputs, in order.

`status` is an index into `STATUSES`; where it is not 0, every other output is NaN. A request's
latency lasts from the moment the player sends it to the moment the player receives its response:
the wait for a free place in the controller or arbiter counts, the delay of a player that could not
send on schedule does not. Percentiles are the smallest latency that at least that share of the
requests does not exceed. Bandwidth counts the responses that the controller saw acknowledged before
the end (all but one under the Simple arbiter, as the reference counts), over the total time; busy
bandwidth leaves out the times when the controller held no request. Bandwidths are in GB/s of 1e9
bytes. `energy_pj` is `power_mw` times the accounted cycles, not the total time: the account ends
with the last command.
"""

STATUSES: Final = ("ok", "deadlock")

_STATUS: Final = 0
_N_OUTPUTS: Final = len(OUTPUTS)
_NONE_AT_FIRST: Final = (
    "head", "tail", "open_row", "current", "place", "refresh_command", "power_command",
    "selected_command", "issued_command", "incoming", "accepted", "issued",
    "last_handed", "account_last_command",
)  # fmt: skip
_LIMITLESS: Final = (1 << 32) - 1  # what DRAMSys makes of a buffer size of -1


@dataclass(frozen=True)
class Tables:
    """Everything about a device that the kernels read; make it once with `tables`."""

    device: npt.NDArray[Any]
    currents: npt.NDArray[Any]
    blank: npt.NDArray[Any]
    transfer: npt.NDArray[np.float64]


def tables(device: Device, without: str | None = None) -> Tables:
    """Return the kernels' tables of a device, or of an ideal one without one of `costs.COSTS`."""
    blank = np.zeros(1, dtype=st.STATE)
    state = blank[0]
    for name in _NONE_AT_FIRST:
        state[name] = st.NONE
    banks = np.arange(device.n_ranks * device.n_banks)
    state["rank_of"][: len(banks)] = banks // device.n_banks
    state["group_of"][: len(banks)] = banks // (device.n_banks // device.n_groups)
    state["last"] = st.UNCONSTRAINED
    state["window"] = st.UNCONSTRAINED
    device_row = device_table(device, without)
    state["bus_free"] = device_row[0]["first_command"]
    for name in ("selected_time", "refresh_wake", "refresh_next", "pending_first"):
        state[name] = NEVER
    for name in ("power_controller_idle", "power_entry", "is_stale"):
        state[name] = 1
    state["refresh_remaining"] = (1 << device.n_banks) - 1
    return Tables(
        device=device_row,
        currents=currents_table(device),
        blank=blank,
        transfer=np.array([device.burst_bytes, device.peak_bandwidth_gbps], dtype=np.float64),
    )


def simulate(
    controllers: npt.NDArray[np.int64],
    mapping_index: npt.NDArray[np.int64],
    decoded: npt.NDArray[Any],
    addresses: npt.NDArray[np.int64],
    ticks: npt.NDArray[np.int64],
    is_write: npt.NDArray[np.bool_],
    *,
    player_clock_ps: int,
    is_relative: bool,
    device: Tables,
    first_burst: npt.NDArray[np.int64] | None = None,
    waits: npt.NDArray[np.int64] | None = None,
    memory: Device | None = None,
) -> npt.NDArray[np.float64]:
    """Simulate one trace under many designs, without the GIL and without state.

    Args:
      controllers: (n_designs, 12), codes and numbers by `CONTROLLER_COLUMNS`; each legal.
      mapping_index: (n_designs,), which row of `decoded` a design uses.
      decoded: (n_mappings, n_requests) of `mapping.DECODED`.
      addresses: (n_requests,), byte addresses, one a burst.
      ticks: (n_requests,), when requests are due, in player clock cycles.
      is_write: (n_requests,), whether a request writes.
      player_clock_ps: The player's clock cycle [ps].
      is_relative: True if ticks count from the request before instead of the start.
      device: Tables of the memory.
      first_burst: (n_wholes,), where each whole request begins whose bursts the entries above are:
        its latency lasts until its last burst is back. By default each burst is a whole.
      waits: (n_requests, 2), first entry whose answer each waits for and one after the last, equal
        for none. By default none does.
      memory: The device where its energy is counted from its commands (`core_energy`), or None.

    Returns:
      (n_designs, n_outputs), columns by `OUTPUTS`.

    Raises:
      InvalidArgumentError: The trace is empty, or shapes do not fit each other.
    """
    n_requests = _check_trace(decoded, addresses, ticks, is_write)
    if controllers.ndim != 2 or controllers.shape[1] != len(cmd.CONTROLLER_COLUMNS):
        raise InvalidArgumentError(
            f"`controllers` must have {len(cmd.CONTROLLER_COLUMNS)} columns; got shape "
            f"{controllers.shape!r}."
        )
    if mapping_index.shape != (len(controllers),):
        raise InvalidArgumentError(
            f"`mapping_index` must have one entry for each of the {len(controllers)} designs; "
            f"got shape {mapping_index.shape!r}."
        )
    if len(controllers) and not (mapping_index.min() >= 0 and mapping_index.max() < len(decoded)):
        raise InvalidArgumentError(
            f"`mapping_index` must lie in 0 to {len(decoded) - 1}; "
            f"got {mapping_index.min()} to {mapping_index.max()}."
        )
    first = np.zeros(0, dtype=np.int64) if first_burst is None else first_burst
    trace = trace_table(addresses, ticks, is_write, waits)
    requests = blank_requests(n_requests)
    player = (player_clock_ps, is_relative)
    power = None if memory is None else core_power(memory)
    fixed = (decoded, trace, player, device, requests, first)
    if memory is None or power is None:
        log = np.zeros(0, dtype=st.COMMAND_LOG)
        out: npt.NDArray[np.float64]
        out = run_job(job_of(controllers, mapping_index, *fixed, log)).out
        return out
    outputs = np.empty((len(controllers), _N_OUTPUTS))
    # chosen: an activation, a column command and a precharge for each burst, and refreshes.
    log = np.zeros(3 * n_requests + 65536, dtype=st.COMMAND_LOG)
    for row in range(len(controllers)):
        one = slice(row, row + 1)
        while True:
            job = run_job(job_of(controllers[one], mapping_index[one], *fixed, log))
            n_logged = int(job.state[0]["n_logged"])
            if n_logged <= len(log):
                break
            log = np.zeros(n_logged, dtype=st.COMMAND_LOG)
        outputs[row] = job.out[0]
        if job.out[0, _STATUS] == 0.0:
            _count_energy(outputs[row], power, memory, log[:n_logged])
    return outputs


def _count_energy(
    out: npt.NDArray[np.float64], power: PowerSpec, memory: Device, log: npt.NDArray[Any]
) -> None:
    """Fill in the energies of a run from its commands."""
    total_time_ns = out[OUTPUTS.index("total_time_ns")]
    energy, cycles = core_energies(power, memory, log, total_time_ns)
    for cause, value in energy.items():
        out[OUTPUTS.index(f"{cause}_energy_pj")] = value
    total = sum(energy.values())
    out[OUTPUTS.index("energy_pj")] = total
    out[OUTPUTS.index("power_mw")] = total / (cycles * (1000.0 / memory.clock_mhz))
    out[OUTPUTS.index("accounted_cycles")] = cycles


def job_of(
    controllers: npt.NDArray[np.int64],
    mapping_index: npt.NDArray[np.int64],
    decoded: npt.NDArray[Any],
    trace: npt.NDArray[Any],
    player: tuple[int, bool],
    device: Tables,
    requests: npt.NDArray[Any],
    first_burst: npt.NDArray[np.int64],
    log: npt.NDArray[Any],
) -> "Job":
    """Return the arguments of a kernel, with memory of their own."""
    state = device.blank.copy()
    return Job(
        np.ascontiguousarray(controllers, dtype=np.int64),
        np.ascontiguousarray(mapping_index, dtype=np.int64),
        # Writable, because Numba would compile a read-only array's kernel again.
        decoded if decoded.flags.writeable and decoded.flags.c_contiguous else decoded.copy(),
        trace,
        np.array(player, dtype=np.int64),
        device.device,
        device.currents,
        device.transfer,
        state,
        state.view(np.int64),
        device.blank.view(np.int64),
        requests,
        np.zeros(len(requests), dtype=np.int64),
        np.zeros(2 * N_BUCKETS, dtype=np.int64),
        np.array(first_burst, dtype=np.int64),
        log,
        np.empty((len(controllers), _N_OUTPUTS), dtype=np.float64),
    )


def blank_heap(n_requests: int) -> npt.NDArray[np.int64]:
    """Return room for the wake-ups of a run."""
    return np.zeros(32 * n_requests + 131072, dtype=np.int64)


def run_job(job: "Job") -> "Job":
    """Run the designs of a job, and return it with its results."""
    _simulate(job, np.zeros(1, dtype=st.EVENTS), blank_heap(len(job.requests)))
    return job


def trace_table(
    addresses: npt.NDArray[np.int64],
    ticks: npt.NDArray[np.int64],
    is_write: npt.NDArray[np.bool_],
    waits: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[Any]:
    """Return (n_requests,) of `TRACE`."""
    trace = np.empty(len(addresses), dtype=st.TRACE)
    trace["waits"] = 0 if waits is None else waits
    trace["address"] = addresses
    trace["tick"] = ticks
    trace["is_write"] = is_write
    return trace


def blank_requests(n_requests: int) -> npt.NDArray[Any]:
    """Return (n_requests,) of `REQUEST` that begin on cache lines."""
    line = 64
    room = np.zeros(n_requests * st.REQUEST.itemsize + line, dtype=np.uint8)
    start = -room.ctypes.data % line
    return room[start : start + n_requests * st.REQUEST.itemsize].view(st.REQUEST)


def _check_trace(
    decoded: npt.NDArray[Any],
    addresses: npt.NDArray[np.int64],
    ticks: npt.NDArray[np.int64],
    is_write: npt.NDArray[np.bool_],
) -> int:
    n_requests = len(addresses)
    if n_requests == 0:
        raise InvalidArgumentError("A trace must hold at least one request; got none.")
    if (
        decoded.shape[1:] != (n_requests,)
        or len(ticks) != n_requests
        or len(is_write) != n_requests
    ):
        raise InvalidArgumentError(
            f"`decoded`, `ticks` and `is_write` must be as long as `addresses`, {n_requests}; got "
            f"{decoded.shape[1:]!r}, {len(ticks)} and {len(is_write)}."
        )
    return n_requests


class Job(NamedTuple):
    """Arguments of an entry point: a batch of designs, their trace and device, and scratch memory.

    Attributes:
      controllers: (n_designs, 12), by `CONTROLLER_COLUMNS`.
      mapping_index: (n_designs,), a design's row of `decoded`.
      decoded: (n_mappings, n_requests) of `mapping.DECODED`.
      trace: (n_requests,) of `TRACE`.
      player: (2,): clock [ps], whether ticks are delays.
      device, currents, transfer: As in `Tables`.
      state: (1,) of `STATE`.
      state_words, blank_words: The state, and that of a design before its first request, as words:
        copying these is faster than copying records.
      requests: (n_requests,) of `REQUEST`.
      latencies: (n_requests,), scratch [ps].
      counts: (2 * N_BUCKETS,), scratch.
      first_burst: (n_wholes,), or empty if each request is one burst.
      log: (n_commands,) of `COMMAND_LOG`, empty if nothing is recorded.
      out: (n_designs, n_outputs), filled in.
    """

    controllers: Any
    mapping_index: Any
    decoded: Any
    trace: Any
    player: Any
    device: Any
    currents: Any
    transfer: Any
    state: Any
    state_words: Any
    blank_words: Any
    requests: Any
    latencies: Any
    counts: Any
    first_burst: Any
    log: Any
    out: Any


@entry_point(seconds=15.0)
def _simulate(job: Job, events: Any, heap: Any) -> None:
    """Run the designs of a job, which must be sound; Python checks it beforehand.

    Args:
      job: The designs.
      events: (1,) of `EVENTS`, scratch.
      heap: (2 * n,) int64, scratch.
    """
    s = job.state[0]
    e = events[0]
    entries = pointer(heap)
    requests = pointer(job.requests)
    latencies = pointer(job.latencies)
    log = pointer(job.log)
    load_trace(job)
    for design in range(len(job.controllers)):
        begin_design(job, design)
        clear_events(e)
        is_done = run_design(s, job.device[0], requests, log, latencies, e, entries, s.n_requests)
        if e.n_in_controller == 0:
            s.idle += s.last_handed - e.idle_since
        end_design(job, design, is_done)


@compiled
def load_trace(job: Job) -> None:
    """Copy a job's trace to its requests."""
    for index in range(len(job.requests)):
        job.requests[index].address = job.trace[index].address
        job.requests[index].tick = job.trace[index].tick
        job.requests[index].is_write = job.trace[index].is_write
        job.requests[index].waits[0] = job.trace[index].waits[0]
        job.requests[index].waits[1] = job.trace[index].waits[1]


@compiled
def begin_design(job: Job, design: int) -> None:
    """Reset state and requests to those of a design before its first request."""
    mapping = job.mapping_index[design]
    if design == 0 or mapping != job.mapping_index[design - 1]:
        _place_requests(job.requests, job.decoded[mapping])
    for word in range(len(job.blank_words)):
        job.state_words[word] = job.blank_words[word]
    s = job.state[0]
    d = job.device[0]
    configure(s, d, job.controllers[design])
    s.n_requests = len(job.requests)
    s.player_clock = job.player[0]
    s.is_relative = job.player[1]
    s.is_aligned = s.player_clock == d.clock and d.first_command == 0
    s.is_logging = len(job.log) > 0
    s.log_size = len(job.log)


@compiled
def end_design(job: Job, design: int, is_done: bool) -> None:
    """Write the outputs of a design that ran."""
    out = job.out[design]
    if not is_done:
        for place in range(len(out)):
            out[place] = np.nan
        out[_STATUS] = 1.0
        return
    s = job.state[0]
    d = job.device[0]
    close_account(s, d)
    n_wholes = len(job.latencies)
    if len(job.first_burst):
        n_wholes = len(job.first_burst)
        join_bursts(job.requests, job.first_burst, job.latencies)
    latencies = job.latencies[:n_wholes]
    _write_outputs(s, d, job.currents[0], job.transfer, latencies, job.counts, out)


@compiled
def _place_requests(requests: Any, decoded: Any) -> None:
    for index in range(len(requests)):
        requests[index].row = decoded[index].row
        requests[index].bank = decoded[index].bank
        requests[index].group = decoded[index].group
        requests[index].rank = decoded[index].rank


@compiled
def configure(s: Any, d: Any, controller: Any) -> None:
    """Take over a design's settings, in the order of `CONTROLLER_COLUMNS`."""
    s.page_policy = controller[0]
    s.scheduler = controller[1]
    s.buffer = controller[2]
    s.buffer_size = controller[3] if controller[3] >= 0 else _LIMITLESS
    s.is_strict = controller[4] == cmd.STRICT
    s.reorders_responses = controller[5]
    s.refresh_policy = controller[6]
    per_command = d.banks_per_rank if controller[6] == cmd.PER_BANK else 1
    s.max_postponed = controller[7] * per_command
    s.max_pulled_in = controller[8] * per_command
    s.powers_down = controller[9]
    s.power_wants = s.powers_down
    s.arbiter = controller[10]
    s.max_active = controller[11]
    if s.refresh_policy == cmd.NO_REFRESH:
        return
    interval = d.refresh_interval[s.refresh_policy]
    share = (2 * interval + d.n_ranks) // (2 * d.n_ranks)
    for rank in range(d.n_ranks):
        # Ranks take their turns in bit-reversed order.
        turn = 0
        bit = 1
        while bit < d.n_ranks:
            turn = 2 * turn + (1 if rank & bit else 0)
            bit *= 2
        first = interval - turn * share
        s.refresh_next[rank] = (first + d.clock - 1) // d.clock * d.clock
        s.refresh_wake = min(s.refresh_wake, s.refresh_next[rank])


@compiled
def _write_outputs(
    s: Any, d: Any, c: Any, transfer: Any, latencies: Any, counts: Any, out: Any
) -> None:
    """Fill in one row by `OUTPUTS`."""
    total = s.last_handed
    out[0] = 0.0
    out[1] = total / 1000.0
    percentiles(latencies, counts, out[2:6])
    burst_bytes = transfer[0]
    peak = transfer[1]
    busy = total - s.idle
    # Time that the served bursts fill on the data bus, as a share of the time at hand.
    active = s.n_served * (burst_bytes * 1000.0 / peak)
    out[7] = 100.0 * active / total if total > 0 else 0.0
    out[6] = out[7] / 100.0 * peak
    out[9] = 100.0 * active / busy if busy > 0 else 0.0
    out[8] = out[9] / 100.0 * peak
    energies(s, d, c, out[10:19])
    out[19] = s.n_hits_served
    out[20] = s.n_misses_served
    out[21] = s.n_conflicts_served
    out[22] = s.n_commands[cmd.REFA] + s.n_commands[cmd.REFB]
    out[23] = s.n_commands[cmd.ACT]
    out[24] = (
        s.n_commands[cmd.PRE]
        + s.n_commands[cmd.PREA]
        + s.n_commands[cmd.RDA]
        + s.n_commands[cmd.WRA]
    )
    out[25] = s.n_commands[cmd.RD] + s.n_commands[cmd.RDA]
    out[26] = s.n_commands[cmd.WR] + s.n_commands[cmd.WRA]
