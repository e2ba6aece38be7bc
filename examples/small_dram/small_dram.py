"""A DRAM controller that serves one request at a time: a whole simulator, to be read from the top.

It has what the simulators of ArchGym have, in the same order: workloads, the machine, a compiled
kernel, metrics, and the class that ties them together. On the designs that both can express, its
times are equal to those of the simulator `dram`, which equals DRAMSys 4 (`test_small_dram.py` in
`tests/examples`).

    pip install .
    archgym search small_dram --minimise mean_latency_ns --budget 20
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from archgym.simulators.kit import (
    Categorical,
    Condition,
    DesignSpace,
    FileFormatError,
    MetricSpec,
    Objective,
    Option,
    P,
    PowerOfTwo,
    RowSimulator,
    SimulatorError,
    SimulatorSpec,
    Term,
    UnknownNameError,
    Workload,
    declared,
)
from archgym.simulators.kit.kernels import entry_point

# ---- workloads: what designs are evaluated on


@dataclass(frozen=True)
class Requests:
    """Requests in the order in which the processor sends them.

    Attributes:
      due: (n,) int64, when each may be sent [clocks].
      address: (n,) int64 [bytes].
      is_write: (n,) bool.
    """

    due: np.ndarray
    address: np.ndarray
    is_write: np.ndarray

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides a result."""
        columns = (self.due, self.address, self.is_write)
        return hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest()


def stream(n: int = 4096) -> Requests:
    """Return reads of one array from its begin to its end, one every 20 clocks."""
    step = np.arange(n, dtype=np.int64)
    return Requests(20 * step, 64 * step, np.zeros(n, dtype=np.bool_))


