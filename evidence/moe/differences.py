"""Differences of the fidelities `full` and `steps` on measured configurations.

    python -m evidence.moe.differences FOLDER [FOUND] [SECONDS]

Both serve the same requests, two of each client: of one row of each measured configuration; and of
some of them with skewed routing, drafts, prompts that repeat, few blocks of keys and values, held
prompts, polls, and workers of two kinds. It takes minutes: with a file FOUND it stops after so many
seconds, and the next call continues after the last row of the file.
"""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import numpy as np

from archgym.simulators.moe.workloads.routing import RoutingPreset, generate
from archgym.simulators.moe.workloads.routing_trace import write_routing
from evidence.moe.measured import WORKLOAD, Measured, read_serving

METRICS: Final = ("tpot_mean_ms", "output_per_s", "ttft_mean_ms")
"""Metrics that are compared."""
_SOME: Final = 4  # chosen: rows of each further group
_SKEW: Final = 0.7  # chosen: as workload `one-topic`, some three times what was fitted
_FURTHER: Final[Mapping[str, Mapping[str, str]]] = {
    "drafts": {"draft_tokens": "3", "acceptance": "0.7"},
    "few blocks": {"memory_percent": "60"},
    "held prompts": {"hold_steps": "20", "hold_prompts": "2"},
    "polls": {"poll_steps": "10"},
    "workers of two kinds": {"prefill_workers": "1", "decode_workers": "2"},
}


class Difference(NamedTuple):
    """Difference of `steps` from `full` over rows [%]."""

    group: str
    metric: str
    n_rows: int
    median: float
    p99: float


class Case(NamedTuple):
    """Row to serve at both fidelities, with a workload and options that differ."""

    row: Measured
    workload: str
    options: Mapping[str, str]


def of_row(row: Measured, workload: str = WORKLOAD, **options: str) -> list[float] | None:
    """Return the differences of a row by `METRICS` [%]; None where it cannot be built.

    Args:
      row: Measured row.
      workload: Workload whose lengths the row's options replace.
      options: Further options of the simulator.
    """
    found = []
    for fidelity in ("full", "steps"):
        simulator = row.simulator(fidelity, requests=str(2 * row.clients), **options)
        metrics = simulator.evaluate(row.design, simulator.workload(workload))
        if metrics.infeasible is not None:
            return None
        found.append([metrics[name] for name in METRICS])
    return [100.0 * abs(quick / exact - 1.0) for exact, quick in zip(*found, strict=True)]


def summary(group: str, found: list[list[float]]) -> list[Difference]:
    """Return the differences over rows."""
    columns = np.array(found).reshape(-1, len(METRICS)).T
    return [
        Difference(
            group, name, columns.shape[1], float(np.median(values)),
            float(np.quantile(values, 0.99)),
        )
        for name, values in zip(METRICS, columns, strict=True)
        if len(values)
    ]  # fmt: skip


def configurations(rows: list[Measured]) -> list[Measured]:
    """Return the row of each measured configuration that has the median number of clients."""
    by_name: dict[str, list[Measured]] = {}
    for row in rows:
        by_name.setdefault(row.configuration, []).append(row)
    return [
        sorted(own, key=lambda row: row.clients)[len(own) // 2]
        for _, own in sorted(by_name.items())
    ]


def skewed(row: Measured, folder: Path) -> str:
    """Write a trace of routing in which some experts of the row's model are much liked."""
    served = row.simulator().model
    preset = RoutingPreset("skewed", served.experts, served.top_k, _SKEW, 0.0, 0.0)
    # A document for each request.
    path = folder / f"{served.name}-{row.clients}.routing.npz"
    if not path.exists():
        write_routing(path, generate(preset, 1, [64] * (2 * row.clients), served.moe_layers))
    return str(path)


def repeating(row: Measured, folder: Path) -> str:
    """Write a trace of twice the row's clients whose prompts begin alike, with its lengths."""
    prompt, output = map(int, row.options["lengths"].split("+"))
    path = folder / f"{prompt}-{output}-{row.clients}.jsonl"
    lines = []
    for number in range(2 * row.clients):
        # Half of a prompt's blocks are those of a third of the others.
        n_blocks = max(1, prompt // 512)
        hashes = [
            number % 3 * 10_000 + block if block < n_blocks / 2 else (number + 3) * 10_000 + block
            for block in range(n_blocks)
        ]
        of = {"input_length": prompt, "output_length": output, "hash_ids": hashes}
        lines.append(json.dumps({"timestamp": 100 * number, **of}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def groups_of(rows: list[Measured], folder: Path) -> dict[str, list[Case]]:
    """Return the cases of each group; traces are written into a folder."""
    chosen = configurations(rows)
    some = [chosen[at] for at in np.linspace(0, len(chosen) - 1, _SOME).astype(int)]
    over_time = {"clients": "0", "lengths": "", "stagger": "false", "prefix_cache_gb": "2"}
    return {
        **{name: [Case(row, WORKLOAD, of) for row in some] for name, of in _FURTHER.items()},
        "skewed routing": [Case(row, skewed(row, folder), {"stagger": "false"}) for row in some],
        "prompts that repeat": [Case(row, repeating(row, folder), over_time) for row in some],
        "measured configurations": [Case(row, WORKLOAD, {}) for row in chosen],
    }


def main() -> None:
    """Print the table; see the module."""
    folder, *further = sys.argv[1:]
    reference = Path(folder)
    rows, _ = read_serving(reference / "moe" if (reference / "moe").is_dir() else reference)
    path = Path(further[0]) if further else None
    until = time.monotonic() + (float(further[1]) if len(further) > 1 else float("inf"))
    lines = path.read_text("utf-8").splitlines() if path is not None and path.exists() else []
    # A case is known by its place: nothing else tells configurations with the same names apart.
    known = {(name, place): found for name, place, found in map(json.loads, lines)}
    with TemporaryDirectory() as scratch:
        for name, cases in groups_of(rows, Path(scratch)).items():
            for place, (row, workload, options) in enumerate(cases):
                if (name, place) in known or time.monotonic() > until:
                    continue
                known[name, place] = of_row(row, workload, **options)
                if path is not None:
                    with path.open("a", encoding="utf-8") as handle:
                        handle.write(json.dumps([name, place, known[name, place]]) + "\n")
            results = [known.get((name, place)) for place in range(len(cases))]
            for found in summary(name, [each for each in results if each is not None]):
                sys.stdout.write(
                    f"{found.group}, {found.metric}, {found.n_rows} of {len(cases)} rows: median "
                    f"{found.median:.2f} %, p99 {found.p99:.2f} %\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
