"""The model against recorded results of DRAMSys 4, row by row."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.errors import ArchGymError, FileFormatError
from archgym.evaluation.simulator import Workload
from archgym.simulators.dram.controllers.dramsys import dramsys_of
from archgym.simulators.dram.dramsys.devices import device, dramsys_device_names
from archgym.simulators.dram.dramsys.kernel.commands import CONTROLLER_CODES, CONTROLLER_COLUMNS
from archgym.simulators.dram.dramsys.mapping import reference_mapping_names
from archgym.simulators.dram.simulator import DramSimulator
from archgym.simulators.dram.workloads.trace import Trace, read_trace
from evidence.dram.ramulator import (
    compare_golden,
    compare_reference,
    is_reference,
)
from evidence.dram.results import Comparison
from evidence.recorded import read_rows
from evidence.validation import Cells, Group, Validation, chosen, metrics_of

DESIGNS, BUSY, RAMULATOR, PAIRS, ENERGY = "dramsys", "busy", "ramulator", "pairs", "drampower"
GROUPS: Final = (
    Group(DESIGNS, "runs of DRAMSys 4: time, energy, power and bandwidth"),
    Group(BUSY, "runs of DRAMSys 4: bandwidth outside idle times", "it is no metric"),
    Group(
        RAMULATOR,
        "runs of Ramulator 2.1",
        "its front end takes 1, 2 or 4 requests in a tick; that of every design takes 8",
    ),
    Group(PAIRS, "least distances of two commands in Ramulator 2.1", "compares tables of timings"),
    Group(ENERGY, "energies of DRAMPower 6.2", "compares equations on lists of commands"),
)
COLUMNS: Final = (
    "results", "metric", "rows", "exact_percent", "median_error_percent",
    "p99_error_percent", "worst_error_percent",
)  # fmt: skip
_BUSY: Final = "busy_bandwidth_gbps"
# Column of a results file -> output of the kernel, metric, factor to the file's unit, step of its
# print. The file counts bits. The last output is no metric.
_METRICS: Final[dict[str, tuple[str, str, float, float]]] = {
    "total_time_ns": ("total_time_ns", "total_time_ns", 1.0, 0.001),
    "total_energy_pJ": ("energy_pj", "total_energy_pj", 1.0, 0.01),
    "avg_power_mW": ("power_mw", "power_mw", 1.0, 0.01),
    "avg_bw_gbps": ("bandwidth_gbps", "bandwidth_gb_per_s", 8.0, 0.01),
    "avg_bw_noidle_gbps": (_BUSY, "", 8.0, 0.01),
}
_CONTROLLER_HEADINGS: Final = (
    "PagePolicy", "Scheduler", "SchedulerBuffer", "RequestBufferSize", "CmdMux", "RespQueue",
    "RefreshPolicy", "RefreshMaxPostponed", "RefreshMaxPulledin", "PowerDownPolicy", "Arbiter",
    "MaxActiveTransactions",
)  # fmt: skip
GOLDEN: Final = "golden"
OTHER_ROWS: Final = "dram2-"
"""Prefix of results that a folder may hold with other rows than the committed ones."""
# A committed share or error that moved by less is the same: it is stored with 6 digits.
_TOLERANCE: Final = 1e-6


@final
@dataclass(frozen=True)
class Accuracy:
    """Accuracy of one metric of one results file.

    Attributes:
      results: Name of the results file without its ending, or `golden` for the rows that ship.
      metric: Output of the kernel.
      n_rows: Rows that have the metric.
      exact: Share of rows that are equal in every digit that the file prints.
      median, p99, worst: Relative errors beyond what the file's rounding hides.
    """

    results: str
    metric: str
    n_rows: int
    exact: float
    median: float
    p99: float
    worst: float

    @property
    def group(self) -> str:
        """Name of its group."""
        if self.results.startswith(("dram2-", "golden-ramulator-")):
            return {"pairs": PAIRS, "core_energy": ENERGY, "active_times": ENERGY}.get(
                self.metric, RAMULATOR
            )
        return BUSY if self.metric == _BUSY else DESIGNS

    @property
    def cells(self) -> Cells:
        """Cells by `COLUMNS`."""
        shares = (self.exact, self.median, self.p99, self.worst)
        percent = [100.0 * share for share in shares]
        return (self.results, self.metric, self.n_rows, *percent)


def validate(
    reference: Path | None = None,
    progress: Callable[[str], None] | None = None,
    *,
    group: str | None = None,
    max_rows: int | None = None,
) -> Validation[Accuracy]:
    """Run the recorded designs and compare.

    Args:
      reference: A folder with `results/*.csv` and `traces/*.stl.gz`, or one that holds it as
        `dram`, and results of the second controller as `dram2`. None for only the rows
        that ship.
      progress: Called with the next comparison.
      group: Group to compare; all by default.
      max_rows: Rows of each file, spread evenly; None for all. Then nothing is compared with the
        committed table.

    Raises:
      FileFormatError: A results file or trace is not what it should be.
      UnknownNameError: There is no such group.
    """
    wanted = chosen(GROUPS, group)
    lines: list[Accuracy] = []
    second = None if reference is None else _second_reference(reference)
    # All files are read before any is run, so that a wrong folder is told at once.
    first = None if second == reference else reference
    read = [(name, table, _read(table), traces) for name, table, traces in _results(first)]
    configs = None if first is None else _folder(first) / "configs"
    for name, table, rows, traces in read:
        absent = sorted(
            {row["mapping"] for row in rows if not _has_mapping(row["mapping"], configs)}
        )
        if absent:
            kept = [row for row in rows if row["mapping"] not in absent]
            if progress is not None:
                progress(
                    f"{name}: {len(rows) - len(kept)} of {len(rows)} rows are left out, since "
                    f"configs/ lacks {', '.join(absent)}"
                )
            rows = kept
        if max_rows is not None and len(rows) > max_rows:
            rows = [rows[place * len(rows) // max_rows] for place in range(max_rows)]
        if wanted & {DESIGNS, BUSY}:
            if progress is not None:
                progress(f"{name}: {len(rows)} rows")
            lines += _compare(name, rows, _run(table, rows, traces, configs, wanted))
    if wanted & {RAMULATOR, PAIRS, ENERGY}:
        compared = compare_golden(max_rows)
        if second is not None:
            compared += compare_reference(second, progress, max_rows)
        lines += [_line(comparison) for comparison in compared]
    chosen_lines = tuple(line for line in lines if line.group in wanted)
    problems = () if max_rows is not None else _problems(chosen_lines)
    return Validation(chosen_lines, COLUMNS, GROUPS, problems)


def _second_reference(reference: Path) -> Path | None:
    """Return the folder of results of the second controller, if there is one."""
    for folder in (reference, reference / "dram2"):
        if is_reference(folder):
            return folder
    return None


def _line(comparison: Comparison) -> Accuracy:
    errors = comparison.errors
    return Accuracy(
        results=comparison.results,
        metric=comparison.metric,
        n_rows=len(errors),
        exact=float(np.mean(errors == 0.0)),
        median=float(np.median(errors)),
        p99=float(np.quantile(errors, 0.99, method="higher")),
        worst=float(errors.max()),
    )


def expected_text(validation: Validation[Accuracy]) -> str:
    """Return the content of `data/accuracy.json` that makes a validation the committed one."""
    data = {
        f"{line.results}/{line.metric}": [
            line.n_rows,
            round(line.exact, 6),
            round(line.worst, 6),
        ]
        for line in validation.lines
    }
    entries = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in data.items()]
    return "{\n" + ",\n".join(entries) + "\n}\n"


def markdown(validation: Validation[Accuracy]) -> str:
    """Return the accuracy tables of the README: shares of equal rows and worst errors."""
    by_file: dict[str, dict[str, Accuracy]] = defaultdict(dict)
    second: dict[str, dict[str, Accuracy]] = defaultdict(dict)
    outputs = {output for output, *_ in _METRICS.values()}
    for line in validation.lines:
        if line.metric in outputs:
            by_file[line.results][line.metric] = line
        else:
            second[line.results][line.metric] = line
    text = [
        "| results | rows | time | energy | power | bandwidth |",
        "|---|---:|---|---|---|---|",
    ]
    for results, by_metric in by_file.items():
        cells = [
            _cell(by_metric.get(metric))
            for metric in ("total_time_ns", "energy_pj", "power_mw", "bandwidth_gbps")
        ]
        n_rows = max(line.n_rows for line in by_metric.values())
        text.append(f"| {results} | {n_rows} | {' | '.join(cells)} |")
    if second:
        text += [
            "",
            "| results | rows | ticks | latencies | counts | every command (`log_hash`) | status |",
            "|---|---:|---|---|---|---|---|",
        ]
    for results, by_metric in second.items():
        if "log_hash" not in by_metric:
            continue
        cells = [
            _cell(by_metric.get(metric))
            for metric in ("ticks", "latencies", "counts", "log_hash", "status")
        ]
        text.append(f"| {results} | {by_metric['status'].n_rows} | {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def _cell(line: Accuracy | None) -> str:
    if line is None:
        return "–"
    n_exact = round(line.exact * line.n_rows)
    if n_exact == line.n_rows:
        return "all"
    return f"{n_exact} (worst {100.0 * line.worst:.4f} %)"


def _results(reference: Path | None) -> Iterator[tuple[str, Path, Path]]:
    """Yield name, file and folder of traces of each results file."""
    data = Path(__file__).parent / "data"
    yield GOLDEN, data.joinpath("golden.csv"), data.joinpath("golden")
    if reference is None:
        return
    folder = _folder(reference)
    tables = sorted((folder / "results").glob("*.csv"))
    if not tables:
        raise FileFormatError(
            reference, None, "holds no results/*.csv", "Name the folder of recorded results"
        )
    if not (folder / "traces").is_dir():
        raise FileFormatError(
            reference, None, "holds results but no folder traces", "Copy the whole folder"
        )
    for path in tables:
        yield path.stem, path, folder / "traces"


def _folder(reference: Path) -> Path:
    return reference / "dram" if (reference / "dram").is_dir() else reference


def _has_mapping(name: str, configs: Path | None) -> bool:
    known = name.removesuffix(".json") in reference_mapping_names()
    return known or (configs is not None and (configs / name).is_file())


def _read(table: Path) -> list[dict[str, str]]:
    wanted = {"trace", "clkMhz", "memspec", "mapping", *_CONTROLLER_HEADINGS, *_METRICS}
    return [dict(row.cells) for row in read_rows(table, sorted(wanted))]


def _run(
    table: Path,
    rows: Sequence[Mapping[str, str]],
    traces: Path,
    configs: Path | None,
    wanted: frozenset[str],
) -> Mapping[str, npt.NDArray[np.float64]]:
    """Return numbers of every row by output, from designs of the space `dramsys`."""
    groups: dict[tuple[str, str, str, str], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        groups[row["trace"], row["clkMhz"], row["memspec"], row["mapping"]].append(place)
    outputs = {output: np.full(len(rows), np.nan) for output, *_ in _METRICS.values()}
    read: dict[str, Trace] = {}
    for (trace_name, clock, memory, mapping), places in groups.items():
        if trace_name not in read:
            read[trace_name] = read_trace(traces / f"{trace_name}.gz")
        trace = replace(read[trace_name], clock_mhz=_clock(table, places[0] + 2, clock))
        simulator = _simulator(memory, mapping, configs)
        indices = np.array([_indices(simulator, table, place + 2, rows[place]) for place in places])
        workload = Workload(trace.name, trace.digest, trace)
        if DESIGNS in wanted:
            found = metrics_of(simulator, workload, indices)
            for output, metric, *_ in _METRICS.values():
                if metric in found:
                    outputs[output][places] = found[metric]
        if BUSY in wanted:
            from archgym.simulators.dram.dramsys.kernel.batch import OUTPUTS

            column = OUTPUTS.index(_BUSY)
            controller = dramsys_of(simulator)
            own = controller.outputs(simulator.space, indices, trace)
            outputs[_BUSY][places] = own[:, column]
    if BUSY not in wanted:
        outputs.pop(_BUSY)
    return outputs if DESIGNS in wanted else {_BUSY: outputs[_BUSY]}


def _clock(table: Path, number: int, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise FileFormatError(
            str(table), number, f"clkMhz must be a whole number; got {text!r}"
        ) from None


def _simulator(memory: str, mapping: str, configs: Path | None) -> DramSimulator:
    """Return the simulator of a memory specification and mapping, shipped or of the folder."""
    reference = memory.removesuffix(".json")
    found = [name for name in dramsys_device_names() if device(name).reference == reference]
    if found:
        chosen = found[0]
    elif configs is not None and (configs / f"{reference}.json").is_file():
        chosen = str(configs / f"{reference}.json")
    else:
        raise FileFormatError(
            reference, None, "is the memory specification of no shipped device", ""
        )
    layout = mapping.removesuffix(".json")
    if configs is not None and layout not in reference_mapping_names():
        layout = str(configs / mapping)
    return DramSimulator("dramsys", chosen, address_mapping=layout, addresses="wrap")


def _indices(
    simulator: DramSimulator, table: Path, number: int, row: Mapping[str, str]
) -> npt.NDArray[np.int64]:
    """Return the design of a row."""
    design: dict[str, object] = {}
    for parameter in simulator.space.parameters:
        heading = _CONTROLLER_HEADINGS[CONTROLLER_COLUMNS.index(parameter.name)]
        is_name = parameter.name in CONTROLLER_CODES
        try:
            design[parameter.name] = row[heading] if is_name else int(row[heading])
        except ValueError:
            raise FileFormatError(
                str(table), number, f"{heading} must be a whole number; got {row[heading]!r}"
            ) from None
    try:
        return simulator.space.indices_of(design)
    except ArchGymError as error:
        raise FileFormatError(str(table), number, str(error)) from None


def _compare(
    name: str,
    rows: Sequence[Mapping[str, str]],
    outputs: Mapping[str, npt.NDArray[np.float64]],
) -> list[Accuracy]:
    lines = []
    for heading, (metric, _, factor, unit) in _METRICS.items():
        if metric not in outputs:
            continue
        recorded = np.array([float(row[heading]) if row[heading] else np.nan for row in rows])
        present = ~np.isnan(recorded)
        if not present.any():
            continue
        difference = np.abs(outputs[metric] * factor - recorded)[present]
        # What rounding to the printed digits hides is not an error, nor is a tie in the last digit.
        error = np.where(difference <= unit / 2 + 1e-9 * recorded[present], 0.0, difference)
        error = np.where(np.isnan(error), np.inf, error) / recorded[present]
        lines.append(
            Accuracy(
                results=name,
                metric=metric,
                n_rows=int(present.sum()),
                exact=float(np.mean(error == 0.0)),
                median=float(np.median(error)),
                p99=float(np.quantile(error, 0.99, method="higher")),
                worst=float(error.max()),
            )
        )
    return lines


def _problems(lines: Sequence[Accuracy]) -> tuple[str, ...]:
    path = Path(__file__).parent / "data" / "accuracy.json"
    expected = json.loads(path.read_text("utf-8"))
    problems = []
    for line in lines:
        key = f"{line.results}/{line.metric}"
        if key not in expected:
            continue
        n_rows, exact, worst = expected[key]
        if line.n_rows != n_rows and line.results.startswith(OTHER_ROWS):
            # Further rows of the second controller: its model has no parameter fitted to any.
            if line.exact < exact - _TOLERANCE:
                problems.append(
                    f"{key} must be exact on {100 * exact:.4f} % of any rows; "
                    f"got {100 * line.exact:.4f} % of {line.n_rows}."
                )
        elif line.n_rows != n_rows:
            problems.append(f"{key} must have {n_rows} rows; got {line.n_rows}.")
        elif line.exact < exact - _TOLERANCE:
            problems.append(
                f"{key} must be exact on {100 * exact:.4f} % of its rows; "
                f"got {100 * line.exact:.4f} %."
            )
        elif line.worst > worst + _TOLERANCE:
            problems.append(
                f"{key} must be off by at most {100 * worst:.4f} %; got {100 * line.worst:.4f} %."
            )
    return tuple(problems)
