"""Differences of the fidelities `full` and `steps` on measured configurations.

    python -m evidence.moe.differences FOLDER [ROWS]

Both serve the same requests, two of each client: of one row of each measured configuration, or of
so many of them, spread evenly; and of some of them with skewed routing, drafts, prompts that
repeat, few blocks of keys and values, held prompts and polls.

Workers for prompts and others for decoding exist at the level of steps alone: `full` has one clock,
one batch and one set of caches, and would need them, and an order of events, for each worker.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import numpy as np

from archgym.simulators.moe.formats.routing_trace import write_routing
from archgym.simulators.moe.workloads.routing import RoutingPreset, generate
from evidence.moe.measured import WORKLOAD, Measured, read_serving

METRICS: Final = ("TPOT", "output/s", "TTFT")
"""Metrics that are compared."""
_SOME: Final = 4  # chosen: rows of each further group
_SKEW: Final = 0.7  # chosen: as workload `one-topic`, some three times what was fitted
_FURTHER: Final[Mapping[str, Mapping[str, str]]] = {
    "drafts": {"draft_tokens": "3", "acceptance": "0.7"},
    "few blocks": {"memory_percent": "60"},
    "held prompts": {"hold_steps": "20", "hold_prompts": "2"},
    "polls": {"poll_steps": "10"},
}


class Difference(NamedTuple):
    """Difference of `steps` from `full` over rows [%]."""

    group: str
    metric: str
    n_rows: int
    median: float
    p99: float


def of_row(row: Measured, workload: str = WORKLOAD, **options: str) -> list[float] | None:
    """Return the differences of a row by `METRICS` [%]; None where it cannot be built.

    Args:
      row: Measured row.
      workload: Workload whose lengths the row's options replace.
      options: Further options of the simulator.
    """
    changes = {"requests": str(2 * row.clients), **options}
    full, steps = (row.predict(fidelity, workload, **changes) for fidelity in ("full", "steps"))
    if full is None or steps is None:
        return None
    pairs = (
        (full.tpot_ms, steps.tpot_ms), (full.output_per_s, steps.output_per_s),
        (full.ttft_ms, steps.ttft_ms),
    )  # fmt: skip
    return [100.0 * abs(quick / exact - 1.0) for exact, quick in pairs]


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


def main() -> None:
    """Print the table, one group after the other."""
    folder = Path(sys.argv[1])
    rows, _ = read_serving(folder / "moe" if (folder / "moe").is_dir() else folder)
    chosen = configurations(rows)
    if len(sys.argv) > 2:
        n = min(len(chosen), int(sys.argv[2]))
        chosen = [chosen[at] for at in np.linspace(0, len(chosen) - 1, n).astype(int)]
    some = [chosen[at] for at in np.linspace(0, len(chosen) - 1, _SOME).astype(int)]
    with TemporaryDirectory() as scratch:
        place = Path(scratch)
        groups: dict[str, list[tuple[Measured, str, Mapping[str, str]]]] = {
            **{name: [(row, WORKLOAD, of) for row in some] for name, of in _FURTHER.items()},
            "skewed routing": [(row, skewed(row, place), {"stagger": "false"}) for row in some],
            "prompts that repeat": [
                (
                    row, repeating(row, place),
                    {"clients": "0", "lengths": "", "stagger": "false", "prefix_cache_gb": "2"},
                )
                for row in some
            ],
            "measured configurations": [(row, WORKLOAD, {}) for row in chosen],
        }  # fmt: skip
        for name, cases in groups.items():
            results = (of_row(row, workload, **of) for row, workload, of in cases)
            for found in summary(name, [each for each in results if each is not None]):
                sys.stdout.write(
                    f"{found.group}, {found.metric}, {found.n_rows} rows: median "
                    f"{found.median:.2f} %, p99 {found.p99:.2f} %\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
