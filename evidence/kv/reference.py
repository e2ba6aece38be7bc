"""The model against counts of vLLM's and SGLang's own classes, and exact optima of small cases."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from archgym.errors import FileFormatError
from archgym.simulators.kv.kernel.run import run_pool
from archgym.simulators.kv.kernel.served import run_steps
from archgym.simulators.kv.simulator import KvSimulator
from archgym.simulators.kv.workloads.stream import StreamSettings
from archgym.simulators.kv.workloads.traces import load, stream_blocks
from evidence.agreement import Agreement, Differences, validation_of
from evidence.recorded import Record, json_lines, read_rows, reading
from evidence.validation import Group, Progress, Validation, chosen, metrics_of

ROWS, OPTIMA, LOGS = "rows", "optima", "logs"
GROUPS: Final = (
    Group(ROWS, "counts of the engines' own classes on four traces, each column of each row"),
    Group(OPTIMA, "most hits of small cases, found by exhaustive search"),
    Group(
        LOGS,
        "evictions of each request, tokens of each step, and the first requests of streams",
        "a task's metrics have no lists of evicted blocks and no steps; the counts of the same "
        "runs are rows",
    ),
)
_STREAM: Final = {
    name: name
    for name in (
        "first", "last", "skip_sessions", "sessions", "live", "stagger_ms", "think_cap_ms",
        "service_prompt_div", "service_ms_per_output",
    )
}  # fmt: skip
_FLAGS: Final = ("link", "shared_prefix")
_SETTINGS: Final = {
    "block": "block_tokens", "page": "block_tokens", "capacity": "gpu_blocks",
    "gpu_capacity": "gpu_blocks", "cpu_capacity": "host_blocks", "step_ms": "step_ms",
    "max_seqs": "max_seqs", "token_budget": "token_budget",
}  # fmt: skip
_RENAMED: Final = {
    "gpu_hit_blocks": "hit_blocks", "cpu_hit_blocks": "host_hit_blocks",
    "cpu_stored": "host_stored", "cpu_evicted": "host_evicted", "gpu_evictions": "evictions",
    "cpu_offered": "host_offered", "gpu_hits_checksum": "hits_checksum",
    "cpu_hits_checksum": "host_hits_checksum", "bound_hit_blocks": "optimum_blocks",
    "hit_pages": "hit_blocks", "evicted_pages": "evictions",
}  # fmt: skip
_HALF: Final = 2**32
_SHIPPED: Final = Path(__file__).parent / "data"
_SHIPPED_TRACES: Final = {
    "mooncake_synthetic": "tools", "mooncake_conversation_first": "chat",
    "claude_code_shared": "coding-long",
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
      reference: A folder with `results`, `traces` and `debug`, or one that holds it as `kv`; None
        for the rows of the traces that ship.
      progress: Receives the name of the file that is compared next.
      group: Group to compare; all by default.
      stride: Compare every so many rows.

    Raises:
      FileFormatError: A file is not as it must be; the error names the line.
      UnknownNameError: There is no such group.
    """
    wanted = chosen(GROUPS, group)
    announce = progress if progress is not None else lambda _: None
    if reference is None:
        # Rows of the shipped traces, which are the first requests of the recorded ones.
        found = list[Agreement]()
        for path in sorted(_SHIPPED.glob("*.csv")) if ROWS in wanted else ():
            announce(path.name)
            found += compare_rows(path, None, stride)
        return validation_of(found, GROUPS)
    folder = reference / "kv" if (reference / "kv").is_dir() else reference
    results, lines = sorted((folder / "results").glob("*")), list[Agreement]()
    if not results:
        what = "holds no results/*.csv and no results/*.jsonl"
        raise FileFormatError(folder, None, what, "Name the folder of recorded results")
    for path in results:
        announce(path.name)
        if path.suffix == ".csv" and ROWS in wanted:
            lines += compare_rows(path, folder / "traces", stride)
        elif path.suffix == ".jsonl" and OPTIMA in wanted:
            lines += compare_optima(path, stride)
    for path in sorted((folder / "debug").glob("*.jsonl")) if LOGS in wanted else ():
        announce(path.name)
        lines += _LOGS[path.stem](path, folder / "traces")
    return validation_of(lines, GROUPS)