def two_arrays(n: int = 4096) -> Requests:
    """Return a copy of an array to another one that lies in the same bank, in bursts of eight."""
    step = np.arange(n, dtype=np.int64)
    is_write = step // 8 % 2 == 1
    place = 8 * (step // 16) + step % 8
    return Requests(25 * step, 64 * place + np.where(is_write, 2**24, 0), is_write)


SHIPPED = {"stream": stream, "two-arrays": two_arrays}


def read_requests(path: Path) -> Requests:
    """Return the requests of a file, one on a line: clock, `read` or `write`, address.

    Raises:
      FileFormatError: It is not such a file.
    """
    rows = []
    try:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            try:
                clock, kind, address = line.split()
                row = int(clock), int(address, 0), ("read", "write").index(kind)
            except ValueError:
                form = f"a line must read like `120 read 0x4000`; got {line[:40]!r}"
                raise FileFormatError(path, number, form) from None
            # chosen: 2^40 clocks are 20 minutes, and no sum of them overflows.
            if not (0 <= row[0] < 2**40 and 0 <= row[1] < CAPACITY):
                limits = f"its clock must be below 2^40, its address below {CAPACITY:#x}"
                raise FileFormatError(path, number, limits)
            rows.append(row)
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(path, None, f"it cannot be read as text: {error}") from None
    if not rows:
        raise FileFormatError(path, None, "it has no requests")
    due, address, is_write = zip(*rows, strict=True)
    return Requests(np.array(due), np.array(address), np.array(is_write, dtype=np.bool_))


# ---- the machine: constants, and the space of designs

# Micron 1 Gb DDR3 SDRAM data sheet, die G, x8, and JESD79-3F; a DIMM of eight such chips.
BANKS, ROWS, COLUMN_BYTES = 8, 16384, 8192
CAPACITY = BANKS * ROWS * COLUMN_BYTES
_NAMES = ("rcd", "rp", "ras", "rl", "wl", "burst", "rtp", "wr", "wtr")
TIMING = np.dtype([(name, np.int64) for name in _NAMES])
SPEEDS = {  # clock period [ns], in whole picoseconds, and timings [clocks]; the same sources
    "ddr3-1066": (1.876, np.array((7, 7, 20, 7, 6, 4, 4, 8, 4), TIMING)),
    "ddr3-1600": (1.250, np.array((10, 10, 28, 10, 8, 4, 6, 12, 6), TIMING)),
}
POLICIES = ("Open", "Closed", "Timeout")
LAYOUTS = ("row-bank-column", "bank-row-column", "row-column-bank")
SPACE = DesignSpace(
    "default",
    [
        Categorical(name="page_policy", choices=POLICIES, doc="When a row is closed."),
        PowerOfTwo(name="timeout", low=8, high=512, unit="clocks", doc="Idle time of a row."),
        Categorical(name="address_mapping", choices=LAYOUTS, doc="Order of address bits."),
    ],
    conditions=[Condition("timeout", P("page_policy") == "Timeout")],
)


def decode(address: np.ndarray, layout: str) -> tuple[np.ndarray, np.ndarray]:
    """Return bank and row of addresses, each (n,) int64."""
    burst = address // 64
    sizes = {"row": ROWS, "bank": BANKS, "column": COLUMN_BYTES // 64}
    fields = {}
    for field in reversed(layout.split("-")):  # the last one has the lowest bits
        burst, fields[field] = np.divmod(burst, sizes[field])
    return fields["bank"], fields["row"]


# ---- the kernel: one design on one list of requests, compiled


@entry_point(seconds=2.0)
def serve(
    due: Any, bank: Any, row: Any, is_write: Any, t: Any, timeout: int, latency: Any, open_row: Any
) -> tuple[int, int]:
    """Serve requests one after the other.

    Args:
      due: (n,) [clocks].
      bank: (n,).
      row: (n,).
      is_write: (n,).
      t: Timings [clocks], of `TIMING`.
      timeout: Clocks after which an idle row is closed; 0 closes it with the access, and a
        negative number keeps it open.
      latency: (n,), filled with the time from sending a request until its data are there [clocks].
      open_row: (4, BANKS) int64 scratch: open row or -1; earliest precharge; earliest activation;
        end of the last access.

    Returns:
      The time at which the last request is done [clocks], and how many found their row open.
    """
    open_row[0, :] = -1
    open_row[1:, :] = 0
    sent = accepted = done = written = hits = 0
    for i in range(len(due)):
        # The processor sends a request a clock after the one before was taken in.
        sent = max(due[i], accepted + 1 if i else 0)
        accepted = max(sent, done)
        b = bank[i]
        if timeout > 0 and open_row[0, b] >= 0 and accepted > open_row[3, b] + timeout:
            close = max(open_row[1, b], open_row[3, b] + timeout)
            open_row[0, b] = -1
            open_row[2, b] = close + t.rp
        column = accepted
        if open_row[0, b] == row[i]:
            hits += 1
        else:
            activate = max(accepted, open_row[2, b])
            if open_row[0, b] >= 0:
                activate = max(accepted, open_row[1, b]) + t.rp
            column = activate + t.rcd
            open_row[0, b] = row[i]
            open_row[1, b] = activate + t.ras
        if is_write[i]:
            done = column + t.wl + t.burst
            written = done + t.wtr
            precharge = done + t.wr
        else:
            column = max(column, written)
            done = column + t.rl + t.burst
            precharge = column + t.rtp
        open_row[1, b] = max(open_row[1, b], precharge)
        open_row[3, b] = done
        if timeout == 0:
            open_row[0, b] = -1
            open_row[2, b] = open_row[1, b] + t.rp
        latency[i] = done - sent
    return done, hits


# ---- metrics, and the simulator that ties everything together


class SmallDramSimulator(RowSimulator):
    """A DDR3 memory whose controller serves one request at a time and never refreshes."""

    spec = SimulatorSpec(
        name="small_dram",
        version=0,
        title="Small DRAM controller",
        space=SPACE,
        metrics=(
            MetricSpec("total_time_ns", "ns", "minimise", 0.1, "Until the last data are there."),
            MetricSpec("mean_latency_ns", "ns", "minimise", 0.1, "From sending to data, mean."),
            MetricSpec("row_hit_percent", "%", "none", 0.1, "Requests that find their row open."),
        ),
        objectives={"latency": Objective("latency", (Term("mean_latency_ns", "minimise"),))},
        default_objective="latency",
        default_workload="stream",
        table_space="default",
        costs={"activation": "opening a row", "precharge": "closing a row"},
        relief={
            "activation": ("page_policy", "timeout", "address_mapping"),
            "precharge": ("page_policy", "timeout"),
        },
        exports={"json": "The design and the timings of its device."},
        groups={
            "rows": ("page_policy", "timeout"),
            "addresses": ("address_mapping",),
        },
    )

    @declared
    def __init__(
        self,
        space: str = "default",
        device: Annotated[str, Option("Speed of the memory.", choices=tuple(SPEEDS))] = "ddr3-1600",
    ) -> None:
        """Choose the memory's clock and timings."""
        self.clock_ns, self.timing = SPEEDS[device]

    def workload_names(self) -> tuple[str, ...]:
        """Return the lists of requests that ship."""
        return tuple(SHIPPED)

    def workload(self, name: str | Path) -> Workload:
        """Return a shipped list of requests, or the one in a file."""
        if str(name) in SHIPPED:
            requests = SHIPPED[str(name)]()
        elif Path(name).is_file():
            requests = read_requests(Path(name))
        else:
            raise UnknownNameError(f"There is no workload or file {str(name)!r}: {list(SHIPPED)}.")
        return Workload(Path(name).stem, requests.digest, requests)

    def measure(self, indices: np.ndarray, opened: Requests, cost: str | None) -> np.ndarray:
        """Return the metrics of one design, for `cost` with an ideal memory."""
        design = self.space.design_at(indices)
        timing = self.timing.copy()
        for field in {"activation": ("rcd",), "precharge": ("rp",)}.get(cost or "", ()):
            timing[field] = 0
        timeout = {"Open": -1, "Closed": 0, "Timeout": design["timeout"]}[design["page_policy"]]
        bank, row = decode(opened.address, str(design["address_mapping"]))
        latency, scratch = np.empty(len(bank), np.int64), np.empty((4, BANKS), np.int64)
        done, hits = serve(
            opened.due, bank, row, opened.is_write, timing[()], timeout, latency, scratch
        )
        percent = 100.0 * hits / len(bank)
        return np.array([done * self.clock_ns, latency.mean() * self.clock_ns, percent])

    def check(self, values: np.ndarray, workload: Workload) -> None:
        """Refuse times that are shorter than the data bus needs."""
        least = len(workload.content.due) * self.timing["burst"] * self.clock_ns
        if (values[:, 0] < least).any():
            raise SimulatorError(f"All bursts need {least} ns on the data bus; the time is less.")

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Mapping[str, str]:
        """Return the design as a file."""
        timings = {name: int(self.timing[name]) for name in _NAMES}
        design = {**self.space.design_at(indices), "clock_ns": self.clock_ns, **timings}
        return {"small_dram.json": json.dumps(design, indent=2) + "\n"}
