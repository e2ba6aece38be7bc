"""The model against BookSim 2: its own runs of exported designs, recorded rows, and its powers."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np

from archgym.errors import FileFormatError
from archgym.simulators.noc import NocSimulator
from archgym.simulators.noc.machine import Graph, Network
from archgym.simulators.noc.runs import Packets, Result, Run
from archgym.simulators.noc.sampling import Load, measured
from archgym.simulators.noc.state import STALLS, Ints
from archgym.simulators.noc.workloads import formula
from evidence.agreement import Agreement, Differences, validation_of
from evidence.noc.published import compare_published
from evidence.recorded import json_lines, read_text, reading
from evidence.validation import Group, Progress, Validation, chosen, metrics_of

BOOKSIM, NETWORKS, ROWS, PACKETS = "booksim", "networks", "rows", "packets"
POWER, PUBLISHED = "power", "published"
GROUPS: Final = (
    Group(BOOKSIM, "300 designs of the default space, exported and run by BookSim itself"),
    Group(
        NETWORKS,
        "300 networks of all kinds, exported and run by BookSim itself",
        "they vary sizes, delays, priorities and topologies that no space offers",
    ),
    Group(
        ROWS,
        "recorded results of BookSim's routers: lists, traces, deadlocks and its own traffic",
        "rows vary sizes, delays, priorities and graphs that no space offers, and compare hashes "
        "of all packets and channels, which are no metrics",
    ),
    Group(
        PACKETS,
        "times and hops of single packets",
        "metrics have no times of single packets",
    ),
    Group(
        POWER,
        "power and area of BookSim's own model, by part, as printed with six digits",
        "metrics are sums of the parts at the clock of the option, not at 9.71 GHz",
    ),
    Group(
        PUBLISHED,
        "HexaMesh against a grid of dies (Iff et al., DAC 2023)",
        "the claim is a mean over numbers of dies, of which the space has one",
    ),
)
DIGITS: Final = 5e-6
"""Relative difference of what BookSim prints with six digits, by rounding."""
_NINE: Final = 1e-8
_NAMES: Final = frozenset(f.name for f in fields(Network)) - {"graph"}
_METRICS: Final = {
    "packet_latency": "mean_latency_ns", "network_latency": "network_latency_ns",
    "hops": "mean_hops",
}  # fmt: skip
_AVERAGES: Final = {
    "packet_latency": "plat_avg", "network_latency": "nlat_avg", "hops": "hops_avg",
}  # fmt: skip


def validate(
    reference: Path | None = None,
    progress: Progress | None = None,
    *,
    group: str | None = None,
    stride: int = 1,
) -> Validation[Agreement]:
    """Run the recorded rows and compare.

    Args:
      reference: A folder with `results/*.jsonl.gz`, or one that holds it as `noc`; it may also
        hold `traces/*.csv.gz`, `debug/packets.jsonl.gz` and `energy.csv`. None for only the rows
        that ship.
      progress: Receives the name of the file that is compared next.
      group: Group to compare; all by default.
      stride: Compare every so many rows.

    Raises:
      FileFormatError: A file is not as it must be; the error names the line.
      UnknownNameError: There is no such group.
    """
    wanted = chosen(GROUPS, group)
    announce = progress if progress is not None else lambda _: None
    lines: list[Agreement] = []
    if BOOKSIM in wanted:
        announce(BOOKSIM)
        file = resources.files("evidence.noc").joinpath("data/booksim.jsonl.gz")
        with resources.as_file(file) as path:
            lines += _compare_designs(path, stride)
    if NETWORKS in wanted:
        announce(NETWORKS)
        file = resources.files("evidence.noc").joinpath("data/networks.jsonl.gz")
        with resources.as_file(file) as path:
            lines += _compare_networks(path, stride)
    if PUBLISHED in wanted and stride == 1:
        announce(PUBLISHED)
        lines += compare_published(PUBLISHED)
    if reference is None:
        return validation_of(lines, GROUPS)
    folder = reference / "noc" if (reference / "noc").is_dir() else reference
    paths = sorted((folder / "results").glob("*.jsonl*"))
    if not paths:
        raise FileFormatError(
            reference, None, "holds no results/*.jsonl.gz", "Name the folder of recorded results"
        )
    recorded: dict[str, Mapping[str, Any]] = {}
    for path in paths:
        if wanted & {ROWS, PACKETS}:
            announce(path.name)
            found = Differences(ROWS, path.name.partition(".jsonl")[0], _NINE)
            for number, row in json_lines(path):
                recorded[row["id"]] = row
                if ROWS in wanted and (number - 1) % stride == 0:
                    with reading(path, number):
                        compare_row(found, number, row, folder)
            lines += found.lines
    packets, powers = folder / "debug" / "packets.jsonl.gz", folder / "energy.csv"
    if PACKETS in wanted and packets.is_file():
        announce(packets.name)
        lines += _compare_packets(packets, recorded, folder)
    if POWER in wanted and powers.is_file():
        announce(powers.name)
        lines += _compare_powers(powers, stride)
    return validation_of(lines, GROUPS)


def _compare_designs(path: Path, stride: int) -> list[Agreement]:
    found = Differences(BOOKSIM, BOOKSIM, DIGITS)
    for number, row in json_lines(path):
        if (number - 1) % stride:
            continue
        with reading(path, number):
            simulator = NocSimulator(**row["options"])
            workload = simulator.workload(row["workload"])
            indices = simulator.space.indices_of(row["design"])[None, :]
            ours = metrics_of(simulator, workload, indices)
            theirs = row["booksim"]
            is_stable = bool(np.isfinite(ours["mean_latency_ns"][0]))
            found.equal(number, "stable or not", [is_stable], [bool(theirs)])
            for name, value in theirs.items() if is_stable else ():
                found.number(number, name, float(ours[_METRICS[name]][0]), value)
    return found.lines


def _compare_networks(path: Path, stride: int) -> list[Agreement]:
    found = Differences(NETWORKS, NETWORKS, DIGITS)
    for number, row in json_lines(path):
        if (number - 1) % stride:
            continue
        with reading(path, number):
            load = {**row["load"], "packet_size": tuple(row["load"]["packet_size"])}
            ours, _ = measured(Network(**row["network"]), Load(**load))
            theirs = row["booksim"]
            found.equal(number, "stable or not", [ours["status"] == "ok"], [bool(theirs)])
            for name, value in theirs.items() if ours["status"] == "ok" else ():
                found.number(number, name, float(ours[_AVERAGES[name]]), value)
    return found.lines


def machine_of(row: Mapping[str, Any]) -> Network:
    """Return the network of a recorded row."""
    given = {name: value for name, value in row.items() if name in _NAMES}
    if row.get("graph"):
        links = tuple((a, b, latency) for a, b, latency in row["graph"]["links"])
        given["graph"] = Graph(tuple(row["graph"]["node_router"]), links)
    return Network(**given)


def load_of(row: Mapping[str, Any]) -> Load:
    """Return the traffic of a row in which nodes make their own."""
    sizes = row["packet_size"]
    return Load(
        pattern=row["traffic"],
        packet_size=tuple(sizes) if isinstance(sizes, list) else (sizes,),
        injection_rate=row["injection_rate"],
        in_flits=bool(row["injection_rate_uses_flits"]),
        **{
            name: row[name]
            for name in ("sample_period", "warmup_periods", "max_samples", "latency_thres")
        },
    )


def packets_of(row: Mapping[str, Any], nodes: int, folder: Path) -> Packets:
    """Return the list of packets of a recorded row."""
    reads = bool(row.get("use_read_write"))
    if "trace" in row:
        text = read_text(folder / "traces" / f"{Path(row['trace']).name}.csv.gz")
        table = list(csv.reader(io.StringIO(text)))[1:]
        time, source, target, size = np.array(table, dtype=np.int64).T[:4]
        return Packets.of(time, source, target, size, int(reads))
    traffic = row["traffic"]
    return formula(
        traffic["pattern"], nodes, traffic["rate"], traffic["cycles"], tuple(traffic["sizes"]),
        traffic["seed"], reads=reads, write_share=traffic.get("write_share", 0),
        burst=tuple(traffic["burst"]) if "burst" in traffic else None,
    )  # fmt: skip


def run_of(row: Mapping[str, Any], folder: Path) -> tuple[Run, Result]:
    """Return the run of a recorded list of packets, and its result."""
    network = machine_of(row)
    run = Run(network, packets_of(row, network.nodes, folder), row["limit"], row["deadlock"])
    return run, run.finish()


def fnv(values: Ints) -> str:
    """Return the FNV-1a hash of numbers, a number at a time, as hexadecimal digits."""
    found = 14695981039346656037
    for value in values.tolist():
        found = (found ^ (value & (2**64 - 1))) * 1099511628211 & (2**64 - 1)
    return f"{found:016x}"


def retired(packets: np.ndarray) -> str:
    """Return the hash of packets in the order in which they arrived."""
    order = np.lexsort((packets["target"], packets["tail_at"]))
    order = order[packets["tail_at"][order] >= 0]
    p = packets[order]
    names = ("source", "target", "created", "injected", "tail_at", "hops")
    return fnv(np.stack([order, *(p[name] for name in names)], axis=1).ravel())


def columns(run: Run, result: Result) -> dict[str, int | str]:
    """Return the columns of a run with a list, by the names of recorded rows."""
    p, totals = result.packets, result.totals
    a = p[p["tail_at"] >= 0]
    found: dict[str, Any] = {
        "status": result.status, "cycles": totals["time"], "packets": totals["arrived"],
        "flits": totals["flits"],
    }  # fmt: skip
    latency = np.sort(a["tail_at"] - a["created"])
    inside, spread = a["tail_at"] - a["injected"], a["tail_at"] - a["head_at"] - (a["size"] - 1)
    last, some = len(latency) - 1, len(latency) > 0
    found |= {
        "lat_sum": latency.sum(), "lat_min": latency[0] if some else -1,
        "lat_max": latency[-1] if some else -1, "lat_p50": latency[last // 2] if some else -1,
        "lat_p99": latency[99 * last // 100] if some else -1, "nlat_sum": inside.sum(),
        "nlat_min": inside.min() if some else -1, "nlat_max": inside.max() if some else -1,
        "frag_sum": spread.sum(), "frag_max": spread.max() if some else 0,
        "hops_sum": a["hops"].sum(), "hops_max": a["hops"].max() if some else 0,
    }  # fmt: skip
    found["eject_hash"] = fnv(p["tail_at"])
    found["inject_hash"] = fnv(np.where(p["head_at"] >= 0, p["injected"], -1))
    first = run.arrays["routers"]["first"]
    at = np.concatenate(
        [begin + np.arange(n) for begin, n in zip(first, run.wiring.outputs, strict=True)]
    )
    sent = result.sent[at]
    latencies = run.arrays["ports"]["latency"][at]
    found |= {
        "chan_hash": fnv(sent), "chan_sum": sent.sum(), "chan_max": sent.max(),
        "chan_work": (sent * latencies).sum(), "occ_sum": totals["buffered_sum"],
        "occ_max": totals["held_max"], **{f"stall_{name}": totals[name] for name in STALLS},
    }  # fmt: skip
    return {name: value if isinstance(value, str) else int(value) for name, value in found.items()}


def compare_row(found: Differences, number: int, row: Mapping[str, Any], folder: Path) -> None:
    """Compare all columns of a recorded row."""
    wanted = {name: value for name, value in row["result"].items() if name != "tool_seconds"}
    if row["kind"] == "native":
        stats, run = measured(machine_of(row), load_of(row))
        came = {**stats, "retire_hash": retired(run.result(stats["status"]).packets)}
        texts = [name for name, value in wanted.items() if isinstance(value, str)]
        found.equal(number, "status and hash", [came[n] for n in texts], [wanted[n] for n in texts])
        numbers = [name for name in wanted if name not in texts]
        found.numbers(
            number, "averages and counts", {n: float(came.get(n, np.nan)) for n in numbers},
            {n: wanted[n] for n in numbers},
        )  # fmt: skip
        return
    ours = columns(*run_of(row, folder))
    found.equal(number, "all columns", [ours.get(n) for n in wanted], list(wanted.values()))


def _compare_packets(
    path: Path, recorded: Mapping[str, Mapping[str, Any]], folder: Path
) -> list[Agreement]:
    found = Differences(PACKETS, "packets", 0.0)
    for number, row in json_lines(path):
        with reading(path, number):
            p = run_of(recorded[row["id"]], folder)[1].packets
            ours = [p["injected"].tolist(), p["tail_at"].tolist(), p["hops"].tolist()]
            theirs = [row["inject"], row["eject"], row["hops"]]
            found.equal(number, "injection, arrival, hops", ours, theirs)
    return found.lines


def _compare_powers(path: Path, stride: int) -> list[Agreement]:
    found = Differences(POWER, "energy", 1e-5)
    for number, cells in enumerate(csv.DictReader(io.StringIO(read_text(path))), start=2):
        if (number - 2) % stride:
            continue
        with reading(path, number):
            row = json.loads(cells["params"])
            _, run = measured(machine_of(row), load_of(row))
            ours = run.powers(int(cells["channel_width"]))
            found.numbers(number, "all parts", ours, {name: float(cells[name]) for name in ours})
            found.equal(number, "cycles", [run.time], [int(cells["cycles"])])
    return found.lines