def compare_rows(path: Path, traces: Path | None, stride: int = 1) -> list[Agreement]:
    """Compare the rows of one file, each as a design of a task.

    Args:
      path: The file.
      traces: Folder of the traces; None for those that ship.
      stride: Compare every so many rows.
    """
    found = Differences(ROWS, path.stem, 0.0)
    for record in read_rows(path)[::stride]:
        with reading(path, record.line):
            simulator, design = row_design(path.stem, record)
            name = record.text("trace")
            trace: str | Path = _SHIPPED_TRACES.get(name, name)
            if traces is not None:
                trace = next(iter(sorted(traces.glob(f"{name}.*"))))
            workload = simulator.workload(trace)
            indices = simulator.space.indices_of(design)[None, :]
            values = metrics_of(simulator, workload, indices)
            ours = {name: float(column[0]) for name, column in values.items()}
            for column, text in record.cells.items():
                _compare_cell(found, record.line, column, text, ours)
    return found.lines


def row_design(file: str, record: Record) -> tuple[KvSimulator, dict[str, Any]]:
    """Return the simulator and the design of a row.

    Args:
      file: Name of the file, which says the engine and the driver.
      record: The row.
    """
    options: dict[str, Any] = {
        option: record.whole(column)
        for column, option in {**_STREAM, **_SETTINGS}.items()
        if column in record.cells
    }
    # Traces with arrival times have no live sessions, and recorded sessions no service formula.
    for name in ("live", "service_prompt_div", "service_ms_per_output"):
        if not options[name]:
            del options[name]
    for flag in (*_FLAGS, "reserve_prompt"):
        if flag in record.cells:
            options[flag] = record.whole(flag) == 1
    space, _, driver = file.partition("_")
    policy = record.cells.get("policy", "lru")
    if space == "offload":
        return KvSimulator("offload", **options), {"policy": "lru", "host_policy": policy}
    if space == "radix":
        return KvSimulator("sglang", **options), {"policy": policy}
    return KvSimulator("vllm", driver=driver, **options), {"policy": policy}


def _compare_cell(
    found: Differences, line: int, column: str, text: str, ours: Mapping[str, float]
) -> None:
    name = _RENAMED.get(column, column)
    if text == "" or name in _STREAM or name in _SETTINGS:
        return
    if name.endswith("_checksum"):
        high, low = divmod(int(text), _HALF)
        pair = [ours[f"{name}_high"], ours[f"{name}_low"]]
        found.equal(line, column, pair, [float(high), float(low)])
    elif name in ours:
        found.equal(line, column, [ours[name]], [float(text)])


def compare_optima(path: Path, stride: int = 1) -> list[Agreement]:
    """Compare the optimum of small cases, each a trace of its own and a design of a task."""
    found = Differences(OPTIMA, path.stem, 0.0)
    with TemporaryDirectory() as folder:
        for number, row in json_lines(path):
            if (number - 1) % stride:
                continue
            trace = Path(folder) / f"case-{number}.jsonl"
            with reading(path, number):
                trace.write_text(case_text(row))
                simulator = KvSimulator(
                    "vllm", block_tokens=row["B"], gpu_blocks=row["C"]
                )  # fmt: skip
                workload = simulator.workload(trace)
                indices = simulator.space.default_indices[None, :]
                values = metrics_of(simulator, workload, indices)
                found.equal(
                    number, "optimum", [float(values["optimum_blocks"][0])], [row["optimum"]]
                )
    return found.lines


