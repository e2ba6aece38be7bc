"""Recorded results of Ramulator 2.1, and the second controller's on the same rows."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.errors import FileFormatError
from archgym.simulators.dram.ramulator.kernel.run import (
    MAPPINGS,
    REFRESHES,
    ROW_POLICIES,
    SCHEDULERS,
    WCK_SYNCS,
    Configuration,
    Outcome,
    Requests,
    run,
)
from archgym.simulators.dram.ramulator.kernel.state import UNCONSTRAINED
from archgym.simulators.dram.ramulator.kernel.tables import DeviceTables, device_tables
from archgym.simulators.dram.ramulator.machine import FAMILIES, Standard, standard
from evidence.dram.drampower import compare_energies
from evidence.dram.results import Comparison
from evidence.recorded import Record, read_rows, read_text

_WHOLE: Final = (
    "ranks", "channels", "interleave_bits", "cap", "scatter_interval",
    "read_buffer", "write_buffer", "width",
)  # fmt: skip
_SHARES: Final = ("wr_low", "wr_high")
_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "mapping": MAPPINGS,
    "scheduler": SCHEDULERS,
    "row_policy": ROW_POLICIES,
    "refresh": REFRESHES[:3],  # the last one is our own extension
}
_GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "ticks": ("tick_ps", "ticks", "last_accept"),
    "latencies": ("sum_latency", "sum_latency_sched", "p50", "p95", "p99", "max"),
    "counts": (
        "reads", "writes", "row_hits", "row_misses", "row_conflicts", "forwarded", "coalesced",
        "commands", "cas_issued", "cas_skipped",
    ),
    "log_hash": ("log_hash",),
}  # fmt: skip
"""Columns of a results file by the metric that the accuracy table names."""


def is_reference(folder: Path) -> bool:
    """Return True if a folder holds results of this form."""
    for path in sorted((folder / "results").glob("*.csv")):
        with path.open(encoding="utf-8", errors="replace") as lines:
            heading = lines.readline(4096)
        if "log_hash" in heading or heading.startswith(("standard,organisation", "name,standard")):
            return True
    return False


def compare_golden(max_rows: int | None = None) -> list[Comparison]:
    """Compare with the rows that ship."""
    folder = Path(__file__).parent / "data" / "golden_ramulator"
    return compare_reference(folder, None, max_rows, prefix="golden-ramulator")


def compare_reference(
    folder: Path,
    progress: Callable[[str], None] | None = None,
    max_rows: int | None = None,
    prefix: str = "dram2",
) -> list[Comparison]:
    """Compare with every results file of a folder.

    Args:
      folder: Holds `results/*.csv`, and `traces` and `energy` as far as the results need them.
      progress: Called with a line of text before each file.
      max_rows: Rows of each file, spread evenly; None for all.
      prefix: Prefix of the names of results.

    Raises:
      FileFormatError: A file is not as it should be.
    """
    found: list[Comparison] = []
    for path in sorted((folder / "results").glob("*.csv")):
        rows = read_rows(path)
        if not rows:
            raise FileFormatError(path, None, "a results file must hold at least one row")
        columns = rows[0].cells
        if max_rows is not None and len(rows) > max_rows:
            rows = [rows[i * len(rows) // max_rows] for i in range(max_rows)]
        if progress is not None:
            progress(f"{prefix}-{path.stem}: {len(rows)} rows, exact")
        name = f"{prefix}-{path.stem}"
        if "log_hash" in columns:
            found += _compare_runs(name, path, rows, folder / "traces")
        elif "preceding" in columns:
            found.append(_compare_pairs(name, path, rows))
        elif "core_total" in columns:
            found += compare_energies(name, path, rows, folder / "energy")
        else:
            raise FileFormatError(
                path, 1, "a results file must have a column log_hash, preceding or core_total"
            )
    return found


def _family(path: Path, row: Record) -> Standard:
    name = row.text("standard").lower()
    if name not in FAMILIES:
        raise FileFormatError(
            path, row.line, f"`standard` must be one of {', '.join(FAMILIES)}; got {name!r}"
        )
    made = standard(name)
    for column, known in (("organisation", made.organisations), ("timing", made.bins)):
        value = row.text(column)
        if value not in known:
            raise FileFormatError(
                path, row.line, f"`{column}` must be one of {', '.join(known)}; got {value!r}"
            )
    return made


def _configuration(path: Path, row: Record) -> Configuration:
    values: dict[str, Any] = {name: row.whole(name) for name in _WHOLE}
    values |= {name: row.number(name) for name in _SHARES}
    sync = row.cells.get("wck_sync") or WCK_SYNCS[0]
    for name, known in (*_CHOICES.items(), ("wck_sync", WCK_SYNCS)):
        values[name] = sync if name == "wck_sync" else row.text(name)
        if values[name] not in known:
            raise FileFormatError(
                path, row.line, f"`{name}` must be one of {', '.join(known)}; got {values[name]!r}"
            )
    for name in ("ranks", "channels"):
        if not 1 <= values[name] <= 64 or values[name] & (values[name] - 1):
            raise FileFormatError(
                path, row.line, f"`{name}` must be a power of two up to 64; got {values[name]}"
            )
    for name in ("cap", "read_buffer", "write_buffer", "width"):
        if values[name] < 1:
            raise FileFormatError(
                path, row.line, f"`{name}` must be at least 1; got {values[name]}"
            )
    if not 0 <= values["interleave_bits"] <= 40 or values["scatter_interval"] < 0:
        raise FileFormatError(
            path, row.line, "`interleave_bits` must be 0 to 40, `scatter_interval` not negative"
        )
    organisation, timing = row.text("organisation"), row.text("timing")
    return Configuration(organisation=organisation, timing=timing, **values)


def _read_trace(path: Path) -> Requests:
    """Return the requests of a trace: lines of `time_ps R|W hexaddress`."""
    times, writes, addresses = [], [], []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        parts = line.split()
        try:
            time, kind, address = int(parts[0]), parts[1], int(parts[2], 16)
        except (IndexError, ValueError):
            raise FileFormatError(
                path, number, f"a line must be `time_ps R|W hexaddress`; got {line[:60]!r}"
            ) from None
        if kind not in ("R", "W") or not 0 <= time < 2**60 or not 0 <= address < 2**62:
            raise FileFormatError(
                path, number, f"a line must be `time_ps R|W hexaddress`; got {line[:60]!r}"
            )
        times.append(time)
        writes.append(kind == "W")
        addresses.append(address)
    if not times:
        raise FileFormatError(path, None, "a trace must hold at least one request")
    return Requests.of(
        np.array(times, np.int64), np.array(writes, np.bool_), np.array(addresses, np.int64)
    )


def _compare_runs(
    name: str, path: Path, rows: Sequence[Record], traces: Path
) -> Iterator[Comparison]:
    read: dict[str, Requests] = {}
    errors: dict[str, list[float]] = {group: [] for group in _GROUPS}
    status: list[float] = []
    for row in rows:
        made = _family(path, row)
        configuration = _configuration(path, row)
        trace = row.text("trace")
        if trace not in read:
            read[trace] = _read_trace(traces / f"{trace}.trace.gz")
        outcome = run(made, configuration, read[trace], hashes=True)
        is_stuck = row.text("status") != "ok"
        status.append(float(outcome.is_stuck != is_stuck))
        if is_stuck:
            continue
        found = _results(read[trace], outcome)
        for group, columns in _GROUPS.items():
            errors[group].append(max(_error(found[c], row.text(c)) for c in columns))
    yield Comparison(name, "status", np.array(status))
    for group, values in errors.items():
        if values:
            yield Comparison(name, group, np.array(values))


def _results(requests: Requests, outcome: Outcome) -> dict[str, str]:
    """Return the columns of a results row."""
    reads = ~requests.is_write
    late = np.sort((outcome.depart - outcome.due)[reads])
    ranks = [-(-len(late) * p // 100) - 1 for p in (50, 95, 99, 100)]
    p50, p95, p99, most = late[ranks].tolist() if len(late) else (0, 0, 0, 0)
    issued = " ".join(f"{command}:{n}" for command, n in outcome.commands.items() if n)
    found: dict[str, object] = {
        "tick_ps": outcome.tick_ps,
        "ticks": outcome.ticks,
        "last_accept": outcome.last_accept,
        "reads": int(reads.sum()),
        "writes": int(requests.is_write.sum()),
        "row_hits": outcome.counts["hits"],
        "row_misses": outcome.counts["misses"],
        "row_conflicts": outcome.counts["conflicts"],
        "forwarded": outcome.counts["forwarded"],
        "coalesced": outcome.counts["coalesced"],
        "sum_latency": int((outcome.depart - outcome.arrive)[reads].sum()),
        "sum_latency_sched": int((outcome.depart - outcome.due)[reads].sum()),
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "max": most,
        "commands": issued,
        "cas_issued": outcome.counts["cas_issued"],
        "cas_skipped": outcome.counts["cas_skipped"],
        "log_hash": f"{outcome.log_hash:016x}",
    }
    return {column: str(value) for column, value in found.items()}


def _error(found: str, recorded: str) -> float:
    """Return the relative error of a number, 1 for different texts, 0 for an empty cell."""
    if not recorded or found == recorded:
        return 0.0
    try:
        came, expected = int(found), int(recorded)
    except ValueError:
        return 1.0
    return abs(came - expected) / max(1, abs(expected))


def _compare_pairs(name: str, path: Path, rows: Sequence[Record]) -> Comparison:
    errors = []
    for row in rows:
        made = _family(path, row)
        ranks = row.whole("ranks")
        tables = device_tables(made, row.text("organisation"), row.text("timing"), ranks)
        names = [command.name for command in made.commands]
        for column in ("preceding", "following"):
            value = row.text(column)
            if value not in names and value != "ACT":
                raise FileFormatError(
                    path, row.line, f"`{column}` must be a command; got {value!r}"
                )
        found = _pair(made, tables, row.text("relation"), row)
        expected = row.whole("ticks")
        errors.append(abs(found - expected) / max(1, abs(expected)))
    return Comparison(name, "pairs", np.array(errors))


def _pair(made: Standard, tables: DeviceTables, relation: str, row: Record) -> int:
    """Return the least distance of two commands [ticks]."""
    names = [command.name for command in made.commands]
    if relation == "fifth_activate":
        sizes = made.organisations[row.text("organisation")].sizes
        return _fifth_activate(tables, sizes[made.levels[-1]])
    before, after = names.index(row.text("preceding")), names.index(row.text("following"))
    level = relation.partition("_")[2]
    levels = ("Channel", *made.levels)
    bank = 0
    if relation.startswith("other") and level in levels:
        # The first bank of the second node of that level.
        place = levels.index(level)
        bank = int(np.flatnonzero(tables.node_of[:, place] != tables.node_of[0, place])[0])
    ready = np.full((len(tables.siblings), len(names)), UNCONSTRAINED, dtype=np.int64)
    _apply(tables, ready, before, names[before].endswith("ab"), 0)
    return max(1, _legal(tables, ready, after, names[after].endswith("ab"), bank))


def _apply(
    tables: DeviceTables, ready: npt.NDArray[np.int64], command: int, is_all: bool, bank: int
) -> None:
    """Enter a command at time 0 into the tables of earliest times; windows do not bind yet."""
    d = tables.device[0]
    first, last = d["rules_of"][command], d["rules_of"][command + 1]
    banks = np.arange(bank, bank + (d["scope_banks"] if is_all else 1))
    for rule in tables.rules[first:last]:
        if rule["window"] > 1:
            continue
        for node in np.unique(tables.node_of[banks, rule["level"]]):
            low, high = tables.siblings[node]
            nodes = [n for n in range(low, high) if n != node] if rule["siblings"] else [node]
            for other in nodes:
                place = (other, rule["following"])
                ready[place] = max(ready[place], rule["distance"])


def _legal(
    tables: DeviceTables, ready: npt.NDArray[np.int64], command: int, is_all: bool, bank: int
) -> int:
    """Return the time from which a command is legal."""
    d = tables.device[0]
    first = bank // d["scope_banks"] * d["scope_banks"] if is_all else bank
    banks = np.arange(first, first + (d["scope_banks"] if is_all else 1))
    return int(ready[tables.node_of[banks], command].max())


def _fifth_activate(tables: DeviceTables, groups: int) -> int:
    """Return the time from the first of five activations of different banks to the fifth.

    Args:
      tables: The device.
      groups: Banks of a group.
    """
    d = tables.device[0]
    act = int(d["act"])
    low, high = d["rules_of"][act], d["rules_of"][act + 1]
    rules = [r for r in tables.rules[low:high] if r["following"] == act and not r["siblings"]]
    step = max(1, len(tables.node_of) // max(1, int(d["n_scopes"])) // 5)
    times: list[int] = []
    banks: list[int] = []
    for place in range(5):
        bank = (place * groups) % int(d["scope_banks"]) + (place * groups) // int(d["scope_banks"])
        time = 0
        for rule in rules:
            node = tables.node_of[bank, rule["level"]]
            same = [
                t
                for t, b in zip(times, banks, strict=True)
                if tables.node_of[b, rule["level"]] == node
            ]
            if len(same) >= rule["window"]:
                time = max(time, same[-int(rule["window"])] + int(rule["distance"]))
        times.append(max(time, times[-1] + 1 if times else 0))
        banks.append(bank)
    return times[-1] - times[0] if step else 0
