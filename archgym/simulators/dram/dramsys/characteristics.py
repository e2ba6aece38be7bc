"""Characteristics of a memory trace: reach, locality and density."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import final

import numpy as np

from archgym.simulators.dram.dramsys.devices import Device
from archgym.simulators.dram.dramsys.kernel.bursts import Bursts, split
from archgym.simulators.dram.dramsys.mapping import LAYOUTS, decode, layout
from archgym.simulators.dram.workloads.trace import Trace


@final
@dataclass(frozen=True, kw_only=True)
class Characteristics:
    """A trace on a device with its default mapping, before any controller delays it.

    Attributes:
      requests: Requests of the trace.
      bursts: Bursts that they split into.
      read_share_percent: Reads among the bursts.
      footprint_mib: Bytes of all distinct bursts.
      span_mib: From the lowest address to the highest.
      sequential_percent: Bursts that begin where their predecessor ends.
      row_locality_percent: Bursts in the bank and row of their predecessor.
      bank_row_locality_percent: Bursts in the row that their bank used last, whatever came between.
      banks: Banks that are used.
      busiest_bank_percent: Bursts that go to the busiest bank.
      duration_us: From time 0 until after the last burst is due.
      demand_gb_per_s: Bytes over duration, in units of 1e9 bytes.
      demand_percent: The same, of the device's peak bandwidth.
      requests_per_us: Requests over duration.
      idle_percent: Time in which a memory at its peak bandwidth would have nothing to do.
      longest_gap_us: Longest time between successors.
      burstiness: Standard deviation over mean of the times between successors: 0 for steady
        requests, 1 for independent ones, more for bursts.
      waiting_requests: Requests that wait for the answer to an earlier one; the other values are as
        if none did.
      strides: The most frequent distances of successors, at most eight and of at least 0.1 % each:
        (bytes, percent).
    """

    requests: int = field(metadata={"unit": ""})
    bursts: int = field(metadata={"unit": ""})
    read_share_percent: float = field(metadata={"unit": "%"})
    footprint_mib: float = field(metadata={"unit": "MiB"})
    span_mib: float = field(metadata={"unit": "MiB"})
    sequential_percent: float = field(metadata={"unit": "%"})
    row_locality_percent: float = field(metadata={"unit": "%"})
    bank_row_locality_percent: float = field(metadata={"unit": "%"})
    banks: int = field(metadata={"unit": ""})
    busiest_bank_percent: float = field(metadata={"unit": "%"})
    duration_us: float = field(metadata={"unit": "µs"})
    demand_gb_per_s: float = field(metadata={"unit": "GB/s"})
    demand_percent: float = field(metadata={"unit": "%"})
    requests_per_us: float = field(metadata={"unit": "1/µs"})
    idle_percent: float = field(metadata={"unit": "%"})
    longest_gap_us: float = field(metadata={"unit": "µs"})
    burstiness: float = field(metadata={"unit": ""})
    waiting_requests: int = field(metadata={"unit": ""})
    strides: tuple[tuple[int, float], ...] = field(metadata={"unit": ""})

    def rows(self) -> Mapping[str, tuple[float | str, str]]:
        """Return name to (value, unit), for people and JSON."""
        found: dict[str, tuple[float | str, str]] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name == "waiting_requests" and not value:
                continue
            if entry.name == "strides":
                value = ", ".join(f"{stride:+d} B: {share:.1f} %" for stride, share in value)
            found[entry.name] = (value, str(entry.metadata["unit"]))
        return found


def characterise(trace: Trace, device: Device, wraps: bool = False) -> Characteristics:
    """Return characteristics of a trace on a device; `wraps` as in `bursts.split`.

    Raises:
      InvalidArgumentError, FileFormatError: The device does not hold it.
    """
    bursts = split(trace, device, wraps)
    bank, row = _places(bursts, device)
    due_ps = bursts.due_ps
    gaps_ps = np.diff(due_ps)
    duration_ps = int(due_ps[-1]) + bursts.period_ps
    burst_ps = device.burst_bytes / device.peak_bandwidth_gbps * 1e3
    n_bytes = len(bursts) * device.burst_bytes
    demand = n_bytes / duration_ps * 1e3
    steps = np.diff(bursts.addresses)
    same_place = (np.diff(bank) == 0) & (np.diff(row) == 0)
    lines = bursts.addresses // device.burst_bytes
    per_bank = np.bincount(bank)
    return Characteristics(
        requests=len(trace),
        bursts=len(bursts),
        read_share_percent=_percent(~bursts.is_write),
        footprint_mib=len(np.unique(lines)) * device.burst_bytes / 2**20,
        span_mib=int(np.ptp(lines) + 1) * device.burst_bytes / 2**20,
        sequential_percent=_percent(steps == device.burst_bytes),
        row_locality_percent=_percent(same_place),
        bank_row_locality_percent=_bank_row_locality(bank, row),
        banks=int((per_bank > 0).sum()),
        busiest_bank_percent=100.0 * int(per_bank.max()) / len(bursts),
        duration_us=duration_ps / 1e6,
        demand_gb_per_s=demand,
        demand_percent=100.0 * demand / device.peak_bandwidth_gbps,
        requests_per_us=len(trace) / duration_ps * 1e6,
        idle_percent=_idle_percent(due_ps, burst_ps),
        longest_gap_us=float(gaps_ps.max()) / 1e6 if len(gaps_ps) else 0.0,
        burstiness=_burstiness(trace),
        waiting_requests=int((trace.waits_for >= 0).sum()),
        strides=_strides(steps),
    )


def _places(bursts: Bursts, device: Device) -> tuple[np.ndarray, np.ndarray]:
    mapping = layout(next(iter(LAYOUTS)), device)
    decoded = decode(bursts.addresses, (mapping,), device)[0]
    return decoded["bank"].astype(np.int64), decoded["row"].astype(np.int64)


def _percent(holds: np.ndarray) -> float:
    return 100.0 * float(holds.mean()) if len(holds) else 0.0


def _bank_row_locality(bank: np.ndarray, row: np.ndarray) -> float:
    order = np.argsort(bank, kind="stable")
    bank, row = bank[order], row[order]
    hits = (np.diff(bank) == 0) & (np.diff(row) == 0)
    return 100.0 * int(hits.sum()) / max(1, len(bank) - 1)


def _idle_percent(due_ps: np.ndarray, burst_ps: float) -> float:
    """Return share of the time in which a server that takes `burst_ps` a burst has no work."""
    place = np.arange(len(due_ps))
    done = np.maximum.accumulate(due_ps - place * burst_ps) + (place + 1) * burst_ps
    idle = due_ps[0] + np.maximum(0.0, due_ps[1:] - done[:-1]).sum()
    return 100.0 * float(idle / done[-1])


def _burstiness(trace: Trace) -> float:
    gaps = np.diff(trace.due_ticks)
    return float(gaps.std() / gaps.mean()) if len(gaps) and gaps.any() else 0.0


def _strides(steps: np.ndarray) -> tuple[tuple[int, float], ...]:
    values, counts = np.unique(steps, return_counts=True)
    # Most frequent first, then nearest, then forwards.
    order = np.lexsort((-values, np.abs(values), -counts))[:8]
    shares = [(int(values[i]), 100.0 * int(counts[i]) / len(steps)) for i in order]
    return tuple((stride, share) for stride, share in shares if share >= 0.1)