def case_text(row: Mapping[str, Any]) -> str:
    """Return a small case as a trace with pieces of one block."""
    block, fresh = row["B"], 10**6
    lines = [json.dumps({"piece_tokens": block})]
    for time, (prompt, output, identities) in enumerate(row["requests"]):
        n = -(-prompt // block)
        ids = [*identities[: prompt // block]]
        while len(ids) < n:
            ids.append(fresh)
            fresh += 1
        lines.append(
            json.dumps(
                {
                    "timestamp": time,
                    "input_length": prompt,
                    "output_length": output,
                    "hash_ids": ids,
                }
            )
        )
    return "\n".join(lines) + "\n"


# ---- logs


def _settings(text: str) -> tuple[str, StreamSettings]:
    """Return the trace and the settings that a log states as `name key=value ...`."""
    name, *parts = text.split()
    values = dict(part.split("=") for part in parts)
    settings: dict[str, Any] = {
        key: value == "1" if key in _FLAGS else int(value) for key, value in values.items()
    }
    return name, StreamSettings(**settings)


def _blocks_of(traces: Path, text: str, block: int) -> Any:
    name, settings = _settings(text)
    return stream_blocks(load(next(iter(traces.glob(f"{name}.*")))), settings, block)


def compare_evictions(path: Path, traces: Path) -> list[Agreement]:
    """Compare hits and evicted blocks of each request."""
    found = Differences(LOGS, path.stem, 0.0)
    log: dict[str, Any] = {}
    hits = np.zeros(0)
    for number, row in _lines(path):
        with reading(path, number):
            if isinstance(row, dict):
                made = _blocks_of(traces, row["stream"], row["block"])
                hits = run_pool(made, "sequential", row["capacity"], "lru", log)["hits"]
                continue
            request, wanted, evicted = row
            found.equal(number, "hits", [int(hits[request])], [wanted])
            found.equal(number, "evicted", log["evicted"][request].tolist(), evicted)
    return found.lines


def compare_steps(path: Path, traces: Path) -> list[Agreement]:
    """Compare the tokens and the preemptions of each step."""
    found = Differences(LOGS, path.stem, 0.0)
    entries: dict[int, tuple[list[list[int]], list[int]]] = {}
    for number, row in _lines(path):
        with reading(path, number):
            if isinstance(row, dict):
                made = _blocks_of(traces, row["stream"], row["block"])
                log: dict[str, Any] = {}
                counts = run_steps(
                    made, row["capacity"], "lru", step_ms=row["step_ms"],
                    max_seqs=row["max_seqs"], token_budget=row["token_budget"],
                    reserve_prompt=bool(row["reserve_prompt"]), log=log,
                )  # fmt: skip
                found.equal(number, "hits", counts["hits"].tolist(), row["hits"])
                entries = {}
                for step, request, tokens in log["entries"].tolist():
                    planned, lost = entries.setdefault(step, ([], []))
                    if tokens < 0:
                        lost.append(request)
                    else:
                        planned.append([request, tokens])
                continue
            step, planned, lost = row
            ours = entries.get(step, ([], []))
            found.equal(number, "scheduled", ours[0], planned)
            found.equal(number, "preempted", ours[1], lost)
    return found.lines


def compare_streams(path: Path, traces: Path) -> list[Agreement]:
    """Compare the first requests of streams: times, lengths and identities."""
    found = Differences(LOGS, path.stem, 0.0)
    for number, row in _lines(path):
        with reading(path, number):
            made = _blocks_of(traces, row["stream"], row["block"])
            stream, i, blocks = made.stream, row["i"], made.blocks
            low, high = int(blocks.start[i]), int(blocks.start[i + 1])
            ends = [int(blocks.chain[low]), int(blocks.chain[high - 1])] if high > low else [-1, -1]
            ours = [
                *(int(column[i]) for column in stream.arrivals), int(stream.n_ids[i]),
                int(stream.known[i]), high - low, *ends,
            ]  # fmt: skip
            names = ("t", "s", "P", "O", "ids", "known", "full", "first", "last")
            found.equal(number, "request", ours, [row[name] for name in names])
    return found.lines


def _lines(path: Path) -> list[tuple[int, Any]]:
    return [(n, json.loads(text)) for n, text in enumerate(path.read_text().splitlines(), start=1)]


_LOGS: Final = {
    "sequential": compare_evictions,
    "steps": compare_steps,
    "streams": compare_streams,
}
